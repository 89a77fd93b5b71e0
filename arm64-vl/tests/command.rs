// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! The command: what it prints of given descriptions, and what a mistake gives.

#![cfg(feature = "command")]

use arm64_vl::{Config, Lengths, Machine, Offer};
use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

fn vlmatrix(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vlmatrix"))
        .args(args)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A file of its own for each test.
fn file(name: &str, content: &str) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, content).unwrap();
    path.to_str().unwrap().into()
}

fn machine(name: &str, sve: &[u32], sme: &[u32]) -> String {
    let lengths = |of: &[u32]| Lengths::new(of.iter().copied()).unwrap();
    let offer = Offer::from(Config {
        sve: lengths(sve),
        sme: lengths(sme),
        ..Config::default()
    });
    let json = Machine::with_offer(name, offer).to_json().unwrap();
    file(&format!("{name}.json"), &json)
}

#[test]
fn pool_says_why_a_wanted_vcpu_does_not_run() {
    let a = machine("alpha", &[16, 32, 64], &[16, 32]);
    let b = machine("beta", &[16, 32, 48, 64], &[]);
    let common = vlmatrix(&["pool", &a, &b]);
    assert!(common.status.success());
    let pool = "vectors that all have: SVE 16 32; SME none\n    \
                without alpha: SVE 16 32 48 64; SME none\n    \
                without beta: SVE 16 32 64; SME 16 32\n    \
                no SVE of 16 32 64 because of beta: SVE vectors of 48 bytes cannot be hidden\n    \
                no SME of 16 32 because of beta: no SME\n    \
                registers not compared: \"alpha\" has no vCPU with SVE in its description\n";
    assert_eq!(text(&common.stdout), pool);

    let wanted = vlmatrix(&["pool", &a, &b, "--sve", "16,32,64", "--sme", "16"]);
    assert_eq!(wanted.status.code(), Some(1));
    assert_eq!(
        text(&wanted.stdout),
        format!(
            "{pool}wanted:      SVE 16 32 64; SME 16\n    \
             alpha: runs\n    \
             beta: SVE vectors of 48 bytes cannot be hidden, no SME\n"
        )
    );

    let json = vlmatrix(&["pool", &a, &b, "--json", "--sme", "32"]);
    let answer: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(answer["pool"]["sve"], serde_json::json!([16, 32]));
    assert_eq!(
        answer["machines"][0]["why_not"],
        serde_json::json!([{ "sme_cannot_hide": 16 }])
    );
}

#[test]
fn state_is_calculated_without_a_machine() {
    let out = vlmatrix(&["state", "--sve", "16", "--sme", "64", "--sme2", "--fa64"]);
    assert!(out.status.success());
    // 32 Z of 256 bytes, 16 P and FFR of 32, two *_VLS of 64; of 64 bytes 64 rows; ZT0.
    let (vectors, rows) = (32 * 256 + 17 * 32 + 2 * 64, 64 * 256 + 64);
    let line = |name, registers, bytes, significant| {
        format!("{name:<18}{registers:>10}{bytes:>10}{significant:>13}\n")
    };
    let expected = [
        line("vectors SM 0 ZA 0", 51, vectors, 32 * 16 + 17 * 2 + 128),
        line("vectors SM 1 ZA 0", 51, vectors, 32 * 64 + 17 * 8 + 128),
        line(
            "vectors SM 0 ZA 1",
            116,
            vectors + rows,
            32 * 16 + 17 * 2 + 128 + 64 * 64 + 64,
        ),
        line(
            "vectors SM 1 ZA 1",
            116,
            vectors + rows,
            32 * 64 + 17 * 8 + 128 + 64 * 64 + 64,
        ),
    ];
    for line in expected {
        assert!(
            text(&out.stdout).contains(&line),
            "{line}is not in\n{}",
            text(&out.stdout)
        );
    }
}

/// Where no KVM can be asked the list of a vCPU is not known, and what is known is named.
#[test]
fn size_of_the_list_is_that_of_the_whole_or_is_named() {
    let known = Machine::read().unwrap().kvm.is_some();
    let out = vlmatrix(&["state", "--sve", "16", "--sme", "64", "--sme2"]);
    let vectors = "928 bytes at most for vector registers alone";
    assert_eq!(
        text(&out.stdout).contains(vectors),
        !known,
        "{}",
        text(&out.stdout)
    );
    let out = vlmatrix(&["state", "--sve", "16", "--json"]);
    let answer: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(answer["list_bytes"].is_null(), !known);
}

