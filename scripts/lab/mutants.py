#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Breaks the patched kernel in one place at a time, and shows which tests see it.

usage: scripts/lab/mutants.py [WORD]...     only the patches of scripts/mutants/ with one of the words in their name

Each has to fail a test in C and one in Rust; ALL_TESTS=1 runs on behind the first program that fails. Where a mutant
makes one register depend on another, a line "Edge: FIRST -> THEN" of its patch names them, and the dependency
experiment has to find that edge. Where it has a line "Guest: loses", a Linux guest that is saved and restored has
to see it. "Mode: protected" or "Mode: nested" says where it shows, if not in VHE, and "Rust: WHY" that no test in Rust
can see it. Works on a copy of the tree, build/mutants. The table is also in build/results/mutants.json.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import boot
from command import BUILD, SCRIPTS, TREE, die, end_by_signals, run, save, say, script
from depgraph import experiment
from ktap import FAILED, PASSED, ktap
from selftests import FOLDER, KSFT_SKIP, OF_MODE, REG_LIST, RUST, SME
from suites import guests

WORK = BUILD / "mutants"
PATCHES = SCRIPTS / "mutants"
# What "make check" runs on the default machine with every kind of vCPU, in VHE or the mode of the mutant.
TESTS = {"C": (*REG_LIST, *SME), "Rust": RUST}
# And before it, what is there for a mode.
FIRST = {"C": OF_MODE, "Rust": {"nested": ("rust_vector_streams",)}}
ALL_TESTS = "ALL_TESTS" in os.environ
IMAGE = str(WORK / "out/arch/arm64/boot/Image")


def copy_tree():
    """The tree with what is built of it, so that a mutant is a few files to compile."""
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir()
    pack = subprocess.Popen(["tar", "-C", TREE, "--exclude=./out-*", "--exclude=./.git", "-cf", "-", "."],
                            stdout=subprocess.PIPE)
    subprocess.run(["tar", "-C", WORK, "-xf", "-"], stdin=pack.stdout, check=True)
    if pack.wait():
        die(f"{TREE} cannot be copied")


def failures(language, mode="vhe"):
    """How each of the programs ends on the mutant: {program: [failed subtests]}, only those that fail."""
    programs = FIRST[language].get(mode, ()) + TESTS[language]
    go_on = "" if ALL_TESTS else f" || [ $? = {KSFT_SKIP} ] || exit"
    # On a machine that has other work a test can be late, where none has failed before it.
    for timeout in (300, 1800):
        job = boot.run("".join(f"step {p} /test/{p}{go_on}\n" for p in programs), {p: FOLDER / p for p in programs},
                       IMAGE=IMAGE, KVM=mode, TIMEOUT=str(timeout))
        if job.status != 124 or re.search("^not ok", job.output, re.M):
            break
    # What a test does not see, the kernel may: it fails the cell in which that test runs.
    found = {"the kernel": [job.said]} if job.status == 125 else {}
    for program in programs:
        step = job.step(program)
        if step.status in (0, KSFT_SKIP):
            continue
        # A mutant may crash the kernel or hang the guest: what is not reached has not passed.
        found[program] = [row.test for row in ktap(step.output) if row.verdict == FAILED] or [
            "does not end" if step.status is None else f"ends with {step.status}"]
        if not ALL_TESTS:
            break
    return found


def says(patch, word):
    """What a patch says behind a word of the usage above, or None."""
    line = re.search(rf"^{word}: (.+)$", patch.read_text(), re.M)
    return line and line[1]


def mode_of(patch):
    """The mode of KVM in which a mutant shows."""
    return says(patch, "Mode") or "vhe"


def edge_of(patch):
    """The dependency that a mutant makes: (first, then), or None."""
    edge = says(patch, "Edge")
    return edge and tuple(edge.split(" -> "))


def edges():
    """All that the quick dependency experiment finds on the kernel in the copy."""
    _, sections = experiment("vhe", "--quick", IMAGE=IMAGE)
    return {(e["first"], e["then"]) for e in json.loads(sections.get("json", '{"edges": []}'))["edges"]}


