// SPDX-License-Identifier: GPL-2.0-only

//! Properties of the core on many lists, against a plain sort as the oracle.

use reg_list_host_tests::kvm::RegId;
use reg_list_host_tests::reg_list_core::{order, store, VecState, DEPENDENCIES};
use std::mem::MaybeUninit;

const SVE_VLS: u64 = 0x6060_0000_0015_ffff;

/// Numbers that look random and are the same in every run (xorshift64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// The vector registers as `asm/kvm.h` has them, written without the code under test.
fn sve_ids() -> Vec<u64> {
    let z = (0..32).map(|n| 0x6080_0000_0015_0000 + n * 32);
    let p = (0..16).map(|n| 0x6050_0000_0015_0400 + n * 32);
    [SVE_VLS]
        .into_iter()
        .chain(z)
        .chain(p)
        .chain([0x6050_0000_0015_0600])
        .collect()
}

/// A list of up to 700 ids: SVE registers, ones that differ from them in a bit, and any others.
fn arbitrary_list(numbers: &mut Numbers) -> Vec<u64> {
    let sve = sve_ids();
    let len = numbers.next() % 700;
    (0..len)
        .map(|_| match numbers.next() % 8 {
            0 => SVE_VLS,
            1 => SVE_VLS ^ 1 << (numbers.next() % 64),
            2..=4 => sve[numbers.next() as usize % sve.len()],
            _ => numbers.next(),
        })
        .collect()
}

fn ordered(list: &[u64]) -> Vec<u64> {
    let mut ids: Vec<RegId> = list.iter().copied().map(RegId::new).collect();
    order(&mut ids);
    ids.into_iter().map(RegId::raw).collect()
}

#[test]
fn order_is_a_stable_sort_by_rank() {
    let mut numbers = Numbers(1);
    for _ in 0..20_000 {
        let list = arbitrary_list(&mut numbers);
        let mut oracle = list.clone();
        oracle.sort_by_key(|&id| id != SVE_VLS);
        assert_eq!(ordered(&list), oracle);
    }
}

#[test]
fn order_is_idempotent_and_a_permutation() {
    let mut numbers = Numbers(2);
    for _ in 0..20_000 {
        let list = arbitrary_list(&mut numbers);
        let once = ordered(&list);
        assert_eq!(ordered(&once), once);
        let (mut a, mut b) = (list, once);
        a.sort_unstable();
        b.sort_unstable();
        assert_eq!(a, b);
    }
}

#[test]
fn every_dependency_is_met() {
    let mut numbers = Numbers(3);
    let sve = sve_ids();
    for _ in 0..20_000 {
        let list = ordered(&arbitrary_list(&mut numbers));
        let last_vls = list.iter().rposition(|&id| id == SVE_VLS);
        let first_vector = list.iter().position(|id| sve[1..].contains(id));
        if let (Some(vls), Some(vector)) = (last_vls, first_vector) {
            assert!(vls < vector);
        }
    }
}

#[test]
fn the_table_covers_every_vector_register() {
    for &id in &sve_ids()[1..] {
        assert!(DEPENDENCIES
            .iter()
            .any(|d| d.first.raw() == SVE_VLS && d.then.contain(RegId::new(id))));
    }
}

#[test]
fn the_registers_of_a_mode() {
    let listed: Vec<u64> = VecState { sve: true }.registers().map(RegId::raw).collect();
    assert_eq!(listed, sve_ids());
    assert_eq!(listed.len(), 50);
    assert_eq!(VecState { sve: false }.registers().count(), 0);
}

#[test]
fn store_counts_on_past_the_room() {
    let sve = sve_ids();
    for room in 0..=60 {
        let mut slots = vec![MaybeUninit::new(RegId::new(0)); room];
        assert_eq!(store(VecState { sve: true }.registers(), &mut slots), 50);
        for (i, slot) in slots.iter().enumerate() {
            // SAFETY: All of them were initialized with 0.
            let id = unsafe { slot.assume_init() };
            assert_eq!(id.raw(), sve.get(i).copied().unwrap_or(0));
        }
    }
}

#[test]
fn the_fields_of_an_id() {
    let vls = RegId::new(SVE_VLS);
    assert_eq!(vls.size(), 64);
    assert_eq!(vls.arch(), RegId::ARCH_ARM64);
    assert_ne!(vls, RegId::new(SVE_VLS ^ 1 << 52));
}
