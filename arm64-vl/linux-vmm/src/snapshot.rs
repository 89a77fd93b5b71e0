// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! A guest that is stopped: saved, restored by the steps of `Documentation/virt/kvm/arm/reg-list.rst`, and in a file.

use crate::machine::{Config, Machine, RAM};
use crate::{args::Args, gic, gic::timeless, serial, vcpu::VLS, Result};
use arm64_vl::{register_name, RegisterAccess, SavedVcpu, VcpuRef};
use kvm_bindings::{kvm_mp_state, kvm_vcpu_events};
use kvm_ioctls::VcpuFd;
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::{fs, fs::File};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use vm_superio::SerialState;

/// Says whether a vCPU is in streaming mode (1), and whether ZA is on (2).
const SVCR: u64 = 0x6030_0000_0013_da12;
/// CNTVCT_EL0 and CNTPCT_EL0, and the controls of the timers, CNTV_CTL_EL0 and CNTP_CTL_EL0, with a bit that follows
/// from them.
const COUNTERS: [u64; 2] = [0x6030_0000_0013_df1a, 0x6030_0000_0013_df01];
const CONTROLS: [u64; 2] = [0x6030_0000_0013_df19, 0x6030_0000_0013_df11];
const ISTATUS: u64 = 1 << 2;

/// Ids and values, in some order.
type Registers<'a> = Vec<(u64, &'a [u8])>;

/// A vCPU: its registers, and how they were listed; whether it is off, and a pending SError or abort.
#[derive(Serialize, Deserialize)]
struct Vcpu {
    registers: SavedVcpu,
    listed: Vec<u64>,
    mp_state: u32,
    pending: ((u8, u8), (u8, u64)),
}

/// All of a guest but its memory.
#[derive(Serialize, Deserialize)]
pub struct Snapshot {
    config: Config,
    vcpus: Vec<Vcpu>,
    gic: Vec<gic::Attribute>,
    #[serde(with = "serial::State")]
    console: SerialState,
}

fn save_vcpu(fd: &VcpuFd) -> Result<Vcpu> {
    let vcpu = VcpuRef::new(fd);
    let events = fd.get_vcpu_events()?.exception;
    let serror = (events.serror_pending, events.serror_has_esr);
    Ok(Vcpu {
        registers: arm64_vl::save(&vcpu)?,
        listed: vcpu.list()?,
        mp_state: fd.get_mp_state()?.mp_state,
        pending: (serror, (events.ext_dabt_pending, events.serror_esr)),
    })
}

/// The vector lengths of a vCPU, and its other registers as they are to be written.
fn in_order<'a>(saved: &'a Vcpu, args: &Args) -> Result<(Registers<'a>, Registers<'a>)> {
    let mut registers: Registers = saved.registers.registers().collect();
    match args.get("--order").map_or("safe", |order| order) {
        // The library has put first what others depend on: a list that is in order stays as it is.
        "safe" => {}
        "listed" => registers.sort_by_key(|(id, _)| saved.listed.iter().position(|at| at == id)),
        "svcr-last" => registers.sort_by_key(|(id, _)| *id == SVCR),
        other => return Err(format!("--order {other}?").into()),
    }
    Ok(registers.into_iter().partition(|(id, _)| VLS.contains(id)))
}

/// Whether a register is what it was. The counters go on when nothing runs: by less than a minute, at 1 GHz or less.
fn is_as_it_was(id: u64, was: &[u8], is: &[u8]) -> bool {
    let number = |value: &[u8]| value.try_into().map_or(0, u64::from_le_bytes);
    if COUNTERS.contains(&id) {
        return number(is).wrapping_sub(number(was)) < 60_000_000_000;
    }
    was == is || CONTROLS.contains(&id) && (number(is) ^ number(was)) == ISTATUS
}

impl Snapshot {
    /// Saves a machine whose vCPUs are stopped.
    pub fn save(machine: &Machine) -> Result<Self> {
        let console = machine.console.lock();
        let console = console.map_err(|_| "a vCPU's thread panicked")?.state();
        Ok(Self {
            config: machine.config.clone(),
            vcpus: machine.vcpus.iter().map(save_vcpu).collect::<Result<_>>()?,
            gic: machine.gic.save(machine.config.cpus)?,
            console,
        })
    }

