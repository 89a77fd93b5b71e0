// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! Whether a host takes a vCPU with all its registers, before one is made there.

use crate::{
    config::{bytes_of, ids, is_vector},
    error::named,
    idreg::{fields_of, is_known},
    ioctl::{KVM_ARM_VCPU_HAS_EL2, KVM_ARM_VCPU_SME, KVM_ARM_VCPU_SVE},
    kind::{is_id_register, kind_features},
    known::{harmless, Only},
    pool, register_name,
    restore::names_of,
    Config, Error, FieldDifference, Lengths, Machine, Offer, Reason, Result, SavedVcpu, VcpuKind,
};
#[cfg(feature = "json")]
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// How a saved vCPU fits a host: what [`SavedVcpu::why_not()`] gives.
///
/// # Examples
///
/// ```
/// use arm64_vl::{Offer, Reason, SavedVcpu};
///
/// let saved = SavedVcpu::new(None, [(0x6030_0000_0010_0000, vec![0; 8])])?;
/// let fit = saved.why_not(&Offer::default());
/// assert!(!fit.is_whole());
/// assert_eq!(fit.reasons, [Reason::UnknownKind], "nobody has asked its KVM");
/// # Ok::<(), arm64_vl::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(Serialize))]
#[non_exhaustive]
pub struct Fit {
    /// Why the host has no such vCPU at all.
    pub reasons: Vec<Reason>,
    /// The ids of registers that were saved and that the host does not have.
    pub missing: Vec<u64>,
    /// The ids of registers that the host has and that were not saved.
    pub extra: Vec<u64>,
    /// What the host does not take.
    pub refused: Vec<FieldDifference>,
    /// Fields that the host has another value of than was saved, which it takes: the guest sees what it saw.
    pub lowered: Vec<FieldDifference>,
    /// Registers that are missing or extra without harm, and those that the host takes and then shows in its own
    /// way.
    pub harmless: Vec<Harmless>,
}

/// A difference that does no harm, and why.
///
/// ```
/// fn words(harmless: &arm64_vl::Harmless) -> String {
///     format!("{} ({})", harmless.why, harmless.source)
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(Serialize))]
#[non_exhaustive]
pub struct Harmless {
    /// The id of the register.
    pub id: u64,
    /// Why it does no harm.
    pub why: &'static str,
    /// Where that is to be seen.
    pub source: &'static str,
}

impl fmt::Display for Harmless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", named(self.id), self.why, self.source)
    }
}

impl Fit {
    /// Whether [`crate::restore()`] into a vCPU of that host is `Ok`: all registers are there and are taken, and
    /// none besides.
    ///
    /// Some of what a host takes is not in its offer. MPAM and NV of its CPU, which KVM takes from old kernels and
    /// hides, are refused here; a guest whose SSBS is hidden is taken for safe from Spectre v4 where the host has
    /// SSBS.
    pub fn is_whole(&self) -> bool {
        self.reasons.is_empty()
            && self.missing.is_empty()
            && self.extra.is_empty()
            && self.refused.is_empty()
    }
}

impl Fit {
    fn refuses(&self, id: u64) -> bool {
        self.refused.iter().any(|difference| difference.id == id)
    }

    /// Whether [`crate::Restore`] is `Ok` that tolerates what is known to do no harm
    /// ([`crate::Restore::tolerate_known()`]).
    pub fn is_tolerable(&self) -> bool {
        let known = |id: &u64| self.harmless.iter().any(|harmless| harmless.id == *id);
        self.reasons.is_empty()
            && self.refused.is_empty()
            && self.missing.iter().chain(&self.extra).all(known)
    }
}

