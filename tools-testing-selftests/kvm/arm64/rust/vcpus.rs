// SPDX-License-Identifier: GPL-2.0-only

//! vCPUs with each set of features, in each state of SVCR, with several vector lengths.

// Each program uses a part of it.
#![allow(dead_code)]

use crate::{
    ktap::{skip, Outcome},
    kvm::{uapi, Kvm, RegId, Result, Value, Vcpu, Vm},
    vectors::{Mode, ID_AA64PFR1_EL1, ID_AA64SMFR0_EL1, PFR1_SME, SMFR0_FA64},
};
use std::fmt;

/// The address space of the guests is the smallest there is.
pub const IPA_BITS: u8 = 32;

/// A set of features that a vCPU is asked for.
#[derive(Clone, Copy)]
pub struct Features {
    pub name: &'static str,
    pub sve: bool,
    pub sme: bool,
    pub pmu: bool,
}

#[rustfmt::skip]
pub const ALL: [Features; 7] = [
    Features { name: "plain",       sve: false, sme: false, pmu: false },
    Features { name: "PMU",         sve: false, sme: false, pmu: true },
    Features { name: "SVE",         sve: true,  sme: false, pmu: false },
    Features { name: "SVE+PMU",     sve: true,  sme: false, pmu: true },
    Features { name: "SME",         sve: false, sme: true,  pmu: false },
    Features { name: "SVE+SME",     sve: true,  sme: true,  pmu: false },
    Features { name: "SVE+SME+PMU", sve: true,  sme: true,  pmu: true },
];

impl Features {
    /// Skips what this host cannot have.
    pub fn require(self, kvm: &Kvm) -> Outcome {
        let needs = [
            (self.sve, uapi::KVM_CAP_ARM_SVE, "SVE"),
            (self.sme, uapi::KVM_CAP_ARM_SME, "SME"),
            (self.pmu, uapi::KVM_CAP_ARM_PMU_V3, "PMU"),
        ];
        for (needed, capability, name) in needs {
            if needed && kvm.capability(capability)? <= 0 {
                return Err(skip(format!("no {name} in guests of this host")));
            }
        }
        Ok(())
    }

    /// The bits of `KVM_ARM_VCPU_INIT`. PSCI is there for the tests that need it.
    pub fn bits(self) -> Vec<u32> {
        let bits = [
            (true, uapi::KVM_ARM_VCPU_PSCI_0_2),
            (self.pmu, uapi::KVM_ARM_VCPU_PMU_V3),
            (self.sve, uapi::KVM_ARM_VCPU_SVE),
            (self.sme, uapi::KVM_ARM_VCPU_SME),
        ];
        let chosen = bits.into_iter().filter(|(there, _)| *there);
        chosen.map(|(_, bit)| bit).collect()
    }
}

/// Which of the vector lengths of the host a vCPU gets as its greatest.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Length {
    Shortest,
    Middle,
    Greatest,
}

impl Length {
    /// The set of lengths up to that one.
    fn of(self, all: u64) -> u64 {
        let bits: Vec<_> = (0..64).filter(|bit| all & 1 << bit != 0).collect();
        let last = bits.len().saturating_sub(1);
        let at = match self {
            Self::Shortest => 0,
            Self::Middle => last / 2,
            Self::Greatest => last,
        };
        bits.get(at).map_or(0, |bit| all & ((2 << bit) - 1))
    }
}

/// What a vCPU is.
#[derive(Clone, Copy)]
pub struct Shape {
    pub features: Features,
    pub svcr: u64,
    pub vl: Length,
    pub svl: Length,
    /// SME2 and FA64 taken from the guest.
    pub lowered: bool,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = |length| match length {
            Length::Shortest => "shortest",
            Length::Middle => "middle",
            Length::Greatest => "greatest",
        };
        f.write_str(self.features.name)?;
        if self.features.sme {
            f.write_str(["", " SM", " ZA", " SM ZA"][self.svcr as usize])?;
            if self.lowered {
                f.write_str(" without SME2 and FA64")?;
            }
            write!(f, ", {} SVL", length(self.svl))?;
        }
        if self.features.sve {
            write!(f, ", {} VL", length(self.vl))?;
        }
        Ok(())
    }
}

