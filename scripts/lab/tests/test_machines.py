# SPDX-License-Identifier: GPL-2.0-only
"""The file of machines, and what the commands read from the environment."""

import contextlib
import io
import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from command import SCRIPTS, TOP
from machines import MACHINES, lengths, parse


def error_of(text):
    """What is said of a file of machines."""
    err = io.StringIO()
    with contextlib.redirect_stderr(err), contextlib.suppress(SystemExit):
        parse(text)
    return err.getvalue()


class File(unittest.TestCase):
    """scripts/machines."""

    def test_lengths(self):
        self.assertEqual(lengths("-"), ())
        self.assertEqual(lengths("16,64"), (16, 64))
        self.assertEqual(lengths("16-256"), tuple(range(16, 257, 16)))

    def test_a_line(self):
        machine, = parse("# a comment\n\nsmall 16 - max,sme=off arm64.nosme quiet\n").values()
        self.assertEqual(machine, ("small", (16,), (), "max,sme=off", "arm64.nosme quiet"))
        self.assertFalse(machine.fa64)

    def test_what_is_wrong_is_named_with_its_number(self):
        good = "default 16 16 max\n"
        for line, wanted in (("short 16 16", "has a name"), ("odd 17 - max", "17 is not a set"),
                             ("long 512 - max", "512"), ("word x - max", "invalid literal"),
                             ("a 16 - cortex-a57", "cortex-a57 is not a QEMU model"),
                             ("max 16 - max", "is not a name"), ("default 16 - max", "there twice")):
            with self.subTest(line):
                said = error_of(good + line + "\n")
                self.assertIn("scripts/machines:2: ", said)
                self.assertIn(wanted, said)
                self.assertEqual(said.count("\n"), 1)

    def test_boot_reads_the_same_file(self):
        done = subprocess.run([SCRIPTS / "boot", SCRIPTS / "guest/shell"], stderr=subprocess.PIPE, text=True,
                              check=False, env={**os.environ, "CPU": "z80"})
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"CPU=z80 is not one of: {' '.join(MACHINES)} nor", done.stderr)

    def test_boot_names_a_line_that_is_no_machine(self):
        with tempfile.TemporaryDirectory() as tmp:
            scripts = Path(tmp) / "scripts"
            scripts.mkdir()
            for name in ("boot", "lab.sh"):
                shutil.copy(SCRIPTS / name, scripts)
            (scripts / "machines").write_text("# machines\n\nshort 16 16\n")
            done = subprocess.run([scripts / "boot", SCRIPTS / "guest/shell"], stderr=subprocess.PIPE, text=True,
                                  check=False, env={**os.environ, "CPU": "short"})
        self.assertEqual(done.returncode, 1)
        self.assertIn("boot: scripts/machines:3: a machine has", done.stderr)


class Variables(unittest.TestCase):
    """What the commands read from the environment gets through the toolbox."""

    def test_none_is_dropped(self):
        passed = set(re.search(r'^variables="(.*?)"', (SCRIPTS / "toolbox").read_text(), re.M | re.S)[1].split())
        scripts = [path for path in SCRIPTS.iterdir() if path.is_file()]
        read = {name for path in scripts for name in re.findall(r"\$\{([A-Z_]+):?[-=+]", path.read_text())}
        # The toolbox sets these itself.
        self.assertEqual(read - {"LLVM", "TOOLBOX"} - passed, set())

    def test_what_a_boot_is_given_is_not_for_a_makefile(self):
        """KVM is a folder to those of the kernel; the build would not find it."""
        given = {name: "x" for name in ("ARGS", "CPU", "IMAGE", "KVM", "RUN", "SMP")}
        done = subprocess.run(["bash", "-c", f". {SCRIPTS}/lab.sh; make -s -f -", SCRIPTS / "boot"], text=True,
                              check=True, env={**os.environ, **given}, stdout=subprocess.PIPE,
                              input="all:; @echo '$(ARGS)$(CPU)$(IMAGE)$(KVM)$(RUN)$(SMP)'\n")
        self.assertEqual(done.stdout, "\n")

    def test_groups_choose_a_tree_or_what_is_mailed(self):
        def make(*goals):
            done = subprocess.run(["make", "-n", "--no-print-directory", *goals, "GROUPS=fixes reg-list"], cwd=TOP,
                                  check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            return done.returncode, done.stdout, done.stderr
        self.assertIn("build/linux-fixes+reg-list/out ", make()[1])
        # The mails are of these groups; what they are measured and built with is the whole series.
        _, out, _ = make("series")
        self.assertIn("/build/linux/out patched\n", out)
        self.assertRegex(out, r"scripts/tree *\n")
        self.assertRegex(out, r"scripts/series +fixes reg-list\n")
        for goal in ("check", "check-all", "bench", "mutants", "lint"):
            status, out, err = make(goal)
            self.assertEqual((status, out), (2, ""))
            self.assertIn(f"make {goal} takes no GROUPS=", err)
            self.assertEqual(err.count("\n"), 1)

    def test_each_is_documented(self):
        usage = (SCRIPTS / "boot").read_text().partition(". \"$(dirname")[0]
        readme = (TOP / "README.md").read_text()
        read = set(re.findall(r"\$\{([A-Z_]+):?[-=+]", (SCRIPTS / "boot").read_text()))
        self.assertEqual({name for name in read if name not in usage + readme}, set())
