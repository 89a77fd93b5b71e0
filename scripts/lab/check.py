#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Every test: a line a suite as it ends, the failures by name, and "N passed, N failed, N skipped" last.

The suites are in suites/, a file a subject. What has to be built for those that were chosen is built first;
then the suites run side by side, as many as there are CPUs. The report grows with each suite that ends, so
that a run which is interrupted leaves what it had: build/results/check.html and check.json.
"""

import argparse
import os
import signal
import time
import traceback
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial

from command import LOGS, die, say, stop_all
from ktap import FAILED, Result, verdict
from products import Broken, product
from report import Report
from suite import choose, nearest
from suites import commands, core, guests, kernels, library, packages, qemu, sequences, vcpus, vmm

SUITES = (*core.SUITES, *sequences.SUITES, *commands.SUITES, *kernels.SUITES, *vcpus.SUITES, *packages.SUITES,
          *guests.SUITES, *library.SUITES, *qemu.SUITES, *vmm.SUITES)

# Built in this order, the quick ones before those that all CPUs are needed for.
PRODUCTS = ("tree", "guest", "patched", "selftests", "library", "FP selftests", "unpatched")


def options():
    parser = argparse.ArgumentParser(prog="check", description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", metavar="WORDS", help="suites with these words in their name; | for or")
    parser.add_argument("--test", default="", metavar="PROGRAM [CASE]", help="of those one program, or a case")
    parser.add_argument("--list", action="store_true", help="say which suites there are, and run none")
    parser.add_argument("--all", action="store_true", help="the suites that take long as well: hours")
    return parser.parse_args()


def chosen(args):
    """The suites of this run, with their tests as they are to be called."""
    suites = choose(SUITES, args.only, args.all)
    if not suites:
        near = "; ".join(nearest(SUITES, args.only))
        die(f"no suite is called \"{args.only}\"; near it: {near} (LIST=1 shows all)")
    if args.all and not args.only:
        suites = vcpus.whole(suites)
    if args.test:
        program = args.test.split()[0]
        suites = [suite._replace(tests=partial(suite.tests, test=args.test)) for suite in suites
                  if program in suite.programs]
        if not suites:
            known = sorted({name for suite in SUITES for name in suite.programs})
            die(f"none of these suites runs \"{program}\"; programs that TEST= can name: {' '.join(known)}")
    return suites


def build(suites):
    """Builds what the suites need: {product: why it is not there}."""
    needed = {name for suite in suites for name in suite.needs}
    broken = {}
    for name in PRODUCTS:
        if name in needed:
            try:
                product(name)
            except Broken as error:
                broken[name] = str(error)
    return broken


def results(suite, broken):
    """What a suite gives: (results, seconds). One that breaks down is a failure, no more."""
    start = time.monotonic()
    missing = [broken[name] for name in suite.needs if name in broken]
    try:
        if missing:
            raise Broken("; ".join(missing))
        rows = list(suite.tests()) or [verdict("it has tests", False, "the suite ran none")]
    except Broken as error:
        rows = [Result("it is built", FAILED, str(error))]
    except (Exception, SystemExit) as error:  # whatever it is, the other suites run on
        with (LOGS / "check.log").open("a") as file:
            traceback.print_exc(file=file)
        rows = [Result(f"it broke down: {type(error).__name__}: {error}", FAILED, traceback.format_exc())]
    return rows, time.monotonic() - start


def interrupted(*_):
    raise KeyboardInterrupt


def main():
    args = options()
    if args.list:
        # "| head" is no error.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        for suite in choose(SUITES, args.only, everything=True):
            say(f"{suite.name}{'   (make check-all, or by name)' if suite.long else ''}")
        return
    suites = chosen(args)
    LOGS.mkdir(parents=True, exist_ok=True)
    (LOGS / "check.log").unlink(missing_ok=True)
    signal.signal(signal.SIGTERM, interrupted)
    report = Report(SUITES, suites, whole=args.all, named=bool(args.only))
    cpus = os.cpu_count()
    say(f"{len(suites)} suites, {cpus} at a time")

    # What needs nothing built comes first: it takes seconds, and says early what is wrong.
    at_once = [suite for suite in suites if not suite.needs]
    later = [suite for suite in suites if suite.needs]
    with ThreadPoolExecutor(cpus) as pool:
        try:
            for group in (at_once, later):
                broken = build(group)
                jobs = {pool.submit(results, suite, broken): suite for suite in group}
                for job in as_completed(jobs):
                    report.add(jobs[job], *job.result())
        except KeyboardInterrupt:
            say(f"\ninterrupted; what ran is in {report.html}, marked as incomplete")
            say(report.totals())
            stop_all()
            # Not by an exception: suites that run would go on with what they do next.
            os._exit(130)
    report.complete()
    say("\n".join(["", *report.failures(), f"as JSON: {report.json}, drawn: {report.html}"]))
    say(report.cells())
    say(report.totals())
    raise SystemExit(report.bad())


if __name__ == "__main__":
    main()
