// SPDX-License-Identifier: GPL-2.0-only

//! A guest that computes in all its vector registers, step by step, and what has to come of it.
//!
//! A step changes each register in a way that its new value shows each bit of the old one, stores
//! all registers to memory, leaves to the VMM, stores them once more and compares: what differs has
//! been lost while the guest was not running. The VMM computes the same steps on its own.

use crate::{
    fill::make_up,
    guest_code,
    kvm::{uapi, Result, Vcpu},
    random::Random,
    reg::{RegId, Value},
    state::State,
    vectors::{Mode, FFR, FPCR, FPMR, FPSR, NR_P, NR_Z, ZT0},
};

/// What the guest has, in the word at [`FLAGS`].
pub const HAS_SVE: u64 = 1 << 0;
pub const HAS_SME: u64 = 1 << 1;
pub const HAS_SME2: u64 = 1 << 2;
pub const HAS_FA64: u64 = 1 << 3;
pub const HAS_FPMR: u64 = 1 << 4;
/// After each step it goes on to the next state of SVCR, and takes all registers from [`SOURCE`].
pub const WALKS: u64 = 1 << 5;

/// What guest and VMM share, from X0 on.
pub const STATUS: usize = 0;
/// The byte in the image that is not as it was.
pub const WHERE: usize = 8;
pub const FLAGS: usize = 16;
pub const FIRST_SVCR: usize = 24;
/// The image before and after the VMM ran, and that from which registers are taken.
pub const BEFORE: usize = 0x1000;
const AFTER: usize = 0x2_0000;
pub const SOURCE: usize = 0x4_0000;
/// Bytes of all that.
pub const SHARED: usize = 0x6_0000;

/// The guest is ready for its registers to be filled.
pub const READY: u64 = 1;
/// It has done a step.
pub const STEPPED: u64 = 2;
/// It has found a register that is not as it was.
pub const BROKEN: u64 = 3;
/// It has taken an exception. The syndrome is in the word at [`WHERE`].
pub const TRAPPED: u64 = 4;

/// Parts of an image, the state of the vector registers in memory.
const AT_ZA: usize = 0;
const AT_Z: usize = 0x1_0000;
const AT_P: usize = 0x1_2000;
const AT_FFR: usize = 0x1_2200;
const AT_ZT0: usize = 0x1_2240;
const AT_SVCR: usize = 0x1_2280;
const AT_FPSR: usize = AT_SVCR + 8;
const AT_FPCR: usize = AT_SVCR + 16;
const AT_FPMR: usize = AT_SVCR + 24;
const AT_TPIDR2: usize = AT_SVCR + 32;
const AT_VL: usize = AT_SVCR + 40;
const AT_SVL: usize = AT_SVCR + 48;
/// Bytes in an image.
pub const IMAGE: usize = 0x1_2300;

/// What a step does to registers that are no vectors.
const FLIP_FPSR: u64 = 0x0800_009f;
const FLIP_FPCR: u64 = 0x03c0_0000;
const FLIP_FPMR: u64 = 0xff7f_0000;
const ADD: u64 = 0x1357_9bdf;

