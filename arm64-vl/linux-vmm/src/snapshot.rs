// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! A guest that is stopped: saved, restored by the steps of `Documentation/virt/kvm/arm/reg-list.rst`, and in a file.

use crate::machine::{Config, Machine, RAM};
use crate::{args::Args, gic::Attribute, serial, vcpu::VLS, Result};
use arm64_vl::{register_name, RegisterAccess, SavedVcpu, VcpuRef};
use kvm_bindings::{kvm_mp_state, kvm_vcpu_events};
use kvm_ioctls::{reg_size, Kvm, VcpuFd};
use serde::{Deserialize, Serialize};
use std::{fs, fs::File};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use vm_superio::SerialState;

/// Provisional. 1 is the only value that we know.
const KVM_CAP_ARM_REG_LIST_ORDER: u64 = 253;
/// Says whether a vCPU is in streaming mode (1), and whether ZA is on (2).
const SVCR: u64 = 0x6030_0000_0013_da12;
/// What goes on when nothing runs: the counters, and ISTATUS in the controls of the timers, which follows from them.
const RUNNING: [u64; 4] = [
    0x6030_0000_0013_df1a, // CNTVCT_EL0
    0x6030_0000_0013_df01, // CNTPCT_EL0
    0x6030_0000_0013_df19, // CNTV_CTL_EL0
    0x6030_0000_0013_df11, // CNTP_CTL_EL0
];

/// Ids and values, in the order of the list.
type Registers = Vec<(u64, Vec<u8>)>;

/// A vCPU: its registers, whether it is off, and a pending SError or abort.
#[derive(Serialize, Deserialize)]
struct Vcpu {
    registers: Registers,
    mp_state: u32,
    pending: (u8, u8, u8, u64),
}

/// All of a guest but its memory.
#[derive(Serialize, Deserialize)]
pub struct Snapshot {
    config: Config,
    /// Whether the kernel that saved lists registers in an order in which they can be written back.
    ordered: bool,
    vcpus: Vec<Vcpu>,
    gic: Vec<Attribute>,
    #[serde(with = "serial::State")]
    console: SerialState,
}

fn save_vcpu(fd: &VcpuFd) -> Result<Vcpu> {
    let vcpu = VcpuRef::new(fd);
    let read = |id| {
        let mut value = vec![0; reg_size(id)];
        let done = vcpu.get(id, &mut value);
        done.map_err(|error| format!("reading {}: {error}", register_name(id)))?;
        Ok((id, value))
    };
    let events = fd.get_vcpu_events()?.exception;
    let (serror, has_esr) = (events.serror_pending, events.serror_has_esr);
    Ok(Vcpu {
        registers: vcpu.list()?.into_iter().map(read).collect::<Result<_>>()?,
        mp_state: fd.get_mp_state()?.mp_state,
        pending: (events.ext_dabt_pending, serror, has_esr, events.serror_esr),
    })
}

impl Snapshot {
    /// Saves a machine whose vCPUs are stopped.
    pub fn save(machine: &Machine) -> Result<Self> {
        let console = machine.console.lock();
        let console = console.map_err(|_| "a vCPU's thread panicked")?.state();
        Ok(Self {
            config: machine.config.clone(),
            ordered: Kvm::new()?.check_extension_raw(KVM_CAP_ARM_REG_LIST_ORDER) == 1,
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

        for (fd, saved) in machine.vcpus.iter().zip(&self.vcpus) {
            let vcpu = VcpuRef::new(fd);
            let (lengths, others) = self.in_order(saved, args)?;
            let mut write = |(id, value): &(u64, Vec<u8>)| {
                if let Err(error) = vcpu.set(*id, value) {
                    failed.push(format!("writing {}: {error}", register_name(*id)));
                }
            };

            // 2. The vector lengths, while they can be written.
            lengths.iter().for_each(&mut write);

            // 3. Finalize, if the vCPU has a feature that needs it.
            if self.config.has_vectors() {
                vcpu.finalize()?;
            }

            // 4. All others in the order of the list.
            others.iter().for_each(&mut write);
        }
        // All vCPUs before one of them runs: the caller starts them when all this is done.

        for (fd, saved) in machine.vcpus.iter().zip(&self.vcpus) {
            let mut events = kvm_vcpu_events::default();
            let to = &mut events.exception;
            (
                to.ext_dabt_pending,
                to.serror_pending,
                to.serror_has_esr,
                to.serror_esr,
            ) = saved.pending;
            fd.set_vcpu_events(&events)?;
            let mp_state = saved.mp_state;
            fd.set_mp_state(kvm_mp_state { mp_state })?;

            let vcpu = VcpuRef::new(fd);
            for (id, was) in &saved.registers {
                let mut is = vec![0; was.len()];
                let read = vcpu.get(*id, &mut is);
                if !RUNNING.contains(id) && (read.is_err() || is != *was) {
                    differ.push(format!("{} is not what it was", register_name(*id)));
                }
            }
        }
        machine.gic.restore(&self.gic)?;
        machine.console = serial::console(&machine.vm, &self.console)?;

        let all = self.vcpus.iter().flat_map(|vcpu| &vcpu.registers);
        let svcr = all.filter(|(id, _)| *id == SVCR);
        let svcr: String = svcr.map(|(_, value)| format!(" {}", value[0])).collect();
        let (fails, differs) = (failed.len(), differ.len());
        eprintln!("restored: SVCR{svcr}, {fails} failed, {differs} differ");
        failed.extend(differ);
        match failed.first() {
            Some(problem) if args.get("--go-on").is_none() => Err(problem.clone().into()),
            _ => Ok(machine),
        }
    }

    /// The vector lengths of a vCPU, and its other registers as they are to be written.
    fn in_order(&self, saved: &Vcpu, args: &Args) -> Result<(Registers, Registers)> {
        let mut registers = saved.registers.clone();
        if args.get("--svcr-last").is_some() {
            registers.sort_by_key(|(id, _)| *id == SVCR);
        } else if !self.ordered {
            // The list of another kernel: the library puts first what others depend on.
            let safe = SavedVcpu::new(None, registers)?;
            let copy = |(id, value): (u64, &[u8])| (id, value.to_vec());
            registers = safe.registers().map(copy).collect();
        }
        Ok(registers.into_iter().partition(|(id, _)| VLS.contains(id)))
    }

    /// Writes a guest to a file, and its memory to another one beside it; read() reads them back.
    pub fn write(&self, memory: &GuestMemoryMmap, path: &str) -> Result {
        let mut file = File::create(format!("{path}.memory"))?;
        memory.write_all_volatile_to(GuestAddress(RAM), &mut file, self.config.memory)?;
        Ok(fs::write(path, serde_json::to_string(self)?)?)
    }

    pub fn read(path: &str) -> Result<(Self, GuestMemoryMmap)> {
        let snapshot: Self = serde_json::from_str(&fs::read_to_string(path)?)?;
        let memory = snapshot.config.new_memory()?;
        let mut file = File::open(format!("{path}.memory"))?;
        memory.read_exact_volatile_from(GuestAddress(RAM), &mut file, snapshot.config.memory)?;
        Ok((snapshot, memory))
    }
}
