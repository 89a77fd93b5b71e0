// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! The C API. `include/arm64-vl.h` is made of this file by cbindgen.
//!
//! No panic crosses it: a function that can fail gives a status, and the words for it are kept for
//! the thread.

#![allow(non_camel_case_types)]

use crate::{
    pool, restore, save, Config, Error, Lengths, Machine, Matrix, Presence, SavedVcpu, Size,
    ThreadView, VcpuRef, VectorView,
};
use std::{
    cell::RefCell,
    ffi::{c_char, c_int, CStr, CString},
    os::fd::{AsRawFd, RawFd},
    panic::{catch_unwind, AssertUnwindSafe},
    ptr,
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
}

/// The vector state of a thread.
#[repr(C)]
pub struct arm64_vl_thread {
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
}

/// The description of a machine.
pub struct arm64_vl_machine {
    machine: Machine,
    name: CString,
    missing: Vec<CString>,
}

thread_local! {
    static LAST: RefCell<CString> = RefCell::default();
}

/// Text for C, which ends at a zero byte.
fn c_string(text: &str) -> CString {
    CString::new(text.replace('\0', " ")).unwrap_or_default()
}

fn fail(status: arm64_vl_status, words: &str) -> c_int {
    LAST.with(|last| *last.borrow_mut() = c_string(words));
    status as c_int
}

/// Runs what a function does, and makes a status of how it went.
fn guard(body: impl FnOnce() -> crate::Result) -> c_int {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => ARM64_VL_OK as c_int,
        Ok(Err(error)) => {
            let status = match &error {
                Error::Length(_) | Error::Config(_) => ARM64_VL_INVALID,
                Error::Format { .. } | Error::Version { .. } => ARM64_VL_FORMAT,
                Error::Missing(_) => ARM64_VL_MISSING,
                Error::Kernel { .. } | Error::NotAVcpu(_) => ARM64_VL_KERNEL,
                Error::Configuration { .. } | Error::NotInitialized | Error::NotFinalized => {
                    ARM64_VL_CONFIGURATION
                }
                Error::Partial { .. } => ARM64_VL_PARTIAL,
            };
            fail(status, &error.to_string())
        }
        Err(_) => fail(ARM64_VL_BUG, "a bug in arm64-vl"),
    }
}

/// # Safety
///
/// `text` is null or a C string.
unsafe fn str_of<'a>(text: *const c_char) -> crate::Result<&'a str> {
    if text.is_null() {
        return Err(Error::Config("there is no text"));
    }
    // SAFETY: The caller vouches for it.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str()
        .map_err(|_| Error::Config("the text is not UTF-8"))
}

/// # Safety
///
/// `out` is null or valid for a write.
unsafe fn store<T>(out: *mut T, value: T) -> crate::Result {
    if out.is_null() {
        return Err(Error::Config("there is no room for the answer"));
    }
    // SAFETY: The caller vouches for it.
    unsafe { out.write(value) };
    Ok(())
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
        }
    }
}

/// What was wrong in the last call of this thread that failed. Valid until the next call.
#[no_mangle]
pub extern "C" fn arm64_vl_error() -> *const c_char {
    LAST.with(|last| last.borrow().as_ptr())
}

/// Describes this machine. The caller frees *machine by arm64_vl_machine_free().
///
/// # Safety
///
/// `machine` is null or valid for a write.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_machine_read(machine: *mut *mut arm64_vl_machine) -> c_int {
    guard(|| {
        let read = Machine::read()?;
        let boxed = Box::new(arm64_vl_machine {
            name: c_string(&read.name),
            missing: read.missing.iter().map(|what| c_string(what)).collect(),
            machine: read,
        });
        // SAFETY: The caller vouches for it.
        unsafe { store(machine, Box::into_raw(boxed)) }
    })
}

/// # Safety
///
/// `machine` is null or comes from arm64_vl_machine_read().
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_machine_free(machine: *mut arm64_vl_machine) {
    if !machine.is_null() {
        // SAFETY: It was made by Box::into_raw(), and the caller gives it up.
        drop(unsafe { Box::from_raw(machine) });
    }
}

