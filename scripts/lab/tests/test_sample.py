# SPDX-License-Identifier: GPL-2.0-only
"""The rule by which programs and kinds of vCPU are dealt out to the cells of the matrix."""

import itertools
import re
import unittest
from functools import reduce

from command import TOP
from machines import MACHINES, MODES
from sample import FEATURES, PROGRAMS, SHARED, commands
from selftests import OF_MODE, RUST

KVMTEST = TOP / "tools-testing-selftests/kvm/arm64/rust/lib"


def kinds(command, number):
    """Those of so many kinds that a command goes through."""
    _, shared, share = command.partition(" -s ")
    part, of = map(int, share.split("/")) if shared else (0, 1)
    return {kind for kind in range(number) if kind % of == part}


def number(kind):
    """The number that lib/ktap.rs gives a kind by its name."""
    return reduce(lambda value, byte: (value * 31 + byte) % 2 ** 64, kind.encode(), 0)


def in_both():
    """The kinds, by name, that both programs in Rust have: what lib/vcpus.rs makes of those of its table."""
    found = []
    for name in re.findall(r'name: "(.+?)"', (KVMTEST / "vcpus.rs").read_text()):
        for mode in ("", " SM", " ZA", " SM ZA") if "SME" in name else ("",):
            for svl in ("greatest", "shortest", "middle") if "SME" in name else ("",):
                for vl in ("greatest", "shortest", "middle") if "SVE" in name else ("",):
                    found.append(name + mode + (svl and f", {svl} SVL") + (vl and f", {vl} VL"))
    return found


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

    def test_both_programs_in_rust_give_a_kind_the_same_number(self):
        """Each machine has every kind, by its name, in one of the two, and so has each mode."""
        self.assertIn("|hash, byte| {\n                hash.wrapping_mul(31).wrapping_add(byte.into())\n            }",
                      (KVMTEST / "ktap.rs").read_text())
        names = in_both()
        self.assertGreater(len(names), 50)
        ran = set()
        for mode, machine in itertools.product(MODES, MACHINES):
            for command, program in commands(mode, machine).items():
                _, _, share = command.partition(" -s ")
                part, of = map(int, (share or "0/1").split("/"))
                if program in RUST:
                    ran |= {(mode, machine, program, name) for name in names if number(name) % of == part}
        self.assertEqual({(machine, name) for _, machine, _, name in ran}, set(itertools.product(MACHINES, names)))
        self.assertEqual({(mode, name) for mode, _, _, name in ran}, set(itertools.product(MODES, names)))
        self.assertEqual({(program, name) for _, _, program, name in ran}, set(itertools.product(RUST, names)))

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
