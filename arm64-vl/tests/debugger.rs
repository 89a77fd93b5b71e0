// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! A process that goes in and out of streaming mode and ZA: what a debugger sees of it is what the
//! process says of itself.

#![cfg(all(target_arch = "aarch64", feature = "ptrace"))]

use arm64_vl::{core_notes, Error, Host, Note, Presence, ThreadNotes, ThreadView, VectorRegisters};
use std::{
    arch::global_asm,
    io,
    ptr::NonNull,
    sync::atomic::{AtomicPtr, AtomicU64, Ordering},
    thread,
    time::Duration,
};

// What debuggee and debugger share: the word that the debugger writes, the mode that is wanted; what
// the debuggee answers, the same word once it has done so; and what it reads of itself.
const COMMAND: usize = 0;
const MODE: usize = 1;
const ANSWER: usize = 2;
const SVCR: usize = 3;
const SVL: usize = 4;
const VL: usize = 5;
const FEATURES: usize = 6;
const TPIDR2: usize = 7;
/// With 64 bytes behind them that it loads ZT0 from.
const WORDS: usize = 8 + 8;

const HAS_SVE: u64 = 1;
const HAS_SME: u64 = 2;
const HAS_SME2: u64 = 4;
const HAS_FA64: u64 = 8;

/// The predicate that FFR is loaded from.
const FFR_FROM: usize = 5;

