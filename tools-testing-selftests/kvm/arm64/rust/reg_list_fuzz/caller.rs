// SPDX-License-Identifier: GPL-2.0-only

//! Makes calls, and checks of each what must hold whatever the vCPU is: documented errors, and
//! memory of the caller as it was but for what the call says.

use crate::model::{Checked, Outcomes};
use kvmtest::{
    kvm::{uapi, Call, Errno, Result, Vcpu},
    memory::{ArgMemory, Place, PAGE},
    reg::{RegId, Value},
};
use std::{collections::VecDeque, fmt, ops::Range};

/// How many of a thread's last calls are shown when something is wrong.
pub const SHOWN: usize = 20;

/// The errors that each call may give, whatever the vCPU is.
#[rustfmt::skip]
pub const DOCUMENTED: [(Op, &str, Outcomes); 6] = [
    (Op::Get, "KVM_GET_ONE_REG", Outcomes::OK.or(ACCESS)),
    (Op::Set, "KVM_SET_ONE_REG", Outcomes::OK.or(ACCESS)),
    (Op::List, "KVM_GET_REG_LIST", Outcomes::OK.or(Outcomes::E2BIG).or(Outcomes::EPERM)
        .or(Outcomes::EFAULT).or(Outcomes::ENOEXEC)),
    (Op::Init, "KVM_ARM_VCPU_INIT", Outcomes::OK.or(Outcomes::EINVAL).or(Outcomes::ENOENT)
        .or(Outcomes::EFAULT)),
    (Op::Finalize, "KVM_ARM_VCPU_FINALIZE", Outcomes::OK.or(Outcomes::EINVAL)
        .or(Outcomes::EPERM).or(Outcomes::EFAULT).or(Outcomes::ENOEXEC)),
    (Op::Run, "KVM_RUN", Outcomes::OK.or(Outcomes::EINTR).or(Outcomes::EPERM)
        .or(Outcomes::ENOEXEC)),
];

pub const ACCESS: Outcomes = Outcomes::ENOENT
    .or(Outcomes::EINVAL)
    .or(Outcomes::EPERM)
    .or(Outcomes::EBUSY)
    .or(Outcomes::EFAULT)
    .or(Outcomes::ENOEXEC);

/// The calls that are counted.
#[derive(Clone, Copy)]
pub enum Op {
    Get,
    Set,
    List,
    Init,
    Finalize,
    Run,
}

/// A vCPU, for people.
#[derive(Clone, Copy)]
pub struct Who {
    pub shared: bool,
    pub vcpu: usize,
}

/// A call that has been made.
pub struct Entry {
    step: u64,
    who: Who,
    op: Op,
    /// The id of a register, the number of ids, or the features.
    argument: u64,
    place: Place,
    outcome: Result,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let vm = if self.who.shared { "shared" } else { "own" };
        let (_, name, _) = DOCUMENTED[self.op as usize];
        write!(f, "step {}, {vm} vCPU {}: {name}", self.step, self.who.vcpu)?;
        match self.op {
            Op::Get | Op::Set => write!(f, " {:#x}", self.argument)?,
            Op::List => write!(f, " n={}", self.argument)?,
            Op::Init | Op::Finalize => write!(f, " {:#b}", self.argument)?,
            Op::Run => {}
        }
        match self.place {
            Place::At(offset) => write!(f, " at {offset:#x}")?,
            Place::Null => f.write_str(" at 0")?,
            Place::Kernel => f.write_str(" in the kernel")?,
        }
        match self.outcome {
            Ok(()) => f.write_str(" = 0"),
            Err(error) => write!(f, " = {error}"),
        }
    }
}

/// How often each call gave which outcome, by the number of the error.
pub type Counts = [[u64; 64]; DOCUMENTED.len()];

/// Makes calls, and checks what each must keep whatever the vCPU is: documented errors, and memory
/// of the caller as it was but for what the call says.
pub struct Caller {
    pub memory: ArgMemory,
    pub step: u64,
    pub recent: VecDeque<Entry>,
    pub counts: Counts,
}

/// What the memory of the caller is filled with.
pub const FILL: u8 = 0x5a;

/// How far around an argument memory is looked at.
pub const AROUND: usize = 64;