/// The name of the machine, valid as long as the description is.
///
/// # Safety
///
/// `machine` comes from arm64_vl_machine_read().
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_machine_name(machine: *const arm64_vl_machine) -> *const c_char {
    // SAFETY: The caller vouches for it.
    unsafe { (*machine).name.as_ptr() }
}

/// The nth of what is not there, with its reason; NULL behind the last.
///
/// # Safety
///
/// `machine` comes from arm64_vl_machine_read().
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_machine_missing(
    machine: *const arm64_vl_machine,
    n: usize,
) -> *const c_char {
    // SAFETY: The caller vouches for it.
    let missing = unsafe { &(*machine).missing };
    missing.get(n).map_or(ptr::null(), |what| what.as_ptr())
}

/// What the machine gives to processes and to vCPUs.
///
/// # Safety
///
/// `machine` comes from arm64_vl_machine_read(), `info` is null or valid for a write.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_machine_info(
    machine: *const arm64_vl_machine,
    info: *mut arm64_vl_info,
) -> c_int {
    guard(|| {
        // SAFETY: The caller vouches for it.
        let Machine { host, kvm, .. } = unsafe { &(*machine).machine };
        let offer = kvm.unwrap_or_default();
        let config = Config {
            sve: host.sve.lengths,
            sme: host.sme.lengths,
            sme2: host.sme2,
            fa64: host.fa64,
        };
        let answer = arm64_vl_info {
            host: config.into(),
            sve_default: host.sve.default.unwrap_or(0),
            sme_default: host.sme.default.unwrap_or(0),
            has_kvm: kvm.is_some(),
            vcpu: offer.config().into(),
        };
        // SAFETY: The caller vouches for it.
        unsafe { store(info, answer) }
    })
}

/// The lengths that a vCPU has in common, if the greatest of SVE and of SME are these; 0 is none.
///
/// # Safety
///
/// `machine` comes from arm64_vl_machine_read(), `common` is null or valid for a write.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_machine_common(
    machine: *const arm64_vl_machine,
    sve: u32,
    sme: u32,
    common: *mut arm64_vl_lengths,
) -> c_int {
    guard(|| {
        // SAFETY: The caller vouches for it.
        let offer = unsafe { &(*machine).machine.kvm }.unwrap_or_default();
        let words = Matrix::of(&offer).common(Some(sve), Some(sme)).register();
        // SAFETY: The caller vouches for it.
        unsafe { store(common, arm64_vl_lengths { words }) }
    })
}

/// Stores the lengths of a set in bytes, the shortest first, as many as there is room for. Returns
/// how many there are.
///
/// # Safety
///
/// `lengths` is valid, `out` is valid for `room` numbers or null with no room.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_lengths_bytes(
    lengths: *const arm64_vl_lengths,
    out: *mut u32,
    room: usize,
) -> usize {
    // SAFETY: The caller vouches for it.
    let set = Lengths::from_register(unsafe { (*lengths).words });
    for (n, length) in set.iter().take(room).enumerate() {
        // SAFETY: n is less than room.
        unsafe { out.add(n).write(length) };
    }
    set.len()
}

/// The greatest vCPU that runs on all machines, from what vlmatrix --json has printed on each.
///
/// # Safety
///
/// `machines` is valid for `count` C strings, `config` is null or valid for a write.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_pool(
    machines: *const *const c_char,
    count: usize,
    config: *mut arm64_vl_config,
) -> c_int {
    guard(|| {
        let machine = |n| {
            // SAFETY: n is less than count; the caller vouches for the rest.
            let text = unsafe { str_of(*machines.add(n)) }?;
            Machine::from_json(text)
        };
        let machines = (0..count).map(machine).collect::<crate::Result<Vec<_>>>()?;
        // SAFETY: The caller vouches for it.
        unsafe { store(config, pool(&machines)?.into()) }
    })
}

