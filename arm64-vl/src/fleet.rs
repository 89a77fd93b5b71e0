// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! Why a pool is not greater, and into which pools a fleet of hosts is parted best.

use crate::{pool, printable, Config, Error, Lengths, Machine, Offer, Reason, Result};
#[cfg(feature = "json")]
use serde::Serialize;
use std::fmt;

/// What a pool has less than one of its hosts, and which other hosts keep it from more.
///
/// ```
/// fn is_kept_by(blame: &arm64_vl::Blame, host: &str) -> bool {
///     blame.hosts.iter().any(|(name, _)| name == host)
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(Serialize))]
#[non_exhaustive]
pub struct Blame {
    /// `SVE`, `SME`, `SME2` or `FA64`.
    pub what: &'static str,
    /// What the pool would have of it without these hosts: lengths for SVE and SME, [`Lengths::NONE`] for the
    /// others.
    pub wanted: Lengths,
    /// The hosts that do not run it, as few as possible, and why each does not.
    pub hosts: Vec<(String, Vec<Reason>)>,
}

impl fmt::Display for Blame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no {}", self.what)?;
        if !self.wanted.is_empty() {
            write!(f, " of {}", self.wanted)?;
        }
        let hosts = self.hosts.iter().map(|(name, reasons)| {
            let words: Vec<_> = reasons.iter().map(ToString::to_string).collect();
            format!("{}: {}", printable(name), words.join(", "))
        });
        write!(f, " because of {}", hosts.collect::<Vec<_>>().join("; "))
    }
}

/// Who keeps a pool from each of SVE, SME, SME2 and FA64 that some of its hosts have more of.
///
/// # Errors
///
/// Those of [`pool()`].
///
/// # Examples
///
/// ```
/// use arm64_vl::{blame, Lengths, Machine, Offer};
///
/// let host = |name: &str, sme: &[u32]| {
///     let mut offer = Offer::default();
///     offer.sme = Lengths::new(sme.iter().copied())?;
///     Ok::<_, arm64_vl::Error>(Machine::with_offer(name, offer))
/// };
/// let found = blame(&[host("a", &[16, 32])?, host("b", &[32])?, host("c", &[16, 32])?])?;
/// assert_eq!(found[0].to_string(), "no SME of 16 32 because of b: no SME vectors of 16 bytes");
/// # Ok::<(), arm64_vl::Error>(())
/// ```
pub fn blame(machines: &[Machine]) -> Result<Vec<Blame>> {
    let common = pool(machines)?;
    let sve = |sve| Config {
        sve,
        ..Config::default()
    };
    let sme = |sme| Config {
        sme,
        ..Config::default()
    };
    let of = |lengths: fn(&Config) -> Lengths, make: &dyn Fn(Lengths) -> Config| {
        let beyond = lengths(&common).greatest().unwrap_or(0);
        let offers = machines.iter().filter_map(|machine| machine.kvm.as_ref());
        let all = offers.flat_map(move |offer| {
            let own = lengths(&offer.config());
            let more = own.iter().filter(move |max| *max > beyond);
            more.map(move |max| own.up_to(max))
        });
        all.map(make).collect::<Vec<_>>()
    };
    let no_zt = Config {
        sme2: true,
        ..sme(common.sme)
    };
    let no_fa64 = Config {
        sve: common.sve,
        fa64: true,
        ..sme(common.sme)
    };
    let some = |missing: bool, config: Config| match missing {
        true => vec![config],
        false => Vec::new(),
    };
    let both = !common.sme.is_empty() && !common.sve.is_empty();
    let wanted = [
        ("SVE", of(|config| config.sve, &sve)),
        ("SME", of(|config| config.sme, &sme)),
        ("SME2", some(!common.sme.is_empty() && !common.sme2, no_zt)),
        ("FA64", some(both && !common.fa64, no_fa64)),
    ];
    let found = wanted.into_iter().filter_map(|(what, configs)| {
        let candidates = configs.into_iter().map(|config| {
            let reasons = machines.iter().map(|m| (m.name.clone(), config.why_not(m)));
            let hosts: Vec<_> = reasons.filter(|(_, reasons)| !reasons.is_empty()).collect();
            (config, hosts)
        });
        // Of the greatest those that the fewest keep from it; what nobody has is nobody's fault.
        let able = candidates.filter(|(_, hosts)| hosts.len() < machines.len());
        let (config, hosts) = able.min_by_key(|(config, hosts)| {
            let greatest = config.sve.greatest().max(config.sme.greatest());
            (hosts.len(), std::cmp::Reverse(greatest))
        })?;
        let wanted = match what {
            "SVE" => config.sve,
            "SME" => config.sme,
            _ => Lengths::NONE,
        };
        Some(Blame {
            what,
            wanted,
            hosts,
        })
    });
    Ok(found.collect())
}

/// Hosts that are a pool of their own.
///
/// ```
/// fn size(group: &arm64_vl::Group) -> usize {
///     group.hosts.len()
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(Serialize))]
#[non_exhaustive]
pub struct Group {
    /// The names of the hosts.
    pub hosts: Vec<String>,
    /// The greatest vCPU that runs on all of them.
    pub config: Config,
}

