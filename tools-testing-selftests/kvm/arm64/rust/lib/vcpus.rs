// SPDX-License-Identifier: GPL-2.0-only

//! vCPUs of all kinds: with each set of features, in each state of SVCR, with several vector
//! lengths.

use crate::{
    ktap::{skip, Outcome},
    kvm::{uapi, Errno, Kvm, Result, Vcpu, Vm},
    reg::{RegId, Value},
    vectors::{Mode, ID_AA64PFR1_EL1, ID_AA64SMFR0_EL1, PFR1_SME, SMFR0_FA64},
};
use std::{fmt, fs};

/// The address space of the guests is the smallest there is.
pub const IPA_BITS: u8 = 32;

/// Where a VM has its interrupt controller, if it needs one.
const DISTRIBUTOR: u64 = 0x0800_0000;
const REDISTRIBUTORS: u64 = 0x080a_0000;
/// The private interrupt that is usual for a PMU.
const PMU_IRQ: u64 = 23;

/// What a vCPU is asked for.
#[derive(Clone, Copy)]
pub struct Features {
    pub name: &'static str,
    pub sve: bool,
    pub sme: bool,
    pub pmu: bool,
    /// Its VM has memory for tags.
    pub mte: bool,
    /// Other bits of `KVM_ARM_VCPU_INIT`.
    pub more: &'static [u32],
    /// User space chooses the host's PMU for it.
    pub host_pmu: bool,
    /// The mode in which it is, if not that after reset.
    pub pstate: Option<u64>,
}

/// Nothing but PSCI.
pub const PLAIN: Features = Features {
    name: "plain",
    sve: false,
    sme: false,
    pmu: false,
    mte: false,
    more: &[PSCI],
    host_pmu: false,
    pstate: None,
};

const PSCI: u32 = uapi::KVM_ARM_VCPU_PSCI_0_2;
const STRICT: u32 = uapi::KVM_ARM_VCPU_PMU_V3_STRICT;
const EL2: u32 = uapi::KVM_ARM_VCPU_HAS_EL2;
const E2H0: u32 = uapi::KVM_ARM_VCPU_HAS_EL2_E2H0;
const AARCH32: u32 = uapi::KVM_ARM_VCPU_EL1_32BIT;
const ADDRESS: u32 = uapi::KVM_ARM_VCPU_PTRAUTH_ADDRESS;
const GENERIC: u32 = uapi::KVM_ARM_VCPU_PTRAUTH_GENERIC;

const MODE_EL1H: u64 = 0x3c5;
const MODE_AA32_USR: u64 = 0x10;
const MODE_AA32_SVC: u64 = 0x1d3;

/// The sets of features that decide about vector registers, with a PMU and without.
#[rustfmt::skip]
pub const ALL: [Features; 7] = [
    PLAIN,
    Features { name: "PMU",         pmu: true, ..PLAIN },
    Features { name: "SVE",         sve: true, ..PLAIN },
    Features { name: "SVE+PMU",     sve: true, pmu: true, ..PLAIN },
    Features { name: "SME",         sme: true, ..PLAIN },
    Features { name: "SVE+SME",     sve: true, sme: true, ..PLAIN },
    Features { name: "SVE+SME+PMU", sve: true, sme: true, pmu: true, ..PLAIN },
];

/// All other features, for tests of what is no vector register.
#[rustfmt::skip]
pub const MORE: [Features; 12] = [
    Features { name: "SVE+PMU+ptrauth",
        sve: true, pmu: true, more: &[PSCI, ADDRESS, GENERIC], ..PLAIN },
    Features { name: "32-bit EL0", pmu: true, pstate: Some(MODE_AA32_USR), ..PLAIN },
    Features { name: "32-bit EL1",
        pmu: true, more: &[AARCH32], pstate: Some(MODE_AA32_SVC), ..PLAIN },
    Features { name: "strict PMU, none set", pmu: true, more: &[STRICT], ..PLAIN },
    Features { name: "strict PMU", pmu: true, more: &[STRICT], host_pmu: true, ..PLAIN },
    Features { name: "EL2", more: &[EL2], ..PLAIN },
    Features { name: "EL2+SVE+PMU+ptrauth",
        sve: true, pmu: true, more: &[EL2, ADDRESS, GENERIC], ..PLAIN },
    Features { name: "EL2+SVE+SME", sve: true, sme: true, more: &[EL2], ..PLAIN },
    Features { name: "EL2+PMU at EL1", pmu: true, more: &[EL2], pstate: Some(MODE_EL1H), ..PLAIN },
    Features { name: "EL2+PMU without E2H", pmu: true, more: &[EL2, E2H0], ..PLAIN },
    Features { name: "MTE", mte: true, ..PLAIN },
    Features { name: "MTE+SVE+SME", sve: true, sme: true, mte: true, ..PLAIN },
];

