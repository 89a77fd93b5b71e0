// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! Whether a host takes a vCPU, from descriptions that are written by hand: "small" is a CPU of Armv8.0, "large"
//! one of Armv8.6, both without SVE and AArch32. Values and masks are those of the Arm ARM and of KVM's tables.

#![cfg(all(feature = "kvm", feature = "json"))]

use arm64_vl::{common_vcpu, Machine, Offer, Reason, SavedVcpu};
use std::{fs, path::Path};

fn fixture(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    fs::read_to_string(folder.join(name)).unwrap()
}

fn host(name: &str) -> Machine {
    Machine::from_json(&fixture(name)).unwrap()
}

fn vcpu(name: &str) -> SavedVcpu {
    SavedVcpu::from_json(&fixture(name)).unwrap()
}

fn offer(name: &str) -> Offer {
    host(name).kvm.unwrap()
}

const fn sys(number: u64) -> u64 {
    0x6030_0000_0013_0000 | number
}

/// What was saved on "small", with other values of some registers.
fn small_but(changes: &[(u64, u64)]) -> SavedVcpu {
    let saved = vcpu("vcpu-of-small.json");
    let changed = |(id, value): (u64, &[u8])| match changes.iter().find(|(one, _)| *one == id) {
        Some((_, new)) => (id, new.to_le_bytes()[..value.len()].to_vec()),
        None => (id, value.to_vec()),
    };
    SavedVcpu::new(None, saved.registers().map(changed)).unwrap()
}

fn lines(text: impl ToString) -> Vec<String> {
    text.to_string().lines().map(str::to_string).collect()
}

#[test]
fn each_host_takes_its_own() {
    for name in ["small", "large"] {
        let saved = vcpu(&format!("vcpu-of-{name}.json"));
        let fit = saved.why_not(&host(&format!("{name}.json")));
        assert!(fit.is_whole());
        assert_eq!(lines(&fit), [""; 0]);
    }
}

#[test]
fn greater_host_is_lowered() {
    let fit = vcpu("vcpu-of-small.json").why_not(&host("large.json"));
    assert!(fit.is_whole(), "{fit}");
    assert!(fit.harmless.is_empty());
    let expected = "\
        ID_AA64PFR0_EL1.RAS 0, not 1\n\
        ID_AA64PFR0_EL1.DIT 0, not 1\n\
        ID_AA64PFR1_EL1.BT 0, not 1\n\
        ID_AA64PFR1_EL1.SSBS 0, not 2\n\
        ID_AA64PFR2_EL1.FPMR 0, not 1\n\
        ID_AA64DFR0_EL1.DebugVer 6, not 8\n\
        ID_AA64ISAR0_EL1.SHA2 1, not 2\n\
        ID_AA64ISAR0_EL1.ATOMIC 0, not 2\n\
        ID_AA64ISAR0_EL1.RDM 0, not 1\n\
        ID_AA64ISAR0_EL1.SHA3 0, not 1\n\
        ID_AA64ISAR0_EL1.DP 0, not 1\n\
        ID_AA64ISAR0_EL1.FHM 0, not 1\n\
        ID_AA64ISAR0_EL1.TS 0, not 2\n\
        ID_AA64ISAR0_EL1.TLB 0, not 2\n\
        ID_AA64ISAR0_EL1.RNDR 0, not 1\n\
        ID_AA64MMFR0_EL1.PARANGE 4, not 6\n\
        ID_AA64MMFR0_EL1.TGRAN16 0, not 1\n\
        ID_AA64MMFR0_EL1.FGT 0, not 1\n\
        ID_AA64MMFR0_EL1.ECV 0, not 2\n\
        ID_AA64MMFR3_EL1.TCRX 0, not 1\n\
        ID_AA64MMFR3_EL1.S1PIE 0, not 1\n\
        CLIDR_EL1.Ctype1 3, not 4\n\
        CLIDR_EL1.Ctype2 4, not 0\n\
        CLIDR_EL1.LoUIS 1, not 0\n\
        CLIDR_EL1.LoC 2, not 1\n\
        CLIDR_EL1.LoUU 1, not 0\n\
        CTR_EL0.IDC 0, not 1\n\
        CTR_EL0.DIC 0, not 1\n\
        KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_1.bits 3:0 0, not 2";
    let expected = expected.lines().map(|line| format!("lowered: {line}"));
    assert_eq!(lines(&fit), expected.collect::<Vec<_>>());
}

