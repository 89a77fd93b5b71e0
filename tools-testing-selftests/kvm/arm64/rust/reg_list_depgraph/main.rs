// SPDX-License-Identifier: GPL-2.0-only

//! Finds out by experiment which registers of a vCPU depend on one another when they are written
//! back, and whether the order of `KVM_GET_REG_LIST` respects it.
//!
//! Four experiments, on vCPUs of many kinds:
//!
//! - *All pairs.* A fresh vCPU is put in a known state, in which nothing has been destroyed. One
//!   register gets another value. What reads differently now, or is there or not there, has been
//!   disturbed. Then every other register is written, with several values: what is refused,
//!   accepted or read back otherwise than on a vCPU without that one write depends on it as well.
//!   Each finding is an edge `first -> then`: when `first` is written after `then`, or with another
//!   value, `then` is not what was written.
//! - *Two vCPUs.* Each register of one is written, and what reads otherwise in the other is an edge
//!   as well: `FIRST(another-vCPU) -> then`. Only what a VM has once may give one.
//! - *Calls.* What else is done to a vCPU than that registers are written, such as the first run:
//!   each gives edges `call -> then`.
//! - *Round trips.* A vCPU in a random state is saved, and restored into a new VM as the contract
//!   of `KVM_CAP_ARM_REG_LIST_ORDER` says. Calls that fail and registers that do not read back are
//!   losses, also after both vCPUs have been made ready to run.
//!
//! An edge against the order of the list need not lose anything: often a saved value has already
//! what the edge would do to it. So each comes with round trips from the state that showed it, and
//! is accepted only if they lose nothing and `lib/edges.rs` has the reason. That has a reason for
//! each call, too.

mod base;
mod beside;
mod calls;
mod graph;
mod pairs;
mod trips;

use base::ListOrder;
use graph::Graph;
use kvmtest::{
    known_ids,
    ktap::Trouble,
    kvm::{uapi, Kvm, Result},
    random::Random,
    vcpus::{Kind, TestVm},
};
use std::{env, process::ExitCode, time::Instant};

/// The exit status of a kselftest that cannot run here.
const SKIPPED: u8 = 4;

/// The kinds of vCPU that `--quick` looks at, and those that are left out, as others show the same.
const QUICK: [&str; 6] = [
    "plain",
    "SVE+PMU+ptrauth",
    "32-bit EL0",
    "SVE+SME+PMU SM ZA",
    "EL2+SVE+PMU+ptrauth",
    "MTE",
];
const LEFT_OUT: [&str; 2] = ["SVE+PMU", "SVE+SME"];

/// The experiment, with what it has found.
struct Experiment {
    kvm: Kvm,
    /// A vCPU of the present kind that has never run.
    spare: Option<TestVm>,
    random: Random,
    quick: bool,
    order: ListOrder,
    graph: Graph,
}

impl Experiment {
    /// All experiments on a kind of vCPU.
    fn on(&mut self, kind: &Kind) -> Result {
        self.random_trips(kind, if self.quick { 8 } else { 48 })?;
        self.calls(kind)?;
        self.pairs(kind)
    }
}

const USAGE: &str = "usage: reg_list_depgraph [--seed N] [--quick] [--old-order | --right-order] \\
    [--only START OF A KIND'S NAME]... [--part N OF] | --ids";

/// What the command line says.
struct Options {
    seed: u64,
    quick: bool,
    order: ListOrder,
    /// No experiment, but the file of known ids as this host has it.
    ids: bool,
    /// Only kinds with names that begin like one of these, if there is one.
    only: Vec<String>,
    /// Of those, each `part.1`th, from `part.0` on.
    part: (usize, usize),
}

impl Options {
    fn new(mut args: impl Iterator<Item = String>) -> Option<Self> {
        let mut options = Self {
            seed: 1,
            quick: false,
            order: ListOrder::Kernel,
            ids: false,
            only: Vec::new(),
            part: (0, 1),
        };
        while let Some(arg) = args.next() {
            let mut number = || args.next().and_then(|n| n.parse().ok());
            match arg.as_str() {
                "--quick" => options.quick = true,
                "--old-order" => options.order = ListOrder::Old,
                "--right-order" => options.order = ListOrder::Right,
                "--ids" => options.ids = true,
                "--seed" => options.seed = number()? as u64,
                "--part" => options.part = (number()?, number()?),
                "--only" => options.only.push(args.next()?),
                _ => return None,
            }
        }
        Some(options).filter(|options| options.part.0 < options.part.1)
    }

    fn kinds(&self) -> impl Iterator<Item = Kind> + '_ {
        let chosen = |kind: &Kind| {
            let name = kind.name();
            let begins = |start: &String| name.starts_with(start.as_str());
            (self.only.is_empty() || self.only.iter().any(begins))
                && !LEFT_OUT.contains(&kind.features.name)
                && (!self.quick || QUICK.contains(&name.as_str()))
        };
        let kinds = Kind::one_of_each().into_iter().filter(chosen);
        kinds.skip(self.part.0).step_by(self.part.1)
    }
}

fn main() -> ExitCode {
    let Some(options) = Options::new(env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let kvm = match Kvm::open() {
        Ok(kvm) => kvm,
        Err(error) => {
            eprintln!("/dev/kvm: {error}");
            return ExitCode::from(SKIPPED);
        }
    };
    if kvm.capability(uapi::KVM_CAP_ARM_REG_LIST_ORDER) != Ok(1) {
        eprintln!("the kernel promises no order of the list (KVM_CAP_ARM_REG_LIST_ORDER)");
        return ExitCode::from(SKIPPED);
    }
    if options.ids {
        return print_ids(&kvm);
    }

    let mut experiment = Experiment {
        kvm,
        spare: None,
        random: Random(0),
        quick: options.quick,
        order: options.order,
        graph: Graph::default(),
    };
    for kind in options.kinds() {
        let start = Instant::now();
        let name = kind.name();
        match kind.features.require(&experiment.kvm) {
            Ok(()) => {}
            Err(Trouble::Skip(why)) => {
                experiment.graph.skipped.push(format!("{name}: {why}"));
                continue;
            }
            Err(Trouble::Fail(what)) => {
                println!("{name}: {}", what.join("\n"));
                return ExitCode::FAILURE;
            }
        }
        // A kind has numbers of its own, whichever others there are.
        let hash = |n: u64, b| n.wrapping_mul(131) + u64::from(b);
        experiment.random = Random(options.seed ^ name.bytes().fold(0, hash));
        if let Err(error) = experiment.on(&kind) {
            println!("{name}: broke off: {error}");
            return ExitCode::FAILURE;
        }
        println!("{name}: {:.1} s", start.elapsed().as_secs_f32());
    }

    if experiment.graph.report(options.seed) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn print_ids(kvm: &Kvm) -> ExitCode {
    match known_ids::seen(kvm) {
        Ok(seen) => {
            print!("{}", known_ids::file(seen));
            ExitCode::SUCCESS
        }
        Err(Trouble::Skip(why)) => {
            eprintln!("{why}");
            ExitCode::from(SKIPPED)
        }
        Err(Trouble::Fail(what)) => {
            eprintln!("{}", what.join("\n"));
            ExitCode::FAILURE
        }
    }
}
