// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! Save and restore of a vCPU's registers, right on every kernel.
//!
//! Kernels list registers in an order in which they cannot all be written back. The registers that
//! others depend on are put first here, whatever the kernel's order is; where that is right already
//! nothing moves. No capability is asked: its number can mean something else on another kernel.

use crate::{
    config::{bytes_of, ids},
    error::named,
    ioctl::{
        ioctl, OneReg, KVM_ARM_VCPU_FINALIZE, KVM_ARM_VCPU_SVE, KVM_GET_ONE_REG, KVM_GET_REG_LIST,
        KVM_SET_ONE_REG,
    },
    Error, Lengths, Result,
};
#[cfg(feature = "json")]
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    io,
    marker::PhantomData,
    os::fd::{AsRawFd, RawFd},
};

#[cfg(feature = "json")]
#[path = "saved_json.rs"]
mod json;

/// The architecture in the id of a register: `KVM_REG_ARCH_MASK` and `KVM_REG_ARM64` of
/// `linux/kvm.h`.
const ARCH_MASK: u64 = 0xff << 56;
const ARM64: u64 = 0x60 << 56;

/// The registers that others depend on, in the order in which they are written:
/// `Documentation/virt/kvm/arm/reg-list.rst`.
const LEADERS: [u64; 5] = [
    ids::SVE_VLS,
    ids::SME_VLS,
    ids::SVCR,
    ids::ID_AA64PFR1_EL1,
    ids::CNTVCT_EL0,
];

/// What a [`SavedVcpu`] is called in errors.
pub(crate) const WHAT: &str = "a saved vCPU";

/// Access to the registers of a vCPU. [`VcpuRef`] has it by KVM's ioctls; a VMM that wraps its vCPUs
/// can have its own.
///
/// # Examples
///
/// One that counts what is written:
///
/// ```
/// use arm64_vl::RegisterAccess;
/// use std::{cell::Cell, io};
///
/// struct Counting<V>(V, Cell<usize>);
///
/// impl<V: RegisterAccess> RegisterAccess for Counting<V> {
///     fn list(&self) -> io::Result<Vec<u64>> {
///         self.0.list()
///     }
///     fn get(&self, id: u64, value: &mut [u8]) -> io::Result<()> {
///         self.0.get(id, value)
///     }
///     fn set(&self, id: u64, value: &[u8]) -> io::Result<()> {
///         self.1.set(self.1.get() + 1);
///         self.0.set(id, value)
///     }
///     fn finalize(&self) -> io::Result<()> {
///         self.0.finalize()
///     }
/// }
///
/// let file = std::fs::File::open("/dev/null")?;
/// let vcpu = Counting(arm64_vl::VcpuRef::new(&file), Cell::new(0));
/// assert!(vcpu.set(0x6030_0000_0010_0000, &[0; 8]).is_err(), "that is no vCPU");
/// assert_eq!(vcpu.1.get(), 1);
/// # Ok::<(), io::Error>(())
/// ```
pub trait RegisterAccess {
    /// The ids of all registers, however many there are: `KVM_GET_REG_LIST`.
    ///
    /// # Errors
    ///
    /// What the ioctl gives.
    fn list(&self) -> io::Result<Vec<u64>>;

    /// Reads a register. `value` is as long as the id says.
    ///
    /// # Errors
    ///
    /// What the ioctl gives.
    fn get(&self, id: u64, value: &mut [u8]) -> io::Result<()>;

    /// Writes a register. `value` is as long as the id says.
    ///
    /// # Errors
    ///
    /// What the ioctl gives.
    fn set(&self, id: u64, value: &[u8]) -> io::Result<()>;

    /// `KVM_ARM_VCPU_FINALIZE` of the vector state.
    ///
    /// # Errors
    ///
    /// What the ioctl gives.
    fn finalize(&self) -> io::Result<()>;

    /// The features that `KVM_ARM_VCPU_INIT` was given, which no register tells of. Where they are known when
    /// a vCPU is saved and when it is restored, [`crate::restore()`] compares them.
    fn features(&self) -> Option<[u32; 7]> {
        None
    }
}

