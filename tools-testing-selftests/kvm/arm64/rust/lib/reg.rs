// SPDX-License-Identifier: GPL-2.0-only

//! The id of a register, and the value of one.

use crate::kvm::uapi;
use std::fmt;

/// The id of a register: architecture, size, class and number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegId(u64);

impl RegId {
    /// `KVM_REG_ARM64_SVE_VLS`.
    pub const SVE_VLS: Self = Self(0x6060_0000_0015_ffff);
    /// `KVM_REG_ARM64_SME_VLS`.
    pub const SME_VLS: Self = Self(0x6060_0000_0017_fffe);
    /// The mode of the vCPU, a core register.
    pub const PSTATE: Self = Self(0x6030_0000_0010_0042);
    /// The program counter, a core register.
    pub const PC: Self = Self(0x6030_0000_0010_0040);
    /// Streaming mode and ZA.
    pub const SVCR: Self = Self::sys(3, 3, 4, 2, 2);
    /// Features of the processor, SSBS among them.
    pub const ID_AA64PFR1_EL1: Self = Self::sys(3, 0, 0, 4, 1);
    /// The virtual counter, `KVM_REG_ARM_TIMER_CNT`: its id is not that of its encoding.
    pub const CNTVCT_EL0: Self = Self::sys(3, 3, 14, 3, 2);
    /// The physical counter.
    pub const CNTPCT_EL0: Self = Self::sys(3, 3, 14, 0, 1);
    /// A register of the guest that SME brings.
    pub const TPIDR2_EL0: Self = Self::sys(3, 3, 13, 0, 5);
    /// `KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_2`: the firmware register that SSBS decides about.
    pub const WORKAROUND_2: Self =
        Self(uapi::KVM_REG_ARM64 | uapi::KVM_REG_SIZE_U64 | uapi::KVM_REG_ARM_FW as u64 | 2);

    /// An id as the kernel gives it.
    pub const fn new(id: u64) -> Self {
        Self(id)
    }

    /// A system register by its encoding.
    pub const fn sys(op0: u64, op1: u64, crn: u64, crm: u64, op2: u64) -> Self {
        Self(
            uapi::KVM_REG_ARM64
                | uapi::KVM_REG_SIZE_U64
                | uapi::KVM_REG_ARM64_SYSREG as u64
                | op0 << 14
                | op1 << 11
                | crn << 7
                | crm << 3
                | op2,
        )
    }

    /// The general-purpose register `n`.
    pub const fn x(n: u64) -> Self {
        Self(uapi::KVM_REG_ARM64 | uapi::KVM_REG_SIZE_U64 | uapi::KVM_REG_ARM_CORE as u64 | (n * 2))
    }

    /// The id as the kernel takes it.
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// The class of registers to which it belongs, a `KVM_REG_ARM_*`.
    pub const fn class(self) -> u32 {
        self.0 as u32 & uapi::KVM_REG_ARM_COPROC_MASK
    }

    /// The number of the register in its class.
    pub const fn number(self) -> u64 {
        self.0 & 0xffff
    }

    /// The size of its value in bytes.
    pub const fn bytes(self) -> usize {
        1 << (self.0 >> 52 & 15)
    }

    /// Whether it is written before the vCPU is finalized, and fixed by it.
    pub fn is_vls(self) -> bool {
        self == Self::SVE_VLS || self == Self::SME_VLS
    }
}

/// Bytes in the largest register there is: 2048 bits.
pub(crate) const MAX_BYTES: usize = 256;

/// The value of a register.
#[derive(Clone, Copy)]
pub struct Value {
    bytes: [u8; MAX_BYTES],
    len: usize,
}

impl Value {
    /// A value of `len` bytes, all zero.
    pub fn zero(len: usize) -> Self {
        assert!(len <= MAX_BYTES);
        Self {
            bytes: [0; MAX_BYTES],
            len,
        }
    }

    /// A number as the value of a register of `len` bytes, which may be more or fewer than 8.
    pub fn from_u64(number: u64, len: usize) -> Self {
        let mut value = Self::zero(len);
        let n = len.min(8);
        value.bytes[..n].copy_from_slice(&number.to_le_bytes()[..n]);
        value
    }

    /// The lowest 64 bits.
    pub fn low(&self) -> u64 {
        let mut low = [0; 8];
        low.copy_from_slice(&self.bytes[..8]);
        u64::from_le_bytes(low)
    }

    /// The bytes, the lowest first.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// The bytes, to be changed.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }

    /// How many bytes there are up to the last that is not zero.
    pub fn extent(&self) -> usize {
        self.bytes()
            .iter()
            .rposition(|&b| b != 0)
            .map_or(0, |last| last + 1)
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for Value {}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let extent = self.extent();
        let mut digits = self.bytes()[..extent.min(16)].iter().rev();
        f.write_str("0x")?;
        if extent == 0 {
            return f.write_str("0");
        }
        digits.try_for_each(|byte| write!(f, "{byte:02x}"))?;
        if extent > 16 {
            write!(f, " and {} bytes above", extent - 16)?;
        }
        Ok(())
    }
}
