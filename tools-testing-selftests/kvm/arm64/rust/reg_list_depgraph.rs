// SPDX-License-Identifier: GPL-2.0-only

//! Finds out by experiment which registers of a vCPU depend on one another when they are written
//! back, and whether the order of `KVM_GET_REG_LIST` respects it.
//!
//! Two experiments, on vCPUs of many kinds:
//!
//! - *All pairs.* A fresh vCPU is put in a known state. One register gets another value. What reads
//!   differently now, or is there or not there, has been disturbed. Then every other register is
//!   written, with several values: what is refused, accepted or read back otherwise than on a vCPU
//!   without that one write depends on it as well. Each finding is an edge `first -> then`: when
//!   `first` is written after `then`, or with another value, `then` is not what was written.
//! - *Round trips.* A vCPU in a random state is saved, and restored into a new VM as the contract
//!   of `KVM_CAP_ARM_REG_LIST_ORDER` says. Calls that fail and registers that do not read back are
//!   losses, also after both vCPUs have been made ready to run.
//!
//! An edge against the order of the list need not lose anything: often a saved value has already
//! what the edge would do to it. So each comes with round trips from the state that showed it, and
//! is accepted only if they lose nothing and `HARMLESS` in `graph.rs` has the reason.

mod graph;
mod kvm;
mod names;
mod random;

