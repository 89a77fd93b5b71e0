// SPDX-License-Identifier: GPL-2.0-only

//! KUnit tests of `reg_list_core.rs`, for the kernel and for the out-of-tree module alike. All ids
//! are written out as in `arch/arm64/include/uapi/asm/kvm.h`.

/// Defines the suite under a name of its own.
macro_rules! reg_list_kunit_suite {
    ($suite:ident) => {
        #[kunit_tests($suite)]
        mod tests {
            use super::kvm::RegId;
            use super::reg_list_core::{order, store, VecState};
            use core::mem::MaybeUninit;

            const SVE_VLS: RegId = RegId::new(0x6060_0000_0015_ffff);
            const Z0: RegId = RegId::new(0x6080_0000_0015_0000);
            const Z31: RegId = RegId::new(0x6080_0000_0015_03e0);
            const P0: RegId = RegId::new(0x6050_0000_0015_0400);
            const P15: RegId = RegId::new(0x6050_0000_0015_05e0);
            const FFR: RegId = RegId::new(0x6050_0000_0015_0600);
            // The core registers x0 and pc.
            const X0: RegId = RegId::new(0x6030_0000_0010_0000);
            const PC: RegId = RegId::new(0x6030_0000_0010_0040);

            /// What `store` says of a vCPU and leaves in `N` slots of which it may use `room`.
            fn list<const N: usize>(sve: bool, room: usize) -> (usize, [RegId; N]) {
                let mut slots = [MaybeUninit::new(X0); N];
                let usable = slots.get_mut(..room).unwrap_or_default();
                let n = store(VecState { sve }.registers(), usable);

                // SAFETY: All of them were initialized with X0.
                (n, slots.map(|slot| unsafe { slot.assume_init() }))
            }

            #[test]
            fn sve_vcpu_has_fifty_registers() {
                let (n, ids) = list::<51>(true, 51);

                assert_eq!(n, 50);
                assert!(ids[0] == SVE_VLS);
                assert!(ids[1] == Z0);
                assert!(ids[32] == Z31);
                assert!(ids[33] == P0);
                assert!(ids[48] == P15);
                assert!(ids[49] == FFR);
                assert!(ids[50] == X0);
            }

            #[test]
            fn other_vcpu_has_none() {
                assert!(list(false, 1) == (0, [X0]));
            }

            #[test]
            fn too_little_room_is_counted_past() {
                assert!(list(true, 2) == (50, [SVE_VLS, Z0, X0]));
                assert!(list(true, 0) == (50, [X0]));
            }

            #[test]
            fn leaders_come_first() {
                let mut ids = [X0, PC, SVE_VLS, Z0, P0, FFR];

                order(&mut ids);
                assert!(ids == [SVE_VLS, X0, PC, Z0, P0, FFR]);
            }

            #[test]
            fn the_rest_stays() {
                let mut ids = [PC, FFR, X0, Z0];

                order(&mut ids);
                assert!(ids == [PC, FFR, X0, Z0]);
                order(&mut []);
            }

            #[test]
            fn the_size_field_counts() {
                // SVE_VLS but for its size: another register.
                let other = RegId::new(0x6050_0000_0015_ffff);
                let mut ids = [X0, other, SVE_VLS];

                order(&mut ids);
                assert!(ids == [SVE_VLS, X0, other]);
            }
        }
    };
}
