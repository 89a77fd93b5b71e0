// SPDX-License-Identifier: GPL-2.0-only

//! A vCPU that is saved, and restored in the order of `KVM_GET_REG_LIST`, is the same vCPU: by its
//! registers, and by what its guest computes from then on. So is one that others run beside.

mod guests;
mod trips;

use kvmtest::{
    host::Host,
    ktap::{self, Case, Outcome},
    kvm::{uapi, Kvm},
    vcpus::{self, Kind},
};
use std::{process::ExitCode, sync::Arc};

const SEED: u64 = 20210;

type Test = fn(&Kvm, &Kind, Host) -> Outcome;
type Applies = fn(&Kind) -> bool;

/// A PMU has no part in what a guest computes.
fn without_pmu(kind: &Kind) -> bool {
    !kind.features.pmu
}

/// The tests of registers alone, which there are of every kind.
const OF_EACH: [(&str, Test, Applies); 3] = [
    (
        "filled in the order of the list, restored",
        trips::in_order,
        |_| true,
    ),
    ("filled backwards, restored", trips::backwards, |_| true),
    ("filled in any order, restored", trips::in_any_order, |_| {
        true
    }),
];

/// The tests of kinds that differ in their vectors, and whether there is something to test in one.
const OF_KIND: [(&str, Test, Applies); 5] = [
    ("a wrong order shows", trips::wrong_order, |kind| {
        kind.svcr != 0
    }),
    (
        "computes beside another VM",
        guests::beside_a_vm,
        without_pmu,
    ),
    (
        "computes beside another vCPU",
        guests::beside_a_vcpu,
        without_pmu,
    ),
    ("computes on after a restore", guests::migrated, without_pmu),
    ("changes its mode by itself", guests::walking, |kind| {
        kind.features.sme && without_pmu(kind)
    }),
];

fn cases(kvm: &Arc<Kvm>, host: Host) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |kind: Kind, tests: &[(&str, Test, Applies)]| {
        for (test, run, _) in tests.iter().filter(|(.., applies)| applies(&kind)) {
            let (kvm, run) = (kvm.clone(), *run);
            let name = format!("{kind}: {test}");
            cases.push(Case::new(name, move || run(&kvm, &kind, host)));
        }
    };
    for kind in vcpus::ALL.into_iter().flat_map(Kind::all_with) {
        add(kind, &OF_EACH);
        add(kind, &OF_KIND);
    }
    for kind in vcpus::MORE.into_iter().flat_map(Kind::modes_of) {
        add(kind, &OF_EACH);
    }
    for features in vcpus::ALL {
        let kvm = kvm.clone();
        let case = move || guests::threads(&kvm, features, host);
        cases.push(Case::new(
            format!("{}: guests in threads", features.name),
            case,
        ));
    }
    cases
}

fn main() -> ExitCode {
    let Ok(kvm) = Kvm::open() else {
        return ktap::skip_all("no /dev/kvm");
    };
    let sme = kvm
        .capability(uapi::KVM_CAP_ARM_SME)
        .is_ok_and(|sme| sme > 0);
    ktap::run_chosen(cases(&Arc::new(kvm), Host::new(sme)))
}
