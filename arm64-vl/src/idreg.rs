// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! The fields of ID registers, and which other values than its own KVM takes for each.
//!
//! Sources: names and places are those of the Arm ARM and of arch/arm64/tools/sysreg. What KVM takes is what
//! `arm64_ftr_regs` in arch/arm64/kernel/cpufeature.c says is safe, with `kvm_arm64_ftr_safe_value()`,
//! `arm64_check_features()` and the `set_id_*()` of arch/arm64/kvm/sys_regs.c (Linux 7.3), where the host's writable
//! mask has the whole field.

use crate::{kind::is_id_register, names::register_name};
use std::fmt;

/// Which other values than the host's own KVM takes for a field.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// Those below it, but none below this number.
    Lower(u64),
    /// Those below it, of a number with a sign.
    Signed,
    /// Those below it from this number on, and 0.
    LowerOrZero(u64),
    /// Those above it.
    Higher,
    /// This one.
    Exactly(u64),
    /// None.
    Fixed,
}

/// A field of an ID register.
#[derive(Clone)]
pub(crate) struct Field {
    pub name: String,
    shift: u32,
    width: u32,
    rule: Rule,
}

impl Field {
    fn mask(&self) -> u64 {
        (u64::MAX >> (64 - self.width)) << self.shift
    }

    /// Its value in a register.
    pub fn of(&self, register: u64) -> u64 {
        (register & self.mask()) >> self.shift
    }

    /// With its sign.
    fn signed(&self, value: u64) -> i64 {
        let unused = 64 - self.width;
        ((value << unused) as i64) >> unused
    }

    /// Whether a host that has `own` in the register, and lets `writable` be written, takes `wanted`.
    pub fn takes(&self, own: u64, writable: u64, wanted: u64) -> bool {
        let (own, wanted) = (self.of(own), self.of(wanted));
        if own == wanted {
            return true;
        }
        let is_writable = writable & self.mask() == self.mask();
        is_writable
            && match self.rule {
                Rule::Lower(least) => (least..own).contains(&wanted),
                Rule::Signed => self.signed(wanted) < self.signed(own),
                Rule::LowerOrZero(least) => wanted == 0 || (least..own).contains(&wanted),
                Rule::Higher => wanted > own,
                Rule::Exactly(value) => wanted == value,
                Rule::Fixed => false,
            }
    }

    /// A register with the value in this field that two hosts are most likely to take both.
    pub fn meet(&self, a: u64, b: u64) -> u64 {
        let (x, y) = (self.of(a), self.of(b));
        let both = match self.rule {
            _ if x == y => x,
            Rule::Lower(_) => x.min(y),
            Rule::LowerOrZero(least) if x.min(y) < least => 0,
            Rule::LowerOrZero(_) => x.min(y),
            Rule::Signed if self.signed(y) < self.signed(x) => y,
            Rule::Signed => x,
            Rule::Higher => x.max(y),
            Rule::Exactly(value) => value,
            Rule::Fixed => x,
        };
        both << self.shift
    }
}

