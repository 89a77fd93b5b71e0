// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! What registers are called. Source: `Documentation/virt/kvm/api.rst`, `asm/kvm.h`, and the Arm ARM.

/// The name of a register of a vCPU, by the id that KVM has for it. A system register without a name here has
/// the one that every assembler knows, such as `S3_0_C1_C0_1`, and all else its id.
///
/// ```
/// use arm64_vl::register_name;
///
/// assert_eq!(register_name(0x6030_0000_0010_003e), "SP");
/// assert_eq!(register_name(0x6030_0000_0013_c038), "ID_AA64MMFR0_EL1");
/// assert_eq!(register_name(0x6080_0000_0017_0020), "ZA.H[1]");
/// assert_eq!(register_name(0x6030_0000_0013_c081), "S3_0_C1_C0_1");
/// ```
pub fn register_name(id: u64) -> String {
    let number = id & 0xffff;
    let name = match id >> 16 & 0xfff {
        0x10 => core(number),
        0x13 => Some(system(number)),
        0x14 => Some(format!("firmware register {number}")),
        0x15 => sve(number),
        0x16 => Some(format!("firmware features {number}")),
        0x17 => sme(id),
        _ => None,
    };
    name.unwrap_or_else(|| format!("{id:#018x}"))
}

/// By the place in `struct kvm_regs`, in words of 32 bits.
fn core(word: u64) -> Option<String> {
    Some(match word {
        0x00..0x3e => format!("X{}", word / 2),
        0x3e => "SP".into(),
        0x40 => "PC".into(),
        0x42 => "PSTATE".into(),
        0x44 => "SP_EL1".into(),
        0x46 => "ELR_EL1".into(),
        0x48 => "SPSR_EL1".into(),
        0x4a => "SPSR_abt".into(),
        0x4c => "SPSR_und".into(),
        0x4e => "SPSR_irq".into(),
        0x50 => "SPSR_fiq".into(),
        0x54..0xd4 => format!("V{}", (word - 0x54) / 4),
        0xd4 => "FPSR".into(),
        0xd5 => "FPCR".into(),
        _ => return None,
    })
}

fn sve(number: u64) -> Option<String> {
    let n = number >> 5 & 31;
    Some(match number {
        0xffff => "SVE_VLS".into(),
        0x000..0x400 => format!("Z{n}"),
        0x400..0x600 => format!("P{n}"),
        0x600..0x620 => "FFR".into(),
        _ => return None,
    })
}

fn sme(id: u64) -> Option<String> {
    // ZT0 and row 48 of ZA have the same number, and another size.
    Some(match (id >> 52 & 15, id & 0xffff) {
        (6, 0xfffe) => "SME_VLS".into(),
        (6, 0x600) => "ZT0".into(),
        (8, number) if number < 0x2000 && number & 31 == 0 => format!("ZA.H[{}]", number >> 5),
        _ => return None,
    })
}

/// The fields of four bits of an ID register, from the lowest; "-" where there is none.
#[cfg(feature = "kvm")]
fn fields(name: &str) -> &'static str {
    match name {
        "ID_AA64PFR0_EL1" => "EL0 EL1 EL2 EL3 FP AdvSIMD GIC RAS SVE SEL2 MPAM AMU DIT RME CSV2 CSV3",
        "ID_AA64PFR1_EL1" => "BT SSBS MTE RAS_frac MPAM_frac - SME RNDR_trap CSV2_frac NMI MTE_frac GCS THE MTEX DF2 PFAR",
        "ID_AA64ZFR0_EL1" => "SVEver AES - ELTPERM BitPerm BF16 B16B16 - SHA3 - SM4 I8MM - F32MM F64MM -",
        "ID_AA64DFR0_EL1" => "DebugVer TraceVer PMUVer BRPs PMSS WRPs SEBEP CTX_CMPs PMSVer DoubleLock TraceFilt TraceBuffer MTPMU BRBE ExtTrcBuff HPMN0",
        "ID_AA64ISAR0_EL1" => "- AES SHA1 SHA2 CRC32 ATOMIC TME RDM SHA3 SM3 SM4 DP FHM TS TLB RNDR",
        "ID_AA64ISAR1_EL1" => "DPB APA API JSCVT FCMA LRCPC GPA GPI FRINTTS SB SPECRES BF16 DGH I8MM XS LS64",
        "ID_AA64ISAR2_EL1" => "WFxT RPRES GPA3 APA3 MOPS BC PAC_frac CLRBHB SYSREG_128 SYSINSTR_128 PRFMSLC - RPRFM CSSC LUT ATS1A",
        "ID_AA64MMFR0_EL1" => "PARANGE ASIDBITS BIGEND SNSMEM BIGENDEL0 TGRAN16 TGRAN64 TGRAN4 TGRAN16_2 TGRAN64_2 TGRAN4_2 EXS - - FGT ECV",
        "ID_AA64MMFR1_EL1" => "HAFDBS VMIDBITS VH HPDS LO PAN SPECSEI XNX TWED ETS HCX AFP nTLBPA TIDCP1 CMOW ECBHB",
        "ID_AA64MMFR2_EL1" => "CNP UAO LSM IESB VARANGE CCIDX NV ST AT IDS FWB - TTL BBM EVT E0PD",
        _ => "",
    }
}