use graph::{Effect, Graph};
use kvm::{uapi, Errno, Kvm, RegId, Result, Value, Vcpu, Vm};
use names::{family, name};
use random::Random;
use std::{
    collections::{BTreeMap, BTreeSet},
    env, fmt, fs,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

/// A kind of vCPU.
struct Kind {
    name: &'static str,
    /// The bits for `KVM_ARM_VCPU_INIT`.
    features: &'static [u32],
    /// A strict PMU: whether user space gives it the host's PMU.
    set_pmu: bool,
    svcr: u64,
    /// A mode other than that after reset.
    pstate: Option<u64>,
    /// Part of the subset for `--quick`.
    quick: bool,
}

impl Kind {
    /// A VM with EL2 takes a quarter of a second to tear down, emulated.
    fn is_slow(&self) -> bool {
        self.features.contains(&EL2)
    }

    /// A vCPU with a PMU does not run before it has one.
    fn can_run(&self) -> bool {
        !self.features.contains(&STRICT) || self.set_pmu
    }
}

const KIND: Kind = Kind {
    name: "",
    features: &[],
    set_pmu: false,
    svcr: 0,
    pstate: None,
    quick: false,
};

const PMU: u32 = uapi::KVM_ARM_VCPU_PMU_V3;
const PMU_CTRL: u32 = uapi::KVM_ARM_VCPU_PMU_V3_CTRL;
/// The private interrupt that is usual for a PMU.
const PMU_IRQ: u64 = 23;
const STRICT: u32 = uapi::KVM_ARM_VCPU_PMU_V3_STRICT;
const SVE: u32 = uapi::KVM_ARM_VCPU_SVE;
const SME: u32 = uapi::KVM_ARM_VCPU_SME;
const PSCI: u32 = uapi::KVM_ARM_VCPU_PSCI_0_2;
const EL2: u32 = uapi::KVM_ARM_VCPU_HAS_EL2;
const E2H0: u32 = uapi::KVM_ARM_VCPU_HAS_EL2_E2H0;
const AARCH32: u32 = uapi::KVM_ARM_VCPU_EL1_32BIT;
const PTRAUTH: [u32; 2] = [
    uapi::KVM_ARM_VCPU_PTRAUTH_ADDRESS,
    uapi::KVM_ARM_VCPU_PTRAUTH_GENERIC,
];

const EVERYTHING: [u32; 5] = [PSCI, PMU, SVE, PTRAUTH[0], PTRAUTH[1]];
const EL2_AND_MORE: [u32; 5] = [EL2, PMU, SVE, PTRAUTH[0], PTRAUTH[1]];

const MODE_EL1H: u64 = 0x3c5;
const MODE_AA32_USR: u64 = 0x10;
const MODE_AA32_SVC: u64 = 0x1d3;

#[rustfmt::skip]
const KINDS: &[Kind] = &[
    Kind { name: "plain", quick: true, ..KIND },
    Kind { name: "everything", features: &EVERYTHING, quick: true, ..KIND },
    Kind { name: "32-bit EL0", features: &[PMU], pstate: Some(MODE_AA32_USR), quick: true, ..KIND },
    Kind { name: "32-bit EL1", features: &[AARCH32, PMU], pstate: Some(MODE_AA32_SVC), ..KIND },
    Kind { name: "PMU", features: &[PMU], ..KIND },
    Kind { name: "strict PMU, none set", features: &[PMU, STRICT], ..KIND },
    Kind { name: "strict PMU", features: &[PMU, STRICT], set_pmu: true, ..KIND },
    Kind { name: "SVE", features: &[SVE], ..KIND },
    Kind { name: "SME", features: &[SME], ..KIND },
    Kind { name: "SME, SM", features: &[SME], svcr: 1, ..KIND },
    Kind { name: "SME, ZA", features: &[SME], svcr: 2, ..KIND },
    Kind { name: "SME, SM ZA", features: &[SME], svcr: 3, ..KIND },
    Kind { name: "SVE+SME", features: &[SVE, SME, PMU], ..KIND },
    Kind { name: "SVE+SME, SM", features: &[SVE, SME, PMU], svcr: 1, ..KIND },
    Kind { name: "SVE+SME, ZA", features: &[SVE, SME, PMU], svcr: 2, ..KIND },
    Kind { name: "SVE+SME, SM ZA", features: &[SVE, SME, PMU], svcr: 3, quick: true, ..KIND },
    Kind { name: "EL2", features: &[EL2], ..KIND },
    Kind { name: "EL2, PMU", features: &EL2_AND_MORE, quick: true, ..KIND },
    Kind { name: "EL2, PMU, at EL1", features: &[EL2, PMU], pstate: Some(MODE_EL1H), ..KIND },
    Kind { name: "EL2 without E2H", features: &[EL2, E2H0, PMU], ..KIND },
];

/// Bits that need not read back as they were saved.
const NOT_READ_BACK: &[(&str, u64, &str)] = &[
    ("CNTP_CTL_EL0", 1 << 2, "ISTATUS follows from the counter"),
    ("CNTV_CTL_EL0", 1 << 2, "ISTATUS follows from the counter"),
    ("CNTHP_CTL_EL2", 1 << 2, "ISTATUS follows from the counter"),
    ("CNTHV_CTL_EL2", 1 << 2, "ISTATUS follows from the counter"),
];

/// How far a counter can run on while this program looks elsewhere: a minute at 1 GHz.
const RUN_ON: u64 = 1 << 36;

/// The greatest vector lengths of the vCPUs of the first experiment, in units of 16 bytes: short
/// ones, so that there are few rows of ZA, and not the same.
const SHORT_VQS: [(RegId, u32); 2] = [(RegId::SVE_VLS, 4), (RegId::SME_VLS, 2)];

/// The address space of the guests is the smallest there is.
const IPA_BITS: u8 = 32;

/// The exit status of a kselftest that cannot run here.
const SKIPPED: u8 = 4;

/// Where the guest has its GIC, its code, and nothing.
const DISTRIBUTOR: u64 = 0x0800_0000;
const REDISTRIBUTORS: u64 = 0x080a_0000;
const CODE: u64 = 0x8000_0000;
const NOWHERE: u64 = 0x1000_0000;

/// A guest that changes a few registers and turns its virtual timer on. X1 is [`NOWHERE`].
const GUEST: &[u32] = &[
    0xd2824680, // mov x0, #0x1234
    0xd518d080, // msr tpidr_el1, x0
    0xd51bd040, // msr tpidr_el0, x0
    0xd2800022, // mov x2, #1
    0xd51be35f, // msr cntv_cval_el0, xzr
    0xd51be322, // msr cntv_ctl_el0, x2
    0xd5033fdf, // isb
    0xb9000020, // str w0, [x1]
    0x14000000, // b .
];

/// What is saved of a vCPU: its registers in the order of the list.
type State = Vec<(RegId, Value)>;

/// A VM with vCPUs of one kind.
struct Machine {
    vcpus: Vec<Vcpu>,
    vm: Vm,
}

impl Machine {
    /// As a VMM sets it up before it restores registers: all that is not a register.
    fn new(kvm: &Kvm, kind: &Kind, vcpus: u32) -> Result<Self> {
        let mut vm = kvm.create_vm(IPA_BITS)?;
        let vcpus = (0..vcpus)
            .map(|n| vm.create_vcpu(n))
            .collect::<Result<Vec<_>>>()?;

        for vcpu in &vcpus {
            vcpu.init(&vm, kind.features)?;
            if kind.set_pmu {
                vcpu.set_attr(
                    PMU_CTRL,
                    uapi::KVM_ARM_VCPU_PMU_V3_SET_PMU,
                    Some(host_pmu()?),
                )?;
            }
        }
        // An EL2 vCPU does not run without one.
        let gic = kind.features.contains(&EL2);
        if gic {
            vm.create_gic(DISTRIBUTOR, REDISTRIBUTORS)?;
        }
        let pmu = kind.features.contains(&PMU) && kind.can_run();
        for vcpu in vcpus.iter().filter(|_| pmu) {
            if gic {
                vcpu.set_attr(PMU_CTRL, uapi::KVM_ARM_VCPU_PMU_V3_IRQ, Some(PMU_IRQ))?;
            }
            vcpu.set_attr(PMU_CTRL, uapi::KVM_ARM_VCPU_PMU_V3_INIT, None)?;
        }
        Ok(Self { vcpus, vm })
    }
}

/// The number of the host's PMU among the sources of events.
fn host_pmu() -> Result<u64> {
    for device in fs::read_dir("/sys/bus/event_source/devices")? {
        let path = device?.path();
        if path.to_string_lossy().contains("armv8_pmuv3") {
            let text = fs::read_to_string(path.join("type"))?;
            return text.trim().parse().map_err(|_| Errno::ENOENT);
        }
    }
    Err(Errno::ENOENT)
}

fn save(vcpu: &Vcpu) -> Result<State> {
    vcpu.list()?
        .into_iter()
        .map(|id| Ok((id, vcpu.get(id)?)))
        .collect()
}

/// Writes a state back in its order, as the contract says: the vector lengths, finalize, the rest.
/// Returns the calls that failed.
fn restore(vcpu: &Vcpu, state: &[(RegId, Value)]) -> Vec<(RegId, Errno)> {
    let (vls, rest): (Vec<_>, Vec<_>) = state.iter().partition(|(id, _)| id.is_vls());
    let write =
        |(id, value): &&(RegId, Value)| vcpu.set(*id, value).err().map(|error| (*id, error));

    let mut errors: Vec<_> = vls.iter().filter_map(write).collect();
    if let (Some((id, _)), Err(error)) = (vls.first(), finalize(vcpu, &vls)) {
        errors.push((*id, error));
    }
    errors.extend(rest.iter().filter_map(write));
    errors
}

fn finalize(vcpu: &Vcpu, vls: &[&(RegId, Value)]) -> Result {
    if vls.is_empty() {
        return Ok(());
    }
    vcpu.finalize()
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

/// The registers on which others depend, besides the vector lengths.
const LEADERS: [RegId; 3] = [RegId::SVCR, RegId::ID_AA64PFR1_EL1, RegId::CNTVCT_EL0];

/// An order in which all known dependencies are met.
fn right_order(state: &State) -> State {
    let mut ordered = state.clone();
    ordered.sort_by_key(|(id, _)| {
        if id.is_vls() {
            0
        } else {
            LEADERS
                .iter()
                .position(|leader| leader == id)
                .unwrap_or(LEADERS.len())
                + 1
        }
    });
    ordered
}

/// What a restore in the order of a list lost.
#[derive(Clone)]
enum Loss {
    Error(Errno),
    Value(Box<(Value, Result<Value>)>),
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(error) => write!(f, "the write fails with {error}"),
            Self::Value(values) => match &**values {
                (was, Ok(is)) => write!(f, "was {was}, is {is}"),
                (was, Err(error)) => write!(f, "was {was}, cannot be read: {error}"),
            },
        }
    }
}

