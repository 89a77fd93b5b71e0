// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! The C API. `include/arm64-vl.h` is made of this file by cbindgen.
//!
//! No panic crosses it: a function that can fail gives a status, and the words for it are kept for
//! the thread.

#![allow(non_camel_case_types)]

use crate::{
    around_restore, blame, common_vcpu, diff_lists, diff_vcpus, differences, finish_exit,
    partition, pool, prepare_vcpu, prepare_vm, printable, register_name, restore, restore_clock,
    save, Clock, Config, Error, Lengths, Machine, Matrix, Note, Offer, Presence, Restore,
    SavedVcpu, Size, ThreadNotes, ThreadView, VcpuRef, VectorView,
};
use std::{
    cell::RefCell,
    ffi::{c_char, c_int, CStr, CString},
    io,
    os::fd::{AsRawFd, RawFd},
    panic::{catch_unwind, AssertUnwindSafe},
    ptr::{self, NonNull},
    time::Duration,
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
    /// The id of the thread.
    pub tid: c_int,
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

/// The vector state of a stopped thread with all registers.
pub struct arm64_vl_notes(ThreadNotes);

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

/// Runs what a function does, and stores what it gives: not before it is whole, and only where there is room.
///
/// # Safety
///
/// `out` is null or valid for a write.
unsafe fn answer<T>(out: *mut T, body: impl FnOnce() -> Done<T>) -> c_int {
    guard(|| {
        let out = room_for(out)?;
        let value = body()?;
        // SAFETY: The caller vouches for it.
        unsafe { out.write(value) };
        Ok(())
    })
}

/// The same of text, which the caller frees by arm64_vl_free().
///
/// # Safety
///
/// As [`answer()`].
unsafe fn answer_text(out: *mut *mut c_char, body: impl FnOnce() -> Done<String>) -> c_int {
    // SAFETY: The caller vouches for it.
    unsafe { answer(out, || Ok(c_string(&body()?).into_raw())) }
}

/// The same of as many things as there is room for: how many there are goes to `count`.
///
/// # Safety
///
/// `out` is null or valid for `room`, `count` is null or valid for a write.
unsafe fn answer_all<T: Copy>(
    out: *mut T,
    room: usize,
    count: *mut usize,
    body: impl FnOnce() -> Done<Vec<T>>,
) -> c_int {
    // SAFETY: The caller vouches for it.
    unsafe { answer(count, || Ok(store_all(&body()?, out, room))) }
}

/// # Safety
///
/// `json` is null or a C string.
unsafe fn saved_of(json: *const c_char) -> Done<SavedVcpu> {
    // SAFETY: The caller vouches for it.
    Ok(SavedVcpu::from_json(unsafe { str_of(json) }?)?)
}

/// # Safety
///
/// `json` is null or a C string.
unsafe fn machine_of(json: *const c_char) -> Done<Machine> {
    // SAFETY: The caller vouches for it.
    Ok(Machine::from_json(unsafe { str_of(json) }?)?)
}

/// # Safety
///
/// `machines` is null or valid for `count` C strings or nulls.
unsafe fn machines_of(machines: *const *const c_char, count: usize) -> Done<Vec<Machine>> {
    if machines.is_null() && count > 0 {
        return Err(Failure::Null("there are no machines"));
    }
    // SAFETY: n is less than count; the caller vouches for the rest.
    let machine = |n| unsafe { machine_of(*machines.add(n)) };
    (0..count).map(machine).collect()
}

/// # Safety
///
/// `config` is null or valid.
unsafe fn config_of(config: *const arm64_vl_config) -> Done<Config> {
    // SAFETY: The caller vouches for it.
    let config = Config::from(*unsafe { given(config) }?);
    config.check()?;
    Ok(config)
}

/// A line for each.
fn lines<T: ToString>(all: impl IntoIterator<Item = T>) -> String {
    let lines = all.into_iter().map(|one| one.to_string() + "\n");
    lines.collect()
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
    // SAFETY: The caller vouches for it.
    unsafe { answer(machine, || Ok(boxed(Machine::read()?))) }
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
    // SAFETY: The caller vouches for it.
    unsafe {
        answer(machine, || {
            Ok(boxed(Machine::with_offer("", Offer::of(&Fd(kvm))?)))
        })
    }
}

/// The description as vlmatrix --json prints it, for the functions that take that of this machine or another one. The
/// caller frees *json by arm64_vl_free().
///
/// # Safety
///
/// `machine` is NULL or valid, `json` is NULL or valid for a write.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_machine_json(
    machine: *const arm64_vl_machine,
    json: *mut *mut c_char,
) -> c_int {
    // SAFETY: The caller vouches for it.
    unsafe { answer_text(json, || Ok(given(machine)?.machine.to_json()?)) }
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
            vcpu: kvm.as_ref().map(Offer::config).unwrap_or_default().into(),
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
    // SAFETY: The caller vouches for it.
    unsafe {
        answer(common, || {
            let offer = given(machine)?.machine.kvm.clone().unwrap_or_default();
            let words = Matrix::of(&offer).common(Some(sve), Some(sme)).register();
            Ok(arm64_vl_lengths { words })
        })
    }
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
    // SAFETY: The caller vouches for it.
    unsafe { answer(config, || Ok(pool(&machines_of(machines, count)?)?.into())) }
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
    // SAFETY: The caller vouches for it.
    unsafe {
        answer_text(reasons, || {
            Ok(lines(config_of(config)?.why_not(&machine_of(machine)?)))
        })
    }
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
    // SAFETY: The caller vouches for it.
    unsafe {
        answer(size, || {
            let config = config_of(config)?;
            let modes = config.modes().iter();
            let mode = modes.into_iter().find(|mode| mode.bits() == svcr);
            let mode = *mode.ok_or(Error::Config("it has no such mode"))?;
            Ok(config.size(mode).into())
        })
    }
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
    // SAFETY: The caller vouches for it.
    unsafe { answer(size, || Ok(config_of(config)?.greatest_size().into())) }
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
    // SAFETY: The caller vouches for it.
    unsafe {
        answer(size, || {
            let (offer, config) = offer_and_config(machine, config)?;
            Ok(offer.others(&config).into())
        })
    }
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
    // SAFETY: The caller vouches for it.
    unsafe {
        answer(bytes, || {
            let (offer, config) = offer_and_config(machine, config)?;
            Ok(offer.list_bytes(&config).unwrap_or(0))
        })
    }
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
    let (machine, config) = unsafe { (given(machine)?, config_of(config)?) };
    let offer = machine.machine.kvm.clone().unwrap_or_default();
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
    // SAFETY: The caller vouches for it.
    unsafe { answer_text(json, || Ok(save(&vcpu_of(&Fd(vcpu), features))?.to_json()?)) }
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
        let (saved, fd) = (unsafe { saved_of(json) }?, Fd(vcpu));
        // SAFETY: The caller vouches for it.
        Ok(restore(&unsafe { vcpu_of(&fd, features) }, &saved)?)
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
    // SAFETY: The caller vouches for it.
    unsafe {
        answer_all(ids, room, count, || {
            Ok(differences(&VcpuRef::new(&Fd(vcpu)), &saved_of(json)?)?)
        })
    }
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
    // SAFETY: The caller vouches for it.
    unsafe {
        answer_all(ids, room, count, || {
            Ok(saved_of(json)?.registers().map(|(id, _)| id).collect())
        })
    }
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
    // SAFETY: The caller vouches for it.
    unsafe {
        answer_all(value, room, bytes, || {
            let missing = || Error::Missing(format!("{} was not saved", register_name(id)));
            let saved = saved_of(json)?;
            Ok(saved.value(id).ok_or_else(missing)?.to_vec())
        })
    }
}

