// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! `include/arm64-vl.h` is what cbindgen makes of `src/ffi.rs`. `BLESS=1` writes it anew.

use std::{env, fs, path::Path};

#[test]
fn header_is_that_of_the_source() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(top.join("cbindgen.toml")).unwrap();
    let mut made = Vec::new();
    cbindgen::Builder::new()
        .with_src(top.join("src/ffi.rs"))
        .with_config(config)
        .generate()
        .unwrap()
        .write(&mut made);
    let header = top.join("include/arm64-vl.h");
    if env::var_os("BLESS").is_some() {
        fs::write(&header, &made).unwrap();
    }
    assert!(
        fs::read(&header).unwrap_or_default() == made,
        "run this with BLESS=1, and look at what has changed"
    );
}
