// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! What vector state a vCPU has: by its configuration, and by its mode.
//!
//! Source of ids, sizes and of what is there when: `Documentation/virt/kvm/api.rst`,
//! `KVM_SET_ONE_REG`, and the Arm ARM, B1.4, on PSTATE.SM and PSTATE.ZA.

use crate::{Error, Lengths, Result};
#[cfg(feature = "json")]
use serde::{Deserialize, Serialize};
use std::ops::Add;

/// What of a vCPU decides about its vector registers.
///
/// # Examples
///
/// With 16 bytes of SVE and 64 bytes of SME, a vCPU has no more than 49 vector registers until ZA
/// is on:
///
/// ```
/// use arm64_vl::{Config, Lengths, Svcr};
///
/// let config = Config {
///     sve: Lengths::new([16])?,
///     sme: Lengths::new([64])?,
///     sme2: true,
///     fa64: true,
/// };
/// let vectors = |svcr| config.registers(svcr).filter(|r| !r.is_vls()).count();
/// assert_eq!(vectors(Svcr::default()), 49);
/// assert_eq!(vectors(Svcr::from_bits(3)), 49 + 64 + 1);
/// # Ok::<(), arm64_vl::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(Serialize, Deserialize))]
pub struct Config {
    /// The SVE vector lengths, [`Lengths::NONE`] for a vCPU without SVE.
    pub sve: Lengths,
    /// The SME vector lengths, [`Lengths::NONE`] for a vCPU without SME.
    pub sme: Lengths,
    /// Whether the guest has SME2 (`ID_AA64PFR1_EL1.SME`), and with it ZT0.
    pub sme2: bool,
    /// Whether all instructions can be used in streaming mode (`ID_AA64SMFR0_EL1.FA64`), which gives
    /// it FFR.
    pub fa64: bool,
}

/// The mode of a vCPU: the bits of SVCR.
///
/// ```
/// let streaming = arm64_vl::Svcr::from_bits(1);
/// assert_eq!(streaming.bits(), 1);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "json", derive(Serialize, Deserialize))]
#[non_exhaustive]
pub struct Svcr {
    /// Bit 0: streaming mode.
    pub sm: bool,
    /// Bit 1: ZA and ZT0 are on.
    pub za: bool,
}

impl Svcr {
    /// All modes there are.
    ///
    /// ```
    /// assert_eq!(arm64_vl::Svcr::ALL.map(|svcr| svcr.bits()), [0, 1, 2, 3]);
    /// ```
    pub const ALL: [Self; 4] = [
        Self::from_bits(0),
        Self::from_bits(1),
        Self::from_bits(2),
        Self::from_bits(3),
    ];

    /// The mode that a value of SVCR stands for.
    pub const fn from_bits(bits: u64) -> Self {
        Self {
            sm: bits & 1 != 0,
            za: bits & 2 != 0,
        }
    }

    /// The value of SVCR.
    pub const fn bits(self) -> u64 {
        self.sm as u64 | (self.za as u64) << 1
    }
}

/// A vector register as `KVM_GET_ONE_REG` gives it.
///
/// ```
/// use arm64_vl::{Config, Svcr};
///
/// let v0 = Config::default().registers(Svcr::default()).next().unwrap();
/// assert_eq!((v0.id, v0.bytes(), v0.significant), (0x6040_0000_0010_0054, 16, 16));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Register {
    /// Its id.
    pub id: u64,
    /// How many of its bytes count in this mode. The rest reads as zero.
    pub significant: usize,
}

const SVE: u64 = 0x15 << 16;
const SME: u64 = 0x17 << 16;
const CORE: u64 = 0x10 << 16;

/// The id of a register of a class, with its size as a power of two.
const fn id(class: u64, size: u64, number: u64) -> u64 {
    0x6000_0000_0000_0000 | size << 52 | class | number
}

/// Ids that decide about others, or that this crate has to know for another reason.
pub(crate) mod ids {
    use super::{id, SME, SVE};

