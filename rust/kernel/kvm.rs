// SPDX-License-Identifier: GPL-2.0

//! Kernel-based Virtual Machine: what all architectures share of its user-space API.
//!
//! C header: [`include/uapi/linux/kvm.h`](srctree/include/uapi/linux/kvm.h)

/// The id of a register that user space reads and writes with `KVM_GET_ONE_REG` and
/// `KVM_SET_ONE_REG`.
///
/// All 64 bits count: two ids that differ in the size field alone are two registers.
///
/// The layout is that of a `u64`, so a list of ids as `KVM_GET_REG_LIST` gives it is a slice of
/// this type.
///
/// # Examples
///
/// ```
/// use kernel::kvm::RegId;
///
/// // X0 of an arm64 vCPU has 64 bits. There is no register with this number and 32 bits.
/// let x0 = RegId::new(0x6030_0000_0010_0000);
/// let other = RegId::new(0x6020_0000_0010_0000);
///
/// assert_ne!(x0, other);
/// assert_eq!(x0.raw(), 0x6030_0000_0010_0000);
/// ```
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegId(u64);

impl RegId {
    /// The register with this raw id. Any number is an id; which ones a vCPU has is up to KVM.
    pub const fn new(raw: u64) -> Self {
        Self(raw)
    }

    /// The id as user space knows it.
    pub const fn raw(self) -> u64 {
        self.0
    }
}
