# SPDX-License-Identifier: GPL-2.0-only
"""Ways through a function, with and without an event on them."""

import unittest
from types import SimpleNamespace

from disassembly import Instruction, unsynchronized


def function(*lines):
    """A function of one-letter instructions; "a|b" becomes the one or the other, "a>0" goes on at place 0 as well."""
    versions, follow = {}, {}
    for place, line in enumerate(lines):
        names, *targets = line.split(">")
        versions[place] = [Instruction(place, 0, name, name, None, None) for name in names.split("|")]
        follow[place] = {place + 1} | {int(target) for target in targets}
    follow[len(lines) - 1] -= {len(lines)}
    return SimpleNamespace(versions=versions, follow=follow)


def found(*lines):
    """(how many writes, where the uses are that no event precedes): w writes, e is an event, u uses."""
    count, pairs = unsynchronized(function(*lines), *(lambda it, name=name: it.name == name for name in "weu"))
    return count, [use.address for _, use in pairs]


class Unsynchronized(unittest.TestCase):
    """One row of scripts/lab/suites/sequences.py on small functions."""

    def test_event_between(self):
        self.assertEqual(found("w", "e", "u"), (1, []))

    def test_no_event(self):
        self.assertEqual(found("w", "-", "u"), (1, [2]))

    def test_event_before_the_write_is_none(self):
        self.assertEqual(found("e", "w", "u"), (1, [2]))

    def test_event_on_one_way_alone(self):
        self.assertEqual(found("w", "->3", "e", "u"), (1, [3]))

    def test_event_that_may_be_patched_away(self):
        self.assertEqual(found("w", "-|e", "u"), (1, [2]))
        self.assertEqual(found("w", "e|e", "u"), (1, []))

    def test_use_that_is_patched_in(self):
        self.assertEqual(found("w", "-|u"), (1, [1]))

    def test_back_around_a_loop(self):
        self.assertEqual(found("u", "w", "->0", "e"), (1, [0]))

    def test_no_write(self):
        self.assertEqual(found("-", "u"), (0, []))


if __name__ == "__main__":
    unittest.main()
