// SPDX-License-Identifier: GPL-2.0-only

//! Properties of the core on many lists, against a plain sort as the oracle.

use super::{has, order, registers, store, Block, VecState, DEPENDENCIES};
use kernel::kvm::RegId;
use std::{
    collections::{BTreeSet, HashSet},
    mem::MaybeUninit,
};

const SVE_VLS: u64 = 0x6060_0000_0015_ffff;
const SME_VLS: u64 = 0x6060_0000_0017_fffe;
const SVCR: u64 = 0x6030_0000_0013_da12;
const ID_AA64PFR1: u64 = 0x6030_0000_0013_c021;
const CNTVCT: u64 = 0x6030_0000_0013_df1a;

/// The registers that lead a list.
const LEADERS: [u64; 5] = [SVE_VLS, SME_VLS, SVCR, ID_AA64PFR1, CNTVCT];

const WORKAROUND_2: u64 = 0x6030_0000_0014_0002;
const CNTPCT: u64 = 0x6030_0000_0013_df01;

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

fn z() -> impl Iterator<Item = u64> {
    (0..32).map(|n| 0x6080_0000_0015_0000 + n * 32)
}

fn p() -> impl Iterator<Item = u64> {
    (0..16).map(|n| 0x6050_0000_0015_0400 + n * 32)
}

fn za(rows: u64) -> impl Iterator<Item = u64> {
    (0..rows).map(|n| 0x6080_0000_0017_0000 + n * 32)
}

const FFR: u64 = 0x6050_0000_0015_0600;
const ZT0: u64 = 0x6060_0000_0017_0600;

/// FPSR and FPMR.
const FP_CONTROL: [u64; 2] = [0x6020_0000_0010_00d4, 0x6030_0000_0013_da22];

/// V0 to V31, FPSR and FPMR: what a change of SVCR.SM resets beside the vectors.
fn fp_state() -> impl Iterator<Item = u64> {
    (0..32)
        .map(|n| 0x6040_0000_0010_0054 + n * 4)
        .chain(FP_CONTROL)
}

fn vectors() -> impl Iterator<Item = u64> {
    z().chain(p()).chain([FFR])
}

fn array() -> impl Iterator<Item = u64> {
    za(256).chain([ZT0])
}

/// The vector registers of a vCPU, from the table in `api.rst`, without the code under test.
fn expected(state: VecState) -> Vec<u64> {
    let mut ids = Vec::new();
    let streaming = state.sme && state.sm;
    if state.sve {
        ids.push(SVE_VLS);
    }
    if state.sve || streaming {
        ids.extend(z().chain(p()));
    }
    match streaming {
        true if state.fa64 => ids.push(FFR),
        false if state.sve => ids.push(FFR),
        _ => {}
    }
    if state.sme {
        ids.push(SME_VLS);
        if state.za {
            ids.extend(za(state.svl.into()));
            ids.extend(state.sme2.then_some(ZT0));
        }
    }
    ids
}

/// Every mode at every streaming vector length.
fn modes() -> impl Iterator<Item = VecState> {
    (0..64u32).flat_map(|bits| {
        [16, 32, 64, 128, 256].map(|svl| VecState {
            sve: bits & 1 != 0,
            sme: bits & 2 != 0,
            sme2: bits & 4 != 0,
            fa64: bits & 8 != 0,
            sm: bits & 16 != 0,
            za: bits & 32 != 0,
            svl,
        })
    })
}

