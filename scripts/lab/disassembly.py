# SPDX-License-Identifier: GPL-2.0-only
"""Functions of the built kernel as objdump shows them, and the ways through them.

The kernel patches itself when it boots: an alternative takes the place of an instruction, a static branch is a
branch or a nop. What an instruction can become is part of it here.
"""

import re
import struct
from functools import cache
from typing import NamedTuple

from command import run

_LINE = re.compile(r"^ *([0-9a-f]+):\t([0-9a-f]{8}) *\t(\S+)[ \t]*(.*)$", re.M)
_DUMP = re.compile(r"^ ([0-9a-f]+) ((?:[0-9a-f]{2,8} ){1,4})", re.M)
_TARGET = re.compile(r"\b([0-9a-f]{6,}) <([^>+]+)(?:\+0x[0-9a-f]+)?>")
# brk: a BUG(), or a WARN_ON(), behind which the way goes on that there is without it too.
_ENDS = ("ret", "retaa", "retab", "br", "eret", "eretaa", "brk")
# aarch64_insn_is_branch_imm()
_BRANCH = re.compile(r"b$|bl$|b\.|cbn?z|tbn?z")


class Instruction(NamedTuple):
    """text: as objdump has it; target: of a branch or a call, called: its symbol."""

    address: int
    word: int
    name: str
    text: str
    target: int | None
    called: str | None


NOP = Instruction(0, 0xd503201f, "nop", "nop", None, None)


def _instructions(vmlinux, *options):
    status, out, _ = run(["aarch64-linux-gnu-objdump", "-dz", *options, vmlinux])
    if status:
        raise RuntimeError(f"objdump fails on {vmlinux}")
    found = []
    for address, word, name, rest in _LINE.findall(out):
        target = _TARGET.search(rest) if _BRANCH.match(name) else None
        found.append(Instruction(int(address, 16), int(word, 16), name, f"{name} {rest}",
                                 int(target[1], 16) if target else None, target[2] if target else None))
    return found


def _bytes(vmlinux, *options):
    """(address of the first, all bytes) of a section or of a range of addresses."""
    _, out, _ = run(["aarch64-linux-gnu-objdump", "-s", *options, vmlinux])
    rows = _DUMP.findall(out)
    return (int(rows[0][0], 16), bytes.fromhex("".join(hexes for _, hexes in rows))) if rows else (0, b"")


@cache
def _patched(vmlinux):
    """([(original, its end, replacement, or None for nops)], {static branch: target}), both by address."""
    start, data = _bytes(vmlinux, "-j", ".altinstructions")
    alternatives = []
    for at in range(0, len(data) // 12 * 12, 12):
        original, replacement, cap, length, _ = struct.unpack_from("<iiHBB", data, at)
        # The topmost bit of the capability: not another sequence but a function that patches, a branch with a nop.
        alternatives.append((start + at + original, start + at + original + length,
                             None if cap >> 15 else start + at + 4 + replacement))
    _, symbols, _ = run(["aarch64-linux-gnu-nm", vmlinux])
    ends = [int(re.search(rf"^(\S+) . __{end}___jump_table$", symbols, re.M)[1], 16) for end in ("start", "stop")]
    start, data = _bytes(vmlinux, f"--start-address={ends[0]:#x}", f"--stop-address={ends[1]:#x}")
    branches = {}
    for at in range(0, len(data) // 16 * 16, 16):
        code, target = struct.unpack_from("<ii", data, at)
        branches[start + at + code] = start + at + 4 + target
    return alternatives, branches


class Function:
    """versions: {address: [Instruction]}, what is there in the file first; follow: {address: {address}}."""

    def __init__(self, vmlinux, name):
        code = _instructions(vmlinux, f"--disassemble={name}")
        if not code:
            raise LookupError(f"there is no function {name}() in {vmlinux}")
        self.name, first, last = name, code[0].address, code[-1].address
        self.versions = {instruction.address: [instruction] for instruction in code}
        alternatives, branches = _patched(str(vmlinux))
        self._patch(vmlinux, [entry for entry in alternatives if first <= entry[0] <= last])
        self.follow = {}
        for address, versions in self.versions.items():
            self.follow[address] = {place for version in versions for place in self._next(address, version)}
            if address in branches:
                self.follow[address] |= {address + 4, branches[address]}
            self.follow[address] &= self.versions.keys()

    def _patch(self, vmlinux, alternatives):
        """Adds what stands in the replacements, which objdump finds in one go."""
        places = [(at, at + end - original) for original, end, at in alternatives if at is not None]
        there = {other.address: other for other in _instructions(
            vmlinux, f"--start-address={min(places)[0]:#x}",
            f"--stop-address={max(end for _, end in places):#x}")} if places else {}
        for original, end, at in alternatives:
            for address in range(original, end, 4):
                other = NOP if at is None else there[at + address - original]
                # A branch inside of the replacement stays in there.
                if at is not None and other.target is not None and at <= other.target < at + end - original:
                    other = other._replace(target=original + other.target - at)
                self.versions[address].append(other)

    @staticmethod
    def _next(address, version):
        if version.name in _ENDS:
            return ()
        if version.name == "b":
            return (version.target,)
        if version.target is not None and version.name != "bl":
            return (version.target, address + 4)
        return (address + 4,)


def unsynchronized(function, write, event, use):
    """(how many writes there are, [(write, use)] that a way through the function has no event between).

    write, event and use say of an Instruction whether it is one. An event is one in every version, a use in any.
    """
    count, found = 0, []
    for start, versions in function.versions.items():
        if not any(map(write, versions)):
            continue
        count += 1
        seen, ways = set(), list(function.follow[start])
        while ways:
            address = ways.pop()
            if address in seen or all(map(event, function.versions[address])):
                continue
            seen.add(address)
            uses = [version for version in function.versions[address] if use(version)]
            if uses:
                found.append((versions[0], uses[0]))
            else:
                ways += function.follow[address]
    return count, found
