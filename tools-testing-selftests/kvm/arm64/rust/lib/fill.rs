// SPDX-License-Identifier: GPL-2.0-only

//! Makes up the state of vCPUs, in any order, and finds out which write destroyed what another had
//! written.
//!
//! Filled in the order of the list alone, what a register destroys that comes late is gone before
//! the state is saved, and reads back as it was. So the order is one of several, and what each
//! register held right after its own write is compared with what it holds in the end.

use crate::{
    edges,
    ktap::{Complaints, Outcome},
    kvm::{uapi, Result, Vcpu},
    names::name,
    random::Random,
    reg::{RegId, Value},
    state::{same, State},
    vectors::{Mode, FFR, FPCR, FPMR, FPSR},
};

/// In what order registers are filled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Order {
    List,
    Backwards,
    Random,
}

/// Which registers are filled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Those that a guest computes with in this mode.
    Vectors(Mode),
    /// All that take a random value.
    Plain,
    /// Also those that are choosy, ID registers above all: they get less than they have.
    All,
}

/// A write of a fill.
pub struct Write {
    pub vcpu: usize,
    pub id: RegId,
    before: Value,
    pub given: Value,
    /// What it read as right after that.
    held: Value,
}

impl Write {
    /// Whether the register has another value than before.
    pub fn changed(&self) -> bool {
        self.held != self.before
    }
}

/// The bits that mean something, of registers in which a CPU has no others.
const MEANT: [(RegId, u64); 3] = [
    (FPSR, 0x0800_009f),
    // DN, FZ and RMode.
    (FPCR, 0x03c0_0000),
    // The scales, the saturation of conversions, and formats 0 and 1, which there are.
    (FPMR, 0x0000_003f_ff7f_c049),
];

/// Something that a guest could have in a register.
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

impl Which {
    fn has(self, id: RegId) -> bool {
        match self {
            // What decides about others is set up before.
            _ if id.is_vls() || [RegId::SVCR, RegId::PSTATE].contains(&id) => false,
            Self::Vectors(mode) => {
                mode.registers().contains(&id) || [FPSR, FPCR, FPMR].contains(&id)
            }
            _ => true,
        }
    }
}

/// Gives the registers of vCPUs values in some order. `pstate` is written last.
pub fn fill(
    vcpus: &[Vcpu],
    which: Which,
    order: Order,
    pstate: Option<u64>,
    random: &mut Random,
) -> Result<Vec<Write>> {
    let mut places = Vec::new();
    for (n, vcpu) in vcpus.iter().enumerate() {
        let chosen = vcpu.list()?.into_iter().filter(|id| which.has(*id));
        places.extend(chosen.map(|id| (n, id)));
    }
    match order {
        Order::List => {}
        Order::Backwards => places.reverse(),
        Order::Random => random.shuffle(&mut places),
    }

    let mut writes = Vec::new();
    let mut note = |vcpu: usize, id, before, given| -> Result {
        let held = vcpus[vcpu].get(id)?;
        writes.push(Write {
            vcpu,
            id,
            before,
            given,
            held,
        });
        Ok(())
    };
    for (n, id) in places {
        let vcpu = &vcpus[n];
        // An earlier write can have hidden it.
        let Ok(before) = vcpu.get(id) else { continue };
        let given = make_up(random, id);
        if vcpu.set(id, &given).is_ok() {
            note(n, id, before, given)?;
        } else if which == Which::All && id.class() != uapi::KVM_REG_ARM_CORE {
            let given = lower(vcpu, id, random)?;
            note(n, id, before, given)?;
        }
    }
    for (n, vcpu) in vcpus.iter().enumerate() {
        if let Some(pstate) = pstate {
            let given = Value::from_u64(pstate, 8);
            let before = vcpu.get(RegId::PSTATE)?;
            vcpu.set(RegId::PSTATE, &given)?;
            note(n, RegId::PSTATE, before, given)?;
        }
    }
    Ok(writes)
}

