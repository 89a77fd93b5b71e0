// SPDX-License-Identifier: GPL-2.0-only

//! Guests that compute, while others run beside them and they are restored now and then.

use crate::SEED;
use kvmtest::{
    compute::{self, computing_guest, exception_vectors, Image},
    fill::fill_vectors,
    host::Host,
    ktap::{fail, Complaints, Outcome},
    kvm::{uapi, Errno, Kvm, Vcpu},
    names::name,
    random::Random,
    reg::{RegId, Value},
    state::{self, restore, save},
    vcpus::{Features, Kind, TestVm},
    vectors::{Mode, FPMR, SM, ZA},
};
use std::{sync::Arc, thread};

const VBAR_EL1: RegId = RegId::sys(3, 0, 12, 0, 0);

/// Where a guest has its code, its vector table, what it shares with this program (a part for each
/// vCPU), and nothing.
const CODE: u64 = 0x8000_0000;
const VECTORS: u64 = 0x8010_0000;
const SHARED: u64 = 0x8100_0000;
const NOWHERE: u64 = 0x1000_0000;

/// How many steps a guest does.
const STEPS: u32 = 6;

/// A vCPU that runs [`computing_guest`], and what it has to have computed.
struct Guest {
    test: Arc<TestVm>,
    index: usize,
    kind: Kind,
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
fn add_memory(test: &mut TestVm) -> Outcome {
    test.vm.add_code(CODE, computing_guest())?;
    test.vm.add_code(VECTORS, &exception_vectors())?;
    for n in 0..test.vcpus.len() {
        test.vm.add_memory(shared(n), compute::SHARED)?;
    }
    Ok(())
}

fn shared(index: usize) -> u64 {
    SHARED + (index * compute::SHARED) as u64
}

impl Guest {
    /// A guest in a VM of its own.
    fn alone(kvm: &Kvm, kind: &Kind, host: Host, seed: u64, walks: bool) -> Outcome<Self> {
        let mut test = kind.test_vm(kvm, 1)?;
        add_memory(&mut test)?;
        Self::start(Arc::new(test), 0, kind, host, seed, walks)
    }