impl Caller {
    pub fn new() -> Result<Self> {
        let mut memory = ArgMemory::new()?;
        memory.bytes_mut().fill(FILL);
        Ok(Self {
            memory,
            step: 0,
            recent: VecDeque::new(),
            counts: [[0; 64]; DOCUMENTED.len()],
        })
    }

    /// Notes a call.
    pub fn note<T>(
        &mut self,
        who: Who,
        op: Op,
        argument: u64,
        place: Place,
        outcome: &Result<T>,
    ) -> Checked {
        let outcome = outcome.as_ref().map(drop).map_err(|&error| error);
        let number = outcome.map_or_else(|error| error.0, |()| 0);
        let slot = self.counts[op as usize].get_mut(number as usize);
        slot.into_iter().for_each(|count| *count += 1);

        if self.recent.len() == SHOWN {
            self.recent.pop_front();
        }
        self.recent.push_back(Entry {
            step: self.step,
            who,
            op,
            argument,
            place,
            outcome,
        });
        let (_, name, documented) = DOCUMENTED[op as usize];
        if documented.contain(&outcome) {
            return Ok(());
        }
        let error = show(&outcome);
        Err(format!("{name} gives {error}, which is not documented"))
    }

    /// The part of the memory from `place` on that `len` bytes can be in.
    pub fn range(place: Place, len: usize) -> Range<usize> {
        match place {
            Place::At(at) => at.min(ArgMemory::WRITABLE)..(at + len).min(ArgMemory::WRITABLE),
            _ => 0..0,
        }
    }

    pub fn put(&mut self, place: Place, bytes: &[u8]) {
        let range = Self::range(place, bytes.len());
        let len = range.len();
        self.memory.bytes_mut()[range].copy_from_slice(&bytes[..len]);
    }

    /// Fills the memory around an argument again. Nothing but the first `written` bytes of it may
    /// have been written.
    pub fn wipe(&mut self, place: Place, len: usize, written: usize) -> Checked {
        let whole = Self::range(place, len + AROUND);
        let argument = Self::range(place, written);
        let whole = whole.start.saturating_sub(AROUND)..whole.end;
        let bytes = self.memory.bytes_mut();

        let is_wrong = |&at: &usize| !argument.contains(&at) && bytes[at] != FILL;
        let wrong = whole.clone().find(is_wrong);
        bytes[whole].fill(FILL);
        match wrong {
            Some(at) => Err(format!(
                "the call wrote at {at:#x}, with an argument of {written} bytes at {:#x}",
                argument.start
            )),
            None => Ok(()),
        }
    }

    pub fn get(
        &mut self,
        who: Who,
        vcpu: &Vcpu,
        id: RegId,
        place: Place,
    ) -> Checked<Result<Value>> {
        let outcome = vcpu.get_at(id, &mut self.memory, place);
        self.note(who, Op::Get, id.raw(), place, &outcome)?;

        let len = id.bytes().min(PAGE);
        let range = Self::range(place, len);
        let read = outcome.map(|()| {
            let mut value = Value::zero(len.min(256));
            if range.len() == len && len <= 256 {
                value
                    .bytes_mut()
                    .copy_from_slice(&self.memory.bytes()[range]);
            }
            value
        });
        // Part of a register can be there before the page that is not.
        let written = match outcome {
            Ok(()) | Err(Errno::EFAULT) => len,
            Err(_) => 0,
        };
        self.wipe(place, len, written)?;
        Ok(read)
    }

    pub fn set(
        &mut self,
        who: Who,
        vcpu: &Vcpu,
        id: RegId,
        place: Place,
        value: &Value,
    ) -> Checked<Result> {
        self.put(place, value.bytes());
        let outcome = vcpu.set_at(id, &mut self.memory, place);
        self.note(who, Op::Set, id.raw(), place, &outcome)?;

        let len = value.bytes().len();
        let range = Self::range(place, len);
        if self.memory.bytes()[range.clone()] != value.bytes()[..range.len()] {
            return Err(format!(
                "a write of {:#x} changed the value in memory",
                id.raw()
            ));
        }
        self.wipe(place, len, len)?;
        Ok(outcome)
    }

