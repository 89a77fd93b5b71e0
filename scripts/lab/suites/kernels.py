# SPDX-License-Identifier: GPL-2.0-only
"""Kernels beside the patched one: the unpatched, that without Rust, other configurations, the debug kernel."""

import re
import tempfile
from functools import partial

import boot
import selftests
from command import BUILD, SCRIPTS, log
from ktap import PASSED, SKIPPED, Result, ktap, verdict
from products import Broken, image, kernel
from reglist import lists
from selftests import REG_LIST, SME, tested
from suite import Suite

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

# What has to build apart from the kernels that are booted: (name, architecture, config, targets).
BUILDS = (
    ("CONFIG_ARM64_SME=n", "arm64", ("CONFIG_ARM64_SME=n",), ("arch/arm64/kvm/", "arch/arm64/kernel/")),
    ("CONFIG_ARM64_SVE=n", "arm64", ("CONFIG_ARM64_SME=n", "CONFIG_ARM64_SVE=n"),
     ("arch/arm64/kvm/", "arch/arm64/kernel/")),
    ("CONFIG_KUNIT=n", "arm64", ("CONFIG_KUNIT=n", "CONFIG_RUST_KERNEL_DOCTESTS=n"), ("arch/arm64/kvm/",)),
    ("rust/ for x86_64", "x86_64", ("CONFIG_RUST=y",), ("prepare",)),
    ("rust/ for arm", "arm", ("CONFIG_MMU=y", "CONFIG_ARCH_MULTIPLATFORM=y", "CONFIG_ARCH_MULTI_V7=y",
                              "CONFIG_RUST=y"), ("prepare",)),
)


def compare(kvm):
    """The kernel's own kvm selftests: the same verdict on both kernels."""
    ours = ("reg_list_", "sme_", "rust_")
    names = sorted(p.name for p in selftests.FOLDER.iterdir()
                   if not p.suffix and not LEFT_OUT.search(p.name) and not p.name.startswith(ours))
    same, differ, pairs = [], names, {}
    # What the kernels disagree on gets a second chance with more time: emulated, a test can be late.
    for timeout in (60, 240):
        found = [selftests.run(differ, kvm, timeout, IMAGE=which)[0] for which in ("unpatched", "patched")]
        pairs = {name: [selftests.word(steps[name].status) for steps in found] for name in differ}
        same += [(name, b) for name, (b, a) in pairs.items() if a == b != "did not end"]
        differ = [name for name, (b, a) in pairs.items() if a != b or a == "did not end"]
        if not differ:
            break
    return ([Result(name, how, "the test says so, on both kernels") if how in (PASSED, SKIPPED)
             else Result(f"{name}: {how} on both", PASSED) for name, how in same]
            + [verdict("{}: {} unpatched, {} patched".format(name, *pairs[name]), False) for name in differ])


# The kinds of vCPU on every kernel, and those with SME in each state of SVCR, for reg-list.
KINDS = tuple(f"--features '{features}'" for features in ("", "sve", "pmu", "sve,pmu"))
SME_KINDS = tuple(f"--features {features} --svcr {svcr}" for features in ("sme", "sve,sme") for svcr in range(4))


def same_list():
    """The C version gives the same list, id by id; the unpatched kernel the same set."""
    c_image = image(kernel("out-c", "without-rust", "CONFIG_RUST=n", "CONFIG_RUST_KERNEL_DOCTESTS=n"))
    rust, c = lists("patched", KINDS + SME_KINDS), lists(c_image, KINDS + SME_KINDS)
    unpatched = lists("unpatched", KINDS)
    back = lists("patched", tuple(f"{kind} --unpatched" for kind in KINDS))
    rows = [verdict(f"the C version gives the same list: {kind}", ids == c[kind]) for kind, ids in rust.items()]
    rows += [verdict(f"the unpatched kernel lists the same set: {kind}", sorted(ids) == sorted(rust[kind]))
             for kind, ids in unpatched.items()]
    rows += [verdict(f"what \"make\" takes for the unpatched order is that: {kind}", back[f"{kind} --unpatched"] == ids)
             for kind, ids in unpatched.items()]
    return rows + tested(REG_LIST + SME, "vhe", IMAGE=c_image)