impl fmt::Display for Fit {
    /// A line for each difference; nothing where there is none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids = |f: &mut fmt::Formatter<'_>, what: &str, ids: &[u64]| {
            ids.iter()
                .try_for_each(|id| writeln!(f, "{what}: {}", named(*id)))
        };
        let fields = |f: &mut fmt::Formatter<'_>, what: &str, all: &[FieldDifference]| {
            all.iter()
                .try_for_each(|difference| writeln!(f, "{what}: {difference}"))
        };
        for reason in &self.reasons {
            writeln!(f, "refused: {reason}")?;
        }
        ids(f, "missing", &self.missing)?;
        ids(f, "extra", &self.extra)?;
        fields(f, "refused", &self.refused)?;
        fields(f, "lowered", &self.lowered)?;
        self.harmless
            .iter()
            .try_for_each(|harmless| writeln!(f, "harmless: {harmless}"))
    }
}

/// A value that KVM takes, because a kernel has once shown it by mistake, and makes another one of.
struct Mended {
    register: &'static str,
    field: &'static str,
    value: u64,
    /// What the host has to have, and whether this is of guests with EL2 alone.
    own: Option<u64>,
    with_el2: bool,
    why: &'static str,
    source: &'static str,
}

const NO_PMU: &str = "a PMU that is not that of Arm is shown as none";

const MENDED: [Mended; 3] = [
    Mended {
        register: "ID_AA64DFR0_EL1",
        field: "PMUVer",
        value: 15,
        own: None,
        with_el2: false,
        why: NO_PMU,
        source: "set_id_aa64dfr0_el1(), arch/arm64/kvm/sys_regs.c",
    },
    Mended {
        register: "ID_DFR0_EL1",
        field: "PerfMon",
        value: 15,
        own: None,
        with_el2: false,
        why: NO_PMU,
        source: "set_id_dfr0_el1(), arch/arm64/kvm/sys_regs.c",
    },
    Mended {
        register: "ID_AA64DFR0_EL1",
        field: "DoubleLock",
        value: 0,
        own: Some(15),
        with_el2: true,
        why: "a lock that is not there is shown as such",
        source: "ignore_feat_doublelock(), arch/arm64/kvm/sys_regs.c",
    },
];

/// Registers that a vCPU has only where a field of an ID register is as great: their visibility in
/// arch/arm64/kvm/sys_regs.c.
const SHOWN_BY: [(&str, &str, u64, &str); 9] = [
    ("ID_AA64PFR2_EL1", "FPMR", 1, "FPMR"),
    ("ID_AA64MMFR3_EL1", "TCRX", 1, "TCR2_EL1 TCR2_EL2"),
    ("ID_AA64MMFR3_EL1", "SCTLRX", 1, "SCTLR2_EL1 SCTLR2_EL2"),
    (
        "ID_AA64MMFR3_EL1",
        "S1PIE",
        1,
        "PIR_EL1 PIRE0_EL1 PIR_EL2 PIRE0_EL2",
    ),
    ("ID_AA64MMFR3_EL1", "S1POE", 1, "POR_EL0 POR_EL1 POR_EL2"),
    (
        "ID_AA64MMFR0_EL1",
        "FGT",
        1,
        "HFGRTR_EL2 HFGWTR_EL2 HDFGRTR_EL2 HDFGWTR_EL2 HAFGRTR_EL2",
    ),
    (
        "ID_AA64MMFR0_EL1",
        "FGT",
        2,
        "HFGRTR2_EL2 HFGWTR2_EL2 HDFGRTR2_EL2 HDFGWTR2_EL2 HFGITR2_EL2",
    ),
    ("ID_AA64MMFR4_EL1", "NV_frac", 1, "VNCR_EL2"),
    ("ID_AA64MMFR4_EL1", "NV_frac", 2, "NVHCR_EL2"),
];

