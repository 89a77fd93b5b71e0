// SPDX-License-Identifier: GPL-2.0-only

//! What a write of SVCR does to the registers that it decides about.

use crate::SEED;
use kvmtest::{
    fill::fill_vectors,
    ktap::{Complaints, Outcome},
    kvm::{Errno, Kvm},
    names::name,
    random::Random,
    reg::{RegId, Value},
    state::{self, save, State},
    vcpus::{Features, Kind},
    vectors::{p, v, z, za, FFR, FPMR, FPSR, FPSR_AFTER_SM, MAX_ROWS, NR_P, NR_Z, SM, ZA, ZT0},
};
use std::collections::{BTreeMap, BTreeSet};

/// What the vector state has to be after a write of SVCR, by what it was.
fn after_svcr(from: u64, to: u64, before: &State, list: &[RegId]) -> State {
    let before: BTreeMap<_, _> = before.iter().copied().collect();
    let sm_changed = (from ^ to) & SM != 0;
    let za_on = !from & to & ZA != 0;
    let vectors: BTreeSet<_> = (0..NR_Z)
        .flat_map(|n| [z(n), v(n)])
        .chain((0..NR_P).map(p))
        .chain([FFR, FPMR])
        .collect();
    let array: BTreeSet<_> = (0..MAX_ROWS).map(za).chain([ZT0]).collect();

    let value = |id: &RegId| {
        let zeroed = sm_changed && vectors.contains(id) || za_on && array.contains(id);
        let value = if zeroed {
            Value::zero(id.bytes())
        } else if sm_changed && *id == FPSR {
            Value::from_u64(FPSR_AFTER_SM, 4)
        } else {
            *before.get(id)?
        };
        Some((*id, value))
    };
    list.iter().filter_map(value).collect()
}

/// A write of SVCR, and the way back.
pub fn effects(kvm: &Kvm, features: Features, from: u64, to: u64) -> Outcome {
    let mut complaints = Complaints::default();
    let kinds = Kind::all_with(features).into_iter();
    for (seed, kind) in (SEED..).zip(kinds.filter(|kind| kind.svcr == from)) {
        let test = kind.test_vm(kvm, 1)?;
        let vcpu = &test.vcpus[0];
        fill_vectors(vcpu, kind.mode(vcpu)?, &mut Random(seed))?;
        vcpu.set(RegId::TPIDR2_EL0, &Value::from_u64(seed, 8))?;

        let mut mode = from;
        // What was there before must not come up again after the way back.
        for next in [to, from] {
            let before = save(vcpu)?;
            vcpu.set(RegId::SVCR, &Value::from_u64(next, 8))?;
            let mut expected = after_svcr(mode, next, &before, &vcpu.list()?);
            let svcr = expected.iter_mut().filter(|(id, _)| *id == RegId::SVCR);
            svcr.for_each(|(_, value)| *value = Value::from_u64(next, 8));
            state::check(
                &mut complaints,
                vcpu,
                &expected,
                &format!("{kind}, {mode} to {next}: "),
            );
            mode = next;
        }
        for id in [ZT0, za(0)].into_iter().filter(|_| mode & ZA == 0) {
            complaints.check(vcpu.get(id).is_err(), || format!("{} without ZA", name(id)));
        }
    }
    complaints.outcome()
}

/// The bits of SVCR that there are not.
pub fn reserved(kvm: &Kvm, features: Features) -> Outcome {
    let mut complaints = Complaints::default();
    for kind in Kind::all_with(features) {
        let test = kind.test_vm(kvm, 1)?;
        let vcpu = &test.vcpus[0];
        fill_vectors(vcpu, kind.mode(vcpu)?, &mut Random(SEED))?;
        let before = save(vcpu)?;
        for value in (2..64).map(|bit| 1 << bit | (kind.svcr ^ (bit % 4))) {
            let result = vcpu.set(RegId::SVCR, &Value::from_u64(value, 8));
            complaints.check(result == Err(Errno::EINVAL), || {
                format!("{kind}: SVCR = {value:#x} gives {result:?}")
            });
        }
        state::check(
            &mut complaints,
            vcpu,
            &before,
            &format!("{kind}, after EINVAL: "),
        );
    }
    complaints.outcome()
}
