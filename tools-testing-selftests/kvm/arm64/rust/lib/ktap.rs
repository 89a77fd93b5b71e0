// SPDX-License-Identifier: GPL-2.0-only

//! Runs the cases of a kselftest and reports them as KTAP.

use crate::kvm::Errno;
use std::{env, process::ExitCode};

/// The exit status of a kselftest of which nothing could run.
const SKIPPED: u8 = 4;

/// How many complaints of a case are printed.
const MAX_COMPLAINTS: usize = 12;

/// Why a case has not passed.
pub enum Trouble {
    /// The machine lacks something, which is named.
    Skip(String),
    /// What was wrong, a line each.
    Fail(Vec<String>),
}

/// What became of a case.
pub type Outcome<T = ()> = Result<T, Trouble>;

impl From<Errno> for Trouble {
    fn from(error: Errno) -> Self {
        fail(format!("a call that has to work gives {error}"))
    }
}

/// A case that cannot run here.
pub fn skip(reason: impl Into<String>) -> Trouble {
    Trouble::Skip(reason.into())
}

/// A case that went wrong.
pub fn fail(what: impl Into<String>) -> Trouble {
    Trouble::Fail(vec![what.into()])
}

/// Collects what is wrong, so that a table is seen whole.
#[derive(Default)]
pub struct Complaints(Vec<String>);

impl Complaints {
    /// Notes `what` if it is not `ok`.
    pub fn check(&mut self, ok: bool, what: impl FnOnce() -> String) {
        if !ok {
            self.0.push(what());
        }
    }

    /// No complaint is a pass.
    pub fn outcome(self) -> Outcome {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Trouble::Fail(self.0))
        }
    }
}

/// A case, with its name.
pub struct Case {
    name: String,
    run: Box<dyn Fn() -> Outcome>,
}

impl Case {
    /// A case that is to be run.
    pub fn new(name: impl Into<String>, run: impl Fn() -> Outcome + 'static) -> Self {
        Self {
            name: name.into(),
            run: Box::new(run),
        }
    }
}

/// The argument for a run that takes its time.
const LONG: &str = "-l";

/// Whether cases that look at a part of something are to look at all of it.
pub fn is_long() -> bool {
    env::args().skip(1).any(|arg| arg == LONG)
}

/// The number behind an option of the command line such as `--seed`.
pub fn option(name: &str) -> Option<u64> {
    let mut args = env::args().skip_while(|arg| arg != name);
    args.nth(1).and_then(|text| number(&text))
}

fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// What the command line of a test says.
struct Choice {
    /// Which share of the kinds of vCPU, of how many.
    shard: (usize, usize),
    /// What the names of the cases contain.
    only: String,
}

impl Choice {
    /// Reads `[-l] [-s I/N] [--OPTION NUMBER]... [WORDS]`. The error says what is wrong.
    fn of(mut args: impl Iterator<Item = String>) -> Result<Self, &'static str> {
        let mut choice = Self {
            shard: (0, 1),
            only: String::new(),
        };
        while let Some(arg) = args.next() {
            if arg == "-s" {
                let shard = args.next().unwrap_or_default();
                let numbers = shard.split_once('/').unwrap_or_default();
                choice.shard = match (numbers.0.parse(), numbers.1.parse()) {
                    (Ok(shard), Ok(shards)) if shard < shards => (shard, shards),
                    _ => return Err("-s takes a share I/N of the kinds of vCPU, I < N: 0/3"),
                };
            } else if arg.starts_with("--") {
                if args.next().and_then(|text| number(&text)).is_none() {
                    return Err("an option with two dashes takes a number");
                }
            } else if arg != LONG {
                choice.only = arg;
            }
        }
        Ok(choice)
    }

    /// Keeps the cases that are meant. The kind of vCPU is what a name begins with, up to a colon;
    /// a case without one is a kind of its own. Its number comes from its name alone, so that all
    /// programs have the same kinds in a share.
    fn retain(&self, cases: &mut Vec<Case>) {
        cases.retain(|case| {
            let kind = case.name.split(": ").next().unwrap_or_default();
            let number = kind.bytes().fold(0_usize, |hash, byte| {
                hash.wrapping_mul(31).wrapping_add(byte.into())
            });
            number % self.shard.1 == self.shard.0 && case.name.contains(&self.only)
        });
    }
}

/// Runs the cases that the command line chooses.
pub fn run_chosen(mut cases: Vec<Case>) -> ExitCode {
    let choice = match Choice::of(env::args().skip(1)) {
        Ok(choice) => choice,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let (all, (shard, shards)) = (cases.len(), choice.shard);
    choice.retain(&mut cases);
    println!("# shard {shard}/{shards}: {} of {all} cases", cases.len());
    run(cases)
}

/// Runs the cases.
pub fn run(cases: Vec<Case>) -> ExitCode {
    println!("TAP version 13\n1..{}", cases.len());

    let [mut passed, mut failed, mut skipped] = [0; 3];
    for (number, case) in (1..).zip(&cases) {
        match (case.run)() {
            Ok(()) => {
                passed += 1;
                println!("ok {number} {}", case.name);
            }
            Err(Trouble::Skip(reason)) => {
                skipped += 1;
                println!("ok {number} {} # SKIP {reason}", case.name);
            }
            Err(Trouble::Fail(complaints)) => {
                failed += 1;
                for complaint in complaints.iter().take(MAX_COMPLAINTS) {
                    println!("# {complaint}");
                }
                if let Some(more) = complaints.len().checked_sub(MAX_COMPLAINTS + 1) {
                    println!("# and {} more", more + 1);
                }
                println!("not ok {number} {}", case.name);
            }
        }
    }
    println!("# Totals: pass:{passed} fail:{failed} xfail:0 xpass:0 skip:{skipped} error:0");

    if failed > 0 || cases.is_empty() {
        ExitCode::FAILURE
    } else if passed == 0 {
        ExitCode::from(SKIPPED)
    } else {
        ExitCode::SUCCESS
    }
}

/// A test that cannot run at all.
pub fn skip_all(reason: &str) -> ExitCode {
    println!("TAP version 13\n1..0 # SKIP {reason}");
    ExitCode::from(SKIPPED)
}
