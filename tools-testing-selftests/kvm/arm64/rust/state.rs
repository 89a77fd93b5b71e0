// SPDX-License-Identifier: GPL-2.0-only

//! The state of a vCPU: made up, saved, and restored by a client that knows no register but the
//! `*_VLS`.

// Each program uses a part of it.
#![allow(dead_code)]

use crate::{
    kvm::{uapi, Errno, RegId, Result, Value, Vcpu},
    random::Random,
    vectors::{Mode, FFR, FPCR, FPMR, FPSR},
};

/// What is saved of a vCPU: its registers in the order of the list.
pub type State = Vec<(RegId, Value)>;

/// The controls of the timers.
const CNTP_CTL_EL0: RegId = RegId::sys(3, 3, 14, 2, 1);
const CNTV_CTL_EL0: RegId = RegId::sys(3, 3, 14, 3, 1);

/// Bits that need not read back as they were saved, with the reason. All others must.
const NOT_READ_BACK: [(RegId, u64, &str); 4] = [
    (RegId::CNTVCT_EL0, u64::MAX, "runs on"),
    (RegId::CNTPCT_EL0, u64::MAX, "runs on"),
    (CNTV_CTL_EL0, 1 << 2, "ISTATUS follows from the counter"),
    (CNTP_CTL_EL0, 1 << 2, "ISTATUS follows from the counter"),
];

/// The bits that mean something, of registers in which a CPU has no others.
const MEANT: [(RegId, u64); 3] = [
    (FPSR, 0x0800_009f),
    // DN, FZ and RMode.
    (FPCR, 0x03c0_0000),
    // The scales, the saturation of conversions, and formats 0 and 1, which there are.
    (FPMR, 0x0000_003f_ff7f_c049),
];

/// Reads what the vCPU has.
pub fn save(vcpu: &Vcpu) -> Result<State> {
    let get = |id| Ok((id, vcpu.get(id)?));
    vcpu.list()?.into_iter().map(get).collect()
}

/// Writes a state back in its order: the `*_VLS`, finalize, the rest. Returns what failed.
pub fn restore(vcpu: &Vcpu, state: &[(RegId, Value)]) -> Vec<(RegId, Errno)> {
    let (vls, rest): (State, State) = state.iter().partition(|(id, _)| id.is_vls());
    let write = |(id, value): &(RegId, Value)| Some((*id, vcpu.set(*id, value).err()?));

    let mut errors: Vec<_> = vls.iter().filter_map(write).collect();
    if let Some((id, _)) = vls.first() {
        errors.extend(vcpu.finalize().err().map(|error| (*id, error)));
    }
    errors.extend(rest.iter().filter_map(write));
    errors
}

/// Whether a register reads as it was saved, as far as it must.
pub fn same(id: RegId, was: &Value, is: &Value) -> bool {
    let ignored = NOT_READ_BACK.iter().find(|(exempt, ..)| *exempt == id);
    let ignored = ignored.map_or(0, |(_, bits, _)| *bits);
    if ignored == 0 {
        return was == is;
    }
    (was.low() ^ is.low()) & !ignored == 0
}

/// The registers that a vCPU does not have as they were saved.
pub fn lost(vcpu: &Vcpu, state: &[(RegId, Value)]) -> Vec<(RegId, Value, Result<Value>)> {
    let differs = |&(id, was): &(RegId, Value)| match vcpu.get(id) {
        Ok(is) if same(id, &was, &is) => None,
        is => Some((id, was, is)),
    };
    state.iter().filter_map(differs).collect()
}

/// Whether a register holds values that a guest computes with: the vectors, V, FPSR, FPCR and FPMR.
pub fn is_vector_state(id: RegId, mode: Mode) -> bool {
    !id.is_vls() && mode.registers().contains(&id) || [FPSR, FPCR, FPMR].contains(&id)
}

/// Something that a guest could have in a register of the vector state.
pub fn make_up(random: &mut Random, id: RegId) -> Value {
    if id == FFR {
        // Ones up to some element, and zeroes from there. The shortest FFR has 16 bits.
        return Value::from_u64(u64::MAX >> (48 + random.number() % 16), id.bytes());
    }
    match MEANT.iter().find(|(meant, _)| *meant == id) {
        Some((_, bits)) => Value::from_u64(random.number() & bits, id.bytes()),
        None => random.value(id.bytes()),
    }
}

/// What of a value a vector register can hold: as many bytes as the vector has.
pub fn held(mode: Mode, id: RegId, value: &Value) -> Value {
    let mut held = *value;
    held.bytes_mut()[mode.bytes_of(id)..].fill(0);
    held
}

/// Gives the vector state random values. Returns what it has to read as now.
pub fn fill_vectors(vcpu: &Vcpu, mode: Mode, random: &mut Random) -> Result<State> {
    let mut state = State::new();
    for id in vcpu.list()? {
        if is_vector_state(id, mode) {
            let value = make_up(random, id);
            vcpu.set(id, &value)?;
            state.push((id, held(mode, id, &value)));
        }
    }
    Ok(state)
}

/// Gives each other register a random value. Those that are choosy, ID registers above all, get
/// less than they have in some of their fields. Returns how many have another value now.
pub fn fill_others(vcpu: &Vcpu, mode: Mode, random: &mut Random) -> Result<usize> {
    let mut changed = 0;
    for id in vcpu.list()? {
        let alone = id.is_vls() || id == RegId::SVCR || id == RegId::PSTATE;
        // What is written changes which registers there are.
        let Ok(before) = vcpu.get(id) else { continue };
        if alone || is_vector_state(id, mode) {
            continue;
        }
        let stored = vcpu.set(id, &random.value(id.bytes())).is_ok();
        if !stored && id.class() != uapi::KVM_REG_ARM_CORE {
            lower(vcpu, id, random)?;
        }
        changed += usize::from(vcpu.get(id).is_ok_and(|now| now != before));
    }
    Ok(changed)
}

/// Lowers each field of 4 bits, or does not, as far as the register takes it.
fn lower(vcpu: &Vcpu, id: RegId, random: &mut Random) -> Result {
    for shift in (0..64).step_by(4) {
        let now = vcpu.get(id)?.low();
        let field = now >> shift & 15;
        let lower = random.number() % (field + 1);
        if lower < field {
            let value = now & !(15 << shift) | lower << shift;
            // Not all that is less makes sense, and KVM knows.
            let _ = vcpu.set(id, &Value::from_u64(value, id.bytes()));
        }
    }
    Ok(())
}