#[test]
fn smaller_host_refuses() {
    let fit = vcpu("vcpu-of-large.json").why_not(&host("small.json"));
    assert!(!fit.is_whole());
    let expected = "\
        missing: TCR2_EL1 (0x603000000013c103)\n\
        missing: PIRE0_EL1 (0x603000000013c512)\n\
        missing: PIR_EL1 (0x603000000013c513)\n\
        missing: FPMR (0x603000000013da22)\n\
        refused: ID_AA64PFR0_EL1.RAS 1, not 0\n\
        refused: ID_AA64PFR0_EL1.DIT 1, not 0\n";
    let text = fit.to_string();
    assert!(text.starts_with(expected), "{text}");
    // A cache that needs no cleaning is promised by a host whose CTR_EL0.IDC is 1 alone.
    assert!(
        text.contains("refused: CLIDR_EL1.LoUU 0, not 1\n"),
        "{text}"
    );
    assert!(
        text.ends_with("refused: KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_1.bits 3:0 2, not 0\n"),
        "{text}"
    );
    assert!(fit.lowered.is_empty() && fit.extra.is_empty(), "{text}");
}

/// A value of one register for the host "large", and what becomes of it; fields that "small" lowers are left out.
#[test]
fn each_rule_of_a_field() {
    let (dfr0, mmfr0, ctr, pfr0, clidr) = (
        sys(0xc028),
        sys(0xc038),
        sys(0xd801),
        sys(0xc020),
        sys(0xc801),
    );
    let before = lines(vcpu("vcpu-of-small.json").why_not(&host("large.json")));
    for (id, value, wanted) in [
        // TGRAN4 has a sign: 15 is none, 0 is there, 1 is with LPA2.
        (mmfr0, 0xf000_1124, "lowered: ID_AA64MMFR0_EL1.TGRAN4 15, not 0"),
        (mmfr0, 0x1000_1124, "refused: ID_AA64MMFR0_EL1.TGRAN4 1, not 0"),
        // 0 is as in stage 1, 1 none, 2 there, 3 with LPA2: the host has 0.
        (mmfr0, 0x100_0000_1124, "lowered: ID_AA64MMFR0_EL1.TGRAN4_2 1, not 0"),
        (mmfr0, 0x200_0000_1124, "refused: ID_AA64MMFR0_EL1.TGRAN4_2 2, not 0"),
        (mmfr0, 0x1104, "refused: ID_AA64MMFR0_EL1.ASIDBITS 0, not 2"),
        (mmfr0, 0x1127, "refused: ID_AA64MMFR0_EL1.PARANGE 7, not 6"),
        // Debug is never below that of Armv8.0.
        (dfr0, 0x1030_5005, "refused: ID_AA64DFR0_EL1.DebugVer 5, not 8"),
        (dfr0, 0x1030_5007, "lowered: ID_AA64DFR0_EL1.DebugVer 7, not 8"),
        (dfr0, 0x1030_4006, "refused: ID_AA64DFR0_EL1.BRPs 4, not 5"),
        (dfr0, 0x1020_5006, "lowered: ID_AA64DFR0_EL1.WRPs 2, not 3"),
        (dfr0, 0x1030_5106, "refused: ID_AA64DFR0_EL1.PMUVer 1, not 0"),
        (
            dfr0,
            0x1030_5f06,
            "harmless: ID_AA64DFR0_EL1 (0x603000000013c028): a PMU that is not that of Arm is shown as none \
             (set_id_aa64dfr0_el1(), arch/arm64/kvm/sys_regs.c)",
        ),
        // EL0 and EL1 are there.
        (pfr0, 0x1100_0000_0100_1110, "refused: ID_AA64PFR0_EL1.EL0 0, not 1"),
        (pfr0, 0x1100_0000_0100_0111, "lowered: ID_AA64PFR0_EL1.EL3 0, not 1"),
        // FP and what no field is in cannot be written.
        (pfr0, 0x1100_0000_010f_1111, "refused: ID_AA64PFR0_EL1.FP 15, not 0"),
        (pfr0, 0x1110_0000_0100_1111, "refused: ID_AA64PFR0_EL1.RME 1, not 0"),
        // VIPT instead of PIPT, not the other policies.
        (ctr, 0x8444_8004, "lowered: CTR_EL0.L1Ip 2, not 3"),
        (ctr, 0x8444_4004, "refused: CTR_EL0.L1Ip 1, not 3"),
        (ctr, 0x8434_c004, "refused: CTR_EL0.ERG 3, not 4"),
        (ctr, 0x8445_c004, "refused: CTR_EL0.DminLine 5, not 4"),
        (clidr, 0x8000_0a20_0023, "refused: CLIDR_EL1.bits 63:33 16384, not 0"),
        // An old AArch32 that the host has not is not looked at.
        (
            sys(0xc008),
            0x131,
            "harmless: ID_PFR0_EL1 (0x603000000013c008): the host has no 32-bit EL0: it reads 0 \
             (aa32_id_visibility(), arch/arm64/kvm/sys_regs.c)",
        ),
        // The mask of MIDR_EL1 is for VMs with KVM_CAP_ARM_WRITABLE_IMP_ID_REGS.
        (sys(0xc000), 0x410f_d082, "refused: MIDR_EL1.Revision 2, not 3"),
        // Calls of firmware: no more than there are.
        (0x6030_0000_0016_0000, 2, "refused: KVM_REG_ARM_STD_BMAP.bits 3:0 2, not 1"),
        (0x6030_0000_0016_0000, 0, "lowered: KVM_REG_ARM_STD_BMAP.bits 3:0 0, not 1"),
        (0x6030_0000_0014_0001, 3, "refused: KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_1.bits 3:0 3, not 2"),
        // PSCI 1.1 on 1.3, and 0.1.
        (0x6030_0000_0014_0000, 0x1_0001, "lowered: KVM_REG_ARM_PSCI_VERSION.bits 3:0 1, not 3"),
        (0x6030_0000_0014_0000, 0x1_0004, "refused: KVM_REG_ARM_PSCI_VERSION.bits 3:0 4, not 3"),
        // Safe from Spectre v4 without firmware: a guest that has no SSBS may be.
        (0x6030_0000_0014_0002, 3, "lowered: KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_2.bits 3:0 3, not 0"),
        // Lines of 32 bytes, where the shortest have 64.
        (0x6020_0000_0011_0000, 1, "refused: CCSIDR_EL1[0].LineSize 1, not 2"),
    ] {
        let fit = small_but(&[(id, value)]).why_not(&host("large.json"));
        let new: Vec<_> = lines(&fit)
            .into_iter()
            .filter(|line| !before.contains(line))
            .collect();
        let found = new.iter().any(|line| line.starts_with(wanted));
        assert!(found, "{wanted}: {new:?}");
        assert_eq!(fit.is_whole(), !wanted.starts_with("refused"), "{fit}");
    }
    // A host that has SSBS knows whether it is safe without: it is not, here.
    let with_ssbs = small_but(&[(sys(0xc021), 0x10), (0x6030_0000_0014_0002, 3)]);
    let fit = with_ssbs.why_not(&host("large.json"));
    assert!(
        fit.to_string()
            .contains("refused: KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_2"),
        "{fit}"
    );
}

