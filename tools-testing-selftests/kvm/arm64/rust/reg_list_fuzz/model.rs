// SPDX-License-Identifier: GPL-2.0-only

//! What the fuzzer expects: the list of a vCPU in a mode and what must hold for its order, and the
//! errors of each call.

use crate::known::is_sized;
use kvmtest::{
    kvm::{uapi, Errno, Kvm, Result, Vcpu, Vm},
    reg::RegId,
    vcpus::{Features, TestVm, PLAIN},
    vectors::{
        self, is_v, Mode, FFR, FPCR, FPMR, FPSR, ID_AA64PFR1_EL1, ID_AA64PFR2_EL1,
        ID_AA64SMFR0_EL1, NR_Z, PFR1_SME, PFR2_FPMR, SMFR0_FA64, ZT0,
    },
};
use std::collections::BTreeSet;

/// What is wrong, for people.
pub type Checked<T = ()> = std::result::Result<T, String>;

/// Kinds of vCPU, by the features that they are initialized with.
#[rustfmt::skip]
const KINDS: [Features; 9] = [
    Features { more: &[], ..PLAIN },
    Features { name: "PMU", pmu: true, ..PLAIN },
    Features { name: "32-bit EL1", pmu: true, more: &[AARCH32], ..PLAIN },
    Features { name: "SVE", sve: true, ..PLAIN },
    Features { name: "SVE+PMU+ptrauth", sve: true, pmu: true, more: &PTRAUTH, ..PLAIN },
    Features { name: "SME", sme: true, ..PLAIN },
    Features { name: "SME+PMU", sme: true, pmu: true, more: &[], ..PLAIN },
    Features { name: "SVE+SME", sve: true, sme: true, more: &[], ..PLAIN },
    Features { name: "SVE+SME+PMU+ptrauth",
        sve: true, sme: true, pmu: true, more: &PTRAUTH, ..PLAIN },
];

const AARCH32: u32 = uapi::KVM_ARM_VCPU_EL1_32BIT;
const PTRAUTH: [u32; 3] = [
    uapi::KVM_ARM_VCPU_PSCI_0_2,
    uapi::KVM_ARM_VCPU_PTRAUTH_ADDRESS,
    uapi::KVM_ARM_VCPU_PTRAUTH_GENERIC,
];

/// The registers that others depend on. Where they are is checked by [`DEPENDENCIES`] alone.
pub const LEADERS: [RegId; 5] = [
    RegId::SVE_VLS,
    RegId::SME_VLS,
    RegId::SVCR,
    ID_AA64PFR1_EL1,
    RegId::CNTVCT_EL0,
];

const ID_AA64MMFR3_EL1: RegId = RegId::sys(3, 0, 0, 7, 3);

/// Some of the registers.
type Which = fn(RegId) -> bool;

/// Which registers have to come after which: all that is said of the order.
const DEPENDENCIES: [(RegId, Which); 6] = [
    (RegId::SVE_VLS, is_sized),
    (RegId::SME_VLS, is_sized),
    (RegId::SVCR, is_sized),
    (RegId::SVCR, |id| is_v(id) || id == FPSR || id == FPMR),
    (ID_AA64PFR1_EL1, |id| id == RegId::WORKAROUND_2),
    (RegId::CNTVCT_EL0, |id| id == RegId::CNTPCT_EL0),
];

/// System registers that an ID register of the guest hides while a field of it is 0.
#[rustfmt::skip]
const OPTIONAL: [(RegId, RegId, u64); 7] = [
    (FPMR,                         ID_AA64PFR2_EL1,  PFR2_FPMR),
    (RegId::sys(3, 0, 2, 0, 3),    ID_AA64MMFR3_EL1, 0xf),       // TCR2_EL1
    (RegId::sys(3, 0, 1, 0, 3),    ID_AA64MMFR3_EL1, 0xf << 4),  // SCTLR2_EL1
    (RegId::sys(3, 0, 10, 2, 2),   ID_AA64MMFR3_EL1, 0xf << 8),  // PIRE0_EL1
    (RegId::sys(3, 0, 10, 2, 3),   ID_AA64MMFR3_EL1, 0xf << 8),  // PIR_EL1
    (RegId::sys(3, 0, 10, 2, 4),   ID_AA64MMFR3_EL1, 0xf << 16), // POR_EL1
    (RegId::sys(3, 3, 10, 2, 4),   ID_AA64MMFR3_EL1, 0xf << 16), // POR_EL0
];

