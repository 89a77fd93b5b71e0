// SPDX-License-Identifier: GPL-2.0-only

//! A vCPU that is saved, and restored in the order of `KVM_GET_REG_LIST`, is the same vCPU: by its
//! registers, and by what its guest computes from then on. So is one that others run beside.

mod compute;
mod guest;
mod host;
mod ktap;
mod kvm;
mod names;
mod random;
mod state;
mod vcpus;
mod vectors;

use compute::{computing_guest, exception_vectors, Image};
use host::Host;
use ktap::{fail, Case, Complaints, Outcome};
use kvm::{uapi, Errno, Kvm, RegId, Value, Vcpu};
use names::name;
use random::Random;
use state::{fill_others, fill_vectors, lost, restore, save, State};
use std::{process::ExitCode, sync::Arc, thread};
use vcpus::{Features, Length, Machine, Shape};
use vectors::{is_vector_class, Mode, FPMR, SM, ZA};

const SEED: u64 = 20210;

const VBAR_EL1: RegId = RegId::sys(3, 0, 12, 0, 0);

/// Where a guest has its code, its vector table, what it shares with this program (a part for each
/// vCPU), and nothing.
const CODE: u64 = 0x8000_0000;
const VECTORS: u64 = 0x8010_0000;
const SHARED: u64 = 0x8100_0000;
const NOWHERE: u64 = 0x1000_0000;

/// How many steps a guest does.
const STEPS: u32 = 6;

/// Vectors of which there are at least as many in each vCPU: V0 to V31.
const LEAST_VECTORS: usize = 32;

/// What a restored vCPU does not have as it was saved.
fn check_restored(complaints: &mut Complaints, vcpu: &Vcpu, state: &State, what: &str) {
    for (id, was, is) in lost(vcpu, state) {
        complaints.check(false, || match is {
            Ok(is) => format!("{what}: {} is {is}, was {was}", name(id)),
            Err(error) => format!("{what}: {} cannot be read: {error}", name(id)),
        });
    }
}

/// Registers alone, with values that no program would have.
fn round_trip(kvm: &Kvm, shape: &Shape, host: Host) -> Outcome {
    let mut complaints = Complaints::default();
    for seed in SEED..SEED + 4 {
        let from = shape.machine(kvm, 1)?;
        let vcpu = &from.vcpus[0];
        let random = &mut Random(seed);
        // ID registers first: they decide which vectors there are.
        let others = fill_others(vcpu, shape.mode(vcpu)?, random)?;
        let vectors = fill_vectors(vcpu, shape.mode(vcpu)?, random)?;
        complaints.check(others > 30 && vectors.len() > LEAST_VECTORS, || {
            format!(
                "only {others} registers and {} vectors were filled",
                vectors.len()
            )
        });

        let state = save(vcpu)?;
        let to = shape.bare(kvm, 1)?;
        let (errors, kept) = host.around(seed, || restore(&to.vcpus[0], &state));
        complaints.check(kept, || "the test's own ZA or TPIDR2_EL0 is lost".into());
        for (id, error) in errors {
            complaints.check(false, || {
                format!("seed {seed}: writing {} gives {error}", name(id))
            });
        }
        check_restored(
            &mut complaints,
            &to.vcpus[0],
            &state,
            &format!("seed {seed}"),
        );
        let same = to.vcpus[0]
            .list()?
            .into_iter()
            .eq(state.iter().map(|(id, _)| *id));
        complaints.check(same, || {
            format!("seed {seed}: another list after the restore")
        });
    }
    complaints.outcome()
}

/// The order in which the list was before it had one: what a restore in it loses, this test sees.
fn wrong_order(kvm: &Kvm, shape: &Shape, _: Host) -> Outcome {
    let from = shape.machine(kvm, 1)?;
    let vcpu = &from.vcpus[0];
    fill_vectors(vcpu, shape.mode(vcpu)?, &mut Random(SEED))?;
    let mut state = save(vcpu)?;
    // Behind all vectors, as the system register that it is.
    let at = state.iter().position(|(id, _)| *id == RegId::SVCR);
    let svcr = state.remove(at.ok_or_else(|| fail("SVCR is not listed"))?);
    state.push(svcr);

    let to = shape.bare(kvm, 1)?;
    let errors = restore(&to.vcpus[0], &state);
    let lost = lost(&to.vcpus[0], &state);
    let mut complaints = Complaints::default();
    let rows = errors
        .iter()
        .filter(|(id, error)| is_vector_class(*id) && *error == Errno::EBUSY);
    complaints.check(shape.svcr & ZA == 0 || rows.count() > 0, || {
        "no row of ZA was refused".into()
    });
    complaints.check(shape.svcr & SM == 0 || lost.len() > LEAST_VECTORS, || {
        format!("only {} registers were lost", lost.len())
    });
    complaints.outcome()
}

