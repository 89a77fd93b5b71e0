// SPDX-License-Identifier: GPL-2.0-only

//! The core of the register list and its KUnit suite as a loadable module: loading it runs the
//! suite, whose result is in the kernel log and under `kunit/` in debugfs.

use kernel::prelude::*;

#[path = "../../rust/kernel/kvm.rs"]
mod kvm;
#[path = "../../arch-arm64-kvm/reg_list_core.rs"]
mod reg_list_core;
#[macro_use]
#[path = "../../arch-arm64-kvm/reg_list_tests.rs"]
mod reg_list_tests;

module! {
    type: RegListKunit,
    name: "reg_list_kunit",
    authors: ["The kvm-reg-list authors"],
    description: "KUnit tests of the order of KVM's register list on arm64",
    license: "GPL",
}

struct RegListKunit;

impl kernel::Module for RegListKunit {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        Ok(Self)
    }
}

reg_list_kunit_suite!(kvm_arm_reg_list_module);