/// Pairs of SVE and SME lengths: each kind longer than the other, and equal as far as the host can.
const LENGTHS: [(Length, Length); 4] = [
    (Length::Greatest, Length::Greatest),
    (Length::Shortest, Length::Greatest),
    (Length::Greatest, Length::Shortest),
    (Length::Middle, Length::Middle),
];

impl Shape {
    /// All of a set of features.
    pub fn all_with(features: Features) -> Vec<Self> {
        let svcrs = if features.sme { 0..4 } else { 0..1 };
        let mut shapes: Vec<Self> = Vec::new();

        for svcr in svcrs {
            for (vl, svl) in LENGTHS {
                // What a vCPU does not have does not tell two of them apart.
                let vl = if features.sve { vl } else { Length::Greatest };
                let svl = if features.sme { svl } else { Length::Greatest };
                let shape = Self {
                    features,
                    svcr,
                    vl,
                    svl,
                    lowered: false,
                };
                let alike = |other: &Self| (other.svcr, other.vl, other.svl) == (svcr, vl, svl);
                if !shapes.iter().any(alike) {
                    shapes.push(shape);
                }
            }
            if features.sme {
                shapes.push(Self {
                    features,
                    svcr,
                    vl: Length::Middle,
                    svl: Length::Greatest,
                    lowered: true,
                });
            }
        }
        shapes
    }

    /// All there are.
    pub fn all() -> Vec<Self> {
        ALL.into_iter().flat_map(Self::all_with).collect()
    }

    /// Makes a VM with `vcpus` vCPUs that have no state yet. Skips what the host cannot have.
    pub fn bare(&self, kvm: &Kvm, vcpus: u32) -> Outcome<Machine> {
        self.features.require(kvm)?;
        let vm = kvm.create_vm(IPA_BITS)?;
        let vcpus = (0..vcpus)
            .map(|n| vm.create_vcpu(n))
            .collect::<Result<Vec<_>>>()?;
        for vcpu in &vcpus {
            vcpu.init(&vm, &self.features.bits())?;
        }
        // A vCPU with a PMU does not run before this.
        for vcpu in vcpus.iter().filter(|_| self.features.pmu) {
            let group = uapi::KVM_ARM_VCPU_PMU_V3_CTRL;
            vcpu.set_attr(group, uapi::KVM_ARM_VCPU_PMU_V3_INIT, None)?;
        }
        Ok(Machine { vcpus, vm })
    }

    /// The same with the vCPUs as this shape says, finalized.
    pub fn machine(&self, kvm: &Kvm, vcpus: u32) -> Outcome<Machine> {
        let machine = self.bare(kvm, vcpus)?;
        for vcpu in &machine.vcpus {
            self.set_up(vcpu)?;
        }
        Ok(machine)
    }

    /// Gives a vCPU its lengths and mode.
    pub fn set_up(&self, vcpu: &Vcpu) -> Result {
        let lengths = [
            (self.features.sve, RegId::SVE_VLS, self.vl),
            (self.features.sme, RegId::SME_VLS, self.svl),
        ];
        for (_, id, length) in lengths.into_iter().filter(|(there, ..)| *there) {
            let all = vcpu.get(id)?;
            let some = length.of(all.low());
            vcpu.set(id, &Value::from_u64(some, all.bytes().len()))?;
        }
        if self.features.sve || self.features.sme {
            vcpu.finalize()?;
        }
        if self.lowered {
            set_field(vcpu, ID_AA64PFR1_EL1, PFR1_SME, 1)?;
            set_field(vcpu, ID_AA64SMFR0_EL1, SMFR0_FA64, 0)?;
        }
        if self.features.sme {
            vcpu.set(RegId::SVCR, &Value::from_u64(self.svcr, 8))?;
        }
        Ok(())
    }

    /// The mode in which a vCPU of this shape is.
    pub fn mode(&self, vcpu: &Vcpu) -> Result<Mode> {
        Mode::of(vcpu, self.features.sve, self.features.sme)
    }
}

/// Sets a field of a register, which `mask` has all bits of.
pub fn set_field(vcpu: &Vcpu, id: RegId, mask: u64, field: u64) -> Result {
    let value = vcpu.get(id)?.low() & !mask | field << mask.trailing_zeros();
    vcpu.set(id, &Value::from_u64(value, 8))
}

/// A VM with its vCPUs.
pub struct Machine {
    pub vcpus: Vec<Vcpu>,
    pub vm: Vm,
}
