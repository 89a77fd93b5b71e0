// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! The vector state of another process's thread, as a debugger sees it.
//!
//! Source: `Documentation/arch/arm64/sve.rst` and `sme.rst`, on ptrace, and `uapi/asm/ptrace.h`.

use crate::{Error, Result};
#[cfg(feature = "json")]
use serde::Serialize;
use std::{fs, io};

/// What a thread has of a kind of vector state.
///
/// ```
/// use arm64_vl::{Presence, VectorView};
///
/// fn has_data(view: &VectorView) -> bool {
///     view.presence != Presence::Off
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(Serialize))]
#[cfg_attr(feature = "json", serde(rename_all = "snake_case"))]
pub enum Presence {
    /// Nothing: the mode is another one, or ZA is off.
    Off,
    /// The part of it that is V0 to V31. The rest is zero.
    Fpsimd,
    /// All of it.
    Full,
}

/// Vector state of one kind.
///
/// ```
/// use arm64_vl::VectorView;
///
/// /// What a debugger allocates to read any state that the thread can get into.
/// fn room(kinds: &[Option<VectorView>]) -> usize {
///     kinds.iter().flatten().map(|view| view.greatest_size).max().unwrap_or(0)
/// }
/// assert_eq!(room(&[None, None]), 0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(Serialize))]
#[non_exhaustive]
pub struct VectorView {
    /// The vector length, in bytes.
    pub length: u32,
    /// The greatest one that the thread can have, in bytes.
    pub greatest: u32,
    /// What the thread has of it now.
    pub presence: Presence,
    /// Whether a child that is executed starts with the length (`PR_SVE_VL_INHERIT`).
    pub inherit: bool,
    /// Bytes of the regset now, with its header of 16.
    pub size: usize,
    /// The bytes that it can have.
    pub greatest_size: usize,
}

/// The vector state of a thread that is stopped for a moment.
///
/// # Examples
///
/// ```
/// use arm64_vl::ThreadView;
///
/// // Nobody can trace himself.
/// assert!(ThreadView::of(std::process::id() as i32).is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(Serialize))]
#[non_exhaustive]
pub struct ThreadView {
    /// The id of the thread.
    pub tid: i32,
    /// Whether it is in streaming mode (SVCR.SM).
    pub streaming: bool,
    /// SVE out of streaming mode, `NT_ARM_SVE`; `None` on a machine without.
    pub sve: Option<VectorView>,
    /// SVE in streaming mode, `NT_ARM_SSVE`; `None` on a machine without SME.
    pub ssve: Option<VectorView>,
    /// ZA, `NT_ARM_ZA`; `None` on a machine without SME.
    pub za: Option<VectorView>,
    /// Bytes of ZT0, `NT_ARM_ZT`; `None` on a machine without SME2. It is zero while ZA is off.
    pub zt_size: Option<usize>,
    /// FPMR, `NT_ARM_FPMR`; `None` on a machine without.
    pub fpmr: Option<u64>,
    /// The tagged address control, `NT_ARM_TAGGED_ADDR_CTRL` (`PR_SET_TAGGED_ADDR_CTRL`).
    pub tagged_addr_ctrl: Option<u64>,
    /// TPIDR2_EL0, the second word of `NT_ARM_TLS`; `None` on a machine without SME.
    pub tpidr2: Option<u64>,
}

impl ThreadView {
    /// Stops the thread, looks at it and lets it go on: with the signal that it was about to get, or stopped as
    /// it was. One that a debugger has stopped already is read by [`ThreadView::of_stopped()`].
    ///
    /// The thread can notice that some of its system calls give `EINTR`: those of signal(7) that a stop
    /// interrupts, such as `epoll_wait()`. The caller's own children keep their exit status; a handler of
    /// `SIGCHLD`, or a thread, that waits for any child can be told of the stop.
    ///
    /// # Errors
    ///
    /// [`Error::Kernel`] with `ESRCH` when there is no such thread or it has ended, with `EPERM` when it is not
    /// ours to trace or is traced already (ptrace(2)); [`Error::Missing`] on a machine that is not arm64.
    pub fn of(tid: i32) -> Result<Self> {
        imp::of(tid)
    }

    /// Looks at a thread that the caller traces and has stopped.
    ///
    /// # Errors
    ///
    /// As [`ThreadView::of()`].
    ///
    /// # Examples
    ///
    /// ```
    /// // There is no process 0.
    /// assert!(arm64_vl::ThreadView::of_stopped(0).is_err());
    /// ```
    pub fn of_stopped(tid: i32) -> Result<Self> {
        imp::of_stopped(tid)
    }