/// ID_DFR1_EL1 and what is not allocated are 0, whatever is written to the AArch32 registers around them.
#[test]
fn hidden_id_register_takes_nothing_but_0() {
    for id in [sys(0xc01d), sys(0xc01f)] {
        let mut large = offer("large.json");
        large.kinds[0].registers.insert(id);
        large.kinds[0].limits.insert(id, 0);
        let saved = |value: u64| {
            let small = vcpu("vcpu-of-small.json");
            let registers = small.registers().map(|(id, value)| (id, value.to_vec()));
            let more = (id, value.to_le_bytes().to_vec());
            SavedVcpu::new(None, registers.chain([more])).unwrap()
        };
        assert!(saved(0).why_not(&large).is_whole());
        let fit = saved(1).why_not(&large);
        assert_eq!(
            fit.refused.iter().map(|one| one.id).collect::<Vec<_>>(),
            [id],
            "{fit}"
        );
    }
}

/// A register that an ID register hides is no more than was saved.
#[test]
fn hidden_registers_are_not_extra() {
    let large = host("large.json");
    assert!(vcpu("vcpu-of-small.json").why_not(&large).extra.is_empty());
    // With TCR2_EL1 shown it is.
    let fit = small_but(&[(sys(0xc03b), 1)]).why_not(&large);
    assert_eq!(fit.extra, [sys(0xc103)]);
    assert!(!fit.is_whole());
}

