// SPDX-License-Identifier: GPL-2.0-only

//! The Rust core as a host crate.

#![no_std]

#[path = "../../rust/kernel/kvm.rs"]
pub mod kvm;
#[path = "../../arch-arm64-kvm/reg_list_core.rs"]
pub mod reg_list_core;
