// SPDX-License-Identifier: GPL-2.0-only

//! Random sequences of calls to vCPUs of many kinds from several threads, and after each call what
//! must hold for the register list.
//!
//! Each thread has a VM of its own, of whose vCPUs everything is known, so that every outcome and
//! every value is checked. All threads use a few VMs together, of which is checked what holds
//! whatever the others do: the list is that of some mode, errors are documented, and what is read
//! was written to that vCPU.
//!
//! A check is made after each step that concerns it, but for those that take many calls: see
//! [`LIST_EVERY`], [`SWEEP_EVERY`] and [`RESTORE_EVERY`].

// The oldest compiler of the kernel has no is_multiple_of().
#![allow(clippy::manual_is_multiple_of)]

mod caller;
mod chooser;
mod guests;
mod known;
mod model;
mod own;
mod restore;
mod shared;

use caller::{show, works, Caller, Counts, DOCUMENTED};
use chooser::Chooser;
use known::Family;
use kvmtest::{
    ktap::{self, fail, skip_all, Case, Outcome},
    kvm::{uapi, Errno, Kvm, Result},
    random::Random,
};
use model::{Checked, Kind};
use shared::World;
use std::{
    env,
    process::ExitCode,
    sync::{
        atomic::{AtomicU64, Ordering},
        OnceLock,
    },
    thread,
    time::{Duration, Instant},
};

/// After how many steps of a thread the list of a vCPU is checked, besides steps that list it.
const LIST_EVERY: u64 = 16;

/// After how many all registers of a vCPU are read, compared and written back, and all vector
/// registers that it does not have are tried.
const SWEEP_EVERY: u64 = 2048;

/// After how many the thread's VM is saved and restored into a new one.
const RESTORE_EVERY: u64 = 4096;

/// How often the number of steps is printed.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// After how many steps a thread replaces one of the shared VMs.
const REPLACE_EVERY: u64 = 4096;

/// Out of 100 steps, those on a vCPU that is shared.
const SHARED_PERCENT: usize = 20;

/// A thread of the fuzzer.
struct Thread<'w, 'a> {
    world: &'w World<'a>,
    done: &'w AtomicU64,
    family: Family<'a>,
    caller: Caller,
    /// Of the present step alone: what a step draws does not depend on those before it.
    chooser: Chooser,
}

impl<'w, 'a> Thread<'w, 'a> {
    fn new(world: &'w World<'a>, thread: u64) -> Result<Self> {
        Ok(Self {
            done: &world.steps[thread as usize],
            family: Family::new(world.kvm, &world.kinds[0], 1)?,
            world,
            caller: Caller::new()?,
            chooser: Chooser { random: Random(0) },
        })
    }

    /// Makes `steps` steps. `steps_random` gives a number for each.
    fn steps(&mut self, mut steps_random: Random, steps: u64) -> Checked {
        for step in 0..steps {
            if self.world.failed.load(Ordering::Relaxed) {
                return Ok(());
            }
            self.chooser.random = Random(steps_random.number());
            self.caller.step = step;
            if step % RESTORE_EVERY == 0 {
                self.restore(step == 0)?;
            }
            if step % REPLACE_EVERY == 0 {
                self.replace_shared()?;
            }
            if self.chooser.random.below(100) < SHARED_PERCENT {
                self.shared_step()?;
            } else {
                self.own_step()?;
            }
            self.done.store(step + 1, Ordering::Relaxed);
        }
        self.restore(false)
    }
}

const USAGE: &str = "usage: reg_list_fuzz [--steps N] [--seed N|0xN] [--threads N] [--thread N]";

/// What the command line says.
#[derive(Clone, Copy)]
struct Options {
    steps: u64,
    seed: u64,
    threads: u64,
    /// This thread alone.
    only: Option<u64>,
}

impl Options {
    fn new(mut args: impl Iterator<Item = String>) -> Option<Self> {
        let mut options = Self {
            steps: 300_000,
            seed: 1,
            threads: 4,
            only: None,
        };
        while let Some(arg) = args.next() {
            let number = args.next().and_then(|text| match text.strip_prefix("0x") {
                Some(digits) => u64::from_str_radix(digits, 16).ok(),
                None => text.parse().ok(),
            });
            match arg.as_str() {
                "--steps" => options.steps = number?,
                "--seed" => options.seed = number?,
                "--threads" => options.threads = number?,
                "--thread" => options.only = Some(number?),
                _ => return None,
            }
        }
        let good = options.threads > 0 && options.only.is_none_or(|only| only < options.threads);
        good.then_some(options)
    }

    /// The steps of each thread.
    fn share(&self) -> u64 {
        self.steps.div_ceil(self.threads)
    }

    fn chosen(&self) -> Vec<u64> {
        self.only
            .map_or_else(|| (0..self.threads).collect(), |only| vec![only])
    }

    /// The same sequence for the same seed and thread.
    fn random(&self, thread: u64) -> Random {
        Random(Random(self.seed).number() ^ Random(!thread).number())
    }
}

/// What came of a thread.
struct Report {
    thread: u64,
    counts: Counts,
    outcome: Checked,
}

