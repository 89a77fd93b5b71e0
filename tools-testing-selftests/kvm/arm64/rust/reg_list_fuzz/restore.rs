// SPDX-License-Identifier: GPL-2.0-only

//! Sweeps over all registers, and VMs that are saved and restored.

use crate::{
    caller::{must, works, AROUND},
    known::Family,
    model::{Checked, Kind, Outcomes},
    Thread,
};
use kvmtest::{
    kvm::uapi,
    memory::Place,
    reg::{RegId, Value},
    state,
};

impl<'a> Thread<'_, 'a> {
    pub fn choose_kind(&mut self) -> &'a Kind {
        &self.world.kinds[self.chooser.random.below(self.world.kinds.len())]
    }

    /// All registers of a vCPU: what it has, and what of the vectors it does not have.
    pub fn sweep(&mut self, n: usize) -> Checked {
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
    pub fn restore(&mut self, first: bool) -> Checked {
        if !first {
            self.round_trip()?;
        }
        if first || self.chooser.one_in(2) {
            let kind = self.choose_kind();
            let vcpus = 1 + self.chooser.random.below(2);
            self.family = works(Family::new(self.world.kvm, kind, vcpus), "a new VM")?;
            if self.chooser.one_in(2) {
                (0..vcpus).try_for_each(|n| self.make_ready(n))?;
            }
        }
        self.family.may_run = self.chooser.one_in(2);
        Ok(())
    }

    /// Initializes and finalizes a vCPU if this has not been done.
    pub fn make_ready(&mut self, n: usize) -> Checked {
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

    /// Writes to all registers, so that there is much to lose, in any order: what a write destroys
    /// that was written before is seen at once.
    pub fn fill(&mut self, n: usize) -> Checked {
        let mut ids = self.family.registers(n).to_vec();
        self.chooser.random.shuffle(&mut ids);
        for id in ids {
            if !id.is_vls() && id != RegId::SVCR {
                let value = self.make_write(n, id);
                let _ = self.set_at(n, id, Place::At(AROUND), value)?;
            }
        }
        Ok(())
    }

    pub fn round_trip(&mut self) -> Checked {
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
                if !state::same(*id, was, &is) {
                    return Err(format!("{:#x} is {is} when restored, was {was}", id.raw()));
                }
            }
        }
        Ok(())
    }

    /// Writes what was saved of a vCPU in that order.
    pub fn write_state(&mut self, n: usize, state: &[(RegId, Value)]) -> Checked {
        let (lengths, rest) = state::steps(state);
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
}
