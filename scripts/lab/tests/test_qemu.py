# SPDX-License-Identifier: GPL-2.0-only
"""What is read of a guest under QEMU: each thing that can go wrong is seen."""

import unittest

from boot import Job
from ktap import PASSED
from suites.qemu import judge

GOOD = """@@begin job
QEMU 1 ended: 0
QEMU 2 ended: 0
@@begin monitors
(qemu) info status
VM status: running
@@end monitors 0
@@begin qemu

@@end qemu 0
linux: @@begin fp-stress
linux: TAP version 13
linux: 1..2
linux: # 2 CPUs, 4 SVE VLs, 0 SME VLs, SME2 absent
linux: ok 1 FPSIMD-0-0
linux: ok 2 SVE-VL-64-0
linux: @@end fp-stress 0
linux: @@end job 0
"""
# What is there instead in one that goes wrong.
WRONG = (("QEMU 2 ended: 0", "QEMU 2 ended: 1"), ("QEMU 2 ended: 0\n", ""), ("job 0", "job 1"),
         ("@@end monitors", "Error: no\n@@end monitors"), ("@@end qemu", "qemu: load of migration failed\n@@end qemu"),
         ("4 SVE VLs", "0 SVE VLs"), ("0 SME VLs", "5 SME VLs"), ("ok 2", "not ok 2"),
         ("linux: ok 2 SVE-VL-64-0\n", ""), ("fp-stress 0", "fp-stress 1"), ("linux: @@end fp-stress 0\n", ""),
         ("linux: @@end job 0\n", "linux: @@end job 0\nlinux: kernel: WARNING: here\n"))


class Qemu(unittest.TestCase):
    """Verdicts of a boot."""

    def test_all_is_well(self):
        rows, found = judge("what", Job(0, GOOD), 2, "log")
        self.assertEqual({row.verdict for row in rows}, {PASSED})
        self.assertEqual(found, [("FPSIMD-0-0", PASSED), ("SVE-VL-64-0", PASSED)])

    def test_what_goes_wrong(self):
        for old, new in WRONG:
            with self.subTest(new):
                text = GOOD.replace(old, new)
                self.assertNotEqual(text, GOOD)
                self.assertNotEqual({row.verdict for row in judge("what", Job(0, text), 2, "log")[0]}, {PASSED})
        self.assertNotEqual({row.verdict for row in judge("what", Job(125, GOOD), 2, "log")[0]}, {PASSED})
