// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! The C API. `include/arm64-vl.h` is made of this file by cbindgen.
//!
//! No panic crosses it: a function that can fail gives a status, and the words for it are kept for
//! the thread.

#![allow(non_camel_case_types)]

use crate::{
    differences, pool, register_name, restore, save, Config, Error, Lengths, Machine, Matrix,
    Offer, Presence, SavedVcpu, Size, ThreadView, VcpuRef, VectorView,
};
use std::{
    cell::RefCell,
    ffi::{c_char, c_int, CStr, CString},
    io,
    os::fd::{AsRawFd, RawFd},
    panic::{catch_unwind, AssertUnwindSafe},
    ptr::{self, NonNull},
};

/// What a function gives.
#[repr(C)]
pub enum arm64_vl_status {
    /// Done.
    ARM64_VL_OK = 0,
    /// An argument is not valid: no vector length, no configuration, no text.
    ARM64_VL_INVALID = -1,
    /// Text that is not what it should be, or of another version.
    ARM64_VL_FORMAT = -2,
    /// There is nothing of the kind on this machine.
    ARM64_VL_MISSING = -3,
    /// The kernel refuses a call.
    ARM64_VL_KERNEL = -4,
    /// The vCPU is not like the one that was saved. Nothing has been written.
    ARM64_VL_CONFIGURATION = -5,
    /// A restore that is not whole: the vCPU must not run.
    ARM64_VL_PARTIAL = -6,
    /// A bug of this library.
    ARM64_VL_BUG = -7,
    /// An argument is NULL that must not be, or a struct_size is not set.
    ARM64_VL_NULL = -8,
}

use arm64_vl_status::*;

/// A set of vector lengths as KVM_REG_ARM64_SVE_VLS and KVM_REG_ARM64_SME_VLS have it: bit n is
/// the length of n + 1 times 16 bytes.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct arm64_vl_lengths {
    /// 512 bits, the lowest first.
    pub words: [u64; 8],
}

/// What of a vCPU decides about its vector registers. No length is no feature.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct arm64_vl_config {
    /// SVE vector lengths.
    pub sve: arm64_vl_lengths,
    /// SME vector lengths.
    pub sme: arm64_vl_lengths,
    /// Whether the guest has SME2.
    pub sme2: bool,
    /// Whether all instructions can be used in streaming mode.
    pub fa64: bool,
}

/// How much state there is.
#[repr(C)]
pub struct arm64_vl_size {
    /// The number of registers.
    pub registers: usize,
    /// Bytes that are transferred to read all of them once.
    pub bytes: usize,
    /// Bytes of these that count.
    pub significant: usize,
}

/// What a machine gives to processes and to vCPUs.
#[repr(C)]
pub struct arm64_vl_info {
    /// sizeof() this struct, which the caller sets: a later library can have more members.
    pub struct_size: usize,
    /// What a process can have.
    pub host: arm64_vl_config,
    /// The SVE length that a program starts with in bytes, 0 if it is not known.
    pub sve_default: u32,
    /// The SME length that a program starts with in bytes, 0 if it is not known.
    pub sme_default: u32,
    /// Whether there is a KVM.
    pub has_kvm: bool,
    /// The greatest vCPU.
    pub vcpu: arm64_vl_config,
}

/// What a thread has of a kind of vector state.
#[repr(C)]
pub enum arm64_vl_presence {
    /// The machine has nothing of the kind.
    ARM64_VL_NOWHERE = 0,
    /// Nothing: the mode is another one, or ZA is off.
    ARM64_VL_OFF = 1,
    /// The part of it that is V0 to V31.
    ARM64_VL_FPSIMD = 2,
    /// All of it.
    ARM64_VL_FULL = 3,
}