#[test]
fn this_machine_is_described() {
    let out = vlmatrix(&["--json"]);
    let machine = Machine::from_json(text(&out.stdout)).unwrap();
    assert!(machine.kvm.is_some() || !machine.missing.is_empty());
    let out = vlmatrix(&[]);
    assert!(out.status.success() && text(&out.stdout).contains("SVE   process"));
    let out = vlmatrix(&["--version"]);
    assert!(text(&out.stdout).starts_with("vlmatrix "));
    if machine.kvm.is_none() {
        let out = vlmatrix(&["--try"]);
        assert!(!out.status.success() && out.stdout.is_empty());
        assert!(text(&out.stderr).starts_with("vlmatrix: nothing to try: no KVM"));
    }
    let out = vlmatrix(&["--svg"]);
    assert!(text(&out.stdout).starts_with("<svg") && text(&out.stdout).ends_with("</svg>\n"));
}

#[test]
fn mistake_gives_one_line() {
    let broken = file("broken.json", "{");
    let other = file("other.json", r#"{"format": "arm64-vl vcpu", "version": 1}"#);
    let later = file(
        "later.json",
        r#"{"format": "arm64-vl host", "version": 2, "new": true}"#,
    );
    let pid_that_is_gone = i32::MAX.to_string();
    for (args, wanted) in [
        (
            &["pool", "/nowhere.json"][..],
            "/nowhere.json cannot be read: No such file",
        ),
        (
            &["pool", &broken],
            "not a description of a host: EOF while parsing",
        ),
        (&["pool", &other], "its format is \"arm64-vl vcpu\""),
        (
            &["pool", &later],
            "of version 2: this program reads version 1",
        ),
        (&["state", "--sve", "20"], "20 bytes is no vector length"),
        (
            &["state", "--sme", "48"],
            "the length of an SME vector is a power of two",
        ),
        (&["state", "--sve", "16", "--sme2"], "SME2 needs SME"),
        (&["pid", &pid_that_is_gone], "No such process"),
    ] {
        let out = vlmatrix(args);
        let error = text(&out.stderr);
        assert_eq!(out.status.code(), Some(1), "{args:?}");
        assert!(
            error.contains(wanted) && error.lines().count() == 1,
            "{args:?}: {error}"
        );
        assert!(out.stdout.is_empty());
    }
}

/// A name from elsewhere can do nothing to a terminal, and is whole in the picture.
#[test]
fn name_is_shown_and_not_obeyed() {
    let name = "a\u{1b}[2J\nruns on all: \u{202e}x<b>\u{7f}\u{9b}\u{0}";
    let out = vlmatrix(&["--name", &name.replace('\0', "")]);
    let first = text(&out.stdout).lines().next().unwrap();
    assert_eq!(first, r"a\u{1b}[2J\nruns on all: \u{202e}x<b>\u{7f}\u{9b}");
    let offer = Offer::from(Config {
        sve: Lengths::new([16, 32]).unwrap(),
        ..Config::default()
    });
    let json = Machine::with_offer(name, offer).to_json().unwrap();
    let plain = |text: &str| text.chars().all(|c| c == '\n' || matches!(c, ' '..='~'));
    assert!(plain(&json), "{json}");
    assert_eq!(Machine::from_json(&json).unwrap().name, name);
    let path = file("named.json", &json);
    let out = vlmatrix(&["pool", &path, "--json"]);
    assert!(plain(text(&out.stdout)));
    let out = vlmatrix(&["pool", &path, "--sve", "16"]);
    assert_eq!(
        text(&out.stdout).lines().last(),
        Some(r"    a\u{1b}[2J\nruns on all: \u{202e}x<b>\u{7f}\u{9b}\u{0}: runs")
    );

    let out = vlmatrix(&["--svg", "--name", &name.replace('\0', "")]);
    assert!(text(&out.stdout)
        .contains(r">a\u{1b}[2J\nruns on all: \u{202e}x&lt;b&gt;\u{7f}\u{9b}: the greatest"));
    assert!(text(&out.stdout)
        .chars()
        .all(|c| c == '\n' || !c.is_control()));
}

/// Every renderer knows hexadecimal colours, and none is wider than the picture.
#[test]
fn picture_is_plain_and_wide_enough() {
    let name = "W".repeat(100);
    let out = vlmatrix(&["--svg", "--name", &name]);
    let svg = text(&out.stdout);
    let attribute = |line: &str, name: &str| {
        let (_, behind) = line.split_once(&format!(" {name}=\""))?;
        Some(behind.split_once('"')?.0.to_string())
    };
    for line in svg.lines() {
        let fill = attribute(line, "fill").unwrap_or("white".into());
        let hex = fill.strip_prefix('#').is_some_and(|digits| {
            digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        });
        assert!(hex || fill == "white", "{line}");
    }
    let width: usize = attribute(svg, "width").unwrap().parse().unwrap();
    // A capital W of 13 pixels in height is 12.3 wide in DejaVu Sans, the widest of the usual ones.
    assert!(width > 100 * 12, "{width}");
}

/// Two machines with lists of registers: what a VMM sets so that a vCPU runs on both.
#[test]
fn pool_says_what_to_set_and_what_keeps_a_vcpu_from_a_host() {
    let fixture = |name: &str| format!("{}/tests/fixtures/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let (small, large) = (fixture("small"), fixture("large"));
    let out = vlmatrix(&["pool", &small, &large]);
    assert!(out.status.success());
    let lines: Vec<_> = text(&out.stdout).lines().collect();
    assert_eq!(lines[0], "runs on all: SVE none; SME none");
    for line in [
        "    set ID_AA64PFR0_EL1 to 0x1100000001001111",
        "    set ID_AA64MMFR0_EL1 to 0x0000000000001124",
        "    set CTR_EL0 to 0x000000008444c004",
    ] {
        assert!(lines.contains(&line), "{line} is not in {lines:?}");
    }
    assert!(
        lines.iter().all(|line| !line.contains("refused")),
        "{lines:?}"
    );
    // A vCPU that the machines were not asked for.
    let out = vlmatrix(&["pool", &small, &large, "--features", "3"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(out.stdout.is_empty());
    let error = "vlmatrix: \"small\" has no vCPU with PMU_V3 in its description\n";
    assert_eq!(text(&out.stderr), error);

    // One of which a host does not take a register.
    let mut machine = Machine::from_json(&fs::read_to_string(&small).unwrap()).unwrap();
    let offer = machine.kvm.as_mut().unwrap();
    offer.writable.clear();
    offer.kinds[0].registers.remove(&0x6030_0000_0010_0000);
    let other = file("without-x0.json", &machine.to_json().unwrap());
    let out = vlmatrix(&["pool", &other, &large]);
    assert_eq!(out.status.code(), Some(1));
    let lines: Vec<_> = text(&out.stdout).lines().collect();
    assert_eq!(lines[0], "vectors that all have: SVE none; SME none");
    assert!(
        lines.contains(&"    large: extra: X0 (0x6030000000100000)"),
        "{lines:?}"
    );
}

#[test]
fn fleet_is_parted_so_that_guests_have_the_most() {
    let fleet = [
        machine("p1", &[16, 32], &[]),
        machine("p2", &[16, 32, 48, 64], &[16, 32]),
        machine("p3", &[16, 32], &[]),
        machine("p4", &[16, 32, 48, 64], &[16, 32]),
    ];
    let args: Vec<&str> = ["pool", "--groups", "3"]
        .into_iter()
        .chain(fleet.iter().map(String::as_str))
        .collect();
    let out = vlmatrix(&args);
    let groups: Vec<_> = text(&out.stdout)
        .lines()
        .filter(|line| line.starts_with("group "))
        .collect();
    assert_eq!(
        groups,
        [
            "group p1 p3: SVE 16 32; SME none",
            "group p2 p4: SVE 16 32 48 64; SME 16 32"
        ]
    );
}

#[test]
fn diff_compares_files_of_a_kind() {
    let fixture = |name: &str| format!("{}/tests/fixtures/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let (a, b) = (fixture("vcpu-of-small"), fixture("vcpu-of-large"));
    let out = vlmatrix(&["diff", &a, &b]);
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out.stdout).contains("    + FPMR (0x603000000013da22)\n"));
    let same = vlmatrix(&["diff", &a, &a]);
    assert!(same.status.success() && same.stdout.is_empty());

    let one = file("list-a", "0x6030000000100000 # X0\n0x6030000000100002,\n");
    let other = file("list-b", "# nothing else\n0x6030000000100000\n");
    let out = vlmatrix(&["diff", &one, &other]);
    assert_eq!(
        text(&out.stdout),
        "registers:\n    - X1 (0x6030000000100002)\n"
    );
    let json = vlmatrix(&["diff", &one, &other, "--json"]);
    let answer: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(answer[0]["registers"][0]["how"], "only_first");

    let (small, large) = (fixture("small"), fixture("large"));
    let out = vlmatrix(&["diff", &small, &large]);
    assert!(text(&out.stdout).contains("a vCPU with no feature:\n"));
    let out = vlmatrix(&["diff", &small, &a]);
    assert!(text(&out.stderr).contains("a machine can be compared with a machine alone"));
    let broken = file("list-c", "0x60zz\n");
    let out = vlmatrix(&["diff", &broken, &one]);
    assert!(text(&out.stderr).contains("\"0x60zz\" is not the id of a register"));
}

#[test]
fn qemu_is_told_every_length() {
    let out = vlmatrix(&[
        "qemu",
        "--cpu",
        "max",
        "--sve",
        "16,32,48,64",
        "--sme",
        "64",
        "--fa64",
    ]);
    let on = [
        "sve", "sve128", "sve256", "sve384", "sve512", "sme", "sme512", "sme_fa64",
    ];
    let off = (5..=16)
        .map(|n| format!("sve{}", n * 128))
        .chain(["sme128", "sme256", "sme1024", "sme2048"].map(String::from));
    let line = text(&out.stdout).trim_end();
    let mut words: Vec<_> = line.split(',').collect();
    assert_eq!(words.remove(0), "max");
    let mut expected: Vec<_> = on.iter().map(|name| format!("{name}=on")).collect();
    expected.extend(off.map(|name| format!("{name}=off")));
    expected.sort_unstable();
    words.sort_unstable();
    assert_eq!(words, expected);

    let out = vlmatrix(&["qemu", "--libvirt"]);
    assert_eq!(
        text(&out.stdout),
        "<cpu mode='host-passthrough'>\n  <feature policy='disable' name='sve'/>\n</cpu>\n"
    );
    // Its host CPU has no property of SME, and QEMU refuses one that it does not know.
    let out = vlmatrix(&["qemu", "--sve", "16,32"]);
    let line = text(&out.stdout);
    assert!(line.starts_with("host,sve=on,sve128=on,sve256=on,sve384=off"));
    assert!(!line.contains("sme"), "{line}");
    for more in [&["--sme", "16"][..], &["--sme", "16", "--libvirt"]] {
        let out = vlmatrix(&[&["qemu"], more].concat());
        assert_eq!(out.status.code(), Some(1));
        assert!(text(&out.stderr).contains("model \"host\" has no SME"));
    }
}

#[test]
fn fit_says_which_machine_takes_a_vcpu() {
    let fixture = |name: &str| format!("{}/tests/fixtures/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let (small, large) = (fixture("small"), fixture("large"));
    let out = vlmatrix(&["fit", &fixture("vcpu-of-large"), &large, &small]);
    assert_eq!(out.status.code(), Some(1));
    let lines: Vec<_> = text(&out.stdout).lines().collect();
    assert_eq!(lines[0], "large takes it");
    assert_eq!(lines[1], "small does not take it");
    assert!(
        lines.contains(&"    missing: FPMR (0x603000000013da22)"),
        "{lines:?}"
    );

    let out = vlmatrix(&["fit", &fixture("vcpu-of-small"), &large, "--json"]);
    assert!(out.status.success());
    let answer: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(answer[0]["whole"], true);
    assert_eq!(answer[0]["fit"]["lowered"][0]["field"], "RAS");
    let out = vlmatrix(&["fit", &small, &large]);
    assert!(
        text(&out.stderr).contains("not a saved vCPU"),
        "{}",
        text(&out.stderr)
    );
}