/// The vCPU of a pool with its registers: lines "set ID to VALUE", both in hexadecimal digits, that a VMM does in
/// each new vCPU of these features, and "NAME: WHAT" for what is no good on a machine. The machines are what
/// vlmatrix --json has printed. The caller frees *text by arm64_vl_free().
///
/// # Safety
///
/// `machines` is NULL or valid for `count` C strings or NULLs, `features` is NULL or valid for 7 numbers, `text` is
/// NULL or valid for a write.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_common_vcpu(
    machines: *const *const c_char,
    count: usize,
    features: *const [u32; 7],
    text: *mut *mut c_char,
) -> c_int {
    // SAFETY: The caller vouches for it.
    unsafe {
        answer_text(text, || {
            let features = features.as_ref().copied().unwrap_or_default();
            let common = common_vcpu(&machines_of(machines, count)?, features)?;
            let set = common.set.iter();
            let set = set.map(|(id, value)| format!("set {id:#018x} to {value:#018x}"));
            let unfit = common.fits.iter().filter(|(_, fit)| !fit.is_whole());
            let unfit = unfit.flat_map(|(name, fit)| {
                let text = fit.to_string();
                let name = printable(name);
                let lines = text.lines().map(|line| format!("{name}: {line}"));
                lines.collect::<Vec<_>>()
            });
            Ok(lines(set.chain(unfit)))
        })
    }
}