/// Vector state of one kind.
#[repr(C)]
pub struct arm64_vl_view {
    /// What the thread has of it.
    pub presence: arm64_vl_presence,
    /// The vector length in bytes.
    pub length: u32,
    /// The greatest one that the thread can have.
    pub greatest: u32,
    /// Bytes of the regset now, with its header of 16.
    pub size: usize,
    /// The bytes that it can have.
    pub greatest_size: usize,
    /// Whether a child that is executed starts with the length.
    pub inherit: bool,
}

/// The vector state of a thread.
#[repr(C)]
pub struct arm64_vl_thread {
    /// sizeof() this struct, which the caller sets: a later library can have more members.
    pub struct_size: usize,
    /// Whether it is in streaming mode.
    pub streaming: bool,
    /// NT_ARM_SVE.
    pub sve: arm64_vl_view,
    /// NT_ARM_SSVE.
    pub ssve: arm64_vl_view,
    /// NT_ARM_ZA.
    pub za: arm64_vl_view,
    /// Bytes of ZT0, 0 on a machine without SME2.
    pub zt_size: usize,
    /// Whether the machine has FPMR.
    pub has_fpmr: bool,
    /// FPMR.
    pub fpmr: u64,
    /// Whether the machine has TPIDR2_EL0.
    pub has_tpidr2: bool,
    /// TPIDR2_EL0.
    pub tpidr2: u64,
    /// Whether the kernel has a tagged address control.
    pub has_tagged_addr_ctrl: bool,
    /// The tagged address control.
    pub tagged_addr_ctrl: u64,
}

/// A register that was not restored.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct arm64_vl_failed {
    /// Its id.
    pub id: u64,
    /// The errno of its write, 0 for one that the vCPU has and that was not saved.
    pub error: c_int,
}

/// The description of a machine.
pub struct arm64_vl_machine {
    machine: Machine,
    name: CString,
    missing: Vec<CString>,
}

/// What the last call that failed has to say.
#[derive(Default)]
struct Last {
    words: CString,
    errno: c_int,
    failed: Vec<arm64_vl_failed>,
}

thread_local! {
    static LAST: RefCell<Last> = RefCell::default();
}

/// Text for C, which ends at a zero byte.
fn c_string(text: &str) -> CString {
    CString::new(text.replace('\0', " ")).unwrap_or_default()
}

