// SPDX-License-Identifier: GPL-2.0-only

//! The vector registers of an arm64 vCPU and the order in which a register list is safe to
//! restore.
//!
//! Pure functions on plain `core`: the same file is built into the kernel, into an out-of-tree
//! module and into tests on the host. It allocates nothing, takes no lock and cannot panic. What
//! includes it has the generic register id, `rust/kernel/kvm.rs`, in scope as `kvm`.

// Tests on the host use this from another crate.
#![allow(unreachable_pub)]

use super::kvm::RegId;
use core::{cell::Cell, mem::MaybeUninit};

/// The ids of the vector registers, and of the registers that depend on one of them.
///
/// Source: `KVM_REG_ARM64_*` in `arch/arm64/include/uapi/asm/kvm.h`.
pub mod id {
    use super::RegId;

    /// `KVM_REG_ARM64_SVE_VLS`: the set of the vector lengths, a bitmap of 512 bits.
    pub const SVE_VLS: RegId = RegId::new(0x6060_0000_0015_ffff);

    /// The first of the SVE class, slice 0: Z0, in a container of 2048 bits.
    pub const Z0: RegId = RegId::new(0x6080_0000_0015_0000);

    /// P0, in a container of 256 bits.
    pub const P0: RegId = RegId::new(0x6050_0000_0015_0400);

    /// FFR, in a container of 256 bits.
    pub const FFR: RegId = RegId::new(0x6050_0000_0015_0600);

    /// `KVM_REG_ARM64_SME_VLS`: the set of the streaming vector lengths, a bitmap of 512 bits.
    pub const SME_VLS: RegId = RegId::new(0x6060_0000_0017_fffe);

    /// The first row of ZA, slice 0: ZA.H\[0\], in a container of 2048 bits.
    pub const ZA0: RegId = RegId::new(0x6080_0000_0017_0000);

    /// ZT0, 512 bits. Only its size tells it from ZA.H\[48\].
    pub const ZT0: RegId = RegId::new(0x6060_0000_0017_0600);

    /// SVCR, system register 3 3 4 2 2.
    pub const SVCR: RegId = RegId::new(0x6030_0000_0013_da12);

    /// FPMR, system register 3 3 4 4 2.
    pub const FPMR: RegId = RegId::new(0x6030_0000_0013_da22);

    /// FPSR, a core register of 32 bits.
    pub const FPSR: RegId = RegId::new(0x6020_0000_0010_00d4);

    /// V0, a core register of 128 bits. The index of a core register counts words of 32 bits.
    pub const V0: RegId = RegId::new(0x6040_0000_0010_0054);

    /// V31.
    pub const V31: RegId = RegId::new(V0.raw() + 31 * 4);

    /// ID_AA64PFR1_EL1, system register 3 0 0 4 1.
    pub const ID_AA64PFR1_EL1: RegId = RegId::new(0x6030_0000_0013_c021);

    /// `KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_2`, a firmware register.
    pub const WORKAROUND_2: RegId = RegId::new(0x6030_0000_0014_0002);

    /// `KVM_REG_ARM_TIMER_CNT`: CNTVCT_EL0, but for its number.
    pub const CNTVCT_EL0: RegId = RegId::new(0x6030_0000_0013_df1a);

    /// `KVM_REG_ARM_PTIMER_CNT`: CNTPCT_EL0.
    pub const CNTPCT_EL0: RegId = RegId::new(0x6030_0000_0013_df01);

    /// How many Z registers there are (Arm ARM, B1.2.1).
    pub const NUM_ZREGS: u64 = 32;

    /// How many P registers there are (Arm ARM, B1.2.1).
    pub const NUM_PREGS: u64 = 16;

    /// How many rows ZA can have: a streaming vector has 256 bytes at the most (Arm ARM, B1.4).
    pub const MAX_ZA_ROWS: u64 = 256;

    /// The number of a register is above the 5 bits of its slice.
    const NUMBER_SHIFT: u32 = 5;
    const SLICE_MASK: u64 = (1 << NUMBER_SHIFT) - 1;

    /// The register `n` places after `first` in its class.
    pub const fn nth(first: RegId, n: u64) -> RegId {
        RegId::new(first.raw() | n << NUMBER_SHIFT)
    }

    /// Whether `id` is one of the `count` registers from `first` on.
    pub const fn is_one_of(id: RegId, first: RegId, count: u64) -> bool {
        let distance = id.raw().wrapping_sub(first.raw());

        distance & SLICE_MASK == 0 && distance >> NUMBER_SHIFT < count
    }
}

