// SPDX-License-Identifier: GPL-2.0-only

//! What `KVM_GET_REG_LIST` promises: which registers it lists in which mode, in what order, into
//! how much room, whatever else goes on, and what SVCR does to those that it decides about.

mod ids;
mod list;
mod races;
mod room;
mod svcr;
mod vls;

use kvmtest::{
    ktap::{self, fail, Case, Outcome},
    kvm::{uapi, Kvm},
    reg::RegId,
    vcpus::{self, Kind},
};
use list::DEPENDENCIES;
use std::{process::ExitCode, rc::Rc};

const SEED: u64 = 20210;

type KindTest = fn(&Kvm, &Kind) -> Outcome;

/// The tests of each vCPU.
const OF_KIND: [(&str, KindTest); 4] = [
    ("which registers are listed", list::content),
    ("all that need not move is where it was", list::usual_order),
    ("listed means accessible", list::listed_is_accessible),
    ("not listed means refused", list::unlisted_is_refused),
];

/// The tests of one vCPU for each state of SVCR.
const OF_MODE: [(&str, KindTest); 6] = [
    ("all that can be read is listed", list::readable_is_listed),
    ("room for the list", room::room),
    ("too early", room::too_early),
    ("a list with a reset pending", room::pending_reset),
    ("a list while SVCR changes", races::race_svcr),
    ("a list while ID registers change", races::race_id_registers),
];

fn cases(kvm: &Rc<Kvm>) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: String, test: Box<dyn Fn(&Kvm) -> Outcome>| {
        let kvm = kvm.clone();
        cases.push(Case::new(name, move || test(&kvm)));
    };

    add(
        "KVM_CAP_ARM_REG_LIST_ORDER is 1".into(),
        Box::new(
            |kvm| match kvm.capability(uapi::KVM_CAP_ARM_REG_LIST_ORDER) {
                Ok(1) => Ok(()),
                other => Err(fail(format!("it is {other:?}"))),
            },
        ),
    );
    add(
        "every listed id is known to the dependency experiment".into(),
        Box::new(ids::are_known),
    );
    for features in vcpus::ALL {
        let of = features.name;
        for line in DEPENDENCIES.iter().filter(|line| (line.of)(features)) {
            let name = format!("{of}: {}", line.what);
            add(
                name,
                Box::new(move |kvm| list::dependency(kvm, features, line)),
            );
        }
        for (there, id, test) in [
            (features.sve, RegId::SVE_VLS, "SVE_VLS"),
            (features.sme, RegId::SME_VLS, "SME_VLS"),
        ] {
            if there {
                add(
                    format!("{of}: {test} before and after finalize"),
                    Box::new(move |kvm| vls::writes(kvm, features, id)),
                );
            } else {
                add(
                    format!("{of}: no {test}"),
                    Box::new(move |kvm| vls::absent(kvm, features, id)),
                );
            }
        }
        for kind in Kind::all_with(features) {
            for (test, run) in OF_KIND {
                add(
                    format!("{kind}: {test}"),
                    Box::new(move |kvm| run(kvm, &kind)),
                );
            }
        }
        for kind in Kind::modes_of(features) {
            for (test, run) in OF_MODE {
                if features.sme || !test.contains("SVCR") {
                    add(
                        format!("{kind}: {test}"),
                        Box::new(move |kvm| run(kvm, &kind)),
                    );
                }
            }
        }
        if features.sme {
            for (from, to) in (0..16).map(|n| (n / 4, n % 4)) {
                let name = format!("{of}: SVCR from {from} to {to}");
                add(
                    name,
                    Box::new(move |kvm| svcr::effects(kvm, features, from, to)),
                );
            }
            let name = format!("{of}: SVCR with a bit that it has not");
            add(name, Box::new(move |kvm| svcr::reserved(kvm, features)));
        }
    }
    for kind in Kind::one_of_each() {
        let name = format!("{}: what is listed with other ID registers", kind.name());
        add(name, Box::new(move |kvm| ids::space(kvm, &kind)));
    }
    cases
}

fn main() -> ExitCode {
    let Ok(kvm) = Kvm::open() else {
        return ktap::skip_all("no /dev/kvm");
    };
    ktap::run_chosen(cases(&Rc::new(kvm)))
}