/// A vCPU that runs [`computing_guest`], and what it has to have computed.
struct Guest {
    machine: Arc<Machine>,
    index: usize,
    shape: Shape,
    mode: Mode,
    flags: u64,
    image: Image,
    /// What it takes its registers from if it goes from mode to mode.
    source: Option<Image>,
    host: Host,
    pattern: u64,
    steps: u32,
}

/// The memory of a VM for as many guests as it has vCPUs.
fn add_memory(machine: &mut Machine) -> Outcome {
    machine.vm.add_code(CODE, computing_guest())?;
    machine.vm.add_code(VECTORS, &exception_vectors())?;
    for n in 0..machine.vcpus.len() {
        machine.vm.add_memory(shared(n), compute::SHARED)?;
    }
    Ok(())
}

fn shared(index: usize) -> u64 {
    SHARED + (index * compute::SHARED) as u64
}

impl Guest {
    /// A guest in a VM of its own.
    fn alone(kvm: &Kvm, shape: &Shape, host: Host, seed: u64, walks: bool) -> Outcome<Self> {
        let mut machine = shape.machine(kvm, 1)?;
        add_memory(&mut machine)?;
        Self::start(Arc::new(machine), 0, shape, host, seed, walks)
    }

    /// Runs the guest up to where it has set itself up, and fills its registers.
    fn start(
        machine: Arc<Machine>,
        index: usize,
        shape: &Shape,
        host: Host,
        seed: u64,
        walks: bool,
    ) -> Outcome<Self> {
        let mut random = Random(seed);
        let vcpu = &machine.vcpus[index];
        if shape.features.sme {
            // The guest is to set it, unseen by KVM.
            vcpu.set(RegId::SVCR, &Value::from_u64(0, 8))?;
        }
        let base = shared(index);
        for (id, value) in [
            (RegId::PC, CODE),
            (VBAR_EL1, VECTORS),
            (RegId::x(0), base),
            (RegId::x(1), NOWHERE),
        ] {
            vcpu.set(id, &Value::from_u64(value, 8))?;
        }
        let mode = shape.mode(vcpu)?;
        let has = [
            (mode.sve, compute::HAS_SVE),
            (mode.sme, compute::HAS_SME),
            (mode.sme2, compute::HAS_SME2),
            (mode.fa64, compute::HAS_FA64),
            (vcpu.list()?.contains(&FPMR), compute::HAS_FPMR),
            (walks, compute::WALKS),
        ];
        let flags = has.iter().map(|(has, flag)| u64::from(*has) * flag).sum();
        machine
            .vm
            .write(base + compute::FLAGS as u64, &[flags, shape.svcr]);
        let source = walks.then(|| Image::random(&mut random));
        if let Some(source) = &source {
            machine
                .vm
                .write(base + compute::SOURCE as u64, &source.words());
        }

        let mut guest = Self {
            machine,
            index,
            shape: *shape,
            mode,
            flags,
            image: Image::new(),
            source,
            host,
            pattern: random.number(),
            steps: 0,
        };
        guest.run(compute::READY)?;
        guest.mode = shape.mode(guest.vcpu())?;
        let svcr = u64::from(guest.mode.sm) | u64::from(guest.mode.za) << 1;
        if svcr != shape.svcr {
            return Err(fail(format!(
                "SVCR reads {svcr}, the guest has set {}",
                shape.svcr
            )));
        }
        let mut state = fill_vectors(guest.vcpu(), guest.mode, &mut random)?;
        if guest.mode.sme {
            let value = random.value(8);
            guest.vcpu().set(RegId::TPIDR2_EL0, &value)?;
            state.push((RegId::TPIDR2_EL0, value));
        }
        guest.image = Image::of_state(guest.mode, &state);
        Ok(guest)
    }

    fn vcpu(&self) -> &Vcpu {
        &self.machine.vcpus[self.index]
    }

    fn word(&self, at: usize) -> u64 {
        self.machine.vm.read(shared(self.index) + at as u64, 1)[0]
    }

