# SPDX-License-Identifier: GPL-2.0-only
"""QEMU as VMM: Debian's own for arm64, in the booted kernel, with Linux as a guest that is stopped, and goes on.

QEMU sorts registers by their ids, and knows no vCPUs with SME: it has to find the same on the released kernel and on
the patched one, and a guest has to go on from one to the other. A VM with EL2 it runs, and refuses to save.
"""

import re
import tempfile
from functools import partial
from pathlib import Path

import boot
import guest
import selftests
from command import BUILD, log, script
from ktap import PASSED, ktap, verdict
from products import Broken
from suite import Suite

ARM64 = BUILD / "selftests-arm64"
NEEDS = ("guest", "patched", "FP selftests")
KERNELS = ("debian", "patched")
# For scripts/guest/carry, by which a file leaves the machine and comes into the next one.
SEMIHOSTING = "-semihosting-config enable=on,target=native,userspace=on"

# The guest computes in its vector registers until it is told to stop.
GUEST = """
cd /test
step events ls /sys/bus/event_source/devices
step kvm ls /dev/kvm
./fp-stress -t -1 > /tmp/said 2>&1 &
until grep -q "PID:" /tmp/said; do sleep 1; done
echo "it computes"
read enough < /dev/ttyAMA0
kill $!
wait $!
status=$?
echo "@@begin fp-stress"
cat /tmp/said
echo "@@end fp-stress $status"
"""
PROGRAMS = {name: ARM64 / name for name in ("fp-stress", "fpsimd-test", "sve-test")} | guest.KERNEL_TEST

# A process of QEMU has a number N: its monitor and its serial port are the pipes mN and sN.
HOST = """
cd /tmp
run="/test/ld-linux-aarch64.so.1 --library-path /test"
pipe() { mkfifo $1.in $1.out; cat < $1.out >> $2 & }
vm() {
    n=$1; shift
    pipe m$n monitor$n; pipe s$n console
    $run /test/qemu-system-aarch64 -accel kvm -M virt,gic-version=3$board -cpu host,sve512=on -smp 2 -m 224 \\
        -nodefaults -display none -no-reboot -kernel /test/Image -initrd /test/initrd \\
        -append "console=ttyAMA0 panic=-1 quiet" -drive if=none,file=disk,format=qcow2,file.locking=off \\
        -chardev pipe,id=m,path=m$n -mon m -chardev pipe,id=s,path=s$n -serial chardev:s "$@" > qemu$n 2>&1 &
    eval pid$n=$!
}
runs() { eval kill -0 \\$pid$1 2> /dev/null; }
said() { grep -c "^VM status" monitor$1; }
# Gives the monitor a command, and waits until it is done.
ask() {
    before=$(said $1)
    printf '%s\\ninfo status\\n' "$2" > m$1.in
    until [ $(said $1) -gt $before ] || ! runs $1; do sleep 1; done
}
ended() { eval wait \\$pid$1; echo "QEMU $1 ended: $?"; }
left() { echo quit > m$1.in; ended $1; }
computes() { until grep -q "^it computes" console || ! runs $1; do sleep 1; done; sleep 5; }
# Tells the guest to stop, and waits until it has.
enough() { sleep 5; echo enough > s$1.in; ended $1; }
$run /test/qemu-img create -q -f qcow2 disk 1M
"""
STOPS = """
vm 1
computes 1
ask 1 "savevm one"
sleep 2
ask 1 "loadvm one"
sleep 2
vm 2 -incoming unix:moved
until [ -S moved ] || ! runs 2; do sleep 1; done
ask 1 "migrate unix:moved"
left 1
sleep 2
ask 2 "migrate file:state"
left 2
vm 3 -incoming file:state
enough 3
"""
GOES_ON = """
/test/carry in {port} state || exit 1
vm 4 -incoming file:state
enough 4
"""
# What QEMU 11.1 does not do with a VM that has EL2; once it does, STOPS are for nested mode as well.
REFUSED = "Error: Live migration disabled because KVM nested virt is enabled"
REFUSES = """
vm 1
computes 1
ask 1 "savevm one"
enough 1
"""
SAID = """
step monitors cat monitor*
step qemu cat qemu*
sed 's/^/linux: /' console
"""


def files():
    """QEMU, its libraries and its guest's kernel, as they lie in the booted machine."""
    status, folder = script("fetch-qemu")
    if status:
        raise Broken("there is no QEMU for arm64: see build/log/qemu-arm64.log")
    return {"Image": guest.IMAGE, "carry": BUILD / "guest/carry",
            **{path.name: path for path in Path(folder.strip()).iterdir()}}