/// The fields of registers from the lowest, of four bits each, or from the bit behind `@`, and as many as there
/// are behind a colon; `-` is four bits without a field. Behind a slash is the rule: `!` is fixed, `s` has a
/// sign, `h` can be higher, `=` a number for that one, `>` a number for the least, and `z` that or 0. Without,
/// it can be lower.
///
/// What the implementation says of itself can be written in a VM alone that was made so
/// (`KVM_CAP_ARM_WRITABLE_IMP_ID_REGS`), whatever its mask is: it is fixed here.
const FIELDS: [(&str, &str); 40] = [
    ("ID_AA64PFR0_EL1", "EL0/>1 EL1/>1 EL2 EL3 FP/s AdvSIMD/s GIC RAS SVE SEL2 MPAM AMU DIT RME/! CSV2 CSV3"),
    ("ID_AA64PFR1_EL1", "BT SSBS MTE RAS_frac MPAM_frac - SME/>1 RNDR_trap/! CSV2_frac/! NMI/! MTE_frac/s GCS THE/! MTEX/! DF2 PFAR/!"),
    ("ID_AA64PFR2_EL1", "MTEPERM/! MTESTOREONLY MTEFAR GCIE UINJ/! - - - FPMR"),
    ("ID_AA64ZFR0_EL1", "SVEver AES - EltPerm BitPerm BF16 B16B16 - SHA3 - SM4 I8MM F16MM F32MM F64MM -"),
    ("ID_AA64SMFR0_EL1", "SMOP4/=0@0:1 STMOP/=0@16:1 SFEXPA/=0@23:1 AES/=0@24:1 SBitPerm/=0@25:1 SF8DP2/=0@28:1 \
      SF8DP4/=0@29:1 SF8FMA/=0@30:1 F32F32/=0@32:1 BI32I32/=0@33:1 B16F32/=0@34:1 F16F32/=0@35:1 I8I32/=0@36 \
      F8F32/=0@40:1 F8F16/=0@41:1 F16F16/=0@42:1 B16B16/=0@43:1 I16I32/=0@44 F64F64/=0@48:1 I16I64/=0@52 \
      SMEver/=0@56 LUTv2/=0@60:1 LUT6/=0@61:1 FA64/=0@63:1"),
    ("ID_AA64FPFR0_EL1", "F8E5M2/=0@0:1 F8E4M3/=0@1:1 F16MM2/=0@15:1 F8MM4/=0@26:1 F8MM8/=0@27:1 F8DP2/=0@28:1 \
      F8DP4/=0@29:1 F8FMA/=0@30:1 F8CVT/=0@31:1"),
    ("ID_AA64DFR0_EL1", "DebugVer/>6 TraceVer/! PMUVer BRPs PMSS/! WRPs SEBEP/! CTX_CMPs PMSVer DoubleLock/s TraceFilt/! TraceBuffer/! MTPMU/! BRBE/! ExtTrcBuff/! HPMN0/!"),
    ("ID_AA64ISAR0_EL1", "- AES SHA1 SHA2 CRC32 ATOMIC TME/! RDM SHA3 SM3 SM4 DP FHM TS TLB RNDR"),
    ("ID_AA64ISAR1_EL1", "DPB APA/=0 API/=0 JSCVT FCMA LRCPC GPA GPI FRINTTS SB SPECRES BF16 DGH I8MM XS LS64"),
    ("ID_AA64ISAR2_EL1", "WFxT RPRES GPA3 APA3/=0 MOPS BC PAC_frac/! CLRBHB SYSREG_128/! SYSINSTR_128/! PRFMSLC/! PCDPHINT/! RPRFM CSSC LUT ATS1A"),
    ("ID_AA64ISAR3_EL1", "CPA/! FAMINMAX TLBIW/! PACM/! LSFE OCCMO/! LSUI FPRCVT"),
    ("ID_AA64MMFR0_EL1", "PARANGE ASIDBITS BIGEND SNSMEM BIGENDEL0 TGRAN16 TGRAN64/s TGRAN4/s TGRAN16_2/=1 TGRAN64_2/=1 TGRAN4_2/=1 EXS - - FGT ECV"),
    ("ID_AA64MMFR1_EL1", "HAFDBS VMIDBITS VH HPDS LO PAN SPECSEI/h XNX TWED ETS HCX AFP nTLBPA/! TIDCP1 CMOW/! ECBHB"),
    ("ID_AA64MMFR2_EL1", "CNP UAO LSM IESB VARANGE CCIDX NV ST AT IDS FWB - TTL BBM EVT E0PD"),
    ("ID_AA64MMFR3_EL1", "TCRX SCTLRX S1PIE S2PIE/! S1POE S2POE/! AIE/! MEC/! D128/! D128_2/! SNERR/! ANERR/! - SDERR/! ADERR/! Spec_FPACC/!"),
    ("ID_AA64MMFR4_EL1", "PoPS/! EIESB/! ASID2/! HACDBS/! FGWTE3/! NV_frac E2H0/s RMEGDI/! EAESR/! E3DSE/! TLBID/! SRMASK/! TPS/! TEV/! SCRX/! MTEFGT/!"),
    ("CTR_EL0", "IminLine L1Ip/=2@14:2 DminLine@16 ERG/!@20 CWG/!@24 IDC@28:1 DIC@29:1 TminLine/!@32:6"),
    ("ID_PFR0_EL1", "State0 State1 State2 State3 CSV2 AMU/! DIT RAS/!"),
    ("ID_PFR1_EL1", "ProgMod Security MProgMod Virtualization GenTimer Sec_frac Virt_frac GIC"),
    ("ID_PFR2_EL1", "CSV3 SSBS RAS_frac/!"),
    ("ID_DFR0_EL1", "CopDbg/>6 CopSDbg MMapDbg CopTrc MMapTrc MProfDbg PerfMon/z3 TraceFilt/!"),
    ("ID_MMFR0_EL1", "VMSA PMSA OuterShr/s ShareLvl TCM AuxReg FCSE InnerShr/s"),
    ("ID_MMFR1_EL1", "L1HvdVA L1UniVA L1HvdSW L1UniSW L1Hvd L1Uni L1TstCln BPred"),
    ("ID_MMFR2_EL1", "L1HvdFG L1HvdBG L1HvdRng HvdTLB UniTLB MemBarr WFIStall HWAccFlg"),
    ("ID_MMFR3_EL1", "CMaintVA CMaintSW BPMaint MaintBcst PAN CohWalk CMemSz Supersec"),
    ("ID_MMFR4_EL1", "SpecSEI/h AC2 XNX CnP HPDS LSM CCIDX EVT"),
    ("ID_MMFR5_EL1", "ETS nTLBPA/!"),
    ("ID_ISAR0_EL1", "Swap BitCount BitField CmpBranch Coproc Debug Divide"),
    ("ID_ISAR1_EL1", "Endian Except Except_AR Extend IfThen Immediate Interwork Jazelle"),
    ("ID_ISAR2_EL1", "LoadStore MemHint MultiAccessInt Mult MultS MultU PSR_AR Reversal"),
    ("ID_ISAR3_EL1", "Saturate SIMD SVC SynchPrim TabBranch T32Copy TrueNOP T32EE"),
    ("ID_ISAR4_EL1", "Unpriv WithShifts Writeback SMC Barrier SynchPrim_frac PSR_M SWP_frac"),
    ("ID_ISAR5_EL1", "SEVL AES SHA1 SHA2 CRC32 - RDM VCMA/!"),
    ("ID_ISAR6_EL1", "JSCVT DP FHM SB SPECRES BF16 I8MM CLRBHB/!"),
    ("MVFR0_EL1", "SIMDReg FPSP FPDP FPTrap FPDivide FPSqrt FPShVec FPRound"),
    ("MVFR1_EL1", "FPFtZ FPDNaN SIMDLS SIMDInt SIMDSP SIMDHP FPHP SIMDFMAC"),
    ("MVFR2_EL1", "SIMDMisc FPMisc"),
    ("MIDR_EL1", "Revision/! PartNum/!@4:12 Architecture/!@16 Variant/!@20 Implementer/!@24:8"),
    ("SMIDR_EL1", "Affinity/!@0:12 SMPS/!@15:1 Revision/!@16:8 Implementer/!@24:8"),
    ("CLIDR_EL1", "Ctype1/!@0:3 Ctype2/!@3:3 Ctype3/!@6:3 Ctype4/!@9:3 Ctype5/!@12:3 Ctype6/!@15:3 Ctype7/!@18:3 \
      LoUIS/!@21:3 LoC/!@24:3 LoUU/!@27:3 ICB/!@30:3"),
];