    pub const SVE_VLS: u64 = id(SVE, 6, 0xffff);
    pub const SME_VLS: u64 = id(SME, 6, 0xfffe);
    #[cfg(feature = "kvm")]
    pub const SVCR: u64 = system(3, 3, 4, 2, 2);
    #[cfg(feature = "kvm")]
    pub const ID_AA64PFR1_EL1: u64 = system(3, 0, 0, 4, 1);
    #[cfg(all(feature = "kvm", target_arch = "aarch64"))]
    pub const ID_AA64SMFR0_EL1: u64 = system(3, 0, 0, 4, 5);
    #[cfg(feature = "kvm")]
    pub const CNTVCT_EL0: u64 = system(3, 3, 14, 3, 2);
    #[cfg(feature = "kvm")]
    pub const CNTPCT_EL0: u64 = system(3, 3, 14, 0, 1);
    #[cfg(feature = "kvm")]
    pub const PMCR_EL0: u64 = system(3, 3, 9, 12, 0);

    #[cfg(feature = "kvm")]
    const fn system(op0: u64, op1: u64, crn: u64, crm: u64, op2: u64) -> u64 {
        id(
            0x13 << 16,
            3,
            op0 << 14 | op1 << 11 | crn << 7 | crm << 3 | op2,
        )
    }
}

/// Bytes that an access to the register with this id transfers: `KVM_REG_SIZE_MASK` of
/// `linux/kvm.h`.
pub(crate) const fn bytes_of(id: u64) -> usize {
    1 << (id >> 52 & 15)
}

/// Whether a register is one of those that the mode decides about: those of SVE and SME and V.
#[cfg(feature = "kvm")]
pub(crate) fn is_vector(id: u64) -> bool {
    let class = id & 0x0fff_0000;
    let v = id & !0xffff == self::id(CORE, 4, 0) && (0x54..0xd4).contains(&(id & 0xffff));
    class == SVE || class == SME || v
}

impl Register {
    /// Bytes that an access to it transfers.
    pub const fn bytes(&self) -> usize {
        bytes_of(self.id)
    }

    /// Whether it is `SVE_VLS` or `SME_VLS`, written before the vCPU is finalized and fixed by it.
    pub const fn is_vls(&self) -> bool {
        self.id == ids::SVE_VLS || self.id == ids::SME_VLS
    }
}

/// How much state there is. A sum that is too great for its type is the greatest number.
///
/// ```
/// use arm64_vl::Size;
///
/// let mut one = Size::default();
/// one.bytes = 8;
/// assert_eq!((one + one).bytes, 16);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(Serialize, Deserialize))]
#[non_exhaustive]
pub struct Size {
    /// The number of registers.
    pub registers: usize,
    /// Bytes that are transferred to read all of them once.
    pub bytes: usize,
    /// Bytes of these that count. The rest is zero.
    pub significant: usize,
}

impl Size {
    /// The greater one of each number.
    pub fn max(self, other: Self) -> Self {
        Self {
            registers: self.registers.max(other.registers),
            bytes: self.bytes.max(other.bytes),
            significant: self.significant.max(other.significant),
        }
    }
}

impl Add for Size {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            registers: self.registers.saturating_add(other.registers),
            bytes: self.bytes.saturating_add(other.bytes),
            significant: self.significant.saturating_add(other.significant),
        }
    }
}

impl FromIterator<Register> for Size {
    fn from_iter<T: IntoIterator<Item = Register>>(registers: T) -> Self {
        registers
            .into_iter()
            .fold(Self::default(), |sum, register| {
                sum + Self {
                    registers: 1,
                    bytes: register.bytes(),
                    significant: register.significant,
                }
            })
    }
}