/// What the ID registers of a VM say of registers that can be hidden.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Guest {
    pub sme2: bool,
    pub fa64: bool,
    shown: [bool; OPTIONAL.len()],
}

impl Guest {
    /// Reads it from a vCPU, which has SME or not.
    pub fn of(vcpu: &Vcpu, sme: bool) -> Result<Self> {
        let low = |id| vcpu.get(id).map(|value| value.low());
        let mut guest = Self {
            sme2: sme && low(ID_AA64PFR1_EL1)? & PFR1_SME >= 2 << 24,
            fa64: sme && low(ID_AA64SMFR0_EL1)? & SMFR0_FA64 != 0,
            ..Self::default()
        };
        let mut last = None;
        for (shown, (_, by, field)) in guest.shown.iter_mut().zip(OPTIONAL) {
            // Most are in the same one.
            let value = match last {
                Some((id, value)) if id == by => value,
                _ => low(by)?,
            };
            last = Some((by, value));
            *shown = value & field != 0;
        }
        Ok(guest)
    }

    /// What the list of a vCPU with one of its modes says of it.
    fn of_list(list: &[RegId]) -> Self {
        Self {
            shown: OPTIONAL.map(|(id, ..)| list.contains(&id)),
            ..Self::default()
        }
    }

    /// Whether `id` is not one of those that are hidden.
    fn shows(&self, id: RegId) -> bool {
        let at = OPTIONAL.iter().position(|(optional, ..)| *optional == id);
        at.is_none_or(|at| self.shown[at])
    }
}

/// A kind of vCPU that this host can have.
pub struct Kind {
    pub name: &'static str,
    pub features: u32,
    pub sve: bool,
    pub sme: bool,
    pub pmu: bool,
    pub aarch32: bool,
    /// The sets of vector lengths of the host, and SCTLR_EL1 after reset.
    pub sve_vqs: u64,
    pub sme_vqs: u64,
    pub sctlr: u64,
    /// Whether there is an id among its firmware, system and cache registers.
    others: BTreeSet<RegId>,
    /// The same in order, without the [`LEADERS`].
    rest: Vec<RegId>,
}

impl Kind {
    /// Those that the host has, as they are before anything is written.
    pub fn all(kvm: &Kvm) -> Checked<Vec<Self>> {
        let mut kinds = Vec::new();
        for features in KINDS {
            if features.require(kvm).is_ok() {
                let kind = Self::new(kvm, features);
                kinds
                    .push(kind.map_err(|error| format!("a new vCPU, {}: {error}", features.name))?);
            }
        }
        kinds.iter().try_for_each(Self::check_order)?;
        Ok(kinds)
    }

    fn new(kvm: &Kvm, features: Features) -> Result<Self> {
        let test = TestVm::new(kvm, features, 1)?;
        let vcpu = &test.vcpus[0];
        let low = |id, there: bool| {
            if there {
                vcpu.get(id).map(|v| v.low())
            } else {
                Ok(0)
            }
        };
        let (sve, sme) = (features.sve, features.sme);
        let (sve_vqs, sme_vqs) = (low(RegId::SVE_VLS, sve)?, low(RegId::SME_VLS, sme)?);
        let sctlr = low(RegId::sys(3, 0, 1, 0, 0), true)?;
        if sve || sme {
            vcpu.finalize()?;
        }

        let of_vcpu = [
            uapi::KVM_REG_ARM_CORE,
            uapi::KVM_REG_ARM64_SVE,
            uapi::KVM_REG_ARM64_SME,
        ];
        let mut rest = vcpu.list()?;
        rest.retain(|id| !of_vcpu.contains(&id.class()));
        let others = rest.iter().copied().collect();
        rest.retain(|id| !LEADERS.contains(id));

        Ok(Self {
            name: features.name,
            features: features.bits().iter().fold(0, |bits, bit| bits | 1 << bit),
            sve,
            sme,
            pmu: features.pmu,
            aarch32: features.more.contains(&AARCH32),
            sve_vqs,
            sme_vqs,
            sctlr,
            others,
            rest,
        })
    }