/// Who keeps the pool of machines from more: a line for each of SVE, SME, SME2 and FA64. The caller frees *text by
/// arm64_vl_free().
///
/// # Safety
///
/// `machines` is NULL or valid for `count` C strings or NULLs, `text` is NULL or valid for a write.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_blame(
    machines: *const *const c_char,
    count: usize,
    text: *mut *mut c_char,
) -> c_int {
    // SAFETY: The caller vouches for it.
    unsafe { answer_text(text, || Ok(lines(blame(&machines_of(machines, count)?)?))) }
}

/// Parts machines into as many pools at most, so that guests have the most: stores the number of its pool for each,
/// of which there are count.
///
/// # Safety
///
/// `machines` is NULL or valid for `count` C strings or NULLs, `group` is NULL or valid for `count` numbers.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_partition(
    machines: *const *const c_char,
    count: usize,
    groups: usize,
    group: *mut usize,
) -> c_int {
    guard(|| {
        let group = room_for(group)?;
        // SAFETY: The caller vouches for it.
        let mut machines = unsafe { machines_of(machines, count) }?;
        // By their place: names need not differ.
        for (n, machine) in machines.iter_mut().enumerate() {
            machine.name = n.to_string();
        }
        for (number, one) in partition(&machines, groups)?.iter().enumerate() {
            for place in one
                .hosts
                .iter()
                .filter_map(|name| name.parse::<usize>().ok())
            {
                // SAFETY: Each place is less than count.
                unsafe { group.add(place).write(number) };
            }
        }
        Ok(())
    })
}

/// The value of QEMU's option -cpu, for a model such as "host". The caller frees *text by arm64_vl_free().
///
/// # Safety
///
/// `config` is NULL or valid, `model` is NULL or a C string, `text` is NULL or valid for a write.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_qemu_cpu(
    config: *const arm64_vl_config,
    model: *const c_char,
    text: *mut *mut c_char,
) -> c_int {
    // SAFETY: The caller vouches for it.
    unsafe { answer_text(text, || Ok(config_of(config)?.qemu_cpu(str_of(model)?)?)) }
}

/// The element "cpu" of a libvirt domain, with the CPU of the host. The caller frees *text by arm64_vl_free().
///
/// # Safety
///
/// `config` is NULL or valid, `text` is NULL or valid for a write.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_libvirt_cpu(
    config: *const arm64_vl_config,
    text: *mut *mut c_char,
) -> c_int {
    // SAFETY: The caller vouches for it.
    unsafe { answer_text(text, || Ok(config_of(config)?.libvirt_cpu()?)) }
}

