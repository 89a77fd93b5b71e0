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
//! | who keeps a pool from more, and how is a fleet parted best? | [`blame()`], [`partition()`] |
//! | how do QEMU and libvirt say it? | [`Config::qemu_cpu()`], [`Config::libvirt_cpu()`] |
//! | does this host take that vCPU, with all its registers? | [`SavedVcpu::why_not()`] |
//! | in which registers and fields do two vCPUs, lists or hosts differ? | [`diff_vcpus()`], [`diff_lists()`], [`diff_offers()`] |
//! | how many registers and bytes is its state? | [`Config::size()`], [`Config::greatest_size()`] |
//! | how is it saved and restored right? | [`save()`], [`restore()`], [`Restore`] |
//! | what does a restore need besides registers? | [`around_restore()`], [`restore_clock()`], [`Rest`] |
//! | in which mode is a stopped thread, and how much state has it? | [`ThreadView`] |
//! | what is in its registers, or in those of a core file, and how are they written back? | [`VectorRegisters`], [`core_notes()`], [`ThreadNotes`] |
//!
//! All lengths are in bytes. The command `vlmatrix` prints what the crate knows, and C programs
//! have the same through `arm64-vl.h`.
//!
//! | feature | what comes with it |
//! |---|---|
//! | `kvm` | asking KVM, save and restore: all that a VMM needs, with no crate but libc |
//! | `ptrace` | [`ThreadView`], likewise |
//! | `note` | [`VectorRegisters`] and [`core_notes()`] alone, without the standard library and any crate |
//! | `std` | lengths, sizes and pools, which come with the others too |
//! | `json` | files, by serde and serde_json; all types are `Serialize` |
//! | `command` | the command `vlmatrix`, by clap; the default, with all of the above |
//! | `man` | a program that makes the manual pages and completions of the command |
//! | `capi` | the C API, for the C library alone: its symbols are in no other crate |
//!
//! It builds and runs on every Linux: where a machine has no SVE, SME or KVM, the answer says so.
//!
//! # Examples
//!
//! The greatest vCPU for a pool of two hosts:
//!
//! ```
//! use arm64_vl::{pool, Config, Lengths, Machine, Offer};
//!
//! let machine = |name: &str, sve: &[u32]| {
//!     let offer = Offer::from(Config {
//!         sve: Lengths::new(sve.iter().copied())?,
//!         ..Config::default()
//!     });
//!     Ok::<_, arm64_vl::Error>(Machine::with_offer(name, offer))
//! };
//! let config = pool(&[
//!     machine("big", &[16, 32, 64, 128])?,
//!     machine("small", &[16, 32, 48])?,
//! ])?;
//! assert_eq!(config.sve.greatest(), Some(32));
//! # Ok::<(), arm64_vl::Error>(())
//! ```

#![cfg_attr(not(feature = "std"), no_std)]

#[cfg(feature = "note")]
extern crate alloc;

#[cfg(all(doctest, feature = "command"))]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(feature = "kvm")]
mod around;
#[cfg(feature = "std")]
mod config;
#[cfg(feature = "kvm")]
mod diff;
#[cfg(feature = "std")]
mod error;
#[cfg(feature = "capi")]
mod ffi;
#[cfg(feature = "json")]
mod file;
#[cfg(feature = "kvm")]
mod fit;
#[cfg(feature = "std")]
mod fleet;
#[cfg(feature = "std")]
mod host;
#[cfg(feature = "kvm")]
mod idreg;
#[cfg(feature = "kvm")]
mod ioctl;
#[cfg(feature = "std")]
mod kind;
#[cfg(feature = "kvm")]
mod known;
#[cfg(feature = "std")]
mod kvm;
#[cfg(feature = "std")]
mod lengths;
#[cfg(feature = "std")]
mod machine;
#[cfg(feature = "std")]
mod matrix;
#[cfg(feature = "std")]
mod names;
#[cfg(feature = "note")]
mod note;
#[cfg(feature = "kvm")]
mod parts;
#[cfg(feature = "std")]
mod pool;
#[cfg(feature = "std")]
mod qemu;
#[cfg(feature = "kvm")]
mod restore;
#[cfg(feature = "kvm")]
mod saved;
#[cfg(feature = "ptrace")]
mod thread;

#[cfg(feature = "kvm")]
pub use around::{
    around_restore, finish_exit, prepare_vcpu, prepare_vm, restore_clock, Chore, Clock, Rest, When,
};
#[cfg(feature = "std")]
pub use config::{Config, Register, Size, Svcr};
#[cfg(feature = "kvm")]
pub use diff::{diff_lists, diff_offers, diff_vcpus, Difference, How, Section};
#[cfg(feature = "std")]
pub use error::{Error, FailedWrite, Result};
#[cfg(feature = "json")]
#[doc(hidden)]
pub use file::ascii_json;
#[cfg(feature = "kvm")]
pub use fit::{common_vcpu, CommonVcpu, Fit, Harmless};
#[cfg(feature = "std")]
pub use fleet::{blame, partition, Blame, Group};
#[cfg(feature = "std")]
pub use host::{Host, Vectors};
#[cfg(feature = "kvm")]
pub use idreg::FieldDifference;
#[cfg(feature = "std")]
pub use kind::VcpuKind;
#[cfg(feature = "kvm")]
pub use kvm::try_config;
#[cfg(feature = "std")]
pub use kvm::{Offer, Others};
#[cfg(feature = "std")]
pub use lengths::Lengths;
#[cfg(feature = "std")]
pub use machine::Machine;
#[cfg(feature = "std")]
pub use matrix::{Matrix, Pair};
#[cfg(feature = "std")]
pub use names::{printable, register_name};
#[cfg(feature = "note")]
pub use note::{
    core_notes, write_order, CoreNote, Note, NoteError, Presence, VectorRegisters, VectorView,
    LEAVE_STREAMING,
};
#[cfg(feature = "std")]
pub use pool::{pool, Reason};
#[cfg(feature = "kvm")]
pub use restore::{restore, Report, Restore};
#[cfg(feature = "kvm")]
pub use saved::{differences, save, RegisterAccess, SavedVcpu, VcpuRef};
#[cfg(feature = "ptrace")]
pub use thread::{ThreadNotes, ThreadView};
