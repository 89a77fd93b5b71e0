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
            const SME_VLS: RegId = RegId::new(0x6060_0000_0017_fffe);
            const ZA0: RegId = RegId::new(0x6080_0000_0017_0000);
            const ZA48: RegId = RegId::new(0x6080_0000_0017_0600);
            const ZA255: RegId = RegId::new(0x6080_0000_0017_1fe0);
            const ZT0: RegId = RegId::new(0x6060_0000_0017_0600);
            const SVCR: RegId = RegId::new(0x6030_0000_0013_da12);
            const FPSR: RegId = RegId::new(0x6020_0000_0010_00d4);
            const WORKAROUND_2: RegId = RegId::new(0x6030_0000_0014_0002);
            const ID_AA64PFR1: RegId = RegId::new(0x6030_0000_0013_c021);
            const CNTPCT: RegId = RegId::new(0x6030_0000_0013_df01);
            const CNTVCT: RegId = RegId::new(0x6030_0000_0013_df1a);
            // The core registers x0 and pc.
            const X0: RegId = RegId::new(0x6030_0000_0010_0000);
            const PC: RegId = RegId::new(0x6030_0000_0010_0040);

            /// A vCPU with SVE alone.
            const SVE: VecState = VecState {
                sve: true,
                sme: false,
                sme2: false,
                fa64: false,
                sm: false,
                za: false,
                svl: 0,
            };

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

            /// One of the 64 modes, a bit for each of the fields.
            fn mode(bits: u32, svl: u16) -> VecState {
                let bit = |n: u32| bits & (1 << n) != 0;

                VecState {
                    sve: bit(0),
                    sme: bit(1),
                    sme2: bit(2),
                    fa64: bit(3),
                    sm: bit(4),
                    za: bit(5),
                    svl,
                }
            }

            /// What `store` says of a vCPU and leaves in `N` slots of which it may use `room`.
            fn list<const N: usize>(state: VecState, room: usize) -> (usize, [RegId; N]) {
                let mut slots = [MaybeUninit::new(X0); N];
                let usable = slots.get_mut(..room).unwrap_or_default();
                let n = store(state.registers(), usable);

                // SAFETY: All of them were initialized with X0.
                (n, slots.map(|slot| unsafe { slot.assume_init() }))
            }

            #[test]
            fn sve_vcpu_has_fifty_registers() {
                let (n, ids) = list::<51>(SVE, 51);

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
                assert!(list(VecState { sve: false, ..SVE }, 1) == (0, [X0]));
            }

            #[test]
            fn sme_adds_its_own() {
                let (n, ids) = list::<309>(ALL, 309);

                assert_eq!(n, 308);
                assert!(ids[49] == FFR);
                assert!(ids[50] == SME_VLS);
                assert!(ids[51] == ZA0);
                assert!(ids[99] == ZA48);
                assert!(ids[306] == ZA255);
                assert!(ids[307] == ZT0);
                assert!(ids[308] == X0);
            }

            #[test]
            fn the_mode_decides() {
                // Every mode: how many registers of each kind, from the table in api.rst.
                for bits in 0..64u32 {
                    for svl in [16, 32, 64, 128, 256] {
                        let state = mode(bits, svl);
                        let streaming = state.sme && state.sm;
                        let mut expected = 0;

                        if state.sve {
                            expected += 1;
                        }
                        if state.sve || streaming {
                            expected += 48;
                        }
                        if streaming && state.fa64 || !streaming && state.sve {
                            expected += 1;
                        }
                        if state.sme {
                            expected += 1;
                        }
                        if state.sme && state.za {
                            expected += svl as usize;
                        }
                        if state.sme && state.sme2 && state.za {
                            expected += 1;
                        }
                        assert_eq!(state.registers().count(), expected);
                    }
                }
            }

            #[test]
            fn what_it_has_is_what_it_lists() {
                // The ids of the two classes, with each size, and slices other than 0 too.
                const CLASSES: [u64; 6] = [
                    0x6060_0000_0015_0000,
                    0x6080_0000_0015_0000,
                    0x6050_0000_0015_0000,
                    0x6060_0000_0017_0000,
                    0x6080_0000_0017_0000,
                    0x6050_0000_0017_0000,
                ];

                for bits in 0..64u32 {
                    let state = mode(bits, 64);
                    // To a little past ZA.H[255], and the *_VLS at the end.
                    let ids = CLASSES.iter().flat_map(|class| {
                        let low = (0..0x2100).step_by(8).chain(0xfff0..0x1_0000);
                        low.map(move |low| RegId::new(class | low))
                    });
                    let had = ids.filter(|&id| state.has(id));

                    assert_eq!(store(had, &mut []), state.registers().count());
                    assert!(state.registers().all(|id| state.has(id)));
                }
            }

            #[test]
            fn too_little_room_is_counted_past() {
                assert!(list(SVE, 2) == (50, [SVE_VLS, Z0, X0]));
                assert!(list(SVE, 0) == (50, [X0]));
            }

            #[test]
            fn leaders_come_first() {
                let mut ids = [X0, PC, SVE_VLS, Z0, P0, FFR];

                order(&mut ids);
                assert!(ids == [SVE_VLS, X0, PC, Z0, P0, FFR]);
            }

            #[test]
            fn lengths_come_before_the_mode() {
                let mut ids = [X0, FPSR, SVE_VLS, Z0, SME_VLS, ZA48, ZT0, SVCR, PC];

                order(&mut ids);
                assert!(ids == [SVE_VLS, SME_VLS, SVCR, X0, FPSR, Z0, ZA48, ZT0, PC]);
            }

            #[test]
            fn what_decides_about_one_register_leads() {
                let mut ids = [X0, WORKAROUND_2, ID_AA64PFR1, CNTPCT, CNTVCT];

                order(&mut ids);
                assert!(ids == [ID_AA64PFR1, CNTVCT, X0, WORKAROUND_2, CNTPCT]);
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
