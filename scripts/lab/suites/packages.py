# SPDX-License-Identifier: GPL-2.0-only
"""The library (arm64-vl/) on this machine: its tests, its packages, and what installs it."""

import re
import shutil
import subprocess
from pathlib import Path

from command import BUILD, SCRIPTS, TOP, log, run
from ktap import libtest, verdict
from suite import Suite

HERE = TOP / "arm64-vl"
TARGET = BUILD / "library"
C_PROGRAMS = {"vlmatrix-c": "examples/vlmatrix.c", "c_api": "tests/c_api.c"}
CFLAGS = ("-Wall", "-Wextra", "-Werror")
CARGO_C = "0.10.26+cargo-0.100.0"


def logged(name, args, **env):
    """Runs a command in the folder of the library, with its output in a log: (good, output)."""
    status, out, _ = run(args, cwd=HERE, env={"CARGO_TARGET_DIR": str(TARGET), **env}, stderr=subprocess.STDOUT)
    log(f"library-{name}", out)
    return not status, out


def crates(features):
    """The crates that a program has with these features of the library, without the library."""
    _, out = logged(f"tree-{features}", ["cargo", "tree", "--offline", "--edges=normal", "--prefix=none",
                                         "--target=all", "--no-default-features", f"--features={features}"])
    return {line.split()[0] for line in out.splitlines() if line} - {"arm64-vl"}


def features_alone():
    """What a VMM or a debugger takes brings in no other crate than libc, and nothing brings in many."""
    found = {features: crates(features) for features in ("kvm", "ptrace", "json", "capi", "command")}
    return [verdict("note alone needs no crate", not crates("note"), crates("note")),
            *(verdict(f"{features} alone needs libc alone", found[features] == {"libc"}, found[features])
              for features in ("kvm", "ptrace")),
            *(verdict(f"{features} needs less than 22 crates", 0 < len(names) < 22, names)
              for features, names in found.items())]


def without_std():
    """The feature "note" builds where there is core and alloc alone, as on a machine without an operating system."""
    sysroot = Path(run(["rustc", "--print", "sysroot"])[1].strip())
    machine = re.search(r"^host: (.*)$", run(["rustc", "-vV"])[1], re.M)[1]
    libraries = Path("lib/rustlib") / machine / "lib"
    bare = TARGET / "without-std"
    shutil.rmtree(bare, ignore_errors=True)
    (bare / libraries).mkdir(parents=True)
    for name in ("core", "alloc", "compiler_builtins"):
        for path in (sysroot / libraries).glob(f"lib{name}-*.r*"):
            (bare / libraries / path.name).symlink_to(path)

    def build(*features):
        return logged("without-std", [
            "rustc", "--edition=2021", "--crate-type=lib", "--emit=metadata", "--sysroot", bare, "--out-dir", bare,
            *(f"--cfg=feature=\"{name}\"" for name in features), "src/lib.rs"])

    good, out = build("note")
    return [verdict("note builds with core and alloc alone", good, out),
            verdict("and std does not", not build("std")[0], "")]


def two_versions():
    """A program can have two versions of the crate, through two of its dependencies."""
    work = TARGET / "two-versions"
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(HERE, work / "other", ignore=shutil.ignore_patterns("target"))
    manifest = work / "other/Cargo.toml"
    manifest.write_text(re.sub(r'^version = ".*"', 'version = "9.0.0"', manifest.read_text(), count=1, flags=re.M))
    (work / "src").mkdir()
    (work / "src/main.rs").write_text("fn main() {\n    println!(\"{} {}\", one::Config::default().check().is_ok(), "
                                      "two::Config::default().check().is_ok());\n}\n")
    (work / "Cargo.toml").write_text(f"""[package]
name = "two-versions"
version = "0.0.0"
edition = "2021"
[dependencies]
one = {{ package = "arm64-vl", path = "{HERE}", default-features = false, features = ["kvm", "json"] }}
two = {{ package = "arm64-vl", path = "other", default-features = false, features = ["kvm", "json"] }}
[workspace]
""")
    shutil.copy(HERE / "Cargo.lock", work / "Cargo.lock")
    status, out, _ = run(["cargo", "run", "--offline", "--quiet"], cwd=work,
                         env={"CARGO_TARGET_DIR": str(TARGET)}, stderr=subprocess.STDOUT)
    return [verdict("two versions are linked into one program", not status and out == "true true\n", out)]


