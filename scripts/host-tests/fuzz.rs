// SPDX-License-Identifier: GPL-2.0-only

//! A fuzz target for the core, run by `scripts/fuzz` through libFuzzer.
//!
//! The oracles are naive and share nothing with the core: the order is what is left of the list
//! when the leaders are taken out, and the registers of a vCPU are all that any vCPU can have, each asked whether this
//! one has it.

#![no_main]

use kernel::kvm::RegId;
use reg_list_core::{has, order, registers, store, VecState};
use std::mem::MaybeUninit;

#[path = "../../arch-arm64-kvm/reg_list_core.rs"]
mod reg_list_core;

const SVE_VLS: u64 = 0x6060_0000_0015_ffff;
const SME_VLS: u64 = 0x6060_0000_0017_fffe;
const SVCR: u64 = 0x6030_0000_0013_da12;
const ID_AA64PFR1: u64 = 0x6030_0000_0013_c021;
const CNTVCT: u64 = 0x6030_0000_0013_df1a;
const LEADERS: [u64; 5] = [SVE_VLS, SME_VLS, SVCR, ID_AA64PFR1, CNTVCT];

/// More registers than any vCPU has.
const ROOM: usize = 512;

/// No register has this id.
const UNTOUCHED: u64 = 0;

/// A register of the vector class, `number` places behind the first of its kind: what
/// `Documentation/virt/kvm/api.rst`, section 4.68, says about whether a vCPU has it.
fn present(kind: usize, number: u64, s: VecState) -> bool {
    match (kind, s.sme && s.sm) {
        (0, _) => s.sve,
        (1 | 2, streaming) => s.sve | streaming,
        (3, false) => s.sve,
        (3, true) => s.fa64,
        (4, _) => s.sme,
        (5, _) => s.sme && s.za && number < u64::from(s.svl),
        (_, _) => s.sme && s.za && s.sme2,
    }
}

/// The registers of the vector class: the first of each kind, and how many there can be.
const KINDS: [(u64, u64); 7] = [
    (SVE_VLS, 1),
    (0x6080_0000_0015_0000, 32),
    (0x6050_0000_0015_0400, 16),
    (0x6050_0000_0015_0600, 1),
    (SME_VLS, 1),
    (0x6080_0000_0017_0000, 256),
    (0x6060_0000_0017_0600, 1),
];

fn check_registers(state: VecState, room: usize) {
    let mut listed = registers(state);
    let mut slots = [MaybeUninit::new(RegId::new(UNTOUCHED)); ROOM];
    let stored = store(registers(state), &mut slots[..room]);
    let mut n = 0;

    for (kind, (first, count)) in KINDS.into_iter().enumerate() {
        for number in 0..count {
            let id = first + number * 32;
            if !present(kind, number, state) {
                continue;
            }
            assert_eq!(listed.next().map(RegId::raw), Some(id), "{state:?}");
            // SAFETY: All of them were initialized.
            let slot = unsafe { slots[n].assume_init() }.raw();
            assert_eq!(slot, if n < room { id } else { UNTOUCHED }, "{state:?}");
            n += 1;
        }
    }
    assert!(listed.next().is_none(), "{state:?}");
    assert_eq!(stored, n, "{state:?}");
    for slot in &slots[n..] {
        // SAFETY: As above.
        assert_eq!(unsafe { slot.assume_init() }.raw(), UNTOUCHED, "{state:?}");
    }
}

/// What is listed is there, and no other id is.
fn check_has(ids: &[u64], state: VecState) {
    for &id in ids {
        let kinds = KINDS.into_iter().enumerate();
        let listed = kinds.fold(false, |listed, (kind, (first, count))| {
            let number = id.saturating_sub(first) / 32;
            let of_kind = number < count && first + number * 32 == id;
            listed || of_kind && present(kind, number, state)
        });
        assert_eq!(has(state, RegId::new(id)), listed, "{id:x} {state:?}");
    }
}

/// What comes of a list: the leaders, and the rest as it stood.
fn check_order(list: &[u64]) {
    let mut ids: Vec<RegId> = list.iter().copied().map(RegId::new).collect();
    order(&mut ids);

    let mut ids = ids.into_iter().map(RegId::raw);
    let mut rest = list.to_vec();
    for leader in LEADERS.into_iter().filter(|leader| list.contains(leader)) {
        assert_eq!(ids.next(), Some(leader), "{list:x?}");
        rest.retain(|&id| id != leader);
    }
    for id in rest {
        assert_eq!(ids.next(), Some(id), "{list:x?}");
    }
    assert!(ids.next().is_none(), "{list:x?}");
}

/// A list of ids: leaders, each once as in a list of KVM's, vector registers, core registers, ids that
/// differ from a leader in a bit, and any others.
fn read_list(mut bytes: &[u8]) -> Vec<u64> {
    let mut list = Vec::with_capacity(bytes.len());

    while let [byte, rest @ ..] = bytes {
        bytes = rest;
        let (first, count) = KINDS[usize::from(byte >> 2) % KINDS.len()];
        let known = match byte & 3 {
            0 => LEADERS[usize::from(byte >> 2) % LEADERS.len()],
            1 => match bytes {
                [number, rest @ ..] => {
                    bytes = rest;
                    first + u64::from(*number) % count * 32
                }
                _ => continue,
            },
            // V0 to V31, and ids behind them.
            2 => 0x6040_0000_0010_0054 + u64::from(byte >> 2) * 4,
            _ => match bytes {
                [bit, rest @ ..] if bit & 0xc0 == 0 => {
                    bytes = rest;
                    LEADERS[usize::from(byte >> 2) % LEADERS.len()] ^ 1 << bit
                }
                [a, b, c, d, e, f, g, h, rest @ ..] => {
                    bytes = rest;
                    u64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h])
                }
                _ => continue,
            },
        };
        if !LEADERS.contains(&known) || !list.contains(&known) {
            list.push(known);
        }
    }
    list
}

/// The entry point that libFuzzer calls.
///
/// # Safety
///
/// `data` is valid for reads of `size` bytes.
#[no_mangle]
pub unsafe extern "C" fn LLVMFuzzerTestOneInput(data: *const u8, size: usize) -> i32 {
    if size == 0 {
        return 0;
    }
    // SAFETY: By the safety requirements of this function.
    let bytes = unsafe { std::slice::from_raw_parts(data, size) };
    let [flags, rows, room, list @ ..] = bytes else {
        return 0;
    };
    let flag = |n: u32| flags >> n & 1 != 0;
    let state = VecState {
        sve: flag(0),
        sme: flag(1),
        sme2: flag(2),
        fa64: flag(3),
        sm: flag(4),
        za: flag(5),
        svl: u16::from(*rows) + 1,
    };

    check_registers(state, usize::from(*room) * 2);
    let list = read_list(list);
    check_has(&list[..list.len().min(16)], state);
    check_order(&list);
    0
}
