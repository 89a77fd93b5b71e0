// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! What reads notes, as a debugger stub without a standard library would have it: this is built, and shows that it
//! can be.

#![no_std]

extern crate alloc;

#[path = "../src/note.rs"]
mod note;

pub use note::*;