/// Above as many different hosts those that are most alike are put together first.
const EXACT: usize = 10;

/// What a host is worth with a vCPU: how many pairs of greatest lengths there are for its guests, and what else.
fn worth(config: &Config) -> usize {
    (config.sve.len() + 1) * (config.sme.len() + 1)
        + usize::from(config.sme2)
        + usize::from(config.fa64)
}

/// Parts a fleet into as many pools at most, so that guests have the most: over all hosts, the sum of how many pairs
/// of greatest lengths they can have, with SME2 and FA64 as one more each. Of those, as few pools as will do.
///
/// # Errors
///
/// Those of [`pool()`], and [`Error::Missing`] for no group.
///
/// # Examples
///
/// ```
/// use arm64_vl::{partition, Lengths, Machine, Offer};
///
/// let host = |name: &str, sve: &[u32]| {
///     let mut offer = Offer::default();
///     offer.sve = Lengths::new(sve.iter().copied())?;
///     Ok::<_, arm64_vl::Error>(Machine::with_offer(name, offer))
/// };
/// let fleet = [host("a", &[16, 32, 64])?, host("b", &[16])?, host("c", &[16, 32, 64])?];
/// let groups = partition(&fleet, 2)?;
/// assert_eq!(groups[0].hosts, ["a", "c"]);
/// assert_eq!(groups[1].hosts, ["b"]);
/// assert_eq!(partition(&fleet, 3)?.len(), 2, "a third one gains nothing");
/// # Ok::<(), arm64_vl::Error>(())
/// ```
pub fn partition(machines: &[Machine], groups: usize) -> Result<Vec<Group>> {
    pool(machines)?;
    if groups == 0 {
        return Err(Error::Missing("a fleet is one group at least".into()));
    }
    // Lists of registers are of no use here, and long.
    let bare = machines.iter().map(|machine| {
        let config = machine.offer().map(Offer::config)?;
        Ok(Machine::with_offer(&machine.name, config.into()))
    });
    let machines = &bare.collect::<Result<Vec<_>>>()?[..];
    // Hosts that give the same to vCPUs stay together: nothing is gained by parting them.
    let mut classes: Vec<Vec<&Machine>> = Vec::new();
    let config = |machine: &Machine| machine.kvm.as_ref().map(|offer| offer.config());
    for machine in machines {
        match classes
            .iter_mut()
            .find(|class| config(class[0]) == config(machine))
        {
            Some(class) => class.push(machine),
            None => classes.push(vec![machine]),
        }
    }
    let value = |members: &[&Machine]| -> Result<usize> {
        let members: Vec<_> = members.iter().copied().cloned().collect();
        Ok(worth(&pool(&members)?) * members.len())
    };
    while classes.len() > EXACT {
        let mut best = (usize::MAX, 0, 0);
        for a in 0..classes.len() {
            for b in a + 1..classes.len() {
                let together = [&classes[a][..], &classes[b]].concat();
                let apart = value(&classes[a])? + value(&classes[b])?;
                best = best.min((apart.saturating_sub(value(&together)?), a, b));
            }
        }
        let other = classes.remove(best.2);
        classes[best.1].extend(other);
    }

    // Of each subset of the classes: the worth as one pool, and the best worth as so many pools, with the subset
    // that is the last of them.
    let subsets = 1usize << classes.len();
    let members = |subset: usize| {
        let chosen = classes
            .iter()
            .enumerate()
            .filter(|(n, _)| subset >> n & 1 != 0);
        chosen
            .flat_map(|(_, class)| class.iter().copied())
            .collect::<Vec<_>>()
    };
    let mut alone = vec![0; subsets];
    for (subset, worth) in alone.iter_mut().enumerate().skip(1) {
        *worth = value(&members(subset))?;
    }
    let mut best: Vec<Vec<(usize, usize)>> = vec![alone.iter().copied().zip(0..).collect()];
    for n in 1..groups.min(classes.len()) {
        let before = &best[n - 1];
        let row = (0..subsets).map(|subset| {
            let mut found = before[subset];
            let mut part = subset;
            while part > 0 {
                let sum = before[subset & !part].0 + alone[part];
                if sum > found.0 && subset != part {
                    found = (sum, part);
                }
                part = (part - 1) & subset;
            }
            found
        });
        let row = row.collect();
        best.push(row);
    }
    let mut found = Vec::new();
    let (mut rest, mut n) = (subsets - 1, best.len() - 1);
    while rest > 0 {
        // Where one pool more gains nothing, it is as with one less.
        while n > 0 && best[n][rest].0 == best[n - 1][rest].0 {
            n -= 1;
        }
        let part = if n == 0 { rest } else { best[n][rest].1 };
        let hosts: Vec<_> = members(part).into_iter().cloned().collect();
        found.push(Group {
            config: pool(&hosts)?,
            hosts: hosts.into_iter().map(|host| host.name).collect(),
        });
        rest &= !part;
        n = n.saturating_sub(1);
    }
    found.sort_by_key(|group| {
        machines
            .iter()
            .position(|machine| Some(&machine.name) == group.hosts.first())
    });
    Ok(found)
}