/// The order in which a state is restored.
#[derive(Clone, Copy)]
enum Order {
    /// That of `KVM_GET_REG_LIST`.
    Kernel,
    /// The same with SVCR where it was before: it shows that the experiment finds what it loses.
    Old,
    /// [`right_order`].
    Right,
}

/// The experiment, with what it has found.
struct Experiment {
    kvm: Kvm,
    /// A vCPU of the present kind that has never run.
    spare: Option<Machine>,
    random: Random,
    quick: bool,
    order: Order,
    graph: Graph,
}

/// Registers that change without a write.
type Running = BTreeSet<RegId>;

/// The values that are tried on a register.
type Candidates = BTreeMap<RegId, Vec<Value>>;

/// What became of each write of a probe: what reads back, or the error.
type Outcomes = Vec<(RegId, Value, Result<Value>)>;

/// What one write has done to others, each with an example.
type Found = BTreeMap<RegId, (BTreeSet<Effect>, String)>;

fn show(outcome: &Result<Value>) -> String {
    match outcome {
        Ok(value) => value.to_string(),
        Err(error) => error.to_string(),
    }
}

impl Experiment {
    /// A state as it is saved; the order is the kernel's, or the old one.
    fn save(&self, vcpu: &Vcpu) -> Result<State> {
        let mut state = save(vcpu)?;
        match self.order {
            Order::Kernel => {}
            Order::Old => old_order(&mut state),
            Order::Right => state = right_order(&state),
        }
        Ok(state)
    }