def guest_sees():
    """What shows in a guest that is saved and restored on the kernel in the copy, if it is what is expected."""
    rows = guests.goes_wrong("vhe", "listed", IMAGE=IMAGE)
    return [row.test for row in rows] if all(row.verdict == PASSED for row in rows) else []


def seen(with_edges, mode, languages=tuple(TESTS)):
    """({language: failures}, edges) of the kernel in the copy."""
    with ThreadPoolExecutor() as boots:
        found = boots.submit(edges) if with_edges else None
        by = dict(zip(languages, boots.map(partial(failures, mode=mode), languages)))
        return by, found.result() if found else set()


def image():
    """What tells the kernel in the copy from others."""
    return hashlib.sha256(Path(IMAGE).read_bytes()).digest()


def mutant(patch, kernels):
    """One mutant, whose kernel has to be another than those before it: which tests see it, and the edges that the
    experiment finds where it makes one."""
    # Not in the repository around it: git apply would look for the files there.
    apply = partial(run, cwd=WORK, env={"GIT_CEILING_DIRECTORIES": str(BUILD)})
    apply(["git", "apply", patch])
    try:
        status, out = script("build-kernel", WORK / "out", f"mutant-{patch.stem}")
        if status:
            die(f"{patch.name} does not build: see build/log/")
        if image() in kernels:
            die(f"{patch.name} gives a kernel that was tested before")
        kernels.add(image())
        by, found = seen(edge_of(patch), mode_of(patch), ("C",) if says(patch, "Rust") else tuple(TESTS))
        if says(patch, "Guest"):
            by["a guest"] = guest_sees()
        return by, found
    finally:
        apply(["git", "apply", "-R", patch])


def main():
    end_by_signals()
    wanted = [p for p in sorted(PATCHES.glob("*.patch"))
              if not sys.argv[1:] or any(word in p.stem for word in sys.argv[1:])]
    if not wanted:
        die("no mutant has such a name: see scripts/mutants/")
    # Before an hour has gone by.
    for patch in wanted:
        status, out, _ = run(["git", "apply", "--check", patch], cwd=TREE, stderr=subprocess.STDOUT)
        if status:
            die(f"{patch.name} does not apply: make it anew for this tree\n{out}")
    for needed in ("build-selftests", "build-library"):
        if script(needed)[0]:
            die(f"scripts/{needed} does not succeed: see build/log/")
    copy_tree()
    kernels = {image()}
    # What fails without a mutant would seem to see each of them.
    known = set()
    for mode in dict.fromkeys(map(mode_of, wanted)):
        whole, found = seen(any(edge_of(patch) for patch in wanted if mode_of(patch) == mode), mode)
        known |= found
        if any(whole.values()):
            die(f"tests fail on the kernel as it is: {whole}")
    table = {}
    say(f"{'mutant':26}{'seen by, in C':30} {'in Rust':34} by the experiment")
    for patch in wanted:
        by, found = mutant(patch, kernels)
        cells = [", ".join(f"{program} ({len(names)})" for program, names in by[language].items()) or "SURVIVES"
                 for language in TESTS if language in by]
        if says(patch, "Rust"):
            cells.append(f"not: {says(patch, 'Rust')}")
        edge = edge_of(patch)
        if edge:
            by["experiment"] = [edge] if edge in found - known else []
            cells.append(" -> ".join(edge) if by["experiment"] else "SURVIVES")
        if "a guest" in by:
            cells.append("; ".join(by["a guest"]) or "SURVIVES in a guest")
        table[patch.stem] = by
        say(f"{patch.stem:26}{cells[0]:30} {cells[1]:34} {'  '.join(cells[2:])}")
    survivors = [name for name, by in table.items() if not all(by.values())]
    say(f"\n{len(table)} mutants, {len(survivors)} not seen by all; as JSON: {save('mutants.json', table)}")
    raise SystemExit(bool(survivors))


if __name__ == "__main__":
    main()
