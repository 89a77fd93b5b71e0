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
pub const KVM_ARM_VCPU_FINALIZE: u32 = 0x4004_aec2;

/// `KVM_ARM_VCPU_POWER_OFF`, a bit of `features[0]`.
pub const KVM_ARM_VCPU_POWER_OFF: u32 = 0;
/// `KVM_ARM_VCPU_SVE`, which is `KVM_ARM_VCPU_VEC` as well: one finalize for SVE and SME.
pub const KVM_ARM_VCPU_SVE: u32 = 4;
/// `KVM_ARM_VCPU_SME`, provisional.
#[cfg(target_arch = "aarch64")]
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
