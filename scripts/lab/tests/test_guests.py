# SPDX-License-Identifier: GPL-2.0-only
"""What is read of a guest: what the VMM says, and the guest's own steps among those of its machine."""

import unittest

from boot import Job, Step
from suites.guests import Vmm, of_guest, sums

SAID = """restored: SVCR 3 0, 0 failed, 0 differ
restored: SVCR 0 0, 257 failed, 307 differ
  writing ZA.H[0]: Device or resource busy (os error 16)
in a new process:
restored: SVCR 0 2, 0 failed, 1 differ
restored: SVCR, 0 failed, 0 differ
linux-vmm: SVCR is not what it was
"""

CONSOLE = """@@begin linux
linux: @@begin job
other: @@begin sums
linux: @@begin sums
linux: 7 sums are right
other: row 1, column 2 of ZA0 is 0, not 4000, after 1 sums that are right
linux: 1 sums are right
linux: @@end sums 0
other: @@end sums 1
linux: @@end job 0
@@end linux 0
"""


class Guests(unittest.TestCase):
    """Counts and steps."""

    def test_vmm(self):
        """Saves in each state, moves, failed calls and what differs are counted; errors are no saves."""
        vmm = Vmm(Step(0, SAID))
        self.assertEqual((vmm.restores, vmm.moves, vmm.streaming, vmm.za), (4, 1, 1, 2))
        self.assertEqual((vmm.failed, vmm.differ), (257, 308))

    def test_vmm_says_nothing(self):
        """A VMM that never ran has saved nothing."""
        self.assertEqual(Vmm(Step(None, "")).restores, 0)

    def test_guests_side_by_side(self):
        """Each guest has its own steps, whatever the other one says meanwhile."""
        linux, other = (of_guest(Job(0, CONSOLE), name) for name in ("linux", "other"))
        self.assertEqual((linux.step("sums").status, other.step("sums").status), (0, 1))
        self.assertTrue(sums(linux)[0])
        self.assertFalse(sums(other)[0])

    def test_no_sum(self):
        """No sum at all is not right."""
        self.assertFalse(sums(Job(0, "@@begin sums\n0 sums are right\n1 sums are right\n@@end sums 0\n"))[0])
