// SPDX-License-Identifier: GPL-2.0-only

//! Random sequences of calls to vCPUs of many kinds from several threads, and after each call what
//! must hold for the register list.
//!
//! Each thread has a VM of its own, of whose vCPUs everything is known, so that every outcome and
//! every value is checked. All threads use a few VMs together, of which is checked what holds
//! whatever the others do: the list is that of some mode, errors are documented, and what is read
//! was written to that vCPU.
//!
//! A check is made after each step that concerns it, but for those that take many calls: see
//! [`LIST_EVERY`], [`SWEEP_EVERY`] and [`RESTORE_EVERY`].

// The oldest compiler of the kernel has no is_multiple_of().
#![allow(clippy::manual_is_multiple_of)]

mod fuzz_model;
#[allow(dead_code)]
mod ktap;
mod kvm;
mod random;
mod vectors;

use fuzz_model::{Access, Checked, Guest, Kind, Outcomes, State, IPA_BITS};
use ktap::{fail, skip_all, Case, Outcome};
use kvm::{uapi, ArgMemory, Call, Errno, Kvm, Place, RegId, Result, Value, Vcpu, Vm, PAGE};
use random::Random;
use std::{
    collections::{BTreeMap, VecDeque},
    env, fmt,
    ops::Range,
    process::ExitCode,
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering},
        Arc, Mutex, OnceLock,
    },
    thread,
    time::{Duration, Instant},
};
use vectors::{
    is_v, is_vector_class, Mode, FPCR, FPMR, FPSR, FPSR_AFTER_SM, ID_AA64PFR1_EL1, ID_AA64PFR2_EL1,
    ID_AA64SMFR0_EL1, SM, ZA,
};

/// After how many steps of a thread the list of a vCPU is checked, besides steps that list it.
const LIST_EVERY: u64 = 16;

/// After how many all registers of a vCPU are read, compared and written back, and all vector
/// registers that it does not have are tried.
const SWEEP_EVERY: u64 = 2048;

/// After how many the thread's VM is saved and restored into a new one.
const RESTORE_EVERY: u64 = 4096;

/// How many of a thread's last calls are shown when something is wrong.
const SHOWN: usize = 20;

/// How often the number of steps is printed.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// How many VMs all threads have in common.
const SHARED_VMS: usize = 3;

/// After how many steps a thread replaces one of them.
const REPLACE_EVERY: u64 = 4096;

/// Out of 100 steps, those on a vCPU that is shared.
const SHARED_PERCENT: usize = 20;

/// What a step does, with its weight.
#[rustfmt::skip]
const STEPS: &[(usize, Step)] = &[
    (96, Step::Get),
    (96, Step::Set),
    (24, Step::WriteBack),
    (32, Step::StrangeGet),
    (32, Step::StrangeSet),
    (40, Step::List),
    (24, Step::Svcr),
    (16, Step::IdRegister),
    ( 8, Step::Lengths),
    ( 8, Step::Finalize),
    ( 1, Step::Init), // It resets all that is known.
    ( 4, Step::InitOtherwise),
    (12, Step::Load),
    ( 8, Step::Run),
    ( 4, Step::Nowhere),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Reads a register that is there.
    Get,
    /// Writes one.
    Set,
    /// Writes one as it is.
    WriteBack,
    /// Reads a register by an id that is not quite one.
    StrangeGet,
    /// Writes one.
    StrangeSet,
    List,
    Svcr,
    /// Writes an ID register that can show or hide other registers.
    IdRegister,
    /// Writes vector lengths.
    Lengths,
    Finalize,
    /// Initializes the vCPU again.
    Init,
    /// Initializes it with what it does not have.
    InitOtherwise,
    /// Enters the kernel, not the guest.
    Load,
    Run,
    /// Gives the kernel no structure at all.
    Nowhere,
}