/// The fields in which two values of an ID register differ, such as `PARANGE 6 not 5`; nothing for a register
/// that is none.
#[cfg(feature = "kvm")]
pub(crate) fn field_differences(id: u64, saved: u64, found: u64) -> Option<String> {
    let number = id & 0xffff;
    // Op0 3, Op1 0, CRn 0, CRm 1 to 7.
    if id >> 16 & 0xfff != 0x13 || !(0xc008..0xc040).contains(&number) {
        return None;
    }
    let names: Vec<_> = fields(&system(number)).split_whitespace().collect();
    let differ = (0..16).filter_map(|n| {
        let field = |value: u64| value >> (4 * n) & 15;
        let (saved, found) = (field(saved), field(found));
        let name = match names.get(n) {
            Some(name) if *name != "-" => (*name).into(),
            _ => format!("bits {}:{}", 4 * n + 3, 4 * n),
        };
        (saved != found).then(|| format!("{name} {saved}, not {found}"))
    });
    let differ: Vec<_> = differ.collect();
    (!differ.is_empty()).then(|| differ.join("; "))
}

fn system(number: u64) -> String {
    let (op0, op1) = (number >> 14, number >> 11 & 7);
    let (crn, crm, op2) = (number >> 7 & 15, number >> 3 & 15, number & 7);
    let named = SYSTEM.iter().find(|(known, _)| u64::from(*known) == number);
    named.map_or_else(
        || format!("S{op0}_{op1}_C{crn}_C{crm}_{op2}"),
        |(_, name)| (*name).into(),
    )
}

const fn sys(op0: u16, op1: u16, crn: u16, crm: u16, op2: u16) -> u16 {
    op0 << 14 | op1 << 11 | crn << 7 | crm << 3 | op2
}