    /// Makes the machine anew, with the memory that it had. No vCPU runs yet.
    pub fn restore(&self, memory: GuestMemoryMmap, args: &Args) -> Result<Machine> {
        let (mut failed, mut differ) = (Vec::new(), Vec::new());

        // 1. The VM and its vCPUs as they were: what is no register comes before the first of them. Here that is
        //    features, and that there is an interrupt controller.
        let mut machine = Machine::new(self.config.clone(), memory)?;
        if machine.vcpus.len() != self.vcpus.len() {
            return Err("not all vCPUs were saved".into());
        }

        for (fd, saved) in machine.vcpus.iter().zip(&self.vcpus) {
            let vcpu = VcpuRef::new(fd);
            let (lengths, others) = in_order(saved, args)?;
            let mut write = |(id, value): &(u64, &[u8])| {
                if let Err(error) = vcpu.set(*id, value) {
                    failed.push(format!("writing {}: {error}", register_name(*id)));
                }
            };

            // 2. The vector lengths, while they can be written.
            lengths.iter().for_each(&mut write);

            // 3. Finalize, if the vCPU has a feature that needs it: one that has lengths.
            if !lengths.is_empty() {
                vcpu.finalize()?;
            }

            // 4. All others in the order of the list.
            others.iter().for_each(&mut write);
        }
        // All vCPUs before one of them runs: the caller starts them when all this is done.

        for (fd, saved) in machine.vcpus.iter().zip(&self.vcpus) {
            let mut events = kvm_vcpu_events::default();
            let (to, (serror, other)) = (&mut events.exception, saved.pending);
            (to.serror_pending, to.serror_has_esr) = serror;
            (to.ext_dabt_pending, to.serror_esr) = other;
            fd.set_vcpu_events(&events)?;
            let mp_state = saved.mp_state;
            fd.set_mp_state(kvm_mp_state { mp_state })?;

            let vcpu = VcpuRef::new(fd);
            for (id, was) in saved.registers.registers() {
                let mut is = vec![0; was.len()];
                let read = vcpu.get(id, &mut is);
                if read.is_err() || !is_as_it_was(id, was, &is) {
                    differ.push(format!("{} is not what it was", register_name(id)));
                }
            }
        }
        machine.gic.restore(&self.gic)?;
        let gic = machine.gic.save(self.config.cpus)?;
        let mut both = gic.iter().zip(&self.gic);
        if let Some((is, was)) = both.find(|(is, was)| timeless(is) != timeless(was)) {
            differ.push(format!("GIC: {is:x?} is not what it was: {was:x?}"));
        }
        machine.console = serial::console(&machine.vm, &self.console)?;

        let all = self.vcpus.iter();
        let svcr = all.filter_map(|vcpu| vcpu.registers.value(SVCR));
        let svcr: String = svcr.map(|value| format!(" {}", value[0])).collect();
        let (fails, differs) = (failed.len(), differ.len());
        eprintln!("restored: SVCR{svcr}, {fails} failed, {differs} differ");
        failed.extend(differ);
        let go_on = args.value("--go-on")?.unwrap_or(false);
        match failed.first() {
            Some(problem) if !go_on => Err(problem.clone().into()),
            _ => Ok(machine),
        }
    }

    /// Writes a guest to a file, its memory behind all else; there is the file when it is whole.
    pub fn write(&self, memory: &GuestMemoryMmap, path: &str) -> Result {
        let part = format!("{path}.part");
        let mut file = File::create(&part)?;
        writeln!(file, "{}", serde_json::to_string(self)?)?;
        memory.write_all_volatile_to(GuestAddress(RAM), &mut file, self.config.memory)?;
        Ok(fs::rename(part, path)?)
    }

    pub fn read(path: &str) -> Result<(Self, GuestMemoryMmap)> {
        let (mut file, mut state) = (File::open(path)?, String::new());
        BufReader::new(&file).read_line(&mut state)?;
        let snapshot: Self = serde_json::from_str(&state)?;
        let memory = snapshot.config.new_memory()?;
        file.seek(SeekFrom::Start(state.len() as u64))?;
        memory.read_exact_volatile_from(GuestAddress(RAM), &mut file, snapshot.config.memory)?;
        Ok((snapshot, memory))
    }
}
