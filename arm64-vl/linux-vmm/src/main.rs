// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! A VMM for arm64 that boots Linux, stops it now and then, and goes on with it in a fresh VM or in a new process.
//!
//! This file has the loop around a guest that runs and is stopped. What a reader of
//! `Documentation/virt/kvm/arm/reg-list.rst` looks for is in `snapshot.rs`.

mod args;
mod fdt;
mod gic;
mod machine;
mod serial;
mod snapshot;
mod vcpu;

use args::Args;
use kvm_bindings::KVM_SYSTEM_EVENT_SHUTDOWN;
use machine::Machine;
use snapshot::Snapshot;
use std::{env, error, mem, path::Path, process::ExitCode, time::Duration};

/// What goes wrong: a text for the user is all that is made of it.
type Result<T = ()> = std::result::Result<T, Box<dyn error::Error + Send + Sync>>;

/// The exit status when the guest is in the file, to go on from there.
const SAVED: u8 = 10;

fn main() -> ExitCode {
    let words: Vec<_> = env::args().skip(1).collect();
    match Args::parse(&words).and_then(|args| run(&args)) {
        Ok(status) => status.into(),
        Err(error) => {
            eprintln!("linux-vmm: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a guest to its end, or into a file; the exit status.
fn run(args: &Args) -> Result<u8> {
    let every = args.value("--every")?.map(Duration::from_millis);
    let (file, times) = (args.get("--file"), args.value("--times")?.unwrap_or(0));
    let mut machine = if args.resume {
        let (snapshot, memory) = Snapshot::read(&args.operand)?;
        eprintln!("in a new process:");
        snapshot.restore(memory, args)?
    } else {
        Machine::boot(args)?
    };
    let mut stops = 0;
    loop {
        let (vcpus, end) = vcpu::run(mem::take(&mut machine.vcpus), &machine.console, every)?;
        machine.vcpus = vcpus;
        match end {
            Some(KVM_SYSTEM_EVENT_SHUTDOWN) => return Ok(0),
            Some(event) => return Err(format!("the guest ends with event {event}").into()),
            None => stops += 1,
        }
        let snapshot = Snapshot::save(&machine)?;
        let due = |file: &&String| stops > times || Path::new(&format!("{file}.now")).exists();
        if let Some(file) = file.filter(due) {
            snapshot.write(&machine.memory, file)?;
            return Ok(SAVED);
        }
        // The memory stays; the VM, its vCPUs and its interrupt controller are made anew.
        let memory = machine.memory.clone();
        drop(machine);
        machine = snapshot.restore(memory, args)?;
    }
}
