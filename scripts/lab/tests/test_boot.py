# SPDX-License-Identifier: GPL-2.0-only
"""The protocol between the guest and the lab, by the script that the guest runs."""

import subprocess
import unittest

from boot import Job, Step
from command import SCRIPTS


def guest(body):
    """What a job prints."""
    step = SCRIPTS / "guest/step"
    done = subprocess.run(["sh", "-c", f"step() {{ sh {step} \"$@\"; }}\n{body}"], stdout=subprocess.PIPE, text=True,
                          check=False)
    return Job(done.returncode, done.stdout)


class Steps(unittest.TestCase):
    """scripts/guest/step and boot.Job."""

    def test_output_and_status(self):
        job = guest("step one echo a; step 'two words' sh -c 'echo b; echo c >&2; exit 3'; step none true")
        self.assertEqual(job.step("one"), Step(0, "a\n"))
        self.assertEqual(job.step("two words"), Step(3, "b\nc\n"))
        self.assertEqual(job.step("none"), Step(0, ""))

    def test_output_without_an_end_of_line(self):
        self.assertEqual(guest("step one printf a").step("one"), Step(0, "a\n"))

    def test_the_status_is_that_of_the_command(self):
        self.assertEqual(guest("step one sh -c 'exit 9'").status, 9)

    def test_a_step_that_does_not_end(self):
        job = Job(125, "@@begin one\nok 1 a\n\n@@end one 0\n@@begin two\nok 1 b\nKernel panic\n")
        self.assertEqual(job.step("two"), Step(None, "ok 1 b\nKernel panic\n"))
        self.assertEqual(job.step("three"), Step(None, ""))

    def test_one_name_does_not_end_another(self):
        job = guest("step 'sme_guest a' echo x; step 'sme_guest a b' echo y")
        self.assertEqual(job.step("sme_guest a b").output, "y\n")
