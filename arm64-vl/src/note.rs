// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! The vector state of a thread as the kernel hands it out: by ptrace, and in core files. It takes no more of the
//! standard library than `alloc`.
//!
//! Source: `Documentation/arch/arm64/sve.rst` and `sme.rst`, on ptrace and core dumps, and `uapi/asm/ptrace.h`.

use alloc::vec::Vec;
use core::fmt;

/// A kind of note, or regset: its number is that of `uapi/linux/elf.h`.
///
/// ```
/// use arm64_vl::Note;
///
/// assert_eq!(Note::from_number(0x405), Some(Note::Sve));
/// assert_eq!(Note::Sve.number(), 0x405);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Note {
    /// `NT_PRFPREG`: V0 to V31, FPSR and FPCR.
    Fpsimd,
    /// `NT_ARM_TLS`: TPIDR_EL0, and TPIDR2_EL0 with SME.
    Tls,
    /// `NT_ARM_SVE`: Z, P and FFR out of streaming mode, or V alone.
    Sve,
    /// `NT_ARM_SSVE`: Z, P and FFR in streaming mode.
    Ssve,
    /// `NT_ARM_ZA`.
    Za,
    /// `NT_ARM_ZT`: ZT0.
    Zt,
    /// `NT_ARM_FPMR`.
    Fpmr,
}

impl Note {
    /// All of them. [`write_order()`] says in which order they are written back to a thread.
    pub const ALL: [Self; 7] = [
        Self::Fpsimd,
        Self::Sve,
        Self::Za,
        Self::Zt,
        Self::Ssve,
        Self::Fpmr,
        Self::Tls,
    ];

    /// Its number, such as that of `PTRACE_GETREGSET`.
    pub const fn number(self) -> u32 {
        match self {
            Self::Fpsimd => 2,
            Self::Tls => 0x401,
            Self::Sve => 0x405,
            Self::Ssve => 0x40b,
            Self::Za => 0x40c,
            Self::Zt => 0x40d,
            Self::Fpmr => 0x40e,
        }
    }

    /// The one of a number.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|note| note.number() == number)
    }
}

/// What is written to `NT_ARM_SVE` on a machine with SME and without SVE, where it cannot be read: a header without
/// a length, which leaves streaming mode (sve.rst, "ptrace extensions"). V is zero then.
pub const LEAVE_STREAMING: [u8; HEADER] =
    [HEADER as u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// The notes of a thread as they are written back to it or to another one, whichever mode that is in, so that none
/// undoes another.
///
/// - `NT_ARM_SVE` leaves streaming mode, `NT_ARM_SSVE` enters it, each even if it is a header alone. `NT_PRFPREG`
///   does neither. Where there is no SVE, [`LEAVE_STREAMING`] leaves it.
/// - `NT_ARM_ZA` sets the length of streaming vectors, and with another length the kernel keeps V of Z alone, and
///   turns ZA off if it is a header alone.
/// - `NT_ARM_ZT` turns ZA on.
///
/// So streaming mode is left, then ZA comes with its length, then the registers of the mode that the thread was in.
///
/// ```
/// use arm64_vl::{write_order, Note, LEAVE_STREAMING};
///
/// // Of a machine with SME alone, out of streaming mode, and its vectors of 16 bytes: the header alone.
/// let ssve = [16, 0, 0, 0, 16, 16, 0, 0, 16, 0, 64, 0, 0, 0, 0, 0];
/// let notes = [(Note::Fpsimd, &[7; 528][..]), (Note::Ssve, &ssve[..])];
/// let order = write_order(&notes);
/// assert_eq!(order, [(Note::Sve, &LEAVE_STREAMING[..]), (Note::Fpsimd, &[7; 528][..])]);
/// ```
pub fn write_order<B: AsRef<[u8]>>(notes: &[(Note, B)]) -> Vec<(Note, &[u8])> {
    let find = |kind: Note| {
        let found = notes.iter().find(|(note, _)| *note == kind);
        found.map(|(_, bytes)| (kind, bytes.as_ref()))
    };
    let is_on = |kind: Note| {
        let view = find(kind).map(|(_, bytes)| VectorView::from_note(kind, bytes));
        matches!(view, Some(Ok(view)) if view.presence != Presence::Off)
    };
    let (sve, ssve) = (find(Note::Sve), find(Note::Ssve));
    let leave = ssve.map(|_| sve.unwrap_or((Note::Sve, &LEAVE_STREAMING)));
    let zt = find(Note::Zt).filter(|_| is_on(Note::Za));
    let registers = ssve.filter(|_| is_on(Note::Ssve)).or(sve);
    let registers = registers.or_else(|| find(Note::Fpsimd));
    let order = [
        leave,
        find(Note::Za),
        zt,
        registers,
        find(Note::Fpmr),
        find(Note::Tls),
    ];
    order.into_iter().flatten().collect()
}

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
#[cfg_attr(feature = "json", derive(serde::Serialize))]
#[cfg_attr(feature = "json", serde(rename_all = "snake_case"))]
#[non_exhaustive]
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
#[cfg_attr(feature = "json", derive(serde::Serialize))]
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

/// Why bytes are no note.
///
/// ```
/// use arm64_vl::{Note, NoteError, VectorView};
///
/// assert_eq!(VectorView::from_note(Note::Sve, &[0; 15]), Err(NoteError::Short { wanted: 16, found: 15 }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoteError {
    /// There are less bytes than there have to be.
    Short {
        /// How many there have to be at least.
        wanted: usize,
        /// How many there are.
        found: usize,
    },
    /// A vector length that is none, in bytes.
    Length(u32),
    /// A kind of note that has no header with a length.
    NoVectors(Note),
    /// No ELF file of 64 bits, lowest byte first.
    NoElf,
}

