// SPDX-License-Identifier: GPL-2.0-only

//! What calls that write no register do to registers: those by which a VM and a vCPU are set up,
//! and the first run.
//!
//! Each is made on the way to a vCPU, or after its registers have been written, and what reads
//! otherwise, is refused, or is there or not there is compared with a vCPU without that call.

use crate::{
    base::{base, restore_all, set_lengths},
    graph::{Cause, Effect},
    pairs::show,
    Experiment,
};
use kvmtest::{
    kvm::{uapi, Errno, Result, Vcpu},
    names::name,
    reg::{RegId, Value},
    state::{same, State},
    vcpus::{Features, Kind, Stage, TestVm},
};
use std::collections::BTreeMap;

/// When a call is made.
#[derive(Clone, Copy)]
enum When {
    /// Before the registers are written.
    At(Stage),
    /// When they have been.
    After,
}

/// A call that writes no register.
struct Call {
    name: &'static str,
    when: When,
    /// The capability of a host on which it can be made.
    needs: Option<u32>,
    /// The vCPUs on which it can be made.
    of: fn(Features) -> bool,
    make: fn(&TestVm) -> Result,
}

const CTRL: u32 = uapi::KVM_ARM_VCPU_PMU_V3_CTRL;

/// An offset that is longer than any test runs.
const OFFSET: u64 = 1 << 40;

/// No event below 0x100 is counted: `struct kvm_pmu_event_filter`.
const FILTER: u64 = (uapi::KVM_PMU_EVENT_DENY as u64) << 32 | 0x100 << 16;

/// Fewer counters than any PMU has.
const COUNTERS: u64 = 1;

const EMPTY: When = When::At(Stage::Empty);
const EARLY: When = When::At(Stage::Initialized);
const READY: When = When::At(Stage::Ready);

#[rustfmt::skip]
const CALLS: &[Call] = &[
    Call { name: "KVM_CAP_ARM_MTE", when: EMPTY,
           needs: Some(uapi::KVM_CAP_ARM_MTE), of: |_| true,
           make: |test| test.vm.enable(uapi::KVM_CAP_ARM_MTE) },
    Call { name: "KVM_CAP_ARM_WRITABLE_IMP_ID_REGS", when: EMPTY,
           needs: Some(uapi::KVM_CAP_ARM_WRITABLE_IMP_ID_REGS), of: |_| true,
           make: |test| test.vm.enable(uapi::KVM_CAP_ARM_WRITABLE_IMP_ID_REGS) },
    Call { name: "KVM_CAP_ARM_SYSTEM_SUSPEND", when: EMPTY,
           needs: Some(uapi::KVM_CAP_ARM_SYSTEM_SUSPEND), of: |_| true,
           make: |test| test.vm.enable(uapi::KVM_CAP_ARM_SYSTEM_SUSPEND) },
    Call { name: "KVM_CAP_ARM_NISV_TO_USER", when: EMPTY,
           needs: Some(uapi::KVM_CAP_ARM_NISV_TO_USER), of: |_| true,
           make: |test| test.vm.enable(uapi::KVM_CAP_ARM_NISV_TO_USER) },
    Call { name: "KVM_ARM_VCPU_PMU_V3_SET_NR_COUNTERS", when: EARLY,
           needs: None, of: Features::chooses_counters,
           make: |test| of_vcpu(test, uapi::KVM_ARM_VCPU_PMU_V3_SET_NR_COUNTERS, COUNTERS) },
    // A VM without a PMU takes no filter for it.
    Call { name: "KVM_ARM_VCPU_PMU_V3_FILTER", when: EARLY,
           needs: None, of: |features| features.pmu && features.can_run(),
           make: |test| of_vcpu(test, uapi::KVM_ARM_VCPU_PMU_V3_FILTER, FILTER) },
    Call { name: "KVM_ARM_SET_COUNTER_OFFSET", when: READY,
           needs: Some(uapi::KVM_CAP_COUNTER_OFFSET), of: |_| true,
           make: |test| test.vm.set_counter_offset(OFFSET) },
    Call { name: "KVM_ARM_SET_COUNTER_OFFSET", when: When::After,
           needs: Some(uapi::KVM_CAP_COUNTER_OFFSET), of: |_| true,
           make: |test| test.vm.set_counter_offset(OFFSET) },
    Call { name: "KVM_RUN", when: READY,
           needs: None, of: |features| features.can_run() && !features.finalizes(),
           make: |test| test.vcpus[0].load() },
    Call { name: "KVM_RUN", when: When::After,
           needs: None, of: Features::can_run,
           make: |test| test.vcpus[0].load() },
];

fn of_vcpu(test: &TestVm, attr: u32, value: u64) -> Result {
    test.vcpus[0].set_attr(CTRL, attr, Some(value))
}

/// What a vCPU has, or why a register cannot be read.
pub type Reading = BTreeMap<RegId, Result<Value>>;