const FIRMWARE: u64 = 0x6030_0000_0014_0000;
const PSCI_VERSION: u64 = FIRMWARE;
const WORKAROUND_2: u64 = FIRMWARE | 2;
const FIRMWARE_FEATURES: u64 = 0x6030_0000_0016_0000;
const VENDOR_HYP_BMAP_2: u64 = FIRMWARE_FEATURES | 3;
const CCSIDR: u64 = 0x6020_0000_0011_0000;
const CTR_EL0: u64 = 0x6030_0000_0013_d801;
const CLIDR_EL1: u64 = 0x6030_0000_0013_c801;
const ID_AA64PFR1_EL1: u64 = 0x6030_0000_0013_c021;
/// A field of a register by its name.
pub(crate) fn field(register: &str, name: &str, value: u64, id: u64) -> Option<u64> {
    if register_name(id) != register {
        return None;
    }
    let fields = fields_of(id, false);
    fields
        .iter()
        .find(|field| field.name == name)
        .map(|field| field.of(value))
}

impl SavedVcpu {
    /// The value of a register of 64 bits.
    pub(crate) fn number(&self, id: u64) -> Option<u64> {
        Some(u64::from_le_bytes(self.value(id)?.try_into().ok()?))
    }

    /// What keeps this vCPU from a host, and what would change: an [`Offer`], or the [`crate::Machine`] with it.
    ///
    /// A state that was saved before the guest ran does as well as one of the end: the registers and what they
    /// say of the CPU are the same then. So this can be asked before the source is paused.
    ///
    /// Of kinds of vCPUs the offer has one with the saved features, or, where these are not known, the one that
    /// is most like what was saved.
    ///
    /// # Examples
    ///
    /// ```
    /// use arm64_vl::{save, Machine, SavedVcpu};
    ///
    /// fn first_that_takes<'a>(saved: &SavedVcpu, hosts: &'a [Machine]) -> Option<&'a Machine> {
    ///     hosts.iter().find(|host| saved.why_not(*host).is_whole())
    /// }
    /// ```
    pub fn why_not<'a>(&self, to: impl Into<Option<&'a Offer>>) -> Fit {
        let mut fit = Fit::default();
        let Some(offer) = to.into() else {
            fit.reasons.push(Reason::NoKvm);
            return fit;
        };
        // SME2 and FA64 are fields of ID registers.
        let config = Config {
            sve: self.sve(),
            sme: self.sme(),
            ..Config::default()
        };
        fit.reasons = config.reasons(offer);
        match self.kind_in(offer) {
            Some(kind) => self.compare(offer, kind, &mut fit),
            None => fit.reasons.push(Reason::UnknownKind),
        }
        fit
    }

    /// The kind of vCPU that was saved.
    pub(crate) fn kind_in<'a>(&self, offer: &'a Offer) -> Option<&'a VcpuKind> {
        if let Some(features) = self.features() {
            let features = kind_features(features);
            return offer.kinds.iter().find(|kind| kind.features == features);
        }
        let own = self.ids();
        // SVE and SME are known, by their lengths.
        let same = |kind: &&VcpuKind| {
            let has = |bit: u32| kind.features[0] >> bit & 1 != 0;
            has(KVM_ARM_VCPU_SVE) != self.sve().is_empty()
                && has(KVM_ARM_VCPU_SME) != self.sme().is_empty()
        };
        let unlike = |kind: &&VcpuKind| own.symmetric_difference(&kind.registers).count();
        offer.kinds.iter().filter(same).min_by_key(unlike)
    }

    /// What it has besides vector registers.
    pub(crate) fn ids(&self) -> BTreeSet<u64> {
        let all = self.registers().map(|(id, _)| id);
        all.filter(|id| !is_vector(*id)).collect()
    }

    fn compare(&self, offer: &Offer, kind: &VcpuKind, fit: &mut Fit) {
        let own = self.ids();
        fit.missing.extend(own.difference(&kind.registers));
        for id in own.intersection(&kind.registers) {
            if id & !0xff == CCSIDR {
                self.compare_cache(kind, *id, fit);
            } else if let (8, Some(wanted)) = (bytes_of(*id), self.number(*id)) {
                if let Some(offered) = kind.limits.get(id).filter(|offered| **offered != wanted) {
                    self.compare_limited(offer, kind, *id, wanted, *offered, fit);
                }
            }
        }
        // Those that are refused show what the host has.
        let extra = kind.registers.difference(&own);
        let extra: Vec<_> = extra.filter(|id| !self.hides(**id, fit)).collect();
        fit.extra.extend(extra);
        let (missing, extra) = (fit.missing.iter(), fit.extra.iter());
        let sides = missing.map(|id| (id, Only::Saved));
        let sides = sides.chain(extra.map(|id| (id, Only::Found)));
        let known = sides.filter_map(|(id, only)| harmless(*id, only, Some(self)));
        fit.harmless.extend(known);
    }

    /// Whether a register of the host goes once the saved ID registers have been written.
    fn hides(&self, id: u64, fit: &Fit) -> bool {
        let name = register_name(id);
        let hidden = |(register, shown_by, least, names): &(&str, &str, u64, &str)| {
            names.split(' ').any(|one| one == name)
                && self.registers().any(|(id, _)| {
                    let value = self.number(id).unwrap_or(0);
                    let shown = field(register, shown_by, value, id);
                    !fit.refuses(id) && shown.is_some_and(|value| value < *least)
                })
        };
        SHOWN_BY.iter().any(hidden)
    }

    fn compare_limited(
        &self,
        offer: &Offer,
        kind: &VcpuKind,
        id: u64,
        wanted: u64,
        offered: u64,
        fit: &mut Fit,
    ) {
        let writable = offer.writable.get(&id).copied().unwrap_or(0);
        if !is_id_register(id) {
            let whole = fields_of(0, false);
            let list = match self.takes_firmware(kind, id, wanted, offered, fit) {
                true => &mut fit.lowered,
                false => &mut fit.refused,
            };
            let differ = whole.iter().filter(|f| f.of(wanted) != f.of(offered));
            list.extend(differ.map(|f| FieldDifference::new(id, f, wanted, offered)));
            return;
        }
        let has_el2 = kind.features[0] >> KVM_ARM_VCPU_HAS_EL2 & 1 != 0;
        let fields = fields_of(id, has_el2);
        let is_aa32 = (0xc008..0xc020).contains(&(id & 0xffff)) && is_known(id);
        if is_aa32 && offered == 0 && writable == 0 {
            fit.harmless.push(Harmless {
                id,
                why: "the host has no 32-bit EL0: it reads 0",
                source: "aa32_id_visibility(), arch/arm64/kvm/sys_regs.c",
            });
            return;
        }
        let name = register_name(id);
        let idc = kind
            .limits
            .get(&CTR_EL0)
            .is_some_and(|ctr| ctr >> 28 & 1 != 0);
        for f in fields.iter().filter(|f| f.of(wanted) != f.of(offered)) {
            let mended = MENDED.iter().find(|mended| {
                mended.register == name
                    && mended.field == f.name
                    && mended.value == f.of(wanted)
                    && mended.own.is_none_or(|own| own == f.of(offered))
                    && (has_el2 || !mended.with_el2)
            });
            let difference = FieldDifference::new(id, f, wanted, offered);
            if let Some(Mended { why, source, .. }) = mended {
                fit.harmless.push(Harmless { id, why, source });
            } else if id == CLIDR_EL1 && (idc || needs_clean(wanted)) && wanted & !writable == 0
                || f.takes(offered, writable, wanted)
            {
                fit.lowered.push(difference);
            } else {
                fit.refused.push(difference);
            }
        }
    }

    /// `kvm_arm_set_fw_reg()` and `kvm_arm_set_fw_reg_bmap()`, arch/arm64/kvm/hypercalls.c.
    fn takes_firmware(
        &self,
        kind: &VcpuKind,
        id: u64,
        wanted: u64,
        offered: u64,
        fit: &Fit,
    ) -> bool {
        /// `KVM_REG_ARM_VENDOR_HYP_BMAP_2` is 0 to begin with, and has two bits that can be set.
        const VENDOR_HYP_2: u64 = 3;
        const PSCI_0_1: u64 = 1;
        match id {
            // That of a vCPU without KVM_ARM_VCPU_PSCI_0_2, which is the same where the features are.
            PSCI_VERSION => wanted == PSCI_0_1 || wanted <= offered,
            WORKAROUND_2 => {
                // With SSBS, a guest does without firmware.
                let ssbs = |value: Option<u64>| value.is_some_and(|value| value >> 4 & 15 != 0);
                let host = kind.limits.get(&ID_AA64PFR1_EL1).copied();
                let hidden = ssbs(host)
                    && !ssbs(self.number(ID_AA64PFR1_EL1))
                    && !fit.refuses(ID_AA64PFR1_EL1);
                // Not available and unknown, available and not required: two states, which a kernel tells apart.
                let is_safe = |value: u64| value & 15 >= 2;
                let is_enabled = wanted & 16 != 0;
                let can_be = wanted & !16 <= 3 && (!is_enabled || wanted & 15 == 2);
                can_be && (hidden || is_safe(offered) || !is_safe(wanted))
            }
            VENDOR_HYP_BMAP_2 => wanted & !(offered | VENDOR_HYP_2) == 0,
            _ if id & !0xffff == FIRMWARE_FEATURES => wanted & !offered == 0,
            _ => wanted <= offered,
        }
    }

    /// `set_ccsidr()`: the lines of a cache are no shorter than the shortest of the host.
    fn compare_cache(&self, kind: &VcpuKind, id: u64, fit: &mut Fit) {
        let Some(value) = self.value(id).and_then(|value| value.first()) else {
            return;
        };
        let ctr = kind.limits.get(&CTR_EL0).copied().unwrap_or(0);
        // CSSELR_EL1.InD: instruction caches. IminLine and DminLine count words of 4 bytes, LineSize 16 bytes.
        let shortest = if id & 1 != 0 { ctr } else { ctr >> 16 } & 15;
        let line = u64::from(value & 7);
        if line + 4 < shortest + 2 {
            fit.refused.push(FieldDifference {
                id,
                field: "LineSize".into(),
                saved: line,
                found: shortest.saturating_sub(2),
            });
        }
    }
}

