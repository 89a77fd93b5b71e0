# SPDX-License-Identifier: GPL-2.0-only
"""The tests of tools-lib-arm64-vl/: on this machine, and in booted kernels on many shapes of CPU."""

import json
import re
import subprocess

from lab import BUILD, RESULTS, TOP, boot_script, run, verdict

HERE = TOP / "tools-lib-arm64-vl"
TARGET = BUILD / "library"
ARM64 = "aarch64-unknown-linux-gnu"
ENV = {
    "CARGO_TARGET_DIR": str(TARGET),
    "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER": "aarch64-linux-gnu-gcc",
    "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS": "-C target-feature=+crt-static",
}

C_PROGRAMS = {"vlmatrix-c": "examples/vlmatrix.c", "c_api": "tests/c_api.c"}
CFLAGS = ("-Wall", "-Wextra", "-Werror")

SVE = tuple(range(16, 257, 16))
SME = (16, 32, 64, 128, 256)

# name: what to boot, then what it has to be: lengths of processes; SME lengths of vCPUs where they differ.
SHAPES = {
    "default": ({}, SVE, SME),
    "nVHE": ({"KVM": "nvhe"}, SVE, SME),
    "protected": ({"KVM": "protected"}, SVE, SME, ()),
    "SVE only": ({"CPU": "sve-only"}, SVE, ()),
    "SME only": ({"CPU": "sme-only"}, (), SME),
    "neither": ({"CPU": "none"}, (), ()),
    "disjoint lengths": ({"CPU": "disjoint"}, (16,), (64,)),
    "no FA64": ({"CPU": "no-fa64"}, SVE, SME),
    "powers of two": ({"CPU": "max,lpa2=off,sve384=off,sve640=off,sve768=off,sve896=off,sve1024=off,sve1152=off,"
                              "sve1280=off,sve1408=off,sve1536=off,sve1664=off,sve1792=off,sve1920=off,sve2048=off,"
                              "sme2048=off"}, (16, 32, 64), (16, 32, 64, 128)),
    "unpatched kernel": ({"IMAGE": "unpatched"}, SVE, SME, ()),
}
# Three of them have a vCPU in common that is none of theirs.
POOL = ("default", "powers of two", "no FA64")


def logged(name, args, **env):
    """Runs a command in the folder of the library, with its output in a log: (good, output)."""
    status, out, _ = run(args, cwd=HERE, env={**ENV, **env}, stderr=subprocess.STDOUT)
    (BUILD / "log" / f"library-{name}.log").write_text(out)
    return not status, out


def libtest(text):
    """The results of Rust's test harness: [(name, verdict)]."""
    return [(name.strip(), {"ok": "passed", "ignored": "skipped"}.get(how, "failed"))
            for name, how in re.findall(r"^test (.+?) \.\.\. (?:.*\n)*?(ok|ignored|FAILED)", text, re.M)]


def built():
    """The programs for the guest: {name: path}, empty if they do not build."""
    good, _ = logged("fetch", ["cargo", "fetch"])
    cargo = ["--offline", "--release", "--target", ARM64]
    good, out = logged("build", ["cargo", "test", "--no-run", "--test", "machine", "--test", "debugger",
                                 "--message-format", "json-render-diagnostics", *cargo])
    found = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    programs = {f["target"]["name"]: f["executable"] for f in found if f.get("executable")}
    good = good and logged("vmm", ["cargo", "build", "--bin", "vlmatrix", "--example", "vmm", *cargo])[0]
    good = good and logged("static", ["cargo", "rustc", "--lib", "--crate-type", "staticlib", *cargo])[0]
    out = TARGET / ARM64 / "release"
    for name, source in C_PROGRAMS.items():
        good = good and logged(f"{name}-arm64", ["aarch64-linux-gnu-gcc", "-static", *CFLAGS, "-Iinclude", "-o",
                                                 out / name, source, out / "libarm64_vl.a"])[0]
        programs[name] = out / name
    programs |= {"vlmatrix": out / "vlmatrix", "vmm": out / "examples/vmm"}
    return programs if good else {}


def words(lengths):
    return ",".join(map(str, lengths))


