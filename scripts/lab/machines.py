# SPDX-License-Identifier: GPL-2.0-only
"""The emulated machines and the modes of KVM."""

import re
from typing import NamedTuple

from command import SCRIPTS, die

FILE = SCRIPTS / "machines"

MODES = ("vhe", "nvhe", "hvhe", "protected", "nested")


class Machine(NamedTuple):
    """A line of scripts/machines. sve, sme: the vector lengths of a process, in bytes."""

    name: str
    sve: tuple
    sme: tuple
    cpu: str
    append: str

    @property
    def fa64(self):
        """Whether all of A64 can be used in streaming mode, which needs SVE2."""
        return bool(self.sve and self.sme) and "sme_fa64=off" not in self.cpu


def lengths(text):
    """The vector lengths that a word of the file names."""
    if text == "-":
        return ()
    if re.fullmatch(r"\d+-\d+", text):
        first, last = map(int, text.split("-"))
        found = tuple(range(first, last + 1, 16))
    else:
        found = tuple(map(int, text.split(",")))
    if not found or any(length % 16 or not 16 <= length <= 256 for length in found):
        raise ValueError(f"{text} is not a set of vector lengths in bytes: multiples of 16 up to 256")
    return found


def parse(text, where="scripts/machines"):
    """{name: Machine}; a line that is none is named with its number."""
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        words = line.split(None, 4)
        try:
            if len(words) < 4:
                raise ValueError("a machine has a name, SVE lengths, SME lengths and a QEMU model")
            name, sve, sme, cpu = words[:4]
            if not re.fullmatch(r"[a-z][a-z0-9-]*", name) or name.startswith("max"):
                raise ValueError(f"{name} is not a name: small letters, digits and dashes, and no QEMU model")
            if not re.fullmatch(r"max(,[\w-]+=\w+)*", cpu):
                raise ValueError(f"{cpu} is not a QEMU model: max, and properties as in max,sve=off")
            if name in found:
                raise ValueError(f"{name} is there twice")
            found[name] = Machine(name, lengths(sve), lengths(sme), cpu, words[4] if len(words) > 4 else "")
        except ValueError as error:
            die(f"{where}:{number}: {error}")
    return found


MACHINES = parse(FILE.read_text())
