// SPDX-License-Identifier: GPL-2.0-only

//! Guests of a few instructions, what a vCPU needs to run them, and what they leave in it.

use crate::{
    caller::{must, works, AROUND},
    model::{Checked, Outcomes},
    Thread,
};
use kvmtest::{
    memory::{Place, PAGE},
    reg::{RegId, Value},
    vectors::{self, SM, ZA},
};

pub const TPIDR_EL0: RegId = RegId::sys(3, 3, 13, 0, 2);
pub const SCTLR_EL1: RegId = RegId::sys(3, 0, 1, 0, 0);

/// What a vCPU needs to run [`code`] up to its end; SCTLR_EL1 and X2 come to this.
#[rustfmt::skip]
pub const RUNNABLE: [(RegId, u64); 6] = [
    (RegId::PSTATE,               0x3c5),                  // EL1h, interrupts masked
    (RegId::sys(3, 0, 1, 0, 2),   3 << 24 | 3 << 20 | 3 << 16), // CPACR_EL1: SMEN, FPEN, ZEN
    (RegId::sys(2, 0, 0, 2, 2),   0),                      // MDSCR_EL1
    (RegId::sys(3, 0, 12, 0, 0),  0),                      // VBAR_EL1
    (RegId::sys(3, 0, 1, 2, 0),   0xf),                    // ZCR_EL1: the greatest length
    (RegId::sys(3, 0, 1, 2, 6),   3 << 30 | 0xf),          // SMCR_EL1: the same, FA64, EZT0
];

/// What must not change on a vCPU that is shared, so that it comes out of the guest.
pub const STEERING: [RegId; 5] = [
    RegId::PC,
    RegId::PSTATE,
    SCTLR_EL1,
    RUNNABLE[2].0,
    RUNNABLE[3].0,
];

/// Where the guest has nothing.
pub const NOWHERE: u64 = 0x1000_0000;

/// What the guest does before it stores to [`NOWHERE`], with what this needs.
pub const GUESTS: [(Guests, &[u32]); 4] = [
    (Guests::Nothing, &[]),
    (Guests::ReadVector, &[0x9e66_0000]), // fmov x0, d0
    (Guests::WriteSvcr, &[0xd51b_4242]),  // msr svcr, x2
    (Guests::WriteTpidr, &[0xd51b_d042]), // msr tpidr_el0, x2
];

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Guests {
    Nothing,
    ReadVector,
    WriteSvcr,
    WriteTpidr,
}

/// The words of a page between two of the guest's vectors.
pub const SLOT: usize = 32;

/// Where in its page a guest begins: behind the vectors.
pub fn entry(guest: usize) -> u64 {
    (16 + guest as u64) * SLOT as u64 * 4
}

/// The page at 0 of each guest. From wherever it starts or takes an exception to, it gets out.
pub fn code() -> Vec<u32> {
    pub const OUT: [u32; 3] = [
        0xd2a2_0001, // mov x1, #0x10000000
        0xb900_0020, // str w0, [x1]
        0x17ff_fffe, // b .-8
    ];
    let mut page: Vec<_> = (0..PAGE / 4).map(|n| OUT[n % SLOT % OUT.len()]).collect();
    for (guest, (_, begin)) in GUESTS.iter().enumerate() {
        let at = entry(guest) as usize / 4;
        page[at..at + begin.len()].copy_from_slice(begin);
        page[at + begin.len()..][..OUT.len()].copy_from_slice(&OUT);
    }
    page
}

impl Thread<'_, '_> {
    pub fn load(&mut self, n: usize) -> Checked {
        let owned = &self.family.vcpus[n];
        let expected = if !owned.initialized {
            Outcomes::ENOEXEC
        } else if !self.is_finalized(n) {
            Outcomes::EPERM
        } else {
            Outcomes::OK
        };
        let outcome = self.caller.load(owned.who, &owned.vcpu)?;
        must(expected, &outcome, || "KVM_RUN with immediate_exit".into())?;
        if outcome.is_ok() {
            self.has_run()?;
        }
        Ok(())
    }

    /// The first run of a VM mends its ID registers.
    pub fn has_run(&mut self) -> Checked {
        if self.family.ran {
            return Ok(());
        }
        self.family.ran = true;
        works(self.family.read_guest(), "a read of the ID registers")
    }

    /// Runs a guest, with all as it was but for what the guest did.
    pub fn run(&mut self, n: usize) -> Checked {
        let which = self.chooser.random.below(GUESTS.len());
        let (guest, begin) = GUESTS[which];
        let kind = self.family.kind;
        if !self.is_finalized(n) || kind.aarch32 || guest == Guests::WriteSvcr && !kind.sme {
            return Ok(());
        }

        let place = Place::At(AROUND);
        let argument = if guest == Guests::WriteSvcr {
            self.chooser.random.number() & 3
        } else {
            self.chooser.random.number()
        };
        let needed = RUNNABLE.into_iter().chain([
            (SCTLR_EL1, kind.sctlr),
            (RegId::PC, entry(which)),
            (RegId::x(2), argument),
        ]);
        let mut saved = Vec::new();
        for (id, value) in needed
            .filter(|(id, _)| self.family.state(n).has(*id))
            .collect::<Vec<_>>()
        {
            let was = works(self.get_at(n, id, place)?, "a read before KVM_RUN")?;
            works(
                self.set_at(n, id, place, Value::from_u64(value, 8))?,
                "a write before KVM_RUN",
            )?;
            if id != RegId::PC && id != RegId::x(2) {
                saved.push((id, was));
            }
        }

        let owned = &mut self.family.vcpus[n];
        works(self.caller.run(owned.who, &owned.vcpu)?, "KVM_RUN")?;
        // The store is complete only when the vCPU is entered again.
        works(
            self.caller.load(owned.who, &owned.vcpu)?,
            "KVM_RUN after a store",
        )?;
        let low = |value: Option<Value>| value.map_or(0, |value| value.low());
        match guest {
            Guests::Nothing => {}
            Guests::ReadVector => {
                let vector = if owned.mode.has_z() {
                    vectors::z(0)
                } else {
                    vectors::v(0)
                };
                let value = low(owned.value(vector));
                owned.values.insert(RegId::x(0), Value::from_u64(value, 8));
            }
            Guests::WriteSvcr => owned.set_svcr(argument),
            Guests::WriteTpidr => {
                owned.values.insert(TPIDR_EL0, Value::from_u64(argument, 8));
            }
        }
        owned
            .values
            .insert(RegId::x(1), Value::from_u64(NOWHERE, 8));
        self.has_run()?;

        let pc = low(self.get_at(n, RegId::PC, place)?.ok());
        if pc != entry(which) + 4 * (begin.len() as u64 + 2) {
            return Err(format!(
                "the guest that starts at {:#x} stops at {pc:#x}",
                entry(which)
            ));
        }
        if kind.sme {
            let svcr = low(self.get_at(n, RegId::SVCR, place)?.ok());
            let mode = self.family.vcpus[n].mode;
            if (svcr & SM != 0, svcr & ZA != 0) != (mode.sm, mode.za) {
                return Err(format!(
                    "SVCR is {svcr} after the guest wrote {argument:#x} or nothing"
                ));
            }
        }
        for id in [RegId::x(0), RegId::x(1), TPIDR_EL0] {
            self.get_at(n, id, place)?
                .map_or_else(|error| Err(error.to_string()), |_| Ok(()))?;
        }
        for (id, was) in saved.into_iter().rev() {
            works(self.set_at(n, id, place, was)?, "a write after KVM_RUN")?;
        }
        Ok(())
    }
}