def goes(steps, image, kvm, initrd, *names):
    """A boot in which QEMU does these steps; what that says, and where it is."""
    board = ",virtualization=on" if kvm == "nested" else ""
    job = boot.run(f"board={board}\n{HOST}{steps}{SAID}", {**files(), "initrd": initrd}, IMAGE=image, KVM=kvm,
                   QEMU_ARGS=SEMIHOSTING, TIMEOUT="1500")
    return job, log(selftests.file_name("qemu", kvm, *names), job.output)


def judge(what, job, ends, where, refused=()):
    """The rows of a boot in which QEMU ended that often, and the verdicts of the guest's last program."""
    linux = guest.of_guest(job, "linux")
    step, warned = linux.step("fp-stress"), guest.warnings(linux)
    found = [(row.test, row.verdict) for row in ktap(step.output)]
    sve = re.search(r"\b(\d+) CPUs, (\d+) SVE VLs, (\d+) SME VLs", step.output)
    ended = re.findall(r"^QEMU \d ended: (\d+)$", job.output, re.M)
    wrong = re.findall(r"^.*(?:[Ee]rror|failed).*$", job.step("monitors").output + job.step("qemu").output, re.M)
    rows = [verdict(f"the boot ends with {job.status}, the guest with {linux.status}",
                    (job.status, linux.status) == (0, 0), where),
            verdict(f"QEMU ends with {' '.join(ended)}", ended == ["0"] * ends, where),
            verdict(f"QEMU says of no error{' but ' if refused else ''}{', '.join(refused)}", wrong == [*refused],
                    "\n".join([*wrong[:5], str(where)])),
            verdict("the guest's kernel warns of nothing", not warned, "\n".join([*warned[:5], str(where)])),
            verdict(f"the guest has SVE, and no SME: {sve and sve[0]}", sve and sve[2] != "0" and sve[3] == "0", where),
            verdict(f"fp-stress is right to its end: {len(found)} tests",
                    step.status == 0 and found and all(how == PASSED for _, how in found), where)]
    return [row._replace(test=f"{what}: {row.test}") for row in rows], found


def first(image, kvm, tmp):
    """A guest is saved, loaded, moved to another process and to a file, and goes on; rows, verdicts, the file."""
    port = Path(tmp) / f"port-{image}"
    initrd = boot.initramfs(Path(tmp) / f"initrd-{image}", GUEST, PROGRAMS)
    out = f"step carry /test/carry out state {port}\n"
    job, where = goes(STOPS + out, image, kvm, initrd, image)
    rows, found = judge(f"{image}: savevm, loadvm, moved, file", job, 3, where)
    events = guest.of_guest(job, "linux").step("events").output
    rows.append(verdict(f"{image}: the guest has a PMU: {' '.join(events.split())}", "armv8_pmu" in events, where))
    return rows, found, port, initrd


def onwards(image, other, kvm, port, initrd):
    """A guest that was moved to a file on another kernel goes on."""
    job, where = goes(GOES_ON.format(port=port), image, kvm, initrd, other, "to", image)
    return judge(f"{other} to {image}", job, 1, where)


def as_vmm(kvm):
    """The same on the released and the patched kernel, and from one to the other."""
    with tempfile.TemporaryDirectory(dir=BUILD) as tmp:
        rows, there = [], {}
        for image in KERNELS:
            its_rows, *there[image] = first(image, kvm, tmp)
            rows += its_rows
        verdicts = [found for found, *_ in there.values()]
        for image, other in zip(KERNELS, reversed(KERNELS)):
            its_rows, found = onwards(image, other, kvm, *there[other][1:])
            rows += its_rows
            verdicts.append(found)
    return [*rows, verdict(f"the same {len(verdicts[0])} verdicts four times", all(v == verdicts[0] for v in verdicts))]


def with_el2():
    """A guest that has EL2 on both kernels: it runs to its end, with a KVM of its own, and is not saved."""
    with tempfile.TemporaryDirectory(dir=BUILD) as tmp:
        initrd = boot.initramfs(Path(tmp) / "initrd", GUEST, PROGRAMS)
        rows, verdicts = [], []
        for image in KERNELS:
            job, where = goes(REFUSES, image, "nested", initrd, image)
            its_rows, found = judge(f"{image}: EL2", job, 1, where, (REFUSED,))
            has_kvm = guest.of_guest(job, "linux").step("kvm").status == 0
            rows += [*its_rows, verdict(f"{image}: the guest has KVM itself", has_kvm, where)]
            verdicts.append(found)
    return [*rows, verdict(f"the same {len(verdicts[0])} verdicts twice", verdicts[0] == verdicts[1])]


SUITES = (
    *(Suite(f"QEMU as VMM, {kvm}", partial(as_vmm, kvm), NEEDS, long=True) for kvm in ("vhe", "nvhe")),
    Suite("QEMU as VMM, nested", with_el2, NEEDS, long=True),
)
