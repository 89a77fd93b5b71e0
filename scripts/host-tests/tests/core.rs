// SPDX-License-Identifier: GPL-2.0-only

//! The Rust core as the root of a crate, so that its tests see what is private to it.

include!(concat!(env!("OUT_DIR"), "/reg_list_core.rs"));

#[cfg(feature = "c-version")]
mod c_version;
mod properties;
