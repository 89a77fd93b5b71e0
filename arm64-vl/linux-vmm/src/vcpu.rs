// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! How vCPUs run, each in a thread, until all of them are stopped.

use crate::serial::{Shared, REGISTERS};
use crate::Result;
use kvm_ioctls::{VcpuExit, VcpuFd};
use libc::{c_int, c_void, siginfo_t, EINTR};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{mpsc, Arc};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use vmm_sys_util::signal::{register_signal_handler, Killable, SIGRTMIN};

/// Ids of registers: `KVM_REG_ARM64_SVE_VLS` and `KVM_REG_ARM64_SME_VLS`, and of those of core.
pub const VLS: [u64; 2] = [0x6060_0000_0015_ffff, 0x6060_0000_0017_fffe];
pub const X0: u64 = 0x6030_0000_0010_0000;
pub const PC: u64 = 0x6030_0000_0010_0040;

/// What has stopped, and the `KVM_SYSTEM_EVENT` by which the guest ended, if it did.
type Ended<T> = Result<(T, Option<u32>)>;

/// All that the signal has to do is to interrupt `KVM_RUN`.
extern "C" fn nothing(_: c_int, _: *mut siginfo_t, _: *mut c_void) {}

/// Runs vCPUs until the guest ends or the time is over.
pub fn run(vcpus: Vec<VcpuFd>, console: &Shared, time: Option<Duration>) -> Ended<Vec<VcpuFd>> {
    register_signal_handler(SIGRTMIN(), nothing)?;
    let stop = Arc::new(AtomicBool::new(false));
    let (left, someone_left) = mpsc::channel();
    let start = |vcpu| {
        let (console, stop, left) = (console.clone(), stop.clone(), left.clone());
        thread::spawn(move || {
            let result = run_one(vcpu, &console, &stop);
            let _ = left.send(());
            result
        })
    };
    let threads: Vec<_> = vcpus.into_iter().map(start).collect();

    // One leaves by itself when the guest ends, or with an error, which is what its thread gives.
    let _ = someone_left.recv_timeout(time.unwrap_or(Duration::MAX));
    stop.store(true, SeqCst);
    let join = |thread: JoinHandle<_>| {
        // Again and again, as one can be between its look at `stop` and KVM_RUN.
        while !thread.is_finished() {
            let _ = thread.kill(SIGRTMIN());
            thread::sleep(Duration::from_millis(1));
        }
        thread.join().map_err(|_| "a vCPU's thread panicked")?
    };
    // All of them, before an error ends the machine that they run on.
    let ended: Vec<Result<_>> = threads.into_iter().map(join).collect();
    let ended: Vec<_> = ended.into_iter().collect::<Result<_>>()?;
    let (vcpus, ends): (_, Vec<_>) = ended.into_iter().unzip();
    Ok((vcpus, ends.into_iter().flatten().next()))
}

/// Runs a vCPU until it is stopped or ends the guest.
fn run_one(mut vcpu: VcpuFd, console: &Shared, stop: &AtomicBool) -> Ended<VcpuFd> {
    let console = || console.lock().map_err(|_| "a vCPU's thread panicked");
    let mut end = None;
    while end.is_none() && !stop.load(SeqCst) {
        match vcpu.run() {
            Ok(VcpuExit::MmioWrite(at, [byte, ..])) if REGISTERS.contains(&at) => {
                console()?.write((at - REGISTERS.start) as u8, *byte)?;
            }
            Ok(VcpuExit::MmioRead(at, data)) if REGISTERS.contains(&at) => {
                data.fill(0);
                data[0] = console()?.read((at - REGISTERS.start) as u8);
            }
            Ok(VcpuExit::SystemEvent(event, _)) => end = Some(event),
            Ok(exit) => return Err(format!("a vCPU left by {exit:?}").into()),
            Err(error) if error.errno() == EINTR => {}
            Err(error) => return Err(format!("KVM_RUN: {error}").into()),
        }
    }
    // What it has left by, such as a read from the serial port, is finished only when it runs again: until then
    // its registers are not those that it will go on with. This finishes it, and runs nothing.
    vcpu.set_kvm_immediate_exit(1);
    let interrupted = matches!(vcpu.run(), Err(error) if error.errno() == EINTR);
    vcpu.set_kvm_immediate_exit(0);
    let stopped = interrupted.then_some((vcpu, end));
    stopped.ok_or_else(|| "a vCPU went on when it was stopped".into())
}
