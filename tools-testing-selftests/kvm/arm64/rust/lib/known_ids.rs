// SPDX-License-Identifier: GPL-2.0-only

//! The registers that the dependency experiment has seen, by kind of vCPU: `known_ids.txt`.
//!
//! `reg_list_depgraph --ids` writes that file, `rust_reg_list_order` fails for a register that is
//! not in it: somebody has to look at what it depends on first.

use crate::{
    ktap::Outcome,
    kvm::Kvm,
    names::{family, name},
    reg::RegId,
    vcpus::Kind,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

/// The registers of each kind of vCPU, by its name.
pub type Ids = BTreeMap<String, BTreeSet<RegId>>;

const FILE: &str = include_str!("known_ids.txt");

/// How many names of kinds are in a line.
const NAMES_IN_LINE: usize = 5;

/// What the file says.
pub fn known() -> Ids {
    let mut ids = Ids::new();
    let mut kinds = Vec::new();
    let mut ended = false;
    for line in FILE.lines().filter(|line| !line.starts_with('#')) {
        if let Some(names) = line.strip_prefix("in ") {
            if ended {
                kinds.clear();
            }
            kinds.extend(names.split("; "));
            ended = false;
            continue;
        }
        ended = true;
        let number = |n: usize, radix| {
            let word = line.split(' ').nth(n);
            word.and_then(|word| u64::from_str_radix(word, radix).ok())
                .unwrap_or_else(|| panic!("known_ids.txt has a line that is none: {line}"))
        };
        let (first, step, count) = (number(0, 16), number(1, 16), number(2, 10));
        for kind in &kinds {
            let of_kind = ids.entry((*kind).to_owned()).or_default();
            of_kind.extend((0..count).map(|n| RegId::new(first + n * step)));
        }
    }
    ids
}

/// What each kind of vCPU has on this host, with the greatest vector lengths.
pub fn seen(kvm: &Kvm) -> Outcome<Ids> {
    let mut ids = Ids::new();
    for kind in Kind::one_of_each() {
        if kind.features.require(kvm).is_ok() {
            let list = kind.test_vm(kvm, 1)?.vcpus[0].list()?;
            ids.insert(kind.name(), list.into_iter().collect());
        }
    }
    Ok(ids)
}

/// The file that says this. What it says of kinds that this host does not have stays.
pub fn file(seen: Ids) -> String {
    let mut ids = known();
    ids.extend(seen);
    // Which kinds have a register, as places in the list of kinds.
    let mut kinds: BTreeMap<RegId, Vec<usize>> = BTreeMap::new();
    let names: Vec<_> = Kind::one_of_each().iter().map(Kind::name).collect();
    for (place, name) in names.iter().enumerate() {
        for id in ids.get(name).into_iter().flatten() {
            kinds.entry(*id).or_default().push(place);
        }
    }
    let mut sections: BTreeMap<_, Vec<RegId>> = BTreeMap::new();
    for (id, kinds) in kinds {
        sections.entry(kinds).or_default().push(id);
    }

    // Its head says what the file is, and stays.
    let head = FILE.lines().take_while(|line| line.starts_with('#'));
    let mut text: String = head.flat_map(|line| [line, "\n"]).collect();
    for (kinds, ids) in sections {
        for kinds in kinds.chunks(NAMES_IN_LINE) {
            let names: Vec<_> = kinds.iter().map(|place| names[*place].as_str()).collect();
            let _ = writeln!(text, "in {}", names.join("; "));
        }
        let mut families: BTreeMap<_, Vec<RegId>> = BTreeMap::new();
        for id in ids {
            let alike = (id.class(), family(id));
            families.entry(alike).or_default().push(id);
        }
        let runs: BTreeSet<_> = families.values().flat_map(|ids| runs(ids)).collect();
        for (first, step, count) in runs {
            let _ = writeln!(text, "{:x} {step:x} {count} {}", first.raw(), name(first));
        }
    }
    text
}

/// Sorted ids in runs: the first, how far they are apart, and how many they are.
fn runs(mut ids: &[RegId]) -> Vec<(RegId, u64, usize)> {
    let mut runs = Vec::new();
    while let Some(first) = ids.first() {
        let apart = |pair: &[RegId]| pair[1].raw() - pair[0].raw();
        let step = ids.get(..2).map_or(0, apart);
        let alike = ids.windows(2).take_while(|pair| apart(pair) == step);
        let count = alike.count() + 1;
        runs.push((*first, step, count));
        ids = &ids[count..];
    }
    runs
}