    /// Returns the number as it came out, and the ids.
    pub fn list(
        &mut self,
        who: Who,
        vcpu: &Vcpu,
        place: Place,
        n: u64,
    ) -> Checked<(Result<Vec<RegId>>, u64)> {
        const WORD: usize = size_of::<u64>();
        self.put(place, &n.to_le_bytes());
        let outcome = vcpu.list_at(&mut self.memory, place);
        self.note(who, Op::List, n, place, &outcome)?;

        let word = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_le_bytes);
        let room = Self::range(place, ArgMemory::WRITABLE);
        let mut words = self.memory.bytes()[room].chunks_exact(WORD).map(word);
        let count = words.next().unwrap_or_default();
        let ids = outcome.map(|()| words.take(count as usize).map(RegId::new).collect());
        let written = match outcome {
            Ok(()) => WORD + WORD * count as usize,
            // It has copied what fits.
            Err(Errno::EFAULT) => WORD + WORD * count.min(n) as usize,
            Err(_) => WORD,
        };
        let len = written.min(ArgMemory::WRITABLE);
        // All of the room, not just what is around it.
        self.wipe(place, ArgMemory::WRITABLE, len)?;
        Ok((ids, count))
    }

    pub fn init(
        &mut self,
        who: Who,
        vcpu: &Vcpu,
        target: u32,
        features: [u32; 7],
    ) -> Checked<Result> {
        let outcome = vcpu.init_raw(target, features);
        self.note(who, Op::Init, features[0].into(), Place::At(0), &outcome)?;
        Ok(outcome)
    }

    pub fn finalize(&mut self, who: Who, vcpu: &Vcpu, feature: u32) -> Checked<Result> {
        let outcome = vcpu.finalize_raw(feature as i32);
        self.note(who, Op::Finalize, feature.into(), Place::At(0), &outcome)?;
        Ok(outcome)
    }

    pub fn load(&mut self, who: Who, vcpu: &Vcpu) -> Checked<Result> {
        let outcome = vcpu.load();
        let noted = outcome.and(Err::<(), _>(Errno::EINTR));
        self.note(who, Op::Run, 0, Place::At(0), &noted)?;
        Ok(outcome)
    }

    /// Runs a vCPU up to a store to [`NOWHERE`]. Timers and counters can interrupt it.
    pub fn run(&mut self, who: Who, vcpu: &Vcpu) -> Checked<Result> {
        for _ in 0..100 {
            let outcome = vcpu.run();
            self.note(who, Op::Run, 0, Place::At(0), &outcome)?;
            match outcome {
                Ok(uapi::KVM_EXIT_INTR) | Err(Errno::EINTR) => {}
                Ok(uapi::KVM_EXIT_MMIO) => return Ok(Ok(())),
                // Another thread has started the next run before the reason was read.
                Ok(_) if who.shared => return Ok(Ok(())),
                Ok(reason) => return Err(format!("KVM_RUN stops with reason {reason}")),
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Err(Errno::EINTR))
    }

    pub fn nowhere(&mut self, who: Who, vcpu: &Vcpu, call: Call) -> Checked<Result> {
        let outcome = vcpu.call_nowhere(call);
        let op = match call {
            Call::Get => Op::Get,
            Call::Set => Op::Set,
            Call::List => Op::List,
            Call::Init => Op::Init,
            Call::Finalize => Op::Finalize,
        };
        self.note(who, op, 0, Place::Null, &outcome)?;
        Ok(outcome)
    }
}

pub fn show<T>(outcome: &Result<T>) -> String {
    match outcome {
        Ok(_) => "success".into(),
        Err(error) => error.to_string(),
    }
}

/// Complains unless the outcome of a call is one of the expected ones.
pub fn must<T>(expected: Outcomes, outcome: &Result<T>, what: impl FnOnce() -> String) -> Checked {
    if expected.contain(outcome) {
        return Ok(());
    }
    Err(format!(
        "{} gives {}, not {}",
        what(),
        show(outcome),
        expected.names()
    ))
}

/// A call that a check needs, and that has to work.
pub fn works<T>(outcome: Result<T>, what: &str) -> Checked<T> {
    outcome.map_err(|error| format!("{what} gives {error}"))
}
