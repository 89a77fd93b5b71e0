# SPDX-License-Identifier: GPL-2.0-only
"""What the suites make of boots that go wrong: each with a boot that is only said to have been."""

import contextlib
import io
import json
import re
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import depgraph
import mutants
import reglist
import selftests
from boot import Job
from ktap import FAILED, PASSED, SKIPPED, Result
from suites import commands, core, kernels, vcpus

WARNED = "boot: the kernel says \"kernel: WARNING: arm.c:1\"; the whole console is in build/log/boot-x.log\n"


class Boots:
    """In place of boot.run(): every step passes, as far as nothing else is said of it."""

    def __init__(self, status=0, images=(None, "patched", "debian"), steps=None):
        self.status, self.images, self.steps, self.timeouts = status, images, steps or {}, []

    def __call__(self, body, files=None, **env):
        self.timeouts.append(env.get("TIMEOUT"))
        out = ""
        for name in re.findall(r"^step ('[^']*'|\S+) ", body, re.M):
            said, status = self.steps.get(name.strip("'"), ("1..1\nok 1 a\n", 0))
            out += f"@@begin {name.strip(chr(39))}\n{said}\n@@end {name.strip(chr(39))} {status}\n"
        bad = self.status if env.get("IMAGE") in self.images else 0
        return Job(bad, out, WARNED if bad == 125 else "")