    /// Registers without a dependency have the kernel's order: firmware as it is numbered, system
    /// registers by their encoding, caches.
    fn check_order(&self) -> Checked {
        let place = |id: &RegId| {
            let class = match id.class() {
                uapi::KVM_REG_ARM_FW => 0,
                uapi::KVM_REG_ARM_FW_FEAT_BMAP => 1,
                uapi::KVM_REG_ARM64_SYSREG => 2,
                _ => 3,
            };
            // The ids of CNTVCT_EL0 and CNTV_CVAL_EL0 have the encodings of each other.
            let number = match id.number() {
                0xdf1a if class == 2 => 0xdf02,
                0xdf02 if class == 2 => 0xdf1a,
                number => number,
            };
            (class, number)
        };
        let wrong = self
            .rest
            .windows(2)
            .find(|two| place(&two[0]) >= place(&two[1]));
        match wrong {
            Some(two) => Err(format!(
                "{}: {:#x} is listed before {:#x}",
                self.name,
                two[0].raw(),
                two[1].raw()
            )),
            None => Ok(()),
        }
    }

    /// A vCPU after [`Self::init`].
    pub fn mode(&self) -> Mode {
        Mode {
            sve: self.sve,
            sme: self.sme,
            sme2: false,
            fa64: false,
            sm: false,
            za: false,
            vl: vectors::greatest(self.sve_vqs),
            svl: vectors::greatest(self.sme_vqs),
        }
    }

    /// Initializes a vCPU of this kind.
    pub fn init(&self, vm: &Vm, vcpu: &Vcpu) -> Result {
        vcpu.init_raw(vm.target()?, [self.features, 0, 0, 0, 0, 0, 0])
    }

    /// Whether a vCPU of this kind has a register.
    pub fn has(&self, id: RegId, mode: Mode, guest: &Guest) -> bool {
        match id.class() {
            uapi::KVM_REG_ARM_CORE => core_registers(mode).any(|core| core == id),
            uapi::KVM_REG_ARM64_SVE | uapi::KVM_REG_ARM64_SME => has_vector(id, mode),
            _ => self.others.contains(&id) && guest.shows(id),
        }
    }

    /// Its registers in a mode, without the [`LEADERS`].
    pub fn registers(&self, mode: Mode, guest: &Guest) -> Vec<RegId> {
        let mut ids: Vec<_> = core_registers(mode).collect();
        ids.extend(mode.registers().into_iter().filter(|&id| is_sized(id)));
        ids.extend(self.rest.iter().filter(|&&id| guest.shows(id)));
        ids
    }

    /// Those of the [`LEADERS`] that it has.
    pub fn leaders(&self) -> impl Iterator<Item = RegId> + '_ {
        let has = |id: &RegId| match *id {
            RegId::SVE_VLS => self.sve,
            RegId::SME_VLS | RegId::SVCR => self.sme,
            _ => true,
        };
        LEADERS.into_iter().filter(has)
    }

    /// Whether a list is that of a vCPU in a known mode: nothing lost, nothing twice, nothing
    /// invented, and in order.
    pub fn check_list(&self, list: &[RegId], mode: Mode, guest: &Guest) -> Checked {
        let (mut led, rest): (Vec<RegId>, Vec<RegId>) =
            list.iter().partition(|id| LEADERS.contains(id));
        led.sort();
        let mut leaders: Vec<_> = self.leaders().collect();
        leaders.sort();
        if led != leaders {
            let led: Vec<_> = led.iter().map(|id| id.raw()).collect();
            return Err(format!(
                "of those that others depend on, it lists {led:#x?}"
            ));
        }

        let expected = self.registers(mode, guest);
        if rest != expected {
            let same = rest.iter().zip(&expected).take_while(|(a, b)| a == b);
            let at = same.count();
            let show =
                |id: Option<&RegId>| id.map_or("nothing".into(), |id| format!("{:#x}", id.raw()));
            return Err(format!(
                "lists {} where {} comes next ({} ids, not {}) in {mode:?}",
                show(rest.get(at)),
                show(expected.get(at)),
                rest.len(),
                expected.len(),
            ));
        }
        check_dependencies(list)
    }

    /// Whether a list is that of a vCPU with these lengths in any one mode.
    pub fn check_any_list(&self, list: &[RegId], lengths: Mode) -> Checked {
        let there = |id| list.contains(&id);
        let seen = (
            there(vectors::z(0)),
            there(FFR),
            there(vectors::za(0)),
            there(ZT0),
        );
        for bits in 0..16 {
            let mode = Mode {
                sm: self.sme && bits & 1 != 0,
                za: self.sme && bits & 2 != 0,
                sme2: self.sme && bits & 4 != 0,
                fa64: self.sme && bits & 8 != 0,
                ..lengths
            };
            if (mode.has_z(), mode.has_ffr(), mode.za, mode.za && mode.sme2) == seen {
                return self.check_list(list, mode, &Guest::of_list(list));
            }
        }
        Err(format!(
            "lists Z0, FFR, ZA.H[0], ZT0 {seen:?}, which no mode has together"
        ))
    }
}

