// SPDX-License-Identifier: GPL-2.0-only

//! Ids that nobody has looked at yet, and the whole space of system registers while ID registers
//! change.

use crate::SEED;
use kvmtest::{
    fill::lower,
    known_ids,
    ktap::{self, skip, Complaints, Outcome},
    kvm::{uapi, Kvm},
    names::name,
    random::Random,
    reg::RegId,
    vcpus::Kind,
};
use std::collections::BTreeSet;

/// An id that is listed has been through the dependency experiment.
pub fn are_known(kvm: &Kvm) -> Outcome {
    let known = known_ids::known();
    let none = BTreeSet::new();
    let mut unknown = BTreeSet::new();
    for (kind, ids) in known_ids::seen(kvm)? {
        let of_kind = known.get(&kind).unwrap_or(&none);
        unknown.extend(ids.difference(of_kind).map(|id| (*id, kind.clone())));
    }
    let mut complaints = Complaints::default();
    // What is to be done comes first: of many complaints the first are shown.
    complaints.check(unknown.is_empty(), || {
        "run reg_list_depgraph: if no register depends on another in a way that the list does not \
         honour, put what 'reg_list_depgraph --ids' prints into rust/lib/known_ids.txt"
            .into()
    });
    for (id, kind) in &unknown {
        complaints.check(false, || {
            format!("{} {:#x} of a vCPU with {kind} is new", name(*id), id.raw())
        });
    }
    complaints.outcome()
}

/// How many sets of ID registers each kind of vCPU gets. All kinds together get more than 1,000,
/// if the host has all of them.
const SETS: usize = 50;

/// The system registers with an op0 of 2 or 3.
const SPACE: std::ops::Range<u64> = 0x8000..0x1_0000;

/// What is listed with some set is read with each one. Of all other ids each set sees one in so
/// many, and the next set other ones, so that each is read with one or two sets of a kind and no
/// more: what a set brings to light that is not listed is found by chance, unless it is seen with
/// many sets. With `-l` each set sees all of them, which takes minutes.
const PART: usize = 32;

/// What can be read is listed, and nothing else, whatever the ID registers promise: what hides a
/// register is to be seen in the vCPU alone. Without `-l` this looks at a [part](PART) of the ids
/// that are not listed.
pub fn space(kvm: &Kvm, kind: &Kind) -> Outcome {
    let test = kind.test_vm(kvm, 1)?;
    let vcpu = &test.vcpus[0];
    let random = &mut Random(SEED);
    let is_system = |id: &RegId| id.class() == uapi::KVM_REG_ARM64_SYSREG;
    let full: BTreeSet<_> = vcpu.list()?.into_iter().filter(is_system).collect();
    let is_id = |id: &&RegId| id.number() >> 7 == 0xc000 >> 7;
    let mut id_registers = Vec::new();
    for id in full.iter().filter(is_id) {
        id_registers.push((*id, vcpu.get(*id)?));
    }
    let part = if ktap::is_long() { 1 } else { PART };
    let all: Vec<_> = SPACE.map(system).collect();

    let mut complaints = Complaints::default();
    let mut lists = BTreeSet::new();
    for set in 0..SETS {
        // Each as it was at first, or less; all of them are so at some time.
        for (id, most) in &id_registers {
            if random.below(4) == 0 {
                let _ = vcpu.set(*id, most);
                lower(vcpu, *id, random)?;
            }
        }
        let list: BTreeSet<_> = vcpu.list()?.into_iter().filter(is_system).collect();
        let seen = all.iter().skip(set % part).step_by(part);
        for id in seen.chain(&full).chain(list.difference(&full)) {
            let (read, listed) = (vcpu.get(*id).is_ok(), list.contains(id));
            complaints.check(read == listed, || {
                let name = name(*id);
                format!("set {set}: {name} can be read {read}, is listed {listed}")
            });
        }
        lists.insert(list);
    }
    complaints.outcome()?;
    if lists.len() > 1 {
        return Ok(());
    }
    Err(skip("no ID register hides a register of this vCPU"))
}

/// The system register with a number, which is the encoding.
fn system(number: u64) -> RegId {
    RegId::new(RegId::sys(0, 0, 0, 0, 0).raw() | number)
}