class Judged(unittest.TestCase):
    """Boots in which something is wrong that no step says."""

    def failed(self, tests, boots):
        """{name: detail} of the rows that fail."""
        with mock.patch("boot.run", boots), mock.patch("selftests.log", lambda name, text: name), \
                mock.patch("suites.kernels.kernel", lambda folder, *_, **__: Path(folder)):
            return {row.test: row.detail for row in tests() if row.verdict == FAILED}

    def folder(self, *names):
        """A folder of selftests."""
        tmp = tempfile.TemporaryDirectory()
        self.addCleanup(tmp.cleanup)
        for name in names:
            (Path(tmp.name) / name).touch()
        return mock.patch.object(selftests, "FOLDER", Path(tmp.name))

    def test_a_warning_fails(self):
        image = "out-x/arch/arm64/boot/Image"
        for name, tests in (
                ("programs", lambda: selftests.tested(("reg_list_room",), "vhe")),
                ("a cell", lambda: vcpus.cell("vhe", "none")),
                ("a test of it", lambda: vcpus.cell("vhe", "none", test="sme_regs list"))):
            with self.subTest(name):
                self.assertNotIn("the kernel has no complaint", self.failed(tests, Boots()))
                self.assertEqual(self.failed(tests, Boots(125)).get("the kernel has no complaint"), WARNED)
        found = self.failed(lambda: kernels.variant("x", True), Boots(125, (image,)))
        self.assertLessEqual({"the kernel has no complaint", "the kernel has no complaint of theirs"}, set(found))
        found = self.failed(lambda: kernels.debug_kernel(("sme_regs",)),
                            Boots(125, ("out-debug/arch/arm64/boot/Image",)))
        self.assertEqual(set(found), {"the kernel has no complaint", "kmemleak finds nothing of KVM"})

    def test_a_warning_on_the_released_kernel_is_not_ours(self):
        late = {"get-reg-list": ("", 1)}
        with self.folder("get-reg-list", "set_id_regs"):
            def compare(*images):
                return self.failed(lambda: kernels.compare("vhe"), Boots(125, images, late))
            self.assertEqual(compare("debian"), {})
            self.assertEqual(compare("patched"), {"the kernel has no complaint": WARNED})
            self.assertIn("released kernel as well: boot:", compare("patched", "debian")["the kernel has no complaint"])

    def test_figures_of_a_kernel_that_warns_are_none(self):
        with mock.patch("boot.run", Boots(125)), self.assertRaises(SystemExit), \
                contextlib.redirect_stderr(io.StringIO()):
            reglist.outputs(["reg-list"], "patched")

    def test_a_mutant_that_warns_is_seen(self):
        with mock.patch("boot.run", Boots(125, (mutants.IMAGE,))):
            self.assertEqual(mutants.failures("C", "vhe"), {"the kernel": [WARNED]})

    def test_a_mutant_has_more_time_before_it_hangs(self):
        boots = Boots(124, (mutants.IMAGE,))
        with mock.patch("boot.run", boots):
            mutants.failures("Rust", "vhe")
        self.assertEqual(len(boots.timeouts), 2)
        self.assertLess(int(boots.timeouts[0]), int(boots.timeouts[1]))

    def test_a_test_of_the_kernel_that_does_not_end_fails(self):
        steps = {"get-reg-list": ("", 124), "set_id_regs": ("", 4)}
        self.assertIn("get-reg-list", self.failed(lambda: kernels.variant("x", True), Boots(steps=steps)))

    def test_what_a_cell_is_there_for_may_not_be_skipped(self):
        skipped = ("1..1\nok 1 # SKIP a # not here\n", 4)
        for mode, machine, program, what in (
                ("protected", "lpa2", "sme_protected", "sme_protected"), ("nested", "lpa2", "sme_nested", "sme_nested"),
                ("nested", "none", "reg_list_el2", "vCPUs with EL2"), ("vhe", "mte", "reg_list_contract", "MTE")):
            with self.subTest(program):
                name, row = f"a case of {what} was not skipped", ("1..1\nok 1 MTE, both have it\n", 0)
                self.assertNotIn(name, self.failed(lambda: vcpus.cell(mode, machine, True),
                                                   Boots(steps={program: row})))
                self.assertIn(name, self.failed(lambda: vcpus.cell(mode, machine, True),
                                                Boots(steps={program: skipped})))
        self.assertNotIn("a case of MTE was not skipped", self.failed(lambda: vcpus.cell("protected", "mte", True),
                                                                      Boots(steps={"reg_list_contract": skipped})))

    def test_a_case_that_is_not_there(self):
        """Programs that take no words run everything whatever they are given, and it passes."""
        rows = [Result("x: a list", PASSED), Result("x: an order", PASSED), Result("x ends well", PASSED)]
        self.assertEqual(vcpus.of_case(rows, "x", ""), rows)
        self.assertEqual(vcpus.of_case(rows, "x", "list"), [rows[0], rows[2]])
        broken = [rows[0], Result("x: an order", FAILED), rows[2]]
        self.assertEqual(vcpus.of_case(broken, "x", "list"), broken)
        skipped = [Result("x: all of it", SKIPPED), rows[2]]
        self.assertEqual(vcpus.of_case(skipped, "x", "list"), skipped)
        for case in ("nothing", "x"):
            *others, missing = vcpus.of_case(rows, "x", case)
            self.assertEqual((others, missing.verdict, missing.detail), ([rows[2]], FAILED, "it ran: a list; an order"))

    def test_ways_to_panic(self):
        """As objdump and the v0 mangling have them; KUnit's own assertion in C is none."""
        code = "0000000000000000 <{0}>:\n   0:\t94000000 \tbl\t0 <{0}>\n\t\t\t0: R_AARCH64_CALL26\t{1}\n\n"
        core_, names = "_RNvNtCsbZfwWpAStWS_4core", (
            "9panicking18panic_bounds_check", "6option13unwrap_failed", "6option13expect_failed",
            "5slice5index16slice_index_fail", "5slice20copy_from_slice_impl17len_mismatch_fail",
            "3str19slice_error_fail_rt")
        said = "".join(code.format(f"f{n}", core_ + name) for n, name in enumerate(names))
        found = core.panics(said + code.format("g", "__kunit_do_failed_assertion") + code.format("h", "memcpy"))
        self.assertEqual(found, {f"f{n}": [core_ + name] for n, name in enumerate(names)} | {"g": [], "h": []})

    def test_a_lint_that_breaks_off_fails(self):
        for status, out, good in ((0, "ok a\nok b\n", True), (1, "ok a\nnot ok b # log\n", True),
                                  (1, "ok a\n", False), (0, "not ok a # log\n", False), (0, "", False)):
            with mock.patch("suites.commands.script", lambda _, found=(status, out): found):
                self.assertEqual(commands.lint()[-1].verdict != FAILED, good)

    def test_the_mails_have_the_figures_of_the_bench(self):
        ran = []
        with mock.patch("suites.commands.script", lambda name, *_: ran.append(name) or (0, "done")):
            commands.series()
            commands.bench()
        self.assertEqual(ran, ["lab/bench.py", "series"])

    def test_an_experiment_that_finds_nothing_fails(self):
        def experiment(*edges):
            """Whether depgraph.main() fails if a boot finds these edges."""
            data = {"edges": [{"first": a, "then": b, "accepted": True} for a, b in edges], "losses": []}
            sections = {"json": json.dumps(data), "text": "", "dot": ""}
            with self.folder() as folder, mock.patch.object(depgraph, "RESULTS", folder), \
                    mock.patch.object(depgraph, "end_by_signals"), mock.patch.object(depgraph, "known_ids"), \
                    mock.patch.object(depgraph, "experiment", lambda *_, **__: (0, sections)), \
                    mock.patch.object(depgraph, "script", lambda _: (0, "")), mock.patch("subprocess.run"), \
                    mock.patch.object(depgraph, "save", lambda name, _: name), mock.patch("sys.argv", ["x"]), \
                    contextlib.redirect_stdout(io.StringIO()), self.assertRaises(SystemExit) as end:
                depgraph.main()
            return end.exception.code
        self.assertTrue(experiment())
        self.assertFalse(experiment(*depgraph.KNOWN))

    def test_kunit_that_did_not_run_fails(self):
        good = Boots(steps={"suite": ("KTAP version 1\n1..1\n    ok 1 a\nok 1 kvm_arm_reg_list\n", 0)})
        self.assertEqual(self.failed(core.kunit_tests, good), {})
        self.assertIn("the suite kvm_arm_reg_list ran",
                      self.failed(core.kunit_tests, Boots(steps={"suite": ("cat: no such file\n", 1)})))
        self.assertIn("the boot ends well", self.failed(core.kunit_tests, Boots(125)))

    def test_a_kmemleak_that_is_disabled_fails(self):
        found = self.failed(lambda: kernels.debug_kernel(("sme_regs",)),
                            Boots(1, ("out-debug/arch/arm64/boot/Image",)))
        self.assertEqual(found, {"kmemleak finds nothing of KVM": "1..1\nok 1 a\n"})
