// SPDX-License-Identifier: GPL-2.0-only

//! What `arch/arm64/kvm/guest.c` calls to list the vector registers of a vCPU and to order the
//! list: the functions of `reg_list.h` on top of `reg_list_core.rs`.

use core::{mem::MaybeUninit, slice};
use kernel::{bindings, kvm, prelude::*};
use kvm::RegId;
use reg_list_core::{id, VecState};

mod reg_list_core;
#[macro_use]
mod reg_list_tests;

// The ids of the core and of the kernel crate are those of the UAPI.
const _: () = {
    assert!(RegId::ARCH_MASK == bindings::KVM_REG_ARCH_MASK as u64);
    assert!(RegId::ARCH_ARM64 == bindings::KVM_REG_ARM64);
    assert!(RegId::SIZE_MASK == bindings::KVM_REG_SIZE_MASK);
    assert!(RegId::SIZE_SHIFT == bindings::KVM_REG_SIZE_SHIFT);
    assert!(id::SVE_VLS.raw() == bindings::KVM_REG_ARM64_SVE_VLS);
    assert!(id::Z0.raw() == bindings::KVM_REG_ARM64_SVE_Z0);
    assert!(id::P0.raw() == bindings::KVM_REG_ARM64_SVE_P0);
    assert!(id::FFR.raw() == bindings::KVM_REG_ARM64_SVE_FFR0);
    assert!(id::SME_VLS.raw() == bindings::KVM_REG_ARM64_SME_VLS);
    assert!(id::ZA0.raw() == bindings::KVM_REG_ARM64_SME_ZA0);
    assert!(id::ZT0.raw() == bindings::KVM_REG_ARM64_SME_ZT0);
    assert!(id::SVCR.raw() == bindings::KVM_REG_ARM64_SVCR);
    assert!(id::FPMR.raw() == bindings::KVM_REG_ARM64_FPMR);
    assert!(id::FPSR.raw() == bindings::KVM_REG_ARM64_FPSR);
    assert!(id::V0.raw() == bindings::KVM_REG_ARM64_V0);
    assert!(id::V31.raw() == bindings::KVM_REG_ARM64_V31);
    assert!(id::ID_AA64PFR1_EL1.raw() == bindings::KVM_REG_ARM64_ID_AA64PFR1_EL1);
    assert!(id::WORKAROUND_2.raw() == bindings::KVM_REG_ARM64_WORKAROUND_2);
    assert!(id::CNTVCT_EL0.raw() == bindings::KVM_REG_ARM64_TIMER_CNT);
    assert!(id::CNTPCT_EL0.raw() == bindings::KVM_REG_ARM64_PTIMER_CNT);
    assert!(id::NUM_ZREGS == bindings::KVM_ARM64_SVE_NUM_ZREGS as u64);
    assert!(id::NUM_PREGS == bindings::KVM_ARM64_SVE_NUM_PREGS as u64);
    assert!(id::MAX_ZA_ROWS == bindings::KVM_ARM64_SME_MAX_ZAHREG as u64);
};

/// The array that C hands over.
///
/// # Safety
///
/// `ids` is valid for reads and writes of `n` values of `T` for `'a`, and nothing else accesses
/// them in that time. It may be null if `n` is 0.
unsafe fn array<'a, T>(ids: *mut T, n: usize) -> &'a mut [T] {
    if n == 0 {
        return &mut [];
    }
    // SAFETY: By the safety requirements of this function.
    unsafe { slice::from_raw_parts_mut(ids, n) }
}

/// The vCPU that C describes.
fn vec_state(state: &bindings::kvm_arm_vec_state) -> VecState {
    VecState {
        sve: state.sve,
        sme: state.sme,
        sme2: state.sme2,
        fa64: state.fa64,
        sm: state.sm,
        za: state.za,
        svl: state.svl,
    }
}

/// Lists the vector registers of a vCPU, see `reg_list.h`.
///
/// # Safety
///
/// `state` is valid for reads. `ids` is valid for writes of `room` ids, which need not be
/// initialized and which nothing else accesses during the call; it may be null if `room` is 0.
#[export]
pub unsafe extern "C" fn kvm_arm_reg_list_vec(
    state: *const bindings::kvm_arm_vec_state,
    ids: *mut u64,
    room: usize,
) -> usize {
    // SAFETY: The caller ensures that `state` is valid for reads.
    let state = vec_state(unsafe { &*state });
    // SAFETY: The caller ensures that `ids` is valid for `room` ids and not shared. `RegId` is a
    // transparent `u64`.
    let slots = unsafe { array(ids.cast::<MaybeUninit<RegId>>(), room) };

    reg_list_core::store(state.registers(), slots)
}

/// Whether a vCPU has a vector register, see `reg_list.h`.
///
/// # Safety
///
/// `state` is valid for reads.
#[export]
pub unsafe extern "C" fn kvm_arm_reg_list_vec_has(
    state: *const bindings::kvm_arm_vec_state,
    id: u64,
) -> bool {
    // SAFETY: The caller ensures that `state` is valid for reads.
    vec_state(unsafe { &*state }).has(RegId::new(id))
}

/// Puts a register list in an order that is safe to restore, see `reg_list.h`.
///
/// # Safety
///
/// `ids` is valid for reads and writes of `n` ids that nothing else accesses during the call.
#[export]
pub unsafe extern "C" fn kvm_arm_reg_list_order(ids: *mut u64, n: usize) {
    // SAFETY: The caller ensures that `ids` is valid for `n` ids and not shared. `RegId` is a
    // transparent `u64`.
    reg_list_core::order(unsafe { array(ids.cast::<RegId>(), n) });
}

reg_list_kunit_suite!(kvm_arm_reg_list);
