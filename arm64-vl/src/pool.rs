// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! The vCPU that runs on all hosts of a pool.

use crate::{Config, Error, Lengths, Machine, Offer, Result};
#[cfg(feature = "json")]
use serde::Serialize;
use std::fmt;

/// Why a vCPU does not run on a host.
///
/// ```
/// assert_eq!(arm64_vl::Reason::SmeLacks(64).to_string(), "no SME vectors of 64 bytes");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(Serialize))]
#[cfg_attr(feature = "json", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Reason {
    /// There is no KVM.
    NoKvm,
    /// The host has no SVE for vCPUs.
    NoSve,
    /// The host has no SME for vCPUs.
    NoSme,
    /// The host lacks this SVE length, in bytes.
    SveLacks(u32),
    /// The host has this SVE length in bytes, which is less than the greatest one that is wanted,
    /// and KVM hides none of these.
    SveCannotHide(u32),
    /// The host lacks this SME length, in bytes.
    SmeLacks(u32),
    /// The host has this SME length in bytes, and KVM cannot hide it.
    SmeCannotHide(u32),
    /// The host has no SME2.
    NoSme2,
    /// The host has no FA64.
    NoFa64,
    /// Its KVM was not asked for vCPUs of these features, or has none ([`Offer::also()`]).
    UnknownKind,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKvm => f.write_str("no KVM"),
            Self::NoSve => f.write_str("no SVE"),
            Self::NoSme => f.write_str("no SME"),
            Self::SveLacks(n) => write!(f, "no SVE vectors of {n} bytes"),
            Self::SveCannotHide(n) => write!(f, "SVE vectors of {n} bytes cannot be hidden"),
            Self::SmeLacks(n) => write!(f, "no SME vectors of {n} bytes"),
            Self::SmeCannotHide(n) => write!(f, "SME vectors of {n} bytes cannot be hidden"),
            Self::NoSme2 => f.write_str("no SME2"),
            Self::NoFa64 => f.write_str("no FA64"),
            Self::UnknownKind => f.write_str("no vCPU of these features in its description"),
        }
    }
}

impl Config {
    /// Why a vCPU like this does not run on a host; nothing where it does.
    ///
    /// # Examples
    ///
    /// ```
    /// use arm64_vl::{Config, Lengths, Machine, Offer, Reason};
    ///
    /// let host = Machine::with_offer(
    ///     "host",
    ///     Offer::from(Config { sve: Lengths::new([16, 32, 64])?, ..Config::default() }),
    /// );
    /// let wanted = Config { sve: Lengths::new([16, 64])?, ..Config::default() };
    /// assert_eq!(wanted.why_not(&host), [Reason::SveCannotHide(32)]);
    /// # Ok::<(), arm64_vl::Error>(())
    /// ```
    pub fn why_not(&self, machine: &Machine) -> Vec<Reason> {
        match &machine.kvm {
            Some(offer) => self.reasons(offer),
            None => vec![Reason::NoKvm],
        }
    }

    pub(crate) fn reasons(&self, offer: &Offer) -> Vec<Reason> {
        type Length = fn(u32) -> Reason;
        let kinds: [(Lengths, Lengths, Reason, Length, Length); 2] = [
            (
                self.sve,
                offer.sve,
                Reason::NoSve,
                Reason::SveLacks,
                Reason::SveCannotHide,
            ),
            (
                self.sme,
                offer.sme,
                Reason::NoSme,
                Reason::SmeLacks,
                Reason::SmeCannotHide,
            ),
        ];

        let mut reasons = Vec::new();
        for (wanted, has, none, lacks, cannot_hide) in kinds {
            let Some(greatest) = wanted.greatest() else {
                continue;
            };
            if has.is_empty() {
                reasons.push(none);
                continue;
            }
            reasons.extend(wanted.iter().filter(|n| !has.contains(*n)).map(lacks));
            let below = has.up_to(greatest);
            reasons.extend(
                below
                    .iter()
                    .filter(|n| !wanted.contains(*n))
                    .map(cannot_hide),
            );
        }
        if !self.sme.is_empty() && !offer.sme.is_empty() {
            reasons.extend((self.sme2 && !offer.sme2).then_some(Reason::NoSme2));
            reasons.extend((self.fa64 && !offer.fa64).then_some(Reason::NoFa64));
        }
        reasons
    }
}

/// The greatest vCPU that runs on all of these hosts. A feature that cannot be the same on all is
/// left out: the lengths are [`Lengths::NONE`] then.
///
/// # Errors
///
/// [`Error::Missing`] when there is no host, or one without KVM, which is named.
///
/// # Examples
///
/// ```
/// use arm64_vl::{pool, Config, Lengths, Machine, Offer};
///
/// let host = |sme| {
///     let offer = Offer::from(Config { sme: Lengths::new(sme)?, sme2: true, ..Config::default() });
///     Ok::<_, arm64_vl::Error>(Machine::with_offer("host", offer))
/// };
/// // One of them has 16 bytes, which the other cannot offer, and which KVM cannot hide.
/// let config = pool(&[host([16, 32])?, host([32, 64])?])?;
/// assert!(config.sme.is_empty() && !config.sme2);
/// # Ok::<(), arm64_vl::Error>(())
/// ```
pub fn pool(machines: &[Machine]) -> Result<Config> {
    let offers = machines.iter().map(Machine::offer);
    let offers = offers.collect::<Result<Vec<_>>>()?;
    if offers.is_empty() {
        return Err(Error::Missing("a pool needs a host".into()));
    }

    let sve = same_up_to(&offers.iter().map(|offer| offer.sve).collect::<Vec<_>>());
    let sme = same_up_to(&offers.iter().map(|offer| offer.sme).collect::<Vec<_>>());
    let some = !sme.is_empty();
    Ok(Config {
        sve,
        sme,
        sme2: some && offers.iter().all(|offer| offer.sme2),
        fa64: some && !sve.is_empty() && offers.iter().all(|offer| offer.fa64),
    })
}

/// The greatest set that each of these has up to one of its lengths.
fn same_up_to(sets: &[Lengths]) -> Lengths {
    let common = sets
        .iter()
        .copied()
        .reduce(|a, b| a & b)
        .unwrap_or_default();
    common
        .iter()
        .rev()
        .map(|max| common.up_to(max))
        .find(|set| {
            let max = set.greatest().unwrap_or(0);
            sets.iter().all(|one| one.up_to(max) == *set)
        })
        .unwrap_or_default()
}