impl Config {
    /// Whether a vCPU can be like this at all.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a vector of more than 256 bytes, SVE without the length of a power of two below its
    /// greatest, an SME vector that is no power of two, SME2 without SME, and FA64, which needs SVE2, without
    /// both (Arm ARM, B1.4, FEAT_SVE, FEAT_SME, FEAT_SME_FA64).
    ///
    /// ```
    /// use arm64_vl::{Config, Lengths};
    ///
    /// let no_power_of_two = Config { sme: Lengths::new([48])?, ..Config::default() };
    /// assert!(no_power_of_two.check().is_err());
    /// # Ok::<(), arm64_vl::Error>(())
    /// ```
    pub fn check(&self) -> Result {
        let wrong = [
            (
                self.sve.greatest() > Some(256),
                "an SVE vector has 256 bytes at most",
            ),
            (
                self.sme.greatest() > Some(256),
                "an SME vector has 256 bytes at most",
            ),
            (
                self.sme.iter().any(|length| !length.is_power_of_two()),
                "the length of an SME vector is a power of two",
            ),
            (
                (4..)
                    .map(|bit| 1 << bit)
                    .take_while(|power| Some(*power) < self.sve.greatest())
                    .any(|power| !self.sve.contains(power)),
                "SVE has the length of every power of two from 16 bytes up to its greatest",
            ),
            (self.sme.is_empty() && self.sme2, "SME2 needs SME"),
            (self.sme.is_empty() && self.fa64, "FA64 needs SME"),
            (self.sve.is_empty() && self.fa64, "FA64 needs SVE"),
        ];
        match wrong.iter().find(|(wrong, _)| *wrong) {
            Some((_, what)) => Err(Error::Config(what)),
            None => Ok(()),
        }
    }

    /// The modes that it can be in: one without SME, four with it.
    ///
    /// ```
    /// assert_eq!(arm64_vl::Config::default().modes().len(), 1);
    /// ```
    pub fn modes(&self) -> &'static [Svcr] {
        if self.sme.is_empty() {
            &Svcr::ALL[..1]
        } else {
            &Svcr::ALL
        }
    }

    /// The vector registers in a mode, V among them, and the `*_VLS`; not in the order of a list.
    pub fn registers(&self, svcr: Svcr) -> impl Iterator<Item = Register> {
        let vl = self.sve.greatest().unwrap_or(0) as usize;
        let svl = self.sme.greatest().unwrap_or(0) as usize;
        let has_z = vl > 0 || svcr.sm;
        let has_ffr = if svcr.sm { self.fa64 } else { vl > 0 };
        let bytes = if svcr.sm { svl } else { vl };
        let rows = if svcr.za { svl } else { 0 };

        // How many there are, and the first, the distance to the next, and what counts of each.
        let kinds = [
            ((vl > 0) as usize, ids::SVE_VLS, 0, 64),
            ((svl > 0) as usize, ids::SME_VLS, 0, 64),
            (if has_z { 32 } else { 0 }, id(SVE, 8, 0), 32, bytes),
            (if has_z { 16 } else { 0 }, id(SVE, 5, 0x400), 32, bytes / 8),
            (has_ffr as usize, id(SVE, 5, 0x600), 32, bytes / 8),
            (if has_z { 0 } else { 32 }, id(CORE, 4, 0x54), 4, 16),
            (rows, id(SME, 8, 0), 32, svl),
            ((svcr.za && self.sme2) as usize, id(SME, 6, 0x600), 0, 64),
        ];
        kinds
            .into_iter()
            .flat_map(|(count, first, step, significant)| {
                (0..count as u64).map(move |n| Register {
                    id: first + n * step,
                    significant,
                })
            })
    }

    /// How much vector state there is in a mode. All else that a vCPU has does not depend on the
    /// mode: [`crate::Others`].
    ///
    /// ```
    /// use arm64_vl::{Config, Svcr};
    ///
    /// let plain = Config::default().size(Svcr::default());
    /// assert_eq!((plain.registers, plain.bytes), (32, 32 * 16));
    /// ```
    pub fn size(&self, svcr: Svcr) -> Size {
        self.registers(svcr).collect()
    }

    /// The maximum over all modes: what a VMM allocates, that has to save a vCPU in any of them.
    ///
    /// ```
    /// use arm64_vl::{Config, Lengths};
    ///
    /// let sme = Lengths::new([16, 32, 64, 128, 256])?;
    /// let config = Config { sve: sme, sme, sme2: true, fa64: true };
    /// // Z, P, FFR, 256 rows of ZA, ZT0 and the lengths.
    /// assert_eq!(config.greatest_size().registers, 49 + 256 + 1 + 2);
    /// # Ok::<(), arm64_vl::Error>(())
    /// ```
    pub fn greatest_size(&self) -> Size {
        let sizes = self.modes().iter().map(|svcr| self.size(*svcr));
        sizes.fold(Size::default(), Size::max)
    }
}