/// The core registers, numbered in words of 32 bits.
fn core_registers(mode: Mode) -> impl Iterator<Item = RegId> {
    let vectors = if mode.has_z() { 0 } else { NR_Z };
    let first = (0..82).step_by(2);
    first
        .map(|n| RegId::new(RegId::x(0).raw() | n))
        .chain((0..vectors).map(vectors::v))
        .chain([FPSR, FPCR])
}

/// Whether one of [`Mode::registers`] of the vector classes is `id`.
fn has_vector(id: RegId, mode: Mode) -> bool {
    let n = id.number() >> 5;
    match id {
        RegId::SVE_VLS => mode.sve,
        RegId::SME_VLS => mode.sme,
        FFR => mode.has_ffr(),
        ZT0 => mode.za && mode.sme2,
        _ if id == vectors::z(n & 31) => mode.has_z(),
        _ if id == vectors::p(n & 15) => mode.has_z(),
        _ => id == vectors::za(n) && mode.za && n < mode.svl as u64,
    }
}

/// Whether every register comes after all that it depends on.
fn check_dependencies(list: &[RegId]) -> Checked {
    for (first, depends) in DEPENDENCIES {
        let Some(at) = list.iter().position(|&id| id == first) else {
            continue;
        };
        if let Some(then) = list[..at].iter().find(|&&id| depends(id)) {
            return Err(format!(
                "lists {:#x} before {:#x}, on which it depends",
                then.raw(),
                first.raw()
            ));
        }
    }
    Ok(())
}

/// A set of outcomes of a call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Outcomes(u64);

impl Outcomes {
    /// Success.
    pub const OK: Self = Self(1);
    pub const EPERM: Self = Self::of(Errno::EPERM);
    pub const ENOENT: Self = Self::of(Errno::ENOENT);
    pub const EINTR: Self = Self::of(Errno::EINTR);
    pub const E2BIG: Self = Self::of(Errno::E2BIG);
    pub const ENOEXEC: Self = Self::of(Errno::ENOEXEC);
    pub const EFAULT: Self = Self::of(Errno::EFAULT);
    pub const EBUSY: Self = Self::of(Errno::EBUSY);
    pub const EINVAL: Self = Self::of(Errno::EINVAL);

    /// One error.
    pub const fn of(error: Errno) -> Self {
        Self(1 << error.0)
    }

    /// These and others.
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These without others.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether the result is one of them.
    pub fn contain<T>(self, result: &Result<T>) -> bool {
        let bit = result.as_ref().err().map_or(0, |error| error.0);
        (0..64).contains(&bit) && self.0 & 1 << bit != 0
    }

    /// Their names.
    pub fn names(self) -> String {
        let name = |bit| match bit {
            0 => "success".into(),
            bit => Errno(bit).to_string(),
        };
        let names: Vec<_> = (0..64)
            .filter(|bit| self.0 & 1 << bit != 0)
            .map(name)
            .collect();
        names.join(" or ")
    }
}

/// An access to a register.
#[derive(Clone, Copy)]
pub struct Access {
    pub id: RegId,
    pub write: bool,
    /// Whether the value cannot be read or written by the kernel.
    pub fault: bool,
    /// Whether so many bytes cannot be read as a system register has.
    pub fault_of_8: bool,
}

