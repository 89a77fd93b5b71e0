// SPDX-License-Identifier: GPL-2.0-only

//! Random streams of instructions.

use crate::encodings::{Class, Needs, Prepare, CLASSES, EXCLUDED};
use kvmtest::{random::Random, vectors::Mode};
use std::mem;

/// Whether there is what instructions need.
fn has(mode: Mode, fpmr: bool, needs: Needs) -> bool {
    match needs {
        Needs::Nothing => true,
        Needs::Simd => !mode.sm || mode.fa64,
        Needs::Vectors => mode.has_z(),
        Needs::Ffr => mode.has_ffr(),
        Needs::Streaming => mode.sm,
        Needs::Za => mode.za,
        Needs::Both => mode.sm && mode.za,
        Needs::Fpmr => fpmr,
        Needs::Sme => mode.sme,
    }
}

/// Of so many instructions one is of any class, whether the mode has it or not.
const ANY: usize = 24;
/// Of so many one changes the mode.
const CHANGE: usize = 40;

/// MSR SVCRSM, SVCRZA or SVCRSMZA, and MSR SVCR.
const MSR_SVCR_IMMEDIATE: u32 = 0xd503_407f;
const MSR_SVCR: u32 = 0xd51b_4240;

/// An instruction behind those that prepare it, or several that belong together otherwise.
#[derive(Clone)]
pub struct Item {
    /// That from which it was drawn, if it was.
    pub class: Option<&'static Class>,
    pub words: Vec<u32>,
}

/// Makes a stream up.
pub struct Generator<'a> {
    pub random: &'a mut Random,
    /// Where the stream is.
    pub mode: Mode,
    pub fpmr: bool,
    /// The address of the memory that the prepared addresses are in.
    pub memory: u64,
    /// Of the item that is being made.
    words: Vec<u32>,
}

impl<'a> Generator<'a> {
    pub fn new(random: &'a mut Random, mode: Mode, fpmr: bool, memory: u64) -> Self {
        Self {
            random,
            mode,
            fpmr,
            memory,
            words: Vec::new(),
        }
    }

    /// The next item of the stream.
    pub fn item(&mut self) -> Item {
        let class = if self.mode.sme && self.random.below(CHANGE) == 0 {
            self.change_mode();
            None
        } else {
            Some(self.add_random())
        };
        Item {
            class,
            words: mem::take(&mut self.words),
        }
    }

    fn add(&mut self, word: u32) {
        self.words.push(word);
    }

    /// MOVZ and MOVK.
    fn set_x(&mut self, x: u32, value: u64) {
        self.add(0xd280_0000 | (value as u32 & 0xffff) << 5 | x);
        if value > 0xffff {
            self.add(0xf2a0_0000 | ((value >> 16) as u32 & 0xffff) << 5 | x);
        }
    }

    /// An address in the memory, and few that are not aligned.
    fn address(&mut self) -> u64 {
        let aligned = self.memory + (self.random.number() & 0x3f80);
        let rest = self.random.number() & 0x7f;
        aligned + rest * u64::from(self.random.below(8) == 0)
    }

    /// The number of an X register that is not SP.
    fn x(&mut self) -> u32 {
        self.random.below(31) as u32
    }

    fn add_random(&mut self) -> &'static Class {
        let any = self.random.below(ANY) == 0;
        let fits = |class: &&Class| any || has(self.mode, self.fpmr, class.needs);
        let fitting: Vec<_> = CLASSES.iter().filter(fits).collect();
        let class = fitting[self.random.below(fitting.len())];
        let mut word = loop {
            let word = self.random.number() as u32 & !class.mask | class.value;
            let is = |(_, value, mask): &(&str, u32, u32)| word & mask == *value;
            if class.prepare == Prepare::Prefix || !EXCLUDED.iter().any(is) {
                break word;
            }
        };

