// SPDX-License-Identifier: GPL-2.0-only

//! The vector registers of an arm64 vCPU, and the order in which a register list is safe to
//! restore.
//!
//! Pure functions over register ids: they allocate nothing, take no lock and do not panic on any
//! input.

use core::mem::MaybeUninit;
use kernel::{bindings, kvm::RegId, prelude::*};

/// What decides which vector registers a vCPU has.
pub(crate) use bindings::kvm_arm_vec_state as VecState;

const SVE_VLS: RegId = RegId::new(bindings::KVM_REG_ARM64_SVE_VLS);
const SME_VLS: RegId = RegId::new(bindings::KVM_REG_ARM64_SME_VLS);
const SVCR: RegId = RegId::new(bindings::KVM_REG_ARM64_SVCR);
const ID_AA64PFR1_EL1: RegId = RegId::new(bindings::KVM_REG_ARM64_ID_AA64PFR1_EL1);
const CNTVCT_EL0: RegId = RegId::new(bindings::KVM_REG_ARM_TIMER_CNT);

const Z: Block = Block::numbered(
    bindings::KVM_REG_ARM64_SVE_Z0,
    bindings::KVM_ARM64_SVE_NUM_ZREGS,
);
const P: Block = Block::numbered(
    bindings::KVM_REG_ARM64_SVE_P0,
    bindings::KVM_ARM64_SVE_NUM_PREGS,
);
const FFR: Block = Block::numbered(bindings::KVM_REG_ARM64_SVE_FFR0, 1);
const ZA: Block = Block::numbered(
    bindings::KVM_REG_ARM64_SME_ZA0,
    bindings::KVM_ARM64_SME_MAX_ZAHREG,
);
const ZT0: Block = Block::numbered(bindings::KVM_REG_ARM64_SME_ZT0, 1);
const V: Block = Block {
    first: RegId::new(bindings::KVM_REG_ARM64_V0),
    // The number of a core register counts words of 32 bits.
    shift: 2,
    count: 32,
};
const FPSR: Block = Block::one(RegId::new(bindings::KVM_REG_ARM64_FPSR));
const FPMR: Block = Block::one(RegId::new(bindings::KVM_REG_ARM64_FPMR));
const WORKAROUND_2: Block = Block::one(RegId::new(bindings::KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_2));
const CNTPCT_EL0: Block = Block::one(RegId::new(bindings::KVM_REG_ARM_PTIMER_CNT));

/// The vector registers that a vCPU in this state has, in the kernel's own order.
fn blocks(state: VecState) -> [Block; 7] {
    let streaming = state.sme && state.sm;
    let za = state.sme && state.za;
    let vectors = state.sve || streaming;
    let ffr = if streaming { state.fa64 } else { state.sve };

    [
        Block::one(SVE_VLS).only_if(state.sve),
        Z.only_if(vectors),
        P.only_if(vectors),
        FFR.only_if(ffr),
        Block::one(SME_VLS).only_if(state.sme),
        // ZA has as many rows as a streaming vector has bytes.
        Block {
            count: state.svl.into(),
            ..ZA
        }
        .only_if(za),
        ZT0.only_if(za && state.sme2),
    ]
}

/// The ids of the vector registers that a vCPU in this state has.
pub(crate) fn registers(state: VecState) -> impl Iterator<Item = RegId> {
    blocks(state).into_iter().flat_map(Block::registers)
}

/// Whether `id` is one of the [`registers`] of a vCPU in this state.
pub(crate) fn has(state: VecState, id: RegId) -> bool {
    blocks(state).iter().any(|block| block.contains(id))
}

/// Stores `registers` in `slots` for as long as there is room, and counts on past it.
///
/// Returns the number of registers, which is greater than that of the slots if they did not fit.
pub(crate) fn store(
    registers: impl Iterator<Item = RegId>,
    slots: &mut [MaybeUninit<RegId>],
) -> usize {
    let mut slots = slots.iter_mut();
    let mut n = 0usize;

    registers.for_each(|id| {
        if let Some(slot) = slots.next() {
            slot.write(id);
        }
        // It is bounded by the number of registers: no need to look for an overflow.
        n = n.wrapping_add(1);
    });
    n
}

/// Moves the [`LEADERS`] to the front in one pass, as they come. Returns how many there are.
fn gather(ids: &mut [RegId]) -> usize {
    let mut found = 0usize;

    for place in 0..ids.len() {
        if ids.get(place).is_some_and(|id| LEADERS.contains(id)) {
            if let Some(up_to_leader @ [_, ..]) = ids.get_mut(found..=place) {
                up_to_leader.rotate_right(1);
            }
            found = found.wrapping_add(1);
        }
    }
    found
}

