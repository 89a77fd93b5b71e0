// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! Files that are damaged, from elsewhere, or made up.

#![cfg(all(feature = "kvm", feature = "json"))]

use arm64_vl::{Error, Machine, SavedVcpu};

const VCPU: &str = r#"{"format": "arm64-vl vcpu", "version": 1, "registers": [
    {"id": "0x606000000015ffff", "value": "@VLS@"},
    {"id": "0x603000000013da12", "value": "0300000000000000"},
    {"id": "0x6030000000100000", "value": "0102030405060708"}]}"#;

fn vcpu() -> String {
    VCPU.replace("@VLS@", &format!("03{}", "00".repeat(63)))
}

#[test]
fn saved_vcpu_is_what_the_file_says() {
    let saved = SavedVcpu::from_json(&vcpu()).unwrap();
    assert_eq!(saved.len(), 3);
    assert_eq!(saved.sve().to_string(), "16 32");
    assert!(saved.sme().is_empty());
    assert_eq!(
        saved.value(0x6030_0000_0010_0000),
        Some(&[1, 2, 3, 4, 5, 6, 7, 8][..])
    );
    assert_eq!(
        SavedVcpu::from_json(&saved.to_json().unwrap()).unwrap(),
        saved
    );
    // As a part of another file it is checked too.
    let pair: Result<(SavedVcpu, u8), _> = serde_json::from_str(&format!("[{}, 1]", vcpu()));
    assert_eq!(pair.unwrap().0, saved);
}

#[test]
fn damaged_vcpu_is_refused() {
    for (from, to, wanted) in [
        (
            "0x6030000000100000",
            "0x3030000000100000",
            "no register of arm64",
        ),
        (
            "0x6030000000100000",
            "6030000000100000",
            "not the id of a register",
        ),
        (
            "0x6030000000100000",
            "0x+30000000100000",
            "not the id of a register",
        ),
        ("0x6030000000100000", "0x603000000013da12", "twice"),
        ("0x6030000000100000", "0x606000000017fffe", "bytes, not 64"),
        ("0102030405060708", "01020304050607", "7 bytes, not 8"),
        ("0102030405060708", "0102030405060708ff", "9 bytes, not 8"),
        (
            "0102030405060708",
            "010203040506070",
            "pairs of hexadecimal digits",
        ),
        (
            "0102030405060708",
            "01020304050607+8",
            "pairs of hexadecimal digits",
        ),
        (
            "0102030405060708",
            "é1020304050607",
            "pairs of hexadecimal digits",
        ),
        ("\"registers\"", "\"regs\"", "it has no registers"),
        ("]}", "]", "EOF"),
        ("arm64-vl vcpu", "qemu", "its format is"),
    ] {
        let text = vcpu().replacen(from, to, 1);
        assert_ne!(text, vcpu(), "{from}");
        match SavedVcpu::from_json(&text) {
            Err(error @ Error::Format { .. }) => {
                let text = error.to_string();
                assert!(text.contains(wanted), "{text}");
                assert_eq!(text.matches("not a saved vCPU").count(), 1, "{text}");
            }
            other => panic!("{to}: {other:?}"),
        }
    }
}

#[test]
fn another_version_is_named() {
    let text = r#"{"format": "arm64-vl vcpu", "version": 7, "whatever": []}"#;
    let error = SavedVcpu::from_json(text).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Version {
                found: 7,
                known: 1,
                ..
            }
        ),
        "{error}"
    );
    let text = r#"{"format": "arm64-vl host", "version": 0}"#;
    let error = Machine::from_json(text).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Version {
                found: 0,
                known: 1,
                ..
            }
        ),
        "{error}"
    );
    // Also where the file is a part of another one.
    let error =
        serde_json::from_str::<SavedVcpu>(&vcpu().replace("\"version\": 1", "\"version\": 9"));
    assert!(error.unwrap_err().to_string().contains("version 9"));
    let text = r#"{"new": 1, "format": "arm64-vl vcpu", "version": 9}"#;
    let error = serde_json::from_str::<SavedVcpu>(text).unwrap_err();
    assert!(error.to_string().contains("version 9"), "{error}");
    let text = r#"{"new": 1, "format": "arm64-vl host", "version": 9}"#;
    let error = serde_json::from_str::<Machine>(text).unwrap_err();
    assert!(error.to_string().contains("version 9"), "{error}");
}

