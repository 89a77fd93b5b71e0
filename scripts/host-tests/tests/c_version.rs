// SPDX-License-Identifier: GPL-2.0-only

//! `reg_list.c` against the Rust core: the same answers in every mode, and the same order of any
//! list.

use super::{has, order, registers, LEADERS};
use kernel::{bindings::kvm_arm_vec_state, kvm::RegId};
use std::collections::HashSet;

#[link(name = "reg_list", kind = "static")]
extern "C" {
    fn kvm_arm_reg_list_vec(state: kvm_arm_vec_state, ids: *mut u64, room: usize) -> usize;
    fn kvm_arm_reg_list_vec_has(state: kvm_arm_vec_state, id: u64) -> bool;
    fn kvm_arm_reg_list_order(ids: *mut u64, n: usize);
}

/// Every mode at every streaming vector length.
fn modes() -> impl Iterator<Item = kvm_arm_vec_state> {
    (0..64u32).flat_map(|bits| {
        [16, 32, 64, 128, 256].map(|svl| {
            let [sve, sme, sme2, fa64, sm, za] = [0, 1, 2, 3, 4, 5].map(|n| bits & 1 << n != 0);

            kvm_arm_vec_state {
                sve,
                sme,
                sme2,
                fa64,
                sm,
                za,
                svl,
            }
        })
    })
}

#[test]
fn both_list_the_same_registers() {
    for state in modes() {
        let listed: Vec<u64> = registers(state).map(RegId::raw).collect();

        for room in [0, 1, listed.len() / 2, listed.len(), listed.len() + 1] {
            let mut ids = vec![0; room];
            // SAFETY: `ids` has `room` places.
            let n = unsafe { kvm_arm_reg_list_vec(state, ids.as_mut_ptr(), room) };

            assert_eq!(n, listed.len());
            let stored = n.min(room);
            assert_eq!(ids[..stored], listed[..stored]);
            assert!(ids[stored..].iter().all(|&id| id == 0));
        }
    }
}

#[test]
fn both_have_the_same_registers() {
    // The ids of the two classes with every size that a register can have, slices other than 0 too.
    for state in modes() {
        for size in 0..9u64 {
            for class in [0x15, 0x17] {
                for low in (0..0x2200).chain(0xff00..0x1_0000) {
                    let id = 6 << 60 | size << 52 | class << 16 | low;
                    // SAFETY: It can be called at any time.
                    let has_in_c = unsafe { kvm_arm_reg_list_vec_has(state, id) };

                    assert_eq!(has(state, RegId::new(id)), has_in_c, "{id:#x}");
                }
            }
        }
    }
}

#[test]
fn both_give_the_same_order() {
    // The leaders, ids that differ from them in a bit, and any others, each once as in a list of
    // KVM's; xorshift64 for the choice.
    let mut state = 1u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };

    for _ in 0..20_000 {
        let mut seen = HashSet::new();
        let mut c: Vec<u64> = (0..next() % 700)
            .map(|_| {
                let leader = LEADERS[next() as usize % LEADERS.len()].raw();
                match next() % 4 {
                    0 => leader,
                    1 => leader ^ 1 << (next() % 64),
                    _ => next(),
                }
            })
            .filter(|&id| seen.insert(id))
            .collect();
        let mut rust: Vec<RegId> = c.iter().copied().map(RegId::new).collect();

        order(&mut rust);
        // SAFETY: `c` has as many ids as its length says.
        unsafe { kvm_arm_reg_list_order(c.as_mut_ptr(), c.len()) };
        assert!(
            rust.iter().map(|id| id.raw()).eq(c),
            "leaders[] of reg_list.c is not LEADERS of reg_list_core.rs"
        );
    }
}