/// The errors that each call may give, whatever the vCPU is.
#[rustfmt::skip]
const DOCUMENTED: [(Op, &str, Outcomes); 6] = [
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

const ACCESS: Outcomes = Outcomes::ENOENT
    .or(Outcomes::EINVAL)
    .or(Outcomes::EPERM)
    .or(Outcomes::EBUSY)
    .or(Outcomes::EFAULT)
    .or(Outcomes::ENOEXEC);

/// The calls that are counted.
#[derive(Clone, Copy)]
enum Op {
    Get,
    Set,
    List,
    Init,
    Finalize,
    Run,
}

/// Registers of which the CPU keeps some bits only, and those; and system registers that hold what
/// user space writes.
#[rustfmt::skip]
const STORED: [(RegId, u64); 8] = [
    (FPSR,                        0x0800_009f),           // QC and the cumulative flags
    (FPCR,                        0x07c0_0000),           // AHP, DN, FZ, RMode
    (FPMR,                        0x0000_003f_ff7f_c1ff),
    (RegId::sys(3, 0, 2, 0, 0),   0x0000_ffff_ffff_fffe), // TTBR0_EL1
    (RegId::sys(3, 0, 13, 0, 4),  u64::MAX),              // TPIDR_EL1
    (TPIDR_EL0,                   u64::MAX),
    (RegId::sys(3, 3, 13, 0, 3),  u64::MAX),              // TPIDRRO_EL0
    (RegId::sys(3, 3, 13, 0, 5),  u64::MAX),              // TPIDR2_EL0
];

/// Fields of ID registers that decide about other registers.
const ID_FIELDS: [(RegId, u32); 8] = [
    (ID_AA64PFR1_EL1, 4),            // SSBS
    (ID_AA64PFR1_EL1, 24),           // SME
    (ID_AA64PFR2_EL1, 32),           // FPMR
    (ID_AA64SMFR0_EL1, 60),          // FA64
    (RegId::sys(3, 0, 0, 7, 3), 0),  // ID_AA64MMFR3_EL1: TCRX
    (RegId::sys(3, 0, 0, 7, 3), 4),  // SCTLRX
    (RegId::sys(3, 0, 0, 7, 3), 8),  // S1PIE
    (RegId::sys(3, 0, 0, 7, 3), 16), // S1POE
];

const TPIDR_EL0: RegId = RegId::sys(3, 3, 13, 0, 2);
const SCTLR_EL1: RegId = RegId::sys(3, 0, 1, 0, 0);

/// What a vCPU needs to run [`code`] up to its end; SCTLR_EL1 and X2 come to this.
#[rustfmt::skip]
const RUNNABLE: [(RegId, u64); 6] = [
    (RegId::PSTATE,               0x3c5),                  // EL1h, interrupts masked
    (RegId::sys(3, 0, 1, 0, 2),   3 << 24 | 3 << 20 | 3 << 16), // CPACR_EL1: SMEN, FPEN, ZEN
    (RegId::sys(2, 0, 0, 2, 2),   0),                      // MDSCR_EL1
    (RegId::sys(3, 0, 12, 0, 0),  0),                      // VBAR_EL1
    (RegId::sys(3, 0, 1, 2, 0),   0xf),                    // ZCR_EL1: the greatest length
    (RegId::sys(3, 0, 1, 2, 6),   3 << 30 | 0xf),          // SMCR_EL1: the same, FA64, EZT0
];

/// What must not change on a vCPU that is shared, so that it comes out of the guest.
const STEERING: [RegId; 5] = [
    RegId::PC,
    RegId::PSTATE,
    SCTLR_EL1,
    RUNNABLE[2].0,
    RUNNABLE[3].0,
];

/// Bits that need not read back as they were saved: ISTATUS follows from the counter.
const NOT_READ_BACK: [(RegId, u64); 2] = [
    (RegId::sys(3, 3, 14, 2, 1), 1 << 2), // CNTP_CTL_EL0
    (RegId::sys(3, 3, 14, 3, 1), 1 << 2), // CNTV_CTL_EL0
];

/// How far a counter can run on while this program looks elsewhere: a minute at 1 GHz.
const RUN_ON: u64 = 1 << 36;

/// Where the guest has nothing.
const NOWHERE: u64 = 0x1000_0000;

/// What the guest does before it stores to [`NOWHERE`], with what this needs.
const GUESTS: [(Guests, &[u32]); 4] = [
    (Guests::Nothing, &[]),
    (Guests::ReadVector, &[0x9e66_0000]), // fmov x0, d0
    (Guests::WriteSvcr, &[0xd51b_4242]),  // msr svcr, x2
    (Guests::WriteTpidr, &[0xd51b_d042]), // msr tpidr_el0, x2
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Guests {
    Nothing,
    ReadVector,
    WriteSvcr,
    WriteTpidr,
}

/// The words of a page between two of the guest's vectors.
const SLOT: usize = 32;

/// Where in its page a guest begins: behind the vectors.
fn entry(guest: usize) -> u64 {
    (16 + guest as u64) * SLOT as u64 * 4
}

/// The page at 0 of each guest. From wherever it starts or takes an exception to, it gets out.
fn code() -> Vec<u32> {
    const OUT: [u32; 3] = [
        0xd2a2_0001, // mov x1, #0x10000000
        0xb900_0020, // str w0, [x1]
        0x17ff_fffe, // b .-8
    ];
    let mut page: Vec<_> = (0..PAGE / 4).map(|n| OUT[n % SLOT % OUT.len()]).collect();
    for (guest, (_, begin)) in GUESTS.iter().enumerate() {
        let at = entry(guest) as usize / 4;
        page[at..at + begin.len()].copy_from_slice(begin);
        page[at + begin.len()..][..OUT.len()].copy_from_slice(&OUT);
    }
    page
}

/// A vCPU, for people.
#[derive(Clone, Copy)]
struct Who {
    shared: bool,
    vcpu: usize,
}

/// A call that has been made.
struct Entry {
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
type Counts = [[u64; 64]; DOCUMENTED.len()];

/// Makes calls, and checks what each must keep whatever the vCPU is: documented errors, and memory
/// of the caller as it was but for what the call says.
struct Caller {
    memory: ArgMemory,
    step: u64,
    recent: VecDeque<Entry>,
    counts: Counts,
}

/// What the memory of the caller is filled with.
const FILL: u8 = 0x5a;

/// How far around an argument memory is looked at.
const AROUND: usize = 64;

impl Caller {
    fn new() -> Result<Self> {
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
    fn note<T>(
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
    fn range(place: Place, len: usize) -> Range<usize> {
        match place {
            Place::At(at) => at.min(ArgMemory::WRITABLE)..(at + len).min(ArgMemory::WRITABLE),
            _ => 0..0,
        }
    }

    fn put(&mut self, place: Place, bytes: &[u8]) {
        let range = Self::range(place, bytes.len());
        let len = range.len();
        self.memory.bytes_mut()[range].copy_from_slice(&bytes[..len]);
    }

    /// Fills the memory around an argument again. Nothing but the first `written` bytes of it may
    /// have been written.
    fn wipe(&mut self, place: Place, len: usize, written: usize) -> Checked {
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

    fn get(&mut self, who: Who, vcpu: &Vcpu, id: RegId, place: Place) -> Checked<Result<Value>> {
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

    fn set(
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
    fn list(
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

    fn init(&mut self, who: Who, vcpu: &Vcpu, target: u32, features: [u32; 7]) -> Checked<Result> {
        let outcome = vcpu.init_raw(target, features);
        self.note(who, Op::Init, features[0].into(), Place::At(0), &outcome)?;
        Ok(outcome)
    }

    fn finalize(&mut self, who: Who, vcpu: &Vcpu, feature: u32) -> Checked<Result> {
        let outcome = vcpu.finalize_raw(feature as i32);
        self.note(who, Op::Finalize, feature.into(), Place::At(0), &outcome)?;
        Ok(outcome)
    }

    fn load(&mut self, who: Who, vcpu: &Vcpu) -> Checked<Result> {
        let outcome = vcpu.load();
        let noted = outcome.and(Err::<(), _>(Errno::EINTR));
        self.note(who, Op::Run, 0, Place::At(0), &noted)?;
        Ok(outcome)
    }

    /// Runs a vCPU up to a store to [`NOWHERE`]. Timers and counters can interrupt it.
    fn run(&mut self, who: Who, vcpu: &Vcpu) -> Checked<Result> {
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

    fn nowhere(&mut self, who: Who, vcpu: &Vcpu, call: Call) -> Checked<Result> {
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

fn show<T>(outcome: &Result<T>) -> String {
    match outcome {
        Ok(_) => "success".into(),
        Err(error) => error.to_string(),
    }
}

/// Complains unless the outcome of a call is one of the expected ones.
fn must<T>(expected: Outcomes, outcome: &Result<T>, what: impl FnOnce() -> String) -> Checked {
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
fn works<T>(outcome: Result<T>, what: &str) -> Checked<T> {
    outcome.map_err(|error| format!("{what} gives {error}"))
}

/// A vCPU that one thread has for itself, and all that is known of it.
struct Owned {
    vcpu: Vcpu,
    who: Who,
    initialized: bool,
    finalized: bool,
    mode: Mode,
    pstate: u64,
    /// The values of [`Self::value`] that are not 0.
    values: BTreeMap<RegId, Value>,
    /// What it has, and with which mode and ID registers.
    listed: (Option<(Mode, Guest)>, Vec<RegId>),
}

impl Owned {
    fn new(vcpu: Vcpu, index: usize, kind: &Kind) -> Self {
        Self {
            vcpu,
            who: Who {
                shared: false,
                vcpu: index,
            },
            initialized: false,
            finalized: false,
            mode: kind.mode(),
            pstate: 0,
            values: BTreeMap::new(),
            listed: (None, Vec::new()),
        }
    }

    /// Whether a register is 0 after a reset, and then what is written to it.
    fn starts_as_zero(id: RegId) -> bool {
        let core = id.class() == uapi::KVM_REG_ARM_CORE;
        core && id.number() <= 62 || is_v(id) || id == FPSR || id == FPCR || is_sized(id)
    }

    /// What a register that is there has to have, if this is known.
    fn value(&self, id: RegId) -> Option<Value> {
        let stored = self.values.get(&id).copied();
        stored.or_else(|| Self::starts_as_zero(id).then(|| Value::zero(id.bytes().min(256))))
    }

    /// What `KVM_ARM_VCPU_INIT` does.
    fn reset(&mut self, kind: &Kind) -> Result {
        self.initialized = true;
        self.values.clear();
        self.mode.sm = false;
        self.mode.za = false;
        if !self.finalized {
            (self.mode.vl, self.mode.svl) = (kind.mode().vl, kind.mode().svl);
        }
        self.pstate = self.vcpu.get(RegId::PSTATE)?.low();
        Ok(())
    }

    /// What a write of SVCR does, the guest's as well.
    fn set_svcr(&mut self, svcr: u64) {
        let (sm, za) = (svcr & SM != 0, svcr & ZA != 0);
        let is_array = |id: RegId| id.class() == uapi::KVM_REG_ARM64_SME;
        if sm != self.mode.sm {
            self.values
                .retain(|&id, _| !is_v(id) && (!is_vector_class(id) || is_array(id)));
            self.values.insert(FPSR, Value::from_u64(FPSR_AFTER_SM, 4));
            self.values.insert(FPMR, Value::zero(8));
        }
        if za && !self.mode.za {
            self.values.retain(|&id, _| !is_array(id));
        }
        (self.mode.sm, self.mode.za) = (sm, za);
    }

    /// What a good write does.
    fn wrote(&mut self, id: RegId, value: &Value) -> Result {
        if id == RegId::SVCR {
            self.set_svcr(value.low());
        } else if id == RegId::SVE_VLS {
            self.mode.vl = vectors::greatest(value.low());
        } else if id == RegId::SME_VLS {
            self.mode.svl = vectors::greatest(value.low());
        } else if id == RegId::PSTATE {
            self.pstate = self.vcpu.get(id)?.low();
        } else if Self::starts_as_zero(id) || STORED.iter().any(|(stored, _)| *stored == id) {
            let mut kept = *value;
            kept.bytes_mut()[self.mode.bytes_of(id)..].fill(0);
            self.values.insert(id, kept);
        }
        if id.class() == uapi::KVM_REG_ARM_CORE {
            self.narrow();
        }
        Ok(())
    }

    /// What each write of a core register does to the others in a 32-bit mode.
    fn narrow(&mut self) {
        const MODE_32: u64 = 1 << 4;
        const USER_OR_SYSTEM: [u64; 2] = [0x10, 0x1f];
        if self.pstate & MODE_32 == 0 {
            return;
        }
        let user = USER_OR_SYSTEM.contains(&(self.pstate & 0x1f));
        for n in 0..if user { 15 } else { 31 } {
            if let Some(value) = self.values.get_mut(&RegId::x(n)) {
                *value = Value::from_u64(value.low() & u64::from(u32::MAX), 8);
            }
        }
    }
}

/// A register whose size the vector lengths decide.
fn is_sized(id: RegId) -> bool {
    is_vector_class(id) && !id.is_vls()
}

/// Whether a register is one of X0 to X30.
fn is_x(id: RegId) -> bool {
    id == RegId::x(id.number() / 2 % 31)
}

/// The VM that a thread has for itself.
struct Family<'a> {
    kind: &'a Kind,
    guest: Guest,
    /// A run fixes the ID registers, so that some VMs do without.
    may_run: bool,
    ran: bool,
    vcpus: Vec<Owned>,
    vm: Vm,
}

impl<'a> Family<'a> {
    /// Makes a VM with vCPUs, none of them initialized.
    fn new(kvm: &Kvm, kind: &'a Kind, vcpus: usize) -> Result<Self> {
        let mut vm = kvm.create_vm(IPA_BITS)?;
        vm.add_code(0, &code())?;
        let vcpus = (0..vcpus)
            .map(|n| Ok(Owned::new(vm.create_vcpu(n as u32)?, n, kind)))
            .collect::<Result<_>>()?;
        Ok(Self {
            kind,
            guest: Guest::default(),
            may_run: false,
            ran: false,
            vcpus,
            vm,
        })
    }

    fn state(&self, vcpu: usize) -> State<'a> {
        let owned = &self.vcpus[vcpu];
        State {
            kind: self.kind,
            guest: self.guest,
            mode: owned.mode,
            initialized: owned.initialized,
            finalized: owned.finalized,
            ran: self.ran,
        }
    }

    /// All that a vCPU has, in no order that counts.
    fn registers(&mut self, vcpu: usize) -> &[RegId] {
        let owned = &mut self.vcpus[vcpu];
        let key = (owned.mode, self.guest);
        if owned.listed.0 != Some(key) {
            owned.listed.1 = self.kind.leaders().collect();
            owned
                .listed
                .1
                .extend(self.kind.registers(owned.mode, &self.guest));
            owned.listed.0 = Some(key);
        }
        &owned.listed.1
    }

    /// Reads the ID registers, which all vCPUs have in common.
    fn read_guest(&mut self) -> Result {
        let Some(some) = self.vcpus.iter().find(|owned| owned.initialized) else {
            return Ok(());
        };
        self.guest = Guest::of(&some.vcpu, self.kind.sme)?;
        for owned in &mut self.vcpus {
            owned.mode.sme2 = self.guest.sme2;
            owned.mode.fa64 = self.guest.fa64;
        }
        Ok(())
    }
}

/// A VM that all threads use. Its vCPUs are initialized.
struct Shared<'a> {
    kind: &'a Kind,
    may_run: bool,
    vcpus: Vec<Vcpu>,
    vm: Vm,
}

impl<'a> Shared<'a> {
    fn new(kvm: &Kvm, kind: &'a Kind, finalize: bool, may_run: bool) -> Result<Self> {
        let mut vm = kvm.create_vm(IPA_BITS)?;
        vm.add_code(0, &code())?;
        let vcpus = [vm.create_vcpu(0)?, vm.create_vcpu(1)?];
        for vcpu in &vcpus {
            kind.init(&vm, vcpu)?;
            prepare_pmu(kind, vcpu)?;
        }
        if finalize && (kind.sve || kind.sme) {
            vcpus[0].finalize()?;
        }
        Ok(Self {
            kind,
            may_run,
            vcpus: vcpus.into(),
            vm,
        })
    }

    /// Each byte that is written to a register of a vCPU.
    fn tag(vcpu: usize) -> u8 {
        0xa1 + 0x11 * vcpu as u8
    }
}

/// A vCPU with a PMU does not run before this.
fn prepare_pmu(kind: &Kind, vcpu: &Vcpu) -> Result {
    if !kind.pmu {
        return Ok(());
    }
    let group = uapi::KVM_ARM_VCPU_PMU_V3_CTRL;
    vcpu.set_attr(group, uapi::KVM_ARM_VCPU_PMU_V3_INIT, None)
}

/// What all threads have in common.
struct World<'a> {
    kvm: &'a Kvm,
    kinds: &'a [Kind],
    shared: Vec<Mutex<Arc<Shared<'a>>>>,
    /// How many steps each thread has made.
    steps: Vec<AtomicU64>,
    failed: AtomicBool,
}

impl<'a> World<'a> {
    fn new(kvm: &'a Kvm, kinds: &'a [Kind], threads: u64) -> Result<Self> {
        let can_run = kinds.iter().filter(|kind| !kind.aarch32);
        let vm = |kind| Ok(Mutex::new(Arc::new(Shared::new(kvm, kind, true, true)?)));
        Ok(Self {
            kvm,
            kinds,
            shared: can_run
                .cycle()
                .take(SHARED_VMS)
                .map(vm)
                .collect::<Result<_>>()?,
            steps: (0..threads).map(|_| AtomicU64::new(0)).collect(),
            failed: AtomicBool::new(false),
        })
    }

    fn done(&self) -> Vec<u64> {
        let load = |steps: &AtomicU64| steps.load(Ordering::Relaxed);
        self.steps.iter().map(load).collect()
    }

    /// Runs `f` on one of the shared VMs, which can be replaced meanwhile.
    fn with<T>(&self, n: usize, f: impl FnOnce(&mut Arc<Shared<'a>>) -> T) -> Checked<T> {
        let mut slot = self.shared[n].lock().map_err(|error| error.to_string())?;
        Ok(f(&mut slot))
    }
}

/// A thread of the fuzzer.
struct Thread<'w, 'a> {
    world: &'w World<'a>,
    done: &'w AtomicU64,
    family: Family<'a>,
    caller: Caller,
    /// Of the present step alone: what a step draws does not depend on those before it.
    random: Random,
}

impl<'w, 'a> Thread<'w, 'a> {
    fn new(world: &'w World<'a>, thread: u64) -> Result<Self> {
        Ok(Self {
            done: &world.steps[thread as usize],
            family: Family::new(world.kvm, &world.kinds[0], 1)?,
            world,
            caller: Caller::new()?,
            random: Random(0),
        })
    }

    /// Makes `steps` steps. `steps_random` gives a number for each.
    fn steps(&mut self, mut steps_random: Random, steps: u64) -> Checked {
        for step in 0..steps {
            if self.world.failed.load(Ordering::Relaxed) {
                return Ok(());
            }
            self.random = Random(steps_random.number());
            self.caller.step = step;
            if step % RESTORE_EVERY == 0 {
                self.restore(step == 0)?;
            }
            if step % REPLACE_EVERY == 0 {
                self.replace_shared()?;
            }
            if self.random.below(100) < SHARED_PERCENT {
                self.shared_step()?;
            } else {
                self.own_step()?;
            }
            self.done.store(step + 1, Ordering::Relaxed);
        }
        self.restore(false)
    }

    fn choose_step(&mut self) -> Step {
        let mut at = self
            .random
            .below(STEPS.iter().map(|(weight, _)| weight).sum());
        for &(weight, step) in STEPS {
            if at < weight {
                return step;
            }
            at -= weight;
        }
        Step::Get
    }

    fn choose<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.random.below(from.len())]
    }

    /// Whether something that happens once in `n` times does.
    fn one_in(&mut self, n: usize) -> bool {
        self.random.below(n) == 0
    }

    fn choose_kind(&mut self) -> &'a Kind {
        &self.world.kinds[self.random.below(self.world.kinds.len())]
    }

    /// A place for an argument of `len` bytes, now and then one that is no good.
    fn choose_place(&mut self, len: usize) -> Place {
        const END: usize = ArgMemory::WRITABLE;
        match self.random.below(64) {
            0 => Place::Null,
            1 => Place::Kernel,
            2 => Place::At(END + self.random.below(64)),
            3 => Place::At(ArgMemory::READ_ONLY + self.random.below(64)),
            4..=6 => Place::At(END - 1 - self.random.below(len.clamp(1, END) - 1 + 1).min(END - 1)),
            7..=9 => Place::At(END - len.min(END)),
            _ => Place::At(AROUND + self.random.below(PAGE)),
        }
    }

    /// An id that is not quite one.
    fn mutate(&mut self, id: RegId) -> RegId {
        const CLASSES: [u32; 8] = [
            uapi::KVM_REG_ARM_CORE,
            uapi::KVM_REG_ARM_DEMUX,
            uapi::KVM_REG_ARM64_SYSREG,
            uapi::KVM_REG_ARM_FW,
            uapi::KVM_REG_ARM64_SVE,
            uapi::KVM_REG_ARM_FW_FEAT_BMAP,
            uapi::KVM_REG_ARM64_SME,
            0x18 << uapi::KVM_REG_ARM_COPROC_SHIFT,
        ];
        let raw = id.raw();
        RegId::new(match self.random.below(7) {
            0 => raw & !(15 << 52) | (self.random.below(16) as u64) << 52,
            1 => raw ^ (1 + self.random.below(31) as u64),
            2 => raw & !u64::from(uapi::KVM_REG_ARM_COPROC_MASK) | u64::from(self.choose(&CLASSES)),
            3 => raw ^ 1 << self.random.below(64),
            4 => raw & !0xffff | self.random.number() & 0xffff,
            5 => raw & !0xffff | (self.random.below(0x800) as u64) << 5,
            _ => self.random.number(),
        })
    }

    /// A value for a register, which a vCPU keeps if it is one of [`STORED`].
    fn make_value(&mut self, id: RegId) -> Value {
        let mut value = Value::zero(id.bytes().min(256));
        for bytes in value.bytes_mut().chunks_mut(8) {
            bytes.copy_from_slice(&self.random.number().to_le_bytes()[..bytes.len()]);
        }
        match STORED.iter().find(|(stored, _)| *stored == id) {
            Some((_, bits)) => Value::from_u64(value.low() & bits, id.bytes()),
            // Numbers of all magnitudes: a timer does not wait for great ones.
            None if id.bytes() == 8 && self.one_in(4) => {
                Value::from_u64(value.low() >> self.random.below(64), 8)
            }
            None => value,
        }
    }

    /// One bit or field of a number otherwise.
    fn vary(&mut self, number: u64) -> u64 {
        let shift = 4 * self.random.below(16);
        number & !(15 << shift) | (self.random.below(4) as u64) << shift
    }

    fn own_step(&mut self) -> Checked {
        let n = self.random.below(self.family.vcpus.len());
        let owned = &self.family.vcpus[n];
        let (initialized, fixed) = (owned.initialized, owned.finalized);
        let step = match self.choose_step() {
            // What a vCPU needs comes sooner than by chance.
            _ if !initialized && self.one_in(16) => Step::Init,
            _ if initialized && !fixed && self.one_in(8) => Step::Lengths,
            _ if initialized && !fixed && self.one_in(32) => Step::Finalize,
            Step::Load | Step::Run if !self.family.may_run => Step::IdRegister,
            step => step,
        };
        match step {
            Step::Get => {
                let id = self.choose_register(n);
                self.get(n, id).map(drop)
            }
            Step::Set => {
                let id = self.choose_register(n);
                self.set_something(n, id)
            }
            Step::WriteBack => {
                let id = self.choose_register(n);
                self.write_back(n, id)
            }
            Step::StrangeGet => {
                let id = self.choose_register(n);
                let id = self.mutate(id);
                self.get(n, id).map(drop)
            }
            Step::StrangeSet => {
                let id = self.choose_register(n);
                let id = self.mutate(id);
                self.set_something(n, id)
            }
            Step::List => self.list(n),
            Step::Svcr => self.set_something(n, RegId::SVCR),
            Step::IdRegister => self.set_id_field(n),
            Step::Lengths => {
                let id = self.choose(&[RegId::SVE_VLS, RegId::SME_VLS]);
                self.set_something(n, id)
            }
            Step::Finalize => self.finalize(n),
            Step::Init => self.init(n),
            Step::InitOtherwise => self.init_otherwise(n),
            Step::Load => self.load(n),
            Step::Run => self.run(n),
            Step::Nowhere => self.nowhere(n),
        }?;

        // A cheap look at something else.
        let other = self.random.below(self.family.vcpus.len());
        if self.family.vcpus[other].initialized {
            let known = self.choose_known(other);
            let _ = self.get_at(other, known, Place::At(AROUND))?;
        }
        if self.caller.step % LIST_EVERY == 0 {
            self.check_list(n)?;
        }
        if self.caller.step % SWEEP_EVERY == SWEEP_EVERY - 1 {
            self.sweep(n)?;
        }
        Ok(())
    }

    /// A register that the vCPU has, or will have, of some class.
    fn choose_register(&mut self, n: usize) -> RegId {
        let class = match self.random.below(8) {
            0..=1 => uapi::KVM_REG_ARM_CORE,
            2 => uapi::KVM_REG_ARM64_SVE,
            3..=4 => uapi::KVM_REG_ARM64_SME,
            5 => return self.choose(&STORED).0,
            6 => return self.choose_known(n),
            _ => 0,
        };
        let at = self.random.number() as usize;
        let registers = self.family.registers(n);
        let count = registers.iter().filter(|id| id.class() == class).count();
        let mut of_class = registers.iter().filter(|id| id.class() == class);
        let chosen = at.checked_rem(count).and_then(|at| of_class.nth(at));
        *chosen.unwrap_or(&registers[at % registers.len()])
    }

    /// One of the registers of which the value is known, whether it is there or not.
    fn choose_known(&mut self, n: usize) -> RegId {
        let which = self.random.below(32) as u64;
        match self.random.below(6) {
            0 if which < 31 => RegId::x(which),
            1 => vectors::p(which % 16),
            2 => vectors::za(self.random.below(self.family.vcpus[n].mode.svl.max(1)) as u64),
            3 if which < 8 => vectors::ZT0,
            3 if which < 16 => vectors::FFR,
            3 => STORED[which as usize % STORED.len()].0,
            _ if self.family.vcpus[n].mode.has_z() => vectors::z(which),
            _ => vectors::v(which),
        }
    }

    fn get(&mut self, n: usize, id: RegId) -> Checked<Result<Value>> {
        let place = self.choose_place(id.bytes());
        self.get_at(n, id, place)
    }

    /// Reads a register of the thread's own vCPU, and compares.
    fn get_at(&mut self, n: usize, id: RegId, place: Place) -> Checked<Result<Value>> {
        let expected = self.family.state(n).expect(Access {
            id,
            write: false,
            fault: ArgMemory::faults(place, id.bytes(), true),
            fault_of_8: false,
        });
        let owned = &self.family.vcpus[n];
        let read = self.caller.get(owned.who, &owned.vcpu, id, place)?;
        must(expected, &read, || format!("a read of {:#x}", id.raw()))?;
        if let (Ok(is), Some(known)) = (&read, owned.value(id)) {
            if *is != known {
                return Err(format!("{:#x} is {is}, was {known}", id.raw()));
            }
        }
        Ok(read)
    }

    /// A write of something that may be good, at a place that may be good.
    fn set_something(&mut self, n: usize, id: RegId) -> Checked {
        let place = self.choose_place(id.bytes());
        let value = self.make_write(n, id);
        self.set_at(n, id, place, value).map(drop)
    }

    /// A write of a field that shows or hides other registers.
    fn set_id_field(&mut self, n: usize) -> Checked {
        let (id, shift) = self.choose(&ID_FIELDS);
        let now = self.family.vcpus[n].vcpu.get(id);
        let value = self.make_field(now.map_or(0, |now| now.low()), shift);
        self.set_at(n, id, Place::At(AROUND), value).map(drop)
    }

    /// A number with a field as it is without a feature, or with more or less of one.
    fn make_field(&mut self, number: u64, shift: u32) -> Value {
        let field: u64 = self.choose(&[0, 1, 2, 8]);
        Value::from_u64(number & !(15 << shift) | field << shift, 8)
    }

    /// What to write to a register, which it takes more often than not.
    fn make_write(&mut self, n: usize, id: RegId) -> Value {
        let value = self.make_value(id);
        let kind = self.family.kind;
        let is_stored = STORED.iter().any(|(stored, _)| *stored == id);

        if id == RegId::SVCR && !self.one_in(8) {
            Value::from_u64(value.low() & 3, 8)
        } else if id.is_vls() && !self.one_in(8) {
            let all = if id == RegId::SVE_VLS {
                kind.sve_vqs
            } else {
                kind.sme_vqs
            };
            let vqs = all & ((2 << self.random.below(16)) - 1);
            let wrong = u64::from(self.one_in(4)) << self.random.below(16);
            Value::from_u64(vqs ^ wrong, id.bytes())
        } else if id == RegId::PSTATE {
            Value::from_u64(self.choose(&[0x3c5, 0x3c4, 0x3c0, 0x10, 0x1d3, 7]), 8)
        } else if kind.aarch32 && is_x(id) {
            // There are 32 bits of it. User mode lets user space write more to X15 and up, but what
            // the vCPU is restored to begins in another mode, which does not.
            Value::from_u64(value.low() & u64::from(u32::MAX), id.bytes())
        } else if !Owned::starts_as_zero(id) && !is_stored && id.bytes() <= 8 && !self.one_in(3) {
            let now = self.family.vcpus[n].vcpu.get(id);
            Value::from_u64(self.vary(now.map_or(0, |now| now.low())), id.bytes())
        } else {
            value
        }
    }

    /// Writes a register of the thread's own vCPU, and notes what this does.
    fn set_at(&mut self, n: usize, id: RegId, place: Place, value: Value) -> Checked<Result> {
        let value = match place {
            Place::At(ArgMemory::READ_ONLY..) => Value::zero(value.bytes().len()),
            _ => value,
        };
        let kind = self.family.kind;
        let state = self.family.state(n);
        // What is past the vector length is not even read.
        let len = if is_sized(id) {
            state.mode.bytes_of(id)
        } else {
            id.bytes()
        };
        let mut expected = state.expect(Access {
            id,
            write: true,
            fault: ArgMemory::faults(place, len, false),
            fault_of_8: ArgMemory::faults(place, 8, false),
        });
        // The values that are good are known of these.
        let good = match id {
            RegId::SVCR => Some(value.low() <= 3),
            RegId::SVE_VLS => Some(is_set_of_lengths(&value, kind.sve_vqs)),
            RegId::SME_VLS => Some(is_set_of_lengths(&value, kind.sme_vqs)),
            _ if STORED.iter().any(|(stored, _)| *stored == id) => Some(true),
            _ => None,
        };
        match good {
            Some(true) => {
                expected = expected.without(Outcomes::EINVAL.or(Outcomes::EBUSY));
            }
            Some(false) => expected = expected.without(Outcomes::OK.or(Outcomes::EBUSY)),
            None => {}
        }

        let owned = &mut self.family.vcpus[n];
        let outcome = self.caller.set(owned.who, &owned.vcpu, id, place, &value)?;
        must(expected, &outcome, || {
            format!("a write of {value} to {:#x}", id.raw())
        })?;
        if outcome.is_ok() {
            works(owned.wrote(id, &value), "a read after a write")?;
            if is_id_register(id) {
                works(self.family.read_guest(), "a read of the ID registers")?;
            }
        }
        Ok(outcome)
    }

    /// What is listed takes back what was read.
    fn write_back(&mut self, n: usize, id: RegId) -> Checked {
        let Ok(value) = self.get_at(n, id, Place::At(AROUND))? else {
            return Ok(());
        };
        let outcome = self.set_at(n, id, Place::At(AROUND), value)?;
        must(Outcomes::OK, &outcome, || {
            format!("a write of what was read, {value}, to {:#x}", id.raw())
        })
    }

    /// A list with any room at any place.
    fn list(&mut self, n: usize) -> Checked {
        const WORD: usize = size_of::<u64>();
        let count = self.family.registers(n).len();
        let room = match self.random.below(8) {
            0 => 0,
            1 => count as u64 - 1,
            2 => count as u64 + 1,
            3 => u64::MAX,
            4 => self.random.number(),
            5 => self.random.below(2 * count) as u64,
            _ => count as u64,
        };
        let len = WORD + WORD * count;
        let place = self.choose_place(len);

        let owned = &self.family.vcpus[n];
        let expected = if !owned.initialized {
            Outcomes::ENOEXEC
        } else if !self.is_finalized(n) {
            Outcomes::EPERM
        } else if ArgMemory::faults(place, WORD, true) {
            Outcomes::EFAULT
        } else if room < count as u64 {
            Outcomes::E2BIG
        } else if ArgMemory::faults(place, len, true) {
            Outcomes::EFAULT
        } else {
            Outcomes::OK
        };
        let (list, number) = self.caller.list(owned.who, &owned.vcpu, place, room)?;
        must(expected, &list, || {
            format!("a list with room for {room} of {count}")
        })?;
        if (list.is_ok() || expected == Outcomes::E2BIG) && number != count as u64 {
            return Err(format!("there are {number} registers, not {count}"));
        }
        match list {
            Ok(list) => self
                .family
                .kind
                .check_list(&list, owned.mode, &self.family.guest),
            Err(_) => Ok(()),
        }
    }

    /// A plain sizing call and a plain list.
    fn check_list(&mut self, n: usize) -> Checked {
        if !self.is_finalized(n) {
            return Ok(());
        }
        let owned = &self.family.vcpus[n];
        let place = Place::At(AROUND);
        let (sizing, count) = self.caller.list(owned.who, &owned.vcpu, place, 0)?;
        must(Outcomes::E2BIG, &sizing, || "a sizing call".into())?;
        let (list, _) = self.caller.list(owned.who, &owned.vcpu, place, count)?;
        let list = works(list, "a list with the room that it says it needs")?;
        if list.len() as u64 != count {
            return Err(format!("a list has {} registers, not {count}", list.len()));
        }
        self.family
            .kind
            .check_list(&list, owned.mode, &self.family.guest)
    }

    /// Whether nothing has to be finalized any more.
    fn is_finalized(&self, n: usize) -> bool {
        let owned = &self.family.vcpus[n];
        owned.initialized && (owned.finalized || !self.family.kind.sve && !self.family.kind.sme)
    }

    fn finalize(&mut self, n: usize) -> Checked {
        let feature = if self.one_in(4) {
            self.random.number() as u32
        } else {
            uapi::KVM_ARM_VCPU_SVE
        };
        let has_vectors = self.family.kind.sve || self.family.kind.sme;
        let owned = &mut self.family.vcpus[n];
        let expected = if !owned.initialized {
            Outcomes::ENOEXEC
        } else if feature != uapi::KVM_ARM_VCPU_SVE || !has_vectors {
            Outcomes::EINVAL
        } else if owned.finalized {
            Outcomes::EPERM
        } else {
            Outcomes::OK
        };
        let outcome = self.caller.finalize(owned.who, &owned.vcpu, feature)?;
        owned.finalized |= outcome.is_ok();
        must(expected, &outcome, || "finalize".into())
    }

    fn init(&mut self, n: usize) -> Checked {
        let kind = self.family.kind;
        let target = works(self.family.vm.target(), "KVM_ARM_PREFERRED_TARGET")?;
        let owned = &mut self.family.vcpus[n];
        let first = !owned.initialized;
        let features = [kind.features, 0, 0, 0, 0, 0, 0];
        let outcome = self.caller.init(owned.who, &owned.vcpu, target, features)?;
        must(Outcomes::OK, &outcome, || "a good KVM_ARM_VCPU_INIT".into())?;
        works(owned.reset(kind), "a read after KVM_ARM_VCPU_INIT")?;
        if first {
            works(prepare_pmu(kind, &owned.vcpu), "KVM_ARM_VCPU_PMU_V3_INIT")?;
        }
        works(self.family.read_guest(), "a read of the ID registers")
    }

    /// Features or a target that the vCPU cannot have.
    fn init_otherwise(&mut self, n: usize) -> Checked {
        const KNOWN: u32 = (1 << (uapi::KVM_ARM_VCPU_SME + 1)) - 1;
        const STRICT: u32 = 1 << uapi::KVM_ARM_VCPU_PMU_V3_STRICT;
        const HALF: u32 = 1 << uapi::KVM_ARM_VCPU_PTRAUTH_GENERIC;
        const SME_IN_EL2: u32 = 1 << uapi::KVM_ARM_VCPU_SME | 1 << uapi::KVM_ARM_VCPU_HAS_EL2;

        let other = self.choose_kind().features;
        let unknown = (KNOWN + 1) << self.random.below(21);
        let word = 1 + self.random.below(6);
        let target = works(self.family.vm.target(), "KVM_ARM_PREFERRED_TARGET")?;
        // A VM whose features are not decided yet can have those of another kind.
        let decided = self.family.vcpus.iter().any(|owned| owned.initialized);
        let own = self.family.kind.features;
        let other = if decided && other != own { other } else { HALF };

        let (target, first, more, expected) = match self.random.below(7) {
            0 => (target, own | unknown, 0, Outcomes::ENOENT),
            1 => (target, own, 1, Outcomes::ENOENT),
            2 => (target ^ 0x100, own, 0, Outcomes::EINVAL),
            3 => (target, STRICT, 0, Outcomes::EINVAL),
            4 => (target, HALF, 0, Outcomes::EINVAL),
            5 => (target, SME_IN_EL2, 0, Outcomes::EINVAL),
            _ => (target, other, 0, Outcomes::EINVAL),
        };
        let mut features = [first, 0, 0, 0, 0, 0, 0];
        features[word] = more;
        let owned = &self.family.vcpus[n];
        let outcome = self.caller.init(owned.who, &owned.vcpu, target, features)?;
        must(expected, &outcome, || {
            format!("init with features {features:x?} and target {target}")
        })
    }

    fn load(&mut self, n: usize) -> Checked {
        let owned = &self.family.vcpus[n];
        let expected = if !owned.initialized {
            Outcomes::ENOEXEC
        } else if !self.is_finalized(n) {
            Outcomes::EPERM
        } else {
            Outcomes::OK
        };
        let outcome = self.caller.load(owned.who, &owned.vcpu)?;
        must(expected, &outcome, || "KVM_RUN with immediate_exit".into())?;
        if outcome.is_ok() {
            self.has_run()?;
        }
        Ok(())
    }

    /// The first run of a VM mends its ID registers.
    fn has_run(&mut self) -> Checked {
        if self.family.ran {
            return Ok(());
        }
        self.family.ran = true;
        works(self.family.read_guest(), "a read of the ID registers")
    }

    /// Runs a guest, with all as it was but for what the guest did.
    fn run(&mut self, n: usize) -> Checked {
        let which = self.random.below(GUESTS.len());
        let (guest, begin) = GUESTS[which];
        let kind = self.family.kind;
        if !self.is_finalized(n) || kind.aarch32 || guest == Guests::WriteSvcr && !kind.sme {
            return Ok(());
        }

        let place = Place::At(AROUND);
        let argument = if guest == Guests::WriteSvcr {
            self.random.number() & 3
        } else {
            self.random.number()
        };
        let needed = RUNNABLE.into_iter().chain([
            (SCTLR_EL1, kind.sctlr),
            (RegId::PC, entry(which)),
            (RegId::x(2), argument),
        ]);
        let mut saved = Vec::new();
        for (id, value) in needed
            .filter(|(id, _)| self.family.state(n).has(*id))
            .collect::<Vec<_>>()
        {
            let was = works(self.get_at(n, id, place)?, "a read before KVM_RUN")?;
            works(
                self.set_at(n, id, place, Value::from_u64(value, 8))?,
                "a write before KVM_RUN",
            )?;
            if id != RegId::PC && id != RegId::x(2) {
                saved.push((id, was));
            }
        }

        let owned = &mut self.family.vcpus[n];
        works(self.caller.run(owned.who, &owned.vcpu)?, "KVM_RUN")?;
        // The store is complete only when the vCPU is entered again.
        works(
            self.caller.load(owned.who, &owned.vcpu)?,
            "KVM_RUN after a store",
        )?;
        let low = |value: Option<Value>| value.map_or(0, |value| value.low());
        match guest {
            Guests::Nothing => {}
            Guests::ReadVector => {
                let vector = if owned.mode.has_z() {
                    vectors::z(0)
                } else {
                    vectors::v(0)
                };
                let value = low(owned.value(vector));
                owned.values.insert(RegId::x(0), Value::from_u64(value, 8));
            }
            Guests::WriteSvcr => owned.set_svcr(argument),
            Guests::WriteTpidr => {
                owned.values.insert(TPIDR_EL0, Value::from_u64(argument, 8));
            }
        }
        owned
            .values
            .insert(RegId::x(1), Value::from_u64(NOWHERE, 8));
        self.has_run()?;

        let pc = low(self.get_at(n, RegId::PC, place)?.ok());
        if pc != entry(which) + 4 * (begin.len() as u64 + 2) {
            return Err(format!(
                "the guest that starts at {:#x} stops at {pc:#x}",
                entry(which)
            ));
        }
        if kind.sme {
            let svcr = low(self.get_at(n, RegId::SVCR, place)?.ok());
            let mode = self.family.vcpus[n].mode;
            if (svcr & SM != 0, svcr & ZA != 0) != (mode.sm, mode.za) {
                return Err(format!(
                    "SVCR is {svcr} after the guest wrote {argument:#x} or nothing"
                ));
            }
        }
        for id in [RegId::x(0), RegId::x(1), TPIDR_EL0] {
            self.get_at(n, id, place)?
                .map_or_else(|error| Err(error.to_string()), |_| Ok(()))?;
        }
        for (id, was) in saved.into_iter().rev() {
            works(self.set_at(n, id, place, was)?, "a write after KVM_RUN")?;
        }
        Ok(())
    }

    fn nowhere(&mut self, n: usize) -> Checked {
        let call = self.choose(&[Call::Get, Call::Set, Call::List, Call::Init, Call::Finalize]);
        let owned = &self.family.vcpus[n];
        let expected = if call == Call::Init {
            Outcomes::EFAULT
        } else if !owned.initialized {
            Outcomes::ENOEXEC
        } else if call == Call::List && !self.is_finalized(n) {
            Outcomes::EPERM
        } else {
            Outcomes::EFAULT
        };
        let outcome = self.caller.nowhere(owned.who, &owned.vcpu, call)?;
        must(expected, &outcome, || "a call without a structure".into())
    }

    /// All registers of a vCPU: what it has, and what of the vectors it does not have.
    fn sweep(&mut self, n: usize) -> Checked {
        if !self.is_finalized(n) {
            return Ok(());
        }
        for id in self.family.registers(n).to_vec() {
            self.write_back(n, id)?;
        }
        for (id, error, why) in self.family.vcpus[n].mode.absent() {
            let read = self.get_at(n, id, Place::At(AROUND))?;
            must(Outcomes::of(error), &read, || {
                format!("a read of {:#x} ({why})", id.raw())
            })?;
        }
        Ok(())
    }

    /// Restores all vCPUs into a new VM in the order of the list, and goes on with that one, or
    /// with one of another kind.
    fn restore(&mut self, first: bool) -> Checked {
        if !first {
            self.round_trip()?;
        }
        if first || self.one_in(2) {
            let kind = self.choose_kind();
            let vcpus = 1 + self.random.below(2);
            self.family = works(Family::new(self.world.kvm, kind, vcpus), "a new VM")?;
            if self.one_in(2) {
                (0..vcpus).try_for_each(|n| self.make_ready(n))?;
            }
        }
        self.family.may_run = self.one_in(2);
        Ok(())
    }

    /// Initializes and finalizes a vCPU if this has not been done.
    fn make_ready(&mut self, n: usize) -> Checked {
        if !self.family.vcpus[n].initialized {
            self.init(n)?;
        }
        if !self.is_finalized(n) {
            let owned = &mut self.family.vcpus[n];
            let outcome = self
                .caller
                .finalize(owned.who, &owned.vcpu, uapi::KVM_ARM_VCPU_SVE)?;
            owned.finalized = true;
            works(outcome, "finalize")?;
        }
        Ok(())
    }

    /// Writes to all registers, so that there is much to lose.
    fn fill(&mut self, n: usize) -> Checked {
        for id in self.family.registers(n).to_vec() {
            if !id.is_vls() && id != RegId::SVCR {
                let value = self.make_write(n, id);
                let _ = self.set_at(n, id, Place::At(AROUND), value)?;
            }
        }
        Ok(())
    }

    fn round_trip(&mut self) -> Checked {
        let count = self.family.vcpus.len();
        for n in 0..count {
            self.make_ready(n)?;
            self.fill(n)?;
            if self.family.may_run {
                self.load(n)?;
            }
        }
        let mut saved = Vec::new();
        for n in 0..count {
            let mut state = Vec::new();
            for id in works(self.family.vcpus[n].vcpu.list(), "a list")? {
                let value = works(
                    self.get_at(n, id, Place::At(AROUND))?,
                    "a read of what is listed",
                )?;
                state.push((id, value));
            }
            saved.push(state);
        }

        let to = works(
            Family::new(self.world.kvm, self.family.kind, count),
            "a new VM",
        )?;
        let from = std::mem::replace(&mut self.family, to);
        (0..count).try_for_each(|n| self.init(n))?;
        for (n, state) in saved.iter().enumerate() {
            self.write_state(n, state)?;
        }
        works(self.family.read_guest(), "a read of the ID registers")?;
        for (n, state) in saved.iter().enumerate() {
            let old = &from.vcpus[n];
            if self.family.vcpus[n].mode != old.mode {
                return Err(format!(
                    "restored to {:?}, was {:?}",
                    self.family.vcpus[n].mode, old.mode
                ));
            }
            for (id, was) in state {
                let is = works(
                    self.get_at(n, *id, Place::At(AROUND))?,
                    "a read of what was saved",
                )?;
                let now = || old.vcpu.get(*id).unwrap_or(*was);
                if !is_same(*id, was, &is, now) {
                    return Err(format!("{:#x} is {is} when restored, was {was}", id.raw()));
                }
            }
        }
        Ok(())
    }

    /// Writes what was saved of a vCPU in that order.
    fn write_state(&mut self, n: usize, state: &[(RegId, Value)]) -> Checked {
        let (lengths, rest): (Vec<_>, Vec<_>) = state.iter().partition(|(id, _)| id.is_vls());
        for (id, value) in lengths {
            works(
                self.set_at(n, id, Place::At(AROUND), value)?,
                "a write of vector lengths",
            )?;
        }
        self.make_ready(n)?;
        for (id, value) in rest {
            let outcome = self.set_at(n, id, Place::At(AROUND), value)?;
            must(Outcomes::OK, &outcome, || {
                format!("the restore of {:#x} to {value}", id.raw())
            })?;
        }
        Ok(())
    }

    /// Puts a new VM in place of a shared one.
    fn replace_shared(&mut self) -> Checked {
        let which = self.random.below(SHARED_VMS);
        let mut kind = self.choose_kind();
        if kind.aarch32 {
            kind = &self.world.kinds[0];
        }
        let (finalize, may_run) = (self.one_in(2), self.one_in(2));
        let new = Arc::new(works(
            Shared::new(self.world.kvm, kind, finalize, may_run),
            "a new VM",
        )?);
        // The old one goes when nobody has it in use, which takes its time.
        let old = self
            .world
            .with(which, |slot| std::mem::replace(slot, new))?;
        drop(old);
        Ok(())
    }

    fn shared_step(&mut self) -> Checked {
        let which = self.random.below(SHARED_VMS);
        let shared = self.world.with(which, |slot| Arc::clone(slot))?;
        let n = self.random.below(shared.vcpus.len());
        let vcpu = &shared.vcpus[n];
        let who = Who {
            shared: true,
            vcpu: 10 * which + n,
        };
        let place = Place::At(AROUND);
        let step = match self.choose_step() {
            Step::Load | Step::Run if !shared.may_run => Step::IdRegister,
            step => step,
        };
        match step {
            Step::List => self.shared_list(&shared, who, n),
            Step::Finalize => self
                .caller
                .finalize(who, vcpu, uapi::KVM_ARM_VCPU_SVE)
                .map(drop),
            Step::Init | Step::InitOtherwise => {
                let target = works(shared.vm.target(), "KVM_ARM_PREFERRED_TARGET")?;
                let features = [shared.kind.features, 0, 0, 0, 0, 0, 0];
                self.caller.init(who, vcpu, target, features).map(drop)
            }
            Step::Load => self.caller.load(who, vcpu).map(drop),
            Step::Run => self.caller.run(who, vcpu).map(drop),
            Step::Nowhere => self.caller.nowhere(who, vcpu, Call::List).map(drop),
            Step::Svcr => {
                let value = Value::from_u64(self.random.number() & 3, 8);
                self.shared_set(&shared, who, n, RegId::SVCR, place, value)
            }
            Step::Lengths => {
                let id = self.choose(&[RegId::SVE_VLS, RegId::SME_VLS]);
                let (sve, sme) = (shared.kind.sve_vqs, shared.kind.sme_vqs);
                let vqs = if id == RegId::SVE_VLS { sve } else { sme };
                let value = Value::from_u64(vqs & ((2 << self.random.below(16)) - 1), 64);
                self.shared_set(&shared, who, n, id, place, value)
            }
            Step::Get | Step::StrangeGet | Step::WriteBack => {
                let id = self.choose_shared(&shared, step == Step::StrangeGet);
                let place = self.choose_place(id.bytes());
                let read = self.shared_get(&shared, who, n, id, place)?;
                match read {
                    Ok(value) if step == Step::WriteBack => {
                        self.shared_set(&shared, who, n, id, Place::At(AROUND), value)
                    }
                    _ => Ok(()),
                }
            }
            Step::IdRegister => {
                let (id, shift) = self.choose(&ID_FIELDS);
                let value = self.make_field(vcpu.get(id).map_or(0, |now| now.low()), shift);
                self.shared_set(&shared, who, n, id, place, value)
            }
            Step::Set | Step::StrangeSet => {
                let id = self.choose_shared(&shared, step == Step::StrangeSet);
                if STEERING.contains(&id) {
                    return Ok(());
                }
                let place = self.choose_place(id.bytes());
                let mut value = self.make_value(id);
                if id.class() == uapi::KVM_REG_ARM_CORE || is_vector_class(id) {
                    value.bytes_mut().fill(Shared::tag(n));
                } else if let (Ok(now), true) = (vcpu.get(id), id.bytes() == 8) {
                    value = Value::from_u64(self.vary(now.low()), 8);
                }
                self.shared_set(&shared, who, n, id, place, value)
            }
        }
    }

    fn choose_shared(&mut self, shared: &Shared, strange: bool) -> RegId {
        let svl = shared.kind.mode().svl;
        let mode = Mode {
            sm: shared.kind.sme && self.one_in(2),
            za: shared.kind.sme && svl > 0,
            ..shared.kind.mode()
        };
        let registers = shared.kind.registers(mode, &Guest::default());
        let id = self.choose(&registers);
        if strange {
            self.mutate(id)
        } else {
            id
        }
    }

    /// What an access to a shared vCPU can give.
    fn expect_shared(id: RegId, fault: bool) -> Outcomes {
        let errors = match id.class() {
            uapi::KVM_REG_ARM_CORE => Outcomes::ENOENT.or(Outcomes::EINVAL),
            _ => ACCESS.without(Outcomes::EFAULT).without(Outcomes::ENOEXEC),
        };
        errors.or(if fault {
            Outcomes::EFAULT
        } else {
            Outcomes::OK
        })
    }

    fn shared_get(
        &mut self,
        shared: &Shared,
        who: Who,
        n: usize,
        id: RegId,
        place: Place,
    ) -> Checked<Result<Value>> {
        let read = self.caller.get(who, &shared.vcpus[n], id, place)?;
        let fault = ArgMemory::faults(place, id.bytes(), true);
        must(Self::expect_shared(id, fault), &read, || {
            format!("a read of {:#x}", id.raw())
        })?;

        // The guest writes X1.
        let tagged = is_x(id) && id != RegId::x(1) || is_v(id) || is_sized(id);
        if let (Ok(value), true) = (&read, tagged) {
            let tag = Shared::tag(n);
            if value.bytes().iter().any(|&byte| byte != 0 && byte != tag) {
                return Err(format!(
                    "{:#x} is {value}: only {tag:#x} has been written to it",
                    id.raw()
                ));
            }
        }
        Ok(read)
    }

    fn shared_set(
        &mut self,
        shared: &Shared,
        who: Who,
        n: usize,
        id: RegId,
        place: Place,
        value: Value,
    ) -> Checked {
        if place == Place::At(ArgMemory::READ_ONLY) {
            return Ok(());
        }
        let outcome = self.caller.set(who, &shared.vcpus[n], id, place, &value)?;
        // The kernel reads 8 bytes by an id that is not one, and of a vector no more than its
        // length.
        let whole = ArgMemory::faults(place, id.bytes(), false);
        let first = ArgMemory::faults(place, 8, false);
        let mut expected = Self::expect_shared(id, whole);
        if first {
            expected = expected.or(Outcomes::EFAULT);
        }
        if is_sized(id) && !ArgMemory::faults(place, 1, false) {
            expected = expected.or(Outcomes::OK);
        }
        must(expected, &outcome, || format!("a write to {:#x}", id.raw()))
    }

    fn shared_list(&mut self, shared: &Shared, who: Who, n: usize) -> Checked {
        let vcpu = &shared.vcpus[n];
        let room = self.choose(&[0, 100, 1 << 10, u64::MAX]);
        let (list, number) = self.caller.list(who, vcpu, Place::At(AROUND), room)?;
        match list {
            Ok(list) => {
                // The lengths are fixed by now.
                let vqs = |id, there: bool| {
                    if there {
                        vcpu.get(id).map(|v| v.low())
                    } else {
                        Ok(0)
                    }
                };
                let vl = works(vqs(RegId::SVE_VLS, shared.kind.sve), "a read of SVE_VLS")?;
                let svl = works(vqs(RegId::SME_VLS, shared.kind.sme), "a read of SME_VLS")?;
                let lengths = Mode {
                    vl: vectors::greatest(vl),
                    svl: vectors::greatest(svl),
                    ..shared.kind.mode()
                };
                shared.kind.check_any_list(&list, lengths)
            }
            Err(Errno::E2BIG) if number <= room => Err(format!(
                "there is no room for {number} registers where {room} fit"
            )),
            Err(_) => Ok(()),
        }
    }
}

/// Whether `KVM_REG_ARM64_*_VLS` takes a set of vector lengths: those of the host up to some
/// maximum.
fn is_set_of_lengths(value: &Value, all: u64) -> bool {
    let vqs = value.low();
    let up_to = u64::MAX.checked_shr(vqs.leading_zeros()).unwrap_or(0);
    vqs != 0 && value.extent() <= 8 && vqs == all & up_to
}

/// The ID registers, and what KVM treats like them.
fn is_id_register(id: RegId) -> bool {
    id.class() == uapi::KVM_REG_ARM64_SYSREG && id.number() >> 7 == 0xc000 >> 7
}

/// Whether a register is as it was saved. One that changes without a write has run on.
fn is_same(id: RegId, was: &Value, is: &Value, now: impl FnOnce() -> Value) -> bool {
    let ignored = NOT_READ_BACK.iter().find(|(exempt, _)| *exempt == id);
    let bits = ignored.map_or(0, |(_, bits)| *bits);
    if was == is || bits != 0 && (was.low() ^ is.low()) & !bits == 0 {
        return true;
    }
    let apart = is.low().wrapping_sub(was.low());
    now() != *was && apart.min(apart.wrapping_neg()) < RUN_ON
}

const USAGE: &str = "usage: reg_list_fuzz [--steps N] [--seed N|0xN] [--threads N] [--thread N]";

/// What the command line says.
#[derive(Clone, Copy)]
struct Options {
    steps: u64,
    seed: u64,
    threads: u64,
    /// This thread alone.
    only: Option<u64>,
}

impl Options {
    fn new(mut args: impl Iterator<Item = String>) -> Option<Self> {
        let mut options = Self {
            steps: 300_000,
            seed: 1,
            threads: 4,
            only: None,
        };
        while let Some(arg) = args.next() {
            let number = args.next().and_then(|text| match text.strip_prefix("0x") {
                Some(digits) => u64::from_str_radix(digits, 16).ok(),
                None => text.parse().ok(),
            });
            match arg.as_str() {
                "--steps" => options.steps = number?,
                "--seed" => options.seed = number?,
                "--threads" => options.threads = number?,
                "--thread" => options.only = Some(number?),
                _ => return None,
            }
        }
        let good = options.threads > 0 && options.only.is_none_or(|only| only < options.threads);
        good.then_some(options)
    }

    /// The steps of each thread.
    fn share(&self) -> u64 {
        self.steps.div_ceil(self.threads)
    }

    fn chosen(&self) -> Vec<u64> {
        self.only
            .map_or_else(|| (0..self.threads).collect(), |only| vec![only])
    }

    /// The same sequence for the same seed and thread.
    fn random(&self, thread: u64) -> Random {
        Random(Random(self.seed).number() ^ Random(!thread).number())
    }
}

/// What came of a thread.
struct Report {
    thread: u64,
    counts: Counts,
    outcome: Checked,
}

/// One thread, from its beginning to its end or to what is wrong.
fn fuzz(world: &World, options: &Options, thread: u64) -> Report {
    let mut fuzzer = match Thread::new(world, thread) {
        Ok(fuzzer) => fuzzer,
        Err(error) => {
            return Report {
                thread,
                counts: [[0; 64]; DOCUMENTED.len()],
                outcome: Err(format!("cannot start: {error}")),
            }
        }
    };
    let outcome = fuzzer.steps(options.random(thread), options.share());
    if let (Err(what), false) = (
        &outcome,
        world.failed.swap(outcome.is_err(), Ordering::Relaxed),
    ) {
        explain(&fuzzer, options, thread, what);
    }
    Report {
        thread,
        counts: fuzzer.caller.counts,
        outcome,
    }
}

/// Says what was wrong, after which calls, and how to see it again.
fn explain(fuzzer: &Thread, options: &Options, thread: u64, what: &str) {
    let (caller, kind) = (&fuzzer.caller, fuzzer.family.kind);
    println!("# {what}");
    println!(
        "# seed {:#x}, thread {thread}, step {}, own vCPUs: {}; the last calls:",
        options.seed, caller.step, kind.name
    );
    caller
        .recent
        .iter()
        .for_each(|entry| println!("#   {entry}"));
    println!(
        "# again: reg_list_fuzz --seed {:#x} --steps {} --threads {} --thread {thread}",
        options.seed, options.steps, options.threads
    );
}

/// All threads, with a line now and then.
fn fuzz_all(options: &Options) -> Checked<Vec<Report>> {
    let kvm = works(Kvm::open(), "/dev/kvm")?;
    let kinds = Kind::all(&kvm)?;
    let world = works(World::new(&kvm, &kinds, options.threads), "a new VM")?;
    let chosen = options.chosen();
    let total = options.share() * chosen.len() as u64;
    let start = Instant::now();

    let reports = thread::scope(|scope| {
        let spawn = |&thread: &u64| {
            scope.spawn({
                let world = &world;
                move || fuzz(world, options, thread)
            })
        };
        let threads: Vec<_> = chosen.iter().map(spawn).collect();
        let mut next = REPORT_EVERY;
        let mut before = Vec::new();
        while threads.iter().any(|thread| !thread.is_finished()) {
            thread::sleep(Duration::from_millis(50));
            if start.elapsed() > next {
                next += REPORT_EVERY;
                let done = world.done();
                println!("# {} of {total} steps", done.iter().sum::<u64>());
                if done == before {
                    println!("# nothing moves: the threads have made {done:?} steps");
                }
                before = done;
            }
        }
        threads
            .into_iter()
            .filter_map(|thread| thread.join().ok())
            .collect::<Vec<_>>()
    });
    if reports.len() < chosen.len() {
        return Err("a thread broke off".into());
    }
    let steps: u64 = world.done().iter().sum();
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "# {steps} steps in {seconds:.1} s, {:.0} a second",
        steps as f64 / seconds
    );
    Ok(reports)
}

/// What came of the threads. All of them run at once, when the first case asks.
fn reports(options: Options) -> Outcome<&'static [Report]> {
    static REPORTS: OnceLock<Checked<Vec<Report>>> = OnceLock::new();
    let reports = REPORTS.get_or_init(|| fuzz_all(&options));
    reports.as_deref().map_err(|what| fail(what.as_str()))
}

/// How often each call gave what, added up.
fn sum(reports: &[Report]) -> Counts {
    let mut total = [[0; 64]; DOCUMENTED.len()];
    for report in reports {
        for (all, one) in total
            .iter_mut()
            .flatten()
            .zip(report.counts.iter().flatten())
        {
            *all += one;
        }
    }
    total
}

/// Prints how often each call gave each outcome that is documented. Most have to succeed, or the
/// checks see little.
fn summary(counts: &Counts) -> Outcome {
    for (op, name, documented) in DOCUMENTED {
        let outcomes = (0..64).filter_map(|number| {
            let outcome = if number == 0 {
                Ok(())
            } else {
                Err(Errno(number))
            };
            let text = || {
                format!(
                    "{} {}",
                    show(&outcome),
                    counts[op as usize][number as usize]
                )
            };
            documented.contain(&outcome).then(text)
        });
        println!("# {name}: {}", outcomes.collect::<Vec<_>>().join(", "));
    }
    let all: u64 = counts.iter().flatten().sum();
    let good: u64 = counts.iter().map(|by_error| by_error[0]).sum();
    println!("# {good} of {all} calls succeeded");
    if 2 * good < all {
        return Err(fail("most calls fail"));
    }
    Ok(())
}

fn main() -> ExitCode {
    let Some(options) = Options::new(env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let kvm = match Kvm::open() {
        Ok(kvm) => kvm,
        Err(error) => return skip_all(&format!("/dev/kvm: {error}")),
    };
    if kvm.capability(uapi::KVM_CAP_ARM_REG_LIST_ORDER) != Ok(1) {
        return skip_all("the kernel promises no order of the list");
    }

    let of_thread = |&thread: &u64| {
        Case::new(format!("thread {thread}"), move || {
            let mut reports = reports(options)?.iter();
            let report = reports.find(|report| report.thread == thread);
            report.map_or(Ok(()), |report| report.outcome.clone().map_err(fail))
        })
    };
    let mut cases: Vec<_> = options.chosen().iter().map(of_thread).collect();
    cases.push(Case::new("most calls succeed", move || {
        summary(&sum(reports(options)?))
    }));
    ktap::run(cases)
}
