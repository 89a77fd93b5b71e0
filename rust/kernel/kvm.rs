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
/// Source: `KVM_REG_*` in `include/uapi/linux/kvm.h`, and "KVM_SET_ONE_REG" in
/// `Documentation/virt/kvm/api.rst`.
///
/// # Examples
///
/// ```
/// use kernel::kvm::RegId;
///
/// // KVM_REG_ARM64_SVE_VLS: a bitmap of 512 bits.
/// let vls = RegId::new(0x6060_0000_0015_ffff);
///
/// assert_eq!(vls.arch(), RegId::ARCH_ARM64);
/// assert_eq!(vls.size(), 64);
/// assert_ne!(vls, RegId::new(0x6050_0000_0015_ffff));
/// ```
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegId(u64);

impl RegId {
    /// `KVM_REG_ARCH_MASK`: the bits that name the architecture.
    pub const ARCH_MASK: u64 = 0xff00_0000_0000_0000;

    /// `KVM_REG_ARM64`: the architecture field of arm64.
    pub const ARCH_ARM64: u64 = 0x6000_0000_0000_0000;

    /// `KVM_REG_SIZE_MASK`: the bits that give the size.
    pub const SIZE_MASK: u64 = 0x00f0_0000_0000_0000;

    /// `KVM_REG_SIZE_SHIFT`: where the size field begins.
    pub const SIZE_SHIFT: u32 = 52;

    /// The register with this raw id. Any number is an id; which ones a vCPU has is up to KVM.
    pub const fn new(raw: u64) -> Self {
        Self(raw)
    }

    /// The id as user space knows it.
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// The architecture field, in place: one of the `KVM_REG_<ARCH>` constants.
    pub const fn arch(self) -> u64 {
        self.0 & Self::ARCH_MASK
    }

    /// The size of the register in bytes: a power of two from 1 to 32768.
    ///
    /// ```
    /// use kernel::kvm::RegId;
    ///
    /// assert_eq!(RegId::new(0).size(), 1);
    /// assert_eq!(RegId::new(0x0080_0000_0000_0000).size(), 256);
    /// ```
    pub const fn size(self) -> usize {
        1 << ((self.0 & Self::SIZE_MASK) >> Self::SIZE_SHIFT)
    }
}