/// Puts a list in an order that is safe to restore: the [`LEADERS`] first, all else as it was.
pub(crate) fn order(ids: &mut [RegId]) {
    let found = gather(ids);
    let mut rest = ids.get_mut(..found).unwrap_or_default();

    for leader in LEADERS {
        if let Some(place) = rest.iter().position(|&id| id == leader) {
            rest.copy_within(..place, 1);
            if let [first, others @ ..] = rest {
                *first = leader;
                rest = others;
            }
        }
    }
}

/// The registers that others depend on, in the order in which they lead a list.
const LEADERS: [RegId; 5] = [SVE_VLS, SME_VLS, SVCR, ID_AA64PFR1_EL1, CNTVCT_EL0];

/// Which register has to be restored before which others, as it decides about them.
pub(crate) const DEPENDENCIES: [(RegId, Block); 18] = [
    // The lengths are fixed by KVM_ARM_VCPU_FINALIZE, and with them the size of the vectors, which
    // can be accessed only after it: Documentation/virt/kvm/api.rst, KVM_ARM_VCPU_FINALIZE.
    (SVE_VLS, Z),
    (SVE_VLS, P),
    (SVE_VLS, FFR),
    // In streaming mode the vectors have a streaming vector length; ZA has rows of this length,
    // and as many. ZT0 can be accessed only after KVM_ARM_VCPU_FINALIZE.
    (SME_VLS, Z),
    (SME_VLS, P),
    (SME_VLS, FFR),
    (SME_VLS, ZA),
    (SME_VLS, ZT0),
    // SVCR.SM decides which vectors there are and how large they are, and a change of it sets them
    // to 0, V and FPMR too, and FPSR to 0x0800009f: Arm ARM, B1.4, on PSTATE.SM.
    (SVCR, Z),
    (SVCR, P),
    (SVCR, FFR),
    (SVCR, V),
    (SVCR, FPSR),
    (SVCR, FPMR),
    // SVCR.ZA decides whether there are ZA and ZT0, and sets them to 0 when it becomes 1: Arm ARM,
    // B1.4, on PSTATE.ZA.
    (SVCR, ZA),
    (SVCR, ZT0),
    // Which levels of the workaround can be written depends on whether the guest has SSBS:
    // get_kernel_wa_level() in arch/arm64/kvm/hypercalls.c.
    (ID_AA64PFR1_EL1, WORKAROUND_2),
    // The counters of a vCPU with EL2 share one offset, and the one that is written last decides:
    // kvm_timer_vcpu_reset() in arch/arm64/kvm/arch_timer.c.
    (CNTVCT_EL0, CNTPCT_EL0),
];

// A register that decides is a leader, and comes before every leader that it decides about.
static_assert!({
    let mut line = 0;
    let mut good = true;
    while line < DEPENDENCIES.len() {
        let (first, then) = DEPENDENCIES[line];
        let mut found = false;
        let mut i = 0;
        while i < LEADERS.len() {
            good &= found || !then.contains(LEADERS[i]);
            found |= LEADERS[i].raw() == first.raw();
            i += 1;
        }
        good &= found;
        line += 1;
    }
    good
});

/// Registers of one kind, whose ids are at equal distances.
#[derive(Clone, Copy)]
pub(crate) struct Block {
    first: RegId,
    /// The distance between two ids, as a power of two.
    shift: u32,
    count: u32,
}

impl Block {
    /// A single register.
    const fn one(first: RegId) -> Self {
        Self {
            first,
            shift: 0,
            count: 1,
        }
    }

    /// Vector registers: their number stands above the 5 bits of the slice.
    const fn numbered(first: u64, count: u32) -> Self {
        Self {
            first: RegId::new(first),
            shift: 5,
            count,
        }
    }

    /// All of them, or none.
    const fn only_if(self, present: bool) -> Self {
        Self {
            count: if present { self.count } else { 0 },
            ..self
        }
    }

    fn registers(self) -> impl Iterator<Item = RegId> {
        (0..self.count).map(move |n| {
            let distance = u64::from(n).wrapping_shl(self.shift);

            RegId::new(self.first.raw().wrapping_add(distance))
        })
    }

    pub(crate) const fn contains(self, id: RegId) -> bool {
        let distance = id.raw().wrapping_sub(self.first.raw());
        let n = distance.wrapping_shr(self.shift);

        n < self.count as u64 && n.wrapping_shl(self.shift) == distance
    }
}
