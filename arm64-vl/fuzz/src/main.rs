// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! Feeds files that libFuzzer makes up to what reads files. What is read is as it should be, and reads
//! the same when it has been written.

#![no_main]

use arm64_vl::{
    common_vcpu, core_notes, diff_offers, diff_vcpus, partition, pool, Machine, Note, SavedVcpu,
    VectorRegisters,
};
use std::slice;

/// Notes and core files: nothing is read behind their ends.
fn notes(bytes: &[u8]) {
    for note in core_notes(bytes).unwrap_or_default() {
        assert!(note.bytes.len() <= bytes.len());
    }
    for note in Note::ALL {
        let Ok(registers) = VectorRegisters::from_note(note, bytes) else {
            continue;
        };
        let length = registers.view().length as usize;
        for n in 0..300 {
            assert!(registers
                .z(n)
                .is_none_or(|z| n < 32 && z.len() == length.max(16)));
            assert!(registers
                .p(n)
                .is_none_or(|p| n < 16 && p.len() == length / 8));
            assert!(registers
                .za(n)
                .is_none_or(|row| n < length && row.len() == length));
        }
        let _ = (registers.ffr(), registers.fpsr_fpcr());
    }
}

/// The entry point that libFuzzer calls.
///
/// # Safety
///
/// `data` is valid for `len` bytes.
#[no_mangle]
pub unsafe extern "C" fn LLVMFuzzerTestOneInput(data: *const u8, len: usize) -> i32 {
    if len == 0 {
        return 0;
    }
    // SAFETY: The caller vouches for it.
    let bytes = unsafe { slice::from_raw_parts(data, len) };
    notes(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else {
        return 0;
    };
    if let Ok(machine) = Machine::from_json(text) {
        let again = Machine::from_json(&machine.to_json().unwrap()).unwrap();
        assert_eq!(again, machine);
        let machines = [machine, again];
        if let Some(offer) = &machines[0].kvm {
            let differ = diff_offers(offer, offer);
            assert!(differ
                .iter()
                .all(|one| one.facts.is_empty() && one.registers.is_empty()));
            assert_eq!(partition(&machines, 2).unwrap().len(), 1);
            for kind in &offer.kinds {
                if let Ok(common) = common_vcpu(&machines, kind.features) {
                    assert!(common.set.is_empty());
                }
            }
        }
        if let Ok(config) = pool(&machines) {
            config.check().unwrap();
            assert!(config.why_not(&machines[0]).is_empty());
            // What a vCPU has in a mode is no more than the maximum.
            let sizes = config.modes().iter().map(|svcr| config.size(*svcr));
            assert!(sizes
                .into_iter()
                .all(|size| size.max(config.greatest_size()) == config.greatest_size()));
        }
    }
    if let Ok(vcpu) = SavedVcpu::from_json(text) {
        assert!(diff_vcpus(&vcpu, &vcpu)
            .iter()
            .all(|one| one.registers.is_empty()));
        let (ids, values) = vcpu.clone().into_parts();
        let parts = SavedVcpu::from_parts(vcpu.features(), &ids, &values);
        assert_eq!(parts.unwrap(), vcpu);
        assert!(vcpu
            .registers()
            .all(|(id, value)| value.len() == 1 << (id >> 52 & 15)));
        assert_eq!(
            SavedVcpu::from_json(&vcpu.to_json().unwrap()).unwrap(),
            vcpu
        );
    }
    0
}
