#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Breaks the patched kernel in one place at a time, and shows which tests see it.

usage: scripts/lab/mutants.py [WORD]...     only the patches of scripts/mutants/ with one of the words in their name

Each has to fail a test in C and one in Rust. Works on a copy of the tree, build/mutants. The table is
also in build/results/mutants.json.
"""

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import boot
from command import BUILD, SCRIPTS, TREE, die, run, save, say, script
from ktap import FAILED, ktap
from selftests import FOLDER, KSFT_SKIP, REG_LIST, RUST, SME

WORK = BUILD / "mutants"
PATCHES = SCRIPTS / "mutants"
# What "make check" runs on the default machine in VHE, with every kind of vCPU.
TESTS = {"C": (*REG_LIST, *SME), "Rust": RUST}


def copy_tree():
    """The tree with what is built of it, so that a mutant is a few files to compile."""
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir()
    pack = subprocess.Popen(["tar", "-C", TREE, "--exclude=./out-*", "--exclude=./.git", "-cf", "-", "."],
                            stdout=subprocess.PIPE)
    subprocess.run(["tar", "-C", WORK, "-xf", "-"], stdin=pack.stdout, check=True)
    if pack.wait():
        die(f"{TREE} cannot be copied")


def failures(language):
    """How each of the programs ends on the mutant: {program: [failed subtests]}, only those that fail."""
    programs = TESTS[language]
    # A mutant may crash the kernel or hang the guest: what is not reached has not passed.
    job = boot.run("".join(f"step {p} /test/{p}\n" for p in programs), {p: FOLDER / p for p in programs},
                   IMAGE=str(WORK / "out/arch/arm64/boot/Image"), TIMEOUT="300")
    found = {}
    for program in programs:
        step = job.step(program)
        if step.status not in (0, KSFT_SKIP):
            found[program] = [row.test for row in ktap(step.output) if row.verdict == FAILED] or [
                "does not end" if step.status is None else f"ends with {step.status}"]
    return found


def seen():
    """{language: failures} of the kernel in the copy."""
    with ThreadPoolExecutor(len(TESTS)) as boots:
        return dict(zip(TESTS, boots.map(failures, TESTS)))


def mutant(patch):
    """One mutant: which tests see it."""
    # Not in the repository around it: git apply would look for the files there.
    apply = partial(run, cwd=WORK, env={"GIT_CEILING_DIRECTORIES": str(BUILD)}, stderr=subprocess.STDOUT)
    status, out, _ = apply(["git", "apply", patch])
    if status:
        die(f"{patch.name} does not apply: make it anew for this tree\n{out}")
    try:
        status, out = script("build-kernel", WORK / "out", f"mutant-{patch.stem}")
        if status:
            die(f"{patch.name} does not build: see build/log/")
        return seen()
    finally:
        apply(["git", "apply", "-R", patch])


def main():
    wanted = [p for p in sorted(PATCHES.glob("*.patch"))
              if not sys.argv[1:] or any(word in p.stem for word in sys.argv[1:])]
    if not wanted:
        die("no mutant has such a name: see scripts/mutants/")
    if script("build-selftests")[0]:
        die("the kvm selftests do not build")
    copy_tree()
    # What fails without a mutant would seem to see each of them.
    whole = seen()
    if any(whole.values()):
        die(f"tests fail on the kernel as it is: {whole}")
    table = {}
    say(f"{'mutant':26}{'seen by, in C':44} {'seen by, in Rust'}")
    for patch in wanted:
        table[patch.stem] = by = mutant(patch)
        cells = [", ".join(f"{program} ({len(names)})" for program, names in by[language].items()) or "SURVIVES"
                 for language in TESTS]
        say(f"{patch.stem:26}{cells[0]:44} {cells[1]}")
    survivors = [name for name, by in table.items() if not all(by.values())]
    say(f"\n{len(table)} mutants, {len(survivors)} not seen by both; as JSON: {save('mutants.json', table)}")
    raise SystemExit(bool(survivors))


if __name__ == "__main__":
    main()
