// SPDX-License-Identifier: GPL-2.0-only

//! A safe layer over the ioctls of KVM on arm64, on plain `std`.
//!
//! The constants and structures are bindgen's, made from the installed UAPI headers. `KVM_UAPI`
//! names that file when this is built.

use crate::{
    memory::{ArgMemory, ListBuffer, Mapping, Place, PAGE},
    reg::{RegId, Value, MAX_BYTES},
};
use std::{
    ffi::{c_int, c_ulong},
    fmt,
    fs::OpenOptions,
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    ptr, slice,
    sync::atomic::{AtomicU32, AtomicU64, AtomicU8, Ordering},
};

/// What bindgen makes of `linux/kvm.h`.
#[allow(
    missing_docs,
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
}

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
const KVM_SET_MP_STATE: c_ulong = iow::<uapi::kvm_mp_state>(0x99);
const KVM_SET_GUEST_DEBUG: c_ulong = iow::<uapi::kvm_guest_debug>(0x9b);
const KVM_GET_ONE_REG: c_ulong = iow::<uapi::kvm_one_reg>(0xab);
const KVM_SET_ONE_REG: c_ulong = iow::<uapi::kvm_one_reg>(0xac);
const KVM_ENABLE_CAP: c_ulong = iow::<uapi::kvm_enable_cap>(0xa3);
const KVM_ARM_VCPU_INIT: c_ulong = iow::<uapi::kvm_vcpu_init>(0xae);
const KVM_ARM_PREFERRED_TARGET: c_ulong = ior::<uapi::kvm_vcpu_init>(0xaf);
const KVM_GET_REG_LIST: c_ulong = iowr::<uapi::kvm_reg_list>(0xb0);
const KVM_ARM_SET_COUNTER_OFFSET: c_ulong = iow::<uapi::kvm_arm_counter_offset>(0xb5);
const KVM_ARM_VCPU_FINALIZE: c_ulong = iow::<c_int>(0xc2);
const KVM_CREATE_DEVICE: c_ulong = iowr::<uapi::kvm_create_device>(0xe0);
const KVM_SET_DEVICE_ATTR: c_ulong = iow::<uapi::kvm_device_attr>(0xe1);

/// An error number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Errno(pub i32);

/// The result of a system call.
pub type Result<T = ()> = std::result::Result<T, Errno>;

impl Errno {
    /// Operation not permitted.
    pub const EPERM: Self = Self(1);
    /// No such file or directory.
    pub const ENOENT: Self = Self(2);
    /// Interrupted system call.
    pub const EINTR: Self = Self(4);
    /// Argument list too long.
    pub const E2BIG: Self = Self(7);
    /// Exec format error.
    pub const ENOEXEC: Self = Self(8);
    /// Bad address.
    pub const EFAULT: Self = Self(14);
    /// Device or resource busy.
    pub const EBUSY: Self = Self(16);
    /// Invalid argument.
    pub const EINVAL: Self = Self(22);