    /// A vCPU in a given state: the spare one if it can be brought there, else a new one, which
    /// takes much longer.
    fn fresh(&mut self, kind: &Kind, state: &State, running: &Running) -> Result<Machine> {
        // In an order that is right, whatever the one under test.
        let ordered = right_order(state);
        if let Some(machine) = self.spare.take() {
            let vcpu = &machine.vcpus[0];
            vcpu.init(&machine.vm, kind.features)?;
            restore(vcpu, &ordered);
            let mut lost = BTreeMap::new();
            compare(vcpu, state, running, &mut lost);
            if lost.is_empty() {
                return Ok(machine);
            }
        }
        let machine = Machine::new(&self.kvm, kind, 1)?;
        restore(&machine.vcpus[0], &ordered);
        Ok(machine)
    }

    /// Vector lengths up to a random one, or short ones.
    fn set_lengths(&mut self, vcpu: &Vcpu, any: bool) -> Result {
        let mut found = false;

        for (id, short_vqs) in SHORT_VQS {
            let Ok(all) = vcpu.get(id) else { continue };
            let sets = prefixes(&all);
            let is_short = |set: &Value| set.low() < 1 << short_vqs;
            let short = sets.iter().rposition(is_short).unwrap_or(0);
            let which = if any {
                self.random.below(sets.len())
            } else {
                short
            };
            vcpu.set(id, &sets[which])?;
            found = true;
        }
        if found {
            vcpu.finalize()?;
        }
        Ok(())
    }