/// A vCPU by its descriptor: `kvm_ioctls::VcpuFd`, or another program's own.
///
/// # Examples
///
/// ```
/// use arm64_vl::{RegisterAccess, VcpuRef};
///
/// let not_a_vcpu = std::fs::File::open("/dev/null")?;
/// assert!(VcpuRef::new(&not_a_vcpu).list().is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct VcpuRef<'a> {
    fd: RawFd,
    features: Option<[u32; 7]>,
    vcpu: PhantomData<&'a ()>,
}

impl<'a> VcpuRef<'a> {
    /// Borrows the descriptor.
    pub fn new(vcpu: &'a impl AsRawFd) -> Self {
        Self {
            fd: vcpu.as_raw_fd(),
            features: None,
            vcpu: PhantomData,
        }
    }

    /// The same, with the member `features` of the `struct kvm_vcpu_init` that it was initialized with.
    ///
    /// ```
    /// # let file = std::fs::File::open("/dev/null")?;
    /// use arm64_vl::{RegisterAccess, VcpuRef};
    ///
    /// let features = [1 << 2, 0, 0, 0, 0, 0, 0]; // KVM_ARM_VCPU_PSCI_0_2
    /// let vcpu = VcpuRef::new(&file).with_features(features);
    /// assert_eq!(vcpu.features(), Some(features));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn with_features(self, features: [u32; 7]) -> Self {
        Self {
            features: Some(features),
            ..self
        }
    }
}

impl AsRawFd for VcpuRef<'_> {
    fn as_raw_fd(&self) -> RawFd {
        self.fd
    }
}

/// A value has the length that its id says, or KVM would access memory behind it.
fn check_length(id: u64, value: &[u8]) -> io::Result<()> {
    if value.len() != bytes_of(id) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(())
}

impl RegisterAccess for VcpuRef<'_> {
    fn list(&self) -> io::Result<Vec<u64>> {
        let mut list = vec![0u64];
        loop {
            list[0] = list.len() as u64 - 1;
            let at = list.as_mut_ptr().cast();
            // SAFETY: The kernel writes the number, and ids behind it if they fit: as many as the
            // number said, which is the room that there is.
            let done = unsafe { ioctl(self.fd, KVM_GET_REG_LIST, at) };
            let count = list[0] as usize;
            match done {
                // The number can grow between two calls: another vCPU can change the VM.
                Err(error) if error.raw_os_error() == Some(libc::E2BIG) => {
                    list.resize(count + 1, 0)
                }
                Err(error) => return Err(error),
                Ok(_) => {
                    list.truncate(count + 1);
                    list.remove(0);
                    return Ok(list);
                }
            }
        }
    }

    fn get(&self, id: u64, value: &mut [u8]) -> io::Result<()> {
        check_length(id, value)?;
        let mut register = OneReg {
            id,
            addr: value.as_mut_ptr() as u64,
        };
        let at = (&raw mut register).cast();
        // SAFETY: The kernel writes as many bytes to the address as the id says, which `value` has.
        unsafe { ioctl(self.fd, KVM_GET_ONE_REG, at) }.map(drop)
    }

    fn set(&self, id: u64, value: &[u8]) -> io::Result<()> {
        check_length(id, value)?;
        let mut register = OneReg {
            id,
            addr: value.as_ptr() as u64,
        };
        let at = (&raw mut register).cast();
        // SAFETY: The kernel reads as many bytes from the address as the id says, which `value` has.
        unsafe { ioctl(self.fd, KVM_SET_ONE_REG, at) }.map(drop)
    }

    fn finalize(&self) -> io::Result<()> {
        let mut feature = KVM_ARM_VCPU_SVE as i32;
        // SAFETY: The kernel reads an int.
        unsafe { ioctl(self.fd, KVM_ARM_VCPU_FINALIZE, (&raw mut feature).cast()) }.map(drop)
    }

    fn features(&self) -> Option<[u32; 7]> {
        self.features
    }
}

