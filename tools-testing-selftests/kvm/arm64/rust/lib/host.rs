// SPDX-License-Identifier: GPL-2.0-only

//! The test's own use of the vector registers: it has to survive the guests, and not to reach them.

use std::arch::{asm, is_aarch64_feature_detected};

/// Bytes in the longest row of ZA.
const ROW: usize = 256;

/// What the test itself can use.
#[derive(Clone, Copy)]
pub struct Host {
    sve: bool,
    sme: bool,
}

/// Calls for assembly that may change all vector registers.
macro_rules! scribble {
    ($pattern:expr, $($code:literal),+) => {
        asm!(
            $($code,)+
            pattern = in(reg) $pattern,
            out("v0") _, out("v1") _, out("v2") _, out("v3") _, out("v4") _, out("v5") _,
            out("v6") _, out("v7") _, out("v8") _, out("v9") _, out("v10") _, out("v11") _,
            out("v12") _, out("v13") _, out("v14") _, out("v15") _, out("v16") _, out("v17") _,
            out("v18") _, out("v19") _, out("v20") _, out("v21") _, out("v22") _, out("v23") _,
            out("v24") _, out("v25") _, out("v26") _, out("v27") _, out("v28") _, out("v29") _,
            out("v30") _, out("v31") _, out("p0") _, out("p1") _, out("p2") _, out("p3") _,
            out("p4") _, out("p5") _, out("p6") _, out("p7") _, out("p8") _, out("p9") _,
            out("p10") _, out("p11") _, out("p12") _, out("p13") _, out("p14") _, out("p15") _,
            out("ffr") _,
            options(nostack, nomem),
        )
    };
}

impl Host {
    /// `sme`: whether the CPUs have SME.
    pub fn new(sme: bool) -> Self {
        Self {
            sve: is_aarch64_feature_detected!("sve"),
            sme,
        }
    }

    /// Calls `f` with a pattern in all vector registers, and with SME in ZA and TPIDR2_EL0 as well.
    /// Returns whether those two are as they were: a system call changes none of them.
    ///
    /// `f` starts no thread: the C library would take TPIDR2_EL0 for an address.
    pub fn around<T>(self, pattern: u64, f: impl FnOnce() -> T) -> (T, bool) {
        let row = [pattern; ROW / 8];
        if self.sme {
            // SAFETY: There is SME. Nothing else in this thread uses ZA or TPIDR2_EL0, and no row
            // is longer than the array.
            unsafe {
                asm!(
                    ".arch_extension sme",
                    "msr S3_3_C13_C0_5, {pattern}",
                    "smstart za",
                    "rdsvl x12, #1",
                    "2: sub x12, x12, #1",
                    "ldr za[w12, 0], [{row}]",
                    "cbnz x12, 2b",
                    pattern = in(reg) pattern,
                    row = in(reg) row.as_ptr(),
                    out("x12") _,
                    options(nostack),
                );
            }
        }
        if self.sve {
            // SAFETY: There is SVE, and the compiler is told of all that changes.
            unsafe {
                scribble!(
                    pattern,
                    ".arch_extension sve",
                    ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
                    "dup z\\n\\().d, {pattern}",
                    ".endr",
                    ".irp n,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
                    "dup z\\n\\().d, {pattern}",
                    ".endr",
                    ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
                    "ptrue p\\n\\().h",
                    ".endr",
                    "setffr"
                );
            }
        } else {
            // SAFETY: The compiler is told of all that changes.
            unsafe {
                scribble!(
                    pattern,
                    ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
                    "dup v\\n\\().2d, {pattern}",
                    ".endr",
                    ".irp n,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
                    "dup v\\n\\().2d, {pattern}",
                    ".endr"
                );
            }
        }
        let result = f();
        (result, !self.sme || kept(pattern))
    }
}

/// Whether ZA and TPIDR2_EL0 have the pattern. Turns both off.
fn kept(pattern: u64) -> bool {
    let mut same = true;
    let mut row = [0; ROW / 8];
    let (tpidr2, svcr, svl): (u64, u64, u64);
    // SAFETY: As above.
    unsafe {
        asm!(
            ".arch_extension sme",
            "mrs {tpidr2}, S3_3_C13_C0_5",
            "mrs {svcr}, S3_3_C4_C2_2",
            "rdsvl {svl}, #1",
            tpidr2 = out(reg) tpidr2,
            svcr = out(reg) svcr,
            svl = out(reg) svl,
            options(nostack, nomem),
        );
    }
    if svcr != 2 {
        return false;
    }
    for n in 0..svl {
        // SAFETY: ZA is on, and no row is longer than the array.
        unsafe {
            asm!(
                ".arch_extension sme",
                "str za[w12, 0], [{row}]",
                in("x12") n,
                row = in(reg) row.as_mut_ptr(),
                options(nostack),
            );
        }
        same &= row[..svl as usize / 8].iter().all(|word| *word == pattern);
    }
    // SAFETY: As above.
    unsafe {
        asm!(
            ".arch_extension sme",
            "smstop za",
            "msr S3_3_C13_C0_5, xzr",
            options(nostack, nomem),
        );
    }
    same && tpidr2 == pattern
}
