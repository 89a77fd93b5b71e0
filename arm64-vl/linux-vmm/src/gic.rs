// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! The interrupt controller: KVM's GICv3, made, saved and restored
//! (`Documentation/virt/kvm/devices/arm-vgic-v3.rst`). There is no ITS: with one,
//! `KVM_DEV_ARM_VGIC_SAVE_PENDING_TABLES` would come before memory is saved, and its tables behind this.

use crate::Result;
use kvm_bindings::*;
use kvm_ioctls::{DeviceFd, VmFd};

/// Where the guest has it, and bytes: the distributor, and the first of the redistributors, one for each vCPU.
pub const DISTRIBUTOR: [u64; 2] = [0x0800_0000, 0x1_0000];
pub const REDISTRIBUTOR: [u64; 2] = [0x080a_0000, 0x2_0000];

/// As few as KVM has: 32 of each vCPU, 32 shared ones.
const IRQS: u64 = 64;

/// Runs of 32-bit registers: the first offset, and how many. Shared interrupts begin with number 32.
const DISTRIBUTOR_WORDS: [(u64, u64); 9] = [
    (0x0008, 1),           // GICD_IIDR, before any other
    (0x0000, 1),           // GICD_CTLR
    (0x0084, 1),           // GICD_IGROUPR
    (0x0104, 1),           // GICD_ISENABLER
    (0x0c08, 2),           // GICD_ICFGR, before what is pending
    (0x0420, 8),           // GICD_IPRIORITYR
    (0x6000 + 8 * 32, 64), // GICD_IROUTER, two words each
    (0x0204, 1),           // GICD_ISPENDR
    (0x0304, 1),           // GICD_ISACTIVER
];
const REDISTRIBUTOR_WORDS: [(u64, u64); 6] = [
    (0x1_0080, 1), // GICR_IGROUPR0
    (0x1_0100, 1), // GICR_ISENABLER0
    (0x1_0c00, 2), // GICR_ICFGR0 and 1
    (0x1_0400, 8), // GICR_IPRIORITYR
    (0x1_0200, 1), // GICR_ISPENDR0
    (0x1_0300, 1), // GICR_ISACTIVER0
];

/// What is pending of a vCPU, and its lines; and the interrupts of timers there, those of the device tree.
const TIMED: [(u32, u32); 2] = [
    (KVM_DEV_ARM_VGIC_GRP_REDIST_REGS, 0x1_0200), // GICR_ISPENDR0
    (KVM_DEV_ARM_VGIC_GRP_LEVEL_INFO, 0),
];
const TIMERS: u64 = 1 << 26 | 1 << 27 | 1 << 29 | 1 << 30;

/// A register of the CPU interface, op0 = 3, op1 = 0.
const fn icc(crn: u64, crm: u64, op2: u64) -> u64 {
    3 << 14 | crn << 7 | crm << 3 | op2
}

const ICC_CTLR_EL1: u64 = icc(12, 12, 4);
const ICC_REGISTERS: [u64; 6] = [
    ICC_CTLR_EL1,
    icc(4, 6, 0),   // ICC_PMR_EL1
    icc(12, 8, 3),  // ICC_BPR0_EL1
    icc(12, 12, 3), // ICC_BPR1_EL1
    icc(12, 12, 6), // ICC_IGRPEN0_EL1
    icc(12, 12, 7), // ICC_IGRPEN1_EL1
];
/// `ICC_AP0R0_EL1` and `ICC_AP1R0_EL1`: how many there are follows from the bits of a priority.
const ACTIVE_PRIORITIES: [u64; 2] = [icc(12, 8, 4), icc(12, 9, 0)];

pub struct Gic(DeviceFd);

/// The group of a value, its number there, and the value. Saved, in the order in which they are written back.
pub type Attribute = (u32, u64, u64);

/// Reads or writes an attribute, by its address. KVM takes 32 or 64 bits there, as the group says.
fn request(group: u32, attr: u64, value: *const u64) -> kvm_device_attr {
    let mut request = kvm_device_attr::default();
    (request.group, request.attr, request.addr) = (group, attr, value as u64);
    request
}