    /// Runs the guest until it leaves, while the test uses the vector registers itself.
    fn run(&self, expected: u64) -> Outcome {
        loop {
            let (exit, kept) = self.host.around(self.pattern, || self.vcpu().run());
            if !kept {
                return Err(fail("the test's own ZA or TPIDR2_EL0 is lost"));
            }
            match exit {
                Ok(uapi::KVM_EXIT_MMIO) => break,
                Err(Errno::EINTR) => {}
                other => return Err(fail(format!("{}: exit {other:?}", self.shape))),
            }
        }
        match self.word(compute::STATUS) {
            status if status == expected => Ok(()),
            compute::BROKEN => Err(fail(format!(
                "{}: the guest lost the byte {:#x} of its image after step {}",
                self.shape,
                self.word(compute::WHERE),
                self.steps,
            ))),
            compute::TRAPPED => Err(fail(format!(
                "{}: an exception in step {}, syndrome {:#x}",
                self.shape,
                self.steps,
                self.word(compute::WHERE),
            ))),
            status => Err(fail(format!("{}: status {status}", self.shape))),
        }
    }

    /// One step: what the guest has in its registers, and what user space reads, has to be right.
    fn step(&mut self) -> Outcome {
        if let (Some(source), true) = (&self.source, self.steps > 0) {
            let from = self.mode;
            let svcr = u64::from(from.sm) | u64::from(from.za) << 1;
            let svcr = (svcr + 1) % 4 * u64::from(from.sme);
            self.mode.sm = svcr & SM != 0;
            self.mode.za = svcr & ZA != 0;
            self.image.walk(from, self.mode, source);
        }
        self.image.step(self.mode);
        self.run(compute::STEPPED)?;
        self.steps += 1;

        let mut complaints = Complaints::default();
        let words = compute::IMAGE / 8;
        let at = shared(self.index) + compute::BEFORE as u64;
        let stored = Image::from_words(&self.machine.vm.read(at, words));
        let wrong = self.image.differences(self.mode, self.flags, &stored);
        complaints.check(wrong.is_empty(), || {
            format!(
                "{}, step {}: the guest has wrong {wrong:?}",
                self.shape, self.steps
            )
        });
        let mode = self.shape.mode(self.vcpu())?;
        complaints.check(mode == self.mode, || {
            format!("{}: {mode:?}, not {:?}", self.shape, self.mode)
        });
        let wrong = self.image.differences_in(self.mode, self.vcpu())?;
        complaints.check(wrong.is_empty(), || {
            let wrong: Vec<_> = wrong.iter().map(|id| name(*id)).collect();
            format!(
                "{}, step {}: user space reads wrong {wrong:?}",
                self.shape, self.steps
            )
        });
        complaints.outcome()
    }

    /// Goes on in another VM, with nothing but the memory and what the list says.
    fn migrate(&mut self, kvm: &Kvm) -> Outcome {
        // The store by which the guest left is complete when the vCPU is entered again.
        self.vcpu().load()?;
        let state = save(self.vcpu())?;
        let mut machine = self.shape.bare(kvm, self.machine.vcpus.len() as u32)?;
        add_memory(&mut machine)?;
        let words = self
            .machine
            .vm
            .read(shared(self.index), compute::SHARED / 8);
        machine.vm.write(shared(self.index), &words);

        let mut complaints = Complaints::default();
        let vcpu = &machine.vcpus[self.index];
        for (id, error) in restore(vcpu, &state) {
            complaints.check(false, || format!("writing {} gives {error}", name(id)));
        }
        check_restored(&mut complaints, vcpu, &state, "restored");
        self.machine = Arc::new(machine);
        complaints.outcome()
    }
}

/// A vCPU with the same features that differs from another in all else: mode and lengths.
fn opposite(shape: &Shape) -> Shape {
    let other = |length| match length {
        Length::Greatest => Length::Shortest,
        Length::Shortest | Length::Middle => Length::Greatest,
    };
    Shape {
        svcr: if shape.features.sme {
            3 - shape.svcr
        } else {
            0
        },
        vl: if shape.features.sve {
            other(shape.vl)
        } else {
            shape.vl
        },
        svl: if shape.features.sme {
            other(shape.svl)
        } else {
            shape.svl
        },
        ..*shape
    }
}

/// In turns with a guest in another VM.
fn beside_a_vm(kvm: &Kvm, shape: &Shape, host: Host) -> Outcome {
    let mut guest = Guest::alone(kvm, shape, host, SEED, false)?;
    let mut other = Guest::alone(kvm, &opposite(shape), host, SEED + 1, false)?;
    (0..STEPS).try_for_each(|_| guest.step().and_then(|()| other.step()))
}

