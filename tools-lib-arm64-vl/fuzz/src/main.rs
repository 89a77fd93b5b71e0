// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! Feeds files that libFuzzer makes up to what reads files. What is read is as it should be, and reads
//! the same when it has been written.

#![no_main]

use arm64_vl::{pool, Machine, SavedVcpu};
use std::slice;

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
    let Ok(text) = std::str::from_utf8(bytes) else {
        return 0;
    };
    if let Ok(machine) = Machine::from_json(text) {
        let again = Machine::from_json(&machine.to_json().unwrap()).unwrap();
        assert_eq!(again, machine);
        let machines = [machine, again];
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