    /// Runs the guest up to where it has set itself up, and fills its registers.
    fn start(
        test: Arc<TestVm>,
        index: usize,
        kind: &Kind,
        host: Host,
        seed: u64,
        walks: bool,
    ) -> Outcome<Self> {
        let mut random = Random(seed);
        let vcpu = &test.vcpus[index];
        if kind.features.sme {
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
        let mode = kind.mode(vcpu)?;
        let has = [
            (mode.sve, compute::HAS_SVE),
            (mode.sme, compute::HAS_SME),
            (mode.sme2, compute::HAS_SME2),
            (mode.fa64, compute::HAS_FA64),
            (vcpu.list()?.contains(&FPMR), compute::HAS_FPMR),
            (walks, compute::WALKS),
        ];
        let flags = has.iter().map(|(has, flag)| u64::from(*has) * flag).sum();
        test.vm
            .write(base + compute::FLAGS as u64, &[flags, kind.svcr]);
        let source = walks.then(|| Image::random(&mut random));
        if let Some(source) = &source {
            test.vm
                .write(base + compute::SOURCE as u64, &source.words());
        }

        let mut guest = Self {
            test,
            index,
            kind: *kind,
            mode,
            flags,
            image: Image::blank(),
            source,
            host,
            pattern: random.number(),
            steps: 0,
        };
        guest.run(compute::READY)?;
        guest.mode = kind.mode(guest.vcpu())?;
        let svcr = u64::from(guest.mode.sm) | u64::from(guest.mode.za) << 1;
        if svcr != kind.svcr {
            return Err(fail(format!(
                "SVCR reads {svcr}, the guest has set {}",
                kind.svcr
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
        &self.test.vcpus[self.index]
    }

    fn word(&self, at: usize) -> u64 {
        self.test.vm.read(shared(self.index) + at as u64, 1)[0]
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
                other => return Err(fail(format!("{}: exit {other:?}", self.kind))),
            }
        }
        match self.word(compute::STATUS) {
            status if status == expected => Ok(()),
            compute::BROKEN => Err(fail(format!(
                "{}: the guest lost the byte {:#x} of its image after step {}",
                self.kind,
                self.word(compute::WHERE),
                self.steps,
            ))),
            compute::TRAPPED => Err(fail(format!(
                "{}: an exception in step {}, syndrome {:#x}",
                self.kind,
                self.steps,
                self.word(compute::WHERE),
            ))),
            status => Err(fail(format!("{}: status {status}", self.kind))),
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
        let stored = Image::from_words(&self.test.vm.read(at, words));
        let wrong = self.image.differences(self.mode, self.flags, &stored);
        complaints.check(wrong.is_empty(), || {
            format!(
                "{}, step {}: the guest has wrong {wrong:?}",
                self.kind, self.steps
            )
        });
        let mode = self.kind.mode(self.vcpu())?;
        complaints.check(mode == self.mode, || {
            format!("{}: {mode:?}, not {:?}", self.kind, self.mode)
        });
        let wrong = self.image.differences_in(self.mode, self.vcpu())?;
        complaints.check(wrong.is_empty(), || {
            let wrong: Vec<_> = wrong.iter().map(|id| name(*id)).collect();
            format!(
                "{}, step {}: user space reads wrong {wrong:?}",
                self.kind, self.steps
            )
        });
        complaints.outcome()
    }

    /// Goes on in another VM, with nothing but the memory and what the list says.
    fn migrate(&mut self, kvm: &Kvm) -> Outcome {
        // The store by which the guest left is complete when the vCPU is entered again.
        self.vcpu().load()?;
        let state = save(self.vcpu())?;
        let mut test = self.kind.bare(kvm, self.test.vcpus.len() as u32)?;
        add_memory(&mut test)?;
        let words = self.test.vm.read(shared(self.index), compute::SHARED / 8);
        test.vm.write(shared(self.index), &words);

        let mut complaints = Complaints::default();
        let vcpu = &test.vcpus[self.index];
        for (id, error) in restore(vcpu, &state) {
            complaints.check(false, || format!("writing {} gives {error}", name(id)));
        }
        state::check(&mut complaints, vcpu, &state, "restored: ");
        self.test = Arc::new(test);
        complaints.outcome()
    }
}

/// In turns with a guest in another VM.
pub fn beside_a_vm(kvm: &Kvm, kind: &Kind, host: Host) -> Outcome {
    let mut guest = Guest::alone(kvm, kind, host, SEED, false)?;
    let mut other = Guest::alone(kvm, &kind.opposite(), host, SEED + 1, false)?;
    (0..STEPS).try_for_each(|_| guest.step().and_then(|()| other.step()))
}

/// In turns with another vCPU of the same VM. ID registers are the same there, lengths are not.
pub fn beside_a_vcpu(kvm: &Kvm, kind: &Kind, host: Host) -> Outcome {
    let mut test = kind.bare(kvm, 2)?;
    let kinds = [*kind, kind.opposite()];
    for (kind, vcpu) in kinds.iter().zip(&test.vcpus) {
        kind.set_up(vcpu)?;
    }
    add_memory(&mut test)?;
    let test = Arc::new(test);
    let mut guests = Vec::new();
    for (index, kind) in kinds.iter().enumerate() {
        let seed = SEED + index as u64;
        guests.push(Guest::start(test.clone(), index, kind, host, seed, false)?);
    }
    (0..STEPS).try_for_each(|_| guests.iter_mut().try_for_each(Guest::step))
}

/// Saved in the middle, twice, and restored into a new VM each time.
pub fn migrated(kvm: &Kvm, kind: &Kind, host: Host) -> Outcome {
    let mut guest = Guest::alone(kvm, kind, host, SEED, false)?;
    let mut other = Guest::alone(kvm, &kind.opposite(), host, SEED + 1, false)?;
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
pub fn walking(kvm: &Kvm, kind: &Kind, host: Host) -> Outcome {
    let mut guest = Guest::alone(kvm, kind, host, SEED, true)?;
    let mut other = Guest::alone(kvm, &kind.opposite(), host, SEED + 1, true)?;
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
pub fn threads(kvm: &Kvm, features: Features, host: Host) -> Outcome {
    let kinds = Kind::all_with(features);
    let mut guests = Vec::new();
    for seed in 0..THREADS {
        // Far apart in the table, so that they differ in mode and lengths.
        let kind = &kinds[(seed as usize * 7) % kinds.len()];
        guests.push(Guest::alone(kvm, kind, host, SEED + seed, features.sme)?);
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
