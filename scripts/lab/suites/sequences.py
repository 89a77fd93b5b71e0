# SPDX-License-Identifier: GPL-2.0-only
"""System registers and what depends on them, in the instructions of the built kernel.

QEMU sees a write to a system register at once. A CPU may see it only at the next context synchronization event, so no
test in an emulated guest finds one that is missing. What has to come between is in the table in
arch/arm64/kvm/hyp/include/hyp/switch.h; here are its rows as instructions.
"""

from typing import NamedTuple

from command import TREE
from disassembly import Function, unsynchronized
from ktap import verdict
from suite import Suite

MSR, MRS = 0xd5100000, 0xd5300000


def sysreg(op1, crn, crm, op2):
    """The bits of an MSR or MRS that say which register (of op0 = 3) it is."""
    return 1 << 19 | op1 << 16 | crn << 12 | crm << 8 | op2 << 5


# _EL1, _EL2, _EL12; CPACR_EL1, which is CPTR_EL2 with VHE, and CPTR_EL2
SMCR = [sysreg(op1, 1, 2, 6) for op1 in (0, 4, 5)]
ZCR = [sysreg(op1, 1, 2, 0) for op1 in (0, 4, 5)]
CPTR = [sysreg(0, 1, 0, 2), sysreg(4, 1, 1, 2)]
SVCR = [sysreg(3, 4, 2, 2)]


def moves(registers, *directions):
    """(mask, value) of the moves to (MSR) or from (MRS) registers."""
    return [(0xffffffe0, direction | register) for register in registers for direction in directions]


def one_of(*encodings):
    """Whether an instruction is one of (mask, value)."""
    return lambda it: any(it.word & mask == value for mask, value in encodings)


def calls(name):
    """Whether it is a call of a function."""
    return lambda it: it.name == "bl" and it.called == name


def either(*tests):
    """Whether one of the tests says so."""
    return lambda it: any(test(it) for test in tests)


isb = one_of((0xffffffff, 0xd5033fdf))
# What CPTR_EL2 traps: the registers, and FP and SIMD data processing, loads and stores, SVE, SME
trapped = one_of(*moves(SMCR + ZCR + SVCR, MSR, MRS), (0x0e000000, 0x0e000000), (0x0e000000, 0x0c000000),
                 (0x1e000000, 0x04000000), (0x9e000000, 0x80000000))
# What there is with FA64 and EZT0 alone: LDR ZT0, STR ZT0, RDFFR, WRFFR, SETFFR
featured = one_of((0xfffffc1f, 0xe11f8000), (0xfffffc1f, 0xe13f8000), (0xfffffff0, 0x2519f000),
                  (0xfffffe1f, 0x25289000), (0xffffffff, 0x252c9000))
writes_cptr, writes_smcr = one_of(*moves(CPTR, MSR)), one_of(*moves(SMCR, MSR))
# __guest_enter() ends in an ERET.
enters_vhe = either(isb, calls("__guest_enter"))

VHE_RUN, NVHE_RUN = "__kvm_vcpu_run", "__kvm_nvhe_handle___kvm_vcpu_run"
PROTECTED_SYNC = "__kvm_nvhe_sync_hyp_vcpu"
LOADS = ("kvm_hyp_handle_fpsimd", "__kvm_nvhe_kvm_hyp_handle_fpsimd")


def enters(it):
    """Whether it is where a function begins."""
    return it.text.startswith("stp x29, x30,")


def leaves_vhe_run(it):
    """Whether it gives the CPU back to the host, whose use of SME nobody here knows."""
    return it.name.startswith("ret") or (it.name == "b" and it.called != VHE_RUN)


class Row(NamedTuple):
    """On no way through the function is there a use behind a write without an event between them."""

    what: str
    function: str
    write: object
    use: object
    event: object = isb


ROWS = (
    Row("CPTR_EL2 for the host, then what it traps", VHE_RUN, either(writes_cptr, calls("__deactivate_traps")),
        trapped, enters_vhe),
    *(Row("CPTR_EL2 for the load of the guest's state, then that", name, writes_cptr, trapped) for name in LOADS),
    Row("SMCR_EL2 for the host, then the host", VHE_RUN, writes_smcr, either(featured, leaves_vhe_run), enters_vhe),
    *(Row("SMCR_EL2 for the load of the guest's state, then that", name, writes_smcr, featured) for name in LOADS),
    Row("CPTR_EL2 for the host, then SVCR where nothing was loaded", NVHE_RUN, calls("__kvm_nvhe___kvm_vcpu_run"),
        one_of(*moves(SVCR, MSR))),
    Row("CPTR_EL2 for the host, then the save of the guest's state", PROTECTED_SYNC, enters, trapped),
)


def sequences():
    """Each row of the table."""
    results, functions = [], {}
    for row in ROWS:
        if row.function not in functions:
            functions[row.function] = Function(str(TREE / "out/vmlinux"), row.function)
        count, found = unsynchronized(functions[row.function], row.write, row.event, row.use)
        why = "\n".join(f"{use.address:x}: {use.text} comes behind {write.address:x}: {write.text}"
                        for write, use in found) if count else "there is no such write"
        results.append(verdict(f"{row.what} ({row.function})", count and not found, why))
    return results


SUITES = (
    Suite("sequences of instructions", sequences, ("patched",)),
)
