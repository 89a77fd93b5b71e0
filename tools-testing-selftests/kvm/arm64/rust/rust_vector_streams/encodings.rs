// SPDX-License-Identifier: GPL-2.0-only

//! The classes of instructions of which streams are made, after the tables of encodings in the Arm
//! ARM ("A64 instruction set encoding"). In a word of a class all bits that are not fixed are
//! random: what is allocated there today and what will be some day. What is not, traps.

/// A class of instructions: the words whose bits in `mask` are `value`.
pub struct Class {
    pub name: &'static str,
    pub value: u32,
    pub mask: u32,
    pub needs: Needs,
    pub prepare: Prepare,
}

/// Where the instructions of a class can run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Everywhere.
    Nothing,
    /// Where all of AdvSIMD is: not in streaming mode, but with FA64.
    Simd,
    /// Where there are Z and P.
    Vectors,
    /// As before, and with FFR.
    Ffr,
    /// In streaming mode.
    Streaming,
    /// With ZA on.
    Za,
    /// In streaming mode with ZA on.
    Both,
    /// With FPMR.
    Fpmr,
    /// With SME, in any mode.
    Sme,
}

/// What has to be in registers, so that the instructions of a class do not all fault.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Prepare {
    Nothing,
    /// The address of memory in Xn.
    Base,
    /// The same, and a small number in Xm.
    Indexed,
    /// The address of memory in Xn, small numbers in Zm.
    Offsets,
    /// Addresses of memory in Zn, as elements of 32 bits or of 64, and a small number in Xm.
    Addresses32,
    Addresses64,
    /// What FFR can hold, in Pn.
    FirstFaults,
    /// Nothing before it, but behind it an instruction that it belongs to.
    Prefix,
}

use Needs::*;
use Prepare::{Addresses32, Addresses64, Base, FirstFaults, Indexed, Offsets, Prefix};

const fn class(name: &'static str, value: u32, mask: u32, needs: Needs) -> Class {
    memory(name, value, mask, needs, Prepare::Nothing)
}

const fn memory(
    name: &'static str,
    value: u32,
    mask: u32,
    needs: Needs,
    prepare: Prepare,
) -> Class {
    Class {
        name,
        value,
        mask,
        needs,
        prepare,
    }
}