/// Why a function does not do what it should.
enum Failure {
    Null(&'static str),
    Error(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

type Done<T = ()> = Result<T, Failure>;

fn errno_of(error: &io::Error) -> c_int {
    error.raw_os_error().unwrap_or(libc::EIO)
}

fn status_of(error: &Error) -> arm64_vl_status {
    match error {
        Error::Length(_) | Error::Config(_) => ARM64_VL_INVALID,
        Error::Format { .. } | Error::Version { .. } => ARM64_VL_FORMAT,
        Error::Missing(_) => ARM64_VL_MISSING,
        Error::Kernel { .. } | Error::NotAVcpu(_) => ARM64_VL_KERNEL,
        Error::Configuration { .. } | Error::NotInitialized | Error::NotFinalized => {
            ARM64_VL_CONFIGURATION
        }
        Error::Partial { .. } => ARM64_VL_PARTIAL,
    }
}

impl Last {
    fn of(error: &Error) -> Self {
        let mut last = Self {
            words: c_string(&error.to_string()),
            ..Self::default()
        };
        match error {
            Error::Kernel { error, .. } | Error::NotAVcpu(error) => last.errno = errno_of(error),
            Error::NotInitialized => last.errno = libc::ENOEXEC,
            Error::NotFinalized => last.errno = libc::EPERM,
            Error::Partial {
                failed, not_given, ..
            } => {
                let written = failed
                    .iter()
                    .map(|write| (write.id, errno_of(&write.error)));
                let all = written.chain(not_given.iter().map(|id| (*id, 0)));
                last.failed = all
                    .map(|(id, error)| arm64_vl_failed { id, error })
                    .collect();
                last.errno = last.failed.first().map_or(0, |first| first.error);
            }
            _ => {}
        }
        last
    }
}

/// Runs what a function does, and makes a status of how it went.
fn guard(body: impl FnOnce() -> Done) -> c_int {
    let words = |words: &str| Last {
        words: c_string(words),
        ..Last::default()
    };
    let (status, last) = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => return ARM64_VL_OK as c_int,
        Ok(Err(Failure::Null(what))) => (ARM64_VL_NULL, words(what)),
        Ok(Err(Failure::Error(error))) => (status_of(&error), Last::of(&error)),
        Err(_) => (ARM64_VL_BUG, words("a bug in arm64-vl")),
    };
    LAST.with(|old| *old.borrow_mut() = last);
    status as c_int
}

/// # Safety
///
/// `text` is null or a C string.
unsafe fn str_of<'a>(text: *const c_char) -> Done<&'a str> {
    if text.is_null() {
        return Err(Failure::Null("there is no text"));
    }
    // SAFETY: The caller vouches for it.
    let text = unsafe { CStr::from_ptr(text) };
    Ok(text
        .to_str()
        .map_err(|_| Error::Config("the text is not UTF-8"))?)
}

/// # Safety
///
/// `pointer` is null or valid.
unsafe fn given<'a, T>(pointer: *const T) -> Done<&'a T> {
    // SAFETY: The caller vouches for it.
    unsafe { pointer.as_ref() }.ok_or(Failure::Null("an argument is NULL"))
}

/// Where the answer goes. Before anything is done: what is done for nobody would be lost.
fn room_for<T>(out: *mut T) -> Done<NonNull<T>> {
    NonNull::new(out).ok_or(Failure::Null("there is no room for the answer"))
}

/// Stores a struct of which the caller knows as much as it says, in the first member, which is its size.
///
/// # Safety
///
/// `out` is valid for as many bytes as its first member says.
unsafe fn store_sized<T>(out: NonNull<T>, mut answer: T) -> Done {
    // SAFETY: The first member of what is stored here is its size.
    let room = unsafe { out.cast::<usize>().read() };
    let known = room.min(size_of::<T>());
    if known < size_of::<usize>() {
        return Err(Failure::Null("the member struct_size is not set"));
    }
    // SAFETY: As above: the answer keeps what the caller has said.
    unsafe { (&raw mut answer).cast::<usize>().write(room) };
    // SAFETY: Both have as many bytes.
    unsafe {
        ptr::copy_nonoverlapping((&raw const answer).cast::<u8>(), out.cast().as_ptr(), known)
    };
    Ok(())
}

/// Stores as many as there is room for, and how many there are.
///
/// # Safety
///
/// `out` is null or valid for `room`.
unsafe fn store_all<T: Copy>(all: &[T], out: *mut T, room: usize) -> usize {
    if !out.is_null() {
        for (n, one) in all.iter().take(room).enumerate() {
            // SAFETY: n is less than room.
            unsafe { out.add(n).write(*one) };
        }
    }
    all.len()
}

/// # Safety
///
/// `features` is null or valid for 7 numbers.
unsafe fn vcpu_of(vcpu: &Fd, features: *const [u32; 7]) -> VcpuRef<'_> {
    let vcpu = VcpuRef::new(vcpu);
    // SAFETY: The caller vouches for it.
    match unsafe { features.as_ref() } {
        Some(features) => vcpu.with_features(*features),
        None => vcpu,
    }
}

impl From<Config> for arm64_vl_config {
    fn from(config: Config) -> Self {
        let words = |lengths: Lengths| arm64_vl_lengths {
            words: lengths.register(),
        };
        Self {
            sve: words(config.sve),
            sme: words(config.sme),
            sme2: config.sme2,
            fa64: config.fa64,
        }
    }
}

impl From<arm64_vl_config> for Config {
    fn from(config: arm64_vl_config) -> Self {
        Self {
            sve: Lengths::from_register(config.sve.words),
            sme: Lengths::from_register(config.sme.words),
            sme2: config.sme2,
            fa64: config.fa64,
        }
    }
}

impl From<Size> for arm64_vl_size {
    fn from(size: Size) -> Self {
        Self {
            registers: size.registers,
            bytes: size.bytes,
            significant: size.significant,
        }
    }
}

impl From<Option<VectorView>> for arm64_vl_view {
    fn from(view: Option<VectorView>) -> Self {
        use arm64_vl_presence::*;
        let presence = match view.map(|view| view.presence) {
            None => ARM64_VL_NOWHERE,
            Some(Presence::Off) => ARM64_VL_OFF,
            Some(Presence::Fpsimd) => ARM64_VL_FPSIMD,
            Some(Presence::Full) => ARM64_VL_FULL,
        };
        let number = |of: fn(&VectorView) -> usize| view.as_ref().map_or(0, of);
        Self {
            presence,
            length: view.map_or(0, |view| view.length),
            greatest: view.map_or(0, |view| view.greatest),
            size: number(|view| view.size),
            greatest_size: number(|view| view.greatest_size),
            inherit: view.is_some_and(|view| view.inherit),
        }
    }
}

/// What was wrong in the last call of this thread that failed. Valid until the next call.
#[no_mangle]
pub extern "C" fn arm64_vl_error() -> *const c_char {
    LAST.with(|last| last.borrow().words.as_ptr())
}

/// The errno of the last call of this thread that failed, 0 if it was not the kernel's.
#[no_mangle]
pub extern "C" fn arm64_vl_errno() -> c_int {
    LAST.with(|last| last.borrow().errno)
}

/// Stores the registers that the last call of this thread did not restore, if it gave ARM64_VL_PARTIAL, as many
/// as there is room for. Returns how many there are.
///
/// # Safety
///
/// `out` is NULL or valid for `room`.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_failed_registers(
    out: *mut arm64_vl_failed,
    room: usize,
) -> usize {
    // SAFETY: The caller vouches for it.
    LAST.with(|last| unsafe { store_all(&last.borrow().failed, out, room) })
}

