// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! The device tree: what the guest is told of the machine.

use crate::machine::{Config, RAM};
use crate::{gic, serial, Result};
use vm_fdt::FdtWriter;

const GIC_PHANDLE: u32 = 1;
/// Interrupts in a device tree: shared (0) or of a vCPU (1), the number, a rising edge (1) or a low level (8).
const SERIAL: [u32; 3] = [0, serial::NUMBER, 1];
const TIMERS: [[u32; 3]; 4] = [[1, 13, 8], [1, 14, 8], [1, 11, 8], [1, 10, 8]];

/// The tree of a machine with the initramfs at these addresses.
pub fn fdt(config: &Config, append: &str, initrd: u64, initrd_end: u64) -> Result<Vec<u8>> {
    let text = |value: &str| [value.as_bytes(), b"\0"].concat();
    let cells = |values: &[u32]| Vec::from_iter(values.iter().flat_map(|cell| cell.to_be_bytes()));
    let pairs = |values: &[u64]| Vec::from_iter(values.iter().flat_map(|pair| pair.to_be_bytes()));
    let [redistributors, size] = gic::REDISTRIBUTOR;
    let gic = [gic::DISTRIBUTOR, [redistributors, size * config.cpus]];
    let uart = serial::REGISTERS;
    let properties = [
        ("chosen", "bootargs", text(append)),
        ("chosen", "linux,initrd-start", pairs(&[initrd])),
        ("chosen", "linux,initrd-end", pairs(&[initrd_end])),
        ("memory", "device_type", text("memory")),
        ("memory", "reg", pairs(&[RAM, config.memory as u64])),
        ("psci", "compatible", text("arm,psci-1.0\0arm,psci-0.2")),
        ("psci", "method", text("hvc")),
        ("intc", "compatible", text("arm,gic-v3")),
        ("intc", "interrupt-controller", vec![]),
        ("intc", "#interrupt-cells", cells(&[3])),
        ("intc", "reg", pairs(gic.as_flattened())),
        ("intc", "phandle", cells(&[GIC_PHANDLE])),
        ("timer", "compatible", text("arm,armv8-timer")),
        ("timer", "interrupts", cells(TIMERS.as_flattened())),
        ("timer", "always-on", vec![]),
        ("serial", "compatible", text("ns16550a")),
        ("serial", "reg", pairs(&[uart.start, uart.end - uart.start])),
        ("serial", "interrupts", cells(&SERIAL)),
        ("serial", "clock-frequency", cells(&[1_843_200])),
    ];

    let mut fdt = FdtWriter::new()?;
    let root = fdt.begin_node("")?;
    fdt.property_string("compatible", "linux,dummy-virt")?;
    fdt.property_u32("#address-cells", 2)?;
    fdt.property_u32("#size-cells", 2)?;
    fdt.property_u32("interrupt-parent", GIC_PHANDLE)?;
    for node in properties.chunk_by(|one, next| one.0 == next.0) {
        let open = fdt.begin_node(node[0].0)?;
        for (_, name, value) in node {
            fdt.property(name, value)?;
        }
        fdt.end_node(open)?;
    }
    let all = fdt.begin_node("cpus")?;
    fdt.property_u32("#address-cells", 1)?;
    fdt.property_u32("#size-cells", 0)?;
    for n in 0..config.cpus as u32 {
        let cpu = fdt.begin_node(&format!("cpu@{n:x}"))?;
        fdt.property_string("device_type", "cpu")?;
        fdt.property_string("compatible", "arm,armv8")?;
        fdt.property_string("enable-method", "psci")?;
        fdt.property_u32("reg", n)?;
        fdt.end_node(cpu)?;
    }
    fdt.end_node(all)?;
    fdt.end_node(root)?;
    Ok(fdt.finish()?)
}
