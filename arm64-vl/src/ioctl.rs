// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! The ioctls of KVM that this crate makes, and the numbers that they take: `linux/kvm.h` and
//! `asm/kvm.h` of arm64. One is not assigned upstream yet: it stands here alone.

use std::{
    ffi::{c_int, c_void},
    io,
    os::fd::RawFd,
};

#[cfg(target_arch = "aarch64")]
pub const KVM_CREATE_VM: u32 = 0xae01;
#[cfg(target_arch = "aarch64")]
pub const KVM_CREATE_VCPU: u32 = 0xae41;
pub const KVM_GET_ONE_REG: u32 = 0x4010_aeab;
pub const KVM_SET_ONE_REG: u32 = 0x4010_aeac;
#[cfg(target_arch = "aarch64")]
pub const KVM_ARM_VCPU_INIT: u32 = 0x4020_aeae;
#[cfg(target_arch = "aarch64")]
pub const KVM_ARM_PREFERRED_TARGET: u32 = 0x8020_aeaf;
pub const KVM_GET_REG_LIST: u32 = 0xc008_aeb0;
#[cfg(target_arch = "aarch64")]
pub const KVM_ARM_GET_REG_WRITABLE_MASKS: u32 = 0x8040_aeb6;
pub const KVM_ARM_VCPU_FINALIZE: u32 = 0x4004_aec2;
pub const KVM_RUN: u32 = 0xae80;
pub const KVM_GET_MP_STATE: u32 = 0x8004_ae98;
pub const KVM_SET_MP_STATE: u32 = 0x4004_ae99;
pub const KVM_GET_VCPU_EVENTS: u32 = 0x8040_ae9f;
pub const KVM_SET_VCPU_EVENTS: u32 = 0x4040_aea0;
pub const KVM_ENABLE_CAP: u32 = 0x4068_aea3;
pub const KVM_SET_DEVICE_ATTR: u32 = 0x4018_aee1;

pub const KVM_CAP_ARM_WRITABLE_IMP_ID_REGS: u32 = 239;
pub const KVM_ARM_VCPU_PMU_V3_CTRL: u32 = 0;
pub const KVM_ARM_VCPU_PMU_V3_SET_NR_COUNTERS: u64 = 4;

/// `KVM_ARM_VCPU_POWER_OFF`, a bit of `features[0]`.
pub const KVM_ARM_VCPU_POWER_OFF: u32 = 0;
/// `KVM_ARM_VCPU_SVE`, which is `KVM_ARM_VCPU_VEC` as well: one finalize for SVE and SME.
pub const KVM_ARM_VCPU_SVE: u32 = 4;
#[cfg(target_arch = "aarch64")]
pub const KVM_ARM_VCPU_PSCI_0_2: u32 = 2;
#[cfg(target_arch = "aarch64")]
pub const KVM_ARM_VCPU_PMU_V3: u32 = 3;
#[cfg(target_arch = "aarch64")]
pub const KVM_ARM_VCPU_PTRAUTH_ADDRESS: u32 = 5;
#[cfg(target_arch = "aarch64")]
pub const KVM_ARM_VCPU_PTRAUTH_GENERIC: u32 = 6;
pub const KVM_ARM_VCPU_HAS_EL2: u32 = 7;
/// `KVM_ARM_VCPU_SME`, provisional.
pub const KVM_ARM_VCPU_SME: u32 = 10;

/// `struct kvm_one_reg`.
#[repr(C)]
pub struct OneReg {
    pub id: u64,
    pub addr: u64,
}

/// `struct kvm_vcpu_init`.
#[cfg(target_arch = "aarch64")]
#[repr(C)]
#[derive(Default)]
pub struct VcpuInit {
    pub target: u32,
    pub features: [u32; 7],
}

/// `struct kvm_enable_cap`.
#[repr(C)]
pub struct EnableCap {
    pub cap: u32,
    pub flags: u32,
    pub args: [u64; 4],
    pub pad: [u8; 64],
}

impl Default for EnableCap {
    fn default() -> Self {
        Self {
            cap: 0,
            flags: 0,
            args: [0; 4],
            pad: [0; 64],
        }
    }
}

/// `struct kvm_device_attr`.
#[repr(C)]
pub struct DeviceAttr {
    pub flags: u32,
    pub group: u32,
    pub attr: u64,
    pub addr: u64,
}

/// `struct kvm_vcpu_events` of arm64.
#[repr(C)]
#[derive(Default)]
pub struct VcpuEvents {
    pub serror_pending: u8,
    pub serror_has_esr: u8,
    pub ext_dabt_pending: u8,
    pub pad: [u8; 5],
    pub serror_esr: u64,
    pub reserved: [u32; 12],
}

/// `struct reg_mask_range`.
#[cfg(target_arch = "aarch64")]
#[repr(C)]
#[derive(Default)]
pub struct RegMaskRange {
    pub addr: u64,
    pub range: u32,
    pub reserved: [u32; 13],
}

/// Makes an ioctl.
///
/// # Safety
///
/// `arg` is what the kernel takes for this request: a number, or a pointer to what it reads and writes.
pub unsafe fn ioctl(fd: RawFd, request: u32, arg: *mut c_void) -> io::Result<c_int> {
    // SAFETY: The caller vouches for the argument.
    let done = unsafe { libc::ioctl(fd, request as _, arg) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(done)
}