/// Stores the name of a register as a C string, as much as there is room for. Returns its length.
///
/// # Safety
///
/// `out` is NULL or valid for `room` bytes.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_register_name(id: u64, out: *mut c_char, room: usize) -> usize {
    let name: Vec<_> = register_name(id)
        .bytes()
        .map(|byte| byte as c_char)
        .collect();
    if room > 0 && !out.is_null() {
        // SAFETY: The caller vouches for it; the last byte stays free.
        unsafe { store_all(&name, out, room - 1) };
        // SAFETY: The index is less than room.
        unsafe { out.add(name.len().min(room - 1)).write(0) };
    }
    name.len()
}

fn boxed(machine: Machine) -> *mut arm64_vl_machine {
    Box::into_raw(Box::new(arm64_vl_machine {
        name: c_string(&machine.name),
        missing: machine.missing.iter().map(|what| c_string(what)).collect(),
        machine,
    }))
}

/// Describes this machine. The caller frees *machine by arm64_vl_machine_free().
///
/// # Safety
///
/// `machine` is NULL or valid for a write.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_machine_read(machine: *mut *mut arm64_vl_machine) -> c_int {
    guard(|| {
        let machine = room_for(machine)?;
        let read = boxed(Machine::read()?);
        // SAFETY: The caller vouches for it.
        unsafe { machine.write(read) };
        Ok(())
    })
}

/// Describes what the KVM of a descriptor of /dev/kvm gives, and nothing else of the machine: for a program
/// that cannot open it any more. The caller frees *machine by arm64_vl_machine_free().
///
/// # Safety
///
/// `machine` is NULL or valid for a write.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_machine_of_kvm(
    kvm: c_int,
    machine: *mut *mut arm64_vl_machine,
) -> c_int {
    guard(|| {
        let machine = room_for(machine)?;
        let read = boxed(Machine::with_offer("", Offer::of(&Fd(kvm))?));
        // SAFETY: The caller vouches for it.
        unsafe { machine.write(read) };
        Ok(())
    })
}