    /// The error of the system call that has just failed.
    pub(crate) fn last() -> Self {
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
pub(crate) fn check(ret: c_int) -> Result<c_int> {
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

    /// Makes a VM with `ipa_bits` for guest physical addresses. The fewer there are, the sooner the
    /// VM is torn down, emulated above all.
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

/// Guest memory.
struct Memory {
    gpa: u64,
    pages: Mapping,
}

/// A virtual machine.
pub struct Vm {
    fd: OwnedFd,
    run_size: usize,
    memory: Vec<Memory>,
    gic: Option<OwnedFd>,
}

impl Vm {
    /// Makes a vCPU, not yet initialized.
    pub fn create_vcpu(&self, index: u32) -> Result<Vcpu> {
        let fd = owned(ioctl_number(&self.fd, KVM_CREATE_VCPU, index.into())?);
        let run = Mapping::new(self.run_size, Some(&fd))?;
        Ok(Vcpu { fd, run })
    }

    /// The number of the target that suits the host.
    pub fn target(&self) -> Result<u32> {
        Ok(self.preferred_target()?.target)
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

    /// Enables a capability of the VM.
    pub fn enable(&self, cap: u32) -> Result {
        let mut enable = uapi::kvm_enable_cap {
            cap,
            flags: 0,
            args: [0; 4],
            pad: [0; 64],
        };
        ioctl_struct(&self.fd, KVM_ENABLE_CAP, &mut enable).map(drop)
    }

    /// Fixes how far the counters of the VM are behind those of the host.
    pub fn set_counter_offset(&self, counter_offset: u64) -> Result {
        let mut offset = uapi::kvm_arm_counter_offset {
            counter_offset,
            reserved: 0,
        };
        ioctl_struct(&self.fd, KVM_ARM_SET_COUNTER_OFFSET, &mut offset).map(drop)
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
        let mut code = code.to_vec();
        if code.len() % 2 != 0 {
            code.push(0);
        }
        let word = |pair: &[u32]| u64::from(pair[0]) | u64::from(pair[1]) << 32;
        let words: Vec<_> = code.chunks_exact(2).map(word).collect();
        self.add_memory(gpa, PAGE)?;
        self.write(gpa, &words);
        Ok(())
    }

    /// Gives the guest `len` bytes of memory at `gpa`, both multiples of a page, all zero.
    pub fn add_memory(&mut self, gpa: u64, len: usize) -> Result {
        let pages = Mapping::new(len, None)?;
        let mut region = uapi::kvm_userspace_memory_region {
            slot: self.memory.len() as u32,
            flags: 0,
            guest_phys_addr: gpa,
            memory_size: len as u64,
            userspace_addr: pages.at.as_ptr() as u64,
        };
        ioctl_struct(&self.fd, KVM_SET_USER_MEMORY_REGION, &mut region)?;
        self.memory.push(Memory { gpa, pages });
        Ok(())
    }

    /// The words of guest memory from `gpa` on.
    fn words(&self, gpa: u64, count: usize) -> &[AtomicU64] {
        let bytes = count * size_of::<u64>();
        let offset = |memory: &Memory| gpa.checked_sub(memory.gpa).map(|at| at as usize);
        let holds = |memory: &&Memory| {
            offset(memory).is_some_and(|at| at % 8 == 0 && at + bytes <= memory.pages.len)
        };
        let memory = self.memory.iter().find(holds).expect("guest memory");
        let at = memory.pages.at.cast::<AtomicU64>().as_ptr();
        // SAFETY: The words are in the mapping, which lives as long as the VM, are aligned, and are
        // accessed as atomic ones alone.
        unsafe { slice::from_raw_parts(at.byte_add((gpa - memory.gpa) as usize), count) }
    }

    /// Reads words of guest memory.
    pub fn read(&self, gpa: u64, count: usize) -> Vec<u64> {
        let load = |word: &AtomicU64| word.load(Ordering::Relaxed);
        self.words(gpa, count).iter().map(load).collect()
    }

    /// Writes words of guest memory.
    pub fn write(&self, gpa: u64, words: &[u64]) {
        let to = self.words(gpa, words.len()).iter();
        to.zip(words)
            .for_each(|(to, word)| to.store(*word, Ordering::Relaxed));
    }
}

/// A call to a vCPU that takes a structure.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// `KVM_GET_ONE_REG`.
    Get,
    /// `KVM_SET_ONE_REG`.
    Set,
    /// `KVM_GET_REG_LIST`.
    List,
    /// `KVM_ARM_VCPU_INIT`.
    Init,
    /// `KVM_ARM_VCPU_FINALIZE`.
    Finalize,
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

    /// `KVM_ARM_VCPU_INIT` as it is.
    pub fn init_raw(&self, target: u32, features: [u32; 7]) -> Result {
        let mut init = uapi::kvm_vcpu_init { target, features };
        ioctl_struct(&self.fd, KVM_ARM_VCPU_INIT, &mut init).map(drop)
    }

    /// `KVM_ARM_VCPU_FINALIZE` as it is.
    pub fn finalize_raw(&self, mut feature: c_int) -> Result {
        ioctl_struct(&self.fd, KVM_ARM_VCPU_FINALIZE, &mut feature).map(drop)
    }

    /// `KVM_GET_ONE_REG` with the value at any place.
    pub fn get_at(&self, id: RegId, memory: &mut ArgMemory, place: Place) -> Result {
        let mut reg = uapi::kvm_one_reg {
            id: id.raw(),
            addr: memory.address(place),
        };
        ioctl_struct(&self.fd, KVM_GET_ONE_REG, &mut reg).map(drop)
    }

    /// `KVM_SET_ONE_REG` with the value at any place.
    pub fn set_at(&self, id: RegId, memory: &mut ArgMemory, place: Place) -> Result {
        let mut reg = uapi::kvm_one_reg {
            id: id.raw(),
            addr: memory.address(place),
        };
        ioctl_struct(&self.fd, KVM_SET_ONE_REG, &mut reg).map(drop)
    }

    /// `KVM_GET_REG_LIST` with the list at any place.
    pub fn list_at(&self, memory: &mut ArgMemory, place: Place) -> Result {
        let list = memory.address(place);
        // SAFETY: What the kernel writes goes from there on no further than to the memory's end.
        check(unsafe { ioctl(self.fd.as_raw_fd(), KVM_GET_REG_LIST, list) }).map(drop)
    }

    /// A call with its structure where the kernel cannot read it.
    pub fn call_nowhere(&self, call: Call) -> Result {
        let request = match call {
            Call::Get => KVM_GET_ONE_REG,
            Call::Set => KVM_SET_ONE_REG,
            Call::List => KVM_GET_REG_LIST,
            Call::Init => KVM_ARM_VCPU_INIT,
            Call::Finalize => KVM_ARM_VCPU_FINALIZE,
        };
        ioctl_number(&self.fd, request, 0).map(drop)
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

    /// `KVM_GET_REG_LIST` as it is: the number goes in as `n`. Returns it as it came out too.
    pub fn list_into(&self, buffer: &ListBuffer, n: u64) -> (Result, u64) {
        let head = buffer.word(0);
        head.store(n, Ordering::Relaxed);
        // SAFETY: The kernel writes no further than the room in the buffer: behind it there is no
        // memory to write to.
        let ret = check(unsafe { ioctl(self.fd.as_raw_fd(), KVM_GET_REG_LIST, head.as_ptr()) });
        (ret.map(drop), head.load(Ordering::Relaxed))
    }

    /// Says whether the vCPU is to run, `KVM_MP_STATE_*`.
    pub fn set_mp_state(&self, mp_state: u32) -> Result {
        let mut state = uapi::kvm_mp_state { mp_state };
        ioctl_struct(&self.fd, KVM_SET_MP_STATE, &mut state).map(drop)
    }

    /// Reads a register.
    pub fn get(&self, id: RegId) -> Result<Value> {
        let mut value = Value::zero(id.bytes().min(MAX_BYTES));
        let mut reg = uapi::kvm_one_reg {
            id: id.raw(),
            addr: value.bytes_mut().as_mut_ptr() as u64,
        };
        ioctl_struct(&self.fd, KVM_GET_ONE_REG, &mut reg)?;
        Ok(value)
    }

    /// Writes a register.
    pub fn set(&self, id: RegId, value: &Value) -> Result {
        let mut reg = uapi::kvm_one_reg {
            id: id.raw(),
            addr: value.bytes().as_ptr() as u64,
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
        // SAFETY: The mapping begins with a `kvm_run`, and all accesses to it are atomic.
        let reason = unsafe { AtomicU32::from_ptr(&raw mut (*run).exit_reason) };
        Ok(reason.load(Ordering::Relaxed))
    }

    /// Has the vCPU stop at BRK, and after each instruction if `each` says so.
    pub fn debug(&self, each: bool) -> Result {
        let step = u32::from(each) * uapi::KVM_GUESTDBG_SINGLESTEP;
        let mut debug = uapi::kvm_guest_debug {
            control: uapi::KVM_GUESTDBG_ENABLE | uapi::KVM_GUESTDBG_USE_SW_BP | step,
            pad: 0,
            arch: uapi::kvm_guest_debug_arch {
                dbg_bcr: [0; 16],
                dbg_bvr: [0; 16],
                dbg_wcr: [0; 16],
                dbg_wvr: [0; 16],
            },
        };
        ioctl_struct(&self.fd, KVM_SET_GUEST_DEBUG, &mut debug).map(drop)
    }

    /// The exception class of what a vCPU stopped for with `KVM_EXIT_DEBUG`.
    pub fn debug_class(&self) -> u32 {
        let run = self.run.at.cast::<uapi::kvm_run>().as_ptr();
        // SAFETY: As above, and all members of the union are numbers.
        let hsr = unsafe { AtomicU32::from_ptr(&raw mut (*run).__bindgen_anon_1.debug.arch.hsr) };
        hsr.load(Ordering::Relaxed) >> 26
    }

    fn set_immediate_exit(&self, exit: u8) {
        let run = self.run.at.cast::<uapi::kvm_run>().as_ptr();
        // SAFETY: As above.
        let flag = unsafe { AtomicU8::from_ptr(&raw mut (*run).immediate_exit) };
        flag.store(exit, Ordering::Relaxed);
    }
}
