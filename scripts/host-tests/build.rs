// SPDX-License-Identifier: GPL-2.0-only

//! With the feature `c-version`: compiles `reg_list_fallback.c` for the host, with the UAPI headers of
//! arm64 in the folder `KERNEL_HEADERS`.

use std::{env, process::Command};

fn run(command: &mut Command) -> String {
    let output = command.output().expect("the compiler can be run");
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).expect("its output is text")
}

fn main() {
    println!("cargo:rerun-if-env-changed=KERNEL_HEADERS");
    if env::var_os("CARGO_FEATURE_C_VERSION").is_none() {
        return;
    }

    let source = "../../arch-arm64-kvm/reg_list_fallback.c";
    let headers =
        env::var("KERNEL_HEADERS").expect("KERNEL_HEADERS names the UAPI headers of arm64");
    let out = env::var("OUT_DIR").expect("cargo says where");
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
        .args(["-isystem", compiler_headers.trim(), source, "-o"])
        .arg(format!("{out}/fallback.o")));
    run(Command::new("ar").args([
        "rcs",
        &format!("{out}/libfallback.a"),
        &format!("{out}/fallback.o"),
    ]));

    for file in [source, "../../arch-arm64-kvm/reg_list.h", "c_version"] {
        println!("cargo:rerun-if-changed={file}");
    }
    println!("cargo:rustc-link-search={out}");
}