/// # Safety
///
/// `machine` is NULL or comes from arm64_vl_machine_read() or arm64_vl_machine_of_kvm().
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_machine_free(machine: *mut arm64_vl_machine) {
    if !machine.is_null() {
        // SAFETY: It was made by Box::into_raw(), and the caller gives it up.
        drop(unsafe { Box::from_raw(machine) });
    }
}

/// The name of the machine, valid as long as the description is. NULL of NULL.
///
/// # Safety
///
/// `machine` is NULL or valid.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_machine_name(machine: *const arm64_vl_machine) -> *const c_char {
    // SAFETY: The caller vouches for it.
    unsafe { machine.as_ref() }.map_or(ptr::null(), |machine| machine.name.as_ptr())
}

/// The nth of what is not there, with its reason; NULL behind the last.
///
/// # Safety
///
/// `machine` is NULL or valid.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_machine_missing(
    machine: *const arm64_vl_machine,
    n: usize,
) -> *const c_char {
    // SAFETY: The caller vouches for it.
    let what = unsafe { machine.as_ref() }.and_then(|machine| machine.missing.get(n));
    what.map_or(ptr::null(), |what| what.as_ptr())
}

/// What the machine gives to processes and to vCPUs.
///
/// # Safety
///
/// `machine` is NULL or valid, `info` is NULL or valid for what its struct_size says.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_machine_info(
    machine: *const arm64_vl_machine,
    info: *mut arm64_vl_info,
) -> c_int {
    guard(|| {
        let info = room_for(info)?;
        // SAFETY: The caller vouches for it.
        let Machine { host, kvm, .. } = &unsafe { given(machine) }?.machine;
        let config = Config {
            sve: host.sve.lengths,
            sme: host.sme.lengths,
            sme2: host.sme2,
            fa64: host.fa64,
        };
        let answer = arm64_vl_info {
            struct_size: 0,
            host: config.into(),
            sve_default: host.sve.default.unwrap_or(0),
            sme_default: host.sme.default.unwrap_or(0),
            has_kvm: kvm.is_some(),
            vcpu: kvm.unwrap_or_default().config().into(),
        };
        // SAFETY: The caller vouches for it.
        unsafe { store_sized(info, answer) }
    })
}

/// The lengths that a vCPU has in common, if the greatest of SVE and of SME are these; 0 is none.
///
/// # Safety
///
/// `machine` is NULL or valid, `common` is NULL or valid for a write.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_machine_common(
    machine: *const arm64_vl_machine,
    sve: u32,
    sme: u32,
    common: *mut arm64_vl_lengths,
) -> c_int {
    guard(|| {
        let common = room_for(common)?;
        // SAFETY: The caller vouches for it.
        let offer = unsafe { given(machine) }?.machine.kvm.unwrap_or_default();
        let words = Matrix::of(&offer).common(Some(sve), Some(sme)).register();
        // SAFETY: The caller vouches for it.
        unsafe { common.write(arm64_vl_lengths { words }) };
        Ok(())
    })
}

/// Stores the lengths of a set in bytes, the shortest first, as many as there is room for. Returns
/// how many there are.
///
/// # Safety
///
/// `lengths` is NULL or valid, `out` is NULL or valid for `room` numbers.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_lengths_bytes(
    lengths: *const arm64_vl_lengths,
    out: *mut u32,
    room: usize,
) -> usize {
    // SAFETY: The caller vouches for it.
    let words = unsafe { lengths.as_ref() }.map(|lengths| lengths.words);
    let all: Vec<_> = Lengths::from_register(words.unwrap_or_default())
        .iter()
        .collect();
    // SAFETY: The caller vouches for it.
    unsafe { store_all(&all, out, room) }
}

