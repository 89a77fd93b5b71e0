// SPDX-License-Identifier: GPL-2.0-only

//! The names of registers, for people.

use crate::{kvm::uapi, reg::RegId};

/// The parts of a name: what comes before the number, the number, and what comes after.
type Parts = (&'static str, Option<u64>, &'static str);

/// The name of a register, such as `Z3` or `PMEVCNTR7_EL0`.
pub fn name(id: RegId) -> String {
    match parts(id) {
        Some((before, Some(n), after)) => format!("{before}{n}{after}"),
        Some((before, None, after)) => format!("{before}{after}"),
        None => unknown(id),
    }
}

/// The name of all registers that differ in nothing but a number, such as `Zn`.
pub fn family(id: RegId) -> String {
    match parts(id) {
        Some((before, Some(_), after)) => format!("{before}n{after}"),
        _ => name(id),
    }
}

/// System registers as the Arm ARM names those without a name, all others by their id.
fn unknown(id: RegId) -> String {
    let n = id.number();

    if id.class() == uapi::KVM_REG_ARM64_SYSREG {
        format!(
            "S{}_{}_C{}_C{}_{}",
            n >> 14,
            n >> 11 & 7,
            n >> 7 & 15,
            n >> 3 & 15,
            n & 7
        )
    } else {
        format!("{:#x}", id.raw())
    }
}

fn parts(id: RegId) -> Option<Parts> {
    let n = id.number();

    match id.class() {
        uapi::KVM_REG_ARM_CORE => core(n),
        uapi::KVM_REG_ARM_DEMUX => Some(("CCSIDR[", Some(n & 0xff), "]")),
        uapi::KVM_REG_ARM_FW => firmware(&FIRMWARE, n),
        uapi::KVM_REG_ARM_FW_FEAT_BMAP => firmware(&BITMAPS, n),
        uapi::KVM_REG_ARM64_SVE => Some(match n >> 5 {
            0x7ff => ("SVE_VLS", None, ""),
            z @ 0..=0x1f => ("Z", Some(z), ""),
            0x30 => ("FFR", None, ""),
            p => ("P", Some(p & 15), ""),
        }),
        uapi::KVM_REG_ARM64_SME => Some(match (id.bytes(), n >> 5) {
            (256, row) => ("ZA.H[", Some(row), "]"),
            (_, 0x7ff) => ("SME_VLS", None, ""),
            _ => ("ZT0", None, ""),
        }),
        uapi::KVM_REG_ARM64_SYSREG => system(n),
        _ => None,
    }
}

/// A core register is numbered by its offset in `struct kvm_regs`, in words of 32 bits.
fn core(n: u64) -> Option<Parts> {
    Some(match n {
        0..62 => ("X", Some(n / 2), ""),
        62 => ("SP", None, ""),
        64 => ("PC", None, ""),
        66 => ("PSTATE", None, ""),
        68 => ("SP_EL1", None, ""),
        70 => ("ELR_EL1", None, ""),
        72 => ("SPSR_EL1", None, ""),
        74 => ("SPSR_abt", None, ""),
        76 => ("SPSR_und", None, ""),
        78 => ("SPSR_irq", None, ""),
        80 => ("SPSR_fiq", None, ""),
        84..212 => ("V", Some((n - 84) / 4), ""),
        212 => ("FPSR", None, ""),
        213 => ("FPCR", None, ""),
        _ => return None,
    })
}

const FIRMWARE: [&str; 4] = [
    "PSCI_VERSION",
    "SMCCC_ARCH_WORKAROUND_1",
    "SMCCC_ARCH_WORKAROUND_2",
    "SMCCC_ARCH_WORKAROUND_3",
];

const BITMAPS: [&str; 4] = [
    "STD_BMAP",
    "STD_HYP_BMAP",
    "VENDOR_HYP_BMAP",
    "VENDOR_HYP_BMAP_2",
];