/// What decides which vector registers a vCPU has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VecState {
    /// The vCPU has SVE.
    pub sve: bool,
    /// The vCPU has SME.
    pub sme: bool,
    /// The guest has SME2: `ID_AA64PFR1_EL1.SME` is 2 or greater.
    pub sme2: bool,
    /// The guest can use all of A64 in streaming mode: `ID_AA64SMFR0_EL1.FA64` is 1.
    pub fa64: bool,
    /// `SVCR.SM`: the vCPU is in streaming mode.
    pub sm: bool,
    /// `SVCR.ZA`: ZA and ZT0 are on.
    pub za: bool,
    /// The greatest streaming vector length of the vCPU in bytes, which is the number of ZA's rows.
    pub svl: u16,
}

/// The kinds of vector registers.
#[derive(Clone, Copy)]
enum Kind {
    SveVls,
    Z,
    P,
    Ffr,
    SmeVls,
    Za,
    Zt0,
}

/// The first register of each kind and how many there can be, in the kernel's own order.
const KINDS: [(Kind, RegId, u64); 7] = [
    (Kind::SveVls, id::SVE_VLS, 1),
    (Kind::Z, id::Z0, id::NUM_ZREGS),
    (Kind::P, id::P0, id::NUM_PREGS),
    (Kind::Ffr, id::FFR, 1),
    (Kind::SmeVls, id::SME_VLS, 1),
    (Kind::Za, id::ZA0, id::MAX_ZA_ROWS),
    (Kind::Zt0, id::ZT0, 1),
];

impl VecState {
    /// How many registers of a kind a vCPU in this state has, of as many as there can be.
    ///
    /// What there is in which mode: "Register ids" of the SVE and SME registers in
    /// `Documentation/virt/kvm/api.rst`, section 4.68. Everything of SME counts only with SME.
    fn count(self, kind: Kind, most: u64) -> u64 {
        let streaming = self.sme && self.sm;
        let present = match kind {
            Kind::SveVls => self.sve,
            Kind::Z | Kind::P => self.sve || streaming,
            Kind::Ffr if streaming => self.fa64,
            Kind::Ffr => self.sve,
            Kind::SmeVls => self.sme,
            Kind::Za => self.sme && self.za,
            Kind::Zt0 => self.sme && self.za && self.sme2,
        };

        match kind {
            _ if !present => 0,
            Kind::Za => self.svl as u64,
            _ => most,
        }
    }

    /// The vector registers of a vCPU in this state, in the kernel's own order.
    pub fn registers(self) -> impl Iterator<Item = RegId> {
        KINDS.into_iter().flat_map(move |(kind, first, most)| {
            (0..self.count(kind, most)).map(move |n| id::nth(first, n))
        })
    }

    /// Whether `id` is one of [`Self::registers`].
    pub fn has(self, id: RegId) -> bool {
        // Of the conditions only the one of its own kind is looked at.
        KINDS.iter().any(|&(kind, first, most)| {
            id::is_one_of(id, first, most) && id::is_one_of(id, first, self.count(kind, most))
        })
    }
}

/// Stores `registers` in `slots` for as long as there is room, and counts on past it.
///
/// Returns the number of registers, which is greater than that of the slots if they did not fit.
pub fn store(registers: impl Iterator<Item = RegId>, slots: &mut [MaybeUninit<RegId>]) -> usize {
    let mut slots = slots.iter_mut();
    let mut n = 0usize;

    // Both counts of this file are bounded by the length of a list, so that wrapping additions are
    // plain ones without a path to a panic.
    registers.for_each(|id| {
        if let Some(slot) = slots.next() {
            slot.write(id);
        }
        n = n.wrapping_add(1);
    });
    n
}

/// The registers that can depend on another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dependents {
    /// Z, P and FFR.
    Vectors,
    /// V, FPSR and FPMR.
    FpState,
    /// ZA and ZT0.
    Array,
    /// Just this one.
    One(RegId),
}

impl Dependents {
    /// Whether `id` is one of these registers.
    pub const fn contain(self, id: RegId) -> bool {
        match self {
            Self::Vectors => {
                id::is_one_of(id, id::Z0, id::NUM_ZREGS)
                    || id::is_one_of(id, id::P0, id::NUM_PREGS)
                    || id.raw() == id::FFR.raw()
            }
            Self::FpState => {
                id.raw() >= id::V0.raw() && id.raw() <= id::V31.raw()
                    || id.raw() == id::FPSR.raw()
                    || id.raw() == id::FPMR.raw()
            }
            Self::Array => id::is_one_of(id, id::ZA0, id::MAX_ZA_ROWS) || id.raw() == id::ZT0.raw(),
            Self::One(one) => id.raw() == one.raw(),
        }
    }
}

/// A line of the table: `first` has to be restored before `then`.
pub struct Dependency {
    /// The register that decides.
    pub first: RegId,
    /// The registers whose value, size or presence it decides.
    pub then: Dependents,
}

