// SPDX-License-Identifier: GPL-2.0-only

//! Steps on the vCPUs of the thread's own VM, of which every outcome and every value is known.

use crate::{
    caller::{must, works, AROUND},
    chooser::{Step, ID_FIELDS, STORED},
    known::{is_sized, is_x, Owned},
    model::{Access, Checked, Outcomes},
    shared::prepare_pmu,
    Thread, LIST_EVERY, SWEEP_EVERY,
};
use kvmtest::{
    kvm::{uapi, Call, Result},
    memory::{ArgMemory, Place},
    reg::{RegId, Value},
    vectors,
};

impl Thread<'_, '_> {
    pub fn own_step(&mut self) -> Checked {
        let n = self.chooser.random.below(self.family.vcpus.len());
        let owned = &self.family.vcpus[n];
        let (initialized, fixed) = (owned.initialized, owned.finalized);
        let step = match self.chooser.choose_step() {
            // What a vCPU needs comes sooner than by chance.
            _ if !initialized && self.chooser.one_in(16) => Step::Init,
            _ if initialized && !fixed && self.chooser.one_in(8) => Step::Lengths,
            _ if initialized && !fixed && self.chooser.one_in(32) => Step::Finalize,
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
                let id = self.chooser.mutate(id);
                self.get(n, id).map(drop)
            }
            Step::StrangeSet => {
                let id = self.choose_register(n);
                let id = self.chooser.mutate(id);
                self.set_something(n, id)
            }
            Step::List => self.list(n),
            Step::Svcr => self.set_something(n, RegId::SVCR),
            Step::IdRegister => self.set_id_field(n),
            Step::Lengths => {
                let id = self.chooser.choose(&[RegId::SVE_VLS, RegId::SME_VLS]);
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
        let other = self.chooser.random.below(self.family.vcpus.len());
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
    pub fn choose_register(&mut self, n: usize) -> RegId {
        let class = match self.chooser.random.below(8) {
            0..=1 => uapi::KVM_REG_ARM_CORE,
            2 => uapi::KVM_REG_ARM64_SVE,
            3..=4 => uapi::KVM_REG_ARM64_SME,
            5 => return self.chooser.choose(&STORED).0,
            6 => return self.choose_known(n),
            _ => 0,
        };
        let at = self.chooser.random.number() as usize;
        let registers = self.family.registers(n);
        let count = registers.iter().filter(|id| id.class() == class).count();
        let mut of_class = registers.iter().filter(|id| id.class() == class);
        let chosen = at.checked_rem(count).and_then(|at| of_class.nth(at));
        *chosen.unwrap_or(&registers[at % registers.len()])
    }

    /// One of the registers of which the value is known, whether it is there or not.
    pub fn choose_known(&mut self, n: usize) -> RegId {
        let which = self.chooser.random.below(32) as u64;
        match self.chooser.random.below(6) {
            0 if which < 31 => RegId::x(which),
            1 => vectors::p(which % 16),
            2 => vectors::za(
                self.chooser
                    .random
                    .below(self.family.vcpus[n].mode.svl.max(1)) as u64,
            ),
            3 if which < 8 => vectors::ZT0,
            3 if which < 16 => vectors::FFR,
            3 => STORED[which as usize % STORED.len()].0,
            _ if self.family.vcpus[n].mode.has_z() => vectors::z(which),
            _ => vectors::v(which),
        }
    }

    pub fn get(&mut self, n: usize, id: RegId) -> Checked<Result<Value>> {
        let place = self.chooser.choose_place(id.bytes());
        self.get_at(n, id, place)
    }

    /// Reads a register of the thread's own vCPU, and compares.
    pub fn get_at(&mut self, n: usize, id: RegId, place: Place) -> Checked<Result<Value>> {
        let expected = self.family.state(n).expect(Access {
            id,
            write: false,
            fault: ArgMemory::faults(place, id.bytes(), true),
            fault_of_8: false,
        });
        let owned = &self.family.vcpus[n];
        let read = self.caller.get(owned.who, &owned.vcpu, id, place)?;
        must(expected, &read, || format!("a read of {:#x}", id.raw()))?;
        let known = self.family.lengths(n, id).or_else(|| owned.value(id));
        if let (Ok(is), Some(known)) = (&read, known) {
            if *is != known {
                return Err(format!("{:#x} is {is}, was {known}", id.raw()));
            }
        }
        Ok(read)
    }

    /// A write of something that may be good, at a place that may be good.
    pub fn set_something(&mut self, n: usize, id: RegId) -> Checked {
        let place = self.chooser.choose_place(id.bytes());
        let value = self.make_write(n, id);
        self.set_at(n, id, place, value).map(drop)
    }

    /// A write of a field that shows or hides other registers.
    pub fn set_id_field(&mut self, n: usize) -> Checked {
        let (id, shift) = self.chooser.choose(&ID_FIELDS);
        let now = self.family.vcpus[n].vcpu.get(id);
        let value = self
            .chooser
            .make_field(now.map_or(0, |now| now.low()), shift);
        self.set_at(n, id, Place::At(AROUND), value).map(drop)
    }

    /// What to write to a register, which it takes more often than not.
    pub fn make_write(&mut self, n: usize, id: RegId) -> Value {
        let value = self.chooser.make_value(id);
        let kind = self.family.kind;
        let is_stored = STORED.iter().any(|(stored, _)| *stored == id);

        if id == RegId::SVCR && !self.chooser.one_in(8) {
            Value::from_u64(value.low() & 3, 8)
        } else if id.is_vls() && !self.chooser.one_in(8) {
            let all = if id == RegId::SVE_VLS {
                kind.sve_vqs
            } else {
                kind.sme_vqs
            };
            let vqs = all & ((2 << self.chooser.random.below(16)) - 1);
            let wrong = u64::from(self.chooser.one_in(4)) << self.chooser.random.below(16);
            Value::from_u64(vqs ^ wrong, id.bytes())
        } else if id == RegId::PSTATE {
            Value::from_u64(
                self.chooser.choose(&[0x3c5, 0x3c4, 0x3c0, 0x10, 0x1d3, 7]),
                8,
            )
        } else if kind.aarch32 && is_x(id) {
            // There are 32 bits of it. User mode lets user space write more to X15 and up, but what
            // the vCPU is restored to begins in another mode, which does not.
            Value::from_u64(value.low() & u64::from(u32::MAX), id.bytes())
        } else if !Owned::starts_as_zero(id)
            && !is_stored
            && id.bytes() <= 8
            && !self.chooser.one_in(3)
        {
            let now = self.family.vcpus[n].vcpu.get(id);
            Value::from_u64(
                self.chooser.vary(now.map_or(0, |now| now.low())),
                id.bytes(),
            )
        } else {
            value
        }
    }

    /// Writes a register of the thread's own vCPU, and notes what this does.
    pub fn set_at(&mut self, n: usize, id: RegId, place: Place, value: Value) -> Checked<Result> {
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
        // A finalized vCPU has one set of lengths, and takes no other.
        if id.is_vls() && state.finalized && expected.contain(&Ok(())) {
            expected = if self.family.lengths(n, id) == Some(value) {
                Outcomes::OK
            } else {
                Outcomes::EPERM
            };
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
    pub fn write_back(&mut self, n: usize, id: RegId) -> Checked {
        let Ok(value) = self.get_at(n, id, Place::At(AROUND))? else {
            return Ok(());
        };
        let outcome = self.set_at(n, id, Place::At(AROUND), value)?;
        must(Outcomes::OK, &outcome, || {
            format!("a write of what was read, {value}, to {:#x}", id.raw())
        })
    }

    /// A list with any room at any place.
    pub fn list(&mut self, n: usize) -> Checked {
        const WORD: usize = size_of::<u64>();
        let count = self.family.registers(n).len();
        let room = match self.chooser.random.below(8) {
            0 => 0,
            1 => count as u64 - 1,
            2 => count as u64 + 1,
            3 => u64::MAX,
            4 => self.chooser.random.number(),
            5 => self.chooser.random.below(2 * count) as u64,
            _ => count as u64,
        };
        let len = WORD + WORD * count;
        let place = self.chooser.choose_place(len);

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
    pub fn check_list(&mut self, n: usize) -> Checked {
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
    pub fn is_finalized(&self, n: usize) -> bool {
        let owned = &self.family.vcpus[n];
        owned.initialized && (owned.finalized || !self.family.kind.sve && !self.family.kind.sme)
    }

    pub fn finalize(&mut self, n: usize) -> Checked {
        let feature = if self.chooser.one_in(4) {
            self.chooser.random.number() as u32
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

    pub fn init(&mut self, n: usize) -> Checked {
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
    pub fn init_otherwise(&mut self, n: usize) -> Checked {
        const KNOWN: u32 = (1 << (uapi::KVM_ARM_VCPU_SME + 1)) - 1;
        const STRICT: u32 = 1 << uapi::KVM_ARM_VCPU_PMU_V3_STRICT;
        const HALF: u32 = 1 << uapi::KVM_ARM_VCPU_PTRAUTH_GENERIC;
        const SME_IN_32: u32 = 1 << uapi::KVM_ARM_VCPU_SME | 1 << uapi::KVM_ARM_VCPU_EL1_32BIT;

        let other = self.choose_kind().features;
        let unknown = (KNOWN + 1) << self.chooser.random.below(21);
        let word = 1 + self.chooser.random.below(6);
        let target = works(self.family.vm.target(), "KVM_ARM_PREFERRED_TARGET")?;
        // A VM whose features are not decided yet can have those of another kind.
        let decided = self.family.vcpus.iter().any(|owned| owned.initialized);
        let own = self.family.kind.features;
        let other = if decided && other != own { other } else { HALF };

        let (target, first, more, expected) = match self.chooser.random.below(7) {
            0 => (target, own | unknown, 0, Outcomes::ENOENT),
            1 => (target, own, 1, Outcomes::ENOENT),
            2 => (target ^ 0x100, own, 0, Outcomes::EINVAL),
            3 => (target, STRICT, 0, Outcomes::EINVAL),
            4 => (target, HALF, 0, Outcomes::EINVAL),
            5 => (target, SME_IN_32, 0, Outcomes::EINVAL),
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

    pub fn nowhere(&mut self, n: usize) -> Checked {
        let call =
            self.chooser
                .choose(&[Call::Get, Call::Set, Call::List, Call::Init, Call::Finalize]);
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