    /// Gives each register a random value that it takes. `lower`: also those that are choosy, such
    /// as the ID registers, which can promise less.
    fn fill(&mut self, vcpu: &Vcpu, kind: &Kind, lower: bool) -> Result {
        if kind.svcr != 0 {
            vcpu.set(RegId::SVCR, &Value::from_u64(kind.svcr, 8))?;
        }
        for id in vcpu.list()? {
            if id.is_vls() || id == RegId::SVCR || id == RegId::PSTATE {
                continue;
            }
            // An earlier write can have hidden it.
            let Ok(now) = vcpu.get(id) else { continue };
            let value = self.random.value(id.bytes());
            if vcpu.set(id, &value).is_ok() || !lower {
                continue;
            }
            let mut choices = variations(&now);
            self.random.keep(&mut choices, 6);
            choices.iter().find(|value| vcpu.set(id, value).is_ok());
        }
        if let Some(pstate) = kind.pstate {
            vcpu.set(RegId::PSTATE, &Value::from_u64(pstate, 8))?;
        }
        Ok(())
    }

    /// The values to try on each register: some that it takes and some that it refuses.
    fn candidates(&mut self, vcpu: &Vcpu, base: &State, few: bool) -> Candidates {
        let mut all = Candidates::new();
        let (limit, plain_limit) = if few { (3, 1) } else { (8, 4) };

        for (id, now) in base {
            if id.is_vls() {
                all.insert(*id, prefixes(now));
                continue;
            }
            let len = id.bytes();
            let mut ones = Value::zero(len);
            ones.bytes_mut().fill(0xff);
            let plain = [
                self.random.value(len),
                ones,
                Value::zero(len),
                self.random.value(len),
            ];
            let takes = |value: &Value| vcpu.set(*id, value).is_ok();

            let values = if plain.iter().all(takes) {
                plain[..plain_limit].to_vec()
            } else {
                let (mut good, mut bad): (Vec<_>, Vec<_>) =
                    variations(now).into_iter().partition(takes);
                self.random.keep(&mut good, limit);
                self.random.keep(&mut bad, limit);
                good.append(&mut bad);
                good
            };
            all.insert(*id, values);
            let _ = vcpu.set(*id, now);
        }
        all
    }

    /// All pairs on one kind of vCPU.
    fn pairs(&mut self, kind: &'static Kind) -> Result {
        let source = Machine::new(&self.kvm, kind, 1)?;
        let vcpu = &source.vcpus[0];
        self.set_lengths(vcpu, false)?;
        self.fill(vcpu, kind, false)?;
        let base = self.save(vcpu)?;
        let running = running(vcpu, &base);
        self.graph.registers.extend(base.iter().map(|&(id, _)| id));

        self.spare = None;
        let machine = self.fresh(kind, &base, &running)?;
        let few = self.quick || kind.is_slow();
        let candidates = self.candidates(&machine.vcpus[0], &base, few);
        let machine = self.fresh(kind, &base, &running)?;
        let control = probe(&machine.vcpus[0], &base, &candidates, None);

        // Of 32 registers like Z0..Z31 two tell enough when there is little time.
        let mut of_family = BTreeMap::new();
        for (first, _) in &base {
            let count: &mut u32 = of_family.entry(family(*first)).or_default();
            *count += 1;
            if few && *count > 2 {
                continue;
            }
            for value in &candidates[first] {
                self.one_write(
                    kind,
                    &base,
                    &candidates,
                    &running,
                    &control,
                    (*first, *value),
                )?;
            }
        }
        Ok(())
    }

