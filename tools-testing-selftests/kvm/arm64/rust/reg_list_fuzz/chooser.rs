// SPDX-License-Identifier: GPL-2.0-only

//! Chooses at random what a step does, and with what: ids, places and values that are good, and
//! such as are not quite.

use crate::{caller::AROUND, guests::TPIDR_EL0};
use kvmtest::{
    kvm::uapi,
    memory::{ArgMemory, Place, PAGE},
    random::Random,
    reg::{RegId, Value},
    vectors::{FPCR, FPMR, FPSR, ID_AA64PFR1_EL1, ID_AA64PFR2_EL1, ID_AA64SMFR0_EL1},
};

/// What a step does, with its weight.
#[rustfmt::skip]
pub const STEPS: &[(usize, Step)] = &[
    (96, Step::Get),
    (96, Step::Set),
    (24, Step::WriteBack),
    (32, Step::StrangeGet),
    (32, Step::StrangeSet),
    (40, Step::List),
    (24, Step::Svcr),
    (16, Step::IdRegister),
    ( 8, Step::Lengths),
    ( 8, Step::Finalize),
    ( 1, Step::Init), // It resets all that is known.
    ( 4, Step::InitOtherwise),
    (12, Step::Load),
    ( 8, Step::Run),
    ( 4, Step::Nowhere),
];

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Reads a register that is there.
    Get,
    /// Writes one.
    Set,
    /// Writes one as it is.
    WriteBack,
    /// Reads a register by an id that is not quite one.
    StrangeGet,
    /// Writes one.
    StrangeSet,
    List,
    Svcr,
    /// Writes an ID register that can show or hide other registers.
    IdRegister,
    /// Writes vector lengths.
    Lengths,
    Finalize,
    /// Initializes the vCPU again.
    Init,
    /// Initializes it with what it does not have.
    InitOtherwise,
    /// Enters the kernel, not the guest.
    Load,
    Run,
    /// Gives the kernel no structure at all.
    Nowhere,
}

/// Registers of which the CPU keeps some bits only, and those; and system registers that hold what
/// user space writes.
#[rustfmt::skip]
pub const STORED: [(RegId, u64); 8] = [
    (FPSR,                        0x0800_009f),           // QC and the cumulative flags
    (FPCR,                        0x07c0_0000),           // AHP, DN, FZ, RMode
    (FPMR,                        0x0000_003f_ff7f_c1ff),
    (RegId::sys(3, 0, 2, 0, 0),   0x0000_ffff_ffff_fffe), // TTBR0_EL1
    (RegId::sys(3, 0, 13, 0, 4),  u64::MAX),              // TPIDR_EL1
    (TPIDR_EL0,                   u64::MAX),
    (RegId::sys(3, 3, 13, 0, 3),  u64::MAX),              // TPIDRRO_EL0
    (RegId::sys(3, 3, 13, 0, 5),  u64::MAX),              // TPIDR2_EL0
];

/// Fields of ID registers that decide about other registers.
pub const ID_FIELDS: [(RegId, u32); 8] = [
    (ID_AA64PFR1_EL1, 4),            // SSBS
    (ID_AA64PFR1_EL1, 24),           // SME
    (ID_AA64PFR2_EL1, 32),           // FPMR
    (ID_AA64SMFR0_EL1, 60),          // FA64
    (RegId::sys(3, 0, 0, 7, 3), 0),  // ID_AA64MMFR3_EL1: TCRX
    (RegId::sys(3, 0, 0, 7, 3), 4),  // SCTLRX
    (RegId::sys(3, 0, 0, 7, 3), 8),  // S1PIE
    (RegId::sys(3, 0, 0, 7, 3), 16), // S1POE
];

/// Draws all that is random.
pub struct Chooser {
    pub random: Random,
}

impl Chooser {
    pub fn choose_step(&mut self) -> Step {
        let mut at = self
            .random
            .below(STEPS.iter().map(|(weight, _)| weight).sum());
        for &(weight, step) in STEPS {
            if at < weight {
                return step;
            }
            at -= weight;
        }
        Step::Get
    }

    pub fn choose<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.random.below(from.len())]
    }

    /// Whether something that happens once in `n` times does.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.random.below(n) == 0
    }

    /// A place for an argument of `len` bytes, now and then one that is no good.
    pub fn choose_place(&mut self, len: usize) -> Place {
        const END: usize = ArgMemory::WRITABLE;
        match self.random.below(64) {
            0 => Place::Null,
            1 => Place::Kernel,
            2 => Place::At(END + self.random.below(64)),
            3 => Place::At(ArgMemory::READ_ONLY + self.random.below(64)),
            4..=6 => Place::At(END - 1 - self.random.below(len.clamp(1, END) - 1 + 1).min(END - 1)),
            7..=9 => Place::At(END - len.min(END)),
            _ => Place::At(AROUND + self.random.below(PAGE)),
        }
    }

    /// An id that is not quite one.
    pub fn mutate(&mut self, id: RegId) -> RegId {
        const CLASSES: [u32; 8] = [
            uapi::KVM_REG_ARM_CORE,
            uapi::KVM_REG_ARM_DEMUX,
            uapi::KVM_REG_ARM64_SYSREG,
            uapi::KVM_REG_ARM_FW,
            uapi::KVM_REG_ARM64_SVE,
            uapi::KVM_REG_ARM_FW_FEAT_BMAP,
            uapi::KVM_REG_ARM64_SME,
            0x18 << uapi::KVM_REG_ARM_COPROC_SHIFT,
        ];
        let raw = id.raw();
        RegId::new(match self.random.below(7) {
            0 => raw & !(15 << 52) | (self.random.below(16) as u64) << 52,
            1 => raw ^ (1 + self.random.below(31) as u64),
            2 => raw & !u64::from(uapi::KVM_REG_ARM_COPROC_MASK) | u64::from(self.choose(&CLASSES)),
            3 => raw ^ 1 << self.random.below(64),
            4 => raw & !0xffff | self.random.number() & 0xffff,
            5 => raw & !0xffff | (self.random.below(0x800) as u64) << 5,
            _ => self.random.number(),
        })
    }

    /// A value for a register, which a vCPU keeps if it is one of [`STORED`].
    pub fn make_value(&mut self, id: RegId) -> Value {
        let mut value = Value::zero(id.bytes().min(256));
        for bytes in value.bytes_mut().chunks_mut(8) {
            bytes.copy_from_slice(&self.random.number().to_le_bytes()[..bytes.len()]);
        }
        match STORED.iter().find(|(stored, _)| *stored == id) {
            Some((_, bits)) => Value::from_u64(value.low() & bits, id.bytes()),
            // Numbers of all magnitudes: a timer does not wait for great ones.
            None if id.bytes() == 8 && self.one_in(4) => {
                Value::from_u64(value.low() >> self.random.below(64), 8)
            }
            None => value,
        }
    }

    /// One bit or field of a number otherwise.
    pub fn vary(&mut self, number: u64) -> u64 {
        let shift = 4 * self.random.below(16);
        number & !(15 << shift) | (self.random.below(4) as u64) << shift
    }

    /// A number with a field as it is without a feature, or with more or less of one.
    pub fn make_field(&mut self, number: u64, shift: u32) -> Value {
        let field: u64 = self.choose(&[0, 1, 2, 8]);
        Value::from_u64(number & !(15 << shift) | field << shift, 8)
    }
}