/// Lowers each field of 4 bits, or does not, as far as the register takes it. Returns what it has.
pub fn lower(vcpu: &Vcpu, id: RegId, random: &mut Random) -> Result<Value> {
    let mut now = vcpu.get(id)?;
    for shift in (0..64).step_by(4) {
        let field = now.low() >> shift & 15;
        let lower = random.number() % (field + 1);
        if lower < field {
            let number = now.low() & !(15 << shift) | lower << shift;
            let value = Value::from_u64(number, id.bytes());
            // Not all that is less makes sense, and KVM knows.
            if vcpu.set(id, &value).is_ok() {
                now = vcpu.get(id)?;
            }
        }
    }
    Ok(now)
}

/// Whether a write is no longer seen.
fn is_gone(vcpus: &[Vcpu], write: &Write) -> bool {
    let is = vcpus[write.vcpu].get(write.id);
    !is.is_ok_and(|is| same(write.id, &write.held, &is))
}

/// Writes again what is gone until all is there, or nothing helps: two names of one register never
/// come to rest.
pub fn settle(vcpus: &[Vcpu], writes: &[Write]) {
    for _ in 0..4 {
        let gone: Vec<_> = writes.iter().filter(|w| is_gone(vcpus, w)).collect();
        for write in &gone {
            let _ = vcpus[write.vcpu].set(write.id, &write.given);
        }
        if gone.is_empty() {
            break;
        }
    }
}

/// Complains of each write that destroyed what another had written, though it is not known to.
pub fn check(complaints: &mut Complaints, vcpus: &[Vcpu], writes: &[Write], when: &str) {
    let gone: Vec<_> = (0..writes.len())
        .filter(|n| is_gone(vcpus, &writes[*n]))
        .collect();
    if gone.is_empty() {
        return;
    }
    // All is as it was before, and written again in the same order, with an eye on what goes.
    for write in writes.iter().rev() {
        let _ = vcpus[write.vcpu].set(write.id, &write.before);
    }
    let read = |n: usize| vcpus[writes[n].vcpu].get(writes[n].id);
    let mut explained = vec![false; writes.len()];
    let mut now: Vec<_> = gone.iter().map(|n| read(*n)).collect();
    for (n, write) in writes.iter().enumerate() {
        let _ = vcpus[write.vcpu].set(write.id, &write.given);
        for (then, was) in gone.iter().zip(&mut now) {
            let is = read(*then);
            let kept = match (&*was, &is) {
                (Ok(was), Ok(is)) => same(writes[*then].id, was, is),
                (was, is) => was == is,
            };
            if *then < n && !kept {
                explained[*then] = true;
                complain(complaints, write, &writes[*then], (was, &is), when);
            }
            *was = is;
        }
    }
    for then in gone.into_iter().filter(|n| !explained[*n]) {
        let id = writes[then].id;
        complaints.check(false, || {
            let held = &writes[then].held;
            format!(
                "{when}: {} held {held} and no longer does, by no one write",
                name(id)
            )
        });
    }
}

fn complain(
    complaints: &mut Complaints,
    write: &Write,
    then: &Write,
    (was, is): (&Result<Value>, &Result<Value>),
    when: &str,
) {
    let beside = write.vcpu != then.vcpu;
    let known = if beside {
        edges::beside(write.id, then.id).is_some()
    } else {
        write.id == then.id || edges::known(write.id, then.id).is_some()
    };
    complaints.check(known, || {
        let show = |value: &Result<Value>| match value {
            Ok(value) => value.to_string(),
            Err(error) => error.to_string(),
        };
        format!(
            "{when}: a write of {} destroyed {}{}: it was {}, is {}",
            name(write.id),
            name(then.id),
            if beside { " of another vCPU" } else { "" },
            show(was),
            show(is)
        )
    });
}

/// Gives the vector state random values, in a random order. Returns what it has to read as now.
pub fn fill_vectors(vcpu: &Vcpu, mode: Mode, random: &mut Random) -> Outcome<State> {
    let vcpus = std::slice::from_ref(vcpu);
    let writes = fill(vcpus, Which::Vectors(mode), Order::Random, None, random)?;
    let mut complaints = Complaints::default();
    check(&mut complaints, vcpus, &writes, "filled in a random order");
    complaints.outcome()?;
    // As many bytes as the vector has.
    let held = |write: &Write| {
        let mut held = write.given;
        held.bytes_mut()[mode.bytes_of(write.id)..].fill(0);
        (write.id, held)
    };
    Ok(writes.iter().map(held).collect())
}
