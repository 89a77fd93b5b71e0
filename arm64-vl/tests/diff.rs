// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! What two sides have each in its own way, of files that are written by hand.

#![cfg(all(feature = "kvm", feature = "json"))]

use arm64_vl::{
    diff_lists, diff_offers, diff_vcpus, register_name, Lengths, Machine, Offer, SavedVcpu, Section,
};

fn offer(name: &str) -> Offer {
    let text = match name {
        "small" => include_str!("fixtures/small.json"),
        _ => include_str!("fixtures/large.json"),
    };
    Machine::from_json(text).unwrap().kvm.unwrap()
}

fn vcpu(name: &str) -> SavedVcpu {
    SavedVcpu::from_json(match name {
        "small" => include_str!("fixtures/vcpu-of-small.json"),
        _ => include_str!("fixtures/vcpu-of-large.json"),
    })
    .unwrap()
}

fn text(sections: &[Section]) -> String {
    sections.iter().map(ToString::to_string).collect()
}

#[test]
fn same_sides_differ_in_nothing() {
    for name in ["small", "large"] {
        assert_eq!(text(&diff_vcpus(&vcpu(name), &vcpu(name))), "");
        assert_eq!(text(&diff_offers(&offer(name), &offer(name))), "");
    }
}

/// A vCPU of "large" where "small" is: what the second does not have is before ID_AA64MMFR3_EL1 shows it.
#[test]
fn vcpus_differ_in_registers_fields_and_values() {
    let sections = diff_vcpus(&vcpu("large"), &vcpu("small"));
    let text = text(&sections);
    for line in [
        "registers:",
        "    ! ID_AA64PFR0_EL1 (0x603000000013c020): RAS 1 -> 0, DIT 1 -> 0",
        "    ! ID_AA64PFR1_EL1 (0x603000000013c021): BT 1 -> 0, SSBS 2 -> 0",
        "    ! CTR_EL0 (0x603000000013d801): IDC 1 -> 0, DIC 1 -> 0",
        "    - TCR2_EL1 (0x603000000013c103)",
        "    - FPMR (0x603000000013da22)",
        "    ! KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_1 (0x6030000000140001): 0x2 -> 0x0",
    ] {
        assert!(
            text.lines().any(|one| one == line),
            "{line} is not in\n{text}"
        );
    }
    assert!(!sections[0].is_harmless());
    // The other way round.
    let back = diff_vcpus(&vcpu("small"), &vcpu("large"));
    assert!(back[0]
        .to_string()
        .contains("    + FPMR (0x603000000013da22)\n"));
    assert_eq!(back[0].registers.len(), sections[0].registers.len());
}

#[test]
fn harmless_differences_have_a_reason_and_a_source() {
    let clock = 0x6030_0000_0013_df1a;
    let tcr2 = 0x6030_0000_0013_c103;
    let with = |clocks: u64, more: &[u64]| {
        let zeroes = more.iter().map(|id| (*id, vec![0; 8]));
        let registers = zeroes.chain([(clock, clocks.to_le_bytes().to_vec())]);
        SavedVcpu::new(None, registers).unwrap()
    };
    let sections = diff_vcpus(&with(1, &[tcr2]), &with(2, &[]));
    assert_eq!(
        text(&sections),
        "registers:\n    \
         - TCR2_EL1 (0x603000000013c103); harmless: up to Linux 6.12 it is listed where the guest does not have it \
         (tcr2_visibility(), s1pie_visibility(), arch/arm64/kvm/sys_regs.c, new in Linux 6.13)\n    \
         ! CNTVCT_EL0 (0x603000000013df1a): 0x1 -> 0x2; harmless: it goes on by itself \
         (Documentation/virt/kvm/arm/reg-list.rst, exceptions)\n"
    );
    assert!(sections[0].is_harmless());
    // Of a list nobody knows whether the guest has it.
    assert!(!diff_lists(&[tcr2], &[])[0].is_harmless());
    assert!(diff_lists(&[], &[0x6030_0000_0016_0003])[0].is_harmless());
}

#[test]
fn features_of_init_are_compared() {
    let with = |features: u32| {
        let features = [features, 0, 0, 0, 0, 0, 0];
        SavedVcpu::new(Some(features), [(0x6030_0000_0010_0000, vec![0; 8])]).unwrap()
    };
    let sections = diff_vcpus(&with(1 << 3), &with(1 << 4));
    assert_eq!(sections[0].facts, ["initialized with PMU_V3, not SVE"]);
}

#[test]
fn hosts_differ_in_vectors_masks_and_kinds() {
    let (mut small, mut large) = (offer("small"), offer("large"));
    large.sve = Lengths::new([16, 32]).unwrap();
    let dfr0 = 0x6030_0000_0013_c028;
    small.writable.insert(dfr0, 0xf);
    let mut with_pmu = large.kinds[0].clone();
    with_pmu.features[0] = 1 << 3;
    large.kinds.push(with_pmu);
    let text = text(&diff_offers(&small, &large));
    assert!(
        text.starts_with("vectors:\n    SVE none, not 16 32\n"),
        "{text}"
    );
    for lines in [
        "what can be written of ID registers:\n    \
         ! ID_AA64DFR0_EL1 (0x603000000013c028): 0xf -> 0xf000f00f0f\n",
        "a vCPU with no feature:\n    ! ID_AA64PFR0_EL1 (0x603000000013c020): RAS 0 -> 1, DIT 0 -> 1\n",
        "    + FPMR (0x603000000013da22)\n",
        "a vCPU with PMU_V3:\n    only the second has it\n",
    ] {
        assert!(text.contains(lines), "{lines} is not in\n{text}");
    }
}

/// All that kernels have listed, of every kind of vCPU, by the list of the project's tests. What is not allocated in
/// the space of ID registers has no name, and KVM lists it all the same.
#[test]
fn every_register_that_kernels_list_has_a_name() {
    let path = "/../tools-testing-selftests/kvm/arm64/rust/lib/known_ids.txt";
    let path = format!("{}{path}", env!("CARGO_MANIFEST_DIR"));
    let Ok(text) = std::fs::read_to_string(&path) else {
        return println!("skipped: there is no {path}");
    };
    let mut names = 0;
    for line in text.lines() {
        let words: Vec<_> = line.split(' ').collect();
        let Ok(first) = u64::from_str_radix(words[0], 16) else {
            continue;
        };
        let step = u64::from_str_radix(words[1], 16).unwrap();
        for n in 0..words[2].parse().unwrap() {
            let name = register_name(first + n * step);
            let is_none = name.starts_with("0x") || name.contains(' ');
            let is_number = name.starts_with('S') && name[1..].starts_with(char::is_numeric);
            let is_free = name.starts_with("S3_0_C0_");
            assert!(!is_none && (!is_number || is_free), "{name}: {line}");
            let theirs = words.get(3).filter(|_| n == 0);
            let is_theirs = theirs.is_none_or(|own| {
                own.starts_with("S3_") || name.replace("_EL1[", "[").ends_with(own)
            });
            assert!(is_theirs, "{name}: {line}");
            names += 1;
        }
    }
    println!("{names} names");
    assert!(names > 600);
}