impl fmt::Display for NoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short { wanted, found } => write!(f, "{found} bytes, and not {wanted} at least"),
            Self::Length(length) => write!(f, "{length} bytes is no vector length"),
            Self::NoVectors(note) => write!(f, "a note of {:#x} has no vectors", note.number()),
            Self::NoElf => f.write_str("no ELF file of 64 bits"),
        }
    }
}

impl core::error::Error for NoteError {}

/// Bytes of `struct user_sve_header` and `struct user_za_header`.
pub(crate) const HEADER: usize = 16;
// Their flags, uapi/asm/ptrace.h.
const SVE_PT_REGS_SVE: u16 = 1 << 0;
const SVE_PT_VL_INHERIT: u16 = 1 << 1;

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from(half(bytes, at)) | u32::from(half(bytes, at + 2)) << 16
}

fn enough(bytes: &[u8], wanted: usize) -> Result<(), NoteError> {
    let found = bytes.len();
    if found < wanted {
        return Err(NoteError::Short { wanted, found });
    }
    Ok(())
}

impl VectorView {
    /// Reads the header of a note of SVE, SSVE or ZA, which can be all of it that there is. [`VectorRegisters`]
    /// has what is behind.
    ///
    /// # Errors
    ///
    /// [`NoteError`] for less bytes than a header has, a length that is none, and another kind of note.
    ///
    /// # Examples
    ///
    /// ```
    /// use arm64_vl::{Note, Presence, VectorView};
    ///
    /// // ZA is off: the header alone, of 16 bytes; vectors of 32 bytes, and 64 at most.
    /// let note = [16, 0, 0, 0, 16, 16, 0, 0, 32, 0, 64, 0, 0, 0, 0, 0];
    /// let view = VectorView::from_note(Note::Za, &note)?;
    /// assert_eq!((view.length, view.presence), (32, Presence::Off));
    /// # Ok::<(), arm64_vl::NoteError>(())
    /// ```
    pub fn from_note(note: Note, bytes: &[u8]) -> Result<Self, NoteError> {
        if !matches!(note, Note::Sve | Note::Ssve | Note::Za) {
            return Err(NoteError::NoVectors(note));
        }
        enough(bytes, HEADER)?;
        let (size, flags) = (word(bytes, 0) as usize, half(bytes, 12));
        let (length, greatest) = (half(bytes, 8), half(bytes, 10));
        for length in [length, greatest].map(u32::from) {
            // A machine without SVE has V in it, and no length.
            if length % 16 != 0 || length > 8192 || length == 0 && note != Note::Sve {
                return Err(NoteError::Length(length));
            }
        }
        let presence = if size <= HEADER {
            Presence::Off
        } else if note != Note::Za && flags & SVE_PT_REGS_SVE == 0 {
            Presence::Fpsimd
        } else {
            Presence::Full
        };
        let square = usize::from(greatest) * usize::from(greatest);
        let greatest_size = match note {
            // The kernel says what ZA takes with the present length (za_get(), Linux 7.3).
            Note::Za => HEADER + square,
            _ => word(bytes, 4) as usize,
        };
        Ok(Self {
            length: length.into(),
            greatest: greatest.into(),
            presence,
            inherit: flags & SVE_PT_VL_INHERIT != 0,
            size,
            greatest_size,
        })
    }
}

