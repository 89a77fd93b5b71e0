// SPDX-License-Identifier: GPL-2.0-only

//! A safe layer over the ioctls of KVM on arm64, on plain `std`.
//!
//! The constants and structures are bindgen's, made from the installed UAPI headers. `KVM_UAPI`
//! names that file when this is built.

use std::{
    ffi::{c_int, c_ulong, c_void},
    fmt,
    fs::OpenOptions,
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    ptr::{self, NonNull},
};

/// What bindgen makes of `linux/kvm.h`.
#[allow(
    missing_docs,
    dead_code,
    non_camel_case_types,
    non_upper_case_globals,
    non_snake_case
)]
#[allow(clippy::all)]
pub mod uapi {
    include!(env!("KVM_UAPI"));
}

extern "C" {
    fn ioctl(fd: c_int, request: c_ulong, ...) -> c_int;
    fn mmap(
        at: *mut c_void,
        len: usize,
        prot: c_int,
        flags: c_int,
        fd: c_int,
        offset: i64,
    ) -> *mut c_void;
    fn munmap(at: *mut c_void, len: usize) -> c_int;
}

const PROT_READ_WRITE: c_int = 3;
const MAP_SHARED: c_int = 1;
const MAP_PRIVATE_ANONYMOUS: c_int = 0x22;

/// The number of an ioctl, as `_IOC()` in `asm-generic/ioctl.h` makes it.
const fn ioc(dir: c_ulong, nr: c_ulong, size: usize) -> c_ulong {
    dir << 30 | (size as c_ulong) << 16 | (uapi::KVMIO as c_ulong) << 8 | nr
}

const fn io(nr: c_ulong) -> c_ulong {
    ioc(0, nr, 0)
}

const fn iow<T>(nr: c_ulong) -> c_ulong {
    ioc(1, nr, size_of::<T>())
}

const fn ior<T>(nr: c_ulong) -> c_ulong {
    ioc(2, nr, size_of::<T>())
}

const fn iowr<T>(nr: c_ulong) -> c_ulong {
    ioc(3, nr, size_of::<T>())
}

const KVM_CREATE_VM: c_ulong = io(0x01);
const KVM_CHECK_EXTENSION: c_ulong = io(0x03);
const KVM_GET_VCPU_MMAP_SIZE: c_ulong = io(0x04);
const KVM_CREATE_VCPU: c_ulong = io(0x41);
const KVM_SET_USER_MEMORY_REGION: c_ulong = iow::<uapi::kvm_userspace_memory_region>(0x46);
const KVM_RUN: c_ulong = io(0x80);
const KVM_GET_ONE_REG: c_ulong = iow::<uapi::kvm_one_reg>(0xab);
const KVM_SET_ONE_REG: c_ulong = iow::<uapi::kvm_one_reg>(0xac);
const KVM_ARM_VCPU_INIT: c_ulong = iow::<uapi::kvm_vcpu_init>(0xae);
const KVM_ARM_PREFERRED_TARGET: c_ulong = ior::<uapi::kvm_vcpu_init>(0xaf);
const KVM_GET_REG_LIST: c_ulong = iowr::<uapi::kvm_reg_list>(0xb0);
const KVM_ARM_VCPU_FINALIZE: c_ulong = iow::<c_int>(0xc2);
const KVM_CREATE_DEVICE: c_ulong = iowr::<uapi::kvm_create_device>(0xe0);
const KVM_SET_DEVICE_ATTR: c_ulong = iow::<uapi::kvm_device_attr>(0xe1);

/// An error number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Errno(pub i32);

/// The result of a system call.
pub type Result<T = ()> = std::result::Result<T, Errno>;

impl Errno {
    /// No such file or directory.
    pub const ENOENT: Self = Self(2);
    /// Interrupted system call.
    pub const EINTR: Self = Self(4);
    /// Argument list too long.
    pub const E2BIG: Self = Self(7);