/// The greatest vCPU that runs on all machines, from what vlmatrix --json has printed on each.
///
/// # Safety
///
/// `machines` is NULL or valid for `count` C strings or NULLs, `config` is NULL or valid for a write.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_pool(
    machines: *const *const c_char,
    count: usize,
    config: *mut arm64_vl_config,
) -> c_int {
    guard(|| {
        let config = room_for(config)?;
        if machines.is_null() && count > 0 {
            return Err(Failure::Null("there are no machines"));
        }
        let machine = |n| {
            // SAFETY: n is less than count; the caller vouches for the rest.
            let text = unsafe { str_of(*machines.add(n)) }?;
            Ok(Machine::from_json(text)?)
        };
        let machines = (0..count).map(machine).collect::<Done<Vec<_>>>()?;
        // SAFETY: The caller vouches for it.
        unsafe { config.write(pool(&machines)?.into()) };
        Ok(())
    })
}

/// Why a vCPU like this does not run on a machine, of which vlmatrix --json has printed the description: a line
/// each, and none where it runs. The caller frees *reasons by arm64_vl_free().
///
/// # Safety
///
/// `config` is NULL or valid, `machine` is NULL or a C string, `reasons` is NULL or valid for a write.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_config_why_not(
    config: *const arm64_vl_config,
    machine: *const c_char,
    reasons: *mut *mut c_char,
) -> c_int {
    guard(|| {
        let reasons = room_for(reasons)?;
        // SAFETY: The caller vouches for it.
        let config = Config::from(*unsafe { given(config) }?);
        config.check()?;
        // SAFETY: The caller vouches for it.
        let machine = Machine::from_json(unsafe { str_of(machine) }?)?;
        let lines = config.why_not(&machine).into_iter();
        let text: String = lines.map(|reason| format!("{reason}\n")).collect();
        // SAFETY: The caller vouches for it.
        unsafe { reasons.write(c_string(&text).into_raw()) };
        Ok(())
    })
}

/// How much vector state a vCPU has in the mode of a value of SVCR. Of all registers of a vCPU tells
/// arm64_vl_machine_list_bytes().
///
/// # Safety
///
/// `config` is NULL or valid, `size` is NULL or valid for a write.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_config_size(
    config: *const arm64_vl_config,
    svcr: u64,
    size: *mut arm64_vl_size,
) -> c_int {
    guard(|| {
        let size = room_for(size)?;
        // SAFETY: The caller vouches for it.
        let config = Config::from(*unsafe { given(config) }?);
        config.check()?;
        let svcr = *config
            .modes()
            .iter()
            .find(|mode| mode.bits() == svcr)
            .ok_or(Error::Config("it has no such mode"))?;
        // SAFETY: The caller vouches for it.
        unsafe { size.write(config.size(svcr).into()) };
        Ok(())
    })
}

/// The maximum of vector state over all modes.
///
/// # Safety
///
/// `config` is NULL or valid, `size` is NULL or valid for a write.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_config_greatest_size(
    config: *const arm64_vl_config,
    size: *mut arm64_vl_size,
) -> c_int {
    guard(|| {
        let size = room_for(size)?;
        // SAFETY: The caller vouches for it.
        let config = Config::from(*unsafe { given(config) }?);
        config.check()?;
        // SAFETY: The caller vouches for it.
        unsafe { size.write(config.greatest_size().into()) };
        Ok(())
    })
}

/// What a vCPU of this machine has besides vector registers, in every mode. A PMU or EL2 adds to it.
/// ARM64_VL_MISSING where the machine has no such vCPU.
///
/// # Safety
///
/// `machine` and `config` are NULL or valid, `size` is NULL or valid for a write.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_machine_others(
    machine: *const arm64_vl_machine,
    config: *const arm64_vl_config,
    size: *mut arm64_vl_size,
) -> c_int {
    guard(|| {
        let size = room_for(size)?;
        // SAFETY: The caller vouches for it.
        let (offer, config) = unsafe { offer_and_config(machine, config) }?;
        // SAFETY: The caller vouches for it.
        unsafe { size.write(offer.others(&config).into()) };
        Ok(())
    })
}

