# SPDX-License-Identifier: GPL-2.0-only
"""The library (tools-lib-arm64-vl/): on this machine, and in booted kernels on every machine."""

import re
import shutil
import subprocess
from functools import partial

import boot
import selftests
from command import BUILD, RESULTS, TOP, log, run
from ktap import libtest, verdict
from machines import MACHINES
from suite import Suite

HERE = TOP / "tools-lib-arm64-vl"
TARGET = BUILD / "library"
PROGRAMS = BUILD / "library-arm64"
C_PROGRAMS = {"vlmatrix-c": "examples/vlmatrix.c", "c_api": "tests/c_api.c"}
CFLAGS = ("-Wall", "-Wextra", "-Werror")

# Each machine, and the default one in other modes and with another kernel: name, machine, mode, what to boot.
GUESTS = (
    *((name, name, "vhe", {}) for name in MACHINES),
    ("nvhe", "default", "nvhe", {}),
    ("protected", "default", "protected", {}),
    ("unpatched kernel", "default", "vhe", {"IMAGE": "unpatched"}),
    # It has seccomp, which the others have not.
    ("released kernel", "default", "vhe", {"IMAGE": "debian"}),
)
# What has to be built for each kernel. The released one is in the toolbox.
KERNELS = {"patched": ("patched",), "unpatched": ("unpatched",), "debian": ()}
# Three of them have a vCPU in common that is none of theirs.
POOL = ("default", "powers-of-two", "no-fa64")


def logged(name, args, **env):
    """Runs a command in the folder of the library, with its output in a log: (good, output)."""
    status, out, _ = run(args, cwd=HERE, env={"CARGO_TARGET_DIR": str(TARGET), **env}, stderr=subprocess.STDOUT)
    log(f"library-{name}", out)
    return not status, out


def programs():
    """{name: path} of what runs in the guest."""
    return {path.name: path for path in PROGRAMS.iterdir()}


def words(lengths):
    return ",".join(map(str, lengths))


def guest(name, machine, mode, env):
    """All of it in one booted kernel."""
    host, patched = MACHINES[machine], "IMAGE" not in env
    sme = host.vcpu_sme(mode) if patched else ()
    told = {"SVE": words(host.sve), "SME": words(host.sme), "VCPU_SVE": words(host.sve), "VCPU_SME": words(sme),
            "SME2": int(bool(host.sme)), "FA64": int(host.fa64)}
    body = "cd /test\n" + "".join(f"export {name}={value}\n" for name, value in told.items()) + """
step machine ./machine --test-threads=1
step debugger ./debugger --test-threads=1
step vmm sh -c "./vmm start /tmp/guest && ./vmm resume /tmp/guest"
./vlmatrix > /tmp/command; ./vlmatrix-c > /tmp/c
step same sh -c "grep -q process /tmp/command && busybox cmp /tmp/command /tmp/c"
step try ./vlmatrix --try
step c_api ./c_api
sleep 60 &
step pid ./vlmatrix pid $!
"""
    job = boot.run(body, programs(), CPU=machine, KVM=mode, TIMEOUT="900", **env)
    where = log(selftests.file_name("library", name), job.output)
    vmm, tried = job.step("vmm"), job.step("try")
    numbers = "ZA" if sme else "Z" if host.sve else "V"
    pairs = (len(host.sve) + 1) * (len(sme) + 1)
    tests = [row for step in ("machine", "debugger") for row in libtest(job.step(step).output)]
    return tests + [
        verdict("the boot ends well", not job.status, where),
        *(verdict(f"{step} ends well", job.step(step).status == 0, where) for step in ("machine", "debugger")),
        verdict(f"a guest is saved while it computes in {numbers}, and finishes in a new process",
                vmm.status == 0 and f"finished in {numbers}: " in vmm.output, vmm.output),
        verdict("the C example prints what the command prints", job.step("same").status == 0, where),
        verdict("every function of the C API", job.step("c_api").status == 0, job.step("c_api").output),
        verdict(f"KVM takes {pairs} of {pairs} pairs",
                tried.status == 0 and f"KVM takes {pairs} of {pairs} pairs" in tried.output, tried.output),
        verdict("vlmatrix pid", re.search(r"^thread \d+: not in streaming mode$", job.step("pid").output, re.M),
                job.step("pid").output),
    ]