fn firmware(names: &[&'static str], n: u64) -> Option<Parts> {
    names.get(n as usize).map(|name| (*name, None, ""))
}

/// Those that come in rows first, then the table.
fn system(n: u64) -> Option<Parts> {
    let (op0, op1, crn, crm, op2) = (n >> 14, n >> 11 & 7, n >> 7 & 15, n >> 3 & 15, n & 7);
    let in_row = (crm & 3) << 3 | op2;

    match (op0, op1, crn, op2) {
        (2, 0, 0, 4) => return Some(("DBGBVR", Some(crm), "_EL1")),
        (2, 0, 0, 5) => return Some(("DBGBCR", Some(crm), "_EL1")),
        (2, 0, 0, 6) => return Some(("DBGWVR", Some(crm), "_EL1")),
        (2, 0, 0, 7) => return Some(("DBGWCR", Some(crm), "_EL1")),
        (3, 3, 14, _) if (8..12).contains(&crm) => return Some(("PMEVCNTR", Some(in_row), "_EL0")),
        (3, 3, 14, _) if crm >= 12 && in_row < 31 => {
            return Some(("PMEVTYPER", Some(in_row), "_EL0"))
        }
        _ => {}
    }

    let at = SYSTEM
        .binary_search_by_key(&n, |&(number, _)| number)
        .ok()?;
    Some((SYSTEM[at].1, None, ""))
}

/// The system registers that KVM lists, by the number in their id. KVM_REG_ARM_TIMER_CNT and
/// KVM_REG_ARM_TIMER_CVAL have the encodings of each other, which is ABI.
#[rustfmt::skip]
const SYSTEM: &[(u64, &str)] = &[
    (0x8010, "MDCCINT_EL1"),
    (0x8012, "MDSCR_EL1"),
    (0x808c, "OSLSR_EL1"),
    (0xa038, "DBGVCR32_EL2"),
    (0xc000, "MIDR_EL1"),
    (0xc005, "MPIDR_EL1"),
    (0xc006, "REVIDR_EL1"),
    (0xc008, "ID_PFR0_EL1"),
    (0xc009, "ID_PFR1_EL1"),
    (0xc00a, "ID_DFR0_EL1"),
    (0xc00b, "ID_AFR0_EL1"),
    (0xc00c, "ID_MMFR0_EL1"),
    (0xc00d, "ID_MMFR1_EL1"),
    (0xc00e, "ID_MMFR2_EL1"),
    (0xc00f, "ID_MMFR3_EL1"),
    (0xc010, "ID_ISAR0_EL1"),
    (0xc011, "ID_ISAR1_EL1"),
    (0xc012, "ID_ISAR2_EL1"),
    (0xc013, "ID_ISAR3_EL1"),
    (0xc014, "ID_ISAR4_EL1"),
    (0xc015, "ID_ISAR5_EL1"),
    (0xc016, "ID_MMFR4_EL1"),
    (0xc017, "ID_ISAR6_EL1"),
    (0xc018, "MVFR0_EL1"),
    (0xc019, "MVFR1_EL1"),
    (0xc01a, "MVFR2_EL1"),
    (0xc01c, "ID_PFR2_EL1"),
    (0xc01d, "ID_DFR1_EL1"),
    (0xc01e, "ID_MMFR5_EL1"),
    (0xc020, "ID_AA64PFR0_EL1"),
    (0xc021, "ID_AA64PFR1_EL1"),
    (0xc022, "ID_AA64PFR2_EL1"),
    (0xc024, "ID_AA64ZFR0_EL1"),
    (0xc025, "ID_AA64SMFR0_EL1"),
    (0xc027, "ID_AA64FPFR0_EL1"),
    (0xc028, "ID_AA64DFR0_EL1"),
    (0xc029, "ID_AA64DFR1_EL1"),
    (0xc02a, "ID_AA64DFR2_EL1"),
    (0xc02c, "ID_AA64AFR0_EL1"),
    (0xc02d, "ID_AA64AFR1_EL1"),
    (0xc030, "ID_AA64ISAR0_EL1"),
    (0xc031, "ID_AA64ISAR1_EL1"),
    (0xc032, "ID_AA64ISAR2_EL1"),
    (0xc033, "ID_AA64ISAR3_EL1"),
    (0xc038, "ID_AA64MMFR0_EL1"),
    (0xc039, "ID_AA64MMFR1_EL1"),
    (0xc03a, "ID_AA64MMFR2_EL1"),
    (0xc03b, "ID_AA64MMFR3_EL1"),
    (0xc03c, "ID_AA64MMFR4_EL1"),
    (0xc080, "SCTLR_EL1"),
    (0xc081, "ACTLR_EL1"),
    (0xc082, "CPACR_EL1"),
    (0xc083, "SCTLR2_EL1"),
    (0xc085, "RGSR_EL1"),
    (0xc086, "GCR_EL1"),
    (0xc090, "ZCR_EL1"),
    (0xc091, "TRFCR_EL1"),
    (0xc094, "SMPRI_EL1"),
    (0xc096, "SMCR_EL1"),
    (0xc100, "TTBR0_EL1"),
    (0xc101, "TTBR1_EL1"),
    (0xc102, "TCR_EL1"),
    (0xc103, "TCR2_EL1"),
    (0xc200, "SPSR_EL1"),
    (0xc201, "ELR_EL1"),
    (0xc230, "ICC_PMR_EL1"),
    (0xc288, "AFSR0_EL1"),
    (0xc289, "AFSR1_EL1"),
    (0xc290, "ESR_EL1"),
    (0xc298, "ERRIDR_EL1"),
    (0xc299, "ERRSELR_EL1"),
    (0xc2a0, "ERXFR_EL1"),
    (0xc2a1, "ERXCTLR_EL1"),
    (0xc2a2, "ERXSTATUS_EL1"),
    (0xc2a3, "ERXADDR_EL1"),
    (0xc2a4, "ERXPFGF_EL1"),
    (0xc2a5, "ERXPFGCTL_EL1"),
    (0xc2a6, "ERXPFGCDN_EL1"),
    (0xc2a8, "ERXMISC0_EL1"),
    (0xc2a9, "ERXMISC1_EL1"),
    (0xc2aa, "ERXMISC2_EL1"),
    (0xc2ab, "ERXMISC3_EL1"),
    (0xc2b0, "TFSR_EL1"),
    (0xc2b1, "TFSRE0_EL1"),
    (0xc300, "FAR_EL1"),
    (0xc3a0, "PAR_EL1"),
    (0xc4c8, "PMSCR_EL1"),
    (0xc4c9, "PMSNEVFR_EL1"),
    (0xc4ca, "PMSICR_EL1"),
    (0xc4cb, "PMSIRR_EL1"),
    (0xc4cc, "PMSFCR_EL1"),
    (0xc4cd, "PMSEVFR_EL1"),
    (0xc4ce, "PMSLATFR_EL1"),
    (0xc4cf, "PMSIDR_EL1"),
    (0xc4d0, "PMBLIMITR_EL1"),
    (0xc4d1, "PMBPTR_EL1"),
    (0xc4d3, "PMBSR_EL1"),
    (0xc4d4, "PMSDSFR_EL1"),
    (0xc4f1, "PMINTENSET_EL1"),
    (0xc4f2, "PMINTENCLR_EL1"),
    (0xc4f6, "PMMIR_EL1"),
    (0xc510, "MAIR_EL1"),
    (0xc512, "PIRE0_EL1"),
    (0xc513, "PIR_EL1"),
    (0xc514, "POR_EL1"),
    (0xc518, "AMAIR_EL1"),
    (0xc520, "LORSA_EL1"),
    (0xc521, "LOREA_EL1"),
    (0xc522, "LORN_EL1"),
    (0xc523, "LORC_EL1"),
    (0xc524, "MPAMIDR_EL1"),
    (0xc527, "LORID_EL1"),
    (0xc528, "MPAM1_EL1"),
    (0xc529, "MPAM0_EL1"),
    (0xc52b, "MPAMSM_EL1"),
    (0xc600, "VBAR_EL1"),
    (0xc609, "DISR_EL1"),
    (0xc640, "ICC_IAR0_EL1"),
    (0xc641, "ICC_EOIR0_EL1"),
    (0xc642, "ICC_HPPIR0_EL1"),
    (0xc643, "ICC_BPR0_EL1"),
    (0xc652, "ICC_IDR0_EL1"),
    (0xc655, "ICC_IAFFIDR_EL1"),
    (0xc656, "ICC_PPI_ENABLER0_EL1"),
    (0xc657, "ICC_PPI_ENABLER1_EL1"),
    (0xc659, "ICC_DIR_EL1"),
    (0xc65b, "ICC_RPR_EL1"),
    (0xc65d, "ICC_SGI1R_EL1"),
    (0xc65e, "ICC_ASGI1R_EL1"),
    (0xc65f, "ICC_SGI0R_EL1"),
    (0xc660, "ICC_IAR1_EL1"),
    (0xc661, "ICC_EOIR1_EL1"),
    (0xc662, "ICC_HPPIR1_EL1"),
    (0xc663, "ICC_BPR1_EL1"),
    (0xc664, "ICC_CTLR_EL1"),
    (0xc665, "ICC_SRE_EL1"),
    (0xc666, "ICC_IGRPEN0_EL1"),
    (0xc667, "ICC_IGRPEN1_EL1"),
    (0xc681, "CONTEXTIDR_EL1"),
    (0xc684, "TPIDR_EL1"),
    (0xc685, "ACCDATA_EL1"),
    (0xc687, "SCXTNUM_EL1"),
    (0xc708, "CNTKCTL_EL1"),
    (0xc801, "CLIDR_EL1"),
    (0xc806, "SMIDR_EL1"),
    (0xc807, "AIDR_EL1"),
    (0xd000, "CSSELR_EL1"),
    (0xd801, "CTR_EL0"),
    (0xda12, "SVCR"),
    (0xda22, "FPMR"),
    (0xdce0, "PMCR_EL0"),
    (0xdce1, "PMCNTENSET_EL0"),
    (0xdce2, "PMCNTENCLR_EL0"),
    (0xdce3, "PMOVSCLR_EL0"),
    (0xdce4, "PMSWINC_EL0"),
    (0xdce5, "PMSELR_EL0"),
    (0xdce6, "PMCEID0_EL0"),
    (0xdce7, "PMCEID1_EL0"),
    (0xdce8, "PMCCNTR_EL0"),
    (0xdce9, "PMXEVTYPER_EL0"),
    (0xdcea, "PMXEVCNTR_EL0"),
    (0xdcf0, "PMUSERENR_EL0"),
    (0xdcf3, "PMOVSSET_EL0"),
    (0xdd14, "POR_EL0"),
    (0xde82, "TPIDR_EL0"),
    (0xde83, "TPIDRRO_EL0"),
    (0xde85, "TPIDR2_EL0"),
    (0xde87, "SCXTNUM_EL0"),
    (0xdf01, "CNTPCT_EL0"),
    (0xdf02, "CNTV_CVAL_EL0"),
    (0xdf05, "CNTPCTSS_EL0"),
    (0xdf06, "CNTVCTSS_EL0"),
    (0xdf10, "CNTP_TVAL_EL0"),
    (0xdf11, "CNTP_CTL_EL0"),
    (0xdf12, "CNTP_CVAL_EL0"),
    (0xdf18, "CNTV_TVAL_EL0"),
    (0xdf19, "CNTV_CTL_EL0"),
    (0xdf1a, "CNTVCT_EL0"),
    (0xdf7f, "PMCCFILTR_EL0"),
    (0xe000, "VPIDR_EL2"),
    (0xe005, "VMPIDR_EL2"),
    (0xe080, "SCTLR_EL2"),
    (0xe081, "ACTLR_EL2"),
    (0xe083, "SCTLR2_EL2"),
    (0xe088, "HCR_EL2"),
    (0xe089, "MDCR_EL2"),
    (0xe08a, "CPTR_EL2"),
    (0xe08b, "HSTR_EL2"),
    (0xe08c, "HFGRTR_EL2"),
    (0xe08d, "HFGWTR_EL2"),
    (0xe08e, "HFGITR_EL2"),
    (0xe08f, "HACR_EL2"),
    (0xe090, "ZCR_EL2"),
    (0xe092, "HCRX_EL2"),
    (0xe096, "SMCR_EL2"),
    (0xe0a8, "NVHCR_EL2"),
    (0xe100, "TTBR0_EL2"),
    (0xe101, "TTBR1_EL2"),
    (0xe102, "TCR_EL2"),
    (0xe103, "TCR2_EL2"),
    (0xe108, "VTTBR_EL2"),
    (0xe10a, "VTCR_EL2"),
    (0xe110, "VNCR_EL2"),
    (0xe180, "DACR32_EL2"),
    (0xe188, "HDFGRTR2_EL2"),
    (0xe189, "HDFGWTR2_EL2"),
    (0xe18a, "HFGRTR2_EL2"),
    (0xe18b, "HFGWTR2_EL2"),
    (0xe18c, "HDFGRTR_EL2"),
    (0xe18d, "HDFGWTR_EL2"),
    (0xe18e, "HAFGRTR_EL2"),
    (0xe18f, "HFGITR2_EL2"),
    (0xe200, "SPSR_EL2"),
    (0xe201, "ELR_EL2"),
    (0xe208, "SP_EL1"),
    (0xe218, "SPSR_irq"),
    (0xe219, "SPSR_abt"),
    (0xe21a, "SPSR_und"),
    (0xe21b, "SPSR_fiq"),
    (0xe281, "IFSR32_EL2"),
    (0xe288, "AFSR0_EL2"),
    (0xe289, "AFSR1_EL2"),
    (0xe290, "ESR_EL2"),
    (0xe293, "VSESR_EL2"),
    (0xe298, "FPEXC32_EL2"),
    (0xe300, "FAR_EL2"),
    (0xe304, "HPFAR_EL2"),
    (0xe510, "MAIR_EL2"),
    (0xe512, "PIRE0_EL2"),
    (0xe513, "PIR_EL2"),
    (0xe514, "POR_EL2"),
    (0xe518, "AMAIR_EL2"),
    (0xe520, "MPAMHCR_EL2"),
    (0xe521, "MPAMVPMV_EL2"),
    (0xe528, "MPAM2_EL2"),
    (0xe530, "MPAMVPM0_EL2"),
    (0xe531, "MPAMVPM1_EL2"),
    (0xe532, "MPAMVPM2_EL2"),
    (0xe533, "MPAMVPM3_EL2"),
    (0xe534, "MPAMVPM4_EL2"),
    (0xe535, "MPAMVPM5_EL2"),
    (0xe536, "MPAMVPM6_EL2"),
    (0xe537, "MPAMVPM7_EL2"),
    (0xe600, "VBAR_EL2"),
    (0xe601, "RVBAR_EL2"),
    (0xe602, "RMR_EL2"),
    (0xe609, "VDISR_EL2"),
    (0xe64d, "ICC_SRE_EL2"),
    (0xe658, "ICH_HCR_EL2"),
    (0xe659, "ICH_VTR_EL2"),
    (0xe65a, "ICH_MISR_EL2"),
    (0xe65b, "ICH_EISR_EL2"),
    (0xe65d, "ICH_ELRSR_EL2"),
    (0xe65f, "ICH_VMCR_EL2"),
    (0xe681, "CONTEXTIDR_EL2"),
    (0xe682, "TPIDR_EL2"),
    (0xe703, "CNTVOFF_EL2"),
    (0xe708, "CNTHCTL_EL2"),
    (0xe710, "CNTHP_TVAL_EL2"),
    (0xe711, "CNTHP_CTL_EL2"),
    (0xe712, "CNTHP_CVAL_EL2"),
    (0xe718, "CNTHV_TVAL_EL2"),
    (0xe719, "CNTHV_CTL_EL2"),
    (0xe71a, "CNTHV_CVAL_EL2"),
    (0xef08, "CNTKCTL_EL12"),
    (0xef10, "CNTP_TVAL_EL02"),
    (0xef11, "CNTP_CTL_EL02"),
    (0xef12, "CNTP_CVAL_EL02"),
    (0xef18, "CNTV_TVAL_EL02"),
    (0xef19, "CNTV_CTL_EL02"),
    (0xef1a, "CNTV_CVAL_EL02"),
];
