// SPDX-License-Identifier: GPL-2.0-only

//! Random streams of FP, SVE and SME instructions give the same state whether they run at one go
//! or with an exit after each instruction, another guest in between, and a save and restore into a
//! new VM now and then.
//!
//! Two guests, which differ in their mode and vector lengths, take turns. Each is compared to
//! itself: all its registers and its memory in the end. What is wrong each time has a test of its
//! own: `lengths`.

// The oldest compiler of the kernel has no is_multiple_of().
#![allow(clippy::manual_is_multiple_of)]

mod encodings;
mod guest;
mod lengths;
mod stream;

use encodings::CLASSES;
use guest::{Guest, Saved, ADDRESSES, MOST_WORDS};
use kvmtest::{
    ktap::{self, fail, is_long, option, skip, Case, Outcome, Trouble},
    kvm::{uapi, Kvm},
    random::Random,
    vcpus::{self, Features, Kind, TestVm},
    vectors::FPMR,
};
use std::{
    process::ExitCode,
    sync::{
        atomic::{AtomicUsize, Ordering},
        Arc,
    },
};
use stream::{Generator, Item};

/// How many instructions are drawn for a stream.
const DRAWN: usize = 200;
/// Of those that trap one in so many stays: a trap takes ten times as many exits.
const TRAPS: usize = 8;
/// As many have to be left at least.
const LEAST: usize = DRAWN / 6;
/// After one exit of so many a guest moves into a new VM.
const MOVE: usize = 200;

/// vCPUs with EL2, whose guests run the streams under a hypervisor that lets them.
const NESTED: [Features; 5] = [
    nested("EL2 at EL1", false, false),
    nested("EL2+SVE at EL1", true, false),
    nested("EL2+SME at EL1", false, true),
    nested("EL2+SVE+SME at EL1", true, true),
    Features {
        more: &[
            uapi::KVM_ARM_VCPU_PSCI_0_2,
            uapi::KVM_ARM_VCPU_HAS_EL2,
            uapi::KVM_ARM_VCPU_HAS_EL2_E2H0,
        ],
        ..nested("EL2+SVE+SME without E2H, at EL1", true, true)
    },
];

const fn nested(name: &'static str, sve: bool, sme: bool) -> Features {
    Features {
        name,
        sve,
        sme,
        more: &[uapi::KVM_ARM_VCPU_PSCI_0_2, uapi::KVM_ARM_VCPU_HAS_EL2],
        ..vcpus::PLAIN
    }
}

/// How many instructions of each class ran without a trap, in the streams at one go.
static RAN: [AtomicUsize; CLASSES.len()] = [const { AtomicUsize::new(0) }; CLASSES.len()];

/// A stream, and where it runs.
#[derive(Clone)]
struct Program {
    kind: Kind,
    seed: u64,
    items: Vec<Item>,
}

impl Program {
    /// A random one, most of whose instructions do not trap: what is drawn runs once to find out.
    fn random(kvm: &Kvm, kind: &Kind, seed: u64) -> Outcome<Self> {
        let mut program = Self {
            kind: *kind,
            seed,
            items: Vec::new(),
        };
        let mut random = Random(!seed);
        let empty = program.start(kvm)?;
        let fpmr = empty.vcpu().list()?.contains(&FPMR);
        let mut generator = Generator::new(&mut random, empty.mode()?, fpmr, ADDRESSES);
        let mut room = MOST_WORDS;
        for _ in 0..DRAWN {
            let item = generator.item();
            let Some(rest) = room.checked_sub(item.words.len()) else {
                break;
            };
            room = rest;
            program.items.push(item);
        }

        let traps = program.at_one_go(kvm)?.traps();
        let mut at = 0;
        program.items.retain(|item| {
            let place = at..at + item.words.len();
            at = place.end;
            let trapped = traps.iter().any(|(n, _)| place.contains(n));
            !trapped || random.below(TRAPS) == 0
        });
        if program.items.len() < LEAST {
            let left = program.items.len();
            return Err(fail(format!("of {DRAWN} instructions {left} do not trap")));
        }
        Ok(program)
    }

    fn start(&self, kvm: &Kvm) -> Outcome<Guest> {
        Guest::new(kvm, &self.kind, &self.items, self.seed)
    }

    fn at_one_go(&self, kvm: &Kvm) -> Outcome<Saved> {
        let guest = self.start(kvm)?;
        guest.run()?;
        guest.save()
    }

    /// The first `len` items.
    fn cut(&self, len: usize) -> Self {
        let mut cut = self.clone();
        cut.items.truncate(len);
        cut
    }

