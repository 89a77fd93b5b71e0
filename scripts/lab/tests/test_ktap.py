# SPDX-License-Identifier: GPL-2.0-only
"""Output of tests, good and bad, as it comes from a console."""

import unittest

from ktap import FAILED, PASSED, SKIPPED, Result, ktap, libtest, shard

GOOD = """TAP version 13
1..4
# shard 0/1: 4 of 4 cases
ok 1 a listing
# writing X0 back gives EINVAL
not ok 2 - a restore, SVE
ok 3 streaming mode # SKIP no SME on this host
ok 4 the # of registers
# Totals: pass:2 fail:1 xfail:0 xpass:0 skip:1 error:0
"""

NESTED = """KTAP version 1
    1..2
    # Subtest: kvm_arm_reg_list
    ok 1 the_rest_stays
    not ok 2 leaders_come_first
not ok 1 kvm_arm_reg_list
"""

RUST = """running 3 tests
test lengths::of_the_host ... ok
test restore::refused ... FAILED
test on_arm64 ... ignored

failures:

---- restore::refused stdout ----
thread 'restore::refused' panicked at src/lib.rs:1:
EBUSY

failures:
    restore::refused

test result: FAILED. 1 passed; 1 failed
"""


class Ktap(unittest.TestCase):
    """KTAP."""

    def test_verdicts(self):
        rows = ktap(GOOD)
        self.assertEqual([row.verdict for row in rows], [PASSED, FAILED, SKIPPED, PASSED])
        self.assertEqual(rows[1], Result("a restore, SVE", FAILED, "# writing X0 back gives EINVAL"))
        self.assertEqual(rows[2].detail, "no SME on this host")

    def test_a_skip_of_kselftest(self):
        self.assertEqual(ktap("ok 1 # SKIP lengths: SME # KVM has no SME here\n"),
                         [Result("lengths: SME", SKIPPED, "KVM has no SME here")])
        self.assertEqual(ktap("ok 1 # SKIP SVE: no SVE on this host\n"),
                         [Result("SVE: no SVE on this host", SKIPPED, "SVE: no SVE on this host")])

    def test_a_program_that_skips_itself(self):
        self.assertEqual(ktap("TAP version 13\n1..0 # SKIP Requirement not met: EL2\n"),
                         [Result("all of it", SKIPPED, "Requirement not met: EL2")])
        self.assertEqual(ktap("TAP version 13\n1..0\n"), [])

    def test_a_failure_is_no_skip(self):
        self.assertEqual(ktap("not ok 1 a # SKIP b\n")[0].verdict, FAILED)

    def test_nested(self):
        self.assertEqual([row.verdict for row in ktap(NESTED)], [PASSED, FAILED, FAILED])

    def test_a_program_that_dies(self):
        rows = ktap("TAP version 13\n1..3\nok 1 a\n# then this\nSegmentation fault\n")
        self.assertEqual([row.verdict for row in rows], [PASSED, FAILED])
        self.assertIn("1 did", rows[1].detail)
        self.assertIn("Segmentation fault", rows[1].detail)

    def test_nothing(self):
        self.assertEqual(ktap(""), [])
        self.assertEqual(ktap("Kernel panic - not ok\n"), [])

    def test_shard(self):
        self.assertEqual(shard("# shard 1/3: 12 of 40 cases\nok 1 a\n# shard 1/3: 5 of 9 cases\n"), (17, 49))
        self.assertEqual(shard("ok 1 a\n"), (0, 0))


class Libtest(unittest.TestCase):
    """Rust's test harness."""

    def test_verdicts(self):
        rows = libtest(RUST)
        self.assertEqual([row.verdict for row in rows], [PASSED, FAILED, SKIPPED])
        self.assertIn("EBUSY", rows[1].detail)

    def test_skipped(self):
        rows = libtest("test a ... ok\ntest b ... ok\n\nsuccesses:\n\n---- a stdout ----\nskipped: no KVM: /dev/kvm\n\n"
                       "---- b stdout ----\n3 pairs\n\n\nsuccesses:\n    a\n    b\n")
        self.assertEqual(rows, [Result("a", SKIPPED, "no KVM: /dev/kvm"), Result("b", PASSED)])

    def test_output_between(self):
        self.assertEqual(libtest("test a ... printed\nthis\nok\n"), [Result("a", PASSED)])
