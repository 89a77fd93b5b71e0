// SPDX-License-Identifier: GPL-2.0-only

//! What the tests in Rust have in common: a safe layer over KVM, what is known of its registers,
//! and vCPUs of many kinds with state to lose.
//!
//! On plain `std`, without a line of the library that the tests in C use.

// The oldest compiler of the kernel has no is_multiple_of().
#![allow(clippy::manual_is_multiple_of)]

pub mod compute;
pub mod edges;
pub mod fill;
pub mod guest;
pub mod host;
pub mod known_ids;
pub mod ktap;
pub mod kvm;
pub mod memory;
pub mod names;
pub mod random;
pub mod reg;
pub mod state;
pub mod vcpus;
pub mod vectors;
