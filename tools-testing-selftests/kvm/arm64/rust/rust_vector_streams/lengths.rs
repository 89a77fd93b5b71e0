// SPDX-License-Identifier: GPL-2.0-only

//! The streaming vector length that a guest has, for each SMCR_EL1.LEN and SMCR_EL2.LEN.
//!
//! A stream is compared to itself, and does not see a length that is wrong each time.

use crate::{
    guest::{Guest, CODE, EL1T, EL2T, SMCR_EL1, SMCR_EL2},
    stream::Item,
};
use kvmtest::{
    ktap::{Complaints, Outcome},
    kvm::Kvm,
    reg::{RegId, Value},
    vcpus::{set_field, Kind},
    vectors::greatest,
};

/// RDSVL X0, #1: the length in bytes.
const RDSVL: u32 = 0x04bf_5820;
/// ZCR_ELx.LEN and SMCR_ELx.LEN, which are a length in quadwords, less one.
const LEN: u64 = 0xf;

/// The greatest length up to what LEN allows, or the smallest that there is, in bytes (Arm ARM,
/// ZCR_ELx and SMCR_ELx).
pub fn allowed(vqs: u64, of_elx: u64) -> usize {
    match vqs & ((2 << (of_elx & LEN)) - 1) {
        0 => greatest(vqs & vqs.wrapping_neg()),
        some => greatest(some),
    }
}

/// EL1 has the smaller of both lengths, EL2 its own.
pub fn follow_smcr(kvm: &Kvm, kind: &Kind) -> Outcome {
    let stream = Item {
        class: None,
        words: vec![RDSVL],
    };
    let guest = Guest::new(kvm, kind, &[stream], 1)?;
    let vcpu = guest.vcpu();
    let vqs = vcpu.get(RegId::SME_VLS)?.low();
    let el2 = kind.features.el2();
    let mut complaints = Complaints::default();
    for pair in 0..=if el2 { LEN << 4 | LEN } else { LEN } {
        let (of_el1, of_el2) = (pair & LEN, if el2 { pair >> 4 } else { LEN });
        set_field(vcpu, SMCR_EL1, LEN, of_el1)?;
        if el2 {
            set_field(vcpu, SMCR_EL2, LEN, of_el2)?;
        }
        let levels = [("EL1", EL1T, of_el1.min(of_el2)), ("EL2", EL2T, of_el2)];
        for (level, pstate, len) in levels.into_iter().take(1 + usize::from(el2)) {
            for (id, value) in [(RegId::PC, CODE), (RegId::PSTATE, pstate), (RegId::x(0), 0)] {
                vcpu.set(id, &Value::from_u64(value, 8))?;
            }
            guest.run()?;
            let (is, should) = (vcpu.get(RegId::x(0))?.low(), allowed(vqs, len) as u64);
            complaints.check(is == should, || {
                format!("{level}: {is} bytes, not {should}, by LEN {of_el1} and {of_el2}")
            });
        }
    }
    complaints.outcome()
}
