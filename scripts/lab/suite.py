# SPDX-License-Identifier: GPL-2.0-only
"""What a suite of tests is, and how ONLY= chooses among them."""

import difflib
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from ktap import Result


class Suite(NamedTuple):
    """name: as ONLY= finds it; tests: gives the results; needs: products that are built before.

    long: part of "make check-all" only. programs: that TEST= can name, for the suites which take one.
    """

    name: str
    tests: Callable[..., Iterable[Result]]
    needs: tuple = ()
    long: bool = False
    programs: tuple = ()


def matches(name, only):
    """Whether a suite is meant: each word of ONLY begins a word of its name; "|" stands between alternatives."""
    return any(words and all(re.search(rf"(?<!\w){re.escape(word)}", name, re.I) for word in words)
               for words in (part.replace(",", " ").split() for part in only.split("|")))


def choose(suites, only="", everything=False):
    """The suites that ONLY names, of all; without it those of "make check" or of "make check-all". One that has just
    the name that an alternative gives, commas apart, is meant alone, as by the commands of the report."""
    if only:
        exact = {suite.name.replace(",", "").lower(): suite for suite in suites}
        alone = [exact.get(" ".join(part.replace(",", " ").split()).lower()) for part in only.split("|")]
        return [suite for suite in suites if suite in alone or any(
            one is None and matches(suite.name, part) for one, part in zip(alone, only.split("|")))]
    return [suite for suite in suites if everything or not suite.long]


def nearest(suites, only):
    """The names that are most like what ONLY says."""
    names = {suite.name.lower(): suite.name for suite in suites}
    by_name = difflib.get_close_matches(only.lower(), names, 3, 0.3)
    words = {word: name for name in names for word in re.findall(r"[\w-]+", name)}
    by_word = [words[near] for word in re.findall(r"[\w-]+", only.lower())
               for near in difflib.get_close_matches(word, words, 2, 0.6)]
    return [names[name] for name in dict.fromkeys(by_word + by_name)][:4]