/// The bytes to allocate for struct kvm_reg_list, so that it has room for all registers of a vCPU in any mode.
/// A PMU or EL2 adds to it. ARM64_VL_MISSING where the machine has no such vCPU.
///
/// # Safety
///
/// `machine` and `config` are NULL or valid, `bytes` is NULL or valid for a write.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_machine_list_bytes(
    machine: *const arm64_vl_machine,
    config: *const arm64_vl_config,
    bytes: *mut usize,
) -> c_int {
    guard(|| {
        let bytes = room_for(bytes)?;
        // SAFETY: The caller vouches for it.
        let (offer, config) = unsafe { offer_and_config(machine, config) }?;
        // SAFETY: The caller vouches for it.
        unsafe { bytes.write(offer.list_bytes(&config).unwrap_or(0)) };
        Ok(())
    })
}

/// What a machine offers, if that is such a vCPU.
///
/// # Safety
///
/// `machine` and `config` are null or valid.
unsafe fn offer_and_config(
    machine: *const arm64_vl_machine,
    config: *const arm64_vl_config,
) -> Done<(Offer, Config)> {
    // SAFETY: The caller vouches for it.
    let (machine, config) = unsafe { (given(machine)?, Config::from(*given(config)?)) };
    config.check()?;
    let offer = machine.machine.kvm.unwrap_or_default();
    if offer.list_bytes(&config).is_none() {
        return Err(Error::Missing("this machine has no such vCPU".into()).into());
    }
    Ok((offer, config))
}

/// A descriptor that the caller keeps open.
struct Fd(RawFd);

impl AsRawFd for Fd {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

/// Reads all registers of a vCPU as JSON, which the caller frees by arm64_vl_free(). features is NULL, or what
/// KVM_ARM_VCPU_INIT was given, which is saved as well.
///
/// # Safety
///
/// `features` is NULL or valid for 7 numbers, `json` is NULL or valid for a write.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_save(
    vcpu: c_int,
    features: *const [u32; 7],
    json: *mut *mut c_char,
) -> c_int {
    guard(|| {
        let json = room_for(json)?;
        // SAFETY: The caller vouches for it.
        let saved = save(&unsafe { vcpu_of(&Fd(vcpu), features) })?;
        let text = c_string(&saved.to_json()?);
        // SAFETY: The caller vouches for it.
        unsafe { json.write(text.into_raw()) };
        Ok(())
    })
}

/// Writes saved registers to a vCPU that is initialized with the same features and not finalized. features is
/// NULL, or what KVM_ARM_VCPU_INIT was given, which is compared. Any status but ARM64_VL_OK: it must not run; of
/// ARM64_VL_PARTIAL arm64_vl_failed_registers() tells more.
///
/// # Safety
///
/// `features` is NULL or valid for 7 numbers, `json` is NULL or a C string.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_restore(
    vcpu: c_int,
    features: *const [u32; 7],
    json: *const c_char,
) -> c_int {
    guard(|| {
        // SAFETY: The caller vouches for it.
        let saved = SavedVcpu::from_json(unsafe { str_of(json) }?)?;
        // SAFETY: The caller vouches for it.
        Ok(restore(&unsafe { vcpu_of(&Fd(vcpu), features) }, &saved)?)
    })
}

/// Stores the ids of the registers that do not read as they were saved, as many as there is room for, and how
/// many there are. Counters go on meanwhile.
///
/// # Safety
///
/// `json` is NULL or a C string, `ids` is NULL or valid for `room` numbers, `count` is NULL or valid for a write.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_differences(
    vcpu: c_int,
    json: *const c_char,
    ids: *mut u64,
    room: usize,
    count: *mut usize,
) -> c_int {
    guard(|| {
        let count = room_for(count)?;
        // SAFETY: The caller vouches for it.
        let saved = SavedVcpu::from_json(unsafe { str_of(json) }?)?;
        let differ = differences(&VcpuRef::new(&Fd(vcpu)), &saved)?;
        // SAFETY: The caller vouches for it.
        unsafe { count.write(store_all(&differ, ids, room)) };
        Ok(())
    })
}

