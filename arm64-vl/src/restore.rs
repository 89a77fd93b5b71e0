// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! Restore of a vCPU's registers, and what of it may be otherwise.

use crate::{
    config::{bytes_of, ids},
    error::named,
    idreg::field_differences,
    ioctl::KVM_ARM_VCPU_POWER_OFF,
    known::{harmless, Only},
    register_name,
    saved::not_listed,
    Error, FailedWrite, Harmless, RegisterAccess, Result, SavedVcpu,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// Writes all registers to a vCPU that has been initialized with the same features, and is not
/// finalized if it has SVE or SME. It is finalized then. [`Restore`] does it with less than all.
///
/// `Ok` is: the vCPU has taken every register, and has none besides. What was set otherwise than by
/// registers is not looked at: [`crate::around_restore()`] names it.
///
/// # Errors
///
/// [`Error::NotInitialized`], [`Error::NotAVcpu`], and [`Error::Configuration`] for a vCPU of other features
/// or one that is finalized: nothing has been written. [`Error::Kernel`] when it does not take the
/// vector lengths. [`Error::Partial`] names all registers that it did not take, and those that it has and was not
/// given: the vCPU must not run.
///
/// # Examples
///
/// ```
/// use arm64_vl::{restore, save, SavedVcpu};
#[doc = include_str!("fake_vcpu.doc")]
///
/// # let (from, to) = (Fake::default(), Fake::default());
/// # from.set(0x6030_0000_0010_0000, &[7; 8])?;
/// let text = save(&from)?.to_json()?;
///
/// // In another process, with another vCPU of the same features:
/// restore(&to, &SavedVcpu::from_json(&text)?)?;
/// # assert_eq!(to.list()?, from.list()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn restore(vcpu: &(impl RegisterAccess + ?Sized), saved: &SavedVcpu) -> Result {
    Restore::new().write(vcpu, saved).map(drop)
}

/// A restore that does not have to be of all registers.
///
/// # Examples
///
/// ```
/// use arm64_vl::{Restore, SavedVcpu, VcpuRef};
///
/// # fn example(vcpu: VcpuRef, saved: &SavedVcpu) -> arm64_vl::Result {
/// let report = Restore::new()
///     .tolerate_known()
///     .tolerate(0x6030_0000_0013_c103) // TCR2_EL1, whatever is in it
///     .tolerate_value(0x6030_0000_0013_c513, 0) // PIR_EL1, if it is 0
///     .run(&vcpu, saved)?;
/// println!("{report}");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Restore {
    ids: BTreeSet<u64>,
    values: BTreeMap<u64, BTreeSet<u64>>,
    known: bool,
}

/// What was not the same in a restore that was `Ok`.
///
/// ```
/// fn is_same(report: &arm64_vl::Report) -> bool {
///     report.failed.is_empty() && report.not_given.is_empty() && report.changed.is_empty()
/// }
/// ```
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// Registers that the vCPU did not take, which was tolerated.
    pub failed: Vec<FailedWrite>,
    /// The ids of registers that the vCPU has and that were not saved, which was tolerated.
    pub not_given: Vec<u64>,
    /// Why the two do no harm, of those that are known.
    pub harmless: Vec<Harmless>,
    /// The ids of registers that the vCPU took and that do not read as they were written: clocks, which go on,
    /// and what KVM takes and shows in its own way.
    pub changed: Vec<u64>,
}

impl fmt::Display for Report {
    /// A line for each register; nothing where all is the same.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = |id: u64| {
            let known = self.harmless.iter().find(|harmless| harmless.id == id);
            known.map_or(String::new(), |known| {
                format!("; {} ({})", known.why, known.source)
            })
        };
        for write in &self.failed {
            writeln!(f, "not taken: {write}{}", why(write.id))?;
        }
        for id in &self.not_given {
            writeln!(f, "not saved: {}{}", named(*id), why(*id))?;
        }
        let changed = self.changed.iter();
        changed
            .into_iter()
            .try_for_each(|id| writeln!(f, "reads otherwise: {}", named(*id)))
    }
}

impl Restore {
    /// One that tolerates nothing: [`restore()`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Tolerates that the vCPU does not take this register, or has it and was not given it.
    #[must_use]
    pub fn tolerate(mut self, id: u64) -> Self {
        self.ids.insert(id);
        self
    }

    /// The same, if this is the value that was saved, or that the vCPU has and was not given.
    #[must_use]
    pub fn tolerate_value(mut self, id: u64, value: u64) -> Self {
        self.values.entry(id).or_default().insert(value);
        self
    }

    /// Tolerates the registers that kernels are known to have added or hidden, where that does no harm; the
    /// report has the reasons.
    #[must_use]
    pub fn tolerate_known(mut self) -> Self {
        self.known = true;
        self
    }

    fn tolerates(&self, id: u64, value: Option<u64>, harmless: Option<&Harmless>) -> bool {
        let values = self.values.get(&id);
        self.ids.contains(&id)
            || value.is_some_and(|value| values.is_some_and(|values| values.contains(&value)))
            || self.known && harmless.is_some()
    }

    /// Writes the registers, as [`restore()`] does. All are written and read again, whatever is tolerated.
    ///
    /// # Errors
    ///
    /// Those of [`restore()`]; [`Error::Partial`] has the registers alone that are not tolerated.
    pub fn run(&self, vcpu: &(impl RegisterAccess + ?Sized), saved: &SavedVcpu) -> Result<Report> {
        let mut report = self.write(vcpu, saved)?;
        let taken = |id: u64| !report.failed.iter().any(|write| write.id == id);
        let differs = |(id, was): (u64, &[u8])| {
            let mut is = vec![0; was.len()];
            (vcpu.get(id, &mut is).is_err() || is != was).then_some(id)
        };
        let all = saved.registers().filter(|(id, _)| taken(*id));
        report.changed = all.filter_map(differs).collect();
        Ok(report)
    }