#[test]
fn host_without_kvm_or_of_which_nothing_is_known() {
    let saved = vcpu("vcpu-of-small.json");
    assert_eq!(saved.why_not(None).reasons, [Reason::NoKvm]);
    let of_old_file = Offer::default();
    assert_eq!(saved.why_not(&of_old_file).reasons, [Reason::UnknownKind]);

    // Features that were not asked for.
    let all = |saved: &SavedVcpu| {
        let registers = saved.registers().map(|(id, value)| (id, value.to_vec()));
        registers.collect::<Vec<_>>()
    };
    let with = |features: u32| {
        let features = [features, 0, 0, 0, 0, 0, 0];
        SavedVcpu::new(Some(features), all(&saved)).unwrap()
    };
    let large = offer("large.json");
    assert_eq!(with(1 << 3).why_not(&large).reasons, [Reason::UnknownKind]);
    // Those of PSCI and of starting in OFF are none.
    assert!(with(1 << 0 | 1 << 2).why_not(&large).is_whole());
}

#[test]
fn kind_that_is_most_alike_is_taken_where_features_are_not_known() {
    let mut large = offer("large.json");
    let mut with_pmu = large.kinds[0].clone();
    with_pmu.features[0] = 1 << 3;
    with_pmu.registers.insert(sys(0xdce0));
    large.kinds.insert(0, with_pmu);
    assert!(vcpu("vcpu-of-large.json").why_not(&large).is_whole());

    let saved = vcpu("vcpu-of-large.json");
    let registers = saved.registers().map(|(id, value)| (id, value.to_vec()));
    let pmcr = (sys(0xdce0), vec![0; 8]);
    let saved = SavedVcpu::new(None, registers.chain([pmcr])).unwrap();
    assert!(saved.why_not(&large).is_whole());
}

/// The values that both take, and nothing for what each has by itself.
#[test]
fn pool_has_the_registers_that_all_take() {
    let hosts = [host("large.json"), host("small.json")];
    let common = common_vcpu(&hosts, [0; 7]).unwrap();
    for (id, value) in [
        (sys(0xc020), 0x1100_0000_0100_1111),
        (sys(0xc021), 0),
        (sys(0xc028), 0x1030_5006),
        (sys(0xc030), 0x1_1120),
        (sys(0xc038), 0x1124),
        (sys(0xd801), 0x8444_c004),
        (0x6030_0000_0014_0001, 0),
    ] {
        assert_eq!(common.set.get(&id), Some(&value), "{id:#x}");
    }
    assert_eq!(common.set.get(&sys(0xc000)), None, "both have the same");
    assert_eq!(common.set.get(&0x6030_0000_0016_0000), None);
    // One without cleaning is taken by a host with CTR_EL0.IDC alone.
    assert_eq!(common.set.get(&sys(0xc801)), Some(&0x0a20_0023));
    for (name, fit) in &common.fits {
        assert!(fit.is_whole(), "{name}: {fit}");
    }

    // What no value is right for is said: FP cannot be hidden.
    let text = fixture("small.json").replace("0x1100000001001111", "0x11000000010f1111");
    let no_fp = Machine::from_json(&text).unwrap();
    let common = common_vcpu(&[no_fp, host("large.json")], [0; 7]).unwrap();
    let refused = |n: usize| common.fits[n].1.refused.len();
    assert_eq!((refused(0), refused(1)), (0, 1), "{:?}", common.fits);

    assert!(common_vcpu(&hosts, [1 << 3, 0, 0, 0, 0, 0, 0]).is_err());
}

/// A file is what it was made of, kinds with more and with less among them, as text and in a binary format.
#[test]
fn kinds_are_read_as_they_were_written() {
    let mut machine = host("large.json");
    let offer = machine.kvm.as_mut().unwrap();
    let mut other = offer.kinds[0].clone();
    other.features[0] = 1 << 7;
    other.registers.insert(sys(0xe088));
    other.registers.remove(&sys(0xda22));
    other.limits.insert(sys(0xc022), 0);
    offer.kinds.push(other);
    let text = machine.to_json().unwrap();
    assert_eq!(Machine::from_json(&text).unwrap(), machine);
    let bytes = bincode::serialize(&machine).unwrap();
    assert_eq!(bincode::deserialize::<Machine>(&bytes).unwrap(), machine);

    // What limits a register that the kind has not, or that is of another architecture, is none.
    for (from, to) in [
        (
            "\"0x603000000013c022\": \"0x0000000000000000\"",
            "\"0x603000000013c023\": \"0x0000000000000000\"",
        ),
        ("\"0x603000000013e088\"", "\"0x203000000013e088\""),
    ] {
        let wrong = text.replacen(from, to, 1);
        assert_ne!(wrong, text, "{from}");
        assert!(Machine::from_json(&wrong).is_err(), "{to}");
    }
}