/// What a host has to have for other bits.
#[rustfmt::skip]
const NEEDS: [(u32, u32, &str); 6] = [
    (STRICT,  uapi::KVM_CAP_ARM_PMU_V3_STRICT,    "strict PMU"),
    (EL2,     uapi::KVM_CAP_ARM_EL2,              "EL2"),
    (E2H0,    uapi::KVM_CAP_ARM_EL2_E2H0,         "EL2 without E2H"),
    (AARCH32, uapi::KVM_CAP_ARM_EL1_32BIT,        "32-bit EL1"),
    (ADDRESS, uapi::KVM_CAP_ARM_PTRAUTH_ADDRESS,  "pointer authentication"),
    (GENERIC, uapi::KVM_CAP_ARM_PTRAUTH_GENERIC,  "pointer authentication"),
];

impl Features {
    /// Skips what this host cannot have.
    pub fn require(self, kvm: &Kvm) -> Outcome {
        let features = [
            (self.sve, uapi::KVM_CAP_ARM_SVE, "SVE"),
            (self.sme, uapi::KVM_CAP_ARM_SME, "SME"),
            (self.pmu, uapi::KVM_CAP_ARM_PMU_V3, "PMU"),
            (self.mte, uapi::KVM_CAP_ARM_MTE, "MTE"),
        ];
        let more = NEEDS.map(|(bit, capability, name)| (self.has(bit), capability, name));
        for (needed, capability, name) in features.into_iter().chain(more) {
            if needed && kvm.capability(capability)? <= 0 {
                return Err(skip(format!("no {name} in guests of this host")));
            }
        }
        if self.host_pmu && host_pmu().is_err() {
            return Err(skip("no PMU that user space can choose"));
        }
        Ok(())
    }

    /// The bits of `KVM_ARM_VCPU_INIT`.
    pub fn bits(self) -> Vec<u32> {
        let bits = [
            (self.pmu, uapi::KVM_ARM_VCPU_PMU_V3),
            (self.sve, uapi::KVM_ARM_VCPU_SVE),
            (self.sme, uapi::KVM_ARM_VCPU_SME),
        ];
        let chosen = bits.into_iter().filter(|(there, _)| *there);
        let chosen = chosen.map(|(_, bit)| bit);
        chosen.chain(self.more.iter().copied()).collect()
    }

    fn has(self, bit: u32) -> bool {
        self.more.contains(&bit)
    }

    /// Whether a vCPU can be a hypervisor. Its VM is slow to tear down, emulated.
    pub fn el2(self) -> bool {
        self.has(EL2)
    }

    /// Whether user space chooses the number of counters of the PMU.
    pub fn chooses_counters(self) -> bool {
        self.pmu && (self.el2() || self.host_pmu)
    }

    /// Whether there is something to finalize.
    pub fn finalizes(self) -> bool {
        self.sve || self.sme
    }

    /// A vCPU with a PMU does not run before it has one.
    pub fn can_run(self) -> bool {
        !self.has(STRICT) || self.host_pmu
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

/// A point on the way to a vCPU, where a test can do something else first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// There is a VM without a vCPU, with the capabilities that its features need.
    Empty,
    /// The vCPUs have their features.
    Initialized,
    /// They have all that is not a register.
    Ready,
}

/// A VM with its vCPUs.
pub struct TestVm {
    pub vcpus: Vec<Vcpu>,
    pub vm: Vm,
}

impl TestVm {
    /// As a VMM sets it up before it restores registers: all that is not a register.
    pub fn new(kvm: &Kvm, features: Features, vcpus: u32) -> Result<Self> {
        Self::with(kvm, features, vcpus, |_, _| Ok(()))
    }

