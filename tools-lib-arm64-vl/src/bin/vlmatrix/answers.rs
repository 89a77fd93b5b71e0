// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! What "pool" and "state" answer, as JSON has it and as the text is made from.

use arm64_vl::{Config, Machine, Offer, Reason, Size, Svcr};
use serde::Serialize;

/// The vCPU of a pool, and what keeps another one from each machine.
#[derive(Serialize)]
pub struct PoolAnswer {
    pub pool: Config,
    pub wanted: Option<Config>,
    pub machines: Vec<Limits>,
}

/// Why the vCPU that is wanted does not run on a machine.
#[derive(Serialize)]
pub struct Limits {
    pub name: String,
    pub why_not: Vec<Reason>,
    /// The pool without this machine, where it is another one: what the machine costs.
    pub without: Option<Config>,
}

impl PoolAnswer {
    pub fn new(machines: &[Machine], pool: Config, wanted: Option<Config>) -> Self {
        let without = |n: usize| {
            let others: Vec<_> = [&machines[..n], &machines[n + 1..]].concat();
            arm64_vl::pool(&others).ok().filter(|other| *other != pool)
        };
        let limits = |(n, machine): (usize, &Machine)| Limits {
            name: machine.name.clone(),
            why_not: wanted
                .map(|config| config.why_not(machine))
                .unwrap_or_default(),
            without: without(n),
        };
        Self {
            pool,
            wanted,
            machines: machines.iter().enumerate().map(limits).collect(),
        }
    }
}

/// How much state a vCPU has.
#[derive(Serialize)]
pub struct StateAnswer {
    pub config: Config,
    pub modes: Vec<ModeSize>,
    /// What is there in every mode, where the machine is known.
    pub others: Option<Size>,
    pub greatest: Size,
    /// Of `struct kvm_reg_list`, where the machine is known.
    pub list_bytes: Option<usize>,
}

/// The size in a mode.
#[derive(Serialize)]
pub struct ModeSize {
    #[serde(flatten)]
    pub svcr: Svcr,
    pub vectors: Size,
}

impl StateAnswer {
    pub fn new(config: &Config, offer: Option<&Offer>) -> Self {
        let others = offer.map(|offer| offer.others(config));
        let others = others.filter(|others| others.registers > 0);
        let greatest = config.greatest_size() + others.unwrap_or_default();
        let size = |svcr: &Svcr| ModeSize {
            svcr: *svcr,
            vectors: config.size(*svcr),
        };
        Self {
            config: *config,
            modes: config.modes().iter().map(size).collect(),
            others,
            greatest,
            list_bytes: offer.and_then(|offer| offer.list_bytes(config)),
        }
    }
}