    /// The error of the system call that has just failed.
    fn last() -> Self {
        Self::from(io::Error::last_os_error())
    }
}

impl From<io::Error> for Errno {
    fn from(error: io::Error) -> Self {
        Self(error.raw_os_error().unwrap_or(0))
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            1 => "EPERM",
            2 => "ENOENT",
            4 => "EINTR",
            7 => "E2BIG",
            8 => "ENOEXEC",
            12 => "ENOMEM",
            14 => "EFAULT",
            16 => "EBUSY",
            19 => "ENODEV",
            22 => "EINVAL",
            n => return write!(f, "errno {n}"),
        };
        f.write_str(name)
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What the return value of an ioctl says.
fn check(ret: c_int) -> Result<c_int> {
    if ret < 0 {
        Err(Errno::last())
    } else {
        Ok(ret)
    }
}

/// An ioctl whose argument is a number, and which touches no memory of the process.
fn ioctl_number(fd: &impl AsRawFd, request: c_ulong, arg: c_ulong) -> Result<c_int> {
    // SAFETY: Requests with a number for an argument access no memory by it. What KVM_RUN writes
    // is shared memory that is mapped for this.
    check(unsafe { ioctl(fd.as_raw_fd(), request, arg) })
}

/// An ioctl whose argument is one structure, read or written as `request` says.
fn ioctl_struct<T>(fd: &impl AsRawFd, request: c_ulong, arg: &mut T) -> Result<c_int> {
    // SAFETY: `request` encodes the size of `T`, the kernel accesses no more of `arg`, and all bit
    // patterns are valid for the structures of the UAPI. The few that carry the address of a
    // buffer come from callers in this file that own a buffer of the size that the kernel uses.
    check(unsafe { ioctl(fd.as_raw_fd(), request, ptr::from_mut(arg)) })
}

/// A new descriptor that an ioctl has returned.
fn owned(fd: c_int) -> OwnedFd {
    // SAFETY: The kernel has just made this descriptor, and nobody else knows of it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Sets an attribute of a VM's device or of a vCPU. The kernel reads no more of the number than the
/// attribute has; the lower part of it is at the same address.
fn set_attr(fd: &OwnedFd, group: u32, attr: u32, value: Option<u64>) -> Result {
    let mut attr = uapi::kvm_device_attr {
        flags: 0,
        group,
        attr: attr.into(),
        addr: value
            .as_ref()
            .map_or(0, |value| ptr::from_ref(value) as u64),
    };
    ioctl_struct(fd, KVM_SET_DEVICE_ATTR, &mut attr).map(drop)
}

/// The id of a register: architecture, size, class and number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegId(u64);

impl RegId {
    /// `KVM_REG_ARM64_SVE_VLS`.
    pub const SVE_VLS: Self = Self(0x6060_0000_0015_ffff);
    /// `KVM_REG_ARM64_SME_VLS`.
    pub const SME_VLS: Self = Self(0x6060_0000_0017_fffe);
    /// The mode of the vCPU, a core register.
    pub const PSTATE: Self = Self(0x6030_0000_0010_0042);
    /// The program counter, a core register.
    pub const PC: Self = Self(0x6030_0000_0010_0040);
    /// Streaming mode and ZA.
    pub const SVCR: Self = Self::sys(3, 3, 4, 2, 2);
    /// Features of the processor, SSBS among them.
    pub const ID_AA64PFR1_EL1: Self = Self::sys(3, 0, 0, 4, 1);
    /// The virtual counter, `KVM_REG_ARM_TIMER_CNT`: its id is not that of its encoding.
    pub const CNTVCT_EL0: Self = Self::sys(3, 3, 14, 3, 2);

    /// An id as the kernel gives it.
    pub const fn new(id: u64) -> Self {
        Self(id)
    }

    /// A system register by its encoding.
    pub const fn sys(op0: u64, op1: u64, crn: u64, crm: u64, op2: u64) -> Self {
        Self(
            uapi::KVM_REG_ARM64
                | uapi::KVM_REG_SIZE_U64
                | uapi::KVM_REG_ARM64_SYSREG as u64
                | op0 << 14
                | op1 << 11
                | crn << 7
                | crm << 3
                | op2,
        )
    }

    /// The general-purpose register `n`.
    pub const fn x(n: u64) -> Self {
        Self(uapi::KVM_REG_ARM64 | uapi::KVM_REG_SIZE_U64 | uapi::KVM_REG_ARM_CORE as u64 | (n * 2))
    }

    /// The id as the kernel takes it.
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// The class of registers to which it belongs, a `KVM_REG_ARM_*`.
    pub const fn class(self) -> u32 {
        self.0 as u32 & uapi::KVM_REG_ARM_COPROC_MASK
    }

    /// The number of the register in its class.
    pub const fn number(self) -> u64 {
        self.0 & 0xffff
    }

    /// The size of its value in bytes.
    pub const fn bytes(self) -> usize {
        1 << (self.0 >> 52 & 15)
    }

    /// Whether it is written before the vCPU is finalized, and fixed by it.
    pub fn is_vls(self) -> bool {
        self == Self::SVE_VLS || self == Self::SME_VLS
    }
}

/// Bytes in the largest register there is: 2048 bits.
const MAX_BYTES: usize = 256;

/// The value of a register.
#[derive(Clone, Copy)]
pub struct Value {
    bytes: [u8; MAX_BYTES],
    len: usize,
}

impl Value {
    /// A value of `len` bytes, all zero.
    pub fn zero(len: usize) -> Self {
        assert!(len <= MAX_BYTES);
        Self {
            bytes: [0; MAX_BYTES],
            len,
        }
    }

    /// A number as the value of a register of `len` bytes, which may be more or fewer than 8.
    pub fn from_u64(number: u64, len: usize) -> Self {
        let mut value = Self::zero(len);
        let n = len.min(8);
        value.bytes[..n].copy_from_slice(&number.to_le_bytes()[..n]);
        value
    }

    /// The lowest 64 bits.
    pub fn low(&self) -> u64 {
        let mut low = [0; 8];
        low.copy_from_slice(&self.bytes[..8]);
        u64::from_le_bytes(low)
    }

    /// The bytes, the lowest first.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// The bytes, to be changed.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }

    /// How many bytes there are up to the last that is not zero.
    pub fn extent(&self) -> usize {
        self.bytes()
            .iter()
            .rposition(|&b| b != 0)
            .map_or(0, |last| last + 1)
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for Value {}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let extent = self.extent();
        let mut digits = self.bytes()[..extent.min(16)].iter().rev();
        f.write_str("0x")?;
        if extent == 0 {
            return f.write_str("0");
        }
        digits.try_for_each(|byte| write!(f, "{byte:02x}"))?;
        if extent > 16 {
            write!(f, " and {} bytes above", extent - 16)?;
        }
        Ok(())
    }
}

/// `/dev/kvm`.
pub struct Kvm(OwnedFd);

impl Kvm {
    /// Opens `/dev/kvm`.
    pub fn open() -> Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open("/dev/kvm")?;
        Ok(Self(file.into()))
    }

    /// What `KVM_CHECK_EXTENSION` says of a capability.
    pub fn capability(&self, capability: u32) -> Result<i32> {
        ioctl_number(&self.0, KVM_CHECK_EXTENSION, capability.into())
    }

    /// Makes a VM with `ipa_bits` for guest physical addresses. The fewer there are, the sooner the VM
    /// is torn down, emulated above all.
    pub fn create_vm(&self, ipa_bits: u8) -> Result<Vm> {
        let run_size = ioctl_number(&self.0, KVM_GET_VCPU_MMAP_SIZE, 0)? as usize;
        Ok(Vm {
            fd: owned(ioctl_number(&self.0, KVM_CREATE_VM, ipa_bits.into())?),
            run_size,
            memory: Vec::new(),
            gic: None,
        })
    }
}

/// Memory that is mapped for as long as this is there.
struct Mapping {
    at: NonNull<c_void>,
    len: usize,
}

impl Mapping {
    /// Maps `len` bytes of the descriptor, or of nothing.
    fn new(len: usize, fd: Option<&OwnedFd>) -> Result<Self> {
        let (flags, fd) = match fd {
            Some(fd) => (MAP_SHARED, fd.as_raw_fd()),
            None => (MAP_PRIVATE_ANONYMOUS, -1),
        };
        // SAFETY: A new mapping at an address that the kernel chooses changes none that is there.
        let at = unsafe { mmap(ptr::null_mut(), len, PROT_READ_WRITE, flags, fd, 0) };
        // MAP_FAILED is -1.
        if at as isize == -1 {
            return Err(Errno::last());
        }
        NonNull::new(at).map(|at| Self { at, len }).ok_or(Errno(0))
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: The mapping is this one's own, and nothing refers to it any more.
        unsafe { munmap(self.at.as_ptr(), self.len) };
    }
}

/// A virtual machine.
pub struct Vm {
    fd: OwnedFd,
    run_size: usize,
    memory: Vec<Mapping>,
    gic: Option<OwnedFd>,
}

impl Vm {
    /// Makes a vCPU, not yet initialized.
    pub fn create_vcpu(&self, index: u32) -> Result<Vcpu> {
        let fd = owned(ioctl_number(&self.fd, KVM_CREATE_VCPU, index.into())?);
        let run = Mapping::new(self.run_size, Some(&fd))?;
        Ok(Vcpu { fd, run })
    }

