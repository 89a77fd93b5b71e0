# SPDX-License-Identifier: GPL-2.0-only
"""The file of machines, and the rule by which the kinds of vCPU are dealt out to the cells of the matrix."""

import contextlib
import io
import itertools
import os
import re
import subprocess
import unittest

from command import SCRIPTS, TOP
from machines import MACHINES, MODES, lengths, parse, share


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


class Matrix(unittest.TestCase):
    """Which kinds run where."""

    def test_every_pair_is_tested(self):
        # Modes in which a vCPU has all features: there the kinds are that differ.
        kinds = range(100)
        ran = {(mode, machine, kind) for mode in MODES for machine in MACHINES for kind in kinds
               for number, count in [share(mode, machine)] if kind % count == number}
        for first, second in itertools.combinations(range(3), 2):
            pairs = {(cell[first], cell[second]) for cell in ran}
            everything = itertools.product(*[(MODES, MACHINES, kinds)[i] for i in (first, second)])
            self.assertEqual(pairs, set(everything))

    def test_each_kind_on_each_machine_where_sme_vcpus_are(self):
        for machine in MACHINES:
            shares = [share(mode, machine) for mode in ("vhe", "nvhe", "hvhe")]
            covered = {kind for kind in range(30) for number, count in shares if kind % count == number}
            self.assertEqual(covered, set(range(30)))

    def test_it_is_a_sample(self):
        self.assertEqual(share("nvhe", "lpa2")[1], 3)
        self.assertEqual(share("nvhe", "lpa2", whole=True), (0, 1))


class Variables(unittest.TestCase):
    """What the commands read from the environment gets through the toolbox."""

    def test_none_is_dropped(self):
        passed = set(re.search(r'^variables="(.*?)"', (SCRIPTS / "toolbox").read_text(), re.M | re.S)[1].split())
        scripts = [path for path in SCRIPTS.iterdir() if path.is_file()]
        read = {name for path in scripts for name in re.findall(r"\$\{([A-Z_]+):?[-=+]", path.read_text())}
        # The toolbox sets these itself.
        self.assertEqual(read - {"LLVM", "TOOLBOX"} - passed, set())

    def test_each_is_documented(self):
        usage = (SCRIPTS / "boot").read_text().partition(". \"$(dirname")[0]
        readme = (TOP / "README.md").read_text()
        read = set(re.findall(r"\$\{([A-Z_]+):?[-=+]", (SCRIPTS / "boot").read_text()))
        self.assertEqual({name for name in read if name not in usage + readme}, set())
