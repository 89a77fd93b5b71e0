// SPDX-License-Identifier: GPL-2.0-only

//! What is known of registers that depend on one another: whose write changes which other one.
//!
//! `reg_list_depgraph` finds them by experiment. One that is not here fails the tests that fill
//! vCPUs in other orders than that of the list.

use crate::{kvm::uapi, names::family, reg::RegId};

const CTR_EL0: RegId = RegId::sys(3, 3, 0, 0, 1);
const PMCR_EL0: RegId = RegId::sys(3, 3, 9, 12, 0);

/// A family of registers, others with a space between them, and the reason. `*` stands for any
/// ending.
type Edge = (&'static str, &'static str, &'static str);

/// Those that a restore in the order of the list honours: the first is written first.
#[rustfmt::skip]
const ORDERED: &[Edge] = &[
    ("CNTVCT_EL0", "CNTPCT_EL0", "with EL2 both have one offset"),
    ("ID_AA64DFR0_EL1", "PMEVCNTRn_EL0", "below PMUv3p5 they have 32 bits"),
    ("ID_AA64MMFR0_EL1", "HAFG* HDFG* HFG*", "FGT says which traps there are"),
    ("ID_AA64MMFR3_EL1", "TCR2_* SCTLR2_* PIR* POR_*", "it says whether they are there"),
    ("ID_AA64MMFR4_EL1", "VNCR_EL2", "NV_frac says whether it is there"),
    ("ID_AA64PFR1_EL1", "SMCCC_ARCH_WORKAROUND_2", "SSBS says which levels there are"),
    ("ID_AA64PFR1_EL1", "SMCR_*", "SME says whether EZT0 is there"),
    ("ID_AA64PFR1_EL1", "ZT0", "SME says whether it is there"),
    ("ID_AA64PFR2_EL1", "FPMR", "it says whether FPMR is there"),
    ("ID_AA64SMFR0_EL1", "SMCR_*", "FA64 says whether the bit is there"),
    ("PMCR_EL0", "PMCNTEN* PMOVS*", "N says which bits there are"),
];

/// Those against the order of the list that lose nothing when a saved vCPU is restored.
#[rustfmt::skip]
const HARMLESS: &[Edge] = &[
    ("PSTATE", "Xn", "a 32-bit mode narrows them, and a saved one is narrow"),
    ("PSTATE", "PC", "a 32-bit mode narrows it, and a saved one is narrow"),
    ("PSTATE", "PMCR_EL0", "N is HPMN outside of EL2, and a write does not change it"),
    ("MDCR_EL2", "PMCR_EL0", "N is HPMN outside of EL2, and a write does not change it"),
    ("ID_AA64SMFR0_EL1", "FFR", "no FA64, none in streaming mode, nor in a saved list"),
    ("PMCR_EL0", "PMINTEN*", "N says which bits there are, and a saved one has no others"),
    ("PMINTEN*", "PMINTEN*", "two names of one register"),
    ("PMCNTEN*", "PMCNTEN*", "two names of one register"),
    ("PMOVS*", "PMOVS*", "two names of one register"),
    ("CNTPCT_EL0", "CNTVCT_EL0", "with EL2 both have one offset, which CNTPCT_EL0 sets last"),
    ("CNTVOFF_EL2", "CNTVCT_EL0", "with EL2 it is CNTPCT_EL0 less this, and both are restored"),
];

/// What calls that write no register do to registers, and why nothing is lost by it, or what a VMM
/// has to do so that nothing is.
#[rustfmt::skip]
const CALLS: &[Edge] = &[
    ("KVM_CAP_ARM_MTE", "RGSR_EL1 GCR_EL1 TFSR* ID_AA64PFR1_EL1 ID_AA64PFR2_EL1 CLIDR_EL1",
     "as it was, before the first vCPU"),
    ("KVM_ARM_SET_COUNTER_OFFSET", "CNTVCT_EL0 CNTPCT_EL0", "not on a VM that is restored"),
    ("KVM_ARM_VCPU_PMU_V3_SET_NR_COUNTERS", "PM* MDCR_EL2", "as it was, before the registers"),
    ("KVM_RUN", "ID_AA64PFR0_EL1 ID_PFR1_EL1", "all vCPUs are restored before one runs"),
    ("KVM_RUN", CUT, "a CPU does not have all bits that can be written, nor has the restored vCPU"),
];

/// The registers of which the first run leaves what a CPU has.
const CUT: &str =
    "AFSR* AMAIR* CNTHCTL_EL2 CNTHP_CTL_EL2 CNTHV_CTL_EL2 CNTP_CTL_EL0 CNTV_CTL_EL0 DBGVCR32_EL2 \
    HAFG* HCR* HDFG* HFG* MDCR_EL2 SCTLR* TCR* VBAR_* VMPIDR_EL2 VNCR_EL2 VTCR_EL2 ZCR_EL2";

/// Why a write of one register changes another, if that is known.
pub fn known(first: RegId, then: RegId) -> Option<&'static str> {
    find(ORDERED, first, then).or_else(|| find(HARMLESS, first, then))
}

/// Why it does no harm that one register comes after another in the list, if that is known.
pub fn harmless(first: RegId, then: RegId) -> Option<&'static str> {
    find(HARMLESS, first, then)
}

/// Why a write of a register of one vCPU changes a register of another one, if that is known.
pub fn beside(first: RegId, then: RegId) -> Option<&'static str> {
    if !of_vm(first) {
        None
    } else if first == then {
        Some("all vCPUs of a VM have it in common")
    } else {
        known(first, then)
    }
}

/// What makes up for it that a call changes a register, if that is known.
pub fn of_call(call: &str, then: RegId) -> Option<&'static str> {
    find_named(CALLS, call, then)
}

fn find(edges: &[Edge], first: RegId, then: RegId) -> Option<&'static str> {
    find_named(edges, &family(first), then)
}

fn find_named(edges: &[Edge], first: &str, then: RegId) -> Option<&'static str> {
    let then = family(then);
    let is_meant = |patterns: &str, name: &str| {
        let mut patterns = patterns.split(' ');
        patterns.any(|pattern| match pattern.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == pattern,
        })
    };
    let found = edges
        .iter()
        .find(|(a, b, _)| is_meant(a, first) && is_meant(b, &then));
    found.map(|(.., why)| *why)
}

/// Whether all vCPUs of a VM have a register in common, or what it says: ID registers, those of the
/// firmware, the offsets of the counters, and how many counters the PMU has.
pub fn of_vm(id: RegId) -> bool {
    let firmware = [uapi::KVM_REG_ARM_FW, uapi::KVM_REG_ARM_FW_FEAT_BMAP].contains(&id.class());
    let is_id = id.class() == uapi::KVM_REG_ARM64_SYSREG && id.number() >> 7 == 0xc000 >> 7;
    let others = [CTR_EL0, PMCR_EL0, RegId::CNTVCT_EL0, RegId::CNTPCT_EL0];
    firmware || is_id || others.contains(&id)
}