/// `set_clidr()`: whether CLIDR_EL1 says that data caches have to be cleaned for what is fetched.
fn needs_clean(clidr: u64) -> bool {
    let (loc, louis, louu) = (clidr >> 24 & 7, clidr >> 21 & 7, clidr >> 27 & 7);
    loc != 0 && (louis != 0 || louu != 0)
}

/// The vCPU that runs on all hosts of a pool, with its registers.
///
/// ```
/// fn unfit(common: &arm64_vl::CommonVcpu) -> impl Iterator<Item = &String> {
///     common.fits.iter().filter(|(_, fit)| !fit.is_whole()).map(|(name, _)| name)
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(Serialize))]
#[non_exhaustive]
pub struct CommonVcpu {
    /// Its vectors, which [`pool()`] tells.
    pub config: Config,
    /// What a VMM writes to registers of each new vCPU before it runs, by id: the greatest that all hosts take.
    /// Those are left out that all hosts have so by themselves.
    pub set: BTreeMap<u64, u64>,
    /// How a vCPU like this fits each host, by its name.
    pub fits: Vec<(String, Fit)>,
}

impl CommonVcpu {
    /// Whether all hosts take it.
    pub fn is_whole(&self) -> bool {
        self.fits.iter().all(|(_, fit)| fit.is_whole())
    }
}