/// An attribute without what follows from the time: a timer's line is high, and its interrupt pending, when it has come.
pub fn timeless(&(group, attr, value): &Attribute) -> Attribute {
    let timers = u64::from(TIMED.contains(&(group, attr as u32))) * TIMERS;
    (group, attr, value & !timers)
}

impl Gic {
    /// Of a VM that has all its vCPUs.
    pub fn new(vm: &VmFd) -> Result<Self> {
        let mut device = kvm_create_device {
            type_: kvm_device_type_KVM_DEV_TYPE_ARM_VGIC_V3,
            ..Default::default()
        };
        let gic = Self(vm.create_device(&mut device)?);
        let (dist, redist) = (KVM_VGIC_V3_ADDR_TYPE_DIST, KVM_VGIC_V3_ADDR_TYPE_REDIST);
        let init = KVM_DEV_ARM_VGIC_CTRL_INIT.into();
        gic.restore(&[
            (KVM_DEV_ARM_VGIC_GRP_ADDR, dist.into(), DISTRIBUTOR[0]),
            (KVM_DEV_ARM_VGIC_GRP_ADDR, redist.into(), REDISTRIBUTOR[0]),
            (KVM_DEV_ARM_VGIC_GRP_NR_IRQS, 0, IRQS),
            (KVM_DEV_ARM_VGIC_GRP_CTRL, init, 0),
        ])?;
        Ok(gic)
    }

    /// Writes values in their order.
    pub fn restore(&self, saved: &[Attribute]) -> Result {
        for (group, attr, value) in saved {
            let done = self.0.set_device_attr(&request(*group, *attr, value));
            done.map_err(|error| format!("GIC: writing {attr:#x} of group {group}: {error}"))?;
        }
        Ok(())
    }

    fn get(&self, group: u32, attr: u64) -> Result<Attribute> {
        let mut value = 0;
        let mut request = request(group, attr, &raw mut value);
        // SAFETY: KVM writes 32 or 64 bits to `value`, which has 64.
        let done = unsafe { self.0.get_device_attr(&mut request) };
        done.map_err(|error| format!("GIC: reading {attr:#x} of group {group}: {error}"))?;
        Ok((group, attr, value))
    }

    /// All that it is. No vCPU runs meanwhile.
    pub fn save(&self, cpus: u64) -> Result<Vec<Attribute>> {
        // GICR_ICENABLER0: KVM has SGIs enabled from the start, and those that the guest has disabled stay so.
        let redist = KVM_DEV_ARM_VGIC_GRP_REDIST_REGS;
        let none = |cpu: u64| (redist, cpu << 32 | 0x1_0180, 0xffff_ffff);
        let mut saved: Vec<Attribute> = (0..cpus).map(none).collect();
        let mut save = |group, runs: &[(u64, u64)], step, cpu| -> Result {
            for &(first, count) in runs {
                for n in 0..count {
                    saved.push(self.get(group, cpu | (first + n * step))?);
                }
            }
            Ok(())
        };
        save(KVM_DEV_ARM_VGIC_GRP_DIST_REGS, &DISTRIBUTOR_WORDS, 4, 0)?;
        // The levels of lines, 32 interrupts at a time, by the number of the first.
        save(KVM_DEV_ARM_VGIC_GRP_LEVEL_INFO, &[(32, 1)], 32, 0)?;
        for cpu in (0..cpus).map(|cpu| cpu << 32) {
            save(redist, &REDISTRIBUTOR_WORDS, 4, cpu)?;
            save(KVM_DEV_ARM_VGIC_GRP_LEVEL_INFO, &[(0, 1)], 32, cpu)?;

            let group = KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS;
            save(group, &ICC_REGISTERS.map(|icc| (icc, 1)), 1, cpu)?;
            // PRIbits is one less than the bits of a priority; a register has 32 of them.
            let (.., ctlr) = self.get(group, cpu | ICC_CTLR_EL1)?;
            let count = 1 << (ctlr >> 8 & 7).saturating_sub(4);
            save(group, &ACTIVE_PRIORITIES.map(|icc| (icc, count)), 1, cpu)?;
        }
        Ok(saved)
    }
}
