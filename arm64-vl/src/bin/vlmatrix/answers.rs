// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! What "pool" and "state" answer, as JSON has it and as the text is made from.

use arm64_vl::{
    blame, common_vcpu, partition, Blame, CommonVcpu, Config, Error, Fit, Group, Machine, Offer,
    Reason, SavedVcpu, Size, Svcr,
};
use serde::Serialize;

/// The vCPU of a pool, and what keeps another one from each machine.
#[derive(Serialize)]
pub struct PoolAnswer {
    pub pool: Config,
    pub wanted: Option<Config>,
    pub machines: Vec<Limits>,
    /// What its registers are, where the machines were asked for such a vCPU.
    pub registers: Option<CommonVcpu>,
    /// Why they are not known.
    pub not_compared: Option<String>,
    /// Who keeps the pool from more.
    pub blame: Vec<Blame>,
    /// Into which pools the machines are parted best, if that was asked.
    pub groups: Vec<Group>,
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
    pub fn new(
        machines: &[Machine],
        wanted: Option<Config>,
        features: Option<[u32; 7]>,
        groups: Option<usize>,
    ) -> Result<Self, Error> {
        let pool = arm64_vl::pool(machines)?;
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
        let (registers, not_compared) = match common_vcpu(machines, features.unwrap_or_default()) {
            Ok(common) => (Some(common), None),
            // Of files of 0.1 and 0.2 no registers are known.
            Err(Error::Missing(reason)) if features.is_none() => (None, Some(reason)),
            Err(error) => return Err(error),
        };
        Ok(Self {
            pool,
            wanted,
            machines: machines.iter().enumerate().map(limits).collect(),
            registers,
            not_compared,
            blame: blame(machines)?,
            groups: match groups {
                Some(groups) => partition(machines, groups)?,
                None => Vec::new(),
            },
        })
    }
}

impl PoolAnswer {
    /// Whether no machine is known that does not run what is said.
    pub fn is_good(&self) -> bool {
        let registers = self.registers.as_ref();
        self.machines
            .iter()
            .all(|machine| machine.why_not.is_empty())
            && registers.is_none_or(CommonVcpu::is_whole)
    }
}

/// How a saved vCPU fits a machine.
#[derive(Serialize)]
pub struct FitAnswer {
    pub name: String,
    pub whole: bool,
    pub fit: Fit,
}

impl FitAnswer {
    pub fn new(saved: &SavedVcpu, machine: &Machine) -> Self {
        let fit = saved.why_not(machine);
        Self {
            name: machine.name.clone(),
            whole: fit.is_whole(),
            fit,
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