/// The registers of a vCPU, in an order that is safe to restore. As JSON it is versioned, and checked
/// when it is loaded.
///
/// # Examples
///
/// ```
/// use arm64_vl::SavedVcpu;
///
/// let text = r#"{
///     "format": "arm64-vl vcpu",
///     "version": 1,
///     "registers": [{ "id": "0x6030000000100042", "value": "c503000000000000" }]
/// }"#;
/// let saved = SavedVcpu::from_json(text)?;
/// assert_eq!(saved.len(), 1);
/// assert!(SavedVcpu::from_json(&text.replace("0x60", "0x20")).is_err(), "x86");
/// # Ok::<(), arm64_vl::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "json", serde(try_from = "json::File", into = "json::File"))]
pub struct SavedVcpu {
    features: Option<[u32; 7]>,
    registers: Vec<Saved>,
}

/// A register and its value, the lowest byte first.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(Serialize, Deserialize))]
struct Saved {
    #[cfg_attr(
        feature = "json",
        serde(serialize_with = "json::write_id", deserialize_with = "json::read_id")
    )]
    id: u64,
    #[cfg_attr(
        feature = "json",
        serde(
            serialize_with = "json::write_value",
            deserialize_with = "json::read_value"
        )
    )]
    value: Vec<u8>,
}

impl SavedVcpu {
    /// What a VMM has saved otherwise: ids and values, the lowest byte first, in any order, and the features
    /// that `KVM_ARM_VCPU_INIT` was given.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] for a register of another architecture, one that is there twice, and a value
    /// that is not as long as its id says.
    ///
    /// # Examples
    ///
    /// ```
    /// use arm64_vl::SavedVcpu;
    ///
    /// let x0 = (0x6030_0000_0010_0000, vec![0; 8]);
    /// assert_eq!(SavedVcpu::new(None, [x0.clone()])?.len(), 1);
    /// assert!(SavedVcpu::new(None, [x0.clone(), x0]).is_err());
    /// # Ok::<(), arm64_vl::Error>(())
    /// ```
    pub fn new(
        features: Option<[u32; 7]>,
        registers: impl IntoIterator<Item = (u64, Vec<u8>)>,
    ) -> Result<Self> {
        let saved = |(id, value)| Saved { id, value };
        Self::ordered(features, registers.into_iter().map(saved).collect())
    }

    /// Puts first what others depend on. The rest keeps its order.
    fn ordered(features: Option<[u32; 7]>, mut registers: Vec<Saved>) -> Result<Self> {
        let mut seen = BTreeSet::new();
        for Saved { id, value } in &registers {
            let wrong = if id & ARCH_MASK != ARM64 {
                "is no register of arm64".into()
            } else if value.len() != bytes_of(*id) {
                format!("has {} bytes, not {}", value.len(), bytes_of(*id))
            } else if !seen.insert(*id) {
                "is there twice".into()
            } else {
                continue;
            };
            return Err(Error::Format {
                what: WHAT,
                reason: format!("{} {wrong}", named(*id)),
            });
        }
        registers.sort_by_key(|saved| {
            let place = LEADERS.iter().position(|leader| *leader == saved.id);
            place.unwrap_or(LEADERS.len())
        });
        Ok(Self {
            features,
            registers,
        })
    }

    /// How many registers there are.
    pub fn len(&self) -> usize {
        self.registers.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.registers.is_empty()
    }

    /// The value of a register, the lowest byte first.
    pub fn value(&self, id: u64) -> Option<&[u8]> {
        let found = self.registers.iter().find(|saved| saved.id == id)?;
        Some(&found.value)
    }

    /// The ids and values in the order in which they are restored.
    pub fn registers(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.registers
            .iter()
            .map(|saved| (saved.id, &saved.value[..]))
    }

    /// The features that the vCPU was initialized with, if they were known when it was saved.
    pub fn features(&self) -> Option<[u32; 7]> {
        self.features
    }

