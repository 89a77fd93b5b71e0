# SPDX-License-Identifier: GPL-2.0-only
"""Ending what the lab has started."""

import os
import signal
import subprocess
import sys
import unittest

from command import SCRIPTS

# As a suite of check.py runs demo.py, and that a boot: a session in a session. It gets its signal before the lab has
# noted what it has just started.
INNER = """
import command, time
class Late(set):
    def add(self, child):
        time.sleep(0.3)
        super().add(child)
command._running = Late()
command.end_by_signals()
command.run(["sh", "-c", "echo $$ >&2; sleep 300"])
"""
CHECK = f"""
import signal, sys, threading, command
def stop(*_):
    command.stop_all()
    raise SystemExit(130)
signal.signal(signal.SIGTERM, stop)
threading.Thread(target=command.run, args=[[sys.executable, "-c", {INNER!r}]], daemon=True).start()
signal.pause()
"""


class Ending(unittest.TestCase):
    """Signals."""

    def ends(self, program, number):
        """Starts a program that says the id of a process inside, ends it by a signal: whether the other ends too."""
        with subprocess.Popen([sys.executable, "-c", program], cwd=SCRIPTS / "lab", stderr=subprocess.PIPE, text=True,
                              start_new_session=True) as child:
            inside = int(child.stderr.readline())
            child.send_signal(number)
            try:
                # The pipe ends when nobody has it any more.
                child.communicate(timeout=60)
                return child.returncode != 0
            except subprocess.TimeoutExpired:
                os.killpg(inside, signal.SIGKILL)
                return False

    def test_a_program_with_what_it_runs(self):
        self.assertTrue(self.ends(INNER, signal.SIGTERM))
        self.assertTrue(self.ends(INNER, signal.SIGINT))

    def test_a_program_in_a_suite_with_what_that_runs(self):
        self.assertTrue(self.ends(CHECK, signal.SIGTERM))
