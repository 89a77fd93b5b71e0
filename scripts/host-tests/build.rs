// SPDX-License-Identifier: GPL-2.0-only

//! Copies the core, so that it can be included. With the feature `c-version`: compiles `reg_list.c`
//! for the host, with the UAPI headers of arm64 in the folder `KERNEL_HEADERS`.

use std::{env, fs, process::Command};

const KERNEL: &str = "../../arch-arm64-kvm";

fn run(command: &mut Command) -> String {
    let output = command.output().expect("the compiler can be run");
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).expect("its output is text")
}

/// What is included cannot have a comment about all of it.
fn copy_core(out: &str) {
    let core = fs::read_to_string(format!("{KERNEL}/reg_list_core.rs")).expect("the core is there");
    fs::write(
        format!("{out}/reg_list_core.rs"),
        core.replace("\n//!", "\n//"),
    )
    .expect("the core can be copied");
}

fn build_c_version(out: &str) {
    let source = format!("{KERNEL}/reg_list.c");
    let headers =
        env::var("KERNEL_HEADERS").expect("KERNEL_HEADERS names the UAPI headers of arm64");
    let compiler_headers = run(Command::new("gcc").arg("-print-file-name=include"));

    run(Command::new("gcc")
        .args([
            "-c",
            "-O2",
            "-Wall",
            "-Wextra",
            "-Wno-sign-compare",
            "-Werror",
        ])
        .args(["-nostdinc", "-Ic_version", "-isystem", &headers])
        .args(["-isystem", compiler_headers.trim(), &source, "-o"])
        .arg(format!("{out}/reg_list.o")));
    run(Command::new("ar").args([
        "rcs",
        &format!("{out}/libreg_list.a"),
        &format!("{out}/reg_list.o"),
    ]));
    println!("cargo:rustc-link-search={out}");
}

fn main() {
    let out = env::var("OUT_DIR").expect("cargo says where");

    println!("cargo:rerun-if-env-changed=KERNEL_HEADERS");
    for file in [KERNEL, "c_version"] {
        println!("cargo:rerun-if-changed={file}");
    }
    copy_core(&out);
    if env::var_os("CARGO_FEATURE_C_VERSION").is_some() {
        build_c_version(&out);
    }
}
