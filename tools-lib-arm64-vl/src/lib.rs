// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! SVE and SME vector lengths on arm64, and the state of a vCPU or a process that follows from
//! them, for VMMs and debuggers.
//!
//! The lengths of SVE and SME need not overlap, the set of each differs from host to host, and how
//! much data the state is depends on its mode. This crate answers:
//!
//! | question | answer |
//! |---|---|
//! | which lengths does this host give to a process? | [`Host::read()`] |
//! | which to a vCPU, and what else is in its list? | [`Offer::read()`] |
//! | which pairs of greatest lengths can a vCPU have? | [`Matrix`] |
//! | which vCPU runs on all of these hosts, and why not another one? | [`pool()`], [`Config::why_not()`] |
//! | how many registers and bytes is its state? | [`Config::size()`], [`Config::greatest_size()`] |
//! | how is it saved and restored right? | [`save()`], [`restore()`] |
//! | in which mode is a stopped thread, and how much state has it? | [`ThreadView`] |
//!
//! All lengths are in bytes. The command `vlmatrix` prints what the crate knows, and C programs
//! have the same through `arm64-vl.h`.
//!
//! | feature | what comes with it |
//! |---|---|
//! | `kvm` | asking KVM, save and restore: all that a VMM needs, with no crate but libc |
//! | `ptrace` | [`ThreadView`], likewise |
//! | `json` | files, by serde and serde_json; all types are `Serialize` |
//! | `command` | the command `vlmatrix`, by clap; the default, with all of the above |
//! | `capi` | the C API, for the C library alone: its symbols are in no other crate |
//!
//! It builds and runs on every Linux: where a machine has no SVE, SME or KVM, the answer says so.
//!
//! # Examples
//!
//! The greatest vCPU for a pool of two hosts:
//!
//! ```
//! use arm64_vl::{pool, Lengths, Machine, Offer};
//!
//! let machine = |name: &str, sve: &[u32]| {
//!     let offer = Offer {
//!         sve: Lengths::new(sve.iter().copied())?,
//!         ..Offer::default()
//!     };
//!     Ok::<_, arm64_vl::Error>(Machine::with_offer(name, offer))
//! };
//! let config = pool(&[
//!     machine("big", &[16, 32, 64, 128])?,
//!     machine("small", &[16, 32, 48])?,
//! ])?;
//! assert_eq!(config.sve.greatest(), Some(32));
//! # Ok::<(), arm64_vl::Error>(())
//! ```

#[cfg(all(doctest, feature = "command"))]
#[doc = include_str!("../README.md")]
struct Readme;

mod config;
mod error;
#[cfg(feature = "capi")]
mod ffi;
#[cfg(feature = "json")]
mod file;
mod host;
#[cfg(feature = "kvm")]
mod ioctl;
mod kvm;
mod lengths;
mod machine;
mod matrix;
mod names;
mod pool;
#[cfg(feature = "kvm")]
mod saved;
#[cfg(feature = "ptrace")]
mod thread;

pub use config::{Config, Register, Size, Svcr};
pub use error::{Error, FailedWrite, Result};
pub use host::{Host, Vectors};
#[cfg(feature = "kvm")]
pub use kvm::try_config;
pub use kvm::{Offer, Others};
pub use lengths::Lengths;
pub use machine::Machine;
pub use matrix::{Matrix, Pair};
pub use names::register_name;
pub use pool::{pool, Reason};
#[cfg(feature = "kvm")]
pub use saved::{differences, restore, save, RegisterAccess, SavedVcpu, VcpuRef};
#[cfg(feature = "ptrace")]
pub use thread::{Presence, ThreadView, VectorView};