/// Reads some registers, and all that are listed by now.
pub fn read(vcpu: &Vcpu, base: &[(RegId, Value)]) -> Reading {
    let listed = vcpu.list().unwrap_or_default();
    let ids = base.iter().map(|(id, _)| *id).chain(listed);
    ids.map(|id| (id, vcpu.get(id))).collect()
}

/// Writes each register as it is, and notes which are refused.
fn refused(vcpu: &Vcpu, reading: &Reading) -> BTreeMap<RegId, Errno> {
    let write = |(id, value): (&RegId, &Result<Value>)| {
        let error = vcpu.set(*id, value.as_ref().ok()?).err()?;
        Some((*id, error))
    };
    reading.iter().filter_map(write).collect()
}

impl Experiment {
    /// All calls on one kind of vCPU.
    pub fn calls(&mut self, kind: &Kind) -> Result {
        let base = base(&self.kvm, kind, self.order, &mut self.random)?;
        for call in CALLS.iter().filter(|call| (call.of)(kind.features)) {
            if let Some(capability) = call.needs {
                if self.kvm.capability(capability)? <= 0 {
                    let line = format!("{}: no {} on this host", kind.name(), call.name);
                    self.graph.skipped.push(line);
                    continue;
                }
            }
            self.one_call(kind, call, &base)
                .inspect_err(|error| println!("{} gives {error}", call.name))?;
        }
        if kind.features.finalizes() {
            self.finalize(kind, &base)?;
        }
        Ok(())
    }

    fn one_call(&mut self, kind: &Kind, call: &Call, base: &State) -> Result {
        let without = TestVm::new(&self.kvm, kind.features, 1)?;
        let with = match call.when {
            When::After => TestVm::new(&self.kvm, kind.features, 1)?,
            When::At(wanted) => TestVm::with(&self.kvm, kind.features, 1, |stage, test| {
                if stage == wanted {
                    (call.make)(test)?;
                }
                Ok(())
            })?,
        };
        let (without, vcpu) = (&without.vcpus[0], &with.vcpus[0]);
        set_lengths(without, None)?;
        set_lengths(vcpu, None)?;
        if let When::At(_) = call.when {
            // Before a register has been written.
            let (was, is) = (read(without, &[]), read(vcpu, &[]));
            self.compare(kind, call.name, &was, &is);
        }
        restore_all(without, base);
        restore_all(vcpu, base);
        if let When::After = call.when {
            (call.make)(&with)?;
        }
        let (was, is) = (read(without, base), read(vcpu, base));
        self.compare(kind, call.name, &was, &is);
        let (was, is) = (refused(without, &was), refused(vcpu, &is));
        for id in is.keys().filter(|id| !was.contains_key(id)) {
            let what = || format!("a write gives {}", is[id]);
            self.note(kind, call.name, *id, Effect::Error, &what);
        }
        Ok(())
    }

    /// What finalize does to registers that are there before.
    fn finalize(&mut self, kind: &Kind, base: &State) -> Result {
        let test = TestVm::new(&self.kvm, kind.features, 1)?;
        let vcpu = &test.vcpus[0];
        for (id, value) in base.iter().filter(|(id, _)| !id.is_vls()) {
            let _ = vcpu.set(*id, value);
        }
        // Vectors are not there yet.
        let was: Reading = read(vcpu, base);
        let was = was.into_iter().filter(|(_, read)| read.is_ok()).collect();
        vcpu.finalize()?;
        let is = read(vcpu, base);
        let is = is
            .into_iter()
            .filter(|(id, _)| Reading::contains_key(&was, id));
        self.compare(kind, "KVM_ARM_VCPU_FINALIZE", &was, &is.collect());
        Ok(())
    }

    fn compare(&mut self, kind: &Kind, call: &'static str, was: &Reading, is: &Reading) {
        for (id, was) in was {
            let effect = match (was, is.get(id)) {
                (Ok(was), Some(Ok(is))) if same(*id, was, is) => continue,
                (Ok(_), Some(Ok(_))) => Effect::Value,
                (Err(was), Some(Err(is))) if was == is => continue,
                _ => Effect::Presence,
            };
            let what = || {
                let now = is.get(id).map_or("not there".into(), show);
                format!("was {}, is {now}", show(was))
            };
            self.note(kind, call, *id, effect, &what);
        }
        for id in is.keys().filter(|id| !was.contains_key(id)) {
            self.note(kind, call, *id, Effect::Presence, &|| "is there".into());
        }
    }

    fn note(
        &mut self,
        kind: &Kind,
        call: &'static str,
        id: RegId,
        effect: Effect,
        what: &dyn Fn() -> String,
    ) {
        let edge = self.graph.edge(Cause::Call(call), id, kind);
        edge.effects.insert(effect);
        if edge.example.is_empty() {
            edge.example = format!("{} {}", name(id), what());
        }
    }
}
