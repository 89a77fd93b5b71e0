# SPDX-License-Identifier: GPL-2.0-only
"""Kernels beside the patched one: the released, that without Rust, other configurations, the debug kernel."""

import re
import sys
import tempfile
from functools import partial

import boot
import selftests
from command import BUILD, SCRIPTS, log, run
from ktap import FAILED, PASSED, SKIPPED, Result, ktap, verdict
from products import WITHOUT_KUNIT, WITHOUT_RUST, Broken, groups_kernel, groups_selftests, image, kernel
from reglist import lists
from selftests import REG_LIST, SME, tested
from suite import Suite
from suites.core import kunit_tests

# The debug kernel, over kernel.config.
DEBUG = re.findall(r"^CONFIG.*", (SCRIPTS / "debug.config").read_text(), re.M)

# A kernel that can be written to a disk: that takes every CPU and KVM itself down and brings them back.
HIBERNATION = tuple(f"CONFIG_{name}=y" for name in (
    "SUSPEND", "BLOCK", "BLK_DEV", "VIRTIO_MENU", "VIRTIO_MMIO", "VIRTIO_BLK", "SWAP", "HIBERNATION"))

# Tests of the kernel that are left out of the comparison, and why.
LEFT_OUT = re.compile(
    r"_perf_test$|_stress|^demand_paging|^dirty_log|^access_tracking|^memslot_|^mmu_stress"
    r"|^guest_memfd|^pre_fault|^rseq|^kvm_page_table|^arch_timer_edge|^page_fault"  # minutes each, emulated
    r"|^steal_time|^irqfd|^set_memory|^system_counter|^coalesced|^kvm_create_max|^kvm_binary|^hwcr"
    r"|^hardware_disable|^arch_timer$"  # hangs on timing, not on registers
)

# What has to build apart from the kernels that are booted: (name, architecture, config, targets). First what goes
# without each part that the series has a use for; it has no Rust, which takes longest.
ARM64 = ("arch/arm64/kvm/", "arch/arm64/kernel/")
NO_SVE = ("CONFIG_ARM64_SME=n", "CONFIG_ARM64_SVE=n")
WITHOUT_ALL = (("no SVE, SME, Rust or KUnit", "arm64", (*NO_SVE, *WITHOUT_RUST, "CONFIG_KUNIT=n"),
                ("arch/arm64/kvm/", "arch/arm64/kernel/fpsimd.o", "arch/arm64/kernel/ptrace.o")),)
BUILDS = (
    ("CONFIG_ARM64_SME=n", "arm64", NO_SVE[:1], ARM64),
    ("CONFIG_ARM64_SVE=n", "arm64", NO_SVE, ARM64),
    ("CONFIG_RUST=n", "arm64", WITHOUT_RUST, ARM64[:1]),
    ("CONFIG_KUNIT=n", "arm64", WITHOUT_KUNIT, ARM64[:1]),
    ("rust/ for x86_64", "x86_64", ("CONFIG_RUST=y",), ("prepare",)),
    ("rust/ for arm", "arm", ("CONFIG_MMU=y", "CONFIG_ARCH_MULTIPLATFORM=y", "CONFIG_ARCH_MULTI_V7=y",
                              "CONFIG_RUST=y"), ("prepare",)),
)


def compare(kvm):
    """The kernel's own kvm selftests pass, or say of the patched kernel what they say of the released one."""
    ours = ("reg_list_", "sme_", "sve_write_", "rust_")
    left = sorted(p.name for p in selftests.FOLDER.iterdir()
                  if not p.suffix and not LEFT_OUT.search(p.name) and not p.name.startswith(ours))

    complaints = {"patched": [], "debian": []}

    def words(names, which, timeout):
        steps, _, calm = selftests.run(names, kvm, timeout, IMAGE=which)
        if calm.verdict == FAILED:
            complaints[which].append(calm.detail)
        return {name: selftests.word(steps[name].status) for name in names}

    released, patched = {}, {}
    # What the kernels disagree on gets a second chance with more time: emulated, a test can be late.
    for timeout in (60, 240):
        patched |= words(left, "patched", timeout)
        others = [name for name in left if patched[name] != PASSED]
        released |= words(others, "debian", timeout) if others else {}
        left = [name for name in others if patched[name] != released[name] or patched[name] == "did not end"]
        if not left:
            break
    rows = []
    for name, how in patched.items():
        if name in left:
            rows.append(verdict(f"{name}: {released[name]} on the released kernel, {how} on the patched one", False))
        elif how in (PASSED, SKIPPED):
            rows.append(Result(name, how, "the test says so, on both kernels" if how == SKIPPED else ""))
        else:
            rows.append(Result(f"{name}: {how} on both", PASSED))
    # Those of the released kernel are not ours, but tell whether it is alone with them.
    said = [*complaints["patched"], *(f"the released kernel as well: {text}" for text in complaints["debian"])]
    return rows + [verdict("the kernel has no complaint", not complaints["patched"], "\n".join(said))]


