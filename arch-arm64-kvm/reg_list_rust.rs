// SPDX-License-Identifier: GPL-2.0-only

//! `reg_list_core.rs` for C: the functions of `reg_list.h`, in Rust.

use core::{mem::MaybeUninit, slice};
use kernel::{bindings, kvm::RegId, prelude::*};

mod reg_list_core;

/// Lists the vector registers of a vCPU, see `reg_list.h`.
///
/// # Safety
///
/// `ids` is not null, aligned, and valid for reads and writes of `room` ids, which need not be
/// initialized and which nothing else accesses during the call.
#[export]
pub unsafe extern "C" fn kvm_arm_reg_list_vec_rust(
    state: bindings::kvm_arm_vec_state,
    ids: *mut u64,
    room: usize,
) -> usize {
    // SAFETY: The caller ensures that `ids` is not null, aligned and valid for reads and writes of
    // `room` ids that are not shared. `RegId` is a transparent `u64`, and `MaybeUninit` may be
    // uninitialized.
    let slots = unsafe { slice::from_raw_parts_mut(ids.cast::<MaybeUninit<RegId>>(), room) };

    reg_list_core::store(reg_list_core::registers(state), slots)
}

/// Whether a vCPU has a vector register, see `reg_list.h`.
#[export]
pub extern "C" fn kvm_arm_reg_list_vec_has_rust(
    state: bindings::kvm_arm_vec_state,
    id: u64,
) -> bool {
    reg_list_core::has(state, RegId::new(id))
}

/// Puts a register list in an order that is safe to restore, see `reg_list.h`.
///
/// # Safety
///
/// `ids` is not null, aligned, and valid for reads and writes of `n` ids that nothing else
/// accesses during the call.
#[export]
pub unsafe extern "C" fn kvm_arm_reg_list_order_rust(ids: *mut u64, n: usize) {
    // SAFETY: The caller ensures that `ids` is not null, aligned and valid for reads and writes of
    // `n` ids that are not shared. `RegId` is a transparent `u64`.
    reg_list_core::order(unsafe { slice::from_raw_parts_mut(ids.cast::<RegId>(), n) });
}

/// All ids are written out as in `arch/arm64/include/uapi/asm/kvm.h`.
#[cfg(CONFIG_KVM_REG_LIST_KUNIT_TEST)]
#[kunit_tests(kvm_arm_reg_list)]
mod tests {
    use super::*;
    use reg_list_core::VecState;

    // The core registers x0 and pc.
    const X0: u64 = 0x6030_0000_0010_0000;
    const PC: u64 = 0x6030_0000_0010_0040;
    const WORKAROUND_2: u64 = 0x6030_0000_0014_0002;
    const SVE_VLS: u64 = 0x6060_0000_0015_ffff;
    const Z0: u64 = 0x6080_0000_0015_0000;
    const Z31: u64 = 0x6080_0000_0015_03e0;
    const P0: u64 = 0x6050_0000_0015_0400;
    const P15: u64 = 0x6050_0000_0015_05e0;
    const FFR: u64 = 0x6050_0000_0015_0600;
    const ID_AA64PFR1: u64 = 0x6030_0000_0013_c021;
    const CNTPCT: u64 = 0x6030_0000_0013_df01;
    const CNTVCT: u64 = 0x6030_0000_0013_df1a;

    const SME_VLS: u64 = 0x6060_0000_0017_fffe;
    const ZA0: u64 = 0x6080_0000_0017_0000;
    const ZA48: u64 = 0x6080_0000_0017_0600;
    const ZA255: u64 = 0x6080_0000_0017_1fe0;
    const ZT0: u64 = 0x6060_0000_0017_0600;
    const SVCR: u64 = 0x6030_0000_0013_da12;
    const FPSR: u64 = 0x6020_0000_0010_00d4;

    /// More than there can be.
    const ROOM: usize = 310;

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

    /// Every mode with every length: a bit for each of the other fields.
    fn states() -> impl Iterator<Item = VecState> {
        (0..64u32).flat_map(|bits| {
            let bit = move |n: u32| bits & (1 << n) != 0;

            [16, 32, 64, 128, 256].into_iter().map(move |svl| VecState {
                sve: bit(0),
                sme: bit(1),
                sme2: bit(2),
                fa64: bit(3),
                sm: bit(4),
                za: bit(5),
                svl,
            })
        })
    }

    /// What both versions list, for as much room as `usable`, and `X0` behind it. `EINVAL` if they
    /// differ.
    fn list(state: VecState, usable: usize) -> Result<(usize, KVec<u64>)> {
        let mut in_rust = KVec::from_elem(X0, ROOM, GFP_KERNEL)?;
        let mut in_c = KVec::from_elem(X0, ROOM, GFP_KERNEL)?;
        let usable = usable.min(ROOM);

        // SAFETY: Both arrays have room for `usable` ids.
        let counts = unsafe {
            (
                kvm_arm_reg_list_vec_rust(state, in_rust.as_mut_ptr(), usable),
                bindings::kvm_arm_reg_list_vec(state, in_c.as_mut_ptr(), usable),
            )
        };
        if counts.0 != counts.1 || in_rust[..] != in_c[..] {
            return Err(EINVAL);
        }
        Ok((counts.0, in_rust))
    }

    /// What both versions make of a list. `EINVAL` if they differ.
    fn order<const N: usize>(ids: [u64; N]) -> Result<[u64; N]> {
        let mut in_rust = ids;
        let mut in_c = ids;

        // SAFETY: Both arrays have `N` ids.
        unsafe {
            kvm_arm_reg_list_order_rust(in_rust.as_mut_ptr(), N);
            bindings::kvm_arm_reg_list_order(in_c.as_mut_ptr(), N);
        }
        if in_rust != in_c {
            return Err(EINVAL);
        }
        Ok(in_rust)
    }