/// How a saved vCPU fits a machine, before one is made there: a line for each register or field that is missing,
/// extra, refused, lowered or harmless. *whole says whether arm64_vl_restore() will be ARM64_VL_OK, and can be NULL.
/// The caller frees *text by arm64_vl_free().
///
/// # Safety
///
/// `json` and `machine` are NULL or C strings, `whole` is NULL or valid for a write, `text` is NULL or valid for a
/// write.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_saved_why_not(
    json: *const c_char,
    machine: *const c_char,
    whole: *mut bool,
    text: *mut *mut c_char,
) -> c_int {
    // SAFETY: The caller vouches for it.
    unsafe {
        answer_text(text, || {
            let fit = saved_of(json)?.why_not(&machine_of(machine)?);
            if let Some(whole) = NonNull::new(whole) {
                whole.write(fit.is_whole());
            }
            Ok(fit.to_string())
        })
    }
}

/// What two saved vCPUs have each in its own way, a line for each register: "-" is what the first has alone, "+" the
/// second, "!" what both have otherwise. The caller frees *text by arm64_vl_free().
///
/// # Safety
///
/// `first` and `second` are NULL or C strings, `text` is NULL or valid for a write.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_saved_diff(
    first: *const c_char,
    second: *const c_char,
    text: *mut *mut c_char,
) -> c_int {
    // SAFETY: The caller vouches for it.
    unsafe {
        answer_text(text, || {
            let sections = diff_vcpus(&saved_of(first)?, &saved_of(second)?);
            Ok(sections.iter().map(ToString::to_string).collect())
        })
    }
}

/// The same of two lists of ids, as KVM_GET_REG_LIST has them.
///
/// # Safety
///
/// `first` and `second` are NULL or valid for as many numbers, `text` is NULL or valid for a write.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_lists_diff(
    first: *const u64,
    first_count: usize,
    second: *const u64,
    second_count: usize,
    text: *mut *mut c_char,
) -> c_int {
    // SAFETY: The caller vouches for it.
    unsafe {
        answer_text(text, || {
            let (first, second) = (all_of(first, first_count)?, all_of(second, second_count)?);
            let sections = diff_lists(first, second);
            Ok(sections.iter().map(ToString::to_string).collect())
        })
    }
}

/// arm64_vl_restore() that tolerates that the vCPU does not take some registers, or has them and was not given them:
/// those of ids, and with known those that kernels are known to have added or hidden without harm. *report has a line
/// for all that was not the same; the caller frees it by arm64_vl_free().
///
/// # Safety
///
/// `features` is NULL or valid for 7 numbers, `json` is NULL or a C string, `ids` is NULL or valid for `count`
/// numbers, `report` is NULL or valid for a write.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_restore_tolerant(
    vcpu: c_int,
    features: *const [u32; 7],
    json: *const c_char,
    ids: *const u64,
    count: usize,
    known: bool,
    report: *mut *mut c_char,
) -> c_int {
    // SAFETY: The caller vouches for it.
    unsafe {
        answer_text(report, || {
            let mut restore = Restore::new();
            if count > 0 {
                given(ids)?;
            }
            for n in 0..count {
                restore = restore.tolerate(*ids.add(n));
            }
            if known {
                restore = restore.tolerate_known();
            }
            let report = restore.run(&vcpu_of(&Fd(vcpu), features), &saved_of(json)?)?;
            Ok(report.to_string())
        })
    }
}

/// A saved vCPU from registers that a program has: ids, and their values one behind the other. features is NULL, or
/// what KVM_ARM_VCPU_INIT was given. The caller frees *json by arm64_vl_free().
///
/// # Safety
///
/// `features` is NULL or valid for 7 numbers, `ids` is NULL or valid for `count` numbers, `values` is NULL or valid
/// for `bytes`, `json` is NULL or valid for a write.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_saved_new(
    features: *const [u32; 7],
    ids: *const u64,
    count: usize,
    values: *const u8,
    bytes: usize,
    json: *mut *mut c_char,
) -> c_int {
    // SAFETY: The caller vouches for it.
    unsafe {
        answer_text(json, || {
            let (ids, values) = (all_of(ids, count)?, all_of(values, bytes)?);
            let saved = SavedVcpu::from_parts(features.as_ref().copied(), ids, values)?;
            Ok(saved.to_json()?)
        })
    }
}