/// Those that restores are about: identification, what SVE and SME have, clocks, and the common ones of EL1.
const SYSTEM: [(u16, &str); 76] = [
    (sys(3, 0, 0, 0, 0), "MIDR_EL1"),
    (sys(3, 0, 0, 0, 5), "MPIDR_EL1"),
    (sys(3, 0, 0, 0, 6), "REVIDR_EL1"),
    (sys(3, 0, 0, 1, 0), "ID_PFR0_EL1"),
    (sys(3, 0, 0, 1, 1), "ID_PFR1_EL1"),
    (sys(3, 0, 0, 1, 2), "ID_DFR0_EL1"),
    (sys(3, 0, 0, 1, 4), "ID_MMFR0_EL1"),
    (sys(3, 0, 0, 1, 5), "ID_MMFR1_EL1"),
    (sys(3, 0, 0, 1, 6), "ID_MMFR2_EL1"),
    (sys(3, 0, 0, 1, 7), "ID_MMFR3_EL1"),
    (sys(3, 0, 0, 2, 0), "ID_ISAR0_EL1"),
    (sys(3, 0, 0, 2, 1), "ID_ISAR1_EL1"),
    (sys(3, 0, 0, 2, 2), "ID_ISAR2_EL1"),
    (sys(3, 0, 0, 2, 3), "ID_ISAR3_EL1"),
    (sys(3, 0, 0, 2, 4), "ID_ISAR4_EL1"),
    (sys(3, 0, 0, 2, 5), "ID_ISAR5_EL1"),
    (sys(3, 0, 0, 2, 6), "ID_MMFR4_EL1"),
    (sys(3, 0, 0, 2, 7), "ID_ISAR6_EL1"),
    (sys(3, 0, 0, 3, 4), "ID_PFR2_EL1"),
    (sys(3, 0, 0, 4, 0), "ID_AA64PFR0_EL1"),
    (sys(3, 0, 0, 4, 1), "ID_AA64PFR1_EL1"),
    (sys(3, 0, 0, 4, 2), "ID_AA64PFR2_EL1"),
    (sys(3, 0, 0, 4, 4), "ID_AA64ZFR0_EL1"),
    (sys(3, 0, 0, 4, 5), "ID_AA64SMFR0_EL1"),
    (sys(3, 0, 0, 4, 7), "ID_AA64FPFR0_EL1"),
    (sys(3, 0, 0, 5, 0), "ID_AA64DFR0_EL1"),
    (sys(3, 0, 0, 5, 1), "ID_AA64DFR1_EL1"),
    (sys(3, 0, 0, 6, 0), "ID_AA64ISAR0_EL1"),
    (sys(3, 0, 0, 6, 1), "ID_AA64ISAR1_EL1"),
    (sys(3, 0, 0, 6, 2), "ID_AA64ISAR2_EL1"),
    (sys(3, 0, 0, 6, 3), "ID_AA64ISAR3_EL1"),
    (sys(3, 0, 0, 7, 0), "ID_AA64MMFR0_EL1"),
    (sys(3, 0, 0, 7, 1), "ID_AA64MMFR1_EL1"),
    (sys(3, 0, 0, 7, 2), "ID_AA64MMFR2_EL1"),
    (sys(3, 0, 0, 7, 3), "ID_AA64MMFR3_EL1"),
    (sys(3, 0, 0, 7, 4), "ID_AA64MMFR4_EL1"),
    (sys(3, 0, 1, 0, 0), "SCTLR_EL1"),
    (sys(3, 0, 1, 0, 2), "CPACR_EL1"),
    (sys(3, 0, 1, 2, 0), "ZCR_EL1"),
    (sys(3, 0, 1, 2, 4), "SMPRI_EL1"),
    (sys(3, 0, 1, 2, 6), "SMCR_EL1"),
    (sys(3, 0, 2, 0, 0), "TTBR0_EL1"),
    (sys(3, 0, 2, 0, 1), "TTBR1_EL1"),
    (sys(3, 0, 2, 0, 2), "TCR_EL1"),
    (sys(3, 0, 5, 1, 0), "AFSR0_EL1"),
    (sys(3, 0, 5, 1, 1), "AFSR1_EL1"),
    (sys(3, 0, 5, 2, 0), "ESR_EL1"),
    (sys(3, 0, 6, 0, 0), "FAR_EL1"),
    (sys(3, 0, 7, 4, 0), "PAR_EL1"),
    (sys(3, 0, 9, 14, 1), "PMINTENSET_EL1"),
    (sys(3, 0, 10, 2, 0), "MAIR_EL1"),
    (sys(3, 0, 12, 0, 0), "VBAR_EL1"),
    (sys(3, 0, 13, 0, 1), "CONTEXTIDR_EL1"),
    (sys(3, 0, 13, 0, 4), "TPIDR_EL1"),
    (sys(3, 0, 14, 1, 0), "CNTKCTL_EL1"),
    (sys(3, 1, 0, 0, 1), "CLIDR_EL1"),
    (sys(3, 1, 0, 0, 6), "SMIDR_EL1"),
    (sys(3, 2, 0, 0, 0), "CSSELR_EL1"),
    (sys(3, 3, 0, 0, 1), "CTR_EL0"),
    (sys(3, 3, 4, 2, 2), "SVCR"),
    (sys(3, 3, 4, 4, 2), "FPMR"),
    (sys(3, 3, 9, 12, 0), "PMCR_EL0"),
    (sys(3, 3, 9, 12, 1), "PMCNTENSET_EL0"),
    (sys(3, 3, 9, 12, 3), "PMOVSCLR_EL0"),
    (sys(3, 3, 9, 12, 5), "PMSELR_EL0"),
    (sys(3, 3, 9, 13, 0), "PMCCNTR_EL0"),
    (sys(3, 3, 9, 14, 0), "PMUSERENR_EL0"),
    (sys(3, 3, 13, 0, 2), "TPIDR_EL0"),
    (sys(3, 3, 13, 0, 3), "TPIDRRO_EL0"),
    (sys(3, 3, 13, 0, 5), "TPIDR2_EL0"),
    (sys(3, 3, 14, 0, 1), "CNTPCT_EL0"),
    // KVM's ids of the virtual timer are not those of the registers ("Timer registers", asm/kvm.h).
    (sys(3, 3, 14, 0, 2), "CNTV_CVAL_EL0"),
    (sys(3, 3, 14, 2, 1), "CNTP_CTL_EL0"),
    (sys(3, 3, 14, 2, 2), "CNTP_CVAL_EL0"),
    (sys(3, 3, 14, 3, 1), "CNTV_CTL_EL0"),
    (sys(3, 3, 14, 3, 2), "CNTVCT_EL0"),
];
