// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! The machine: a VM with memory, vCPUs, an interrupt controller and a console, and Linux in it.

use crate::{args::Args, fdt::fdt, gic::Gic, serial, serial::Shared, vcpu, Result};
use arm64_vl::{Offer, RegisterAccess, VcpuRef};
use kvm_bindings::*;
use kvm_ioctls::{Kvm, VcpuFd, VmFd};
use linux_loader::loader::{load_dtb, KernelLoader, PE};
use serde::{Deserialize, Serialize};
use std::{fs, io::Cursor, num::NonZeroU64, sync::Arc};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

/// Where memory begins.
pub const RAM: u64 = 0x4000_0000;
/// The device tree is in the last 2 MiB of memory, the initramfs before it, from a page on.
const FDT_ROOM: u64 = 2 << 20;
const PAGE: u64 = 4096;
/// Provisional.
const KVM_ARM_VCPU_SME: u32 = 10;

/// What a machine is before the first register is written. No register tells of it.
#[derive(Clone, Serialize, Deserialize)]
pub struct Config {
    pub cpus: u64,
    /// Bytes of memory.
    pub memory: usize,
    /// The features of `KVM_ARM_VCPU_INIT`, by their bits.
    pub features: u32,
}

impl Config {
    /// Memory with nothing in it.
    pub fn new_memory(&self) -> Result<GuestMemoryMmap> {
        let ranges = [(GuestAddress(RAM), self.memory)];
        Ok(GuestMemoryMmap::from_ranges(&ranges)?)
    }
}

pub struct Machine {
    pub config: Config,
    pub vcpus: Vec<VcpuFd>,
    pub gic: Gic,
    pub console: Shared,
    pub vm: Arc<VmFd>,
    // Behind the VM, which has it mapped.
    pub memory: GuestMemoryMmap,
}

impl Machine {
    /// A machine whose vCPUs have their features, and nothing else yet.
    pub fn new(config: Config, memory: GuestMemoryMmap) -> Result<Self> {
        let vm = Arc::new(Kvm::new()?.create_vm_with_type(0)?); // 40 bits of address
        let region = kvm_userspace_memory_region {
            guest_phys_addr: RAM,
            memory_size: config.memory as u64,
            userspace_addr: memory.get_host_address(GuestAddress(RAM))? as u64,
            ..Default::default()
        };
        // SAFETY: The memory is mapped for as long as the VM is there, and is accessed as volatile alone.
        unsafe { vm.set_user_memory_region(region)? };

        let mut init = kvm_vcpu_init::default();
        vm.get_preferred_target(&mut init)?;
        let mut vcpus = Vec::new();
        for n in 0..config.cpus {
            let vcpu = vm.create_vcpu(n)?;
            // The first one starts the others, by PSCI.
            init.features[0] = config.features | u32::from(n > 0) << KVM_ARM_VCPU_POWER_OFF;
            vcpu.vcpu_init(&init)?;
            vcpus.push(vcpu);
        }
        Ok(Self {
            config,
            vcpus,
            gic: Gic::new(&vm)?,
            console: serial::console(&vm, &Default::default())?,
            vm,
            memory,
        })
    }

    /// A machine that is about to start Linux, by the kernel's Documentation/arch/arm64/booting.rst.
    pub fn boot(args: &Args) -> Result<Self> {
        // Which vector lengths it has decides whether it has SVE and SME.
        let offer = Offer::read()?;
        let sve = offer.sve.up_to(args.value("--sve")?.unwrap_or(u32::MAX));
        let sme = offer.sme.up_to(args.value("--sme")?.unwrap_or(u32::MAX));
        let pauth = args.value("--pauth")?.unwrap_or(false);
        let config = Config {
            // The affinity of a vCPU is its number as long as that has four bits.
            cpus: args.value("--cpus")?.map_or(1, NonZeroU64::get).min(16),
            memory: args.value("--memory")?.unwrap_or(256) << 20,
            features: 1 << KVM_ARM_VCPU_PSCI_0_2
                | u32::from(!sve.is_empty()) << KVM_ARM_VCPU_SVE
                | u32::from(!sme.is_empty()) << KVM_ARM_VCPU_SME
                | u32::from(pauth) << KVM_ARM_VCPU_PTRAUTH_ADDRESS
                | u32::from(pauth) << KVM_ARM_VCPU_PTRAUTH_GENERIC,
        };
        let memory = config.new_memory()?;
        let machine = Self::new(config, memory)?;
        let (config, memory) = (&machine.config, &machine.memory);

        let mut image = fs::File::open(&args.operand)?;
        let kernel = PE::load(memory, Some(GuestAddress(RAM)), &mut image, None)?;
        let tree_at = RAM + config.memory as u64 - FDT_ROOM;
        let initrd = args.get("--initrd").map_or(Ok(Vec::new()), fs::read)?;
        let start = tree_at.saturating_sub(initrd.len() as u64) & !(PAGE - 1);
        // By its header: with what is not in the file, such as its zeros.
        let size: u64 = memory.read_obj(GuestAddress(kernel.kernel_load.0 + 16))?;
        if start < kernel.kernel_load.0.saturating_add(size) {
            return Err("the initramfs does not fit into memory".into());
        }
        memory.write_slice(&initrd, GuestAddress(start))?;
        let append = args.get("--append").map_or("", |words| words);
        let tree = fdt(config, append, start, start + initrd.len() as u64)?;
        load_dtb(memory, GuestAddress(tree_at), &mut Cursor::new(tree))?;

        for vcpu in machine.vcpus.iter().map(VcpuRef::new) {
            let sets = vcpu::VLS.into_iter().zip([sve, sme]);
            for (id, set) in sets.filter(|(_, set)| !set.is_empty()) {
                vcpu.set(id, &set.register().map(u64::to_le_bytes).concat())?;
            }
            if !(sve.is_empty() && sme.is_empty()) {
                vcpu.finalize()?;
            }
        }
        let first = VcpuRef::new(&machine.vcpus[0]);
        first.set(vcpu::X0, &tree_at.to_le_bytes())?;
        first.set(vcpu::PC, &kernel.kernel_load.0.to_le_bytes())?;
        Ok(machine)
    }
}