/// The greatest vCPU of these features of `KVM_ARM_VCPU_INIT` that runs on all of these hosts, with its registers.
/// SVE and SME are as [`pool()`] has them, whatever the features are.
///
/// # Errors
///
/// Those of [`pool()`], and [`Error::Missing`] with the host that has no such vCPU, or was not asked for it.
///
/// # Examples
///
/// ```
/// use arm64_vl::{common_vcpu, Machine, Offer};
///
/// let host = Machine::with_offer("host", Offer::default());
/// let error = common_vcpu(&[host], [0; 7]).unwrap_err();
/// assert_eq!(error.to_string(), "\"host\" has no vCPU with no feature in its description");
/// ```
pub fn common_vcpu(machines: &[Machine], features: [u32; 7]) -> Result<CommonVcpu> {
    let config = pool(machines)?;
    let mut features = kind_features(features);
    for (bit, lengths) in [
        (KVM_ARM_VCPU_SVE, config.sve),
        (KVM_ARM_VCPU_SME, config.sme),
    ] {
        features[0] = features[0] & !(1 << bit) | u32::from(!lengths.is_empty()) << bit;
    }
    let kind = |machine: &Machine| {
        let kinds = machine.kvm.iter().flat_map(|offer| &offer.kinds);
        let found = kinds.into_iter().find(|kind| kind.features == features);
        let none = format!(
            "{:?} has no vCPU with {} in its description",
            machine.name,
            names_of(features)
        );
        found.cloned().ok_or(Error::Missing(none))
    };
    let kinds = machines.iter().map(kind).collect::<Result<Vec<_>>>()?;
    let common = kinds.iter().cloned().reduce(|a, b| VcpuKind {
        features,
        registers: a.registers.intersection(&b.registers).copied().collect(),
        limits: meet(&a.limits, &b.limits),
    });
    let common = common.unwrap_or_default();
    let set = common.limits.iter().filter(|(id, value)| {
        let own = kinds.iter().map(|kind| kind.limits.get(id));
        own.into_iter().any(|own| own != Some(value))
    });
    let set = set.map(|(id, value)| (*id, *value)).collect();
    let vcpu = SavedVcpu::of_kind(
        &common,
        [(ids::SVE_VLS, config.sve), (ids::SME_VLS, config.sme)],
    )?;
    let fits = machines
        .iter()
        .map(|machine| (machine.name.clone(), vcpu.why_not(machine)));
    Ok(CommonVcpu {
        config,
        set,
        fits: fits.collect(),
    })
}