/// In turns with another vCPU of the same VM. ID registers are the same there, lengths are not.
fn beside_a_vcpu(kvm: &Kvm, shape: &Shape, host: Host) -> Outcome {
    let mut machine = shape.bare(kvm, 2)?;
    let shapes = [*shape, opposite(shape)];
    for (shape, vcpu) in shapes.iter().zip(&machine.vcpus) {
        shape.set_up(vcpu)?;
    }
    add_memory(&mut machine)?;
    let machine = Arc::new(machine);
    let mut guests = Vec::new();
    for (index, shape) in shapes.iter().enumerate() {
        let seed = SEED + index as u64;
        guests.push(Guest::start(
            machine.clone(),
            index,
            shape,
            host,
            seed,
            false,
        )?);
    }
    (0..STEPS).try_for_each(|_| guests.iter_mut().try_for_each(Guest::step))
}

/// Saved in the middle, twice, and restored into a new VM each time.
fn migrated(kvm: &Kvm, shape: &Shape, host: Host) -> Outcome {
    let mut guest = Guest::alone(kvm, shape, host, SEED, false)?;
    let mut other = Guest::alone(kvm, &opposite(shape), host, SEED + 1, false)?;
    for step in 0..STEPS {
        guest.step()?;
        other.step()?;
        if step % 2 == 1 {
            guest.migrate(kvm)?;
        }
    }
    Ok(())
}

/// From mode to mode by itself: what KVM knows of SVCR is old at each exit.
fn walking(kvm: &Kvm, shape: &Shape, host: Host) -> Outcome {
    let mut guest = Guest::alone(kvm, shape, host, SEED, true)?;
    let mut other = Guest::alone(kvm, &opposite(shape), host, SEED + 1, true)?;
    for step in 0..2 * STEPS {
        guest.step()?;
        other.step()?;
        if step % 3 == 2 {
            guest.migrate(kvm)?;
        }
    }
    Ok(())
}

/// How many guests run at once, more than there are CPUs, and how many steps each does.
const THREADS: u64 = 3;
const THREAD_STEPS: u32 = 24;

/// Guests of all modes in threads of their own.
fn threads(kvm: &Kvm, features: Features, host: Host) -> Outcome {
    let shapes = Shape::all_with(features);
    let mut guests = Vec::new();
    for seed in 0..THREADS {
        // Far apart in the table, so that they differ in mode and lengths.
        let shape = &shapes[(seed as usize * 7) % shapes.len()];
        guests.push(Guest::alone(kvm, shape, host, SEED + seed, features.sme)?);
    }
    let outcomes: Vec<_> = thread::scope(|scope| {
        let steps = |mut guest: Guest| (0..THREAD_STEPS).try_for_each(|_| guest.step());
        let start = |guest| scope.spawn(move || steps(guest));
        let threads: Vec<_> = guests.into_iter().map(start).collect();
        threads.into_iter().map(|thread| thread.join()).collect()
    });
    outcomes
        .into_iter()
        .try_for_each(|outcome| outcome.unwrap_or_else(|_| Err(fail("a thread has died"))))
}

type Test = fn(&Kvm, &Shape, Host) -> Outcome;
type Applies = fn(&Shape) -> bool;

/// A PMU has no part in what a guest computes.
fn without_pmu(shape: &Shape) -> bool {
    !shape.features.pmu
}

/// The tests of each vCPU, and whether there is something to test in one.
const OF_SHAPE: [(&str, Test, Applies); 6] = [
    ("random registers restored", round_trip, |_| true),
    ("a wrong order shows", wrong_order, |shape| shape.svcr != 0),
    ("computes beside another VM", beside_a_vm, without_pmu),
    ("computes beside another vCPU", beside_a_vcpu, without_pmu),
    ("computes on after a restore", migrated, without_pmu),
    ("changes its mode by itself", walking, |shape| {
        shape.features.sme && without_pmu(shape)
    }),
];

fn cases(kvm: &Arc<Kvm>, host: Host) -> Vec<Case> {
    let mut cases = Vec::new();
    for features in vcpus::ALL {
        for shape in Shape::all_with(features) {
            for (test, run, applies) in OF_SHAPE {
                if !applies(&shape) {
                    continue;
                }
                let kvm = kvm.clone();
                let case = move || run(&kvm, &shape, host);
                cases.push(Case::new(format!("{shape}: {test}"), case));
            }
        }
        let kvm = kvm.clone();
        let case = move || threads(&kvm, features, host);
        cases.push(Case::new(
            format!("{}: guests in threads", features.name),
            case,
        ));
    }
    cases
}

fn main() -> ExitCode {
    let Ok(kvm) = Kvm::open() else {
        return ktap::skip_all("no /dev/kvm");
    };
    let sme = kvm
        .capability(uapi::KVM_CAP_ARM_SME)
        .is_ok_and(|sme| sme > 0);
    ktap::run_chosen(cases(&Arc::new(kvm), Host::new(sme)))
}
