// SPDX-License-Identifier: GPL-2.0-only

//! The state of a vCPU: saved, restored by a client that knows no register but the `*_VLS`, and
//! compared.

use crate::{
    ktap::Complaints,
    kvm::{Errno, Result, Vcpu},
    names::name,
    reg::{RegId, Value},
};

/// What is saved of a vCPU: its registers in the order of the list.
pub type State = Vec<(RegId, Value)>;

/// Bits that need not read back as they were saved, with the reason. All others must.
const NOT_READ_BACK: [(RegId, u64, &str); 4] = [
    (CNTP_CTL_EL0, ISTATUS, "follows from the counter"),
    (CNTV_CTL_EL0, ISTATUS, "follows from the counter"),
    (CNTHP_CTL_EL2, ISTATUS, "follows from the counter"),
    (CNTHV_CTL_EL2, ISTATUS, "follows from the counter"),
];

const CNTP_CTL_EL0: RegId = RegId::sys(3, 3, 14, 2, 1);
const CNTV_CTL_EL0: RegId = RegId::sys(3, 3, 14, 3, 1);
const CNTHP_CTL_EL2: RegId = RegId::sys(3, 4, 14, 2, 1);
const CNTHV_CTL_EL2: RegId = RegId::sys(3, 4, 14, 3, 1);
const ISTATUS: u64 = 1 << 2;

/// The registers that run on by themselves.
const COUNTERS: [RegId; 2] = [RegId::CNTVCT_EL0, RegId::CNTPCT_EL0];

/// How far a counter can run on while a test looks elsewhere: a minute at 1 GHz.
const RUN_ON: u64 = 1 << 36;

/// Reads what the vCPU has.
pub fn save(vcpu: &Vcpu) -> Result<State> {
    let get = |id| Ok((id, vcpu.get(id)?));
    vcpu.list()?.into_iter().map(get).collect()
}

/// What of a state is written before the vCPU is finalized, and what after that.
pub fn steps(state: &[(RegId, Value)]) -> (State, State) {
    state.iter().partition(|(id, _)| id.is_vls())
}

/// Writes a state back in its order: the `*_VLS`, finalize, the rest. Returns what failed.
pub fn restore(vcpu: &Vcpu, state: &[(RegId, Value)]) -> Vec<(RegId, Errno)> {
    let (vls, rest) = steps(state);
    let write = |(id, value): &(RegId, Value)| Some((*id, vcpu.set(*id, value).err()?));

    let mut errors: Vec<_> = vls.iter().filter_map(write).collect();
    if let Some((id, _)) = vls.first() {
        errors.extend(vcpu.finalize().err().map(|error| (*id, error)));
    }
    errors.extend(rest.iter().filter_map(write));
    errors
}

/// Whether a register reads as it was, as far as it must.
pub fn same(id: RegId, was: &Value, is: &Value) -> bool {
    let free = NOT_READ_BACK.iter().find(|(free, ..)| *free == id);
    let free = free.map_or(0, |(_, bits, _)| *bits);
    let ahead = is.low().wrapping_sub(was.low());
    was == is
        || free != 0 && (was.low() ^ is.low()) & !free == 0
        || COUNTERS.contains(&id) && ahead.min(ahead.wrapping_neg()) < RUN_ON
}

/// The registers that a vCPU does not have as they were saved.
pub fn lost(vcpu: &Vcpu, state: &[(RegId, Value)]) -> Vec<(RegId, Value, Result<Value>)> {
    let differs = |&(id, was): &(RegId, Value)| match vcpu.get(id) {
        Ok(is) if same(id, &was, &is) => None,
        is => Some((id, was, is)),
    };
    state.iter().filter_map(differs).collect()
}

/// Complains of each register that a vCPU does not have as it should.
pub fn check(complaints: &mut Complaints, vcpu: &Vcpu, state: &[(RegId, Value)], when: &str) {
    for (id, was, is) in lost(vcpu, state) {
        complaints.check(false, || match is {
            Ok(is) => format!("{when}{} is {is}, not {was}", name(id)),
            Err(error) => format!("{when}{} cannot be read: {error}", name(id)),
        });
    }
}
