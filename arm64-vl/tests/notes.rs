// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! Notes of vector state, laid out by hand from the offsets of `uapi/asm/ptrace.h`, and damaged ones.

#![cfg(feature = "ptrace")]

use arm64_vl::{core_notes, write_order, Note, NoteError, Presence, VectorRegisters, VectorView};

/// `struct user_sve_header`: size, max_size, vl, max_vl, flags, reserved.
fn header(size: u32, max_size: u32, vl: u16, max_vl: u16, flags: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(size.to_le_bytes());
    bytes.extend(max_size.to_le_bytes());
    for half in [vl, max_vl, flags, 0] {
        bytes.extend(half.to_le_bytes());
    }
    bytes
}

/// SVE of 48 bytes: Zn is n, Pn is 0x80 + n, FFR 0xff, FPSR 0x11, FPCR 0x22.
fn full_sve() -> Vec<u8> {
    // 32 * 48 of Z from 16, 16 * 6 of P, 6 of FFR: up to 1654; FPSR at the next multiple of 16 counted from 16.
    let mut note = header(1680, 1680, 48, 64, 1);
    for n in 0..32 {
        note.extend([n; 48]);
    }
    for n in 0..16 {
        note.extend([0x80 + n; 6]);
    }
    note.extend([0xff; 6]);
    note.resize(1664, 0);
    note.extend([0x11, 0, 0, 0, 0x22, 0, 0, 0]);
    note.resize(1680, 0);
    note
}

#[test]
fn registers_of_sve_are_where_the_header_says() {
    let note = full_sve();
    let registers = VectorRegisters::from_note(Note::Sve, &note).unwrap();
    let view = registers.view();
    assert_eq!((view.length, view.greatest), (48, 64));
    assert_eq!((view.presence, view.size), (Presence::Full, 1680));
    assert!(!view.inherit);
    for n in 0..32 {
        assert_eq!(registers.z(n).unwrap(), [n as u8; 48]);
    }
    for n in 0..16 {
        assert_eq!(registers.p(n).unwrap(), [0x80 + n as u8; 6]);
    }
    assert_eq!(registers.ffr().unwrap(), [0xff; 6]);
    assert_eq!(registers.fpsr_fpcr(), Some((0x11, 0x22)));
    assert_eq!((registers.z(32), registers.p(16)), (None, None));
    assert_eq!(registers.za(0), None);
}

#[test]
fn v_alone_is_shown_as_z() {
    let mut note = header(16 + 528, 1680, 48, 64, 2);
    for n in 0..32 {
        note.extend([n; 16]);
    }
    note.extend([0x11, 0, 0, 0, 0x22, 0, 0, 0]);
    note.resize(16 + 528, 0);
    let registers = VectorRegisters::from_note(Note::Sve, &note).unwrap();
    assert_eq!(registers.view().presence, Presence::Fpsimd);
    assert!(registers.view().inherit);
    let z = registers.z(31).unwrap();
    assert_eq!((&z[..16], &z[16..]), (&[31; 16][..], &[0; 32][..]));
    assert_eq!((registers.p(0), registers.ffr()), (None, None));
    assert_eq!(registers.fpsr_fpcr(), Some((0x11, 0x22)));
    assert_eq!(registers.z(32), None);
}

#[test]
fn rows_of_za() {
    let mut note = header(16 + 32 * 32, 16 + 32 * 32, 32, 64, 0);
    for n in 0..32 {
        note.extend([n; 32]);
    }
    let registers = VectorRegisters::from_note(Note::Za, &note).unwrap();
    // The kernel says the present size; what it can have is with the greatest length.
    assert_eq!(registers.view().greatest_size, 16 + 64 * 64);
    assert_eq!(registers.za(31).unwrap(), [31; 32]);
    assert_eq!((registers.za(32), registers.z(0)), (None, None));
    let off = header(16, 16, 32, 64, 0);
    let off = VectorRegisters::from_note(Note::Za, &off).unwrap();
    assert_eq!((off.view().presence, off.za(0)), (Presence::Off, None));
}

#[test]
fn damaged_note_is_refused() {
    let note = full_sve();
    for length in [0, 15, 16, 100, 1671] {
        let wanted = if length < 16 { 16 } else { 1672 };
        let error = VectorRegisters::from_note(Note::Sve, &note[..length]).unwrap_err();
        let short = NoteError::Short {
            wanted,
            found: length,
        };
        assert_eq!(error, short);
    }
    for length in [8, 17, 8208] {
        let note = header(16, 16, length, 64, 0);
        let error = VectorView::from_note(Note::Za, &note).unwrap_err();
        assert_eq!(error, NoteError::Length(length.into()));
    }
    let error = VectorView::from_note(Note::Fpmr, &note).unwrap_err();
    assert_eq!(error, NoteError::NoVectors(Note::Fpmr));
    // No length is that of a machine without SVE, and of nothing else.
    let none = header(16 + 528, 16 + 528, 0, 0, 0);
    assert!(VectorView::from_note(Note::Sve, &none).is_ok());
    assert!(VectorView::from_note(Note::Ssve, &none).is_err());
}

/// The notes of a thread on a machine with SVE, SME or both, in a mode.
fn notes_of(sve: bool, sme: bool, streaming: bool, za: bool) -> Vec<(Note, Vec<u8>)> {
    let z = |is_on: bool| match is_on {
        true => header(16 + 528, 16 + 528, 16, 16, 1),
        false => header(16, 16 + 528, 16, 16, 0),
    };
    let array = header(if za { 16 + 256 } else { 16 }, 16 + 256, 16, 16, 0);
    let all = [
        (Note::Fpsimd, true, vec![1; 528]),
        (Note::Tls, true, vec![2; 16]),
        (Note::Sve, sve, z(!streaming)),
        (Note::Ssve, sme, z(streaming)),
        (Note::Za, sme, array),
        (Note::Zt, sme, vec![3; 64]),
        (Note::Fpmr, true, vec![4; 8]),
    ];
    let there = all.into_iter().filter(|(_, there, _)| *there);
    there.map(|(note, _, bytes)| (note, bytes)).collect()
}

