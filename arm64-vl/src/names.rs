// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! What registers are called. Source: `Documentation/virt/kvm/api.rst`, `asm/kvm.h`, and the Arm ARM.

/// Text of a file, such as the name of a machine, as one line that can be shown: what moves the cursor of a terminal,
/// or turns the direction of writing, is spelt out. XML has no room for most of it either.
///
/// ```
/// assert_eq!(arm64_vl::printable("a\nset b\u{9b}"), r"a\nset b\u{9b}");
/// ```
pub fn printable(text: &str) -> String {
    let spelt_out = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}' | '\u{fffe}' | '\u{ffff}')
    };
    let mut out = String::new();
    for c in text.chars() {
        match spelt_out(c) {
            true => out.extend(c.escape_default()),
            false => out.push(c),
        }
    }
    out
}

/// The name of a register of a vCPU, by the id that KVM has for it. A system register without a name here has
/// the one that every assembler knows, such as `S3_0_C0_C3_3`, and all else its id.
///
/// ```
/// use arm64_vl::register_name;
///
/// assert_eq!(register_name(0x6030_0000_0010_003e), "SP");
/// assert_eq!(register_name(0x6030_0000_0013_c038), "ID_AA64MMFR0_EL1");
/// assert_eq!(register_name(0x6080_0000_0017_0020), "ZA.H[1]");
/// assert_eq!(register_name(0x6030_0000_0013_c01b), "S3_0_C0_C3_3");
/// ```
pub fn register_name(id: u64) -> String {
    let number = id & 0xffff;
    let name = match id >> 16 & 0xfff {
        0x10 => core(number),
        0x11 if number < 0x100 => Some(format!("CCSIDR_EL1[{number}]")),
        0x13 => Some(system(number)),
        0x14 => Some(match number {
            0 => "KVM_REG_ARM_PSCI_VERSION".into(),
            1..=3 => format!("KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_{number}"),
            _ => format!("firmware register {number}"),
        }),
        0x15 => sve(number),
        0x16 => Some(match number {
            0 => "KVM_REG_ARM_STD_BMAP".into(),
            1 => "KVM_REG_ARM_STD_HYP_BMAP".into(),
            2 => "KVM_REG_ARM_VENDOR_HYP_BMAP".into(),
            3 => "KVM_REG_ARM_VENDOR_HYP_BMAP_2".into(),
            _ => format!("firmware features {number}"),
        }),
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

fn system(number: u64) -> String {
    let (op0, op1) = (number >> 14, number >> 11 & 7);
    let (crn, crm, op2) = (number >> 7 & 15, number >> 3 & 15, number & 7);
    let n = (crm & 3) << 3 | op2;
    match (op0, op1, crn, crm, op2) {
        (2, 0, 0, _, 4) => return format!("DBGBVR{crm}_EL1"),
        (2, 0, 0, _, 5) => return format!("DBGBCR{crm}_EL1"),
        (2, 0, 0, _, 6) => return format!("DBGWVR{crm}_EL1"),
        (2, 0, 0, _, 7) => return format!("DBGWCR{crm}_EL1"),
        (3, 3, 14, 8..12, _) if n < 31 => return format!("PMEVCNTR{n}_EL0"),
        (3, 3, 14, 15, 7) => return "PMCCFILTR_EL0".into(),
        (3, 3, 14, 12..16, _) => return format!("PMEVTYPER{n}_EL0"),
        _ => {}
    }
    let named = SYSTEM.iter().find(|(known, _)| u64::from(*known) == number);
    named.map_or_else(
        || format!("S{op0}_{op1}_C{crn}_C{crm}_{op2}"),
        |(_, name)| (*name).into(),
    )
}

const fn sys(op0: u16, op1: u16, crn: u16, crm: u16, op2: u16) -> u16 {
    op0 << 14 | op1 << 11 | crn << 7 | crm << 3 | op2
}

/// All that KVM lists, but for those of which there are many.
const SYSTEM: [(u16, &str); 177] = [
    (sys(2, 0, 0, 2, 0), "MDCCINT_EL1"),
    (sys(2, 0, 0, 2, 2), "MDSCR_EL1"),
    (sys(2, 0, 1, 1, 4), "OSLSR_EL1"),
    (sys(2, 4, 0, 7, 0), "DBGVCR32_EL2"),
    (sys(3, 0, 0, 0, 0), "MIDR_EL1"),
    (sys(3, 0, 0, 0, 5), "MPIDR_EL1"),
    (sys(3, 0, 0, 0, 6), "REVIDR_EL1"),
    (sys(3, 0, 0, 1, 0), "ID_PFR0_EL1"),
    (sys(3, 0, 0, 1, 1), "ID_PFR1_EL1"),
    (sys(3, 0, 0, 1, 2), "ID_DFR0_EL1"),
    (sys(3, 0, 0, 1, 3), "ID_AFR0_EL1"),
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
    (sys(3, 0, 0, 3, 0), "MVFR0_EL1"),
    (sys(3, 0, 0, 3, 1), "MVFR1_EL1"),
    (sys(3, 0, 0, 3, 2), "MVFR2_EL1"),
    (sys(3, 0, 0, 3, 4), "ID_PFR2_EL1"),
    (sys(3, 0, 0, 3, 5), "ID_DFR1_EL1"),
    (sys(3, 0, 0, 3, 6), "ID_MMFR5_EL1"),
    (sys(3, 0, 0, 4, 0), "ID_AA64PFR0_EL1"),
    (sys(3, 0, 0, 4, 1), "ID_AA64PFR1_EL1"),
    (sys(3, 0, 0, 4, 2), "ID_AA64PFR2_EL1"),
    (sys(3, 0, 0, 4, 4), "ID_AA64ZFR0_EL1"),
    (sys(3, 0, 0, 4, 5), "ID_AA64SMFR0_EL1"),
    (sys(3, 0, 0, 4, 7), "ID_AA64FPFR0_EL1"),
    (sys(3, 0, 0, 5, 0), "ID_AA64DFR0_EL1"),
    (sys(3, 0, 0, 5, 1), "ID_AA64DFR1_EL1"),
    (sys(3, 0, 0, 5, 2), "ID_AA64DFR2_EL1"),
    (sys(3, 0, 0, 5, 4), "ID_AA64AFR0_EL1"),
    (sys(3, 0, 0, 5, 5), "ID_AA64AFR1_EL1"),
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
    (sys(3, 0, 1, 0, 1), "ACTLR_EL1"),
    (sys(3, 0, 1, 0, 2), "CPACR_EL1"),
    (sys(3, 0, 1, 0, 3), "SCTLR2_EL1"),
    (sys(3, 0, 1, 0, 5), "RGSR_EL1"),
    (sys(3, 0, 1, 0, 6), "GCR_EL1"),
    (sys(3, 0, 1, 2, 0), "ZCR_EL1"),
    (sys(3, 0, 1, 2, 4), "SMPRI_EL1"),
    (sys(3, 0, 1, 2, 6), "SMCR_EL1"),
    (sys(3, 0, 2, 0, 0), "TTBR0_EL1"),
    (sys(3, 0, 2, 0, 1), "TTBR1_EL1"),
    (sys(3, 0, 2, 0, 2), "TCR_EL1"),
    (sys(3, 0, 2, 0, 3), "TCR2_EL1"),
    (sys(3, 0, 2, 1, 0), "APIAKEYLO_EL1"),
    (sys(3, 0, 2, 1, 1), "APIAKEYHI_EL1"),
    (sys(3, 0, 2, 1, 2), "APIBKEYLO_EL1"),
    (sys(3, 0, 2, 1, 3), "APIBKEYHI_EL1"),
    (sys(3, 0, 2, 2, 0), "APDAKEYLO_EL1"),
    (sys(3, 0, 2, 2, 1), "APDAKEYHI_EL1"),
    (sys(3, 0, 2, 2, 2), "APDBKEYLO_EL1"),
    (sys(3, 0, 2, 2, 3), "APDBKEYHI_EL1"),
    (sys(3, 0, 2, 3, 0), "APGAKEYLO_EL1"),
    (sys(3, 0, 2, 3, 1), "APGAKEYHI_EL1"),
    (sys(3, 0, 5, 1, 0), "AFSR0_EL1"),
    (sys(3, 0, 5, 1, 1), "AFSR1_EL1"),
    (sys(3, 0, 5, 2, 0), "ESR_EL1"),
    (sys(3, 0, 5, 6, 0), "TFSR_EL1"),
    (sys(3, 0, 5, 6, 1), "TFSRE0_EL1"),
    (sys(3, 0, 6, 0, 0), "FAR_EL1"),
    (sys(3, 0, 7, 4, 0), "PAR_EL1"),
    (sys(3, 0, 9, 14, 1), "PMINTENSET_EL1"),
    (sys(3, 0, 9, 14, 2), "PMINTENCLR_EL1"),
    (sys(3, 0, 9, 14, 6), "PMMIR_EL1"),
    (sys(3, 0, 10, 2, 0), "MAIR_EL1"),
    (sys(3, 0, 10, 2, 2), "PIRE0_EL1"),
    (sys(3, 0, 10, 2, 3), "PIR_EL1"),
    (sys(3, 0, 10, 2, 4), "POR_EL1"),
    (sys(3, 0, 10, 3, 0), "AMAIR_EL1"),
    (sys(3, 0, 12, 0, 0), "VBAR_EL1"),
    (sys(3, 0, 12, 1, 1), "DISR_EL1"),
    (sys(3, 0, 13, 0, 1), "CONTEXTIDR_EL1"),
    (sys(3, 0, 13, 0, 4), "TPIDR_EL1"),
    (sys(3, 0, 14, 1, 0), "CNTKCTL_EL1"),
    (sys(3, 1, 0, 0, 1), "CLIDR_EL1"),
    (sys(3, 1, 0, 0, 6), "SMIDR_EL1"),
    (sys(3, 1, 0, 0, 7), "AIDR_EL1"),
    (sys(3, 2, 0, 0, 0), "CSSELR_EL1"),
    (sys(3, 3, 0, 0, 1), "CTR_EL0"),
    (sys(3, 3, 4, 2, 2), "SVCR"),
    (sys(3, 3, 4, 4, 2), "FPMR"),
    (sys(3, 3, 9, 12, 0), "PMCR_EL0"),
    (sys(3, 3, 9, 12, 1), "PMCNTENSET_EL0"),
    (sys(3, 3, 9, 12, 2), "PMCNTENCLR_EL0"),
    (sys(3, 3, 9, 12, 3), "PMOVSCLR_EL0"),
    (sys(3, 3, 9, 12, 4), "PMSWINC_EL0"),
    (sys(3, 3, 9, 12, 5), "PMSELR_EL0"),
    (sys(3, 3, 9, 13, 0), "PMCCNTR_EL0"),
    (sys(3, 3, 9, 14, 0), "PMUSERENR_EL0"),
    (sys(3, 3, 9, 14, 3), "PMOVSSET_EL0"),
    (sys(3, 3, 10, 2, 4), "POR_EL0"),
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
    (sys(3, 4, 0, 0, 0), "VPIDR_EL2"),
    (sys(3, 4, 0, 0, 5), "VMPIDR_EL2"),
    (sys(3, 4, 1, 0, 0), "SCTLR_EL2"),
    (sys(3, 4, 1, 0, 1), "ACTLR_EL2"),
    (sys(3, 4, 1, 0, 3), "SCTLR2_EL2"),
    (sys(3, 4, 1, 1, 0), "HCR_EL2"),
    (sys(3, 4, 1, 1, 1), "MDCR_EL2"),
    (sys(3, 4, 1, 1, 2), "CPTR_EL2"),
    (sys(3, 4, 1, 1, 3), "HSTR_EL2"),
    (sys(3, 4, 1, 1, 4), "HFGRTR_EL2"),
    (sys(3, 4, 1, 1, 5), "HFGWTR_EL2"),
    (sys(3, 4, 1, 1, 6), "HFGITR_EL2"),
    (sys(3, 4, 1, 1, 7), "HACR_EL2"),
    (sys(3, 4, 1, 2, 0), "ZCR_EL2"),
    (sys(3, 4, 1, 2, 2), "HCRX_EL2"),
    (sys(3, 4, 1, 2, 6), "SMCR_EL2"),
    (sys(3, 4, 1, 5, 0), "NVHCR_EL2"),
    (sys(3, 4, 2, 0, 0), "TTBR0_EL2"),
    (sys(3, 4, 2, 0, 1), "TTBR1_EL2"),
    (sys(3, 4, 2, 0, 2), "TCR_EL2"),
    (sys(3, 4, 2, 0, 3), "TCR2_EL2"),
    (sys(3, 4, 2, 1, 0), "VTTBR_EL2"),
    (sys(3, 4, 2, 1, 2), "VTCR_EL2"),
    (sys(3, 4, 2, 2, 0), "VNCR_EL2"),
    (sys(3, 4, 3, 0, 0), "DACR32_EL2"),
    (sys(3, 4, 3, 1, 0), "HDFGRTR2_EL2"),
    (sys(3, 4, 3, 1, 1), "HDFGWTR2_EL2"),
    (sys(3, 4, 3, 1, 2), "HFGRTR2_EL2"),
    (sys(3, 4, 3, 1, 3), "HFGWTR2_EL2"),
    (sys(3, 4, 3, 1, 4), "HDFGRTR_EL2"),
    (sys(3, 4, 3, 1, 5), "HDFGWTR_EL2"),
    (sys(3, 4, 3, 1, 6), "HAFGRTR_EL2"),
    (sys(3, 4, 3, 1, 7), "HFGITR2_EL2"),
    (sys(3, 4, 4, 0, 0), "SPSR_EL2"),
    (sys(3, 4, 4, 0, 1), "ELR_EL2"),
    (sys(3, 4, 5, 0, 1), "IFSR32_EL2"),
    (sys(3, 4, 5, 1, 0), "AFSR0_EL2"),
    (sys(3, 4, 5, 1, 1), "AFSR1_EL2"),
    (sys(3, 4, 5, 2, 0), "ESR_EL2"),
    (sys(3, 4, 5, 2, 3), "VSESR_EL2"),
    (sys(3, 4, 5, 3, 0), "FPEXC32_EL2"),
    (sys(3, 4, 6, 0, 0), "FAR_EL2"),
    (sys(3, 4, 6, 0, 4), "HPFAR_EL2"),
    (sys(3, 4, 10, 2, 0), "MAIR_EL2"),
    (sys(3, 4, 10, 2, 2), "PIRE0_EL2"),
    (sys(3, 4, 10, 2, 3), "PIR_EL2"),
    (sys(3, 4, 10, 2, 4), "POR_EL2"),
    (sys(3, 4, 10, 3, 0), "AMAIR_EL2"),
    (sys(3, 4, 12, 0, 0), "VBAR_EL2"),
    (sys(3, 4, 12, 1, 1), "VDISR_EL2"),
    (sys(3, 4, 13, 0, 1), "CONTEXTIDR_EL2"),
    (sys(3, 4, 13, 0, 2), "TPIDR_EL2"),
    (sys(3, 4, 14, 0, 3), "CNTVOFF_EL2"),
    (sys(3, 4, 14, 1, 0), "CNTHCTL_EL2"),
    (sys(3, 4, 14, 2, 1), "CNTHP_CTL_EL2"),
    (sys(3, 4, 14, 2, 2), "CNTHP_CVAL_EL2"),
    (sys(3, 4, 14, 3, 1), "CNTHV_CTL_EL2"),
    (sys(3, 4, 14, 3, 2), "CNTHV_CVAL_EL2"),
    (sys(3, 6, 4, 1, 0), "SP_EL2"),
];
