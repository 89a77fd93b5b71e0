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

            const SVE_VLS: RegId = RegId::new(0x6060_0000_0015_ffff);
            const Z0: RegId = RegId::new(0x6080_0000_0015_0000);
            const Z31: RegId = RegId::new(0x6080_0000_0015_03e0);
            const P0: RegId = RegId::new(0x6050_0000_0015_0400);
            const P15: RegId = RegId::new(0x6050_0000_0015_05e0);
            const FFR: RegId = RegId::new(0x6050_0000_0015_0600);
            // The core registers x0 and pc.
            const X0: RegId = RegId::new(0x6030_0000_0010_0000);
            const PC: RegId = RegId::new(0x6030_0000_0010_0040);

            fn list(sve: bool, slots: &mut [RegId]) -> usize {
                store(VecState { sve }.registers(), slots)
            }

            #[test]
            fn sve_vcpu_has_fifty_registers() {
                let mut ids = [X0; 51];

                assert_eq!(list(true, &mut ids), 50);
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
                assert_eq!(list(false, &mut [X0]), 0);
            }

            #[test]
            fn too_little_room_is_counted_past() {
                let mut ids = [X0; 3];

                assert_eq!(list(true, &mut ids[..2]), 50);
                assert!(ids == [SVE_VLS, Z0, X0]);
                assert_eq!(list(true, &mut []), 50);
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