/// # Safety
///
/// `all` is null or valid for `count`.
unsafe fn all_of<'a, T>(all: *const T, count: usize) -> Done<&'a [T]> {
    if count == 0 {
        return Ok(&[]);
    }
    // SAFETY: The caller vouches for it, and it is not null.
    Ok(unsafe { std::slice::from_raw_parts(given(all)?, count) })
}

/// Finishes what a vCPU has left KVM_RUN for: in the thread of the vCPU, before arm64_vl_save().
#[no_mangle]
pub extern "C" fn arm64_vl_finish_exit(vcpu: c_int) -> c_int {
    guard(|| Ok(finish_exit(&Fd(vcpu))?))
}

/// What a VMM does besides a restore, in this order: a line each. The caller frees *text by arm64_vl_free().
///
/// # Safety
///
/// `text` is NULL or valid for a write.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_around_restore(text: *mut *mut c_char) -> c_int {
    // SAFETY: The caller vouches for it.
    unsafe { answer_text(text, || Ok(lines(around_restore()))) }
}

/// Lets the vCPUs of a VM that has none yet have the MIDR_EL1, REVIDR_EL1 and AIDR_EL1 of the saved one, if they are
/// not those of the machine, which is this one as arm64_vl_machine_json() has it.
///
/// # Safety
///
/// `json` and `machine` are NULL or C strings.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_prepare_vm(
    vm: c_int,
    json: *const c_char,
    machine: *const c_char,
) -> c_int {
    guard(|| {
        // SAFETY: The caller vouches for it.
        let (saved, machine) = unsafe { (saved_of(json)?, machine_of(machine)?) };
        prepare_vm(&Fd(vm), &saved, &machine.kvm.unwrap_or_default())?;
        Ok(())
    })
}

/// Gives a vCPU as many PMU counters as the saved one, if it has another number: it is initialized, and has no
/// register written.
///
/// # Safety
///
/// `json` is NULL or a C string.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_prepare_vcpu(vcpu: c_int, json: *const c_char) -> c_int {
    guard(|| {
        // SAFETY: The caller vouches for it.
        let saved = unsafe { saved_of(json) }?;
        prepare_vcpu(&VcpuRef::new(&Fd(vcpu)), &saved)?;
        Ok(())
    })
}

/// Sets the clock of a VM once for all its vCPUs, through any of them, after the registers of all and before one
/// runs: that of the vCPU that was saved last, and so many nanoseconds more. jsons are all saved vCPUs of the VM.
///
/// # Safety
///
/// `jsons` is NULL or valid for `count` C strings or NULLs.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_restore_clock(
    vcpu: c_int,
    jsons: *const *const c_char,
    count: usize,
    nanoseconds: u64,
) -> c_int {
    guard(|| {
        // SAFETY: The caller vouches for it.
        let jsons = unsafe { all_of(jsons, count) }?;
        // SAFETY: The caller vouches for it.
        let saved = jsons.iter().map(|json| unsafe { saved_of(*json) });
        let saved = saved.collect::<Done<Vec<_>>>()?;
        let clock = match nanoseconds {
            0 => Clock::Frozen,
            more => Clock::Advanced(Duration::from_nanos(more)),
        };
        Ok(restore_clock(&VcpuRef::new(&Fd(vcpu)), &saved, clock)?)
    })
}

/// Reads the header of a note of a core file, or of a regset: NT_ARM_SVE, NT_ARM_SSVE or NT_ARM_ZA.
///
/// # Safety
///
/// `note` is NULL or valid for `bytes`, `view` is NULL or valid for a write.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_view_from_note(
    number: u32,
    note: *const u8,
    bytes: usize,
    view: *mut arm64_vl_view,
) -> c_int {
    // SAFETY: The caller vouches for it.
    unsafe {
        answer(view, || {
            let wrong = |reason: String| Error::Format {
                what: "a note of vector state",
                reason,
            };
            let kind = Note::from_number(number);
            let kind = kind.ok_or_else(|| wrong(format!("of number {number:#x}")))?;
            let view = VectorView::from_note(kind, all_of(note, bytes)?);
            Ok(Some(view.map_err(|error| wrong(error.to_string()))?).into())
        })
    }
}