# The kinds of vCPU on every kernel, and those with SME in each state of SVCR, for reg-list.
KINDS = tuple(f"--features '{features}'" for features in ("", "sve", "pmu", "sve,pmu"))
SME_KINDS = tuple(f"--features {features} --svcr {svcr}" for features in ("sme", "sve,sme") for svcr in range(4))


def same_list():
    """The C version gives the same list, id by id; the released kernel the same set."""
    c_image = image(kernel("out-c", "c-version", "CONFIG_KVM_REG_LIST_RUST=n", "CONFIG_KVM_REG_LIST_KUNIT_TEST=n"))
    rust, c = lists("patched", KINDS + SME_KINDS), lists(c_image, KINDS + SME_KINDS)
    released = lists("debian", KINDS)
    back = lists("patched", tuple(f"{kind} --unpatched" for kind in KINDS))
    rows = [verdict(f"the C version gives the same list: {kind}", ids == c[kind]) for kind, ids in rust.items()]
    rows += [verdict(f"the released kernel lists the same set: {kind}", sorted(ids) == sorted(rust[kind]))
             for kind, ids in released.items()]
    rows += [verdict(f"what \"make\" takes for the unpatched order is that: {kind}", back[f"{kind} --unpatched"] == ids)
             for kind, ids in released.items()]
    return rows + tested(REG_LIST + SME, "vhe", IMAGE=c_image, SMP="1")


def builds(configurations):
    """Configurations that have to build, as far as the series touches them."""
    rows = []
    for name, arch, config, targets in configurations:
        short = re.sub(r"\W+", "-", name)
        try:
            kernel(f"out-{short}", short, *config, targets=targets, KARCH=arch)
            rows.append(Result(name, PASSED))
        except Broken as error:
            rows.append(verdict(name, False, error))
    return rows


def variant(name, has_sme, *lines):
    """A kernel that is configured otherwise builds, and works as far as it goes."""
    which = image(kernel(f"out-{name}", name, *lines))
    rows = tested(REG_LIST + SME, "vhe", IMAGE=which)
    with_sme = any(row.verdict == PASSED and re.search(r"\bsme\b", row.test, re.I) for row in rows)
    theirs, _, calm = selftests.run(("get-reg-list", "set_id_regs", "idreg-idst"), "vhe", 240, IMAGE=which)
    rows += [verdict(f"tests found {'' if has_sme else 'no '}vCPUs with SME", with_sme == has_sme),
             calm._replace(test="the kernel has no complaint of theirs")]
    for test, step in theirs.items():
        how = selftests.word(step.status)
        rows.append(Result(test, how if how in (PASSED, SKIPPED) else FAILED, f"{how}\n{step.output[-2000:]}"))
    return rows


def debug_kernel(names, modes=("vhe", "nvhe")):
    """Our selftests on a kernel with KASAN, lockdep, atomic-sleep, UBSAN and kmemleak; a report fails."""
    which = image(kernel("out-debug", "debug", *DEBUG))
    rows = [row for kvm in modes for row in tested((*names, *selftests.OF_MODE.get(kvm, ())), kvm, 900, IMAGE=which)]
    # A kmemleak that has disabled itself takes no scan, and would list nothing.
    scan = "echo scan > /sys/kernel/debug/kmemleak || exit 1\n"
    tests = {name: selftests.FOLDER / name for name in ("sme_regs", "reg_list_faults")}
    job = boot.run("".join(f"/test/{name} > /tmp/log\n" for name in tests) + f"{scan}sleep 6\n{scan}"
                   + "step leaks cat /sys/kernel/debug/kmemleak\n", tests, IMAGE=which, TIMEOUT="1200")
    found = job.step("leaks").output
    return rows + [verdict("kmemleak finds nothing of KVM", not job.status and "kvm" not in found,
                           found or job.said or "kmemleak is disabled")]


def groups_alone(programs, *groups):
    """The kernel of some groups of patches/ builds, and what belongs to them passes on it in every mode: their tests in
    C as they are there, and with the order of the list KUnit and what "make" shows."""
    out = groups_kernel(*groups)
    folder, rows = groups_selftests(out), []
    for kvm in ("vhe", "nvhe", "protected", "nested"):
        found = tested(programs, kvm, folder=folder, IMAGE=image(out))
        if "reg-list" in groups:
            found += kunit_tests(IMAGE=image(out), KVM=kvm)
        rows += [row._replace(test=f"{kvm}: {row.test}") for row in found]
    if "reg-list" in groups:
        status, said, _ = run([sys.executable, SCRIPTS / "lab/demo.py"], env={"TREE": str(out.parent)})
        rows.append(verdict("make shows the order, 0 errors and 0 lost", not status, said))
    return rows