guest_code! {
    /// The guest. X0 is the address of the shared memory, X1 one without memory.
    fn computing_guest, guest_compute_start, guest_compute_end where
        status = STATUS, found = WHERE, flags = FLAGS, first_svcr = FIRST_SVCR,
        before = BEFORE, after = AFTER, source = SOURCE,
        ready = READY, stepped = STEPPED, broken = BROKEN,
        at_z = AT_Z, at_p = AT_P, at_ffr = AT_FFR, at_zt0 = AT_ZT0, at_svcr = AT_SVCR,
        image = IMAGE,
        fpsr_low = FLIP_FPSR & 0xffff, fpsr_high = FLIP_FPSR >> 16, fpcr_high = FLIP_FPCR >> 16,
        fpmr_high = FLIP_FPMR >> 16, add_low = ADD & 0xffff, add_high = ADD >> 16;
    r"
    .arch_extension sve
    .arch_extension sme2

    // Enables all: FPEN, ZEN, SMEN; the greatest lengths, FA64 and EZT0.
    ldr     x2, [x0, #{flags}]
    movz    x3, #0x0333, lsl #16
    msr     cpacr_el1, x3
    isb
    tbz     x2, #0, 2f
    mov     x3, #15
    msr     S3_0_C1_C2_0, x3            // ZCR_EL1
2:
    tbz     x2, #1, 2f
    mov     x3, #15
    movk    x3, #0xc000, lsl #16
    msr     S3_0_C1_C2_6, x3            // SMCR_EL1
    isb
    ldr     x3, [x0, #{first_svcr}]
    msr     S3_3_C4_C2_2, x3            // SVCR
2:
    isb
    mov     x3, #{ready}
    str     x3, [x0, #{status}]
    str     x3, [x1]

3:  // One step
    movz    x8, #{add_low}
    movk    x8, #{add_high}, lsl #16
    mrs     x3, S3_3_C4_C4_1            // FPSR
    movz    x4, #{fpsr_low}
    movk    x4, #{fpsr_high}, lsl #16
    eor     x3, x3, x4
    msr     S3_3_C4_C4_1, x3
    mrs     x3, S3_3_C4_C4_0            // FPCR
    movz    x4, #{fpcr_high}, lsl #16
    eor     x3, x3, x4
    msr     S3_3_C4_C4_0, x3
    tbz     x2, #4, 2f
    mrs     x3, S3_3_C4_C4_2            // FPMR
    movz    x4, #{fpmr_high}, lsl #16
    eor     x3, x3, x4
    msr     S3_3_C4_C4_2, x3
2:
    mov     x5, xzr
    tbz     x2, #1, 2f
    mrs     x5, S3_3_C4_C2_2            // SVCR
    mrs     x3, S3_3_C13_C0_5           // TPIDR2_EL0
    add     x3, x3, x8
    msr     S3_3_C13_C0_5, x3
2:
    orr     x6, x2, x5
    tbz     x6, #0, 4f

    // Z and P
    add     z0.d, z0.d, z31.d
    .irp    n, 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    add     z\n\().d, z\n\().d, z0.d
    .endr
    .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
    rev     p\n\().b, p\n\().b
    .endr
    b       5f

4:  // V
    add     v0.2d, v0.2d, v31.2d
    .irp    n, 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    add     v\n\().2d, v\n\().2d, v0.2d
    .endr

5:  // ZT0, and ZA: each row becomes the next one
    tbz     x5, #1, 8f
    tbz     x2, #2, 6f
    .irp    at, 0,8,16,24,32,40,48,56
    movt    x3, zt0[\at]
    add     x3, x3, x8
    movt    zt0[\at], x3
    .endr
6:
    mov     x9, #{before}
    add     x9, x0, x9
    rdsvl   x10, #1
    mov     x11, x9
    mov     x12, #0
7:
    str     za[w12, 0], [x11]
    add     x11, x11, x10
    add     x12, x12, #1
    cmp     x12, x10
    b.lo    7b
    add     x11, x9, x10
    sub     x13, x10, #1
    mov     x12, #0
7:
    ldr     za[w12, 0], [x11]
    add     x11, x11, x10
    add     x12, x12, #1
    cmp     x12, x13
    b.lo    7b
    ldr     za[w12, 0], [x9]

    // In streaming mode also sums of rows and of columns
    tbz     x5, #0, 8f
    addha   za0.s, p0/m, p1/m, z0.s
    addva   za1.s, p2/m, p3/m, z1.s
    addha   za2.s, p4/m, p5/m, z2.s
    addva   za3.s, p6/m, p7/m, z3.s

8:  // Leave, and see whether all is as it was
    mov     x9, #{before}
    add     x9, x0, x9
    bl      20f
    mov     x3, #{stepped}
    str     x3, [x0, #{status}]
    str     x3, [x1]
    mov     x9, #{after}
    add     x9, x0, x9
    bl      20f

    mov     x10, #{before}
    add     x10, x0, x10
    mov     x12, #{image} & 0xffff
    movk    x12, #{image} >> 16, lsl #16
    add     x12, x12, x10
    mov     x11, x9
2:
    ldr     x3, [x10], #8
    ldr     x4, [x11], #8
    cmp     x3, x4
    b.ne    9f
    cmp     x10, x12
    b.lo    2b

    // Another mode, and other values
    tbz     x2, #5, 3b
    mrs     x5, S3_3_C4_C2_2            // SVCR
    add     x5, x5, #1
    and     x5, x5, #3
    msr     S3_3_C4_C2_2, x5
    mov     x9, #{source}
    add     x9, x0, x9
    bl      30f
    b       3b

9:  // A register is not as it was
    sub     x10, x10, #8
    mov     x9, #{before}
    add     x9, x0, x9
    sub     x10, x10, x9
    str     x10, [x0, #{found}]
    mov     x3, #{broken}
    str     x3, [x0, #{status}]
    str     x3, [x1]
    b       .

20: // Stores the image at X9
    mov     x3, #{at_z}
    add     x13, x9, x3
    movz    x3, #{at_p} & 0xffff
    movk    x3, #{at_p} >> 16, lsl #16
    add     x14, x9, x3
    mov     x5, xzr
    mov     x6, xzr
    tbz     x2, #1, 2f
    mrs     x5, S3_3_C4_C2_2            // SVCR
    mrs     x6, S3_3_C13_C0_5           // TPIDR2_EL0
2:
    str     x5, [x14, #{at_svcr} - {at_p}]
    str     x6, [x14, #{at_svcr} - {at_p} + 32]
    mrs     x3, S3_3_C4_C4_1            // FPSR
    str     x3, [x14, #{at_svcr} - {at_p} + 8]
    mrs     x3, S3_3_C4_C4_0            // FPCR
    str     x3, [x14, #{at_svcr} - {at_p} + 16]
    tbz     x2, #4, 2f
    mrs     x3, S3_3_C4_C4_2            // FPMR
    str     x3, [x14, #{at_svcr} - {at_p} + 24]
2:
    orr     x6, x2, x5
    tbz     x6, #0, 23f

    .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    str     z\n, [x13, #\n, mul vl]
    .endr
    .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
    str     p\n, [x14, #\n, mul vl]
    .endr
    rdvl    x3, #1
    tbz     x5, #0, 21f
    tbz     x2, #3, 24f
    b       22f
21:
    tbz     x2, #0, 24f
22:
    rdffr   p0.b
    add     x4, x14, #{at_ffr} - {at_p}
    str     p0, [x4]
    ldr     p0, [x14]
    b       24f
23:
    .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    str     q\n, [x13, #16 * \n]
    .endr
    mov     x3, #16
24:
    str     x3, [x14, #{at_svcr} - {at_p} + 40]
    tbz     x2, #1, 26f
    rdsvl   x10, #1
    str     x10, [x14, #{at_svcr} - {at_p} + 48]
    tbz     x5, #1, 26f
    mov     x11, x9
    mov     x12, #0
25:
    str     za[w12, 0], [x11]
    add     x11, x11, x10
    add     x12, x12, #1
    cmp     x12, x10
    b.lo    25b
    tbz     x2, #2, 26f
    add     x4, x14, #{at_zt0} - {at_p}
    str     zt0, [x4]
26:
    ret

30: // Takes the vector registers from the image at X9; X5 is SVCR
    mov     x3, #{at_z}
    add     x13, x9, x3
    movz    x3, #{at_p} & 0xffff
    movk    x3, #{at_p} >> 16, lsl #16
    add     x14, x9, x3
    orr     x6, x2, x5
    tbz     x6, #0, 33f
    tbz     x5, #0, 31f
    tbz     x2, #3, 32f
31:
    add     x4, x14, #{at_ffr} - {at_p}
    ldr     p0, [x4]
    wrffr   p0.b
32:
    .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    ldr     z\n, [x13, #\n, mul vl]
    .endr
    .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
    ldr     p\n, [x14, #\n, mul vl]
    .endr
    b       34f
33:
    .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    ldr     q\n, [x13, #16 * \n]
    .endr
34:
    tbz     x5, #1, 36f
    rdsvl   x10, #1
    mov     x11, x9
    mov     x12, #0
35:
    ldr     za[w12, 0], [x11]
    add     x11, x11, x10
    add     x12, x12, #1
    cmp     x12, x10
    b.lo    35b
    tbz     x2, #2, 36f
    add     x4, x14, #{at_zt0} - {at_p}
    ldr     zt0, [x4]
36:
    ret
    ",
}

guest_code! {
    /// What the guest does with an exception.
    fn exception_handler, guest_exception_start, guest_exception_end where
        status = STATUS, found = WHERE, trapped = TRAPPED;
    "mrs    x3, esr_el1",
    "str    x3, [x0, #{found}]",
    "mov    x3, #{trapped}",
    "str    x3, [x0, #{status}]",
    "str    x3, [x1]",
    "b      .",
}

/// A vector table: the handler, 16 times.
pub fn exception_vectors() -> Vec<u32> {
    const VECTORS: usize = 16;
    const WORDS: usize = 0x80 / size_of::<u32>();
    let mut vector = exception_handler().to_vec();
    vector.resize(WORDS, 0);
    vector.repeat(VECTORS)
}

/// The state of the vector registers in memory, as the guest stores it.
#[derive(Clone)]
pub struct Image(Vec<u8>);

impl Image {
    /// One without any state.
    pub fn blank() -> Self {
        Self(vec![0; IMAGE])
    }

    /// From the words of memory.
    pub fn from_words(words: &[u64]) -> Self {
        Self(words.iter().flat_map(|word| word.to_le_bytes()).collect())
    }

    /// As words of memory.
    pub fn words(&self) -> Vec<u64> {
        let word = |bytes: &[u8]| {
            bytes
                .iter()
                .rev()
                .fold(0, |word, b| word << 8 | u64::from(*b))
        };
        self.0.chunks_exact(8).map(word).collect()
    }

    /// From what registers are to hold.
    pub fn of_state(mode: Mode, state: &State) -> Self {
        let mut image = Self::blank();
        for (id, value) in state {
            image.put(mode, *id, value);
        }
        image.set_word(AT_SVCR, u64::from(mode.sm) | u64::from(mode.za) << 1);
        image.set_word(AT_VL, mode.vector_bytes() as u64);
        image.set_word(AT_SVL, mode.svl as u64);
        image
    }

    /// Random values for all registers, legal in each mode.
    pub fn random(random: &mut Random) -> Self {
        let mut image = Self::blank();
        image.0[..AT_FFR].fill_with(|| random.number() as u8);
        image.0[AT_ZT0..AT_SVCR].fill_with(|| random.number() as u8);
        image.0[AT_FFR..][..32].copy_from_slice(make_up(random, FFR).bytes());
        image
    }

    fn word(&self, at: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.0[at..at + 8]);
        u64::from_le_bytes(bytes)
    }

    fn set_word(&mut self, at: usize, word: u64) {
        self.0[at..at + 8].copy_from_slice(&word.to_le_bytes());
    }

    /// Where a register is, and how many bytes.
    fn place(mode: Mode, id: RegId) -> Option<(usize, usize)> {
        let bytes = mode.bytes_of(id);
        let at = match id {
            FFR => AT_FFR,
            ZT0 => AT_ZT0,
            FPSR => AT_FPSR,
            FPCR => AT_FPCR,
            FPMR => AT_FPMR,
            RegId::TPIDR2_EL0 => AT_TPIDR2,
            _ => {
                let n = id.number() as usize;
                match (id.class(), id.bytes()) {
                    (uapi::KVM_REG_ARM64_SME, 256) => AT_ZA + (n >> 5) * bytes,
                    (uapi::KVM_REG_ARM64_SVE, 256) => AT_Z + (n >> 5) * bytes,
                    (uapi::KVM_REG_ARM64_SVE, 32) => AT_P + (n >> 5 & 15) * bytes,
                    (uapi::KVM_REG_ARM_CORE, 16) => AT_Z + (n - 0x54) / 4 * bytes,
                    _ => return None,
                }
            }
        };
        Some((at, bytes))
    }

    fn put(&mut self, mode: Mode, id: RegId, value: &Value) {
        if let Some((at, bytes)) = Self::place(mode, id) {
            self.0[at..at + bytes].copy_from_slice(&value.bytes()[..bytes]);
        }
    }

    /// The registers whose values in a vCPU are others than here.
    pub fn differences_in(&self, mode: Mode, vcpu: &Vcpu) -> Result<Vec<RegId>> {
        let mut different = Vec::new();
        for id in vcpu.list()?.into_iter().filter(|id| !id.is_vls()) {
            if let Some((at, bytes)) = Self::place(mode, id) {
                let value = vcpu.get(id)?;
                let rest = value.bytes()[bytes..].iter().any(|byte| *byte != 0);
                if self.0[at..at + bytes] != value.bytes()[..bytes] || rest {
                    different.push(id);
                }
            }
        }
        Ok(different)
    }

    /// The parts of another image that differ from this one, of those that there are in a mode.
    pub fn differences(&self, mode: Mode, flags: u64, other: &Self) -> Vec<&'static str> {
        let vl = mode.vector_bytes();
        let za = if mode.za { mode.svl * mode.svl } else { 0 };
        let there = |when: bool, bytes: usize| if when { bytes } else { 0 };
        let parts = [
            ("ZA", AT_ZA, za),
            ("vectors", AT_Z, NR_Z as usize * vl),
            ("P", AT_P, there(mode.has_z(), NR_P as usize * vl / 8)),
            ("FFR", AT_FFR, there(mode.has_ffr(), vl / 8)),
            ("ZT0", AT_ZT0, there(mode.za && mode.sme2, 64)),
            ("SVCR", AT_SVCR, 8),
            ("FPSR", AT_FPSR, 8),
            ("FPCR", AT_FPCR, 8),
            ("FPMR", AT_FPMR, there(flags & HAS_FPMR != 0, 8)),
            ("TPIDR2_EL0", AT_TPIDR2, there(mode.sme, 8)),
            ("VL", AT_VL, 8),
            ("SVL", AT_SVL, 8),
        ];
        let differs = |(_, at, bytes): &(_, usize, usize)| {
            self.0[*at..at + bytes] != other.0[*at..at + bytes]
        };
        parts
            .into_iter()
            .filter(differs)
            .map(|(name, ..)| name)
            .collect()
    }

    /// What a step of the guest makes of it.
    pub fn step(&mut self, mode: Mode) {
        let flip = |image: &mut Self, at, bits| image.set_word(at, image.word(at) ^ bits);
        flip(self, AT_FPSR, FLIP_FPSR);
        flip(self, AT_FPCR, FLIP_FPCR);
        flip(self, AT_FPMR, FLIP_FPMR);
        let add = |image: &mut Self, at| image.set_word(at, image.word(at).wrapping_add(ADD));
        if mode.sme {
            add(self, AT_TPIDR2);
        }

        let vl = mode.vector_bytes();
        for lane in (0..vl).step_by(8) {
            let first = self.word(AT_Z + lane);
            let sum = first.wrapping_add(self.word(AT_Z + 31 * vl + lane));
            self.set_word(AT_Z + lane, sum);
            for at in (1..32).map(|n| AT_Z + n * vl + lane) {
                self.set_word(at, self.word(at).wrapping_add(sum));
            }
        }
        if mode.has_z() {
            for predicate in self.0[AT_P..AT_FFR].chunks_exact_mut(vl / 8).take(16) {
                predicate.reverse();
                predicate
                    .iter_mut()
                    .for_each(|byte| *byte = byte.reverse_bits());
            }
        }
        if mode.za {
            if mode.sme2 {
                (0..64).step_by(8).for_each(|lane| add(self, AT_ZT0 + lane));
            }
            self.0[..mode.svl * mode.svl].rotate_left(mode.svl);
            if mode.sm {
                (0..4).for_each(|tile| self.add_to_tile(mode.svl, tile));
            }
        }
    }

    /// ADDHA for tiles 0 and 2, ADDVA for the others: adds Z`tile` to the elements that the
    /// predicates 2 * `tile` and 2 * `tile` + 1 select, the one by row, the other by column.
    fn add_to_tile(&mut self, svl: usize, tile: usize) {
        let count = svl / 4;
        let selects = |image: &Self, p: usize, n: usize| {
            image.0[AT_P + p * svl / 8 + n / 2] >> (n % 2 * 4) & 1 != 0
        };
        let element = |image: &Self, at: usize| {
            let mut bytes = [0; 4];
            bytes.copy_from_slice(&image.0[at..at + 4]);
            u32::from_le_bytes(bytes)
        };
        for (row, column) in (0..count * count).map(|n| (n / count, n % count)) {
            if selects(self, 2 * tile, row) && selects(self, 2 * tile + 1, column) {
                let lane = [column, row][tile % 2];
                let at = AT_ZA + (4 * row + tile) * svl + 4 * column;
                let sum = element(self, at);
                let sum = sum.wrapping_add(element(self, AT_Z + tile * svl + 4 * lane));
                self.0[at..at + 4].copy_from_slice(&sum.to_le_bytes());
            }
        }
    }

    /// What the guest has after it went to another mode and took its registers from `source`.
    pub fn walk(&mut self, from: Mode, to: Mode, source: &Self) {
        let mut next = source.clone();
        for at in [AT_FPSR, AT_FPCR, AT_FPMR, AT_TPIDR2] {
            next.set_word(at, self.word(at));
        }
        if from.sm != to.sm {
            next.set_word(AT_FPSR, FLIP_FPSR);
            next.set_word(AT_FPMR, 0);
        }
        let svcr = u64::from(to.sm) | u64::from(to.za) << 1;
        next.set_word(AT_SVCR, svcr);
        next.set_word(AT_VL, to.vector_bytes() as u64);
        next.set_word(AT_SVL, to.svl as u64);
        *self = next;
    }
}