/// How much vector state a vCPU has in the mode of a value of SVCR. Of all registers of a vCPU tells
/// arm64_vl_machine_list_bytes().
///
/// # Safety
///
/// `config` is valid, `size` is null or valid for a write.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_config_size(
    config: *const arm64_vl_config,
    svcr: u64,
    size: *mut arm64_vl_size,
) -> c_int {
    guard(|| {
        // SAFETY: The caller vouches for it.
        let config = Config::from(unsafe { *config });
        config.check()?;
        let svcr = *config
            .modes()
            .iter()
            .find(|mode| mode.bits() == svcr)
            .ok_or(Error::Config("it has no such mode"))?;
        // SAFETY: The caller vouches for it.
        unsafe { store(size, config.size(svcr).into()) }
    })
}

/// The maximum of vector state over all modes.
///
/// # Safety
///
/// `config` is valid, `size` is null or valid for a write.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_config_greatest_size(
    config: *const arm64_vl_config,
    size: *mut arm64_vl_size,
) -> c_int {
    guard(|| {
        // SAFETY: The caller vouches for it.
        let config = Config::from(unsafe { *config });
        config.check()?;
        // SAFETY: The caller vouches for it.
        unsafe { store(size, config.greatest_size().into()) }
    })
}

/// The bytes to allocate for struct kvm_reg_list, so that it has room for all registers of a vCPU in any mode.
/// A PMU or EL2 adds to it. ARM64_VL_MISSING where the machine has no such vCPU.
///
/// # Safety
///
/// `machine` comes from arm64_vl_machine_read(), `config` is valid, `bytes` is null or valid for a write.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_machine_list_bytes(
    machine: *const arm64_vl_machine,
    config: *const arm64_vl_config,
    bytes: *mut usize,
) -> c_int {
    guard(|| {
        // SAFETY: The caller vouches for it.
        let (machine, config) = unsafe { (&*machine, Config::from(*config)) };
        config.check()?;
        let offer = machine.machine.kvm.unwrap_or_default();
        let missing = || Error::Missing("no such vCPU here".into());
        // SAFETY: The caller vouches for it.
        unsafe { store(bytes, offer.list_bytes(&config).ok_or_else(missing)?) }
    })
}

/// A descriptor that the caller keeps open.
struct Fd(RawFd);

impl AsRawFd for Fd {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

/// Reads all registers of a vCPU as JSON, which the caller frees by arm64_vl_free().
///
/// # Safety
///
/// `json` is null or valid for a write.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_save(vcpu: c_int, json: *mut *mut c_char) -> c_int {
    guard(|| {
        let saved = save(&VcpuRef::new(&Fd(vcpu)))?;
        let text = c_string(&saved.to_json()?);
        // SAFETY: The caller vouches for it.
        unsafe { store(json, text.into_raw()) }
    })
}

/// Writes saved registers to a vCPU that is initialized with the same features and not finalized.
/// Any status but ARM64_VL_OK: it must not run.
///
/// # Safety
///
/// `json` is null or a C string.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_restore(vcpu: c_int, json: *const c_char) -> c_int {
    guard(|| {
        // SAFETY: The caller vouches for it.
        let saved = SavedVcpu::from_json(unsafe { str_of(json) }?)?;
        restore(&VcpuRef::new(&Fd(vcpu)), &saved)
    })
}

/// # Safety
///
/// `json` is null or comes from arm64_vl_save().
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_free(json: *mut c_char) {
    if !json.is_null() {
        // SAFETY: It was made by CString::into_raw(), and the caller gives it up.
        drop(unsafe { CString::from_raw(json) });
    }
}

/// The vector state of a thread, which is stopped for a moment.
///
/// # Safety
///
/// `thread` is null or valid for a write.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_thread_read(tid: c_int, thread: *mut arm64_vl_thread) -> c_int {
    guard(|| {
        let view = ThreadView::of(tid)?;
        let answer = arm64_vl_thread {
            streaming: view.streaming,
            sve: view.sve.into(),
            ssve: view.ssve.into(),
            za: view.za.into(),
            zt_size: view.zt_size.unwrap_or(0),
        };
        // SAFETY: The caller vouches for it.
        unsafe { store(thread, answer) }
    })
}
