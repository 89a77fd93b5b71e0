# SPDX-License-Identifier: GPL-2.0-only
"""What is read of a guest: what the VMM says, and the guest's own steps among those of its machine."""

import subprocess
import tempfile
import unittest
from pathlib import Path

from boot import Job, Step
from guest import Vmm, compare, ends, of_guest, warnings
from ktap import PASSED
from selftests import patient
from suites.guests import overlap, sums

SAID = """restored: SVCR 3 0, 0 failed, 0 differ
restored: SVCR 0 0, 257 failed, 307 differ
  writing ZA.H[0]: Device or resource busy (os error 16)
in a new process:
restored: SVCR 0 2, 0 failed, 1 differ
restored: SVCR, 0 failed, 0 differ
linux-vmm: SVCR is not what it was
ended: 1
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
linux: kernel: WARNING: arch/arm64/kvm/arm.c:1 at nowhere
@@end linux 0
"""


class Guests(unittest.TestCase):
    """Counts and steps."""

    def test_vmm(self):
        """Saves in each state, moves, failed calls and what differs are counted; errors are no saves."""
        vmm = Vmm(Step(0, SAID))
        self.assertEqual((vmm.restores, vmm.moves, vmm.streaming, vmm.za), (4, 1, 1, 2))
        self.assertEqual((vmm.failed, vmm.differ), (257, 308))
        self.assertEqual((vmm.states, vmm.status), ([3, 0, 1, 1], 1))

    def test_vmm_says_nothing(self):
        """A VMM that never ran has saved nothing."""
        self.assertEqual((Vmm(Step(None, "")).restores, Vmm(Step(None, "")).status), (0, None))

    def test_patient(self):
        """A selftest that was too slow has two chances more; one that fails has none."""
        for says, status, runs in (("-- Timeout", 1, 3), ("not ok 1", 1, 1), ("ok 1", 0, 1)):
            with tempfile.TemporaryDirectory() as tmp:
                program = Path(tmp, "sve_regs")
                program.write_text(f"#!/bin/sh\necho run >> runs\necho '{says}' >&2\nexit {status}\n")
                program.chmod(0o755)
                job = subprocess.run(patient("sve_regs"), shell=True, cwd=tmp, stdout=subprocess.PIPE, text=True)
                self.assertEqual((job.stdout, job.returncode), (f"{says}\n", status))
                self.assertEqual(len(Path(tmp, "runs").read_text().splitlines()), runs, says)

    def test_guests_side_by_side(self):
        """Each guest has its own steps, whatever the other one says meanwhile."""
        linux, other = (of_guest(Job(0, CONSOLE), name) for name in ("linux", "other"))
        self.assertEqual((linux.step("sums").status, other.step("sums").status), (0, 1))
        self.assertTrue(sums(linux)[0])
        self.assertFalse(sums(other)[0])

    def test_no_sum(self):
        """No sum at all is not right."""
        self.assertFalse(sums(Job(0, "@@begin sums\n0 sums are right\n1 sums are right\n@@end sums 0\n"))[0])

    def test_how_a_guest_ends(self):
        """By its own status, not that of its machine, and what its kernel warned of is seen."""
        linux, other = (of_guest(Job(7, CONSOLE), name) for name in ("linux", "other"))
        self.assertEqual((linux.status, other.status), (0, None))
        self.assertEqual((len(warnings(linux)), len(warnings(other))), (1, 0))

    def test_what_ends_well(self):
        """Machine, guest, VMM and the guest's kernel, each can fail."""
        console = "linux: @@end job 0\n@@begin linux\nended: 0\n@@end linux 0\n"

        def good(text, status=0):
            job = Job(status, text)
            return all(row.verdict == PASSED for row in ends({"": job, "linux": of_guest(job, "linux")}, "log"))
        self.assertTrue(good(console))
        self.assertFalse(good(console, 125))
        for old, new in (("job 0", "job 1"), ("linux: @@end job 0\n", ""), ("ended: 0", "ended: 134"),
                         ("ended: 0\n", ""), ("job 0\n", "job 0\nlinux: kernel: WARNING: x\n")):
            self.assertFalse(good(console.replace(old, new)), (old, new))

    def test_compare(self):
        """What is missing, changed, more, once less, or has not ended is not the same."""
        bare = [("p", "a", "passed"), ("p", "a", "failed"), ("p", "b", "skipped"), ("p", "as a whole", "failed")]

        def bad(there, here):
            return [what for what, good in compare(there, here) if not good]
        self.assertEqual(len(compare(bare, bare)), 3)
        self.assertFalse(bad(bare, bare))
        self.assertEqual(bad(bare, bare[:2] + bare[3:]), ["p: b: skipped, not there in the guest"])
        self.assertEqual(bad(bare, bare[1:]), ["p: a: passed failed, failed in the guest"])
        self.assertEqual(bad(bare, [("p", "a", "passed"), ("p", "a", "passed"), *bare[2:]]),
                         ["p: a: passed failed, passed passed in the guest"])
        self.assertEqual(bad(bare, [*bare, ("q", "c", "passed")]), ["q: c: not there, passed in the guest"])
        self.assertEqual(bad([("p", "a", "passed")] * 2, [("p", "a", "passed")]),
                         ["p: a: passed passed, passed in the guest"])
        for how in ("no end", "did not end"):
            ends_so = [("p", "as a whole", how)]
            self.assertEqual(bad(ends_so, ends_so), [f"p: as a whole: {how}, {how} in the guest"])

    def test_overlap(self):
        """Turns of the machine that lie within those of both guests are counted, others are not."""
        begin, end = "\n{}: @@begin fp-stress\n", "\n{}: @@end fp-stress 0\n"
        turn = "\n@@begin fp-stress-{0}\nok\n@@end fp-stress-{0} 0\n"
        both = begin.format("one") + begin.format("other")
        over = end.format("other") + end.format("one")
        self.assertEqual(overlap(turn.format(1) + both + turn.format(2) + turn.format(3) + over + turn.format(4)), 2)
        self.assertEqual(overlap(turn.format(1) + both + over), 0)
        self.assertEqual(overlap(both + turn.format(1) + end.format("one")), 0)