def hibernation():
    """Guests with SME run on after the machine was written to a disk and came back from there."""
    which, rows = image(kernel("out-hibernation", "hibernation", *HIBERNATION)), []
    # Meanwhile without the test that takes a CPU offline itself: it cannot while the machine does.
    body = """
cd /test
until [ -e /tmp/enough ]; do
    for t in hold product turns isolation "host state"; do ./sme_guest "$t"; done
done > /tmp/guests 2>&1 &
busybox mkswap /dev/vda && busybox swapon /dev/vda || exit 1
echo 0 > /sys/power/image_size
echo test_resume > /sys/power/disk
for i in 1 2 3 4 5 6 7 8; do
    sleep 4
    step "back $i" sh -c "echo disk > /sys/power/state"
done
touch /tmp/enough
wait
step meanwhile cat /tmp/guests
step after ./sme_guest
"""
    for kvm in ("vhe", "nvhe"):
        with tempfile.NamedTemporaryFile(dir=BUILD) as disk:
            disk.truncate(1 << 30)
            job = boot.run(
                body, {"sme_guest": selftests.FOLDER / "sme_guest"}, KVM=kvm, TIMEOUT="900", IMAGE=which,
                APPEND="resume=/dev/vda",
                QEMU_ARGS=f"-drive file={disk.name},format=raw,if=none,id=swap -device virtio-blk-device,drive=swap")
        where = log(f"hibernation-{kvm}", job.output)
        back = sum(job.step(f"back {i}").status == 0 for i in range(1, 9))
        meanwhile = [row.verdict for row in ktap(job.step("meanwhile").output)]
        after = job.step("after")
        rows += [job.calm()._replace(test=f"{kvm}: the kernel has no complaint"),
                 verdict(f"{kvm}: the machine came back 8 times", back == 8, f"{back} times; see {where}"),
                 verdict(f"{kvm}: guests are right meanwhile",
                         meanwhile.count(PASSED) > 20 and "failed" not in meanwhile, f"see {where}"),
                 verdict(f"{kvm}: and after it", after.status == 0 and ktap(after.output), f"see {where}")]
    return rows


SUITES = (
    Suite("builds without all", partial(builds, WITHOUT_ALL), ("patched",)),
    Suite("builds, one by one", partial(builds, BUILDS), ("patched",), long=True),
    Suite("Rust, C and released", same_list, ("guest", "patched", "selftests")),
    # Protected mode has the code of nVHE, and more.
    *(Suite(f"kvm selftests, released and patched, {kvm}", partial(compare, kvm), ("guest", "patched", "selftests"),
            long=kvm == "nvhe") for kvm in ("vhe", "nvhe", "protected", "nested")),
    Suite("debug kernel, registers", partial(debug_kernel, REG_LIST + ("reg_list_faults", "sme_regs", "reg_list_sme")),
          ("guest", "patched", "selftests"), long=True),
    Suite("debug kernel, guests", partial(debug_kernel, ("sme_guest -n 100",)), ("guest", "patched", "selftests"),
          long=True),
    Suite("debug kernel, protected and nested",
          partial(debug_kernel, ("reg_list_el2",), ("protected", "nested")),
          ("guest", "patched", "selftests"), long=True),
    Suite("configuration without CONFIG_ARM64_SME", partial(variant, "no-ARM64_SME", False, "CONFIG_ARM64_SME=n"),
          ("guest", "patched", "selftests"), long=True),
    Suite("configuration without CONFIG_ARM64_SVE",
          partial(variant, "no-ARM64_SVE", False, "CONFIG_ARM64_SME=n", "CONFIG_ARM64_SVE=n"),
          ("guest", "patched", "selftests"), long=True),
    # With clang 21 and later the kernel has no BTI (arch/arm64/Kconfig).
    Suite("configuration with CFI and a shadow call stack",
          partial(variant, "cfi", True, "CONFIG_CFI=y", "CONFIG_SHADOW_CALL_STACK=y"),
          ("guest", "patched", "selftests"), long=True),
    Suite("groups alone, fixes", partial(groups_alone, ("reg_list_room", "reg_list_el2", "sve_write_fault"), "fixes"),
          ("guest", "patched", "selftests"), long=True),
    Suite("groups alone, fixes and reg-list", partial(groups_alone, REG_LIST, "fixes", "reg-list"),
          ("guest", "patched", "selftests"), long=True),
    Suite("guests over hibernation", hibernation, ("guest", "patched", "selftests"), long=True),
)