    /// Looks at every thread of a process.
    ///
    /// # Errors
    ///
    /// As [`ThreadView::of()`]. A thread that has ended is left out, the main one too, unless all have.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(arm64_vl::ThreadView::of_process(-1).is_err());
    /// ```
    pub fn of_process(pid: i32) -> Result<Vec<Self>> {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).map_err(|error| {
            let error = match error.kind() {
                io::ErrorKind::NotFound => io::Error::from_raw_os_error(libc::ESRCH),
                _ => error,
            };
            Error::kernel(format!("looking for process {pid}"), error)
        })?;
        let mut tids: Vec<i32> = tasks
            .filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok())
            .collect();
        tids.sort_unstable();

        let ended = |result: &Result<Self>| matches!(result, Err(Error::Kernel { error, .. }) if error.raw_os_error() == Some(libc::ESRCH));
        let (gone, views): (Vec<_>, Vec<_>) = tids.into_iter().map(Self::of).partition(ended);
        match gone.into_iter().next() {
            Some(error) if views.is_empty() => error.map(|view| vec![view]),
            _ => views.into_iter().collect(),
        }
    }
}

#[cfg(not(target_arch = "aarch64"))]
mod imp {
    use super::{Error, Result, ThreadView};

    pub fn of(tid: i32) -> Result<ThreadView> {
        of_stopped(tid)
    }

    pub fn of_stopped(_: i32) -> Result<ThreadView> {
        let arch = std::env::consts::ARCH;
        Err(Error::Missing(format!(
            "no vector state of arm64 on a machine that is {arch}"
        )))
    }
}

#[cfg(target_arch = "aarch64")]
mod imp {
    use super::{fs, io, Error, Presence, Result, ThreadView, VectorView};
    use libc::{c_int, c_void, siginfo_t};
    use std::{mem, ptr, thread, time::Duration};

    // uapi/linux/elf.h
    const NT_ARM_TLS: i32 = 0x401;
    const NT_ARM_SVE: i32 = 0x405;
    const NT_ARM_TAGGED_ADDR_CTRL: i32 = 0x409;
    const NT_ARM_SSVE: i32 = 0x40b;
    const NT_ARM_ZA: i32 = 0x40c;
    const NT_ARM_ZT: i32 = 0x40d;
    const NT_ARM_FPMR: i32 = 0x40e;

    /// Bytes of `struct user_sve_header` and `struct user_za_header`.
    const HEADER: usize = 16;
    // Their flags, uapi/asm/ptrace.h.
    const SVE_PT_REGS_SVE: u16 = 1 << 0;
    const SVE_PT_VL_INHERIT: u16 = 1 << 1;

    /// In a thread of its own: when that ends, the kernel lets go whatever it still traces, and gives one that
    /// has ended meanwhile to its parent.
    pub fn of(tid: i32) -> Result<ThreadView> {
        let refused = |error: io::Error| {
            let error = match error.raw_os_error() {
                Some(libc::EPERM) if has_ended(tid) => io::Error::from_raw_os_error(libc::ESRCH),
                _ => error,
            };
            Error::kernel(format!("tracing thread {tid}"), error)
        };
        let look = move || {
            request(libc::PTRACE_SEIZE as c_int, tid, ptr::null_mut())?;
            request(libc::PTRACE_INTERRUPT as c_int, tid, ptr::null_mut())?;
            let signal = stopped(tid)?;
            let view = of_stopped(tid);
            // It may have been killed meanwhile: there is nobody to let go then.
            let _ = request(
                libc::PTRACE_DETACH as c_int,
                tid,
                signal as usize as *mut c_void,
            );
            Ok(view)
        };
        thread::Builder::new()
            .spawn(look)
            .map_err(|error| Error::kernel("starting a thread", error))?
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread that looks has ended")))
            .map_err(refused)?
    }

