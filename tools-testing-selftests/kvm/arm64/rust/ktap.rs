// SPDX-License-Identifier: GPL-2.0-only

//! Runs the cases of a kselftest and reports them as KTAP.

use crate::kvm::Errno;
use std::process::ExitCode;

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

/// Runs the cases whose names contain `only`.
pub fn run(mut cases: Vec<Case>, only: &str) -> ExitCode {
    cases.retain(|case| case.name.contains(only));
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
