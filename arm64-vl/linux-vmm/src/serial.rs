// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! The console: a 16550 whose output is ours.

use crate::Result;
use kvm_ioctls::VmFd;
use serde::{Deserialize, Serialize};
use std::io::{stdout, Stdout};
use std::ops::Range;
use std::sync::{Arc, Mutex};
use vm_superio::serial::{NoEvents, Serial};
use vm_superio::{SerialState, Trigger};

/// Its registers, a byte each, and which of the shared interrupts it has.
pub const REGISTERS: Range<u64> = 0x0900_0000..0x0900_0008;
pub const NUMBER: u32 = 0;

/// The line of its interrupt.
pub struct Line(Arc<VmFd>);

impl Trigger for Line {
    type E = kvm_ioctls::Error;

    /// An edge: the type of the interrupt and its number, as `KVM_IRQ_LINE` has them.
    fn trigger(&self) -> std::result::Result<(), Self::E> {
        let irq = 1 << 24 | (32 + NUMBER);
        self.0.set_irq_line(irq, true)?;
        self.0.set_irq_line(irq, false)
    }
}

/// The console, which all vCPUs have.
pub type Shared = Arc<Mutex<Serial<Line, NoEvents, Stdout>>>;

/// What of it is saved.
#[derive(Serialize, Deserialize)]
#[serde(remote = "SerialState")]
pub struct State {
    baud_divisor_low: u8,
    baud_divisor_high: u8,
    interrupt_enable: u8,
    interrupt_identification: u8,
    line_control: u8,
    line_status: u8,
    modem_control: u8,
    modem_status: u8,
    scratch: u8,
    in_buffer: Vec<u8>,
}

/// The console of a VM, new or as it was. An interrupt that the guest has not seen comes again.
pub fn console(vm: &Arc<VmFd>, state: &SerialState) -> Result<Shared> {
    let made = Serial::from_state(state, Line(vm.clone()), NoEvents, stdout())?;
    Ok(Arc::new(Mutex::new(made)))
}
