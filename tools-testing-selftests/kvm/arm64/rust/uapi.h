/* SPDX-License-Identifier: GPL-2.0-only */
/* What the tests in Rust know of the UAPI: bindgen makes uapi.rs of it. */
#include <linux/kvm.h>
