// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! What two saved vCPUs, lists or hosts have each in its own way.

use crate::{
    error::named,
    idreg::fields_of,
    kind::is_id_register,
    known::{harmless, Only},
    restore::names_of,
    FieldDifference, Harmless, Offer, SavedVcpu, VcpuKind,
};
#[cfg(feature = "json")]
use serde::Serialize;
use std::{collections::BTreeSet, fmt};

/// A register that is not the same on two sides.
///
/// ```
/// fn does_harm(difference: &arm64_vl::Difference) -> bool {
///     difference.harmless.is_none()
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(Serialize))]
#[non_exhaustive]
pub struct Difference {
    /// The id of the register.
    pub id: u64,
    /// Which side has it, or how the values differ.
    pub how: How,
    /// Why it does no harm, if that is known.
    pub harmless: Option<Harmless>,
}

/// How a register is not the same on two sides.
///
/// ```
/// use arm64_vl::How;
///
/// fn is_there_twice(how: &How) -> bool {
///     !matches!(how, How::OnlyFirst | How::OnlySecond)
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(Serialize))]
#[cfg_attr(feature = "json", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum How {
    /// The first side has it, and the second has not.
    OnlyFirst,
    /// The second side has it, and the first has not.
    OnlySecond,
    /// Other fields of an ID register: `saved` is that of the first side, `found` that of the second.
    Fields(Vec<FieldDifference>),
    /// Other values: bytes, the lowest first.
    Values(Vec<u8>, Vec<u8>),
}

/// What belongs together in a comparison: vCPUs, lists, or one kind of vCPU of two hosts.
///
/// ```
/// let same = arm64_vl::diff_lists(&[1], &[1]);
/// assert!(same[0].registers.is_empty());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(Serialize))]
#[non_exhaustive]
pub struct Section {
    /// What it is.
    pub what: String,
    /// What differs and is no register, in words.
    pub facts: Vec<String>,
    /// Registers that differ, by their ids.
    pub registers: Vec<Difference>,
}

impl Section {
    /// Whether nothing differs but what does no harm.
    ///
    /// ```
    /// let sections = arm64_vl::diff_lists(&[1, 2], &[2, 1]);
    /// assert!(sections.iter().all(|section| section.is_harmless()), "the order is not compared");
    /// ```
    pub fn is_harmless(&self) -> bool {
        self.facts.is_empty() && self.registers.iter().all(|one| one.harmless.is_some())
    }
}

fn value_of(bytes: &[u8]) -> String {
    // As a number; a vector from its highest byte as well.
    let digits: String = bytes
        .iter()
        .rev()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let digits = digits.trim_start_matches('0');
    format!("0x{}", if digits.is_empty() { "0" } else { digits })
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = named(self.id);
        match &self.how {
            How::OnlyFirst => write!(f, "- {name}")?,
            How::OnlySecond => write!(f, "+ {name}")?,
            How::Fields(fields) => {
                let fields = fields.iter().map(|field| {
                    let FieldDifference {
                        field,
                        saved,
                        found,
                        ..
                    } = field;
                    format!("{field} {saved} -> {found}")
                });
                write!(f, "! {name}: {}", fields.collect::<Vec<_>>().join(", "))?;
            }
            How::Values(a, b) => write!(f, "! {name}: {} -> {}", value_of(a), value_of(b))?,
        }
        match &self.harmless {
            Some(Harmless { why, source, .. }) => write!(f, "; harmless: {why} ({source})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Section {
    /// A line for each difference; nothing where there is none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.facts.is_empty() && self.registers.is_empty() {
            return Ok(());
        }
        writeln!(f, "{}:", self.what)?;
        for fact in &self.facts {
            writeln!(f, "    {fact}")?;
        }
        let registers = self.registers.iter();
        registers
            .into_iter()
            .try_for_each(|one| writeln!(f, "    {one}"))
    }
}

/// Why clocks differ between any two moments.
const RUNS_ON: &str = "it goes on by itself";
const RUNS_ON_SOURCE: &str = "Documentation/virt/kvm/arm/reg-list.rst, exceptions";

fn runs_on(id: u64) -> Option<Harmless> {
    let clocks = ["CNTPCT_EL0", "CNTVCT_EL0", "PMCCNTR_EL0"];
    clocks
        .contains(&crate::register_name(id).as_str())
        .then_some(Harmless {
            id,
            why: RUNS_ON,
            source: RUNS_ON_SOURCE,
        })
}

/// Registers by their ids, and what is known of each if both have it.
fn registers(
    first: &BTreeSet<u64>,
    second: &BTreeSet<u64>,
    saved: Option<&SavedVcpu>,
    differ: impl Fn(u64) -> Option<How>,
) -> Vec<Difference> {
    let difference = |id: &u64| {
        let (how, harmless) = match (first.contains(id), second.contains(id)) {
            // A restore is from the first to the second.
            (true, false) => (How::OnlyFirst, harmless(*id, Only::Saved, saved)),
            (false, true) => (How::OnlySecond, harmless(*id, Only::Found, saved)),
            _ => (differ(*id)?, runs_on(*id)),
        };
        Some(Difference {
            id: *id,
            how,
            harmless,
        })
    };
    first.union(second).filter_map(difference).collect()
}

