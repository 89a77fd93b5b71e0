# SPDX-License-Identifier: GPL-2.0-only
"""Reads the output of tests: KTAP (Documentation/dev-tools/ktap.rst), and Rust's test harness."""

import re
from typing import NamedTuple

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
# The name of what a program skips that runs no case.
ALL = "all of it"

# How many of the lines that a test printed are kept with its verdict.
LAST_LINES = 12

_RESULT = re.compile(r"\s*(not )?ok (\d+)\s*-?\s*((?:[^#\\]|\\.)*?)\s*(?:#\s*(.*))?$")
_PLAN = re.compile(r"\s*1\.\.(\d+)")
_NONE = re.compile(r"1\.\.0 # SKIP\s*(.*)", re.I)
_SHARD = re.compile(r"# shard \d+/\d+: (\d+) of (\d+) cases")


class Result(NamedTuple):
    """What became of a test. detail: why it was skipped, or the last lines of one that failed."""

    test: str
    verdict: str
    detail: str = ""


def verdict(test, good, detail=""):
    """The result of a check that the lab itself makes."""
    return Result(test, PASSED if good else FAILED, "" if good else str(detail))


def ktap(text):
    """The leaf results of KTAP text. A plan that is not kept is a failure of its own, one of no tests a skip."""
    found, said, planned = [], [], None
    for line in text.splitlines():
        plan, match = _PLAN.match(line), _RESULT.match(line)
        if plan and not line[:1].isspace():
            planned = int(plan[1])
        if none := _NONE.match(line):
            found.append(Result(ALL, SKIPPED, none[1]))
        if not match:
            said.append(line)
            continue
        bad, _, name, directive = match.groups()
        if not name and directive:
            # As kselftest.h has it: the name comes behind "# SKIP".
            name, _, directive = re.sub(r"^skip\S*\s*", "", directive, flags=re.I).partition(" # ")
            directive = f"SKIP {directive or name}"
        skipped = not bad and re.match(r"skip", directive or "", re.I)
        if skipped:
            found.append(Result(name, SKIPPED, re.sub(r"^skip\S*\s*", "", directive, flags=re.I)))
        else:
            found.append(Result(name, FAILED if bad else PASSED, "\n".join(said[-LAST_LINES:]) if bad else ""))
        said = []
    at_the_top = len(re.findall(r"^(?:not )?ok \d+", text, re.M))
    if planned is not None and at_the_top < planned:
        found.append(Result(f"all {planned} planned tests report", FAILED,
                            "\n".join([f"{at_the_top} did", *said[-LAST_LINES:]])))
    return found


def shard(text):
    """(cases run, cases there are) of programs that were told to run a part of them (-s)."""
    parts = [(int(ran), int(there)) for ran, there in _SHARD.findall(text)]
    return sum(ran for ran, _ in parts), sum(there for _, there in parts)


def libtest(text):
    """The results of Rust's test harness. One that passes has "skipped: REASON" for what it did not try, which is seen
    with --show-output."""
    said = dict(re.findall(r"^---- (.+?) stdout ----\n(.*?)(?=^----|^failures:|^successes:|\Z)", text, re.M | re.S))

    def result(name, how):
        lines = said.get(name, "").splitlines()
        reasons = [line.removeprefix("skipped: ") for line in lines if line.startswith("skipped: ")]
        if how == "ok" and reasons:
            return Result(name, SKIPPED, "; ".join(reasons))
        how = {"ok": PASSED, "ignored": SKIPPED}.get(how, FAILED)
        return Result(name, how, "" if how == PASSED else "\n".join(lines[-LAST_LINES:]))

    return [result(name.strip(), how)
            for name, how in re.findall(r"^test (.+?) \.\.\. (?:.*\n)*?(ok|ignored|FAILED)", text, re.M)]
