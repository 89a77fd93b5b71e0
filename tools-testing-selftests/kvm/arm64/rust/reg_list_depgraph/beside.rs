// SPDX-License-Identifier: GPL-2.0-only

//! What a write to one vCPU does to another one of its VM.

use crate::{
    base::restore_all,
    calls::{read, Reading},
    graph::{Cause, Effect},
    pairs::{show, Start},
    Experiment,
};
use kvmtest::{
    edges,
    kvm::{Result, Vcpu},
    names::{family, name},
    reg::{RegId, Value},
    state::{lost, same, State},
    vcpus::{Kind, TestVm},
};
use std::collections::BTreeMap;

/// Gives a register another value than it has, if it takes one.
fn change(vcpu: &Vcpu, id: RegId, candidates: &[Value]) -> bool {
    let Ok(was) = vcpu.get(id) else { return false };
    candidates.iter().any(|value| {
        let taken = vcpu.set(id, value).is_ok();
        taken && vcpu.get(id).is_ok_and(|is| !same(id, &was, &is))
    })
}

/// Brings both vCPUs back to where they were, as far as they are not there.
fn reset(test: &TestVm, base: &State) {
    for vcpu in &test.vcpus {
        if !lost(vcpu, base).is_empty() {
            restore_all(vcpu, base);
        }
    }
}

impl Experiment {
    /// Both vCPUs of a VM have all registers. Then each register of the first one is written once,
    /// with another value, and all of the second one have to be as they were.
    pub fn beside(&mut self, kind: &Kind, start: &Start) -> Result {
        let test = TestVm::new(&self.kvm, kind.features, 2)?;
        test.vcpus
            .iter()
            .for_each(|vcpu| restore_all(vcpu, &start.base));
        reset(&test, &start.base);
        let other = &test.vcpus[1];
        let was = read(other, &start.base);

        // Of registers like Z0..Z31 two tell enough.
        let mut of_family: BTreeMap<_, u32> = BTreeMap::new();
        for (first, _) in start.base.iter().filter(|(id, _)| !id.is_vls()) {
            let count = of_family.entry(family(*first)).or_default();
            *count += 1;
            if *count <= 2 && change(&test.vcpus[0], *first, &start.candidates[first]) {
                self.compare_beside(kind, *first, &was, &read(other, &start.base));
                reset(&test, &start.base);
            }
        }
        Ok(())
    }

    fn compare_beside(&mut self, kind: &Kind, first: RegId, was: &Reading, is: &Reading) {
        let none = Err(kvmtest::kvm::Errno::ENOENT);
        for then in was
            .keys()
            .chain(is.keys().filter(|id| !was.contains_key(id)))
        {
            let (was, is) = (
                was.get(then).unwrap_or(&none),
                is.get(then).unwrap_or(&none),
            );
            let effect = match (was, is) {
                (Ok(was), Ok(is)) if same(*then, was, is) => continue,
                (Err(was), Err(is)) if was == is => continue,
                (Ok(_), Ok(_)) => Effect::Value,
                _ => Effect::Presence,
            };
            // It is one register, which the two have in common.
            if first == *then && edges::of_vm(first) {
                continue;
            }
            let edge = self.graph.edge(Cause::Beside(first), *then, kind);
            edge.effects.insert(effect);
            if edge.example.is_empty() {
                edge.example = format!("{} was {}, is {}", name(*then), show(was), show(is));
            }
        }
    }
}
