// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! Which pairs of greatest vector lengths a vCPU can have.

use crate::{Config, Lengths, Offer};
#[cfg(feature = "json")]
use serde::Serialize;

/// All pairs of a greatest SVE and a greatest SME length that KVM gives to a vCPU, each of them or
/// none. The two are independent of each other, so that every pair is valid.
///
/// # Examples
///
/// ```
/// use arm64_vl::{Config, Lengths, Matrix, Offer};
///
/// let offer = Offer::from(Config {
///     sve: Lengths::new([16, 32])?,
///     sme: Lengths::new([32, 64])?,
///     ..Config::default()
/// });
/// let matrix = Matrix::of(&offer);
/// assert_eq!(matrix.pairs().count(), 3 * 3);
/// assert_eq!(matrix.common(Some(32), Some(64)), Lengths::new([32])?);
/// assert!(matrix.common(None, Some(64)).is_empty());
/// # Ok::<(), arm64_vl::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matrix {
    offer: Config,
}

/// A pair of the matrix.
///
/// ```
/// use arm64_vl::{Matrix, Offer};
///
/// // A host without SVE and SME has one: neither.
/// let pairs: Vec<_> = Matrix::of(&Offer::default()).pairs().collect();
/// assert_eq!((pairs.len(), pairs[0].sve, pairs[0].sme), (1, None, None));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(Serialize))]
#[non_exhaustive]
pub struct Pair {
    /// The greatest SVE length in bytes, `None` without SVE.
    pub sve: Option<u32>,
    /// The greatest SME length in bytes, `None` without SME.
    pub sme: Option<u32>,
    /// The lengths that are in both sets, which a guest can have in and out of streaming mode.
    pub common: Lengths,
}

impl Matrix {
    /// The matrix of what a KVM gives.
    pub fn of(offer: &Offer) -> Self {
        Self {
            offer: offer.config(),
        }
    }

    /// No SVE, then each length.
    pub fn rows(&self) -> impl Iterator<Item = Option<u32>> {
        maxima(self.offer.sve)
    }

    /// No SME, then each length.
    pub fn columns(&self) -> impl Iterator<Item = Option<u32>> {
        maxima(self.offer.sme)
    }

    /// The lengths in common of a vCPU with these greatest lengths.
    pub fn common(&self, sve: Option<u32>, sme: Option<u32>) -> Lengths {
        self.offer.sve.up_to(sve.unwrap_or(0)) & self.offer.sme.up_to(sme.unwrap_or(0))
    }

    /// The pairs, row by row.
    pub fn pairs(&self) -> impl Iterator<Item = Pair> {
        let matrix = *self;
        matrix.rows().flat_map(move |sve| {
            matrix.columns().map(move |sme| Pair {
                sve,
                sme,
                common: matrix.common(sve, sme),
            })
        })
    }

    /// The vCPU of a pair, with all else that the host has. FA64 needs SVE.
    pub fn config(&self, sve: Option<u32>, sme: Option<u32>) -> Config {
        Config {
            sve: self.offer.sve.up_to(sve.unwrap_or(0)),
            sme: self.offer.sme.up_to(sme.unwrap_or(0)),
            sme2: self.offer.sme2 && sme.is_some(),
            fa64: self.offer.fa64 && sve.is_some() && sme.is_some(),
        }
    }
}

fn maxima(lengths: Lengths) -> impl Iterator<Item = Option<u32>> {
    std::iter::once(None).chain(lengths.iter().map(Some))
}