    /// Waits until a thread has stopped. Returns the signal that it has to go on with: it may have stopped on
    /// the way to its handler (ptrace(2), "Signal-delivery-stop").
    ///
    /// It asks and does not wait, since a stop is told once: a program that waits for any child elsewhere hears
    /// of it too.
    fn stopped(tid: i32) -> io::Result<c_int> {
        let mut pause = Duration::from_micros(20);
        loop {
            // SAFETY: All zeroes is a valid siginfo_t.
            let mut info: siginfo_t = unsafe { mem::zeroed() };
            let flags =
                libc::WEXITED | libc::WSTOPPED | libc::__WALL | libc::WNOWAIT | libc::WNOHANG;
            // SAFETY: The kernel writes to `info`.
            let done = unsafe { libc::waitid(libc::P_PID, tid as libc::id_t, &mut info, flags) };
            // ECHILD: it is gone, or is another one since it has executed a program.
            if done < 0 {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
            // SAFETY: What waitid() gives are these members, or zeroes.
            let (there, status) = unsafe { (info.si_pid() != 0, info.si_status()) };
            if there && info.si_code != libc::CLD_TRAPPED {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
            let at = (&raw mut info).cast();
            if there {
                return Ok(to_deliver(status));
            } else if request(libc::PTRACE_GETSIGINFO as c_int, tid, at).is_ok() {
                // That of a ptrace-stop, where its status has been taken: the code is the status.
                let tracing = info.si_code >> 8 == libc::PTRACE_EVENT_STOP;
                return Ok(if tracing { 0 } else { info.si_signo });
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(10));
        }
    }

    /// The signal on whose way to the thread a status of a stop was, or 0 for a stop that is of tracing, or of
    /// job control, which the kernel brings back.
    fn to_deliver(status: c_int) -> c_int {
        if status >> 8 == libc::PTRACE_EVENT_STOP {
            0
        } else {
            status & 0x7f
        }
    }

    /// Whether it waits to be reaped: one that cannot be traced for that has no errno of its own.
    fn has_ended(tid: i32) -> bool {
        let stat = fs::read_to_string(format!("/proc/{tid}/stat")).unwrap_or_default();
        let state = stat.rsplit_once(") ").map_or("X", |(_, behind)| behind);
        state.starts_with(['Z', 'X'])
    }

    /// A ptrace request without an address.
    fn request(op: c_int, tid: i32, data: *mut c_void) -> io::Result<()> {
        // SAFETY: `data` is null, a number, or points to what the request reads or writes.
        let done = unsafe { libc::ptrace(op as _, tid, ptr::null_mut::<c_void>(), data) };
        if done < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    pub fn of_stopped(tid: i32) -> Result<ThreadView> {
        let sve = vectors(tid, NT_ARM_SVE, true)?;
        let ssve = vectors(tid, NT_ARM_SSVE, true)?;
        let za = vectors(tid, NT_ARM_ZA, false)?;
        let zt = regset::<64>(tid, NT_ARM_ZT)?;
        let tls = regset::<16>(tid, NT_ARM_TLS)?;
        let number =
            |regset: Option<([u8; 8], usize)>| regset.map(|(bytes, _)| u64::from_le_bytes(bytes));
        Ok(ThreadView {
            tid,
            streaming: ssve.is_some_and(|view| view.presence != Presence::Off),
            sve,
            ssve,
            za,
            zt_size: zt.map(|(_, len)| len),
            fpmr: number(regset(tid, NT_ARM_FPMR)?),
            tagged_addr_ctrl: number(regset(tid, NT_ARM_TAGGED_ADDR_CTRL)?),
            tpidr2: tls
                .filter(|(_, len)| *len == 16 && za.is_some())
                .map(|(bytes, _)| u64::from_le_bytes(bytes[8..].try_into().unwrap_or_default())),
        })
    }

    /// What the header of a regset says. `has_fpsimd`: whether its flags tell V from the whole.
    fn vectors(tid: i32, note: i32, has_fpsimd: bool) -> Result<Option<VectorView>> {
        let Some((header, HEADER)) = regset::<HEADER>(tid, note)? else {
            return Ok(None);
        };
        let word = |at: usize| {
            u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let half = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let (size, flags) = (word(0) as usize, half(12));
        let presence = if size <= HEADER {
            Presence::Off
        } else if has_fpsimd && flags & SVE_PT_REGS_SVE == 0 {
            Presence::Fpsimd
        } else {
            Presence::Full
        };
        let greatest = usize::from(half(10));
        let greatest_size = match note {
            // The kernel says what ZA takes with the present length (za_get(), Linux 7.3).
            NT_ARM_ZA => HEADER + greatest * greatest,
            _ => word(4) as usize,
        };
        Ok(Some(VectorView {
            length: half(8).into(),
            greatest: half(10).into(),
            presence,
            inherit: flags & SVE_PT_VL_INHERIT != 0,
            size,
            greatest_size,
        }))
    }

    /// The first `N` bytes of a regset and how many there are of them; `None` where the machine, or
    /// the kernel, has no such regset.
    fn regset<const N: usize>(tid: i32, note: i32) -> Result<Option<([u8; N], usize)>> {
        let mut bytes = [0u8; N];
        let mut vector = libc::iovec {
            iov_base: bytes.as_mut_ptr().cast(),
            iov_len: N,
        };
        // SAFETY: The kernel writes to `bytes`, as many as `vector` says at most.
        let done = unsafe { libc::ptrace(libc::PTRACE_GETREGSET, tid, note, &raw mut vector) };
        if done >= 0 {
            return Ok(Some((bytes, vector.iov_len)));
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINVAL | libc::ENODEV) => Ok(None),
            _ => Err(Error::kernel(
                format!("reading regset {note:#x} of thread {tid}"),
                error,
            )),
        }
    }
}
