// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! The pool against a search of all sets that there are. `MACHINES` names files of "vlmatrix --json",
//! separated by colons; without it there are many small made-up ones.

#![cfg(feature = "json")]

use arm64_vl::{pool, Config, Error, Lengths, Machine, Offer};
use std::{env, fs};

/// Whether KVM takes a set where it offers another one: an equal set, up to the greatest wanted.
/// Said in words of numbers alone, apart from the crate.
fn takes(offer: &[u32], wanted: &[u32]) -> bool {
    let max = wanted.iter().max();
    max.is_some_and(|max| offer.iter().filter(|n| *n <= max).eq(wanted.iter()))
}

/// The taken set with the greatest length, of all sets that can be made of the lengths of all.
fn brute_force(offers: &[Vec<u32>]) -> Vec<u32> {
    let mut all: Vec<u32> = offers.iter().flatten().copied().collect();
    all.sort_unstable();
    all.dedup();
    let sets = (1u32..1 << all.len()).map(|bits| {
        let chosen = all.iter().enumerate().filter(|(n, _)| bits >> n & 1 != 0);
        chosen.map(|(_, length)| *length).collect::<Vec<_>>()
    });
    sets.filter(|set| offers.iter().all(|offer| takes(offer, set)))
        .max_by_key(|set| set.iter().max().copied())
        .unwrap_or_default()
}

fn check(machines: &[Machine]) -> Config {
    let offers: Vec<_> = machines
        .iter()
        .map(|machine| machine.kvm.clone().unwrap())
        .collect();
    let sets = |of: fn(&Offer) -> Lengths| {
        offers
            .iter()
            .map(|offer| of(offer).iter().collect())
            .collect::<Vec<_>>()
    };
    let config = pool(machines).unwrap();
    let names: Vec<_> = machines.iter().map(|machine| &machine.name).collect();
    assert_eq!(
        config.sve.iter().collect::<Vec<_>>(),
        brute_force(&sets(|o| o.sve)),
        "SVE of {names:?}"
    );
    assert_eq!(
        config.sme.iter().collect::<Vec<_>>(),
        brute_force(&sets(|o| o.sme)),
        "SME of {names:?}"
    );
    let some = !config.sme.is_empty();
    assert_eq!(config.sme2, some && offers.iter().all(|offer| offer.sme2));
    let both = some && !config.sve.is_empty();
    assert_eq!(config.fa64, both && offers.iter().all(|offer| offer.fa64));
    for machine in machines {
        assert_eq!(config.why_not(machine), [], "{}", machine.name);
    }
    config
}

#[test]
fn pool_is_that_of_a_search() {
    if let Ok(files) = env::var("MACHINES") {
        let machines: Vec<_> = files
            .split(':')
            .map(|file| Machine::from_json(&fs::read_to_string(file).unwrap()).unwrap())
            .collect();
        println!("{}", serde_json::to_string(&check(&machines)).unwrap());
        return;
    }
    // Every pair of sets of six SVE lengths, and some of SME.
    let lengths = |bits: u32| {
        Lengths::new((0..6).filter(|n| bits >> n & 1 != 0).map(|n| 16 * (n + 1))).unwrap()
    };
    let powers =
        |bits: u32| Lengths::new((0..5).filter(|n| bits >> n & 1 != 0).map(|n| 16 << n)).unwrap();
    for a in 0..64 {
        for b in 0..64 {
            let machine = |name, bits: u32| {
                let sme = powers(bits >> 1);
                let offer = Offer::from(Config {
                    sve: lengths(bits),
                    sme,
                    sme2: !sme.is_empty() && bits & 1 != 0,
                    fa64: !sme.is_empty(),
                });
                Machine::with_offer(name, offer)
            };
            check(&[machine("a", a), machine("b", b), machine("c", 63)]);
        }
    }
}

#[test]
fn reasons_are_those_of_a_search() {
    let host = |sve: &[u32]| {
        let sve = Lengths::new(sve.iter().copied()).unwrap();
        Machine::with_offer(
            "host",
            Offer::from(Config {
                sve,
                ..Config::default()
            }),
        )
    };
    let offer = [16, 32, 64];
    for bits in 1..16u32 {
        let wanted: Vec<u32> = (0..4)
            .filter(|n| bits >> n & 1 != 0)
            .map(|n| 16 * (n + 1))
            .collect();
        let config = Config {
            sve: Lengths::new(wanted.iter().copied()).unwrap(),
            ..Config::default()
        };
        assert_eq!(
            config.why_not(&host(&offer)).is_empty(),
            takes(&offer, &wanted),
            "{wanted:?}"
        );
    }
}

#[test]
fn no_host_or_one_without_kvm_is_an_error() {
    assert!(matches!(pool(&[]), Err(Error::Missing(_))));
    let text = r#"{"format": "arm64-vl host", "version": 1, "name": "old", "kvm": null, "missing": [],
        "host": {"sve": {"lengths": [], "default": null}, "sme": {"lengths": [], "default": null},
                 "sme2": false, "fa64": false}}"#;
    let error = pool(&[Machine::from_json(text).unwrap()]).unwrap_err();
    assert!(error.to_string().contains("\"old\""), "{error}");
}