def pool():
    """The vCPU of three machines: that of a search, and each of them takes it."""
    files = []
    for machine in POOL:
        job = boot.run(f"/test/vlmatrix --json --name {machine}\n", programs(), CPU=machine)
        files.append(RESULTS / f"host-{machine}.json")
        files[-1].write_text(job.output)
    good, out = logged("pool", ["cargo", "test", "--offline", "--test", "pool", "--", "--nocapture",
                                "pool_is_that_of_a_search"], MACHINES=":".join(map(str, files)))
    config = next((line[line.index("{"):] for line in out.splitlines() if '{"sve"' in line), "")
    rows = [verdict("the pool of three machines is that of a search", good and config, out[-2000:])]
    for machine in POOL:
        job = boot.run(f"CONFIG='{config}' /test/machine kvm_takes_every_pair\n", programs(), CPU=machine)
        good = not job.status and "1 passed" in job.output
        rows.append(verdict(f"a vCPU like that is made on {machine}", good, job.output))
    return rows


def features_alone():
    """What a VMM or a debugger takes brings in no other crate than libc."""
    rows = []
    for feature in ("kvm", "ptrace"):
        _, out = logged(f"tree-{feature}", ["cargo", "tree", "--offline", "--edges=normal", "--prefix=none",
                                            "--target=all", "--no-default-features", f"--features={feature}"])
        crates = {line.split()[0] for line in out.splitlines() if line}
        rows.append(verdict(f"{feature} alone needs libc alone", crates == {"arm64-vl", "libc"}, out))
    return rows


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
    good, out = logged("tests", ["cargo", "test", "--no-fail-fast", *cargo])
    rows = libtest(out) + [verdict("cargo test succeeds", good, out[-2000:])]
    for name, args, env in (
            ("cargo doc has no warning", ["cargo", "doc", "--no-deps", "--document-private-items", *cargo],
             {"RUSTDOCFLAGS": "-D warnings"}),
            ("cargo package passes", ["cargo", "package", "--allow-dirty", *cargo], {}),
            *((f"with {features or 'no feature'} it builds",
               ["cargo", "check", "--lib", "--no-default-features", f"--features={features}", *cargo],
               {"RUSTFLAGS": "-D warnings"})
              for features in ("", "kvm", "ptrace", "json", "capi")),
            ("make install", ["make", "install", f"prefix={TARGET}/installed"], {})):
        good, out = logged(name.replace(" ", "-"), args, **env)
        rows.append(verdict(name, good, out[-2000:]))
    rows += features_alone() + two_versions()
    installed = TARGET / "installed"
    pc = installed / "lib/pkgconfig/arm64-vl.pc"
    status, flags, _ = run(["pkg-config", "--cflags", "--libs", pc])
    for name, source in C_PROGRAMS.items():
        good, out = logged(f"{name}-host", ["gcc", *CFLAGS, "-o", TARGET / name, source, *flags.split()])
        rows.append(verdict(f"{source} builds as pkg-config says", not status and good, out))

    def ran(program):
        return run(["env", f"LD_LIBRARY_PATH={installed / 'lib'}", program])[:2]

    command = ran(installed / "bin/vlmatrix")
    return rows + [verdict("the C example prints what the command prints",
                           command == ran(TARGET / "vlmatrix-c") and command[0] == 0, command),
                   verdict("every function of the C API", ran(TARGET / "c_api")[0] == 0, ran(TARGET / "c_api"))]


SUITES = (
    Suite("library on this machine", host, ("library",)),
    *(Suite(f"library, {name}", partial(guest, name, *rest),
            ("guest", "library", *KERNELS[rest[-1].get("IMAGE", "patched")]))
      for name, *rest in GUESTS),
    Suite("library, pool", pool, ("guest", "library", "patched")),
)