/// One thread, from its beginning to its end or to what is wrong.
fn fuzz(world: &World, options: &Options, thread: u64) -> Report {
    let mut fuzzer = match Thread::new(world, thread) {
        Ok(fuzzer) => fuzzer,
        Err(error) => {
            return Report {
                thread,
                counts: [[0; 64]; DOCUMENTED.len()],
                outcome: Err(format!("cannot start: {error}")),
            }
        }
    };
    let outcome = fuzzer.steps(options.random(thread), options.share());
    if let (Err(what), false) = (
        &outcome,
        world.failed.swap(outcome.is_err(), Ordering::Relaxed),
    ) {
        explain(&fuzzer, options, thread, what);
    }
    Report {
        thread,
        counts: fuzzer.caller.counts,
        outcome,
    }
}

/// Says what was wrong, after which calls, and how to see it again.
fn explain(fuzzer: &Thread, options: &Options, thread: u64, what: &str) {
    let (caller, kind) = (&fuzzer.caller, fuzzer.family.kind);
    println!("# {what}");
    println!(
        "# seed {:#x}, thread {thread}, step {}, own vCPUs: {}; the last calls:",
        options.seed, caller.step, kind.name
    );
    caller
        .recent
        .iter()
        .for_each(|entry| println!("#   {entry}"));
    println!(
        "# again: reg_list_fuzz --seed {:#x} --steps {} --threads {} --thread {thread}",
        options.seed, options.steps, options.threads
    );
}

/// All threads, with a line now and then.
fn fuzz_all(options: &Options) -> Checked<Vec<Report>> {
    let kvm = works(Kvm::open(), "/dev/kvm")?;
    let kinds = Kind::all(&kvm)?;
    let world = works(World::new(&kvm, &kinds, options.threads), "a new VM")?;
    let chosen = options.chosen();
    let total = options.share() * chosen.len() as u64;
    let start = Instant::now();

    let reports = thread::scope(|scope| {
        let spawn = |&thread: &u64| {
            scope.spawn({
                let world = &world;
                move || fuzz(world, options, thread)
            })
        };
        let threads: Vec<_> = chosen.iter().map(spawn).collect();
        let mut next = REPORT_EVERY;
        let mut before = Vec::new();
        while threads.iter().any(|thread| !thread.is_finished()) {
            thread::sleep(Duration::from_millis(50));
            if start.elapsed() > next {
                next += REPORT_EVERY;
                let done = world.done();
                println!("# {} of {total} steps", done.iter().sum::<u64>());
                if done == before {
                    println!("# nothing moves: the threads have made {done:?} steps");
                }
                before = done;
            }
        }
        threads
            .into_iter()
            .filter_map(|thread| thread.join().ok())
            .collect::<Vec<_>>()
    });
    if reports.len() < chosen.len() {
        return Err("a thread broke off".into());
    }
    let steps: u64 = world.done().iter().sum();
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "# {steps} steps in {seconds:.1} s, {:.0} a second",
        steps as f64 / seconds
    );
    Ok(reports)
}

/// What came of the threads. All of them run at once, when the first case asks.
fn reports(options: Options) -> Outcome<&'static [Report]> {
    static REPORTS: OnceLock<Checked<Vec<Report>>> = OnceLock::new();
    let reports = REPORTS.get_or_init(|| fuzz_all(&options));
    reports.as_deref().map_err(|what| fail(what.as_str()))
}

/// How often each call gave what, added up.
fn sum(reports: &[Report]) -> Counts {
    let mut total = [[0; 64]; DOCUMENTED.len()];
    for report in reports {
        for (all, one) in total
            .iter_mut()
            .flatten()
            .zip(report.counts.iter().flatten())
        {
            *all += one;
        }
    }
    total
}

/// Prints how often each call gave each outcome that is documented. Most have to succeed, or the
/// checks see little.
fn summary(counts: &Counts) -> Outcome {
    for (op, name, documented) in DOCUMENTED {
        let outcomes = (0..64).filter_map(|number| {
            let outcome = if number == 0 {
                Ok(())
            } else {
                Err(Errno(number))
            };
            let text = || {
                format!(
                    "{} {}",
                    show(&outcome),
                    counts[op as usize][number as usize]
                )
            };
            documented.contain(&outcome).then(text)
        });
        println!("# {name}: {}", outcomes.collect::<Vec<_>>().join(", "));
    }
    let all: u64 = counts.iter().flatten().sum();
    let good: u64 = counts.iter().map(|by_error| by_error[0]).sum();
    println!("# {good} of {all} calls succeeded");
    if 2 * good < all {
        return Err(fail("most calls fail"));
    }
    Ok(())
}

fn main() -> ExitCode {
    let Some(options) = Options::new(env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let kvm = match Kvm::open() {
        Ok(kvm) => kvm,
        Err(error) => return skip_all(&format!("/dev/kvm: {error}")),
    };
    if kvm.capability(uapi::KVM_CAP_ARM_REG_LIST_ORDER) != Ok(1) {
        return skip_all("the kernel promises no order of the list");
    }

    let of_thread = |&thread: &u64| {
        Case::new(format!("thread {thread}"), move || {
            let mut reports = reports(options)?.iter();
            let report = reports.find(|report| report.thread == thread);
            report.map_or(Ok(()), |report| report.outcome.clone().map_err(fail))
        })
    };
    let mut cases: Vec<_> = options.chosen().iter().map(of_thread).collect();
    cases.push(Case::new("most calls succeed", move || {
        summary(&sum(reports(options)?))
    }));
    ktap::run(cases)
}