def guest(shape, programs):
    """All of it on one shape of CPU."""
    boot, sve, sme, *vcpu_sme = SHAPES[shape]
    vcpu_sme = vcpu_sme[0] if vcpu_sme else sme
    told = {"SVE": words(sve), "SME": words(sme), "VCPU_SVE": words(sve), "VCPU_SME": words(vcpu_sme),
            "SME2": int(bool(sme)),
            # FA64 needs SVE2.
            "FA64": int(bool(sve and sme) and shape != "no FA64"),
            "LIST_ORDER": int(shape != "unpatched kernel")}
    body = "cd /test\n" + "".join(f"export {name}={value}\n" for name, value in told.items()) + """
for t in machine debugger; do ./$t --test-threads=1 2>&1; echo "@@$t $?"; done
./vmm start /tmp/guest && ./vmm resume /tmp/guest; echo "@@vmm $?"
./vlmatrix > /tmp/command; ./vlmatrix-c > /tmp/c
grep -q process /tmp/command && busybox cmp /tmp/command /tmp/c; echo "@@same $?"
./vlmatrix --try > /tmp/tried; echo "@@try $?"; sed -n '/^KVM takes/p' /tmp/tried
./c_api; echo "@@c_api $?"
sleep 60 & ./vlmatrix pid $! | sed -n '1p'; echo "@@pid $?"
"""
    status, out = boot_script(body, programs, TIMEOUT="900", **boot)
    (BUILD / "log" / f"library-{re.sub(r'[^a-z0-9]+', '-', shape.lower())}.log").write_text(out)
    ended = dict(re.findall(r"^@@(\w+) (\d+)$", out, re.M))
    numbers = "ZA" if vcpu_sme else "Z" if sve else "V"
    pairs = (len(sve) + 1) * (len(vcpu_sme) + 1)
    return libtest(out) + [
        ("the boot ends well", verdict(not status)),
        ("machine and debugger exit with 0", verdict(ended.get("machine") == ended.get("debugger") == "0")),
        (f"a guest is saved while it computes in {numbers}, and finishes in a new process", verdict(
            ended.get("vmm") == "0" and f"finished in {numbers}: " in out
            and f"registers, {'Kernel' if told['LIST_ORDER'] else 'Library'} order" in out)),
        ("the C example prints what the command prints", verdict(ended.get("same") == "0")),
        ("every function of the C API", verdict(ended.get("c_api") == "0")),
        (f"KVM takes {pairs} of {pairs} pairs", verdict(
            ended.get("try") == "0" and f"KVM takes {pairs} of {pairs} pairs" in out)),
        ("vlmatrix pid", verdict(re.search(r"^thread \d+: not in streaming mode$", out, re.M))),
    ]


def pool(programs):
    """The vCPU of three machines: that of a search, and each of them takes it."""
    files = []
    for shape in POOL:
        _, out = boot_script(f"/test/vlmatrix --json --name '{shape}'\n", programs, **SHAPES[shape][0])
        files.append(RESULTS / f"host-{re.sub(r'[^a-z0-9]+', '-', shape.lower())}.json")
        files[-1].write_text(out)
    good, out = logged("pool", ["cargo", "test", "--offline", "--test", "pool", "--", "--nocapture",
                                "pool_is_that_of_a_search"], MACHINES=":".join(map(str, files)))
    config = next((line[line.index("{"):] for line in out.splitlines() if '{"sve"' in line), "")
    rows = [("the pool of three machines is that of a search", verdict(good and config))]
    for shape in POOL:
        status, out = boot_script(f"CONFIG='{config}' /test/machine kvm_takes_every_pair\n", programs, **SHAPES[shape][0])
        rows.append((f"a vCPU like that is made on {shape}", verdict(not status and "1 passed" in out)))
    return rows


def host():
    """On this machine: every test, the documentation, the package, and the C library as it is installed."""
    cargo = ["--offline"]
    logged("fetch", ["cargo", "fetch"])
    good, out = logged("tests", ["cargo", "test", "--no-fail-fast", *cargo])
    rows = libtest(out) + [("cargo test succeeds", verdict(good))]
    for name, args, env in (
            ("cargo doc has no warning", ["cargo", "doc", "--no-deps", "--document-private-items", *cargo],
             {"RUSTDOCFLAGS": "-D warnings"}),
            ("cargo package passes", ["cargo", "package", "--allow-dirty", *cargo], {}),
            ("without the command it builds", ["cargo", "check", "--no-default-features", *cargo], {}),
            ("make install", ["make", "install", f"prefix={TARGET}/installed"], {})):
        rows.append((name, verdict(logged(name.replace(" ", "-"), args, **env)[0])))
    installed = TARGET / "installed"
    pc = installed / "lib/pkgconfig/arm64-vl.pc"
    status, flags, _ = run(["pkg-config", "--cflags", "--libs", pc])
    for name, source in C_PROGRAMS.items():
        good, _ = logged(f"{name}-host", ["gcc", *CFLAGS, "-o", TARGET / name, source, *flags.split()])
        rows.append((f"{source} builds as pkg-config says", verdict(not status and good)))

    def ran(program):
        return run(["env", f"LD_LIBRARY_PATH={installed / 'lib'}", program])[:2]

    command = ran(installed / "bin/vlmatrix")
    return rows + [("the C example prints what the command prints", verdict(
                        command == ran(TARGET / "vlmatrix-c") and command[0] == 0)),
                   ("every function of the C API", verdict(ran(TARGET / "c_api")[0] == 0))]
