// SPDX-License-Identifier: GPL-2.0-only

//! The vector registers of an arm64 vCPU and the order in which a register list is safe to
//! restore.
//!
//! Pure functions on plain `core`: the same file is built into the kernel, into an out-of-tree
//! module and into tests on the host. It allocates nothing, takes no lock and cannot panic. What
//! includes it has the generic register id, `rust/kernel/kvm.rs`, in scope as `kvm`.

use super::kvm::RegId;
use core::{cell::Cell, mem::MaybeUninit};

/// The ids of the vector registers.
///
/// Source: `KVM_REG_ARM64_SVE_*` in `arch/arm64/include/uapi/asm/kvm.h`.
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

    /// How many Z registers there are (Arm ARM, B1.2.1).
    pub const NUM_ZREGS: u64 = 32;

    /// How many P registers there are (Arm ARM, B1.2.1).
    pub const NUM_PREGS: u64 = 16;

    /// The number of a register is above the 5 bits of its slice.
    const NUMBER_SHIFT: u32 = 5;

    /// The register `n` places after `first` in its class.
    pub const fn nth(first: RegId, n: u64) -> RegId {
        RegId::new(first.raw() | n << NUMBER_SHIFT)
    }
}

/// What decides which vector registers a vCPU has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VecState {
    /// The vCPU has SVE.
    pub sve: bool,
}

impl VecState {
    /// The vector registers of a vCPU in this state, in the kernel's own order.
    pub fn registers(self) -> impl Iterator<Item = RegId> {
        let numbered = |first, count| (0..count).map(move |n| id::nth(first, n));
        let sve = core::iter::once(id::SVE_VLS)
            .chain(numbered(id::Z0, id::NUM_ZREGS))
            .chain(numbered(id::P0, id::NUM_PREGS))
            .chain(core::iter::once(id::FFR));

        self.sve.then_some(sve).into_iter().flatten()
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
    SveVectors,
}

impl Dependents {
    /// Whether `id` is one of these registers.
    pub const fn contain(self, id: RegId) -> bool {
        match self {
            Self::SveVectors => {
                let raw = id.raw();
                raw >= id::Z0.raw() && raw <= id::nth(id::Z0, id::NUM_ZREGS - 1).raw()
                    || raw >= id::P0.raw() && raw <= id::nth(id::P0, id::NUM_PREGS - 1).raw()
                    || raw == id::FFR.raw()
            }
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
pub const DEPENDENCIES: [Dependency; 1] = [
    // The lengths are written before KVM_ARM_VCPU_FINALIZE and fix the size of the vectors, which
    // can be accessed only after it: Documentation/virt/kvm/api.rst, KVM_ARM_VCPU_FINALIZE.
    Dependency {
        first: id::SVE_VLS,
        then: Dependents::SveVectors,
    },
];

/// The registers that others depend on, in the order in which they lead a list.
pub const LEADERS: [RegId; 1] = [id::SVE_VLS];

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

/// Puts a list in an order that is safe to restore: the [`LEADERS`] first, all else as it was.
///
/// In place, stable, and one pass whatever the list is. It starts from the end, so that what is
/// behind the last leader is not moved.
pub fn order(ids: &mut [RegId]) {
    let cells = Cell::from_mut(ids).as_slice_of_cells();
    let mut to = cells.iter().rev();
    let mut found = [0usize; LEADERS.len()];

    for from in cells.iter().rev() {
        let id = from.get();
        match LEADERS
            .iter()
            .zip(&mut found)
            .find(|(&leader, _)| leader == id)
        {
            Some((_, n)) => *n = n.wrapping_add(1),
            None => {
                if let Some(slot) = to.next() {
                    slot.set(id);
                }
            }
        }
    }

    for (&leader, &n) in LEADERS.iter().zip(&found).rev() {
        to.by_ref().take(n).for_each(|slot| slot.set(leader));
    }
}
