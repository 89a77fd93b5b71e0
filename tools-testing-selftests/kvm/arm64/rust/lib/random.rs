// SPDX-License-Identifier: GPL-2.0-only

//! Random numbers that are the same for the same seed.

use crate::reg::Value;

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number less than `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.number() % n as u64) as usize
    }

    /// The value of a register of `len` bytes.
    pub fn value(&mut self, len: usize) -> Value {
        let mut value = Value::zero(len);
        value.bytes_mut().fill_with(|| self.number() as u8);
        value
    }

    /// Puts items in any order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for n in (1..items.len()).rev() {
            items.swap(n, self.below(n + 1));
        }
    }

    /// Keeps `n` of the values.
    pub fn keep(&mut self, values: &mut Vec<Value>, n: usize) {
        while values.len() > n {
            values.swap_remove(self.below(values.len()));
        }
    }
}