/// What is known of a vCPU.
#[derive(Clone, Copy)]
pub struct State<'a> {
    pub kind: &'a Kind,
    pub guest: Guest,
    pub mode: Mode,
    pub initialized: bool,
    pub finalized: bool,
    /// A vCPU of the VM has run.
    pub ran: bool,
}

impl State<'_> {
    /// Whether the vCPU has the register at this moment.
    pub fn has(&self, id: RegId) -> bool {
        self.kind.has(id, self.mode, &self.guest)
    }

    /// What an access gives. The errors are in the order in which they have to come.
    pub fn expect(&self, access: Access) -> Outcomes {
        const ARCHITECTURE: u64 = 0xff0f_ffff << 32;
        let id = access.id;

        if !self.initialized {
            return Outcomes::ENOEXEC;
        }
        if id.raw() & ARCHITECTURE != uapi::KVM_REG_ARM64 {
            return Outcomes::EINVAL;
        }
        let absent = Outcomes::ENOENT;
        let refused = Outcomes::EINVAL.or(Outcomes::EBUSY);
        // Good or bad values, and ID registers once the VM has run.
        let mut there = if access.write {
            Outcomes::OK.or(Outcomes::EINVAL)
        } else {
            Outcomes::OK
        };
        if access.write && self.ran {
            there = there.or(Outcomes::EBUSY);
        }
        if access.fault {
            there = Outcomes::EFAULT;
        }

        match id.class() {
            uapi::KVM_REG_ARM_CORE if id == RegId::PSTATE => there.without(Outcomes::EBUSY),
            uapi::KVM_REG_ARM_CORE if self.has(id) => there.without(refused),
            uapi::KVM_REG_ARM_CORE if is_v(id) => Outcomes::EINVAL,
            uapi::KVM_REG_ARM_CORE => Outcomes::EINVAL.or(absent),
            uapi::KVM_REG_ARM64_SVE | uapi::KVM_REG_ARM64_SME => self.expect_vector(access),
            uapi::KVM_REG_ARM_FW | uapi::KVM_REG_ARM_FW_FEAT_BMAP => {
                if access.write && id.bytes() != 8 {
                    absent
                } else if access.write && access.fault {
                    Outcomes::EFAULT
                } else if self.has(id) {
                    there
                } else {
                    absent
                }
            }
            uapi::KVM_REG_ARM_DEMUX if self.has(id) => there,
            uapi::KVM_REG_ARM_DEMUX => absent,
            _ if access.write && access.fault_of_8 => Outcomes::EFAULT,
            _ if self.has(id) => there,
            _ => absent,
        }
    }

    fn expect_vector(&self, access: Access) -> Outcomes {
        let id = access.id;
        let value = match (access.fault, id.is_vls() && access.write) {
            (true, _) => Outcomes::EFAULT,
            (false, true) => Outcomes::OK.or(Outcomes::EINVAL),
            (false, false) => Outcomes::OK,
        };
        let (sve, sme) = (id.class() == uapi::KVM_REG_ARM64_SVE, self.mode.sme);
        let slice_0 = RegId::new(id.raw() & !31);
        let with_za = Mode {
            za: sme,
            ..self.mode
        };

        if id.is_vls() {
            if !self.has(id) {
                Outcomes::ENOENT
            } else if access.write && self.finalized && !access.fault {
                // The value that is there, or another one.
                Outcomes::OK.or(Outcomes::EPERM)
            } else {
                value
            }
        } else if !is_vector(slice_0) || slice_0 == ZT0 && id != ZT0 {
            Outcomes::EINVAL
        } else if id != slice_0 {
            Outcomes::ENOENT
        } else if !has_vector(id, with_za) {
            // A row that ZA does not have, or a register that the vCPU does not have.
            if sme && !sve && id != ZT0 {
                Outcomes::EINVAL
            } else {
                Outcomes::ENOENT
            }
        } else if !sve && !self.mode.za {
            Outcomes::EBUSY
        } else if !self.finalized {
            Outcomes::EPERM
        } else {
            value
        }
    }
}

/// Whether an id is a vector register's in some mode of some vCPU.
fn is_vector(id: RegId) -> bool {
    let n = id.number() >> 5;
    id == FFR
        || id == ZT0
        || id == vectors::z(n & 31)
        || id == vectors::p(n & 15)
        || id == vectors::za(n & 255)
}