    /// The target that suits the host, without a feature.
    fn preferred_target(&self) -> Result<uapi::kvm_vcpu_init> {
        let mut init = uapi::kvm_vcpu_init {
            target: 0,
            features: [0; 7],
        };
        ioctl_struct(&self.fd, KVM_ARM_PREFERRED_TARGET, &mut init)?;
        Ok(init)
    }

    /// Gives the VM a GICv3, once all vCPUs are there: the distributor at `distributor`, the
    /// redistributors from `redistributors` on.
    pub fn create_gic(&mut self, distributor: u64, redistributors: u64) -> Result {
        let mut device = uapi::kvm_create_device {
            type_: uapi::kvm_device_type_KVM_DEV_TYPE_ARM_VGIC_V3,
            fd: 0,
            flags: 0,
        };
        ioctl_struct(&self.fd, KVM_CREATE_DEVICE, &mut device)?;
        let gic = owned(device.fd as c_int);

        let addr = uapi::KVM_DEV_ARM_VGIC_GRP_ADDR;
        set_attr(
            &gic,
            addr,
            uapi::KVM_VGIC_V3_ADDR_TYPE_DIST,
            Some(distributor),
        )?;
        set_attr(
            &gic,
            addr,
            uapi::KVM_VGIC_V3_ADDR_TYPE_REDIST,
            Some(redistributors),
        )?;
        let ctrl = uapi::KVM_DEV_ARM_VGIC_GRP_CTRL;
        set_attr(&gic, ctrl, uapi::KVM_DEV_ARM_VGIC_CTRL_INIT, None)?;
        self.gic = Some(gic);
        Ok(())
    }