fn parsed(word: &str, next: u32) -> Field {
    let (word, place) = word.split_once('@').unwrap_or((word, ""));
    let (name, rule) = word.split_once('/').unwrap_or((word, ""));
    let number = |text: &str| text.parse().unwrap_or(0);
    let (shift, width) = match place.split_once(':') {
        Some((shift, width)) => (number(shift), number(width)),
        None if place.is_empty() => (next, 4),
        None => (number(place), 4),
    };
    let rule = match (rule.get(..1).unwrap_or(""), rule.get(1..).unwrap_or("")) {
        ("", _) => Rule::Lower(0),
        ("s", _) => Rule::Signed,
        ("h", _) => Rule::Higher,
        (">", least) => Rule::Lower(number(least).into()),
        ("z", least) => Rule::LowerOrZero(number(least).into()),
        ("=", value) => Rule::Exactly(number(value).into()),
        _ => Rule::Fixed,
    };
    Field {
        name: name.into(),
        shift,
        width,
        rule,
    }
}

/// The bits from one to before another, which no field has.
fn between(first: u32, behind: u32) -> Field {
    let name = match behind - first {
        1 => format!("bit {first}"),
        _ => format!("bits {}:{first}", behind - 1),
    };
    Field {
        name,
        shift: first,
        width: behind - first,
        rule: Rule::Fixed,
    }
}

/// Whether the fields of a register are known here: those that KVM hides, or that are not allocated, have none.
pub(crate) fn is_known(id: u64) -> bool {
    let name = register_name(id);
    FIELDS.iter().any(|(known, _)| *known == name)
}

/// All 64 bits of an ID register as fields, from the lowest. `has_el2`: for a guest that has EL2 itself, which
/// cannot be without it.
pub(crate) fn fields_of(id: u64, has_el2: bool) -> Vec<Field> {
    let name = register_name(id);
    let table = FIELDS.iter().find(|(known, _)| *known == name);
    let mut fields = Vec::new();
    let mut next = 0;
    for word in table.map_or("", |(_, words)| words).split_whitespace() {
        if word == "-" {
            fields.push(between(next, next + 4));
            next += 4;
            continue;
        }
        let mut field = parsed(word, next);
        if field.shift > next {
            fields.push(between(next, field.shift));
        }
        if has_el2 && name == "ID_AA64PFR0_EL1" && field.name == "EL2" {
            field.rule = Rule::Lower(1);
        }
        next = field.shift + field.width;
        fields.push(field);
    }
    while next < 64 {
        // Of a register that has no fields here, four at a time.
        let behind = if table.is_none() { next + 4 } else { 64 };
        fields.push(between(next, behind));
        next = behind;
    }
    fields
}