/// The registers of a note of SVE, SSVE or ZA.
///
/// # Examples
///
/// ```
/// use arm64_vl::{Note, VectorRegisters};
///
/// // V alone, of vectors of 32 bytes: 16 of header, 512 of V, FPSR and FPCR.
/// let mut note = vec![0; 16 + 528];
/// note[..2].copy_from_slice(&(16u16 + 528).to_le_bytes());
/// (note[8], note[10]) = (32, 32);
/// note[16 + 16] = 7; // V1
/// let registers = VectorRegisters::from_note(Note::Sve, &note)?;
/// assert_eq!(registers.z(1).unwrap()[0], 7);
/// assert_eq!(registers.z(1).unwrap().len(), 32, "the rest of Z1 is zero");
/// assert_eq!(registers.p(0), None);
/// # Ok::<(), arm64_vl::NoteError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VectorRegisters<'a> {
    note: Note,
    view: VectorView,
    bytes: &'a [u8],
}

/// The next multiple of 16.
const fn rounded(size: usize) -> usize {
    size.div_ceil(16) * 16
}

impl<'a> VectorRegisters<'a> {
    /// Reads a note, as long as its header says.
    ///
    /// # Errors
    ///
    /// Those of [`VectorView::from_note()`], and [`NoteError::Short`] for one that has been cut off.
    pub fn from_note(note: Note, bytes: &'a [u8]) -> Result<Self, NoteError> {
        let view = VectorView::from_note(note, bytes)?;
        let this = Self { note, view, bytes };
        let length = view.length as usize;
        enough(
            bytes,
            match (view.presence, note) {
                (Presence::Off, _) => HEADER,
                (Presence::Fpsimd, _) => HEADER + 512 + 8,
                (Presence::Full, Note::Za) => HEADER + length * length,
                (Presence::Full, _) => this.fpsr_at() + 8,
            },
        )?;
        Ok(this)
    }

    /// What the header says.
    pub fn view(&self) -> VectorView {
        self.view
    }

    /// Where FPSR is, behind the registers of SVE.
    fn fpsr_at(&self) -> usize {
        let length = self.view.length as usize;
        // 32 vectors, 16 predicates and FFR of an eighth (SVE_PT_SVE_FPSR_OFFSET).
        HEADER + rounded(32 * length + 17 * (length / 8))
    }

    fn is_full_sve(&self) -> bool {
        self.note != Note::Za && self.view.presence == Presence::Full
    }

    /// Zn, as long as a vector is: V and zeroes if there is V alone. `None` for what is not there.
    pub fn z(&self, n: usize) -> Option<Vec<u8>> {
        let length = self.view.length as usize;
        let (step, there) = match (self.view.presence, self.note) {
            (Presence::Off, _) | (_, Note::Za) => return None,
            (Presence::Fpsimd, _) => (16, 16),
            (Presence::Full, _) => (length, length),
        };
        let first = HEADER + n * step;
        let mut value = self
            .bytes
            .get(first..first + there)
            .filter(|_| n < 32)?
            .to_vec();
        value.resize(length.max(16), 0);
        Some(value)
    }

    /// The nth predicate.
    fn predicate(&self, n: usize) -> Option<&'a [u8]> {
        let length = self.view.length as usize;
        let first = HEADER + 32 * length + n * (length / 8);
        let all = self.bytes.get(first..first + length / 8);
        all.filter(|_| self.is_full_sve())
    }

    /// Pn; `None` where there is V alone, or nothing.
    pub fn p(&self, n: usize) -> Option<&'a [u8]> {
        self.predicate(n).filter(|_| n < 16)
    }

    /// FFR, in streaming mode of a machine with FA64 alone: zeroes there otherwise.
    pub fn ffr(&self) -> Option<&'a [u8]> {
        self.predicate(16)
    }

    /// FPSR and FPCR.
    pub fn fpsr_fpcr(&self) -> Option<(u32, u32)> {
        let at = match self.view.presence {
            Presence::Fpsimd => HEADER + 512,
            Presence::Full if self.is_full_sve() => self.fpsr_at(),
            _ => return None,
        };
        Some((word(self.bytes, at), word(self.bytes, at + 4)))
    }

    /// Row n of ZA.
    pub fn za(&self, n: usize) -> Option<&'a [u8]> {
        let length = self.view.length as usize;
        let first = HEADER + n * length;
        let is_there = self.note == Note::Za && self.view.presence == Presence::Full && n < length;
        self.bytes.get(first..first + length).filter(|_| is_there)
    }
}