    #[test]
    fn sve_vcpu_has_fifty_registers() -> Result {
        let (n, ids) = list(SVE, ROOM)?;

        assert_eq!(n, 50);
        assert_eq!(ids[0], SVE_VLS);
        assert_eq!(ids[1], Z0);
        assert_eq!(ids[32], Z31);
        assert_eq!(ids[33], P0);
        assert_eq!(ids[48], P15);
        assert_eq!(ids[49], FFR);
        assert_eq!(ids[50], X0);

        Ok(())
    }

    #[test]
    fn other_vcpu_has_none() -> Result {
        let (n, ids) = list(VecState { sve: false, ..SVE }, ROOM)?;

        assert_eq!(n, 0);
        assert_eq!(ids[0], X0);

        Ok(())
    }

    #[test]
    fn sme_adds_its_own() -> Result {
        let (n, ids) = list(ALL, ROOM)?;

        assert_eq!(n, 308);
        assert_eq!(ids[49], FFR);
        assert_eq!(ids[50], SME_VLS);
        assert_eq!(ids[51], ZA0);
        assert_eq!(ids[99], ZA48);
        assert_eq!(ids[306], ZA255);
        assert_eq!(ids[307], ZT0);
        assert_eq!(ids[308], X0);

        Ok(())
    }

    #[test]
    fn the_mode_decides() -> Result {
        // How many registers of each kind there are, from the table in api.rst.
        for state in states() {
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
                expected += usize::from(state.svl);
            }
            if state.sme && state.sme2 && state.za {
                expected += 1;
            }
            assert_eq!(list(state, ROOM)?.0, expected);
        }

        Ok(())
    }

    #[test]
    fn what_it_has_is_what_it_lists() -> Result {
        // The ids of the two classes, with each size, and slices other than 0 too.
        const CLASSES: [u64; 6] = [
            0x6060_0000_0015_0000,
            0x6080_0000_0015_0000,
            0x6050_0000_0015_0000,
            0x6060_0000_0017_0000,
            0x6080_0000_0017_0000,
            0x6050_0000_0017_0000,
        ];

        for state in states().filter(|state| state.svl == 64) {
            let (n, ids) = list(state, ROOM)?;
            let mut had = 0;

            for class in CLASSES {
                // To a little past ZA.H[255], and the *_VLS at the end.
                for low in Iterator::chain((0..0x2100).step_by(8), 0xfff0..0x1_0000) {
                    let id = class | low;
                    let has = kvm_arm_reg_list_vec_has_rust(state, id);

                    // SAFETY: It can be called at any time.
                    let has_in_c = unsafe { bindings::kvm_arm_reg_list_vec_has(state, id) };

                    assert_eq!(has, has_in_c);
                    had += usize::from(has);
                }
            }
            assert_eq!(had, n);
            for &id in &ids[..n] {
                assert!(kvm_arm_reg_list_vec_has_rust(state, id));
            }
        }

        Ok(())
    }

    #[test]
    fn too_little_room_is_counted_past() -> Result {
        for room in 0..=308 {
            let (n, ids) = list(ALL, room)?;

            assert_eq!(n, 308);
            assert_eq!(ids[room], X0);
            assert!(room == 0 || ids[room - 1] != X0);
        }

        Ok(())
    }

    #[test]
    fn leaders_come_first() -> Result {
        assert!(order([X0, PC, SVE_VLS, Z0, P0, FFR])? == [SVE_VLS, X0, PC, Z0, P0, FFR]);
        assert!(
            order([X0, WORKAROUND_2, ID_AA64PFR1, CNTPCT, CNTVCT])?
                == [ID_AA64PFR1, CNTVCT, X0, WORKAROUND_2, CNTPCT]
        );

        Ok(())
    }

    #[test]
    fn lengths_come_before_the_mode() -> Result {
        assert!(
            order([X0, FPSR, SVE_VLS, Z0, SME_VLS, ZA48, ZT0, SVCR, PC])?
                == [SVE_VLS, SME_VLS, SVCR, X0, FPSR, Z0, ZA48, ZT0, PC]
        );

        Ok(())
    }

    #[test]
    fn the_rest_stays() -> Result {
        assert!(order([PC, FFR, X0, Z0])? == [PC, FFR, X0, Z0]);
        assert!(order([SVE_VLS])? == [SVE_VLS]);
        assert!(order([])?.is_empty());

        Ok(())
    }

    #[test]
    fn the_size_field_counts() -> Result {
        // SVE_VLS but for its size: another register.
        let other = 0x6050_0000_0015_ffff;

        assert!(order([X0, other, SVE_VLS])? == [SVE_VLS, X0, other]);

        Ok(())
    }

    #[test]
    fn both_order_any_list_alike() -> Result {
        const IDS: [u64; 11] = [
            X0,
            PC,
            WORKAROUND_2,
            SVE_VLS,
            Z0,
            SME_VLS,
            ZA0,
            SVCR,
            ID_AA64PFR1,
            CNTPCT,
            CNTVCT,
        ];
        let mut random = 1u32;

        for _ in 0..1000 {
            let mut ids = IDS;

            for i in 1..ids.len() {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                ids.swap(i, (random >> 16) as usize % (i + 1));
            }
            // Some are missing, leaders too: registers that do not lead are in their places.
            for (i, id) in ids.iter_mut().enumerate() {
                if random >> (i + 8) & 1 != 0 {
                    *id = PC;
                }
            }
            order(ids)?;
        }

        Ok(())
    }
}
