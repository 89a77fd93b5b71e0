// SPDX-License-Identifier: GPL-2.0-only

//! What is known of the VM that a thread has for itself, and of each of its vCPUs.

use crate::{
    caller::Who,
    chooser::STORED,
    guests::code,
    model::{Guest, Kind, State},
};
use kvmtest::{
    kvm::{uapi, Kvm, Result, Vcpu, Vm},
    reg::{RegId, Value},
    vcpus::IPA_BITS,
    vectors::{self, is_v, is_vector_class, Mode, FPCR, FPMR, FPSR, FPSR_AFTER_SM, SM, ZA},
};
use std::collections::BTreeMap;

/// A vCPU that one thread has for itself, and all that is known of it.
pub struct Owned {
    pub vcpu: Vcpu,
    pub who: Who,
    pub initialized: bool,
    pub finalized: bool,
    pub mode: Mode,
    pub pstate: u64,
    /// The values of [`Self::value`] that are not 0.
    pub values: BTreeMap<RegId, Value>,
    /// What it has, and with which mode and ID registers.
    pub listed: (Option<(Mode, Guest)>, Vec<RegId>),
}

impl Owned {
    pub fn new(vcpu: Vcpu, index: usize, kind: &Kind) -> Self {
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
    pub fn starts_as_zero(id: RegId) -> bool {
        let core = id.class() == uapi::KVM_REG_ARM_CORE;
        core && id.number() <= 62 || is_v(id) || id == FPSR || id == FPCR || is_sized(id)
    }

    /// What a register that is there has to have, if this is known.
    pub fn value(&self, id: RegId) -> Option<Value> {
        let stored = self.values.get(&id).copied();
        stored.or_else(|| Self::starts_as_zero(id).then(|| Value::zero(id.bytes().min(256))))
    }

    /// What `KVM_ARM_VCPU_INIT` does.
    pub fn reset(&mut self, kind: &Kind) -> Result {
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
    pub fn set_svcr(&mut self, svcr: u64) {
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
    pub fn wrote(&mut self, id: RegId, value: &Value) -> Result {
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
    pub fn narrow(&mut self) {
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
pub fn is_sized(id: RegId) -> bool {
    is_vector_class(id) && !id.is_vls()
}

/// Whether a register is one of X0 to X30.
pub fn is_x(id: RegId) -> bool {
    id == RegId::x(id.number() / 2 % 31)
}

/// The VM that a thread has for itself.
pub struct Family<'a> {
    pub kind: &'a Kind,
    pub guest: Guest,
    /// A run fixes the ID registers, so that some VMs do without.
    pub may_run: bool,
    pub ran: bool,
    pub vcpus: Vec<Owned>,
    pub vm: Vm,
}

impl<'a> Family<'a> {
    /// Makes a VM with vCPUs, none of them initialized.
    pub fn new(kvm: &Kvm, kind: &'a Kind, vcpus: usize) -> Result<Self> {
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

    pub fn state(&self, vcpu: usize) -> State<'a> {
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

    /// The vector lengths that a vCPU has: those of the host up to its greatest one.
    pub fn lengths(&self, vcpu: usize, id: RegId) -> Option<Value> {
        let mode = self.vcpus[vcpu].mode;
        let (all, greatest) = match id {
            RegId::SVE_VLS => (self.kind.sve_vqs, mode.vl),
            RegId::SME_VLS => (self.kind.sme_vqs, mode.svl),
            _ => return None,
        };
        let up_to = (1 << (greatest / 16)) - 1;
        Some(Value::from_u64(all & up_to, id.bytes()))
    }

    /// All that a vCPU has, in no order that counts.
    pub fn registers(&mut self, vcpu: usize) -> &[RegId] {
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
    pub fn read_guest(&mut self) -> Result {
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