        let (n, m, small) = (word >> 5 & 31, word >> 16 & 31, self.random.number() & 0x78);
        match class.prepare {
            Prepare::Nothing | Prepare::Prefix => {}
            Prepare::Base | Prepare::Indexed | Prepare::Offsets => {
                if class.prepare == Prepare::Indexed && m != 31 {
                    self.set_x(m, small);
                }
                if class.prepare == Prepare::Offsets {
                    // AND Zm.D, Zm.D, #0xff
                    self.add(0x0580_0000 | 0x1007 << 5 | m);
                }
                // SP is where it is.
                let n = if n == 31 { self.x() } else { n };
                word = word & !(31 << 5) | n << 5;
                let address = self.address();
                self.set_x(n, address);
            }
            Prepare::Addresses32 | Prepare::Addresses64 => {
                let size = 2 + u32::from(class.prepare == Prepare::Addresses64);
                let x = self.x();
                let address = self.address();
                self.set_x(x, address);
                // INDEX Zn.S, Wx, #imm or INDEX Zn.D, Xx, #imm
                self.add(0x0420_4400 | size << 22 | (small as u32 >> 3) << 16 | x << 5 | n);
                if m != 31 {
                    self.set_x(m, small);
                }
            }
            Prepare::FirstFaults => {
                let x = self.x();
                self.set_x(x, small);
                // WHILELO Pn.B, XZR, Xx
                self.add(0x2520_1c00 | x << 16 | 31 << 5 | n & 15);
            }
        }
        self.add(word);
        if class.prepare == Prepare::Prefix {
            // ADD Zd.T, Pg/M, Zd.T, Zm.T, with size and predicate of the prefix, if it has them
            let m = (word + 1 + self.x()) & 31;
            self.add(0x0400_0000 | word & (3 << 22 | 7 << 10 | 31) | m << 5);
        }
        class
    }

    /// Another state of SVCR, by one of the ways there are, and something in the registers that are
    /// all 0 after it.
    fn change_mode(&mut self) {
        let was = self.mode;
        self.show();
        if self.random.below(2) == 0 {
            let which = 1 + self.random.below(3) as u32;
            let value = self.random.below(2) as u32;
            self.add(MSR_SVCR_IMMEDIATE | which << 9 | value << 8);
            self.mode.sm = if which & 1 != 0 { value != 0 } else { was.sm };
            self.mode.za = if which & 2 != 0 { value != 0 } else { was.za };
        } else {
            let (x, svcr) = (self.x(), self.random.number() & 3);
            self.set_x(x, svcr);
            self.add(MSR_SVCR | x);
            self.mode.sm = svcr & 1 != 0;
            self.mode.za = svcr & 2 != 0;
        }
        if self.mode.sm != was.sm {
            self.fill_vectors();
        }
    }

    /// Stores to memory what the next mode may not have, so that what was lost of it shows in the
    /// end.
    fn show(&mut self) {
        let x = self.x();
        let address = self.address() & !0xf;
        self.set_x(x, address);
        if has(self.mode, false, Needs::Ffr) {
            // RDFFR P0.B, and STR P0, [Xx]
            self.add(0x2519_f000);
            self.add(0xe580_0000 | x << 5);
        }
        let n = self.random.below(32) as u32;
        // STR Zn, [Xx, #1, MUL VL], or STR Qn, [Xx, #16]
        self.add(if self.mode.has_z() {
            0xe580_4000 | 1 << 10 | x << 5 | n
        } else {
            0x3d80_0000 | 1 << 10 | x << 5 | n
        });
        if self.mode.za {
            let other = self.x();
            let address = self.address() & !0xf;
            self.set_x(other, address);
            // STR ZA[W12, #1], [Xother, #1, MUL VL], and STR ZT0, [Xother]
            self.add(0xe120_0000 | other << 5 | 1);
            if self.mode.sme2 {
                self.add(0xe13f_8000 | other << 5);
            }
        }
    }

    /// Loads half of the vectors, and the predicates that most instructions use.
    fn fill_vectors(&mut self) {
        let x = self.x();
        let vectors = self.mode.has_z();
        let address = self.address() & !0xf;
        self.set_x(x, address);
        let even = (0..32).filter(|n| n % 2 == 0);
        for n in even {
            // LDR Zn, [Xx, #n, MUL VL], or LDR Qn, [Xx, #16 * n]
            self.add(if vectors {
                0x8580_4000 | (n >> 3) << 16 | (n & 7) << 10 | x << 5 | n
            } else {
                0x3dc0_0000 | n << 10 | x << 5 | n
            });
        }
        for n in (0..8).filter(|_| vectors) {
            // LDR Pn, [Xx, #n, MUL VL]
            self.add(0x8580_0000 | n << 10 | x << 5 | n);
        }
    }
}