#[test]
fn machine_that_cannot_be_is_refused() {
    let good = Machine::with_offer("m", Default::default())
        .to_json()
        .unwrap();
    let (before, after) = good.rsplit_once("\"sme2\": false").unwrap();
    let sme2 = format!("{before}\"sme2\": true{after}");
    let error = Machine::from_json(&sme2).unwrap_err();
    assert!(error.to_string().contains("SME2 needs SME"), "{error}");

    for length in ["15", "0", "8208", "-16", "4294967312", "\"16\""] {
        let text = good.replacen("\"lengths\": []", &format!("\"lengths\": [{length}]"), 1);
        assert!(
            matches!(Machine::from_json(&text), Err(Error::Format { .. })),
            "{length}"
        );
    }
}

/// What can be written in a file and can be no machine's.
#[test]
fn impossible_input_is_refused() {
    let both = |sve: &str, sme: &str| {
        let (sve, sme) = (format!("[{sve}]"), format!("[{sme}]"));
        let good = Machine::with_offer("m", Default::default())
            .to_json()
            .unwrap();
        let mut value: serde_json::Value = serde_json::from_str(&good).unwrap();
        let lengths = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        value["host"]["sve"]["lengths"] = lengths(&sve);
        value["host"]["sme"]["lengths"] = lengths(&sme);
        let host = value.to_string();
        value["host"]["sve"]["lengths"] = lengths("[]");
        value["host"]["sme"]["lengths"] = lengths("[]");
        value["kvm"]["sve"] = lengths(&sve);
        value["kvm"]["sme"] = lengths(&sme);
        [host, value.to_string()]
    };
    for (sve, sme, wanted) in [
        ("144", "", "every power of two"),
        ("16,32,144", "", "every power of two"),
        ("8192", "", "256 bytes at most"),
        ("16,32,64,128,256,272", "", "256 bytes at most"),
        ("", "48", "power of two"),
        ("", "512", "256 bytes at most"),
    ] {
        for text in both(sve, sme) {
            let error = Machine::from_json(&text).expect_err(&text).to_string();
            assert!(error.contains(wanted), "{sve} {sme}: {error}");
        }
    }
    for text in both("16,32,48,64,80", "64,256") {
        Machine::from_json(&text).unwrap();
    }

    let good = Machine::with_offer("m", Default::default())
        .to_json()
        .unwrap();
    for (from, to) in [
        ("\"registers\": 0", "\"registers\": 18446744073709551615"),
        ("\"registers\": 0", "\"registers\": 4294967296"),
        ("\"bytes\": 0", "\"bytes\": 1"),
        (
            "\"significant\": 0",
            "\"significant\": 18446744073709551615",
        ),
        ("\"default\": null", "\"default\": 16"),
        ("\"fa64\": false", "\"fa64\": true"),
    ] {
        let text = good.replacen(from, to, 1);
        assert_ne!(text, good, "{from}");
        assert!(Machine::from_json(&text).is_err(), "{to}");
    }
}

/// The formats can grow: what is not known is left out. Version 0.1 wrote another member.
#[test]
fn members_that_are_not_known_are_left_out() {
    let text = vcpu().replacen("\"registers\"", "\"more\": {}, \"registers\"", 1);
    assert_eq!(
        SavedVcpu::from_json(&text).unwrap(),
        SavedVcpu::from_json(&vcpu()).unwrap()
    );
    let machine = Machine::with_offer("m", Default::default());
    let text = machine.to_json().unwrap();
    let old = text.replacen("\"others\"", "\"list_order\": true, \"others\"", 1);
    assert_ne!(old, text);
    assert_eq!(Machine::from_json(&old).unwrap(), machine);
}

/// A binary format has the bytes of a register as they are.
#[test]
fn binary_format_is_as_small_as_the_state() {
    let registers = (0..32).map(|n| (0x6080_0000_0015_0000 + (n << 5), vec![n as u8; 256]));
    let saved = SavedVcpu::new(Some([4, 0, 0, 0, 0, 0, 0]), registers).unwrap();
    let bytes = bincode::serialize(&saved).unwrap();
    assert!(bytes.len() < 32 * (256 + 8 + 8) + 100, "{}", bytes.len());
    assert_eq!(bincode::deserialize::<SavedVcpu>(&bytes).unwrap(), saved);
    assert!(bincode::deserialize::<SavedVcpu>(&bytes[..bytes.len() - 1]).is_err());
}