global_asm!(
    r"
    .pushsection .text
    .balign 4
    .arch_extension sve
    .arch_extension sme
vl_debuggee:                            // X0: what is shared. No call, no system call: either would
    ldr     x2, [x0, #48]               // leave streaming mode.
    mov     x9, #0x0101010101010101
1:  ldr     x3, [x0]
    ldr     x4, [x0, #16]
    cmp     x3, x4
    b.eq    1b
    mov     x5, #0
    tbz     x2, #1, 2f
    ldr     x5, [x0, #8]
    msr     S3_3_C4_C2_2, x5            // SVCR
    isb
    msr     S3_3_C13_C0_5, x3           // TPIDR2_EL0
    mrs     x6, S3_3_C4_C2_2
    str     x6, [x0, #24]
    rdsvl   x6, #1
    str     x6, [x0, #32]
    mrs     x6, S3_3_C13_C0_5
    str     x6, [x0, #56]
    tbz     x5, #1, 6f
    tbz     x2, #2, 6f
    and     x7, x3, #0xff
    mul     x7, x7, x9
    add     x8, x0, #64
    stp     x7, x7, [x8]
    stp     x7, x7, [x8, #16]
    stp     x7, x7, [x8, #32]
    stp     x7, x7, [x8, #48]
    .inst   0xe11f8100                  // ldr zt0, [x8]: each byte is the command
6:  tbnz    x5, #0, 3f
2:  tbnz    x2, #0, 3f
    .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    add     w8, w3, #\n
    dup     v\n\().16b, w8
    .endr
    b       4f
3:  rdvl    x6, #1                      // there with SVE, and in streaming mode
    str     x6, [x0, #40]
    cmp     x5, #3                      // streaming mode and ZA: row n of ZA is n + the command
    b.ne    7f
    ptrue   p0.b
    mov     w12, #0
    rdsvl   x7, #1
5:  add     w8, w12, w3
    dup     z1.b, w8
    mova    za0h.b[w12, 0], p0/m, z1.b
    add     w12, w12, #1
    cmp     w12, w7
    b.lo    5b
7:                                      // Zn is n + the command, Pn has n + 1 bits
    .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    add     w8, w3, #\n
    dup     z\n\().b, w8
    .endr
    .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
    mov     x8, #\n + 1
    whilelo p\n\().b, xzr, x8
    .endr
    tbz     x5, #0, 8f
    tbz     x2, #3, 4f
8:  wrffr   p5.b
4:  and     x8, x3, #0x1f
    msr     fpsr, x8
    and     x8, x3, #3
    lsl     x8, x8, #22                 // RMode
    msr     fpcr, x8
    dmb     ish
    str     x3, [x0, #16]
    b       1b
    .popsection
    "
);

extern "C" {
    fn vl_debuggee(shared: *const AtomicU64) -> !;
}

/// A child that does what it is told until this is dropped.
struct Debuggee {
    pid: i32,
    shared: NonNull<AtomicU64>,
    host: Host,
}

impl Debuggee {
    /// Starts one with these vector lengths, 0 where there is no such feature.
    fn start(host: Host, vl: u32, svl: u32) -> Self {
        // SAFETY: A new mapping changes none that is there.
        let shared = unsafe {
            let (prot, flags) = (
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
            );
            libc::mmap(std::ptr::null_mut(), WORDS * 8, prot, flags, -1, 0)
        };
        assert_ne!(shared, libc::MAP_FAILED);
        let shared = NonNull::new(shared.cast::<AtomicU64>()).unwrap();
        let sme = svl != 0;
        let features = u64::from(vl != 0) * HAS_SVE
            + u64::from(sme) * HAS_SME
            + u64::from(sme && host.sme2) * HAS_SME2
            + u64::from(sme && host.fa64) * HAS_FA64;
        // SAFETY: The mapping is as large, and nobody else has it yet.
        unsafe { shared.add(FEATURES).as_ref() }.store(features, Ordering::Release);

        // SAFETY: The child makes system calls alone before it enters the loop.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            // PR_SVE_SET_VL and PR_SME_SET_VL.
            let die_with_debugger = (libc::PR_SET_PDEATHSIG, libc::SIGKILL as u32);
            for (option, length) in [(50, vl), (63, svl), die_with_debugger] {
                if length == 0 {
                    continue;
                }
                // SAFETY: These change settings of this process alone.
                let done = unsafe { libc::prctl(option, libc::c_ulong::from(length), 0, 0, 0) };
                if done < 0 {
                    // SAFETY: This ends the process at once.
                    unsafe { libc::_exit(1) };
                }
            }
            // SAFETY: The loop accesses what is shared, which is mapped for as long as the child is.
            unsafe { vl_debuggee(shared.as_ptr()) };
        }
        assert!(pid > 0, "{}", io::Error::last_os_error());
        Self { pid, shared, host }
    }

    fn word(&self, index: usize) -> &AtomicU64 {
        assert!(index < WORDS);
        // SAFETY: The mapping has so many words, and is accessed by atomic operations alone.
        unsafe { self.shared.add(index).as_ref() }
    }

    fn read(&self, index: usize) -> u64 {
        self.word(index).load(Ordering::Acquire)
    }

    /// Has it go into a mode, and say so.
    fn go(&self, command: u64, mode: u64) {
        self.word(MODE).store(mode, Ordering::Release);
        self.word(COMMAND).store(command, Ordering::Release);
        while self.read(ANSWER) != command {
            thread::yield_now();
        }
    }

    fn check(&self, mode: u64, command: u64) {
        let view = ThreadView::of(self.pid).unwrap();
        let (sm, za) = (mode & 1 != 0, mode & 2 != 0);
        let what = format!("mode {mode}: {view:?}");
        assert_eq!(view.tid, self.pid);
        assert_eq!(view.streaming, sm, "{what}");
        assert_eq!(
            view.sve.is_some(),
            !self.host.sve.lengths.is_empty(),
            "{what}"
        );
        assert_eq!(
            view.ssve.is_some(),
            !self.host.sme.lengths.is_empty(),
            "{what}"
        );
        assert_eq!(view.zt_size, self.host.sme2.then_some(64), "{what}");

        if let Some(sve) = view.sve {
            assert_eq!(
                Some(sve.greatest),
                self.host.sve.lengths.greatest(),
                "{what}"
            );
            if sm {
                assert_eq!((sve.presence, sve.size), (Presence::Off, 16), "{what}");
            } else {
                assert_eq!(u64::from(sve.length), self.read(VL), "{what}");
                assert_ne!(sve.presence, Presence::Off, "{what}");
            }
        }
        let (Some(ssve), Some(array)) = (view.ssve, view.za) else {
            return assert_eq!(mode, 0);
        };
        assert_eq!(self.read(SVCR), mode, "{what}");
        assert_eq!(view.tpidr2, Some(command), "{what}");
        assert_eq!(self.read(TPIDR2), command);
        let svl = self.read(SVL);
        for kind in [ssve, array] {
            assert_eq!(u64::from(kind.length), svl, "{what}");
            assert_eq!(
                Some(kind.greatest),
                self.host.sme.lengths.greatest(),
                "{what}"
            );
        }
        let greatest = array.greatest as usize;
        assert_eq!(array.greatest_size, 16 + greatest * greatest, "{what}");
        if sm {
            assert_eq!(self.read(VL), svl, "RDVL in streaming mode, {what}");
            // 32 vectors, 17 predicates of an eighth each, FPSR and FPCR, with padding.
            let bytes = (32 * svl + 17 * svl / 8).next_multiple_of(16) as usize;
            assert_eq!(
                (ssve.presence, ssve.size),
                (Presence::Full, 16 + bytes + 16),
                "{what}"
            );
        } else {
            assert_eq!((ssve.presence, ssve.size), (Presence::Off, 16), "{what}");
        }
        let expected = if za {
            (Presence::Full, 16 + (svl * svl) as usize)
        } else {
            (Presence::Off, 16)
        };
        assert_eq!((array.presence, array.size), expected, "{what}");
    }
}

impl Drop for Debuggee {
    fn drop(&mut self) {
        // SAFETY: The child is this one's own, and waited for once. Nobody else has the mapping.
        unsafe {
            libc::kill(self.pid, libc::SIGKILL);
            libc::waitpid(self.pid, std::ptr::null_mut(), 0);
            libc::munmap(self.shared.as_ptr().cast(), WORDS * 8);
        }
    }
}

#[test]
fn debugger_sees_what_the_process_says() {
    let host = Host::read().unwrap();
    let or_0 = |lengths: arm64_vl::Lengths| {
        let mut all: Vec<_> = lengths.iter().collect();
        if all.is_empty() {
            all.push(0);
        }
        all
    };
    // Every mode from every other one.
    let walk: &[u64] = match host.sme.lengths.is_empty() {
        true => &[0],
        false => &[0, 1, 3, 2, 0, 2, 1, 0, 3, 1, 2, 3, 0],
    };
    let mut looks = 0;
    for vl in or_0(host.sve.lengths).into_iter().step_by(3) {
        for svl in or_0(host.sme.lengths) {
            let debuggee = Debuggee::start(host, vl, svl);
            for (command, mode) in (1..).zip(walk) {
                debuggee.go(command, *mode);
                debuggee.check(*mode, command);
                // It is as it was after a look: a second one sees the same.
                debuggee.check(*mode, command);
                looks += 2;
            }
        }
    }
    println!("{looks} looks");
}

#[test]
fn threads_of_a_process_are_all_seen() {
    let debuggee = Debuggee::start(Host::default(), 0, 0);
    debuggee.go(1, 0);
    let views = ThreadView::of_process(debuggee.pid).unwrap();
    assert_eq!(
        views.iter().map(|view| view.tid).collect::<Vec<_>>(),
        [debuggee.pid]
    );
}

fn errno(result: arm64_vl::Result<ThreadView>) -> Option<i32> {
    match result.unwrap_err() {
        Error::Kernel { error, .. } => error.raw_os_error(),
        error => panic!("{error}"),
    }
}

#[test]
fn process_that_is_gone_or_not_ours_is_an_error() {
    let gone = {
        let debuggee = Debuggee::start(Host::default(), 0, 0);
        debuggee.pid
    };
    assert_eq!(errno(ThreadView::of(gone)), Some(libc::ESRCH));
    assert!(matches!(
        ThreadView::of_process(gone),
        Err(Error::Kernel { .. })
    ));

    // Another user's: this thread becomes nobody.
    let refused = thread::spawn(|| {
        // SAFETY: The call changes the user of this thread alone.
        let done = unsafe { libc::syscall(libc::SYS_setresuid, 65534, 65534, 65534) };
        assert_eq!(done, 0);
        errno(ThreadView::of(1))
    });
    assert_eq!(refused.join().unwrap(), Some(libc::EPERM));

    // One that is not traced cannot be read as a stopped one.
    let debuggee = Debuggee::start(Host::default(), 0, 0);
    assert_eq!(
        errno(ThreadView::of_stopped(debuggee.pid)),
        Some(libc::ESRCH)
    );
}

/// What a look does to the thread must not be seen by it. A page that a child shares with the test.
struct Shared(NonNull<[AtomicU64; WORDS]>);

impl Shared {
    fn new() -> Self {
        // SAFETY: A new mapping changes none that is there.
        let page = unsafe {
            let (prot, flags) = (
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
            );
            libc::mmap(std::ptr::null_mut(), WORDS * 8, prot, flags, -1, 0)
        };
        assert_ne!(page, libc::MAP_FAILED);
        Self(NonNull::new(page.cast()).unwrap())
    }

    fn word(&self, n: usize) -> &AtomicU64 {
        // SAFETY: The mapping has so many words, stays to the end of the process, and is accessed by atomic
        // operations alone.
        let words = unsafe { self.0.as_ref() };
        &words[n]
    }
}

/// A child that is killed in the end.
struct Child(i32);

impl Child {
    /// `body` makes system calls alone: this process has other threads, which the child has not.
    fn start(body: impl FnOnce()) -> Self {
        // SAFETY: As `body` promises.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            body();
            // SAFETY: This ends the process at once.
            unsafe { libc::_exit(0) };
        }
        assert!(pid > 0, "{}", io::Error::last_os_error());
        Self(pid)
    }

    fn state(&self) -> char {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap();
        let (_, behind) = stat.rsplit_once(") ").unwrap();
        behind.chars().next().unwrap()
    }

    /// Whether it runs, or sleeps, and nobody traces it.
    fn check_runs(&self) {
        thread::sleep(Duration::from_millis(20));
        assert!(matches!(self.state(), 'R' | 'S'), "it is {}", self.state());
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0)).unwrap();
        assert!(status.contains("TracerPid:\t0\n"), "{status}");
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // SAFETY: The child is this one's own.
        unsafe {
            libc::kill(self.0, libc::SIGKILL);
            libc::waitpid(self.0, std::ptr::null_mut(), 0);
        }
    }
}

fn handle(signal: i32, handler: extern "C" fn(i32)) {
    // SAFETY: The handlers of this file are safe at any time. All zeroes is a valid action.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        assert_eq!(libc::sigaction(signal, &action, std::ptr::null_mut()), 0);
    }
}

const SENT: usize = 0;
const RECEIVED: usize = 1;
const ENOUGH: usize = 2;
static COUNTED: AtomicPtr<[AtomicU64; WORDS]> = AtomicPtr::new(std::ptr::null_mut());

extern "C" fn count(_: i32) {
    // SAFETY: What it points to is mapped before the handler is there.
    let words = unsafe { &*COUNTED.load(Ordering::Acquire) };
    words[RECEIVED].fetch_add(1, Ordering::AcqRel);
}

extern "C" fn nothing(_: i32) {}

/// How often one looks: a few hundred times, or LOOKS.
fn looks() -> u32 {
    let looks = std::env::var("LOOKS").map(|looks| looks.parse());
    looks.unwrap_or(Ok(300)).expect("LOOKS is a number")
}

/// A thread whose signals go to itself as fast as it can.
#[test]
fn look_loses_no_signal() {
    for signal in [libc::SIGUSR1, libc::SIGTRAP, libc::SIGRTMIN()] {
        let shared = Shared::new();
        COUNTED.store(shared.0.as_ptr(), Ordering::Release);
        let child = Child::start(|| {
            handle(signal, count);
            while shared.word(ENOUGH).load(Ordering::Acquire) == 0 {
                shared.word(SENT).fetch_add(1, Ordering::AcqRel);
                // SAFETY: A signal to this process itself.
                unsafe { libc::raise(signal) };
            }
            shared.word(ENOUGH).store(2, Ordering::Release);
            loop {
                thread::sleep(Duration::from_secs(1));
            }
        });
        while shared.word(RECEIVED).load(Ordering::Acquire) == 0 {
            thread::yield_now();
        }
        let mut errors = Vec::new();
        for _ in 0..looks() {
            errors.extend(ThreadView::of(child.0).err().map(|error| error.to_string()));
        }
        shared.word(ENOUGH).store(1, Ordering::Release);
        child.check_runs();
        while shared.word(ENOUGH).load(Ordering::Acquire) != 2 {
            thread::yield_now();
        }
        let number = |n| shared.word(n).load(Ordering::Acquire);
        let lost = number(SENT) - number(RECEIVED);
        println!(
            "signal {signal}: {} sent, {lost} lost, {} errors",
            number(SENT),
            errors.len()
        );
        assert_eq!((lost, errors.first()), (0, None), "signal {signal}");
    }
}

/// A caller with an interval timer, and without SA_RESTART.
#[test]
fn look_that_is_interrupted_is_done_all_the_same() {
    handle(libc::SIGALRM, nothing);
    let child = Child::start(|| loop {
        std::hint::spin_loop();
    });
    let mut errors = Vec::new();
    for n in 0..1000 {
        // SAFETY: All zeroes is no interval.
        let mut timer: libc::itimerval = unsafe { std::mem::zeroed() };
        timer.it_value.tv_usec = 50 + n % 700;
        // SAFETY: The kernel reads the timer.
        unsafe { libc::setitimer(libc::ITIMER_REAL, &timer, std::ptr::null_mut()) };
        errors.extend(ThreadView::of(child.0).err().map(|error| error.to_string()));
    }
    thread::sleep(Duration::from_millis(50));
    println!(
        "{} of 1000 looks failed, the thread is {} then",
        errors.len(),
        child.state()
    );
    child.check_runs();
    assert_eq!(errors.first(), None);
}

extern "C" fn wait_for_any(_: i32) {
    // SAFETY: The status goes nowhere.
    while unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) } > 0 {}
}

/// A program that waits for all its children, as soon as it hears of one, hears of the stop as well.
#[test]
fn caller_that_waits_for_any_child_can_look() {
    let child = Child::start(|| loop {
        std::hint::spin_loop();
    });
    handle(libc::SIGCHLD, wait_for_any);
    for _ in 0..100 {
        ThreadView::of(child.0).unwrap();
    }
    child.check_runs();
    handle(libc::SIGCHLD, nothing);
}

/// The exit status is for the parent, which is the caller here.
#[test]
fn look_at_a_child_that_ends_leaves_its_status() {
    for _ in 0..50 {
        let child = Child::start(|| thread::sleep(Duration::from_micros(300)));
        while ThreadView::of(child.0).is_ok() {}
        let mut status = -1;
        // SAFETY: The kernel writes the status.
        let waited = unsafe { libc::waitpid(child.0, &mut status, 0) };
        assert_eq!(
            (waited, status),
            (child.0, 0),
            "{}",
            io::Error::last_os_error()
        );
    }
}

#[test]
fn stopped_thread_stays_stopped() {
    let child = Child::start(|| loop {
        thread::sleep(Duration::from_secs(1));
    });
    // SAFETY: The child is this one's own.
    unsafe { libc::kill(child.0, libc::SIGSTOP) };
    while child.state() != 'T' {
        thread::yield_now();
    }
    ThreadView::of(child.0).unwrap();
    // It has to be scheduled once to stop again.
    for _ in 0..1000 {
        if child.state() == 'T' {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("it is {}", child.state());
}

#[test]
fn threads_are_seen_when_the_main_thread_has_exited() {
    let child = Child::start(|| {
        thread::spawn(|| loop {
            thread::sleep(Duration::from_secs(1));
        });
        // SAFETY: This ends the main thread alone.
        unsafe { libc::syscall(libc::SYS_exit, 0) };
    });
    while child.state() != 'Z' {
        thread::yield_now();
    }
    let tids: Vec<_> = ThreadView::of_process(child.0)
        .unwrap()
        .iter()
        .map(|view| view.tid)
        .collect();
    assert_eq!(tids.len(), 1);
    assert_ne!(tids[0], child.0);
    assert_eq!(errno(ThreadView::of(child.0)), Some(libc::ESRCH));

    // All of them have.
    let gone = Child::start(|| ());
    while gone.state() != 'Z' {
        thread::yield_now();
    }
    let views = ThreadView::of_process(gone.0).map(|views| views.len());
    assert!(
        matches!(&views, Err(Error::Kernel { error, .. }) if error.raw_os_error() == Some(libc::ESRCH)),
        "{views:?}"
    );
}

/// A thread that is traced and stopped until this is dropped.
struct Stopped(i32);

impl Stopped {
    fn new(tid: i32) -> Self {
        let request = |op| {
            let none = std::ptr::null_mut::<libc::c_void>();
            // SAFETY: The requests have no argument.
            let done = unsafe { libc::ptrace(op, tid, none, none) };
            assert_eq!(done, 0, "{}", io::Error::last_os_error());
        };
        request(libc::PTRACE_SEIZE);
        request(libc::PTRACE_INTERRUPT);
        // SAFETY: The status goes nowhere.
        let waited = unsafe { libc::waitpid(tid, std::ptr::null_mut(), libc::__WALL) };
        assert_eq!(waited, tid);
        Self(tid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let none = std::ptr::null_mut::<libc::c_void>();
        // SAFETY: The request has no argument.
        unsafe { libc::ptrace(libc::PTRACE_DETACH, self.0, none, none) };
    }
}

/// What a debuggee says of itself, against notes that somebody else has read.
fn check_notes(
    debuggee: &Debuggee,
    mode: u64,
    command: u64,
    note: &dyn Fn(Note) -> Option<Vec<u8>>,
) {
    let (sm, za) = (mode & 1 != 0, mode & 2 != 0);
    let byte = command as u8;
    let control = (command as u32 & 0x1f, (command as u32 & 3) << 22);
    let z = |n: usize, bytes: usize| vec![byte.wrapping_add(n as u8); bytes];
    let fpsimd = note(Note::Fpsimd).unwrap();
    for n in 0..32 {
        assert_eq!(fpsimd[16 * n..][..16], z(n, 16), "V{n} in mode {mode}");
    }
    let word = |at: usize| u32::from_le_bytes(fpsimd[at..at + 4].try_into().unwrap());
    assert_eq!((word(512), word(516)), control, "FPSR, FPCR in mode {mode}");

    let kind = if sm { Note::Ssve } else { Note::Sve };
    let there = note(kind).filter(|_| sm || !debuggee.host.sve.lengths.is_empty());
    assert!(there.is_some() || !sm);
    if let Some(bytes) = there {
        let registers = VectorRegisters::from_note(kind, &bytes).unwrap();
        let view = registers.view();
        let length = view.length as usize;
        assert_eq!(length as u64, debuggee.read(VL), "mode {mode}");
        assert_eq!(view.presence, Presence::Full, "mode {mode}");
        for n in 0..32 {
            assert_eq!(registers.z(n), Some(z(n, length)), "Z{n} in mode {mode}");
        }
        let predicate = |n: usize| {
            let bit = |bit: usize| u8::from(bit <= n) << (bit % 8);
            let byte = |byte: usize| (8 * byte..8 * byte + 8).map(bit).sum::<u8>();
            (0..length / 8).map(byte).collect::<Vec<_>>()
        };
        for n in 0..16 {
            let is = registers.p(n);
            assert_eq!(is, Some(&predicate(n)[..]), "P{n} in mode {mode}");
        }
        let ffr = match sm && !debuggee.host.fa64 {
            true => vec![0; length / 8],
            false => predicate(FFR_FROM),
        };
        assert_eq!(registers.ffr(), Some(&ffr[..]), "FFR in mode {mode}");
        assert_eq!(registers.fpsr_fpcr(), Some(control), "mode {mode}");
    }
    let zt = if za { [byte; 64] } else { [0; 64] };
    let zt = debuggee.host.sme2.then_some(&zt[..]);
    assert_eq!(note(Note::Zt).as_deref(), zt, "ZT0 in mode {mode}");
    if !debuggee.host.sme.lengths.is_empty() {
        let tls = note(Note::Tls).unwrap();
        assert_eq!(tls[8..], command.to_le_bytes(), "TPIDR2 in mode {mode}");
    }
    let Some(array) = note(Note::Za) else {
        return assert!(!za);
    };
    let array = VectorRegisters::from_note(Note::Za, &array).unwrap();
    assert_eq!(array.view().presence != Presence::Off, za);
    let svl = debuggee.read(SVL) as usize;
    assert_eq!(array.view().length as usize, svl);
    for row in 0..svl {
        let expected = if mode == 3 {
            byte.wrapping_add(row as u8)
        } else {
            0
        };
        let is = array.za(row);
        assert_eq!(
            is,
            za.then_some(&vec![expected; svl][..]),
            "row {row} in mode {mode}"
        );
    }
}

/// The modes that there are.
fn modes(host: &Host) -> &'static [u64] {
    match host.sme.lengths.is_empty() {
        true => &[0],
        false => &[0, 1, 2, 3],
    }
}

#[test]
fn registers_of_a_stopped_thread_are_what_it_put_there() {
    let host = Host::read().unwrap();
    let greatest = |lengths: arm64_vl::Lengths| lengths.greatest().unwrap_or(0);
    let debuggee = Debuggee::start(host, greatest(host.sve.lengths), greatest(host.sme.lengths));
    for (command, mode) in (7..).zip(modes(&host).iter().chain(modes(&host))) {
        debuggee.go(command, *mode);
        let stopped = Stopped::new(debuggee.pid);
        let notes = ThreadNotes::of_stopped(stopped.0).unwrap();
        check_notes(&debuggee, *mode, command, &|note| {
            notes.get(note).map(<[u8]>::to_vec)
        });
    }
}

/// Of every pair of modes, with other lengths: a thread that has got the state of another one has all of it, and
/// when it gets its own back it is as it was.
#[test]
fn notes_that_are_written_back_restore_a_thread() {
    let host = Host::read().unwrap();
    let least = |lengths: arm64_vl::Lengths| lengths.iter().next().unwrap_or(0);
    let greatest = |lengths: arm64_vl::Lengths| lengths.greatest().unwrap_or(0);
    let one = Debuggee::start(host, greatest(host.sve.lengths), greatest(host.sme.lengths));
    let other = Debuggee::start(host, least(host.sve.lengths), least(host.sme.lengths));
    let mut pairs = 0;
    for first in modes(&host) {
        for second in modes(&host) {
            pairs += 1;
            one.go(10 * pairs, *first);
            other.go(10 * pairs + 5, *second);
            let (a, b) = (Stopped::new(one.pid), Stopped::new(other.pid));
            let (own, foreign) = (
                ThreadNotes::of_stopped(a.0).unwrap(),
                ThreadNotes::of_stopped(b.0).unwrap(),
            );
            assert_eq!(foreign.get(Note::Zt).is_some(), host.sme2);
            foreign.restore(a.0).unwrap();
            let now = ThreadNotes::of_stopped(a.0).unwrap();
            for note in Note::ALL {
                assert_eq!(
                    now.get(note),
                    foreign.get(note),
                    "{note:?}: {second} into {first}"
                );
            }
            own.restore(a.0).unwrap();
            let now = ThreadNotes::of_stopped(a.0).unwrap();
            for note in Note::ALL {
                assert_eq!(
                    now.get(note),
                    own.get(note),
                    "{note:?}: {first} again, after {second}"
                );
            }
        }
    }
    println!("{pairs} pairs of modes");
}

/// The core file of a process in each mode, streaming mode with ZA among them: equal to what it said of itself.
#[test]
fn core_file_is_what_the_process_said() {
    let pattern = "/proc/sys/kernel/core_pattern";
    let before = std::fs::read_to_string(pattern).unwrap();
    let host = Host::read().unwrap();
    let greatest = |lengths: arm64_vl::Lengths| lengths.greatest().unwrap_or(0);
    let file = format!("/tmp/core-of-{}", std::process::id());
    std::fs::write(pattern, &file).unwrap();
    let unlimited = libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: The kernel reads the limit.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_CORE, &unlimited) }, 0);
    for (command, mode) in (40..).zip(modes(&host)) {
        let debuggee =
            Debuggee::start(host, greatest(host.sve.lengths), greatest(host.sme.lengths));
        debuggee.go(command, *mode);
        let mut status = 0;
        // SAFETY: The child is this one's own; the kernel writes the status.
        unsafe {
            libc::kill(debuggee.pid, libc::SIGQUIT);
            libc::waitpid(debuggee.pid, &mut status, 0);
        }
        assert!(libc::WCOREDUMP(status), "no core: {status:#x}");
        let core = std::fs::read(&file).unwrap();
        let notes = core_notes(&core).unwrap();
        let note = |kind: Note| {
            let found = notes.iter().find(|note| note.kind() == Some(kind));
            found.map(|note| note.bytes.to_vec())
        };
        println!(
            "mode {mode}: {} notes of {} bytes of core",
            notes.len(),
            core.len()
        );
        check_notes(&debuggee, *mode, command, &note);
    }
    std::fs::write(pattern, before).unwrap();
    let _ = std::fs::remove_file(&file);
}
