# SPDX-License-Identifier: GPL-2.0-only
"""Choosing suites, the report, and README's blocks."""

import contextlib
import io
import json
import tempfile
import unittest
from pathlib import Path

import readme
import report
from ktap import FAILED, PASSED, SKIPPED, Result
from machines import MACHINES
from suite import Suite, choose, matches, nearest

SUITES = (Suite("vhe, default", list, programs=("sme_regs",)), Suite("nvhe, default", list),
          Suite("library, pool", list), Suite("debug kernel, guests", list, long=True))


class Choice(unittest.TestCase):
    """ONLY=."""

    def names(self, *args):
        return [suite.name for suite in choose(SUITES, *args)]

    def test_words(self):
        self.assertEqual(self.names("vhe"), ["vhe, default"])
        self.assertEqual(self.names("default nvhe"), ["nvhe, default"])
        self.assertEqual(self.names("pool | nvhe"), ["nvhe, default", "library, pool"])
        self.assertEqual(self.names("DEBUG"), ["debug kernel, guests"])
        self.assertTrue(matches("library on this machine", "lib"))

    def test_a_whole_name_is_that_suite_alone(self):
        more = (*SUITES, Suite("vhe, default, 200 times", list))
        self.assertEqual([suite.name for suite in choose(more, "vhe default")], ["vhe, default"])
        self.assertEqual([suite.name for suite in choose(more, "Vhe, default | pool")],
                         ["vhe, default", "library, pool"])
        self.assertEqual(len(choose(more, "vhe def")), 2)

    def test_long_suites_only_when_asked(self):
        self.assertNotIn("debug kernel, guests", self.names())
        self.assertIn("debug kernel, guests", self.names("", True))

    def test_nearest(self):
        self.assertEqual(nearest(SUITES, "librar pool")[0], "library, pool")
        self.assertIn("nvhe, default", nearest(SUITES, "nvhee"))


class Files(unittest.TestCase):
    """check.json and check.html."""

    def setUp(self):
        tmp = tempfile.TemporaryDirectory()
        self.addCleanup(tmp.cleanup)
        report.RESULTS, self.was = Path(tmp.name), report.RESULTS
        self.addCleanup(setattr, report, "RESULTS", self.was)
        self.report = report.Report(SUITES, SUITES[:2])
        rows = [Result("sme_regs: list: sve+sme", FAILED, "ZA.H[0] is <lost>"), Result("sme_regs: sizes", PASSED),
                Result("sme_regs: nested", SKIPPED, "no EL2 on this host")]
        with contextlib.redirect_stdout(io.StringIO()) as out:
            self.report.add(SUITES[0], rows, 2.0)
        self.out = out.getvalue()

    def test_a_failure_leads_to_the_test(self):
        page = self.report.html.read_text()
        self.assertIn("ZA.H[0] is &lt;lost&gt;", page)
        self.assertIn('make check ONLY=&quot;vhe default&quot; TEST=&quot;sme_regs list: sve+sme&quot;', page)
        self.assertIn("1 tests: no EL2 on this host", page)
        self.assertIn('href="#vhe--default"', page)
        self.assertIn('id="vhe--default"', page)
        self.assertIn("failed: sme_regs: list: sve+sme\n        ZA.H[0] is <lost>", self.out)

    def test_who_asks_for_a_suite_sees_its_rows(self):
        for named, number, shown in ((False, 2, False), (True, 2, True), (True, 200, False)):
            with contextlib.redirect_stdout(io.StringIO()) as out:
                report.Report(SUITES, SUITES, named=named).add(
                    SUITES[2], [Result(f"{n} saves", PASSED) for n in range(number)], 1.0)
            self.assertEqual("    passed: 1 saves\n" in out.getvalue(), shown)

    def test_it_says_that_it_is_incomplete(self):
        self.assertFalse(json.loads(self.report.json.read_text())["complete"])
        self.assertIn("1 of 2 suites had ended", self.report.html.read_text())
        self.assertIn("not yet", self.report.html.read_text())
        self.report.complete()
        self.assertTrue(json.loads(self.report.json.read_text())["complete"])
        self.assertNotIn("Incomplete", self.report.html.read_text())

    def test_not_run_is_not_empty(self):
        self.report.complete()
        page = self.report.html.read_text()
        self.assertEqual(page.count("not run</td>"), 5 * len(MACHINES) - 1 + 2)

    def test_the_failures_stand_together(self):
        self.assertEqual(self.report.failures(), ["failed: vhe, default: sme_regs: list: sve+sme"])

    def test_totals(self):
        self.assertEqual(self.report.totals(), "1 passed, 1 failed, 1 skipped")
        self.assertEqual(self.report.bad(), 1)
        self.assertEqual(report.Report(SUITES, SUITES).bad(), 1)

    def test_a_verdict_that_is_none_has_failed(self):
        with contextlib.redirect_stdout(io.StringIO()):
            self.report.add(SUITES[1], [Result("get-reg-list", "no end")], 1.0)
        self.assertEqual(self.report.totals(), "1 passed, 2 failed, 1 skipped")
        self.assertIn("failed: nvhe, default: get-reg-list", self.report.failures())
        self.assertIn("failed: get-reg-list", self.report.html.read_text())
        with contextlib.redirect_stdout(io.StringIO()):
            self.report.add(SUITES[0], [Result("sme_regs: sizes", PASSED)], 1.0)
        self.assertEqual(self.report.bad(), 1)


class Readme(unittest.TestCase):
    """The blocks of figures."""

    def test_a_block_is_compared_and_filled(self):
        text = "before\n<!-- lists.txt -->\n\n    old\n\n<!-- end -->\nafter\n"
        with tempfile.TemporaryDirectory() as tmp:
            self.assertEqual(readme.compare(text, Path(tmp)), [])
            (Path(tmp) / "lists.txt").write_text("a  b \n\nc\n")
            self.assertEqual(readme.compare(text, Path(tmp)), [("lists.txt", False)])
            self.assertEqual(readme.compare("before\nafter\n", Path(tmp)), [("lists.txt", False)])
            new = readme.filled(text, Path(tmp))
            self.assertEqual(new, "before\n<!-- lists.txt -->\n\n    a  b\n\n    c\n\n<!-- end -->\nafter\n")
            self.assertEqual(readme.compare(new, Path(tmp)), [("lists.txt", True)])
