// SPDX-License-Identifier: GPL-2.0-only

//! Registers alone, with values that no program would have: filled in several orders, saved, and
//! restored into a new VM.

use crate::SEED;
use kvmtest::{
    fill::{self, fill, fill_vectors, Order, Which},
    host::Host,
    ktap::{fail, Complaints, Outcome},
    kvm::{Errno, Kvm, Result},
    names::name,
    random::Random,
    reg::RegId,
    state::{self, lost, restore, save},
    vcpus::Kind,
    vectors::{is_vector_class, SM, ZA},
};

/// Vectors of which there are at least as many in each vCPU: V0 to V31.
const LEAST_VECTORS: usize = 32;
/// Of the other registers, at least as many take another value.
const LEAST_OTHERS: usize = 30;

/// Filled in the order of the list. What a register destroys that comes later is seen at once.
pub fn in_order(kvm: &Kvm, kind: &Kind, host: Host) -> Outcome {
    round_trip(kvm, kind, host, Order::List, SEED, 1)
}

/// Filled backwards, so that all that a late register destroys is there when the state is saved.
pub fn backwards(kvm: &Kvm, kind: &Kind, host: Host) -> Outcome {
    round_trip(kvm, kind, host, Order::Backwards, SEED + 1, 1)
}

/// Filled in any order, and two vCPUs at once.
pub fn in_any_order(kvm: &Kvm, kind: &Kind, host: Host) -> Outcome {
    round_trip(kvm, kind, host, Order::Random, SEED + 2, 1)?;
    round_trip(kvm, kind, host, Order::Random, SEED + 3, 2)
}

fn round_trip(kvm: &Kvm, kind: &Kind, host: Host, order: Order, seed: u64, vcpus: u32) -> Outcome {
    let mut complaints = Complaints::default();
    let from = kind.test_vm(kvm, vcpus)?;
    let (vcpus, pstate) = (&from.vcpus, kind.features.pstate);
    let writes = fill(vcpus, Which::All, order, pstate, &mut Random(seed))?;
    let changed = writes.iter().filter(|write| write.changed()).count();
    complaints.check(changed > LEAST_OTHERS + LEAST_VECTORS, || {
        format!("only {changed} registers were filled")
    });
    fill::check(&mut complaints, vcpus, &writes, &format!("seed {seed}"));

    let states = vcpus.iter().map(save).collect::<Result<Vec<_>>>()?;
    let to = kind.bare(kvm, vcpus.len() as u32)?;
    let pairs = || to.vcpus.iter().zip(&states);
    let restore_all = || pairs().flat_map(|(vcpu, state)| restore(vcpu, state));
    let (errors, kept) = host.around(seed, || restore_all().collect::<Vec<_>>());
    complaints.check(kept, || "the test's own ZA or TPIDR2_EL0 is lost".into());
    for (id, error) in errors {
        complaints.check(false, || {
            format!("seed {seed}: writing {} gives {error}", name(id))
        });
    }
    for (vcpu, state) in pairs() {
        let when = format!("seed {seed}, restored: ");
        state::check(&mut complaints, vcpu, state, &when);
        let list = vcpu.list()?;
        complaints.check(list.into_iter().eq(state.iter().map(|(id, _)| *id)), || {
            format!("{when}another list")
        });
    }
    complaints.outcome()
}

/// The order in which the list was before it had one: what a restore in it loses, this test sees.
pub fn wrong_order(kvm: &Kvm, kind: &Kind, _: Host) -> Outcome {
    let from = kind.test_vm(kvm, 1)?;
    let vcpu = &from.vcpus[0];
    fill_vectors(vcpu, kind.mode(vcpu)?, &mut Random(SEED))?;
    let mut state = save(vcpu)?;
    // Behind all vectors, as the system register that it is.
    let at = state.iter().position(|(id, _)| *id == RegId::SVCR);
    let svcr = state.remove(at.ok_or_else(|| fail("SVCR is not listed"))?);
    state.push(svcr);

    let to = kind.bare(kvm, 1)?;
    let errors = restore(&to.vcpus[0], &state);
    let lost = lost(&to.vcpus[0], &state);
    let mut complaints = Complaints::default();
    let refused = |(id, error): &&(RegId, Errno)| is_vector_class(*id) && *error == Errno::EBUSY;
    let rows = errors.iter().filter(refused).count();
    complaints.check(kind.svcr & ZA == 0 || rows > 0, || {
        "no row of ZA was refused".into()
    });
    complaints.check(kind.svcr & SM == 0 || lost.len() > LEAST_VECTORS, || {
        format!("only {} registers were lost", lost.len())
    });
    complaints.outcome()
}