/// A field in which two values of an ID register differ.
///
/// ```
/// use arm64_vl::FieldDifference;
///
/// fn is_smaller(difference: &FieldDifference) -> bool {
///     difference.saved < difference.found
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize))]
#[non_exhaustive]
pub struct FieldDifference {
    /// The id of the register.
    pub id: u64,
    /// The name of the field, or its bits.
    pub field: String,
    /// What was saved, or is on the one side.
    pub saved: u64,
    /// What the vCPU or host has, or is on the other side.
    pub found: u64,
}

impl FieldDifference {
    pub(crate) fn new(id: u64, field: &Field, saved: u64, found: u64) -> Self {
        Self {
            id,
            field: field.name.clone(),
            saved: field.of(saved),
            found: field.of(found),
        }
    }
}

impl fmt::Display for FieldDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            field,
            saved,
            found,
            ..
        } = self;
        let name = register_name(self.id);
        write!(f, "{name}.{field} {saved}, not {found}")
    }
}

/// The fields in which two values of an ID register differ, such as `PARANGE 6, not 5`; nothing for a register
/// that is none.
pub(crate) fn field_differences(id: u64, saved: u64, found: u64) -> Option<String> {
    if !is_id_register(id) {
        return None;
    }
    let fields = fields_of(id, false);
    let differ = fields
        .iter()
        .filter(|field| field.of(saved) != field.of(found));
    let words = differ.map(|field| {
        let (saved, found) = (field.of(saved), field.of(found));
        format!("{} {saved}, not {found}", field.name)
    });
    let words: Vec<_> = words.collect();
    (!words.is_empty()).then(|| words.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No bit is in two fields, none in none, and none of the words is misread.
    #[test]
    fn fields_are_a_partition_of_64_bits() {
        for (name, words) in FIELDS {
            let mut ids = (0xc000..0x1_0000)
                .map(|number| 0x6030_0000_0013_0000 | number)
                .filter(|id| is_id_register(*id));
            let id = ids.find(|id| register_name(*id) == name);
            let id = id.unwrap_or_else(|| panic!("{name} has no id"));
            let fields = fields_of(id, false);
            let mut next = 0;
            for field in &fields {
                assert_eq!(field.shift, next, "{name}.{}", field.name);
                assert!(field.width > 0 && !field.name.is_empty(), "{name}");
                next += field.width;
            }
            assert_eq!(next, 64, "{name}");
            let known = fields.iter().filter(|field| !field.name.starts_with("bit"));
            let words = words.split_whitespace().filter(|word| *word != "-");
            assert_eq!(known.count(), words.count(), "{name}");
        }
    }

    #[test]
    fn a_value_is_taken_by_the_rule_of_its_field() {
        let rule = |word: &str| parsed(word, 0);
        // (word, own, taken of 0 to 15)
        for (word, own, taken) in [
            ("A", 2, &[0, 1, 2][..]),
            ("A/>1", 2, &[1, 2]),
            ("A/>6", 8, &[6, 7, 8]),
            ("A/z3", 6, &[0, 3, 4, 5, 6]),
            ("A/h", 12, &[12, 13, 14, 15]),
            ("A/=1", 2, &[1, 2]),
            ("A/=0", 5, &[0, 5]),
            ("A/!", 5, &[5]),
            // 8 to 15 are -8 to -1.
            ("A/s", 1, &[0, 1, 8, 9, 10, 11, 12, 13, 14, 15]),
            ("A/s", 14, &[8, 9, 10, 11, 12, 13, 14]),
        ] {
            let field = rule(word);
            let takes: Vec<_> = (0..16).filter(|n| field.takes(own, 15, *n)).collect();
            assert_eq!(takes, taken, "{word} of {own}");
            // Half of a field is not enough to write it.
            let takes: Vec<_> = (0..16).filter(|n| field.takes(own, 7, *n)).collect();
            assert_eq!(takes, [own], "{word} of {own}");
        }
    }

    /// What two hosts meet at is what both take, if anything is.
    #[test]
    fn two_hosts_meet_where_both_take_it() {
        for word in ["A", "A/>1", "A/z3", "A/h", "A/=1", "A/!", "A/s"] {
            let field = parsed(word, 0);
            for (a, b) in (0..256).map(|pair| (pair & 15, pair >> 4)) {
                let both = |n: &u64| field.takes(a, 15, *n) && field.takes(b, 15, *n);
                let can = (0..16).any(|n| both(&n));
                assert_eq!(both(&field.meet(a, b)), can, "{word} of {a} and {b}");
            }
        }
    }
}