    /// The same with something done on the way.
    pub fn with(
        kvm: &Kvm,
        features: Features,
        vcpus: u32,
        mut at: impl FnMut(Stage, &Self) -> Result,
    ) -> Result<Self> {
        let vm = kvm.create_vm(IPA_BITS)?;
        let mut made = Self {
            vcpus: Vec::new(),
            vm,
        };
        if features.mte {
            made.vm.enable(uapi::KVM_CAP_ARM_MTE)?;
        }
        at(Stage::Empty, &made)?;
        for n in 0..vcpus {
            made.vcpus.push(made.vm.create_vcpu(n)?);
        }
        let ctrl = uapi::KVM_ARM_VCPU_PMU_V3_CTRL;
        for vcpu in &made.vcpus {
            vcpu.init(&made.vm, &features.bits())?;
            if features.host_pmu {
                let set = uapi::KVM_ARM_VCPU_PMU_V3_SET_PMU;
                vcpu.set_attr(ctrl, set, Some(host_pmu()?))?;
            }
        }
        at(Stage::Initialized, &made)?;
        // An EL2 vCPU does not run without one.
        if features.el2() {
            made.vm.create_gic(DISTRIBUTOR, REDISTRIBUTORS)?;
        }
        let pmu = features.pmu && features.can_run();
        for vcpu in made.vcpus.iter().filter(|_| pmu) {
            if features.el2() {
                vcpu.set_attr(ctrl, uapi::KVM_ARM_VCPU_PMU_V3_IRQ, Some(PMU_IRQ))?;
            }
            vcpu.set_attr(ctrl, uapi::KVM_ARM_VCPU_PMU_V3_INIT, None)?;
        }
        at(Stage::Ready, &made)?;
        Ok(made)
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
pub struct Kind {
    pub features: Features,
    pub svcr: u64,
    pub vl: Length,
    pub svl: Length,
    /// SME2 and FA64 taken from the guest.
    pub lowered: bool,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = |length| match length {
            Length::Shortest => "shortest",
            Length::Middle => "middle",
            Length::Greatest => "greatest",
        };
        f.write_str(&self.name())?;
        if self.features.sme {
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

/// Pairs of SVE and SME lengths: each longer than the other, and equal as far as the host can.
const LENGTHS: [(Length, Length); 4] = [
    (Length::Greatest, Length::Greatest),
    (Length::Shortest, Length::Greatest),
    (Length::Greatest, Length::Shortest),
    (Length::Middle, Length::Middle),
];

impl Kind {
    /// Its features and mode, which decide what registers there are but for the rows of ZA.
    pub fn name(&self) -> String {
        let mode = ["", " SM", " ZA", " SM ZA"][self.svcr as usize];
        format!("{}{mode}", self.features.name)
    }

    /// With the greatest lengths, in each state of SVCR.
    pub fn modes_of(features: Features) -> impl Iterator<Item = Self> {
        let svcrs = if features.sme { 0..4 } else { 0..1 };
        svcrs.map(move |svcr| Self {
            features,
            svcr,
            vl: Length::Greatest,
            svl: Length::Greatest,
            lowered: false,
        })
    }

    /// All of a set of features.
    pub fn all_with(features: Features) -> Vec<Self> {
        let mut kinds: Vec<Self> = Vec::new();

        for of_mode in Self::modes_of(features) {
            for (vl, svl) in LENGTHS {
                // What a vCPU does not have does not tell two of them apart.
                let vl = if features.sve { vl } else { Length::Greatest };
                let svl = if features.sme { svl } else { Length::Greatest };
                let kind = Self { vl, svl, ..of_mode };
                let alike = |o: &Self| (o.svcr, o.vl, o.svl) == (kind.svcr, vl, svl);
                if !kinds.iter().any(alike) {
                    kinds.push(kind);
                }
            }
            if features.sme {
                kinds.push(Self {
                    vl: Length::Middle,
                    lowered: true,
                    ..of_mode
                });
            }
        }
        kinds
    }

    /// One of each set of features there is, in each state of SVCR.
    pub fn one_of_each() -> Vec<Self> {
        let features = ALL.into_iter().chain(MORE);
        features.flat_map(Self::modes_of).collect()
    }

    /// One with the same features that differs in all else: mode and lengths.
    pub fn opposite(&self) -> Self {
        let Features { sve, sme, .. } = self.features;
        let other = |there: bool, length| match length {
            _ if !there => length,
            Length::Greatest => Length::Shortest,
            Length::Shortest | Length::Middle => Length::Greatest,
        };
        Self {
            svcr: if sme { 3 - self.svcr } else { 0 },
            vl: other(sve, self.vl),
            svl: other(sme, self.svl),
            ..*self
        }
    }

    /// Makes a VM with `vcpus` vCPUs that have no state yet. Skips what the host cannot have.
    pub fn bare(&self, kvm: &Kvm, vcpus: u32) -> Outcome<TestVm> {
        self.features.require(kvm)?;
        Ok(TestVm::new(kvm, self.features, vcpus)?)
    }

    /// The same with the vCPUs as this kind says, finalized.
    pub fn test_vm(&self, kvm: &Kvm, vcpus: u32) -> Outcome<TestVm> {
        let test = self.bare(kvm, vcpus)?;
        for vcpu in &test.vcpus {
            self.set_up(vcpu)?;
        }
        Ok(test)
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
        if self.features.finalizes() {
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

    /// The mode in which a vCPU of this kind is.
    pub fn mode(&self, vcpu: &Vcpu) -> Result<Mode> {
        Mode::of(vcpu, self.features.sve, self.features.sme)
    }
}

/// Sets a field of a register, which `mask` has all bits of.
pub fn set_field(vcpu: &Vcpu, id: RegId, mask: u64, field: u64) -> Result {
    let value = vcpu.get(id)?.low() & !mask | field << mask.trailing_zeros();
    vcpu.set(id, &Value::from_u64(value, 8))
}