/// Every order ends in the mode that the notes are of, by the rules of sve.rst and sme.rst.
#[test]
fn order_of_writes_ends_in_the_mode() {
    // Bits: SVE, SME, streaming mode and ZA of the notes and of the thread; whether another length leaves streaming
    // mode, as it did in some kernels.
    for bits in 0..128 {
        let is = |n: u32| bits >> n & 1 != 0;
        let (sve, sme, streaming, za) = (is(0), is(1), is(2), is(3));
        let (mut sm, mut za_on, length_leaves) = (is(4), is(5), is(6));
        if !sme && (streaming || za || sm || za_on) {
            continue;
        }
        let notes = notes_of(sve, sme, streaming, za);
        let mut is_whole = false;
        for (note, bytes) in write_order(&notes) {
            let length = u16::from_le_bytes([bytes[8 % bytes.len()], bytes[9 % bytes.len()]]);
            match note {
                // V alone, of whichever mode.
                Note::Fpsimd => is_whole = !sve && !sm,
                // One without a length is for machines without SVE, one with a length for others.
                Note::Sve => {
                    assert_eq!(length != 0, sve, "{bits:#x}");
                    (sm, is_whole) = (false, length != 0);
                }
                Note::Ssve => (sm, is_whole) = (true, true),
                // Another length: V is left of Z.
                Note::Za => {
                    (za_on, is_whole) = (za, false);
                    sm &= !length_leaves;
                }
                Note::Zt => za_on = true,
                _ => {}
            }
        }
        let found = (sm, za_on, is_whole);
        assert_eq!(found, (streaming, za, true), "{bits:#x}");
    }
}

/// An ELF file with a program header of each type, and notes of two threads.
fn core_file() -> Vec<u8> {
    let note = |owner: &[u8], number: u32, content: &[u8]| {
        let mut bytes = Vec::new();
        // The zero byte behind the name is counted, what fills up a word is not.
        let length = owner.iter().position(|byte| *byte == 0).unwrap() as u32 + 1;
        bytes.extend(length.to_le_bytes());
        bytes.extend((content.len() as u32).to_le_bytes());
        bytes.extend(number.to_le_bytes());
        bytes.extend(owner);
        bytes.extend(content);
        bytes.resize(bytes.len().div_ceil(4) * 4, 0);
        bytes
    };
    let (core, linux) = (&b"CORE\0\0\0\0"[..], &b"LINUX\0\0\0"[..]);
    let notes = [
        note(core, 1, &[1; 7]),
        note(linux, 0x40c, &[2; 20]),
        note(b"XEN\0", 2, &[5; 4]),
        note(core, 2, &[3; 4]),
    ];
    let notes = notes.concat();
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(64, 0);
    file[32] = 64; // e_phoff
    file[54] = 56; // e_phentsize
    file[56] = 2; // e_phnum
    for (kind, first, length) in [(1u32, 0u64, 0u64), (4, 64 + 2 * 56, notes.len() as u64)] {
        let start = file.len();
        file.extend(kind.to_le_bytes());
        file.resize(start + 8, 0);
        file.extend(first.to_le_bytes());
        file.resize(start + 32, 0);
        file.extend(length.to_le_bytes());
        file.resize(start + 56, 0);
    }
    [file, notes].concat()
}

#[test]
fn notes_of_a_core_file() {
    let file = core_file();
    let notes = core_notes(&file).unwrap();
    let found: Vec<_> = notes
        .iter()
        .map(|note| (note.owner, note.number, note.bytes))
        .collect();
    let expected: [(&[u8], u32, &[u8]); 4] = [
        (b"CORE", 1, &[1; 7]),
        (b"LINUX", 0x40c, &[2; 20]),
        (b"XEN", 2, &[5; 4]),
        (b"CORE", 2, &[3; 4]),
    ];
    assert_eq!(found, expected);
    // Another owner has numbers of its own.
    let kinds: Vec<_> = notes.iter().map(|note| note.kind()).collect();
    assert_eq!(kinds, [None, Some(Note::Za), None, Some(Note::Fpsimd)]);

    // A process with more mappings than the field counts: the number is in a section header, here the last bytes.
    let mut many = file.clone();
    (many[56], many[57]) = (0xff, 0xff);
    assert_eq!(core_notes(&many), Err(NoteError::NoElf), "no section");
    many[40..48].copy_from_slice(&(file.len() as u64).to_le_bytes()); // e_shoff
    assert!(core_notes(&many).is_err(), "cut off");
    many.resize(file.len() + 64, 0);
    many[file.len() + 44] = 2; // sh_info
    assert_eq!(core_notes(&many).as_ref(), Ok(&notes));

    // Program headers of no size would all be the first one.
    for size in [0, 55, 57] {
        let mut other = file.clone();
        (other[54], other[56], other[57]) = (size, 0xff, 0xfe);
        assert_eq!(core_notes(&other), Err(NoteError::NoElf), "{size}");
    }
    // Cut off anywhere, it is an error or has less notes, and is never read behind its end.
    for length in 0..file.len() {
        match core_notes(&file[..length]) {
            Ok(notes) => assert!(notes.len() < 4, "{length}"),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    for (at, byte) in (0..file.len()).flat_map(|at| [0, 0x7f, 0xff].map(|byte| (at, byte))) {
        let mut damaged = file.clone();
        damaged[at] = byte;
        let _ = core_notes(&damaged);
    }
}
