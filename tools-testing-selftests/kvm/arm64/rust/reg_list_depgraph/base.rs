// SPDX-License-Identifier: GPL-2.0-only

//! The state that the experiment begins with: of every register something, and nothing destroyed.

use kvmtest::{
    fill::{self, fill, Order, Which},
    kvm::{Kvm, Result, Vcpu},
    random::Random,
    reg::{RegId, Value},
    state::{lost, restore, save, State},
    vcpus::{Kind, TestVm},
};

/// The greatest vector lengths of the vCPUs of the first experiment, in units of 16 bytes: short
/// ones, so that there are few rows of ZA, and not the same.
const SHORT_VQS: [(RegId, u32); 2] = [(RegId::SVE_VLS, 4), (RegId::SME_VLS, 2)];

/// The registers on which others depend, besides the vector lengths.
const LEADERS: [RegId; 3] = [RegId::SVCR, RegId::ID_AA64PFR1_EL1, RegId::CNTVCT_EL0];

/// How often what is lost is written again, at most.
const ROUNDS: u32 = 4;

/// The order in which a state is restored.
#[derive(Clone, Copy)]
pub enum ListOrder {
    /// That of `KVM_GET_REG_LIST`.
    Kernel,
    /// The same with SVCR where it was before: it shows that the experiment finds what it loses.
    Old,
    /// [`right_order`].
    Right,
}

impl ListOrder {
    /// A state as it is saved, in this order.
    pub fn save(self, vcpu: &Vcpu) -> Result<State> {
        let mut state = save(vcpu)?;
        match self {
            Self::Kernel => {}
            Self::Old => old_order(&mut state),
            Self::Right => state = right_order(&state),
        }
        Ok(state)
    }
}

/// Puts SVCR where the kernel had it before its list had an order: among the system registers.
fn old_order(state: &mut State) {
    let Some(at) = state.iter().position(|&(id, _)| id == RegId::SVCR) else {
        return;
    };
    let svcr = state.remove(at);
    // CNTVCT_EL0 is at the head too.
    let place = state
        .iter()
        .position(|&(id, _)| id.class() == svcr.0.class() && id > svcr.0 && id != RegId::CNTVCT_EL0)
        .unwrap_or(state.len());
    state.insert(place, svcr);
}

/// An order in which all known dependencies are met.
fn right_order(state: &[(RegId, Value)]) -> State {
    let mut ordered = state.to_vec();
    ordered.sort_by_key(|(id, _)| {
        if id.is_vls() {
            0
        } else {
            let leader = LEADERS.iter().position(|leader| leader == id);
            leader.unwrap_or(LEADERS.len()) + 1
        }
    });
    ordered
}

/// Restores a state in an order that is right, whatever the one under test, and writes again what
/// was lost: an unknown dependency must not hide what it depends on.
pub fn restore_all(vcpu: &Vcpu, state: &[(RegId, Value)]) {
    restore(vcpu, &right_order(state));
    for _ in 0..ROUNDS {
        let lost = lost(vcpu, state);
        for (id, was, _) in &lost {
            let _ = vcpu.set(*id, was);
        }
        if lost.is_empty() {
            break;
        }
    }
}

/// Vector lengths up to a random one, or short ones, and the state of SVCR.
pub fn set_up(vcpu: &Vcpu, kind: &Kind, random: Option<&mut Random>) -> Result {
    set_lengths(vcpu, random)?;
    if kind.svcr != 0 {
        vcpu.set(RegId::SVCR, &Value::from_u64(kind.svcr, 8))?;
    }
    Ok(())
}

/// Vector lengths up to a random one, or short ones.
pub fn set_lengths(vcpu: &Vcpu, mut random: Option<&mut Random>) -> Result {
    let mut found = false;
    for (id, short_vqs) in SHORT_VQS {
        let Ok(all) = vcpu.get(id) else { continue };
        let sets = prefixes(&all);
        let which = match &mut random {
            Some(random) => random.below(sets.len()),
            None => {
                let is_short = |set: &Value| set.low() < 1 << short_vqs;
                sets.iter().rposition(is_short).unwrap_or(0)
            }
        };
        vcpu.set(id, &sets[which])?;
        found = true;
    }
    if found {
        vcpu.finalize()?;
    }
    Ok(())
}

/// The sets of vector lengths that leave out the greatest ones.
pub fn prefixes(all: &Value) -> Vec<Value> {
    let vqs = all.low();
    (0..64)
        .filter(|bit| vqs & 1 << bit != 0)
        .map(|bit| Value::from_u64(vqs & ((2 << bit) - 1), all.bytes().len()))
        .collect()
}

/// A state of a kind of vCPU in which nothing is destroyed, as it is saved in this order.
pub fn base(kvm: &Kvm, kind: &Kind, order: ListOrder, random: &mut Random) -> Result<State> {
    let source = TestVm::new(kvm, kind.features, 1)?;
    set_up(&source.vcpus[0], kind, None)?;
    let pstate = kind.features.pstate;
    let writes = fill(&source.vcpus, Which::Plain, Order::List, pstate, random)?;
    fill::settle(&source.vcpus, &writes);
    order.save(&source.vcpus[0])
}

/// Values near one that a choosy register has: other low bits, and other values of each field.
pub fn variations(now: &Value) -> Vec<Value> {
    let number = now.low();
    let len = now.bytes().len();
    let bits = 8 * len.min(8) as u32;
    let low = (0..32).map(|low| number & !31 | low);
    let fields = (4..bits).step_by(4).flat_map(|shift| {
        let field = number >> shift & 15;
        let others = [field.wrapping_sub(1) & 15, 0, (field + 1) & 15];
        others.map(|other| number & !(15 << shift) | other << shift)
    });
    let mut values: Vec<_> = low.chain(fields).filter(|&other| other != number).collect();
    values.sort_unstable();
    values.dedup();
    values
        .into_iter()
        .map(|value| Value::from_u64(value, len))
        .collect()
}