/// A note of a core file.
///
/// ```
/// fn is_of_a_new_thread(note: &arm64_vl::CoreNote) -> bool {
///     note.number == 1 // NT_PRSTATUS
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CoreNote<'a> {
    /// Whose number it is: `CORE`, `LINUX`, or another one's, which has numbers of its own.
    pub owner: &'a [u8],
    /// Its number; [`CoreNote::kind()`] tells whether it is one of vectors.
    pub number: u32,
    /// What is in it.
    pub bytes: &'a [u8],
}

impl CoreNote<'_> {
    /// Which of the notes of vectors it is, by its owner and number.
    pub fn kind(&self) -> Option<Note> {
        let owner: &[u8] = match Note::from_number(self.number)? {
            Note::Fpsimd => b"CORE",
            _ => b"LINUX",
        };
        Note::from_number(self.number).filter(|_| self.owner == owner)
    }
}

/// The notes of a core file, of an ELF file of 64 bits. Each thread begins with `NT_PRSTATUS`, which is 1.
///
/// # Errors
///
/// [`NoteError::NoElf`] for something else; [`NoteError::Short`] for a file that has been cut off.
///
/// # Examples
///
/// ```
/// use arm64_vl::{core_notes, NoteError};
///
/// assert_eq!(core_notes(b"no core"), Err(NoteError::NoElf));
/// ```
pub fn core_notes(file: &[u8]) -> Result<Vec<CoreNote<'_>>, NoteError> {
    const PT_NOTE: u32 = 4;
    const PN_XNUM: u16 = 0xffff;
    /// Bytes of a program header.
    const PHDR: usize = 56;
    let long = |bytes: &[u8], at: usize| {
        let value = u64::from(word(bytes, at)) | u64::from(word(bytes, at + 4)) << 32;
        usize::try_from(value).unwrap_or(usize::MAX)
    };
    let part = |first: usize, length: usize| {
        let behind = first.saturating_add(length);
        enough(file, behind).map(|()| &file[first..behind])
    };
    if !file.starts_with(b"\x7fELF\x02\x01") || file.len() < 64 {
        return Err(NoteError::NoElf);
    }
    let (first, size) = (long(file, 32), usize::from(half(file, 54)));
    let count = match half(file, 56) {
        // More mappings than the field can count: the number is sh_info of the first section header (elf(5)).
        PN_XNUM => match long(file, 40) {
            0 => return Err(NoteError::NoElf),
            sections => word(part(sections.saturating_add(44), 4)?, 0) as usize,
        },
        count => usize::from(count),
    };
    if count > 0 && size != PHDR {
        return Err(NoteError::NoElf);
    }
    let mut notes = Vec::new();
    for n in 0..count {
        let header = part(first.saturating_add(n.saturating_mul(PHDR)), PHDR)?;
        if word(header, 0) != PT_NOTE {
            continue;
        }
        let mut rest = part(long(header, 8), long(header, 32))?;
        // Name and content begin at multiples of four.
        while rest.len() >= 12 {
            let (name, content) = (word(rest, 0) as usize, word(rest, 4) as usize);
            let number = word(rest, 8);
            let at = 12 + name.div_ceil(4) * 4;
            let behind = at.saturating_add(content);
            enough(rest, behind)?;
            let (name, bytes) = (&rest[12..12 + name], &rest[at..behind]);
            let owner = name.strip_suffix(b"\0").unwrap_or(name);
            notes.push(CoreNote {
                owner,
                number,
                bytes,
            });
            rest = rest.get(at + content.div_ceil(4) * 4..).unwrap_or_default();
        }
    }
    Ok(notes)
}