def builds():
    """Configurations that have to build, as far as the series touches them."""
    rows = []
    for name, arch, config, targets in BUILDS:
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
    theirs, _ = selftests.run(("get-reg-list", "set_id_regs", "idreg-idst"), "vhe", 240, IMAGE=which)
    return rows + [verdict(f"tests found {'' if has_sme else 'no '}vCPUs with SME", with_sme == has_sme)] + [
        Result(test, selftests.word(step.status), step.output[-2000:]) for test, step in theirs.items()]


def debug_kernel(names):
    """Our selftests on a kernel with KASAN, lockdep, atomic-sleep, UBSAN and kmemleak; a report fails."""
    which = image(kernel("out-debug", "debug", *DEBUG))
    rows = [row for kvm in ("vhe", "nvhe") for row in tested(names, kvm, 900, IMAGE=which)]
    leaks = "echo scan > /sys/kernel/debug/kmemleak; sleep 6; echo scan > /sys/kernel/debug/kmemleak\n"
    tests = {name: selftests.FOLDER / name for name in ("sme_regs", "reg_list_faults")}
    job = boot.run("".join(f"/test/{name} > /tmp/log\n" for name in tests) + leaks
                   + "step leaks cat /sys/kernel/debug/kmemleak\n", tests, IMAGE=which, TIMEOUT="1200")
    found = job.step("leaks")
    return rows + [verdict("kmemleak finds nothing of KVM", found.status == 0 and "kvm" not in found.output,
                           found.output)]


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
        rows += [verdict(f"{kvm}: the machine came back 8 times", back == 8, f"{back} times; see {where}"),
                 verdict(f"{kvm}: guests are right meanwhile",
                         meanwhile.count(PASSED) > 20 and "failed" not in meanwhile, f"see {where}"),
                 verdict(f"{kvm}: and after it", after.status == 0 and ktap(after.output), f"see {where}")]
    return rows


SUITES = (
    Suite("builds", builds, ("patched",)),
    Suite("Rust, C and unpatched", same_list, ("guest", "patched", "selftests", "unpatched")),
    *(Suite(f"kvm selftests, both kernels, {kvm}", partial(compare, kvm),
            ("guest", "patched", "selftests", "unpatched"))
      for kvm in ("vhe", "nvhe", "protected", "nested")),
    Suite("debug kernel, registers", partial(debug_kernel, REG_LIST + ("reg_list_faults", "sme_regs", "reg_list_sme")),
          ("guest", "patched", "selftests"), long=True),
    Suite("debug kernel, guests", partial(debug_kernel, ("sme_guest -n 100",)), ("guest", "patched", "selftests"),
          long=True),
    Suite("configuration without CONFIG_ARM64_SME", partial(variant, "no-ARM64_SME", False, "CONFIG_ARM64_SME=n"),
          ("guest", "patched", "selftests"), long=True),
    Suite("configuration without CONFIG_ARM64_SVE",
          partial(variant, "no-ARM64_SVE", False, "CONFIG_ARM64_SME=n", "CONFIG_ARM64_SVE=n"),
          ("guest", "patched", "selftests"), long=True),
    # With clang 21 and later the kernel has no BTI (arch/arm64/Kconfig).
    Suite("configuration with CFI and a shadow call stack",
          partial(variant, "cfi", True, "CONFIG_CFI=y", "CONFIG_SHADOW_CALL_STACK=y"),
          ("guest", "patched", "selftests"), long=True),
    Suite("guests over hibernation", hibernation, ("guest", "patched", "selftests"), long=True),
)