def host():
    """On this machine: every test, the documentation, the package, and the C library as it is installed."""
    cargo = ["--offline"]
    logged("fetch", ["cargo", "fetch"])
    good, out = logged("tests", ["cargo", "test", "--no-fail-fast", *cargo, "--", "--show-output"])
    rows = libtest(out) + [verdict("cargo test succeeds", good, out[-2000:])]
    for name, args, env in (
            ("cargo doc has no warning", ["cargo", "doc", "--no-deps", "--document-private-items", *cargo],
             {"RUSTDOCFLAGS": "-D warnings"}),
            ("cargo package passes", ["cargo", "package", "--allow-dirty", *cargo], {}),
            *((f"with {features or 'no feature'} it builds",
               ["cargo", "check", "--lib", "--no-default-features", f"--features={features}", *cargo],
               {"RUSTFLAGS": "-D warnings"})
              for features in ("", "std", "note", "kvm", "ptrace", "json", "capi")),
            ("make install", ["make", "install", f"prefix={TARGET}/installed"], {})):
        good, out = logged(name.replace(" ", "-"), args, **env)
        rows.append(verdict(name, good, out[-2000:]))
    rows += features_alone() + without_std() + two_versions()
    installed = TARGET / "installed"
    share = [path.name for path in (installed / "share").rglob("*")] if (installed / "share").exists() else []
    pages = {"vlmatrix.1", "vlmatrix-pool.1", "vlmatrix-diff.1", "vlmatrix.fish", "_vlmatrix"}
    rows.append(verdict("manual pages and completions are installed", pages <= set(share), share))
    pc = installed / "lib/pkgconfig/arm64-vl.pc"
    status, flags, _ = run(["pkg-config", "--cflags", "--libs", pc])
    for name, source in C_PROGRAMS.items():
        good, out = logged(f"{name}-host", ["gcc", *CFLAGS, "-o", TARGET / name, source, *flags.split()])
        rows.append(verdict(f"{source} builds as pkg-config says", not status and good, out))
    leaks = TARGET / "c_api-leaks"
    logged("c_api-leaks", ["gcc", *CFLAGS, "-fsanitize=leak", "-o", leaks, C_PROGRAMS["c_api"], *flags.split()])

    def ran(program):
        return run(["env", f"LD_LIBRARY_PATH={installed / 'lib'}", program])[:2]

    command = ran(installed / "bin/vlmatrix")
    return rows + [verdict("the C example prints what the command prints",
                           command == ran(TARGET / "vlmatrix-c") and command[0] == 0, command),
                   verdict("every function of the C API", ran(TARGET / "c_api")[0] == 0, ran(TARGET / "c_api")),
                   verdict("and what it gives can be freed, errors too", ran(leaks)[0] == 0, ran(leaks))]


def oldest_rust():
    """The compiler that Cargo.toml promises, which is that of Debian 13, builds all of it."""
    promised = re.search(r'^rust-version = "(.*)"', (HERE / "Cargo.toml").read_text(), re.M)[1]
    oldest = [SCRIPTS / "oldest-rust"]
    _, version = logged("oldest-version", [*oldest, "sh", "-c", '"$RUSTC" -V'])
    logged("fetch", ["cargo", "fetch"])
    good, out = logged("oldest", [*oldest, "cargo", "build", "--offline", "--all-features", "--lib", "--bins",
                                  "--examples"], CARGO_TARGET_DIR=str(TARGET / "oldest"))
    return [verdict(f"Rust {promised} is the one that is tried", version.startswith(f"rustc {promised}."), version),
            verdict(f"Rust {promised} builds it with every feature", good, out[-2000:])]


def cargo_c():
    """What cargo-c installs serves C programs as what "make install" does: they build by its pkg-config file."""
    root, installed = TARGET / "cargo-c", TARGET / "cargo-c-installed"
    shutil.rmtree(installed, ignore_errors=True)
    good, out = logged("cargo-c", ["cargo", "install", "--locked", "--debug", "--root", root, f"cargo-c@{CARGO_C}"])
    rows = [verdict("cargo-c is there", good, out[-2000:])]
    # By its own name: cargo looks for commands in ~/.cargo/bin first.
    good, out = logged("cinstall", [root / "bin/cargo-cinstall", "cinstall", "--no-default-features",
                                    f"--prefix={installed}", f"--libdir={installed}/lib64"])
    rows.append(verdict("cargo cinstall", good, out[-2000:]))
    lib = installed / "lib64"
    status, flags, _ = run(["pkg-config", "--cflags", "--libs", lib / "pkgconfig/arm64-vl.pc"])
    major_minor = ".".join(re.search(r'^version = "(.*)"', (HERE / "Cargo.toml").read_text(), re.M)[1].split(".")[:2])
    for name, source in C_PROGRAMS.items():
        good, out = logged(f"{name}-cargo-c", ["gcc", *CFLAGS, "-o", TARGET / f"{name}-c", source, *flags.split()])
        rows.append(verdict(f"{source} builds as its pkg-config file says", not status and good, out))
        _, needed, _ = run(["readelf", "-d", TARGET / f"{name}-c"])
        rows.append(verdict(f"{source} needs libarm64_vl.so.{major_minor}",
                            f"[libarm64_vl.so.{major_minor}]" in needed, needed))
        status, out, _ = run(["env", f"LD_LIBRARY_PATH={lib}", TARGET / f"{name}-c"])
        rows.append(verdict(f"{source} runs", status == 0, out))
    return rows


SUITES = (
    Suite("library on this machine", host, ("library",)),
    Suite("library, oldest Rust", oldest_rust, long=True),
    Suite("library, cargo-c", cargo_c, long=True),
)