/// Which register depends on which.
pub const DEPENDENCIES: [Dependency; 8] = [
    // The lengths are written before KVM_ARM_VCPU_FINALIZE and fix the size of the vectors, which
    // can be accessed only after it: Documentation/virt/kvm/api.rst, KVM_ARM_VCPU_FINALIZE.
    Dependency {
        first: id::SVE_VLS,
        then: Dependents::Vectors,
    },
    // In streaming mode the vectors have a streaming vector length.
    Dependency {
        first: id::SME_VLS,
        then: Dependents::Vectors,
    },
    // ZA has as many rows as a streaming vector has bytes, and each is as long as one.
    Dependency {
        first: id::SME_VLS,
        then: Dependents::Array,
    },
    // SVCR.SM decides which vectors there are and how large they are, and a change of it sets them
    // to 0, V and FPMR too, and FPSR to 0x0800009f: Arm ARM, B1.4, on PSTATE.SM.
    Dependency {
        first: id::SVCR,
        then: Dependents::Vectors,
    },
    Dependency {
        first: id::SVCR,
        then: Dependents::FpState,
    },
    // SVCR.ZA decides whether there are ZA and ZT0, and sets them to 0 when it becomes 1: Arm ARM,
    // B1.4, on PSTATE.ZA.
    Dependency {
        first: id::SVCR,
        then: Dependents::Array,
    },
    // Which levels of the workaround can be written depends on whether the guest has SSBS:
    // get_kernel_wa_level() in arch/arm64/kvm/hypercalls.c.
    Dependency {
        first: id::ID_AA64PFR1_EL1,
        then: Dependents::One(id::WORKAROUND_2),
    },
    // The counters of a vCPU with EL2 have one offset, and the one that is written last decides:
    // kvm_timer_vcpu_reset() in arch/arm64/kvm/arch_timer.c.
    Dependency {
        first: id::CNTVCT_EL0,
        then: Dependents::One(id::CNTPCT_EL0),
    },
];

/// The registers that others depend on, in the order in which they lead a list.
pub const LEADERS: [RegId; 5] = [
    id::SVE_VLS,
    id::SME_VLS,
    id::SVCR,
    id::ID_AA64PFR1_EL1,
    id::CNTVCT_EL0,
];

// The table is refused when a register that decides is no leader, or when a leader depends on
// itself or on one behind it: there is no cycle then, and the leaders are in order.
const _: () = {
    let mut line = 0;
    while line < DEPENDENCIES.len() {
        let Dependency { first, then } = &DEPENDENCIES[line];
        let mut place = None;
        let mut i = 0;
        while i < LEADERS.len() {
            if LEADERS[i].raw() == first.raw() {
                place = Some(i);
            }
            assert!(
                place.is_some() && LEADERS[i].raw() != first.raw() || !then.contain(LEADERS[i]),
                "a leader comes before the one that it depends on"
            );
            i += 1;
        }
        assert!(place.is_some(), "a register that decides is no leader");
        line += 1;
    }
};

/// A bit for an id, by its lowest six bits.
const fn bucket(id: RegId) -> u64 {
    1 << (id.raw() % 64)
}

/// The buckets of the leaders. Most other ids are in none of these, which spares them the
/// comparisons.
const LEADER_BUCKETS: u64 = {
    let mut buckets = 0;
    let mut i = 0;
    while i < LEADERS.len() {
        buckets |= bucket(LEADERS[i]);
        i += 1;
    }
    buckets
};

/// The place of `id` among the leaders.
fn leader(id: RegId) -> Option<usize> {
    if bucket(id) & LEADER_BUCKETS == 0 {
        return None;
    }
    LEADERS.iter().position(|&leader| leader == id)
}

/// Puts a list in an order that is safe to restore: the [`LEADERS`] first, all else as it was.
///
/// In place, stable, and one pass whatever the list is. It starts from the end, so that what is
/// behind the last leader is not moved.
pub fn order(ids: &mut [RegId]) {
    let mut head = &*ids;
    while let [rest @ .., last] = head {
        if leader(*last).is_some() {
            break;
        }
        head = rest;
    }

    let up_to_last_leader = head.len();
    let list = ids.get_mut(..up_to_last_leader).unwrap_or_default();
    let cells = Cell::from_mut(list).as_slice_of_cells();
    let mut to = cells.iter().rev();
    let mut found = [0usize; LEADERS.len()];

    for from in cells.iter().rev() {
        let id = from.get();

        if let Some(n) = leader(id).and_then(|place| found.get_mut(place)) {
            *n = n.wrapping_add(1);
        } else if let Some(slot) = to.next() {
            slot.set(id);
        }
    }

    for (&leader, &n) in LEADERS.iter().zip(&found).rev() {
        to.by_ref().take(n).for_each(|slot| slot.set(leader));
    }
}