    /// Puts a page with `code` at the address `gpa` of the guest.
    pub fn add_code(&mut self, gpa: u64, code: &[u32]) -> Result {
        const PAGE: usize = 4096;
        let page = Mapping::new(PAGE, None)?;

        assert!(size_of_val(code) <= PAGE);
        // SAFETY: The page is private to this, at least as long as the code, and aligned.
        unsafe { ptr::copy_nonoverlapping(code.as_ptr(), page.at.as_ptr().cast(), code.len()) };

        let mut region = uapi::kvm_userspace_memory_region {
            slot: self.memory.len() as u32,
            flags: 0,
            guest_phys_addr: gpa,
            memory_size: PAGE as u64,
            userspace_addr: page.at.as_ptr() as u64,
        };
        ioctl_struct(&self.fd, KVM_SET_USER_MEMORY_REGION, &mut region)?;
        self.memory.push(page);
        Ok(())
    }
}

/// A virtual CPU.
pub struct Vcpu {
    fd: OwnedFd,
    run: Mapping,
}

impl Vcpu {
    /// Initializes the vCPU with features, by their bits in `kvm_vcpu_init`.
    pub fn init(&self, vm: &Vm, features: &[u32]) -> Result {
        let mut init = vm.preferred_target()?;
        features
            .iter()
            .for_each(|feature| init.features[0] |= 1 << feature);
        ioctl_struct(&self.fd, KVM_ARM_VCPU_INIT, &mut init).map(drop)
    }

