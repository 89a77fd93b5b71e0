// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! The vector state of another process's thread, as a debugger sees it.
//!
//! Source: `Documentation/arch/arm64/sve.rst` and `sme.rst`, on ptrace, and `uapi/asm/ptrace.h`.

use crate::{write_order, Error, Note, Presence, Result, VectorView, LEAVE_STREAMING};
#[cfg(feature = "json")]
use serde::Serialize;
use std::{fs, io};

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

    /// What a checkpoint of this thread loses that knows `NT_PRFPREG` alone, which is V, FPSR and FPCR; in words,
    /// and nothing where it loses nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// fn can_be_checkpointed(threads: &[arm64_vl::ThreadView]) -> bool {
    ///     threads.iter().all(|thread| thread.lost_with_fpsimd().is_empty())
    /// }
    /// ```
    pub fn lost_with_fpsimd(&self) -> Vec<String> {
        let full = |view: Option<VectorView>| view.filter(|view| view.presence == Presence::Full);
        let rest = |length: u32| 32 * length.saturating_sub(16);
        let parts = [
            full(self.sve).map(|view| {
                let above = rest(view.length);
                format!("P, FFR and {above} bytes of Z above V")
            }),
            full(self.ssve).map(|view| {
                let above = rest(view.length);
                format!("streaming mode, P, FFR and {above} bytes of Z above V")
            }),
            full(self.za).map(|view| format!("ZA of {} bytes", view.length * view.length)),
            full(self.za)
                .and(self.zt_size)
                .map(|size| format!("ZT0 of {size} bytes")),
            self.fpmr.filter(|value| *value != 0).map(|_| "FPMR".into()),
            self.tpidr2
                .filter(|value| *value != 0)
                .map(|_| "TPIDR2_EL0".into()),
        ];
        parts.into_iter().flatten().collect()
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

/// The vector state of a stopped thread with all registers: what a checkpoint or a debugger keeps of it, to bring
/// the thread back to it.
///
/// # Examples
///
/// ```
/// use arm64_vl::ThreadNotes;
///
/// /// What a debugger does that calls a function in the thread.
/// fn undisturbed(tid: i32, call: impl FnOnce()) -> arm64_vl::Result {
///     let before = ThreadNotes::of_stopped(tid)?;
///     call();
///     before.restore(tid)
/// }
/// # assert!(undisturbed(0, || ()).is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadNotes(Vec<(Note, Vec<u8>)>);

impl ThreadNotes {
    /// Reads them from a thread that the caller traces and has stopped.
    ///
    /// # Errors
    ///
    /// As [`ThreadView::of()`].
    pub fn of_stopped(tid: i32) -> Result<Self> {
        imp::notes(tid).map(Self)
    }

    /// From notes of a core file, or of a checkpoint, of one thread.
    pub fn new(notes: impl IntoIterator<Item = (Note, Vec<u8>)>) -> Self {
        Self(notes.into_iter().collect())
    }

    /// What there is of a kind.
    pub fn get(&self, note: Note) -> Option<&[u8]> {
        let found = self.0.iter().find(|(one, _)| *one == note);
        found.map(|(_, bytes)| &bytes[..])
    }

    /// Writes them to a thread that the caller traces and has stopped, in the order of
    /// [`write_order()`].
    ///
    /// # Errors
    ///
    /// As [`ThreadView::of()`], and [`Error::Kernel`] for what the machine does not have. The thread is between two
    /// states then.
    pub fn restore(&self, tid: i32) -> Result {
        for (note, bytes) in write_order(&self.0) {
            let written = imp::write(tid, note, bytes);
            // A kernel that cannot leave streaming mode without SVE has not to if the thread is out of it.
            if written.is_err() && bytes == LEAVE_STREAMING && !imp::of_stopped(tid)?.streaming {
                continue;
            }
            written?;
        }
        Ok(())
    }
}

#[cfg(not(target_arch = "aarch64"))]
mod imp {
    use super::{Error, Note, Result, ThreadView};

    pub fn of(tid: i32) -> Result<ThreadView> {
        of_stopped(tid)
    }

    pub fn of_stopped(_: i32) -> Result<ThreadView> {
        missing()
    }

    pub fn notes(_: i32) -> Result<Vec<(Note, Vec<u8>)>> {
        missing()
    }

    pub fn write(_: i32, _: Note, _: &[u8]) -> Result<()> {
        missing()
    }

    fn missing<T>() -> Result<T> {
        let arch = std::env::consts::ARCH;
        Err(Error::Missing(format!(
            "no vector state of arm64 on a machine that is {arch}"
        )))
    }
}

#[cfg(target_arch = "aarch64")]
mod imp {
    use super::{fs, io, Error, Note, Presence, Result, ThreadView, VectorView};
    use crate::note::HEADER;
    use libc::{c_int, c_void, siginfo_t};
    use std::{mem, ptr, thread, time::Duration};

    // uapi/linux/elf.h
    const NT_ARM_TAGGED_ADDR_CTRL: u32 = 0x409;

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
        let sve = vectors(tid, Note::Sve)?;
        let ssve = vectors(tid, Note::Ssve)?;
        let za = vectors(tid, Note::Za)?;
        let zt = regset::<64>(tid, Note::Zt.number())?;
        let tls = regset::<16>(tid, Note::Tls.number())?;
        let number =
            |regset: Option<([u8; 8], usize)>| regset.map(|(bytes, _)| u64::from_le_bytes(bytes));
        Ok(ThreadView {
            tid,
            streaming: ssve.is_some_and(|view| view.presence != Presence::Off),
            sve,
            ssve,
            za,
            zt_size: zt.map(|(_, len)| len),
            fpmr: number(regset(tid, Note::Fpmr.number())?),
            tagged_addr_ctrl: number(regset(tid, NT_ARM_TAGGED_ADDR_CTRL)?),
            tpidr2: tls
                .filter(|(_, len)| *len == 16 && za.is_some())
                .map(|(bytes, _)| u64::from_le_bytes(bytes[8..].try_into().unwrap_or_default())),
        })
    }

    /// What the header of a regset says.
    fn vectors(tid: i32, note: Note) -> Result<Option<VectorView>> {
        let Some((header, HEADER)) = regset::<HEADER>(tid, note.number())? else {
            return Ok(None);
        };
        let view = VectorView::from_note(note, &header);
        let call = || format!("reading regset {:#x} of thread {tid}", note.number());
        view.map(Some)
            .map_err(|error| Error::kernel(call(), io::Error::other(error)))
    }

    /// All of a regset; `None` where the machine, or the kernel, has none.
    fn whole(tid: i32, note: Note) -> Result<Option<Vec<u8>>> {
        // A multiple of what the kernel counts in, or it refuses a regset that is there.
        let room = match note {
            Note::Sve | Note::Ssve | Note::Za => {
                let size = vectors(tid, note)?.map_or(0, |view| view.size);
                size.max(HEADER)
            }
            Note::Fpsimd => 528,
            Note::Tls => 16,
            Note::Zt => 64,
            Note::Fpmr => 8,
        };
        let mut bytes = vec![0; room];
        let Some(len) = read(tid, note.number(), &mut bytes)? else {
            return Ok(None);
        };
        bytes.truncate(len);
        Ok(Some(bytes))
    }

    pub fn notes(tid: i32) -> Result<Vec<(Note, Vec<u8>)>> {
        let mut notes = Vec::new();
        for note in Note::ALL {
            notes.extend(whole(tid, note)?.map(|bytes| (note, bytes)));
        }
        Ok(notes)
    }

    pub fn write(tid: i32, note: Note, bytes: &[u8]) -> Result<()> {
        let mut bytes = bytes.to_vec();
        let mut vector = libc::iovec {
            iov_base: bytes.as_mut_ptr().cast(),
            iov_len: bytes.len(),
        };
        let number = note.number() as i32;
        // SAFETY: The kernel reads from `bytes`, as many as `vector` says.
        let done = unsafe { libc::ptrace(libc::PTRACE_SETREGSET, tid, number, &raw mut vector) };
        if done < 0 {
            let call = format!("writing regset {number:#x} of thread {tid}");
            return Err(Error::kernel(call, io::Error::last_os_error()));
        }
        Ok(())
    }

    /// The first `N` bytes of a regset and how many there are of them.
    fn regset<const N: usize>(tid: i32, note: u32) -> Result<Option<([u8; N], usize)>> {
        let mut bytes = [0u8; N];
        Ok(read(tid, note, &mut bytes)?.map(|len| (bytes, len)))
    }

    /// Reads a regset as far as there is room, and says how much it is; `None` where the machine, or the kernel,
    /// has no such regset.
    fn read(tid: i32, note: u32, bytes: &mut [u8]) -> Result<Option<usize>> {
        let mut vector = libc::iovec {
            iov_base: bytes.as_mut_ptr().cast(),
            iov_len: bytes.len(),
        };
        let number = note as i32;
        // SAFETY: The kernel writes to `bytes`, as many as `vector` says at most.
        let done = unsafe { libc::ptrace(libc::PTRACE_GETREGSET, tid, number, &raw mut vector) };
        if done >= 0 {
            return Ok(Some(vector.iov_len));
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::ENODEV) => Ok(None),
            // No such regset; or a length that is none of it: no bytes at all are always a length.
            Some(libc::EINVAL) if bytes.is_empty() || read(tid, note, &mut [])?.is_none() => {
                Ok(None)
            }
            _ => Err(Error::kernel(
                format!("reading regset {note:#x} of thread {tid}"),
                error,
            )),
        }
    }
}