/// # Safety
///
/// `text` is NULL or is a text that a function of this library has stored.
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
        tid: view.tid,
    }
}

/// The vector state of all threads of a process: as many as there is room for, one behind the other as the struct_size
/// of the first one says, and how many there are.
///
/// # Safety
///
/// `threads` is NULL or valid for `room` structs of the struct_size of the first, `count` is NULL or valid for a write.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_process_read(
    pid: c_int,
    threads: *mut arm64_vl_thread,
    room: usize,
    count: *mut usize,
) -> c_int {
    // SAFETY: The caller vouches for it.
    unsafe {
        answer(count, || {
            let views = ThreadView::of_process(pid)?;
            let all = views.len();
            if let (Some(first), true) = (NonNull::new(threads), room > 0) {
                let size = first.cast::<usize>().read();
                if size % align_of::<arm64_vl_thread>() != 0 {
                    return Err(Failure::Null("the member struct_size is not set"));
                }
                for (n, view) in views.into_iter().take(room).enumerate() {
                    let at = first.byte_add(n * size);
                    at.cast::<usize>().write(size);
                    store_sized(at, thread_of(view))?;
                }
            }
            Ok(all)
        })
    }
}

/// What a checkpoint of a thread loses that knows NT_PRFPREG alone: a line each, none where it loses nothing. The
/// caller frees *text by arm64_vl_free().
///
/// # Safety
///
/// `text` is NULL or valid for a write.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_thread_lost(tid: c_int, text: *mut *mut c_char) -> c_int {
    // SAFETY: The caller vouches for it.
    unsafe { answer_text(text, || Ok(lines(ThreadView::of(tid)?.lost_with_fpsimd()))) }
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

/// Reads the vector state with all registers of a thread that the caller traces and has stopped. The caller frees
/// *notes by arm64_vl_notes_free().
///
/// # Safety
///
/// `notes` is NULL or valid for a write.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_notes_read_stopped(
    tid: c_int,
    notes: *mut *mut arm64_vl_notes,
) -> c_int {
    // SAFETY: The caller vouches for it.
    unsafe {
        answer(notes, || {
            let read = ThreadNotes::of_stopped(tid)?;
            Ok(Box::into_raw(Box::new(arm64_vl_notes(read))))
        })
    }
}

/// The bytes of one of them by its number, such as NT_ARM_ZA, and how many these are: valid as long as the notes are.
/// NULL, and no bytes, for what the thread did not have.
///
/// # Safety
///
/// `notes` is NULL or comes from arm64_vl_notes_read_stopped(), `bytes` is NULL or valid for a write.
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_notes_get(
    notes: *const arm64_vl_notes,
    number: u32,
    bytes: *mut usize,
) -> *const u8 {
    // SAFETY: The caller vouches for it.
    let (notes, bytes) = unsafe { (notes.as_ref(), bytes.as_mut()) };
    let found = notes.and_then(|notes| notes.0.get(Note::from_number(number)?));
    if let Some(bytes) = bytes {
        *bytes = found.map_or(0, <[u8]>::len);
    }
    found.map_or(ptr::null(), <[u8]>::as_ptr)
}

/// Writes all of them to a thread that the caller traces and has stopped, in the one order that restores them. After
/// an error the thread is between two states.
///
/// # Safety
///
/// `notes` is NULL or comes from arm64_vl_notes_read_stopped().
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_notes_restore(notes: *const arm64_vl_notes, tid: c_int) -> c_int {
    // SAFETY: The caller vouches for it.
    guard(|| Ok(unsafe { given(notes) }?.0.restore(tid)?))
}

/// # Safety
///
/// `notes` is NULL or comes from arm64_vl_notes_read_stopped().
#[no_mangle]
pub unsafe extern "C" fn arm64_vl_notes_free(notes: *mut arm64_vl_notes) {
    if !notes.is_null() {
        // SAFETY: It was made by Box::into_raw(), and the caller gives it up.
        drop(unsafe { Box::from_raw(notes) });
    }
}