    /// What one write does to all others.
    fn one_write(
        &mut self,
        kind: &'static Kind,
        base: &State,
        candidates: &Candidates,
        running: &Running,
        control: &Outcomes,
        (first, value): (RegId, Value),
    ) -> Result {
        let mut state = base.clone();
        if first.is_vls() {
            // It has to be there from the beginning.
            state
                .iter_mut()
                .filter(|(id, _)| *id == first)
                .for_each(|(_, v)| *v = value);
        }
        let machine = self.fresh(kind, &state, running)?;
        let vcpu = &machine.vcpus[0];
        if !first.is_vls() && vcpu.set(first, &value).is_err() {
            self.spare = Some(machine);
            return Ok(());
        }

        let mut found = Found::new();
        let mut note = |id, effect, what: &dyn Fn() -> String| {
            let (effects, example) = found.entry(id).or_default();
            effects.insert(effect);
            if example.is_empty() {
                *example = what();
            }
        };
        let after = self.save(vcpu)?;
        let before: BTreeMap<_, _> = base.iter().copied().collect();
        let now: BTreeMap<_, _> = after.iter().copied().collect();
        for (&id, was) in &before {
            match now.get(&id) {
                None => note(id, Effect::Presence, &|| "is gone".into()),
                Some(is) if !same(id, was, is, running) => {
                    note(id, Effect::Value, &|| format!("was {was}, is {is}"));
                }
                _ => {}
            }
        }
        for &id in now.keys().filter(|id| !before.contains_key(id)) {
            note(id, Effect::Presence, &|| "is there".into());
        }

        let outcomes = probe(vcpu, base, candidates, Some(first));
        for ((id, wrote, is), (_, _, was)) in outcomes.iter().zip(control) {
            let effect = match (was, is) {
                (Ok(a), Ok(b)) if a.bytes().len() > 16 && a.extent() != b.extent() => Effect::Size,
                (Ok(a), Ok(b)) if !same(*id, a, b, running) => Effect::Value,
                (Err(a), Err(b)) if a != b => Effect::Error,
                (Ok(_), Err(_)) | (Err(_), Ok(_)) => Effect::Error,
                _ => continue,
            };
            note(*id, effect, &|| {
                format!("a write of {wrote} gave {}, now {}", show(was), show(is))
            });
        }
        found.remove(&first);

        let is_against = |then| {
            // A register that came or went has its place in one of the lists alone.
            let list = if now.contains_key(&then) {
                &after
            } else {
                base
            };
            let place = |id| list.iter().position(|&(other, _)| other == id);
            place(first) > place(then)
        };
        // The vCPU has what `first` now has, and all else written after it. Is this state restored?
        if found.keys().any(|&then| is_against(then)) {
            self.round_trip(kind, &machine, running)?;
        } else {
            self.spare = Some(machine);
        }
        for (then, (effects, what)) in found {
            let edge = self.graph.edges.entry((first, then)).or_default();
            edge.effects.extend(effects);
            edge.kinds.insert(kind.name);
            if edge.example.is_empty() {
                edge.example = format!("{} = {value}: {} {what}", name(first), name(then));
            }
            if is_against(then) {
                edge.against_order.insert(kind.name);
            }
        }
        Ok(())
    }

    /// Restores the vCPUs of a VM into a new one, and notes what is lost.
    fn round_trip(&mut self, kind: &'static Kind, from: &Machine, running: &Running) -> Result {
        let states = from
            .vcpus
            .iter()
            .map(|vcpu| self.save(vcpu))
            .collect::<Result<Vec<_>>>()?;
        let to = Machine::new(&self.kvm, kind, states.len() as u32)?;
        let mut lost = BTreeMap::new();
        self.graph.round_trips += 1;

        for (vcpu, state) in to.vcpus.iter().zip(&states) {
            let errors = restore(vcpu, state).into_iter();
            lost.extend(errors.map(|(id, error)| (id, Loss::Error(error))));
        }
        for (vcpu, state) in to.vcpus.iter().zip(&states) {
            compare(vcpu, state, running, &mut lost);
        }
        // What KVM does to the registers of a vCPU before it first runs must not tell them apart.
        if kind.can_run() {
            from.vcpus
                .iter()
                .chain(&to.vcpus)
                .try_for_each(Vcpu::load)?;
            for (source, vcpu) in from.vcpus.iter().zip(&to.vcpus) {
                compare(vcpu, &self.save(source)?, running, &mut lost);
            }
        }

        for (id, loss) in lost {
            self.graph.add_loss(id, kind.name, loss);
        }
        Ok(())
    }