#[rustfmt::skip]
pub const CLASSES: &[Class] = &[
    // Scalar floating point
    class("FP: from fixed point",              0x1e02_0000, 0x7f3e_0000, Nothing),
    class("FP: to fixed point",                0x1e18_0000, 0x7f3e_0000, Nothing),
    class("FP: to and from integers",          0x1e20_0000, 0x7f20_fc00, Nothing),
    class("FP: one source",                    0x1e20_4000, 0xff20_7c00, Nothing),
    class("FP: compare",                       0x1e20_2000, 0xff20_fc07, Nothing),
    class("FP: immediate",                     0x1e20_1000, 0xff20_1fe0, Nothing),
    class("FP: conditional compare",           0x1e20_0400, 0xff20_0c00, Nothing),
    class("FP: two sources",                   0x1e20_0800, 0xff20_0c00, Nothing),
    class("FP: conditional select",            0x1e20_0c00, 0xff20_0c00, Nothing),
    class("FP: three sources",                 0x1f00_0000, 0xff00_0000, Nothing),

    // AdvSIMD
    class("SIMD: AES",                         0x4e28_4800, 0xffff_cc00, Simd),
    class("SIMD: SHA, three registers",        0x5e00_0000, 0xff20_8c00, Simd),
    class("SIMD: SHA, two registers",          0x5e28_0800, 0xffff_cc00, Simd),
    class("SIMD: SHA512, three registers",     0xce60_8000, 0xffe0_b000, Simd),
    class("SIMD: SHA512, two registers",       0xcec0_8000, 0xffff_f000, Simd),
    class("SIMD: SM3, with index",             0xce40_8000, 0xffe0_c000, Simd),
    class("SIMD: EOR3, BCAX, SM3SS1",          0xce00_0000, 0xff80_8000, Simd),
    class("SIMD: XAR",                         0xce80_0000, 0xffe0_0000, Simd),
    class("SIMD: scalar copy",                 0x5e00_0400, 0xffe0_fc00, Simd),
    class("SIMD: scalar three same, half",     0x5e40_0400, 0xdf60_c400, Simd),
    class("SIMD: scalar two, half",            0x5e78_0800, 0xdf7e_0c00, Simd),
    class("SIMD: scalar three same, more",     0x7e00_8400, 0xff20_f400, Simd),
    class("SIMD: scalar two",                  0x5e20_0800, 0xdf3e_0c00, Simd),
    class("SIMD: scalar ADDP",                 0x5ef1_b800, 0xffff_fc00, Simd),
    class("SIMD: scalar pairwise",             0x5e30_c800, 0xdf3e_cc00, Simd),
    class("SIMD: scalar three different",      0x5e20_9000, 0xff20_9c00, Simd),
    class("SIMD: scalar three same",           0x5e20_0400, 0xdf20_0400, Simd),
    class("SIMD: scalar shift",                0x5f00_0400, 0xdf80_0400, Simd),
    class("SIMD: scalar by element",           0x5f00_0000, 0xdf00_0400, Simd),
    class("SIMD: table lookup",                0x0e00_0000, 0xbf20_8c00, Simd),
    class("SIMD: permute",                     0x0e00_0800, 0xbf20_8c00, Simd),
    class("SIMD: extract",                     0x2e00_0000, 0xbf20_8400, Simd),
    class("SIMD: copy",                        0x0e00_0400, 0x9fe0_8400, Simd),
    class("SIMD: three same, half",            0x0e40_0400, 0x9f60_c400, Simd),
    class("SIMD: two, half",                   0x0e78_0800, 0x9f7e_0c00, Simd),
    class("SIMD: three same, more",            0x0e00_8400, 0x9f20_8400, Simd),
    class("SIMD: two",                         0x0e20_0800, 0x9f3e_0c00, Simd),
    class("SIMD: across lanes",                0x0e30_0800, 0x9f3e_0c00, Simd),
    class("SIMD: three different",             0x0e20_0000, 0x9f20_0c00, Simd),
    class("SIMD: three same",                  0x0e20_0400, 0x9f20_0400, Simd),
    class("SIMD: immediate",                   0x0f00_0400, 0x9ff8_0400, Simd),
    class("SIMD: shift",                       0x0f00_0400, 0x9f80_0400, Simd),
    class("SIMD: by element",                  0x0f00_0000, 0x9f00_0400, Simd),

    // Loads and stores of V and below
    memory("V: structures",                    0x0c00_0000, 0xbfbf_0000, Simd, Base),
    memory("V: structures, post-indexed",      0x0c80_0000, 0xbfa0_0000, Simd, Indexed),
    memory("V: one structure",                 0x0d00_0000, 0xbf9f_0000, Simd, Base),
    memory("V: one structure, post-indexed",   0x0d80_0000, 0xbf80_0000, Simd, Indexed),
    memory("V: pairs",                         0x2c00_0000, 0x3e00_0000, Nothing, Base),
    class("V: literals",                       0x1c00_0000, 0x3f00_0000, Nothing),
    memory("V: unscaled, pre- and post-indexed", 0x3c00_0000, 0x3f20_0000, Nothing, Base),
    memory("V: atomic",                        0x3c20_0000, 0x3f20_0c00, Nothing, Indexed),
    memory("V: register offset",               0x3c20_0800, 0x3f20_0c00, Nothing, Indexed),
    memory("V: unsigned offset",               0x3d00_0000, 0x3f00_0000, Nothing, Base),
    memory("V: acquire and release",           0x1d00_0800, 0x3f20_0c00, Nothing, Base),

    // SVE
    class("SVE: integer, predicated",          0x0400_0000, 0xff20_e000, Vectors),
    class("SVE: integer reduction",            0x0400_2000, 0xff20_e000, Vectors),
    class("SVE: MLA, MLS",                     0x0400_4000, 0xff20_c000, Vectors),
    class("SVE: MAD, MSB",                     0x0400_c000, 0xff20_c000, Vectors),
    class("SVE: shift, predicated",            0x0400_8000, 0xff20_e000, Vectors),
    class("SVE: integer unary, predicated",    0x0400_a000, 0xff20_e000, Vectors),
    class("SVE: add and subtract",             0x0420_0000, 0xff20_e000, Vectors),
    class("SVE: logical",                      0x0420_2000, 0xff20_e000, Vectors),
    class("SVE: INDEX",                        0x0420_4000, 0xff20_f000, Vectors),
    class("SVE: ADDVL, RDVL, and streaming",   0x0420_5000, 0xff20_f000, Vectors),
    class("SVE: multiply",                     0x0420_6000, 0xff20_e000, Vectors),
    class("SVE: shift",                        0x0420_8000, 0xff20_e000, Vectors),
    class("SVE: ADR",                          0x0420_a000, 0xff20_f000, Vectors),
    class("SVE: FTSSEL, FEXPA",                0x0420_b000, 0xff20_f000, Vectors),
    memory("SVE: MOVPRFX",                     0x0420_bc00, 0xffff_fc00, Vectors, Prefix),
    memory("SVE: MOVPRFX, predicated",         0x0410_2000, 0xff3e_e000, Vectors, Prefix),
    class("SVE: element count",                0x0420_c000, 0xff20_c000, Vectors),
    class("SVE: logical immediate",            0x0500_0000, 0xff3c_0000, Vectors),
    class("SVE: copy immediate",               0x0510_0000, 0xff30_0000, Vectors),
    class("SVE: EXT",                          0x0520_0000, 0xffa0_e000, Vectors),
    class("SVE: permute quadwords",            0x05a0_0000, 0xffe0_e000, Vectors),
    class("SVE: DUP, TBL, INSR, UNPK, REV",    0x0520_2000, 0xff20_e000, Vectors),
    class("SVE: permute predicates",           0x0520_4000, 0xff30_e210, Vectors),
    class("SVE: PUNPK",                        0x0530_4000, 0xfffe_fe10, Vectors),
    class("SVE: REV of predicates",            0x0534_4000, 0xff3f_fe10, Vectors),
    class("SVE: ZIP, UZP, TRN",                0x0520_6000, 0xff20_e000, Vectors),
    class("SVE: permute, predicated",          0x0520_8000, 0xff20_c000, Vectors),
    class("SVE: SEL",                          0x0520_c000, 0xff20_c000, Vectors),
    class("SVE: compare",                      0x2400_0000, 0xff20_0000, Vectors),
    class("SVE: compare unsigned immediate",   0x2420_0000, 0xff20_0000, Vectors),
    class("SVE: compare signed immediate",     0x2500_0000, 0xff20_4000, Vectors),
    class("SVE: logical of predicates",        0x2500_4000, 0xff30_c000, Vectors),
    class("SVE: propagate break",              0x2500_c000, 0xff30_c000, Vectors),
    class("SVE: break",                        0x2510_4000, 0xff3f_c200, Vectors),
    class("SVE: BRKN",                         0x2518_4000, 0xffbf_c210, Vectors),
    class("SVE: PTEST",                        0x2550_c000, 0xffff_c21f, Vectors),
    class("SVE: PFIRST",                       0x2558_c000, 0xffff_fe10, Vectors),
    class("SVE: PNEXT",                        0x2519_c400, 0xff3f_fe10, Vectors),
    class("SVE: PTRUE",                        0x2518_e000, 0xff3e_fc10, Vectors),
    class("SVE: PFALSE",                       0x2518_e400, 0xffff_fff0, Vectors),
    class("SVE: RDFFR",                        0x2519_f000, 0xffff_fff0, Ffr),
    class("SVE: RDFFR, predicated",            0x2518_f000, 0xffbf_fe10, Ffr),
    memory("SVE: WRFFR",                       0x2528_9000, 0xffff_fe1f, Ffr, FirstFaults),
    class("SVE: SETFFR",                       0x252c_9000, 0xffff_ffff, Ffr),
    class("SVE: WHILE, CTERM",                 0x2520_0000, 0xff20_c000, Vectors),
    class("SVE: PSEL, WHILE of counters",      0x2520_4000, 0xff20_c000, Vectors),
    class("SVE: count predicate",              0x2520_8000, 0xff38_c000, Vectors),
    class("SVE: increment by predicate",       0x2528_8000, 0xff38_f000, Vectors),
    class("SVE: wide immediate",               0x2520_c000, 0xff20_c000, Vectors),
    class("SVE: dot products and more",        0x4400_0000, 0xff20_8000, Vectors),
    class("SVE: saturating, halving",          0x4400_8000, 0xff20_c000, Vectors),
    class("SVE: clamp, ZIPQ, UZPQ",            0x4400_c000, 0xff20_c000, Vectors),
    class("SVE: multiply by element",          0x4420_0000, 0xff20_0000, Vectors),
    class("SVE: widening",                     0x4500_0000, 0xff20_8000, Vectors),
    class("SVE: interleaving, bits, MMLA",     0x4500_8000, 0xff20_c000, Vectors),
    class("SVE: accumulate",                   0x4500_c000, 0xff20_c000, Vectors),
    class("SVE: narrowing",                    0x4520_0000, 0xff20_8000, Vectors),
    class("SVE: MATCH",                        0x4520_8000, 0xff20_e000, Vectors),
    class("SVE: HISTSEG, LUTI",                0x4520_a000, 0xff20_e000, Vectors),
    class("SVE: HISTCNT",                      0x4520_c000, 0xff20_e000, Vectors),
    class("SVE: AES, SM4, RAX1",               0x4520_e000, 0xff20_e000, Vectors),
    class("SVE: FCMLA",                        0x6400_0000, 0xff20_8000, Vectors),
    class("SVE: FCADD, FP pairwise, odd",      0x6400_8000, 0xff20_c000, Vectors),
    class("SVE: FP by element, widening",      0x6420_0000, 0xff20_0000, Vectors),
    class("SVE: FP",                           0x6500_0000, 0xff20_e000, Vectors),
    class("SVE: FP compare",                   0x6500_4000, 0xff20_4000, Vectors),
    class("SVE: FP, predicated",               0x6500_8000, 0xff20_e000, Vectors),
    class("SVE: FP unary, predicated",         0x6500_a000, 0xff20_e000, Vectors),
    class("SVE: FP reduction",                 0x6500_2000, 0xff38_e000, Vectors),
    class("SVE: FP estimates, FP8",            0x6508_3000, 0xff38_f000, Vectors),
    class("SVE: FP compare with 0",            0x6510_2000, 0xff38_e000, Vectors),
    class("SVE: FADDA",                        0x6518_2000, 0xff3f_e000, Vectors),
    class("SVE: FP multiply-add",              0x6520_0000, 0xff20_0000, Vectors),

    // Loads and stores of Z and P
    memory("Z: gather 32, X and Z",            0x8400_0000, 0xfe20_a000, Vectors, Offsets),
    memory("Z: gather 32, X and scaled Z",     0x8420_0000, 0xfe20_a000, Vectors, Offsets),
    memory("Z: gather 32, Z",                  0x8420_8000, 0xfe60_a000, Vectors, Addresses32),
    memory("Z: gather 32, Z and X",            0x8400_8000, 0xfe60_c000, Vectors, Addresses32),
    memory("Z: load and repeat one",           0x8440_8000, 0xfe40_8000, Vectors, Base),
    memory("Z: LDR",                           0x8580_4000, 0xffc0_e000, Vectors, Base),
    memory("P: LDR",                           0x8580_0000, 0xffc0_e010, Vectors, Base),
    memory("Z: load",                          0xa400_a000, 0xfe10_e000, Vectors, Base),
    memory("Z: load, X and X",                 0xa400_4000, 0xfe00_e000, Vectors, Indexed),
    memory("Z: load several",                  0xa400_e000, 0xfe00_e000, Vectors, Base),
    memory("Z: load several, X and X",         0xa400_c000, 0xfe00_e000, Vectors, Indexed),
    memory("Z: load several of quadwords",     0xa420_8000, 0xfe20_e000, Vectors, Indexed),
    memory("Z: load and repeat many",          0xa400_2000, 0xfe10_e000, Vectors, Base),
    memory("Z: load and repeat many, X and X", 0xa400_0000, 0xfe00_e000, Vectors, Indexed),
    memory("Z: gather 64, X and Z",            0xc400_0000, 0xfe00_a000, Vectors, Offsets),
    memory("Z: gather 64, X and long Z",       0xc440_8000, 0xfe40_a000, Vectors, Offsets),
    memory("Z: gather 64, Z",                  0xc420_8000, 0xfe60_a000, Vectors, Addresses64),
    memory("Z: gather 64, Z and X",            0xc400_8000, 0xfe60_a000, Vectors, Addresses64),
    memory("Z: gather quadwords",              0xc400_a000, 0xffe0_e000, Vectors, Addresses64),
    memory("Z: STR",                           0xe580_4000, 0xffc0_e000, Vectors, Base),
    memory("P: STR",                           0xe580_0000, 0xffc0_e010, Vectors, Base),
    memory("Z: store",                         0xe400_e000, 0xfe00_e000, Vectors, Base),
    memory("Z: store, X and X",                0xe400_4000, 0xfe00_e000, Vectors, Indexed),
    memory("Z: store several, X and X",        0xe400_6000, 0xfe00_e000, Vectors, Indexed),
    memory("Z: scatter, X and Z",              0xe400_8000, 0xfe00_a000, Vectors, Offsets),
    memory("Z: scatter, X and long Z",         0xe400_a000, 0xfe40_e000, Vectors, Offsets),
    memory("Z: scatter 64, Z",                 0xe440_a000, 0xfe60_e000, Vectors, Addresses64),
    memory("Z: scatter 32, Z",                 0xe460_a000, 0xfe60_e000, Vectors, Addresses32),
    memory("Z: scatter, Z and X",              0xe400_2000, 0xfe40_e000, Vectors, Addresses64),

    // SME
    class("SME: outer products",               0x8080_0000, 0xde80_0000, Both),
    class("SME: outer products, more",         0x8000_0000, 0xfe80_0000, Both),
    class("SME: move to and from tiles",       0xc000_0000, 0xff38_0000, Both),
    class("SME: ADDHA, ADDVA",                 0xc090_0000, 0xffbe_0018, Both),
    class("SME: ZERO tiles",                   0xc008_0000, 0xffff_ff00, Za),
    class("SME: ZERO vectors of ZA",           0xc00c_0000, 0xfffc_1ff8, Both),
    class("SME: ZERO ZT0",                     0xc048_0001, 0xffff_ffff, Za),
    class("SME: MOVT",                         0xc04c_03e0, 0xfffc_8fe0, Za),
    class("SME: LUTI",                         0xc088_0000, 0xffb8_0000, Both),
    class("SME: ZA and several Z, by element", 0xc100_0000, 0xff20_0000, Both),
    class("SME: ZA and several Z",             0xc120_0000, 0xff20_8000, Both),
    class("SME: several Z, select",            0xc120_8000, 0xff20_e000, Streaming),
    class("SME: several Z by one",             0xc120_a000, 0xff30_f400, Streaming),
    class("SME: several Z by several",         0xc120_b000, 0xff21_f400, Streaming),
    class("SME: several Z, clamp and permute", 0xc120_c000, 0xff20_e000, Streaming),
    class("SME: several Z, convert",           0xc120_e000, 0xff20_fc00, Streaming),
    memory("SME: load and store several Z",    0xa040_0000, 0xfec0_0000, Streaming, Base),
    memory("SME: the same, X and X",           0xa000_0000, 0xfec0_0000, Streaming, Indexed),
    memory("SME: load and store tiles",        0xe000_0000, 0xff00_0000, Both, Indexed),
    memory("SME: the same of quadwords",       0xe1c0_0000, 0xffc0_0000, Both, Indexed),
    memory("SME: LDR and STR of ZA",           0xe100_0000, 0xffdf_9c10, Za, Base),
    memory("SME: LDR and STR of ZT0",          0xe11f_8000, 0xffdf_fc1f, Za, Base),

    // Moves between X and registers of the system
    class("system: FPCR",                      0xd51b_4400, 0xffdf_ffe0, Nothing),
    class("system: FPSR",                      0xd51b_4420, 0xffdf_ffe0, Nothing),
    class("system: FPMR",                      0xd51b_4440, 0xffdf_ffe0, Fpmr),
    class("system: read SVCR",                 0xd53b_4240, 0xffff_ffe0, Sme),
    class("system: TPIDR2_EL0",                0xd51b_d0a0, 0xffdf_ffe0, Sme),
];

/// What no word is, as two runs of it can differ on one CPU.
///
/// For the same reason a WRFFR follows a WHILE that gives it what FFR can hold, and SVCR is written
/// where the stream keeps track of it.
#[rustfmt::skip]
pub const EXCLUDED: &[(&str, u32, u32)] = &[
    // Each element that is not the first active one can be left out for any reason. Bit 13 says so
    // in a gather, and is 0 in their classes.
    ("LDFF1, X and X",           0xa400_6000, 0xfe00_e000),
    ("LDNF1",                    0xa410_a000, 0xfe10_e000),
    // What follows has to belong to it, or the result is not defined: only those of its own class.
    ("MOVPRFX",                  0x0420_bc00, 0xffff_fc00),
    ("MOVPRFX, predicated",      0x0410_2000, 0xff3e_e000),
];
