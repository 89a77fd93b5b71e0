// SPDX-License-Identifier: GPL-2.0-only

// What bindgen makes of `rust/bindings/bindings_helper.h` for the core: written out, so that the
// tests need no kernel and do not believe its headers.
//
// An id is `0x60` for arm64, two digits for the size (a power of two of bytes in the upper one of
// them), the class in the second 16 bits from the right, and a number in the rightmost 16:
// `KVM_SET_ONE_REG` in `Documentation/virt/kvm/api.rst`.

/// The class 0x15, SVE.
pub const KVM_REG_ARM64_SVE_VLS: u64 = 0x6060_0000_0015_ffff;
pub const KVM_REG_ARM64_SVE_Z0: u64 = 0x6080_0000_0015_0000;
pub const KVM_REG_ARM64_SVE_P0: u64 = 0x6050_0000_0015_0400;
pub const KVM_REG_ARM64_SVE_FFR0: u64 = 0x6050_0000_0015_0600;

/// The class 0x17, SME. Only its size tells ZT0 from ZA.H\[48\].
pub const KVM_REG_ARM64_SME_VLS: u64 = 0x6060_0000_0017_fffe;
pub const KVM_REG_ARM64_SME_ZA0: u64 = 0x6080_0000_0017_0000;
pub const KVM_REG_ARM64_SME_ZT0: u64 = 0x6060_0000_0017_0600;

/// The class 0x13, system registers: their encoding is the number, SVCR's is 3 3 4 2 2.
pub const KVM_REG_ARM64_SVCR: u64 = 0x6030_0000_0013_da12;
pub const KVM_REG_ARM64_FPMR: u64 = 0x6030_0000_0013_da22;
pub const KVM_REG_ARM64_ID_AA64PFR1_EL1: u64 = 0x6030_0000_0013_c021;
/// That of CNTV_CVAL_EL0: the two were confused, and are for ever.
pub const KVM_REG_ARM_TIMER_CNT: u64 = 0x6030_0000_0013_df1a;
pub const KVM_REG_ARM_PTIMER_CNT: u64 = 0x6030_0000_0013_df01;

/// The class 0x10, core registers: the place in `struct kvm_regs` in words of 32 bits.
pub const KVM_REG_ARM64_V0: u64 = 0x6040_0000_0010_0054;
pub const KVM_REG_ARM64_FPSR: u64 = 0x6020_0000_0010_00d4;

/// The class 0x14, firmware registers.
pub const KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_2: u64 = 0x6030_0000_0014_0002;

/// How many Z and P there are: Arm ARM, B1.2.1.
pub const KVM_ARM64_SVE_NUM_ZREGS: u32 = 32;
pub const KVM_ARM64_SVE_NUM_PREGS: u32 = 16;

/// How many rows ZA can have: a streaming vector has 256 bytes at the most (Arm ARM, B1.4).
pub const KVM_ARM64_SME_MAX_ZAHREG: u32 = 256;

/// `struct kvm_arm_vec_state` of `reg_list.h`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(non_camel_case_types)]
pub struct kvm_arm_vec_state {
    pub sve: bool,
    pub sme: bool,
    pub sme2: bool,
    pub fa64: bool,
    pub sm: bool,
    pub za: bool,
    pub svl: u16,
}
