// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! The ioctls of KVM that this crate makes, and the numbers that they take: `linux/kvm.h` and
//! `asm/kvm.h` of arm64.

use std::{
    ffi::{c_int, c_void},
    io,
    os::fd::RawFd,
};

pub const KVM_GET_ONE_REG: u32 = 0x4010_aeab;
pub const KVM_SET_ONE_REG: u32 = 0x4010_aeac;
pub const KVM_GET_REG_LIST: u32 = 0xc008_aeb0;
pub const KVM_ARM_VCPU_FINALIZE: u32 = 0x4004_aec2;

/// `KVM_ARM_VCPU_POWER_OFF`, a bit of `features[0]`.
pub const KVM_ARM_VCPU_POWER_OFF: u32 = 0;
/// `KVM_ARM_VCPU_SVE`, which is `KVM_ARM_VCPU_VEC` as well: one finalize for SVE and SME.
pub const KVM_ARM_VCPU_SVE: u32 = 4;

/// `struct kvm_one_reg`.
#[repr(C)]
pub struct OneReg {
    pub id: u64,
    pub addr: u64,
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