    fn count(&self, saved: &Saved) {
        let traps = saved.traps();
        let mut at = 0;
        for item in &self.items {
            at += item.words.len();
            let class = item.class.map(|class| class.name);
            let place = CLASSES.iter().position(|other| Some(other.name) == class);
            if let (Some(place), false) = (place, traps.iter().any(|(n, _)| *n == at - 1)) {
                RAN[place].fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Guests in turns, an instruction each, and now and then in a new VM.
fn in_steps(kvm: &Kvm, programs: &[Program]) -> Outcome<Vec<Saved>> {
    let start = |program: &Program| program.start(kvm);
    let mut guests = programs.iter().map(start).collect::<Outcome<Vec<_>>>()?;
    let mut random = Random(programs[0].seed);
    for guest in &guests {
        guest.vcpu().debug(true)?;
    }
    let mut going: Vec<_> = (0..guests.len()).collect();
    while !going.is_empty() {
        for n in going.clone() {
            if guests[n].run()? {
                going.retain(|other| *other != n);
            } else if random.below(MOVE) == 0 {
                guests[n] = guests[n].moved(kvm)?;
                guests[n].vcpu().debug(true)?;
            }
        }
    }
    guests.iter().map(Guest::save).collect()
}

/// What differs between the ways to run the programs.
fn differences(kvm: &Kvm, programs: &[Program]) -> Outcome<Vec<String>> {
    let in_steps = in_steps(kvm, programs)?;
    let mut found = Vec::new();
    for (program, in_steps) in programs.iter().zip(&in_steps) {
        let at_one_go = program.at_one_go(kvm)?;
        let differences = at_one_go.differences(in_steps);
        found.extend(differences.iter().map(|d| format!("{}: {d}", program.kind)));
        program.count(&at_one_go);
    }
    Ok(found)
}

/// The item from which on the programs differ.
fn culprit(kvm: &Kvm, programs: &[Program]) -> Outcome<String> {
    let cut = |len| programs.iter().map(|p| p.cut(len)).collect::<Vec<_>>();
    let (mut same, mut differs) = (0, programs.iter().map(|p| p.items.len()).max().unwrap_or(0));
    while differs - same > 1 {
        let middle = (same + differs) / 2;
        if differences(kvm, &cut(middle))?.is_empty() {
            same = middle;
        } else {
            differs = middle;
        }
    }
    let show = |program: &Program| {
        let item = program.items.get(same)?;
        let class = item.class.map_or("a change of SVCR", |class| class.name);
        Some(format!("{class} {:08x?}", item.words))
    };
    let shown: Vec<_> = programs.iter().filter_map(show).collect();
    Ok(format!("from item {same} on: {}", shown.join(" or ")))
}

/// A seed of its own for each kind of vCPU.
fn mix(seed: u64, kind: &Kind) -> u64 {
    let add = |mixed: u64, byte: u8| Random(mixed ^ u64::from(byte)).number();
    kind.to_string().bytes().fold(seed, add)
}

/// Skips what the host cannot have.
fn require(kvm: &Kvm, features: Features) -> Outcome {
    features.require(kvm)?;
    if features.el2() && TestVm::new(kvm, features, 1).is_err() {
        return Err(skip("no EL2 with these features"));
    }
    Ok(())
}

/// A stream of a kind of vCPU, beside one of its opposite.
fn run(kvm: &Kvm, kind: &Kind, seed: u64) -> Outcome {
    require(kvm, kind.features)?;
    let kinds = [*kind, kind.opposite()];
    let programs = kinds
        .iter()
        .map(|kind| Program::random(kvm, kind, mix(seed, kind)));
    let programs = programs.collect::<Outcome<Vec<_>>>()?;
    let mut found = differences(kvm, &programs)?;
    if found.is_empty() {
        return Ok(());
    }
    found.insert(0, culprit(kvm, &programs)?);
    found.insert(0, format!("--seed {seed} --count 1 shows it again"));
    Err(Trouble::Fail(found))
}

/// How many instructions ran, and of which classes none did.
fn summary() -> Outcome {
    let ran: Vec<_> = RAN.iter().map(|ran| ran.load(Ordering::Relaxed)).collect();
    let sum: usize = ran.iter().sum();
    let none: Vec<_> = CLASSES
        .iter()
        .zip(&ran)
        .filter(|(_, ran)| **ran == 0)
        .map(|(class, _)| class.name)
        .collect();
    let some = CLASSES.len() - none.len();
    println!(
        "# {sum} instructions of {some} of {} classes ran",
        CLASSES.len()
    );
    if is_long() {
        CLASSES
            .iter()
            .zip(&ran)
            .for_each(|(class, ran)| println!("# {ran:6} {}", class.name));
    }
    if sum == 0 {
        return Err(skip("no stream ran"));
    }
    Ok(())
}

fn main() -> ExitCode {
    let Ok(kvm) = Kvm::open() else {
        return ktap::skip_all("no /dev/kvm");
    };
    let kvm = Arc::new(kvm);
    let first = option("--seed").unwrap_or(1);
    let count = option("--count").unwrap_or(1);
    println!("# --seed {first} --count {count}");

    let with_lengths = vcpus::ALL.into_iter().filter(|features| !features.pmu);
    let kinds = with_lengths.flat_map(Kind::all_with);
    let kinds = kinds.chain(NESTED.into_iter().flat_map(Kind::modes_of));
    let case = |kind: Kind| {
        let kvm = kvm.clone();
        let name = format!("{kind}: a stream at one go and in steps");
        let run_all = move || (first..first + count).try_for_each(|seed| run(&kvm, &kind, seed));
        Case::new(name, run_all)
    };
    let mut cases: Vec<_> = kinds.map(case).collect();
    cases.push(Case::new("instructions of all classes", summary));

    let features = vcpus::ALL.into_iter().filter(|features| !features.pmu);
    let features = features.chain(NESTED).filter(|features| features.sme);
    cases.extend(features.flat_map(Kind::modes_of).map(|kind| {
        let kvm = kvm.clone();
        Case::new(format!("{kind}: lengths follow SMCR"), move || {
            require(&kvm, kind.features)?;
            lengths::follow_smcr(&kvm, &kind)
        })
    }));
    ktap::run_chosen(cases)
}