/// A list of up to 700 ids, each once: registers of the table, ones that differ from them in a bit,
/// any others.
fn arbitrary_list(numbers: &mut Numbers) -> Vec<u64> {
    let known: Vec<u64> = dependents().collect();
    let len = numbers.next() % 700;
    let mut seen = HashSet::new();
    (0..len)
        .map(|_| {
            let leader = LEADERS[numbers.next() as usize % LEADERS.len()];
            match numbers.next() % 8 {
                0 => leader,
                1 => leader ^ 1 << (numbers.next() % 64),
                2..=4 => known[numbers.next() as usize % known.len()],
                _ => numbers.next(),
            }
        })
        .filter(|&id| seen.insert(id))
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
        oracle.sort_by_key(|id| {
            LEADERS
                .iter()
                .position(|l| l == id)
                .unwrap_or(LEADERS.len())
        });
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

/// All registers that depend on another.
fn dependents() -> impl Iterator<Item = u64> {
    vectors()
        .chain(array())
        .chain(fp_state())
        .chain([WORKAROUND_2, CNTPCT])
}

/// Each register that decides, with all that it decides about.
fn dependencies() -> [(u64, Vec<u64>); 5] {
    [
        (SVE_VLS, vectors().collect()),
        (SME_VLS, vectors().chain(array()).collect()),
        (SVCR, vectors().chain(array()).chain(fp_state()).collect()),
        (ID_AA64PFR1, vec![WORKAROUND_2]),
        (CNTVCT, vec![CNTPCT]),
    ]
}

/// No register comes before one that it depends on.
fn assert_met(list: &[u64]) {
    for (first, then) in &dependencies() {
        let last = list.iter().rposition(|id| id == first);
        let earliest = list.iter().position(|id| then.contains(id));
        if let (Some(last), Some(earliest)) = (last, earliest) {
            assert!(last < earliest, "{first:#x} in {list:x?}");
        }
    }
}

#[test]
fn every_dependency_is_met() {
    let mut numbers = Numbers(3);
    for _ in 0..2_000 {
        assert_met(&ordered(&arbitrary_list(&mut numbers)));
    }
}

#[test]
fn the_list_of_every_mode_is_safe() {
    for state in modes() {
        // As the kernel lists a vCPU: core, vectors, firmware, system registers.
        let svcr = state.sme.then_some(SVCR);
        let [fpsr, fpmr] = FP_CONTROL;
        let v = fp_state().filter(|id| !FP_CONTROL.contains(id));
        let no_v = state.sve || state.sme && state.sm;
        let list: Vec<u64> = [0x6030_0000_0010_0000]
            .into_iter()
            .chain(v.filter(|_| !no_v))
            .chain([fpsr])
            .chain(expected(state))
            .chain([WORKAROUND_2, 0x6030_0000_0013_c005, ID_AA64PFR1])
            .chain(svcr)
            .chain([fpmr, CNTPCT, CNTVCT, 0x6020_0000_0011_0000])
            .collect();
        let safe = ordered(&list);

        assert_met(&safe);
        let lead = LEADERS.into_iter().filter(|id| list.contains(id));
        let rest = list.iter().copied().filter(|id| !LEADERS.contains(id));
        assert!(lead.chain(rest).eq(safe), "{state:?}");
    }
}

#[test]
fn a_vcpu_has_what_is_listed_and_nothing_else() {
    let all: Vec<u64> = LEADERS.into_iter().chain(dependents()).collect();
    for state in modes() {
        let listed = expected(state);
        for &id in &all {
            // The register, and all that differ from it in a bit: its slice, size, class and so on.
            for near in (0..64).map(|bit| id ^ 1 << bit).chain([id]) {
                let had = has(state, RegId::new(near));
                assert_eq!(had, listed.contains(&near), "{near:#x} {state:?}");
            }
        }
    }
}

/// Where else a register stands that the core has as a leader or in its table.
const EVERYWHERE: &str = "A new line of reg_list_core.rs belongs into these as well:
  leaders[] in arch-arm64-kvm/reg_list.c, the same in C
  the KUnit tests in arch-arm64-kvm/reg_list_rust.rs, which write the leaders out
  rust/bindings/bindings_helper.h of the kernel, and scripts/host-tests/kernel/bindings.rs, which stands for it
  LEADERS, dependents() and dependencies() in scripts/host-tests/tests/properties.rs, LEADERS in fuzz.rs
  leaders[] in tools-testing-selftests/kvm/arm64/reg_list_order.c, leads() in reg_list_sme.c
  in rust/ there: DEPENDENCIES in rust_reg_list_order/list.rs, LEADERS and DEPENDENCIES in
    reg_list_fuzz/model.rs, LEADERS in reg_list_depgraph/base.rs, ORDERED in lib/edges.rs
  DEPENDENTS in scripts/lab/picture.py
  the list of leaders in Documentation/virt/kvm/arm/reg-list.rst";

#[test]
fn the_leaders_are_known_everywhere() {
    let leaders = super::LEADERS.map(RegId::raw);
    assert!(
        leaders[..] == LEADERS[..],
        "the core has the leaders {leaders:#x?}, the tests {LEADERS:#x?}.\n{EVERYWHERE}"
    );
}

#[test]
fn the_table_has_each_dependency_and_no_other() {
    let pairs = |first: u64, then: Vec<u64>| then.into_iter().map(move |then| (first, then));
    let table: BTreeSet<_> = DEPENDENCIES
        .iter()
        .flat_map(|(first, then)| pairs(first.raw(), raw(*then)))
        .collect();
    let known: BTreeSet<_> = dependencies()
        .into_iter()
        .flat_map(|(first, then)| pairs(first, then))
        .collect();
    let differ: Vec<_> = table.symmetric_difference(&known).take(4).collect();
    assert!(
        differ.is_empty(),
        "the core and the tests differ in (first, then) {differ:#x?}.\n{EVERYWHERE}"
    );
}

fn raw(block: Block) -> Vec<u64> {
    block.registers().map(RegId::raw).collect()
}

/// A block has the registers that it says, and none that differs from one of them in a bit.
#[test]
fn a_block_contains_its_registers() {
    let all: Vec<u64> = LEADERS.into_iter().chain(dependents()).collect();
    for (_, then) in DEPENDENCIES {
        let registers = raw(then);
        for &id in &all {
            for near in (0..64).map(|bit| id ^ 1 << bit).chain([id]) {
                let contained = then.contains(RegId::new(near));
                assert_eq!(contained, registers.contains(&near), "{near:#x}");
            }
        }
    }
}

#[test]
fn the_registers_of_every_mode() {
    for state in modes() {
        let listed: Vec<u64> = registers(state).map(RegId::raw).collect();
        assert_eq!(listed, expected(state), "{state:?}");
    }
}

#[test]
fn store_counts_on_past_the_room() {
    for state in modes() {
        let ids = expected(state);
        for room in [0, 1, ids.len() / 2, ids.len(), ids.len() + 1] {
            let mut slots = vec![MaybeUninit::new(RegId::new(0)); room];
            assert_eq!(store(registers(state), &mut slots), ids.len());
            for (i, slot) in slots.iter().enumerate() {
                // SAFETY: All of them were initialized with 0.
                let id = unsafe { slot.assume_init() };
                assert_eq!(id.raw(), ids.get(i).copied().unwrap_or(0));
            }
        }
    }
}
