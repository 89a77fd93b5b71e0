// SPDX-License-Identifier: GPL-2.0-only

//! The core of the register list with KUnit tests as a loadable module: loading it runs the suite,
//! whose result is in the kernel log and under `kunit/` in debugfs.
//!
//! The kernel need not have the series. What the core calls `kernel` is this crate: the kernel's,
//! with what the series adds. The suite of `reg_list_rust.rs` needs the C version beside it, so the
//! tests here are others, of the core alone.

extern crate kernel as linux;
extern crate self as kernel;

use core::mem::MaybeUninit;
use kvm::RegId;
use prelude::*;
use reg_list_core::{has, order, registers, store, VecState};

pub use linux::*;

#[path = "../../rust/kernel/kvm.rs"]
pub mod kvm;
#[path = "../../arch-arm64-kvm/reg_list_core.rs"]
mod reg_list_core;

/// The kernel's bindings, but what the series adds is as it has it, in the kernel or not.
#[allow(missing_docs)]
pub mod bindings {
    include!("../host-tests/kernel/bindings.rs");
    pub use linux::bindings::*;
}

module! {
    type: RegListKunit,
    name: "reg_list_kunit",
    authors: ["The kvm-reg-list authors"],
    description: "KUnit tests of the order of KVM's register list on arm64",
    license: "GPL",
}

struct RegListKunit;

impl Module for RegListKunit {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        Ok(Self)
    }
}

/// All ids are written out as in `arch/arm64/include/uapi/asm/kvm.h`.
#[kunit_tests(kvm_arm_reg_list_module)]
mod tests {
    use super::*;

    // The core registers x0 and pc.
    const X0: RegId = RegId::new(0x6030_0000_0010_0000);
    const PC: RegId = RegId::new(0x6030_0000_0010_0040);
    const SVE_VLS: RegId = RegId::new(0x6060_0000_0015_ffff);
    const Z0: RegId = RegId::new(0x6080_0000_0015_0000);
    const FFR: RegId = RegId::new(0x6050_0000_0015_0600);
    const SME_VLS: RegId = RegId::new(0x6060_0000_0017_fffe);
    const ZA255: RegId = RegId::new(0x6080_0000_0017_1fe0);
    const ZT0: RegId = RegId::new(0x6060_0000_0017_0600);
    const SVCR: RegId = RegId::new(0x6030_0000_0013_da12);
    const ID_AA64PFR1: RegId = RegId::new(0x6030_0000_0013_c021);
    const CNTVCT: RegId = RegId::new(0x6030_0000_0013_df1a);

    /// A vCPU with all there is, at the greatest length.
    const ALL: VecState = VecState {
        sve: true,
        sme: true,
        sme2: true,
        fa64: true,
        sm: true,
        za: true,
        svl: 256,
    };

    #[test]
    fn the_mode_decides() {
        let no_za = VecState { za: false, ..ALL };
        let no_ffr = VecState { fa64: false, ..ALL };
        let no_sme = VecState { sme: false, ..ALL };

        assert_eq!(registers(ALL).count(), 308);
        assert_eq!(registers(no_za).count(), 51);
        assert_eq!(registers(no_ffr).count(), 307);
        assert_eq!(registers(no_sme).count(), 50);
        assert!(has(ALL, ZA255) && has(ALL, ZT0) && has(ALL, FFR));
        assert!(!has(no_za, ZA255) && !has(no_za, ZT0));
        assert!(!has(no_ffr, FFR));
        assert!(!has(ALL, X0));
    }

    #[test]
    fn what_it_has_is_what_it_lists() {
        assert!(registers(ALL).all(|id| has(ALL, id)));
    }

    #[test]
    fn too_little_room_is_counted_past() {
        let mut slots = [MaybeUninit::new(X0); 3];

        assert_eq!(store(registers(ALL), &mut slots[..2]), 308);
        // SAFETY: All of them were initialized with X0.
        let ids = slots.map(|slot| unsafe { slot.assume_init() });
        assert!(ids == [SVE_VLS, Z0, X0]);
    }

    #[test]
    fn leaders_come_first() {
        let mut ids = [X0, PC, CNTVCT, SVE_VLS, Z0, SME_VLS, SVCR, ID_AA64PFR1, ZT0];

        order(&mut ids);
        assert!(ids == [SVE_VLS, SME_VLS, SVCR, ID_AA64PFR1, CNTVCT, X0, PC, Z0, ZT0]);
        order(&mut ids);
        assert!(ids == [SVE_VLS, SME_VLS, SVCR, ID_AA64PFR1, CNTVCT, X0, PC, Z0, ZT0]);
    }

    #[test]
    fn the_rest_stays() {
        let mut ids = [PC, FFR, X0, Z0];

        order(&mut ids);
        assert!(ids == [PC, FFR, X0, Z0]);
        order(&mut []);
    }
}
