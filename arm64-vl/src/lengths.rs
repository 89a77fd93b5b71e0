// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! A set of vector lengths.

use crate::{Error, Result};
#[cfg(feature = "json")]
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, ops::BitAnd};

/// Bytes in a quadword, the unit of vector lengths (VQ).
const QUADWORD: u32 = 16;

/// A set of vector lengths, in bytes.
///
/// Inside it is what `KVM_REG_ARM64_SVE_VLS` and `KVM_REG_ARM64_SME_VLS` hold: bit VQ - 1 of 512
/// for each length of VQ quadwords (`Documentation/virt/kvm/api.rst`, `KVM_SET_ONE_REG`).
///
/// # Examples
///
/// ```
/// use arm64_vl::Lengths;
///
/// let sve = Lengths::new([16, 32, 48, 64])?;
/// let sme = Lengths::new([32, 64, 128])?;
/// assert_eq!((sve & sme).to_string(), "32 64");
/// assert_eq!(sve.up_to(32).register()[0], 0b11);
/// assert!(Lengths::new([20]).is_err());
/// # Ok::<(), arm64_vl::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Lengths([u64; 8]);

impl Lengths {
    /// No length at all: a vCPU or host without the feature.
    pub const NONE: Self = Self([0; 8]);

    /// The set of these lengths in bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] for one that is no multiple of 16, or not from 16 to 8192.
    pub fn new(lengths: impl IntoIterator<Item = u32>) -> Result<Self> {
        let mut set = Self::NONE;
        for length in lengths {
            let vq = length / QUADWORD;
            if length % QUADWORD != 0 || !(1..=512).contains(&vq) {
                return Err(Error::Length(length));
            }
            let bit = (vq - 1) as usize;
            set.0[bit / 64] |= 1 << (bit % 64);
        }
        Ok(set)
    }

    /// The set that a `*_VLS` register holds.
    pub const fn from_register(words: [u64; 8]) -> Self {
        Self(words)
    }

    /// The value of a `*_VLS` register.
    pub const fn register(self) -> [u64; 8] {
        self.0
    }

    /// The set in the bytes of a `*_VLS` register, as they are transferred.
    #[cfg(feature = "kvm")]
    pub(crate) fn from_value(value: &[u8]) -> Self {
        let mut words = [0; 8];
        for (n, byte) in value.iter().enumerate().take(64) {
            words[n / 8] |= u64::from(*byte) << (n % 8 * 8);
        }
        Self(words)
    }

    /// The lengths in bytes, from the shortest on.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = u32> {
        (0..512u32)
            .filter(move |bit| self.0[*bit as usize / 64] >> (bit % 64) & 1 != 0)
            .map(|bit| (bit + 1) * QUADWORD)
    }

    /// How many there are.
    pub fn len(self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self == Self::NONE
    }

    /// Whether `length` bytes is one of them.
    pub fn contains(self, length: u32) -> bool {
        self.iter().any(|one| one == length)
    }

    /// The greatest one in bytes.
    pub fn greatest(self) -> Option<u32> {
        self.iter().next_back()
    }

    /// Those of `max` bytes at most: the sets that KVM accepts are those up to one of a host's.
    #[must_use]
    pub fn up_to(self, max: u32) -> Self {
        let mut set = self;
        for (n, word) in (0u32..).zip(&mut set.0) {
            let bits = (max / QUADWORD).saturating_sub(n * 64);
            *word &= if bits < 64 { (1 << bits) - 1 } else { u64::MAX };
        }
        set
    }
}

impl BitAnd for Lengths {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        let mut words = self.0;
        words.iter_mut().zip(other.0).for_each(|(a, b)| *a &= b);
        Self(words)
    }
}

impl fmt::Display for Lengths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        let words: Vec<_> = self.iter().map(|length| length.to_string()).collect();
        f.write_str(&words.join(" "))
    }
}

impl fmt::Debug for Lengths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(feature = "json")]
impl Serialize for Lengths {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        // A binary format wants to know how many.
        self.iter().collect::<Vec<_>>().serialize(serializer)
    }
}

#[cfg(feature = "json")]
impl<'de> Deserialize<'de> for Lengths {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let lengths = Vec::<u32>::deserialize(deserializer)?;
        Self::new(lengths).map_err(serde::de::Error::custom)
    }
}