/// Stores the ids of a saved vCPU in the order in which they are restored, as many as there is room for, and how
/// many there are.
///
/// # Safety
///
/// `json` is NULL or a C string, `ids` is NULL or valid for `room` numbers, `count` is NULL or valid for a write.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_saved_ids(
    json: *const c_char,
    ids: *mut u64,
    room: usize,
    count: *mut usize,
) -> c_int {
    guard(|| {
        let count = room_for(count)?;
        // SAFETY: The caller vouches for it.
        let saved = SavedVcpu::from_json(unsafe { str_of(json) }?)?;
        let all: Vec<_> = saved.registers().map(|(id, _)| id).collect();
        // SAFETY: The caller vouches for it.
        unsafe { count.write(store_all(&all, ids, room)) };
        Ok(())
    })
}

/// Stores the value of a register of a saved vCPU, the lowest byte first, as much as there is room for, and how
/// many bytes it has. ARM64_VL_MISSING if it is not there.
///
/// # Safety
///
/// `json` is NULL or a C string, `value` is NULL or valid for `room` bytes, `bytes` is NULL or valid for a write.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_saved_value(
    json: *const c_char,
    id: u64,
    value: *mut u8,
    room: usize,
    bytes: *mut usize,
) -> c_int {
    guard(|| {
        let bytes = room_for(bytes)?;
        // SAFETY: The caller vouches for it.
        let saved = SavedVcpu::from_json(unsafe { str_of(json) }?)?;
        let missing = || Error::Missing(format!("{} was not saved", register_name(id)));
        let found = saved.value(id).ok_or_else(missing)?;
        // SAFETY: The caller vouches for it.
        unsafe { bytes.write(store_all(found, value, room)) };
        Ok(())
    })
}

/// # Safety
///
/// `text` is NULL or comes from arm64_vl_save() or arm64_vl_config_why_not().
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_free(text: *mut c_char) {
    if !text.is_null() {
        // SAFETY: It was made by CString::into_raw(), and the caller gives it up.
        drop(unsafe { CString::from_raw(text) });
    }
}

fn thread_of(view: ThreadView) -> arm64_vl_thread {
    arm64_vl_thread {
        struct_size: 0,
        streaming: view.streaming,
        sve: view.sve.into(),
        ssve: view.ssve.into(),
        za: view.za.into(),
        zt_size: view.zt_size.unwrap_or(0),
        has_fpmr: view.fpmr.is_some(),
        fpmr: view.fpmr.unwrap_or(0),
        has_tpidr2: view.tpidr2.is_some(),
        tpidr2: view.tpidr2.unwrap_or(0),
        has_tagged_addr_ctrl: view.tagged_addr_ctrl.is_some(),
        tagged_addr_ctrl: view.tagged_addr_ctrl.unwrap_or(0),
    }
}

/// The vector state of a thread, which is stopped for a moment.
///
/// # Safety
///
/// `thread` is NULL or valid for what its struct_size says.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_thread_read(tid: c_int, thread: *mut arm64_vl_thread) -> c_int {
    guard(|| {
        let thread = room_for(thread)?;
        // SAFETY: The caller vouches for it.
        unsafe { store_sized(thread, thread_of(ThreadView::of(tid)?)) }
    })
}

/// The vector state of a thread that the caller traces and has stopped.
///
/// # Safety
///
/// `thread` is NULL or valid for what its struct_size says.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_thread_read_stopped(
    tid: c_int,
    thread: *mut arm64_vl_thread,
) -> c_int {
    guard(|| {
        let thread = room_for(thread)?;
        // SAFETY: The caller vouches for it.
        unsafe { store_sized(thread, thread_of(ThreadView::of_stopped(tid)?)) }
    })
}
