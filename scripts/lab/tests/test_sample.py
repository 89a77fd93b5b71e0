# SPDX-License-Identifier: GPL-2.0-only
"""The rule by which programs and kinds of vCPU are dealt out to the cells of the matrix."""

import itertools
import unittest

from machines import MACHINES, MODES
from sample import FEATURES, PROGRAMS, SHARED, commands
from selftests import OF_MODE


def kinds(command, number):
    """Those of so many kinds that a command goes through."""
    _, shared, share = command.partition(" -s ")
    part, of = map(int, share.split("/")) if shared else (0, 1)
    return {kind for kind in range(number) if kind % of == part}


class Sample(unittest.TestCase):
    """What is run where."""

    def test_every_pair_is_run(self):
        number = 90
        ran = {(mode, machine, program, kind) for mode in MODES for machine in MACHINES
               for command, program in commands(mode, machine).items() if program in PROGRAMS
               for kind in kinds(command, number)}
        axes = (MODES, MACHINES, PROGRAMS, range(number))
        for one, other in itertools.combinations(range(4), 2):
            pairs = {(cell[one], cell[other]) for cell in ran}
            self.assertEqual(pairs, set(itertools.product(axes[one], axes[other])))

    def test_what_one_mode_has_is_tested_on_all_machines(self):
        for (mode, programs), machine in itertools.product(OF_MODE.items(), MACHINES.values()):
            found = set(commands(mode, machine.name)) & set(programs)
            self.assertEqual(found, set(programs) if machine.sme else set())

    def test_where_all_kinds_are_each_is_tested_in_c_and_in_rust(self):
        for machine in MACHINES:
            found = {language: set() for language in ("C", "Rust")}
            for mode in ("vhe", "nvhe", "hvhe"):
                for command, program in commands(mode, machine).items():
                    if program == "sme_guest":
                        found["C"] |= kinds(command, FEATURES)
                    elif program in SHARED:
                        found["Rust"] |= kinds(command, 90)
            self.assertEqual(found, {"C": set(range(FEATURES)), "Rust": set(range(90))})

    def test_no_program_has_the_same_kinds_on_all_machines(self):
        for program in (name for name in SHARED if name != "sme_guest"):
            seen = {kind for machine in MACHINES if machine != "default" for mode in ("vhe", "nvhe", "hvhe")
                    for command, name in commands(mode, machine).items() if name == program
                    for kind in kinds(command, 90)}
            self.assertEqual(seen, set(range(90)))

    def test_it_is_a_sample(self):
        self.assertLess(len(commands("nvhe", "lpa2")), len(PROGRAMS))
        self.assertEqual(commands("nvhe", "lpa2", whole=True), {name: name for name in PROGRAMS})
        self.assertEqual(commands("vhe", "default"), commands("nvhe", "lpa2", whole=True))
        self.assertEqual(len(commands("nested", "default")), len(PROGRAMS) + 1)