    fn write(&self, vcpu: &(impl RegisterAccess + ?Sized), saved: &SavedVcpu) -> Result<Report> {
        begin(vcpu, saved)?;
        let write = |(id, value): (u64, &[u8])| {
            let error = vcpu.set(id, value).err()?;
            let fields = value.try_into().ok().and_then(|value| {
                let has = number(vcpu, id)?;
                field_differences(id, u64::from_le_bytes(value), has)
            });
            Some(FailedWrite { id, error, fields })
        };
        let rest = saved.registers().filter(|(id, _)| !is_vls(*id));
        let failed: Vec<_> = rest.filter_map(write).collect();
        let given: BTreeSet<u64> = saved.registers().map(|(id, _)| id).collect();
        let mut not_given = vcpu.list().map_err(not_listed)?;
        not_given.retain(|id| !given.contains(id));

        let mut report = Report::default();
        let known = failed
            .iter()
            .filter_map(|write| harmless(write.id, Only::Saved, Some(saved)));
        report.harmless.extend(known);
        let known = not_given
            .iter()
            .filter_map(|id| harmless(*id, Only::Found, Some(saved)));
        report.harmless.extend(known);
        let tolerated = |id: u64, value: Option<u64>| {
            let known = report.harmless.iter().find(|harmless| harmless.id == id);
            self.tolerates(id, value, known)
        };
        let (good, failed): (Vec<_>, Vec<_>) = failed
            .into_iter()
            .partition(|write| tolerated(write.id, saved.number(write.id)));
        let (extra, not_given): (Vec<_>, Vec<_>) = not_given
            .into_iter()
            .partition(|id| tolerated(*id, number(vcpu, *id)));
        if !failed.is_empty() || !not_given.is_empty() {
            return Err(Error::Partial {
                failed,
                not_given,
                total: saved.len(),
            });
        }
        report.failed = good;
        report.not_given = extra;
        Ok(report)
    }
}

/// The value of a register of 64 bits.
fn number(vcpu: &(impl RegisterAccess + ?Sized), id: u64) -> Option<u64> {
    let mut value = [0; 8];
    (bytes_of(id) == value.len()).then_some(())?;
    vcpu.get(id, &mut value).ok()?;
    Some(u64::from_le_bytes(value))
}

fn is_vls(id: u64) -> bool {
    [ids::SVE_VLS, ids::SME_VLS].contains(&id)
}

/// Compares what there is to compare before, writes the vector lengths, and finalizes.
fn begin(vcpu: &(impl RegisterAccess + ?Sized), saved: &SavedVcpu) -> Result {
    if let (Some(saved), Some(found)) = (saved.features(), vcpu.features()) {
        if !same_features(saved, found) {
            let has = |features| format!("was initialized with {}", names_of(features));
            return Err(Error::Configuration {
                saved: has(saved),
                found: has(found),
            });
        }
    }
    let finalized = match vcpu.list().map_err(not_listed) {
        Ok(_) => true,
        Err(Error::NotFinalized) => false,
        Err(error) => return Err(error),
    };
    let mut finalize = false;
    for (id, name) in [(ids::SVE_VLS, "SVE"), (ids::SME_VLS, "SME")] {
        let there = vcpu.get(id, &mut [0; 64]).is_ok();
        let wanted = saved.value(id).is_some();
        let has = |has| format!("has {}{name}", if has { "" } else { "no " });
        if there != wanted {
            return Err(Error::Configuration {
                saved: has(wanted),
                found: has(there),
            });
        }
        finalize |= wanted;
    }
    if finalize && finalized {
        return Err(Error::Configuration {
            saved: "has vector lengths that are fixed by finalize".into(),
            found: "is finalized already".into(),
        });
    }

    for (id, value) in saved.registers().filter(|(id, _)| is_vls(*id)) {
        let name = register_name(id);
        let name = name.trim_end_matches("_VLS");
        vcpu.set(id, value).map_err(|error| {
            Error::kernel(format!("{name} lengths of {}", saved.lengths(id)), error)
        })?;
    }
    if finalize {
        vcpu.finalize()
            .map_err(|error| Error::kernel("KVM_ARM_VCPU_FINALIZE", error))?;
    }
    Ok(())
}

/// Whether a vCPU starts to run by itself is no feature of it.
fn same_features(mut a: [u32; 7], mut b: [u32; 7]) -> bool {
    a[0] &= !(1 << KVM_ARM_VCPU_POWER_OFF);
    b[0] &= !(1 << KVM_ARM_VCPU_POWER_OFF);
    a == b
}

/// The features by their names in `asm/kvm.h`, or the numbers of their bits.
pub(crate) fn names_of(features: [u32; 7]) -> String {
    // The last one is provisional.
    const NAMES: [&str; 11] = [
        "POWER_OFF",
        "EL1_32BIT",
        "PSCI_0_2",
        "PMU_V3",
        "SVE",
        "PTRAUTH_ADDRESS",
        "PTRAUTH_GENERIC",
        "HAS_EL2",
        "HAS_EL2_E2H0",
        "PMU_V3_STRICT",
        "SME",
    ];
    let set = (0..224).filter(|bit| features[bit / 32] >> (bit % 32) & 1 != 0);
    let names: Vec<_> = set
        .map(|bit| match NAMES.get(bit) {
            Some(name) => (*name).into(),
            None => format!("feature {bit}"),
        })
        .collect();
    match names.is_empty() {
        true => "no feature".into(),
        false => names.join(" "),
    }
}
