/* SPDX-License-Identifier: GPL-2.0-only */
/* What the tests in Rust know of the UAPI: bindgen makes uapi.rs of it. */
#include <linux/kvm.h>

/*
 * Not in the headers of a kernel without SME vCPUs. It has neither the feature
 * nor such registers, so that the tests of them are skipped.
 */
#ifndef KVM_REG_ARM64_SME
#define KVM_CAP_ARM_SME		252
#define KVM_ARM_VCPU_SME	10
#define KVM_REG_ARM64_SME	(0x17 << KVM_REG_ARM_COPROC_SHIFT)
#endif