    /// Round trips from random states of one kind of vCPU.
    fn random_trips(&mut self, kind: &'static Kind, count: u32) -> Result {
        for n in 0..count {
            let mut machine = Machine::new(&self.kvm, kind, 1 + n % 2)?;
            for vcpu in &machine.vcpus {
                self.set_lengths(vcpu, n > 1)?;
            }
            if n % 4 == 3 && kind.pstate.is_none() && kind.can_run() {
                machine.vm.add_code(CODE, GUEST)?;
                run_guest(&machine.vcpus[0])?;
            }
            for vcpu in &machine.vcpus {
                self.fill(vcpu, kind, true)?;
            }

            let vcpu = &machine.vcpus[0];
            let running = running(vcpu, &save(vcpu)?);
            if n % 4 == 1 && kind.can_run() {
                machine.vcpus.iter().try_for_each(Vcpu::load)?;
            }
            self.round_trip(kind, &machine, &running)?;
        }
        Ok(())
    }
}

/// Runs [`GUEST`] up to its end.
fn run_guest(vcpu: &Vcpu) -> Result {
    vcpu.set(RegId::PC, &Value::from_u64(CODE, 8))?;
    vcpu.set(RegId::x(1), &Value::from_u64(NOWHERE, 8))?;
    // Its timer can interrupt it before it is there.
    for _ in 0..100 {
        match vcpu.run() {
            // The store is complete only when the vCPU is entered again.
            Ok(uapi::KVM_EXIT_MMIO) => return vcpu.load(),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Errno::EINTR)
}

/// The sets of vector lengths that leave out the greatest ones.
fn prefixes(all: &Value) -> Vec<Value> {
    let vqs = all.low();
    (0..64)
        .filter(|bit| vqs & 1 << bit != 0)
        .map(|bit| Value::from_u64(vqs & ((2 << bit) - 1), all.bytes().len()))
        .collect()
}

/// Values near one that a choosy register has: other low bits, and other values of each field.
fn variations(now: &Value) -> Vec<Value> {
    let number = now.low();
    let len = now.bytes().len();
    let bits = 8 * len.min(8) as u32;
    let low = (0..32).map(|low| number & !31 | low);
    let fields = (4..bits).step_by(4).flat_map(|shift| {
        let field = number >> shift & 15;
        let others = [field.wrapping_sub(1) & 15, 0, (field + 1) & 15];
        others.map(|other| number & !(15 << shift) | other << shift)
    });
    let values: BTreeSet<_> = low.chain(fields).filter(|&other| other != number).collect();
    values
        .into_iter()
        .map(|value| Value::from_u64(value, len))
        .collect()
}

/// The registers that change while nobody writes them.
fn running(vcpu: &Vcpu, state: &State) -> Running {
    thread::sleep(Duration::from_millis(2));
    state
        .iter()
        .filter(|(id, was)| vcpu.get(*id).is_ok_and(|is| is != *was))
        .map(|&(id, _)| id)
        .collect()
}

/// Whether two values of a register are the same, but for time that went by.
fn same(id: RegId, a: &Value, b: &Value, running: &Running) -> bool {
    let apart = b.low().wrapping_sub(a.low());
    a == b || running.contains(&id) && apart.min(apart.wrapping_neg()) < RUN_ON
}

/// Writes every register but one, in the order of the base: the candidates, then its base value.
fn probe(vcpu: &Vcpu, base: &State, candidates: &Candidates, but: Option<RegId>) -> Outcomes {
    let mut outcomes = Vec::new();

    for (id, value) in base {
        if id.is_vls() {
            continue;
        }
        for value in candidates[id].iter().chain([value]) {
            // A placeholder keeps the outcomes of all probes alike.
            let outcome = if but == Some(*id) {
                Ok(*value)
            } else {
                vcpu.set(*id, value).and_then(|()| vcpu.get(*id))
            };
            outcomes.push((*id, *value, outcome));
        }
    }
    outcomes
}

/// Adds to `lost` what a vCPU does not have as it was saved.
fn compare(vcpu: &Vcpu, state: &State, running: &Running, lost: &mut BTreeMap<RegId, Loss>) {
    for (id, was) in state {
        let is = vcpu.get(*id);
        let good = is.is_ok_and(|is| {
            let ignored = NOT_READ_BACK
                .iter()
                .find(|(exempt, ..)| *exempt == name(*id));
            match ignored {
                Some((_, bits, _)) => (is.low() ^ was.low()) & !bits == 0,
                None => same(*id, was, &is, running),
            }
        });
        if !good {
            lost.entry(*id).or_insert(Loss::Value(Box::new((*was, is))));
        }
    }
}

const USAGE: &str = "usage: reg_list_depgraph [--seed N] [--quick] [--old-order | --right-order] \
    [--only START OF A KIND'S NAME] [--part N OF]";

/// What the command line says.
struct Options {
    seed: u64,
    quick: bool,
    order: Order,
    /// Only kinds with names that begin like this.
    only: String,
    /// Of those, each `part.1`th, from `part.0` on.
    part: (usize, usize),
}

impl Options {
    fn new(mut args: impl Iterator<Item = String>) -> Option<Self> {
        let mut options = Self {
            seed: 1,
            quick: false,
            order: Order::Kernel,
            only: String::new(),
            part: (0, 1),
        };
        while let Some(arg) = args.next() {
            let mut number = || args.next().and_then(|n| n.parse().ok());
            match arg.as_str() {
                "--quick" => options.quick = true,
                "--old-order" => options.order = Order::Old,
                "--right-order" => options.order = Order::Right,
                "--seed" => options.seed = number()? as u64,
                "--part" => options.part = (number()?, number()?),
                "--only" => options.only = args.next()?,
                _ => return None,
            }
        }
        Some(options).filter(|options| options.part.0 < options.part.1)
    }

    fn kinds(&self) -> impl Iterator<Item = &'static Kind> + '_ {
        let chosen =
            |kind: &&Kind| kind.name.starts_with(&self.only) && (kind.quick || !self.quick);
        KINDS
            .iter()
            .filter(chosen)
            .skip(self.part.0)
            .step_by(self.part.1)
    }
}

fn main() -> ExitCode {
    let Some(options) = Options::new(env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let kvm = match Kvm::open() {
        Ok(kvm) => kvm,
        Err(error) => {
            eprintln!("/dev/kvm: {error}");
            return ExitCode::from(SKIPPED);
        }
    };
    if kvm.capability(uapi::KVM_CAP_ARM_REG_LIST_ORDER) != Ok(1) {
        eprintln!("the kernel promises no order of the list (KVM_CAP_ARM_REG_LIST_ORDER)");
        return ExitCode::from(SKIPPED);
    }

    let mut experiment = Experiment {
        kvm,
        spare: None,
        random: Random(0),
        quick: options.quick,
        order: options.order,
        graph: Graph::default(),
    };
    for kind in options.kinds() {
        let start = Instant::now();
        if let Err(error) = Machine::new(&experiment.kvm, kind, 1) {
            experiment.graph.skipped.push(format!(
                "{}: no such vCPU on this host ({error})",
                kind.name
            ));
            continue;
        }
        // A kind has numbers of its own, whichever others there are.
        let of_kind = kind
            .name
            .bytes()
            .fold(0u64, |n, b| n.wrapping_mul(131) + u64::from(b));
        experiment.random = Random(options.seed ^ of_kind);
        let trips = if options.quick { 8 } else { 48 };
        let done = experiment
            .random_trips(kind, trips)
            .and_then(|()| experiment.pairs(kind));
        if let Err(error) = done {
            println!("{}: broke off: {error}", kind.name);
            return ExitCode::FAILURE;
        }
        println!("{}: {:.1} s", kind.name, start.elapsed().as_secs_f32());
    }

    if experiment.graph.report(options.seed) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
