# SPDX-License-Identifier: GPL-2.0-only
"""The lab itself, and the core of the series: the Rust code on this machine, in KUnit, as a module."""

import re
import subprocess
import sys
from functools import partial

import boot
from command import BUILD, SCRIPTS, TREE, log, run, script
from ktap import FAILED, PASSED, SKIPPED, Result, ktap, libtest, verdict
from products import product
from suite import Suite


def lab_tests():
    """The lab's own tests: what reads, judges and moves things here."""
    status, _, err = run([sys.executable, "-m", "unittest", "discover", "-v", "-s", "tests", "-t", "."],
                         cwd=SCRIPTS / "lab", stderr=subprocess.PIPE)
    log("lab-tests", err)
    rows = [Result(name, {"ok": PASSED}.get(how, SKIPPED if how.startswith("skip") else FAILED))
            for name, how in re.findall(r"^(?:.*\()?tests\.(\S+?)\)?(?:\n.*)? \.\.\. (\w+)", err, re.M)]
    return rows + [verdict("unittest ends well", not status, err[-2000:])]


def host_tests():
    """The Rust core on this machine, and the C version beside it."""
    _, out, _ = run(["cargo", "test", "--offline", "--release", "--no-fail-fast", "--features", "c-version"],
                    cwd=SCRIPTS / "host-tests", stderr=subprocess.STDOUT,
                    env={"CARGO_TARGET_DIR": str(BUILD / "host-tests"),
                         "KERNEL_HEADERS": str(TREE / "out/usr/include")})
    log("host-tests", out)
    good = re.search(r"^test result: ok", out, re.M) and not re.search(r"^test result: FAILED|^error", out, re.M)
    return libtest(out) + [verdict("cargo test succeeds", good, out[-2000:])]


def fuzzing(what, executions):
    """Executions of a fuzz target without a finding."""
    status, out = script("fuzz", executions, what)
    found = re.search(r"^(\d+) executions, no finding", out, re.M)
    good = not status and found and int(found[1]) >= executions
    return [verdict(f"{executions:,} executions, no finding", good, out)]


def panics(disassembly):
    """{function: what of core it refers to that panics}: core::panicking, and what goes there for others, as
    slice_index_fail, unwrap_failed and len_mismatch_fail do."""
    return {name: re.findall(r"\s(_R\S*(?:panicking|_fail(?:ed)?(?:_[cr]t)?\b)\S*)", code)
            for name, code in re.findall(r"^[0-9a-f]+ <(\S+)>:\n((?:.+\n)*)", disassembly, re.M)}


def no_panic():
    """The Rust object has no way to panic, but for its KUnit tests."""
    status, out, _ = run(["aarch64-linux-gnu-objdump", "-dr", TREE / "out/arch/arm64/kvm/reg_list_rust.o"])
    functions = panics(out)
    panic = {name: found for name, found in functions.items() if found and "reg_list_rust5tests" not in name}
    good = not status and "kvm_arm_reg_list_order_rust" in functions and not panic
    return [verdict("nothing of core that panics is referred to in reg_list_rust.o", good, panic or sorted(functions))]


def kunit_tests(**env):
    """KUnit ran while the kernel booted; its results are in debugfs, and those of our suite have to be there."""
    job = boot.run("step suite cat /sys/kernel/debug/kunit/kvm_arm_reg_list/results\n"
                   "cat /sys/kernel/debug/kunit/rust_doctests_kernel/results\n", **env)
    rows = [row for row in ktap(job.output) if "rust_doctest" not in row.test or "kvm" in row.test]
    return rows + [verdict("the suite kvm_arm_reg_list ran", ktap(job.step("suite").output), job.output[-2000:]),
                   verdict("the boot ends well", not job.status, job.said or job.output[-2000:])]


def module_tests(image):
    """The out-of-tree module, built for a kernel and loaded into it."""
    build = product("unpatched") + "/out" if image == "unpatched" else TREE / "out"
    out = BUILD / f"module-{image}"
    status, said = script("build-module", build, out)
    ko = next(out.rglob("*.ko"), None)
    if status or not ko:
        return [verdict(f"module for the {image} kernel builds", False, said)]
    job = boot.run("insmod /test/m.ko && cat /sys/kernel/debug/kunit/*_module/results\n", {"m.ko": ko}, IMAGE=image)
    return [Result(f"module for the {image} kernel builds", PASSED),
            verdict("it loads", not job.status, job.output)] + ktap(job.output)


def mutants_apply():
    """The ways in which "make mutants" breaks the kernel fit the tree: it takes an hour, and would find out late."""
    rows = []
    for patch in sorted((SCRIPTS / "mutants").glob("*.patch")):
        status, said, _ = run(["git", "apply", "--check", patch], cwd=TREE, stderr=subprocess.STDOUT)
        rows.append(verdict(patch.stem, not status, said))
    return rows


SUITES = (
    Suite("the lab's own tests", lab_tests),
    Suite("host tests of the Rust core", host_tests, ("patched", "selftests")),
    Suite("fuzzing the core", partial(fuzzing, "core", 1_000_000), ("tree",)),
    Suite("fuzzing what reads files", partial(fuzzing, "library", 1_000_000), ("tree",)),
    Suite("fuzzing the core, 100 million", partial(fuzzing, "core", 100_000_000), ("tree",), long=True),
    Suite("fuzzing what reads files, 100 million", partial(fuzzing, "library", 100_000_000), ("tree",), long=True),
    Suite("mutants apply", mutants_apply, ("tree",)),
    Suite("no panic path", no_panic, ("patched",)),
    Suite("KUnit at boot", kunit_tests, ("guest", "patched")),
    Suite("module, unpatched kernel", partial(module_tests, "unpatched"), ("guest", "unpatched"), long=True),
    Suite("module, patched kernel", partial(module_tests, "patched"), ("guest", "patched")),
)
