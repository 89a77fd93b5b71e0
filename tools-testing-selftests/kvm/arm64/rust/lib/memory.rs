// SPDX-License-Identifier: GPL-2.0-only

//! Memory that calls take their arguments from: for lists with exactly so much room, and at
//! addresses that are no good.

use crate::{
    kvm::{check, Errno, Result},
    reg::RegId,
};
use std::{
    ffi::{c_int, c_void},
    os::fd::{AsRawFd, OwnedFd},
    ptr::{self, NonNull},
    slice,
    sync::atomic::{AtomicU64, Ordering},
};

extern "C" {
    fn mmap(
        at: *mut c_void,
        len: usize,
        prot: c_int,
        flags: c_int,
        fd: c_int,
        offset: i64,
    ) -> *mut c_void;
    fn munmap(at: *mut c_void, len: usize) -> c_int;
    fn mprotect(at: *mut c_void, len: usize, prot: c_int) -> c_int;
}

/// Bytes in a page of memory.
pub const PAGE: usize = 4096;

const PROT_NONE: c_int = 0;
const PROT_READ: c_int = 1;
const PROT_READ_WRITE: c_int = 3;
const MAP_SHARED: c_int = 1;
const MAP_PRIVATE_ANONYMOUS: c_int = 0x22;

/// Memory that is mapped for as long as this is there.
pub(crate) struct Mapping {
    pub(crate) at: NonNull<c_void>,
    pub(crate) len: usize,
}

impl Mapping {
    /// Maps `len` bytes of the descriptor, or of nothing.
    pub(crate) fn new(len: usize, fd: Option<&OwnedFd>) -> Result<Self> {
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

// SAFETY: What is mapped belongs to no thread, and is accessed by atomic operations alone.
unsafe impl Send for Mapping {}
// SAFETY: As above.
unsafe impl Sync for Mapping {}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: The mapping is this one's own, and nothing refers to it any more.
        unsafe { munmap(self.at.as_ptr(), self.len) };
    }
}

/// An array for `KVM_GET_REG_LIST` that ends where nothing is mapped.
pub struct ListBuffer {
    pages: Mapping,
    /// Where the number is. The ids come after it.
    at: usize,
    room: usize,
}

impl ListBuffer {
    /// No register has this id.
    pub const UNTOUCHED: u64 = 0x5a5a_5a5a_5a5a_5a5a;

    /// Room for `room` ids, none of them written.
    pub fn new(room: usize) -> Result<Self> {
        let used = (room + 1) * size_of::<u64>();
        let body = used.next_multiple_of(PAGE);
        let pages = Mapping::new(body + PAGE, None)?;
        // SAFETY: The page is the mapping's last, and nothing refers to it.
        check(unsafe { mprotect(pages.at.as_ptr().byte_add(body), PAGE, PROT_NONE) })?;

        let at = body - used;
        let buffer = Self { pages, at, room };
        (0..room).for_each(|n| buffer.word(n + 1).store(Self::UNTOUCHED, Ordering::Relaxed));
        Ok(buffer)
    }

    pub(crate) fn word(&self, index: usize) -> &AtomicU64 {
        assert!(index <= self.room);
        let word = self.pages.at.cast::<u64>().as_ptr();
        // SAFETY: There are `room` + 1 words from `at` on in the pages that can be accessed, and
        // `at` is a multiple of their size.
        unsafe { AtomicU64::from_ptr(word.byte_add(self.at).add(index)) }
    }

    /// The array, written or not.
    pub fn ids(&self) -> Vec<RegId> {
        let id = |n| RegId::new(self.word(n + 1).load(Ordering::Relaxed));
        (0..self.room).map(id).collect()
    }
}

/// Where the argument of a call is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// At an offset in [`ArgMemory`].
    At(usize),
    /// At 0, where nothing is mapped.
    Null,
    /// Where the kernel is.
    Kernel,
}

/// Memory for arguments of calls, and for all that can be wrong with their address: pages that can
/// be read and written, a page that is not there, one that can be read alone, and one that is not
/// there.
pub struct ArgMemory(Mapping);

impl ArgMemory {
    /// How many bytes can be read and written.
    pub const WRITABLE: usize = 4 * PAGE;
    /// The offset of the page that can be read alone. It is zero.
    pub const READ_ONLY: usize = Self::WRITABLE + PAGE;
    const LEN: usize = Self::READ_ONLY + 2 * PAGE;

    /// Maps it, all zero.
    pub fn new() -> Result<Self> {
        let pages = Mapping::new(Self::LEN, None)?;
        for (offset, prot) in [
            (Self::WRITABLE, PROT_NONE),
            (Self::READ_ONLY, PROT_READ),
            (Self::READ_ONLY + PAGE, PROT_NONE),
        ] {
            // SAFETY: The page is in the mapping, and nothing refers to it.
            check(unsafe { mprotect(pages.at.as_ptr().byte_add(offset), PAGE, prot) })?;
        }
        Ok(Self(pages))
    }

    /// What can be read and written.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: The pages live as long as this, are initialized, and are written only by what
        // has this exclusively, the kernel too.
        unsafe { slice::from_raw_parts(self.0.at.as_ptr().cast(), Self::WRITABLE) }
    }

    /// The same, to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: As above.
        unsafe { slice::from_raw_parts_mut(self.0.at.as_ptr().cast(), Self::WRITABLE) }
    }

    /// Whether the kernel cannot access `len` bytes at `place`.
    pub fn faults(place: Place, len: usize, write: bool) -> bool {
        let Place::At(offset) = place else {
            return true;
        };
        let end = offset + len;
        let readable = offset >= Self::READ_ONLY && end <= Self::READ_ONLY + PAGE;
        end > Self::WRITABLE && (write || !readable)
    }

    /// An address from which no access comes further than to the page behind, which is not there.
    pub(crate) fn address(&self, place: Place) -> u64 {
        match place {
            Place::At(offset) => {
                assert!(offset < Self::LEN);
                self.0.at.as_ptr() as u64 + offset as u64
            }
            Place::Null => 0,
            Place::Kernel => 1 << 63,
        }
    }
}