    /// The lengths in a `*_VLS` register.
    pub(crate) fn lengths(&self, id: u64) -> Lengths {
        Lengths::from_value(self.value(id).unwrap_or_default())
    }

    /// The SVE lengths of the vCPU, [`Lengths::NONE`] if it has none.
    pub fn sve(&self) -> Lengths {
        self.lengths(ids::SVE_VLS)
    }

    /// The SME lengths of the vCPU, [`Lengths::NONE`] if it has none.
    pub fn sme(&self) -> Lengths {
        self.lengths(ids::SME_VLS)
    }
}

/// Reads all registers of a vCPU, which does not run meanwhile.
///
/// # Errors
///
/// [`Error::NotInitialized`], [`Error::NotFinalized`] and [`Error::NotAVcpu`]; [`Error::Kernel`] with the
/// register that cannot be read; [`Error::Format`] for a list in which a
/// register is twice or one of another architecture.
///
/// # Examples
///
/// ```
/// use arm64_vl::save;
#[doc = include_str!("fake_vcpu.doc")]
///
/// # let vcpu = Fake::default();
/// # vcpu.set(0x6030_0000_0010_0000, &[7; 8])?;
/// let saved = save(&vcpu)?;
/// assert_eq!(saved.len(), vcpu.list()?.len());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn save(vcpu: &(impl RegisterAccess + ?Sized)) -> Result<SavedVcpu> {
    let list = vcpu.list().map_err(not_listed)?;
    let read = |id: u64| {
        let mut value = vec![0; bytes_of(id)];
        vcpu.get(id, &mut value)
            .map_err(|error| Error::kernel(format!("KVM_GET_ONE_REG of {}", named(id)), error))?;
        Ok(Saved { id, value })
    };
    let registers = list.into_iter().map(read).collect::<Result<_>>()?;
    SavedVcpu::ordered(vcpu.features(), registers)
}

/// Why there is no list: every call to registers starts with one.
pub(crate) fn not_listed(error: io::Error) -> Error {
    not_a_vcpu("KVM_GET_REG_LIST", error)
}

/// Why the first call to a vCPU is refused, which is one that every vCPU takes once it is ready for it.
pub(crate) fn not_a_vcpu(call: &str, error: io::Error) -> Error {
    match error.raw_os_error() {
        // KVM gives EINVAL for what is a descriptor of its own, but not of a vCPU.
        Some(libc::EBADF | libc::ENOTTY | libc::EINVAL) => Error::NotAVcpu(error),
        _ => not_ready(call, error),
    }
}

/// Why a later one is.
pub(crate) fn not_ready(call: &str, error: io::Error) -> Error {
    match error.raw_os_error() {
        Some(libc::ENOEXEC) => Error::NotInitialized,
        Some(libc::EPERM) => Error::NotFinalized,
        _ => Error::kernel(call, error),
    }
}

/// The registers that do not read as they were saved. Counters go on meanwhile.
///
/// # Errors
///
/// Those of [`save()`].
///
/// # Examples
///
/// ```
/// use arm64_vl::{differences, save};
#[doc = include_str!("fake_vcpu.doc")]
///
/// # let vcpu = Fake::default();
/// # vcpu.set(0x6030_0000_0010_0000, &[7; 8])?;
/// let saved = save(&vcpu)?;
/// vcpu.set(0x6030_0000_0010_0000, &[8; 8])?;
/// assert_eq!(differences(&vcpu, &saved)?, [0x6030_0000_0010_0000]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn differences(vcpu: &(impl RegisterAccess + ?Sized), saved: &SavedVcpu) -> Result<Vec<u64>> {
    vcpu.list().map_err(not_listed)?;
    let mut differ = Vec::new();
    for (id, was) in saved.registers() {
        let mut is = vec![0; was.len()];
        vcpu.get(id, &mut is)
            .map_err(|error| Error::kernel(format!("KVM_GET_ONE_REG of {}", named(id)), error))?;
        if is != was {
            differ.push(id);
        }
    }
    Ok(differ)
}