fn field_list(id: u64, first: u64, second: u64) -> How {
    let fields = fields_of(id, false).into_iter();
    let differ = fields.filter(|field| field.of(first) != field.of(second));
    let all = differ.map(|field| FieldDifference::new(id, &field, first, second));
    How::Fields(all.collect())
}

/// Compares two saved vCPUs. What does no harm is that of a restore of the first where the second was.
///
/// # Examples
///
/// ```
/// use arm64_vl::{diff_vcpus, SavedVcpu};
///
/// let x0 = |value| SavedVcpu::new(None, [(0x6030_0000_0010_0000, vec![value, 0, 0, 0, 0, 0, 0, 0])]);
/// let sections = diff_vcpus(&x0(1)?, &x0(2)?);
/// assert_eq!(sections[0].to_string(), "registers:\n    ! X0 (0x6030000000100000): 0x1 -> 0x2\n");
/// # Ok::<(), arm64_vl::Error>(())
/// ```
pub fn diff_vcpus(first: &SavedVcpu, second: &SavedVcpu) -> Vec<Section> {
    let ids = |vcpu: &SavedVcpu| vcpu.registers().map(|(id, _)| id).collect();
    let how = |id| {
        let (a, b) = (first.value(id)?, second.value(id)?);
        let numbers = (first.number(id), second.number(id));
        match numbers {
            _ if a == b => None,
            (Some(a), Some(b)) if is_id_register(id) => Some(field_list(id, a, b)),
            _ => Some(How::Values(a.into(), b.into())),
        }
    };
    let mut facts = Vec::new();
    if let (Some(a), Some(b)) = (first.features(), second.features()) {
        if a != b {
            facts.push(format!(
                "initialized with {}, not {}",
                names_of(a),
                names_of(b)
            ));
        }
    }
    vec![Section {
        what: "registers".into(),
        facts,
        registers: registers(&ids(first), &ids(second), Some(first), how),
    }]
}

/// Compares two lists of registers, in any order.
///
/// # Examples
///
/// ```
/// let sections = arm64_vl::diff_lists(&[0x6030_0000_0010_0000], &[]);
/// assert!(!sections[0].is_harmless());
/// ```
pub fn diff_lists(first: &[u64], second: &[u64]) -> Vec<Section> {
    let set = |ids: &[u64]| ids.iter().copied().collect();
    vec![Section {
        what: "registers".into(),
        facts: Vec::new(),
        registers: registers(&set(first), &set(second), None, |_| None),
    }]
}

/// Compares what two hosts give to vCPUs: vectors, what can be written, and each kind of vCPU that one of them has.
///
/// # Examples
///
/// ```
/// use arm64_vl::{diff_offers, Lengths, Offer};
///
/// let mut other = Offer::default();
/// other.sve = Lengths::new([16])?;
/// let sections = diff_offers(&Offer::default(), &other);
/// assert_eq!(sections[0].facts, ["SVE none, not 16"]);
/// # Ok::<(), arm64_vl::Error>(())
/// ```
pub fn diff_offers(first: &Offer, second: &Offer) -> Vec<Section> {
    let pairs = [
        ("SVE", first.sve.to_string(), second.sve.to_string()),
        ("SME", first.sme.to_string(), second.sme.to_string()),
        ("SME2", first.sme2.to_string(), second.sme2.to_string()),
        ("FA64", first.fa64.to_string(), second.fa64.to_string()),
    ];
    let differ = pairs.iter().filter(|(_, a, b)| a != b);
    let facts = differ.map(|(name, a, b)| format!("{name} {a}, not {b}"));
    let mut sections = vec![Section {
        what: "vectors".into(),
        facts: facts.collect(),
        registers: Vec::new(),
    }];

    let masks = |offer: &Offer| offer.writable.keys().copied().collect();
    sections.push(Section {
        what: "what can be written of ID registers".into(),
        facts: Vec::new(),
        registers: registers(&masks(first), &masks(second), None, |id| {
            let (a, b) = (first.writable.get(&id)?, second.writable.get(&id)?);
            (a != b).then(|| How::Values(a.to_le_bytes().into(), b.to_le_bytes().into()))
        }),
    });

    let find = |offer: &Offer, features| -> Option<VcpuKind> {
        let mut kinds = offer.kinds.iter();
        kinds.find(|kind| kind.features == features).cloned()
    };
    let kinds = first.kinds.iter().chain(&second.kinds);
    let all: BTreeSet<_> = kinds.map(|kind| kind.features).collect();
    for features in all {
        let mut section = Section {
            what: format!("a vCPU with {}", names_of(features)),
            facts: Vec::new(),
            registers: Vec::new(),
        };
        match (find(first, features), find(second, features)) {
            (Some(a), Some(b)) => {
                section.registers = registers(&a.registers, &b.registers, None, |id| {
                    let (a, b) = (*a.limits.get(&id)?, *b.limits.get(&id)?);
                    match a == b {
                        true => None,
                        false if is_id_register(id) => Some(field_list(id, a, b)),
                        false => Some(How::Values(a.to_le_bytes().into(), b.to_le_bytes().into())),
                    }
                });
            }
            (Some(_), None) => section.facts.push("only the first has it".into()),
            _ => section.facts.push("only the second has it".into()),
        }
        sections.push(section);
    }
    sections
}
