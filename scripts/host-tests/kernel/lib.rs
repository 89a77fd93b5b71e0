// SPDX-License-Identifier: GPL-2.0-only

//! What the core uses of the kernel crate, for a program on the host.

#![no_std]

pub mod bindings;
#[path = "../../../rust/kernel/kvm.rs"]
pub mod kvm;

/// What every file of the kernel imports.
pub mod prelude {
    pub use crate::static_assert;
}

/// Fails the build if the condition is false.
#[macro_export]
macro_rules! static_assert {
    ($condition:expr) => {
        const _: () = assert!($condition);
    };
}
