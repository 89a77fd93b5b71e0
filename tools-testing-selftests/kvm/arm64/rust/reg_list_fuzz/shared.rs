// SPDX-License-Identifier: GPL-2.0-only

//! VMs that all threads use at once, and steps on them: what holds whatever the others do.

use crate::{
    caller::{must, works, Who, ACCESS, AROUND},
    chooser::{Step, ID_FIELDS},
    guests::{code, STEERING},
    known::{is_sized, is_x},
    model::{Checked, Guest, Kind, Outcomes},
    Thread,
};
use kvmtest::{
    kvm::{uapi, Call, Errno, Kvm, Result, Vcpu, Vm},
    memory::{ArgMemory, Place},
    reg::{RegId, Value},
    vcpus::IPA_BITS,
    vectors::{self, is_v, is_vector_class, Mode},
};
use std::sync::{
    atomic::{AtomicBool, AtomicU64, Ordering},
    Arc, Mutex,
};

/// How many VMs all threads have in common.
pub const SHARED_VMS: usize = 3;

/// A VM that all threads use. Its vCPUs are initialized.
pub struct Shared<'a> {
    kind: &'a Kind,
    may_run: bool,
    vcpus: Vec<Vcpu>,
    vm: Vm,
}

impl<'a> Shared<'a> {
    pub fn new(kvm: &Kvm, kind: &'a Kind, finalize: bool, may_run: bool) -> Result<Self> {
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
    pub fn tag(vcpu: usize) -> u8 {
        0xa1 + 0x11 * vcpu as u8
    }
}

/// A vCPU with a PMU does not run before this.
pub fn prepare_pmu(kind: &Kind, vcpu: &Vcpu) -> Result {
    if !kind.pmu {
        return Ok(());
    }
    let group = uapi::KVM_ARM_VCPU_PMU_V3_CTRL;
    vcpu.set_attr(group, uapi::KVM_ARM_VCPU_PMU_V3_INIT, None)
}

/// What all threads have in common.
pub struct World<'a> {
    pub kvm: &'a Kvm,
    pub kinds: &'a [Kind],
    pub shared: Vec<Mutex<Arc<Shared<'a>>>>,
    /// How many steps each thread has made.
    pub steps: Vec<AtomicU64>,
    pub failed: AtomicBool,
}

impl<'a> World<'a> {
    pub fn new(kvm: &'a Kvm, kinds: &'a [Kind], threads: u64) -> Result<Self> {
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

    pub fn done(&self) -> Vec<u64> {
        let load = |steps: &AtomicU64| steps.load(Ordering::Relaxed);
        self.steps.iter().map(load).collect()
    }

    /// Runs `f` on one of the shared VMs, which can be replaced meanwhile.
    pub fn with<T>(&self, n: usize, f: impl FnOnce(&mut Arc<Shared<'a>>) -> T) -> Checked<T> {
        let mut slot = self.shared[n].lock().map_err(|error| error.to_string())?;
        Ok(f(&mut slot))
    }
}

impl<'a> Thread<'_, 'a> {
    /// Puts a new VM in place of a shared one.
    pub fn replace_shared(&mut self) -> Checked {
        let which = self.chooser.random.below(SHARED_VMS);
        let mut kind = self.choose_kind();
        if kind.aarch32 {
            kind = &self.world.kinds[0];
        }
        let (finalize, may_run) = (self.chooser.one_in(2), self.chooser.one_in(2));
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

    pub fn shared_step(&mut self) -> Checked {
        let which = self.chooser.random.below(SHARED_VMS);
        let shared = self.world.with(which, |slot| Arc::clone(slot))?;
        let n = self.chooser.random.below(shared.vcpus.len());
        let vcpu = &shared.vcpus[n];
        let who = Who {
            shared: true,
            vcpu: 10 * which + n,
        };
        let place = Place::At(AROUND);
        let step = match self.chooser.choose_step() {
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
                let value = Value::from_u64(self.chooser.random.number() & 3, 8);
                self.shared_set(&shared, who, n, RegId::SVCR, place, value)
            }
            Step::Lengths => {
                let id = self.chooser.choose(&[RegId::SVE_VLS, RegId::SME_VLS]);
                let (sve, sme) = (shared.kind.sve_vqs, shared.kind.sme_vqs);
                let vqs = if id == RegId::SVE_VLS { sve } else { sme };
                let value = Value::from_u64(vqs & ((2 << self.chooser.random.below(16)) - 1), 64);
                self.shared_set(&shared, who, n, id, place, value)
            }
            Step::Get | Step::StrangeGet | Step::WriteBack => {
                let id = self.choose_shared(&shared, step == Step::StrangeGet);
                let place = self.chooser.choose_place(id.bytes());
                let read = self.shared_get(&shared, who, n, id, place)?;
                match read {
                    Ok(value) if step == Step::WriteBack => {
                        self.shared_set(&shared, who, n, id, Place::At(AROUND), value)
                    }
                    _ => Ok(()),
                }
            }
            Step::IdRegister => {
                let (id, shift) = self.chooser.choose(&ID_FIELDS);
                let value = self
                    .chooser
                    .make_field(vcpu.get(id).map_or(0, |now| now.low()), shift);
                self.shared_set(&shared, who, n, id, place, value)
            }
            Step::Set | Step::StrangeSet => {
                let id = self.choose_shared(&shared, step == Step::StrangeSet);
                if STEERING.contains(&id) {
                    return Ok(());
                }
                let place = self.chooser.choose_place(id.bytes());
                let mut value = self.chooser.make_value(id);
                if id.class() == uapi::KVM_REG_ARM_CORE || is_vector_class(id) {
                    value.bytes_mut().fill(Shared::tag(n));
                } else if let (Ok(now), true) = (vcpu.get(id), id.bytes() == 8) {
                    value = Value::from_u64(self.chooser.vary(now.low()), 8);
                }
                self.shared_set(&shared, who, n, id, place, value)
            }
        }
    }

    pub fn choose_shared(&mut self, shared: &Shared, strange: bool) -> RegId {
        let svl = shared.kind.mode().svl;
        let mode = Mode {
            sm: shared.kind.sme && self.chooser.one_in(2),
            za: shared.kind.sme && svl > 0,
            ..shared.kind.mode()
        };
        let registers = shared.kind.registers(mode, &Guest::default());
        let id = self.chooser.choose(&registers);
        if strange {
            self.chooser.mutate(id)
        } else {
            id
        }
    }

    /// What an access to a shared vCPU can give.
    pub fn expect_shared(id: RegId, fault: bool) -> Outcomes {
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

    pub fn shared_get(
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

    pub fn shared_set(
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

    pub fn shared_list(&mut self, shared: &Shared, who: Who, n: usize) -> Checked {
        let vcpu = &shared.vcpus[n];
        let room = self.chooser.choose(&[0, 100, 1 << 10, u64::MAX]);
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