/// What two hosts are most likely to take both, of what each has by itself.
fn meet(a: &BTreeMap<u64, u64>, b: &BTreeMap<u64, u64>) -> BTreeMap<u64, u64> {
    let both = |(id, a): (&u64, &u64)| {
        let b = b.get(id)?;
        let value = if *id == CLIDR_EL1 {
            // With cleaning is right on both.
            if needs_clean(*a) {
                *a
            } else {
                *b
            }
        } else if is_id_register(*id) {
            let fields = fields_of(*id, false);
            fields.iter().fold(0, |all, field| all | field.meet(*a, *b))
        } else if id & !0xffff == FIRMWARE_FEATURES {
            a & b
        } else {
            *a.min(b)
        };
        Some((*id, value))
    };
    a.iter().filter_map(both).collect()
}

impl SavedVcpu {
    /// One that has not run yet: its limits, and zeroes for what only a vCPU knows.
    fn of_kind(kind: &VcpuKind, lengths: [(u64, Lengths); 2]) -> Result<Self> {
        let value = |id: u64| {
            let mut value = vec![0; bytes_of(id)];
            // The line of a cache is none that a host could have too long.
            value[0] = if id & !0xff == CCSIDR { 7 } else { 0 };
            match kind.limits.get(&id) {
                Some(limit) => limit.to_le_bytes().to_vec(),
                None => value,
            }
        };
        let registers = kind.registers.iter().map(|id| (*id, value(*id)));
        let vectors = lengths
            .into_iter()
            .filter(|(_, lengths)| !lengths.is_empty());
        let vectors = vectors.map(|(id, lengths)| {
            let words = lengths.register().into_iter();
            (id, words.flat_map(u64::to_le_bytes).collect())
        });
        Self::new(Some(kind.features), registers.chain(vectors))
    }
}