    /// Fixes the vector lengths.
    pub fn finalize(&self) -> Result {
        let mut feature = uapi::KVM_ARM_VCPU_SVE as c_int;
        ioctl_struct(&self.fd, KVM_ARM_VCPU_FINALIZE, &mut feature).map(drop)
    }

    /// Sets an attribute of the vCPU, which is a number of at most 64 bits or nothing.
    pub fn set_attr(&self, group: u32, attr: u32, value: Option<u64>) -> Result {
        set_attr(&self.fd, group, attr, value)
    }

    /// The registers that the vCPU has, in the kernel's order.
    pub fn list(&self) -> Result<Vec<RegId>> {
        // The number comes first, as in `struct kvm_reg_list`.
        let mut list = vec![0u64];
        loop {
            let room = list.len() as u64 - 1;
            list[0] = room;
            // SAFETY: The kernel writes the number, and no more ids than the number says on entry.
            match check(unsafe { ioctl(self.fd.as_raw_fd(), KVM_GET_REG_LIST, list.as_mut_ptr()) })
            {
                Ok(_) => {
                    list.truncate(list[0] as usize + 1);
                    return Ok(list[1..].iter().copied().map(RegId::new).collect());
                }
                Err(Errno::E2BIG) => list.resize(list[0] as usize + 1, 0),
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads a register.
    pub fn get(&self, id: RegId) -> Result<Value> {
        let mut value = Value::zero(id.bytes().min(MAX_BYTES));
        let mut reg = uapi::kvm_one_reg {
            id: id.raw(),
            addr: value.bytes.as_mut_ptr() as u64,
        };
        ioctl_struct(&self.fd, KVM_GET_ONE_REG, &mut reg)?;
        Ok(value)
    }

    /// Writes a register.
    pub fn set(&self, id: RegId, value: &Value) -> Result {
        let mut reg = uapi::kvm_one_reg {
            id: id.raw(),
            addr: value.bytes.as_ptr() as u64,
        };
        ioctl_struct(&self.fd, KVM_SET_ONE_REG, &mut reg).map(drop)
    }

    /// Prepares the vCPU for running and returns before it has run an instruction.
    pub fn load(&self) -> Result {
        self.set_immediate_exit(1);
        let ret = ioctl_number(&self.fd, KVM_RUN, 0);
        self.set_immediate_exit(0);
        match ret {
            Err(Errno::EINTR) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Runs the vCPU. Returns the reason why it stopped.
    pub fn run(&self) -> Result<u32> {
        ioctl_number(&self.fd, KVM_RUN, 0)?;
        let run = self.run.at.cast::<uapi::kvm_run>().as_ptr();
        // SAFETY: The mapping begins with a `kvm_run`, and nobody writes it while the vCPU stands.
        Ok(unsafe { (*run).exit_reason })
    }

    fn set_immediate_exit(&self, exit: u8) {
        let run = self.run.at.cast::<uapi::kvm_run>().as_ptr();
        // SAFETY: As above; no reference into the mapping is ever kept.
        unsafe { (*run).immediate_exit = exit };
    }
}
