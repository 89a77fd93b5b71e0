# SPDX-License-Identifier: GPL-2.0-only
"""Linux as a guest: the VMM in arm64-vl/linux-vmm boots Debian's kernel, with selftests of the kernel in it.

The guest has the lab's own init, so that its steps are found like those of the machine that it runs on.
"""

import re
import tempfile
from functools import partial
from pathlib import Path

import boot
import selftests
from command import BUILD, TREE, log
from ktap import FAILED, PASSED, ktap, verdict
from suite import Suite

MODES = ("vhe", "nvhe")

# Debian's kernel, in the toolbox.
IMAGE = Path("/usr/lib/debian-kernel/Image")
ARM64 = BUILD / "selftests-arm64"
VMM = BUILD / "library-arm64/linux-vmm"
SUM = BUILD / "guest/za-sum"
NEEDS = ("guest", "patched", "FP selftests", "library")

# What a guest runs: two sums in ZA, so that it is in streaming mode whenever it is stopped, until something is done.
STRESS = """
cd /test
for n in 1 2; do ./za-sum /tmp/enough > /tmp/sum$n 2>&1 & done
{until}
echo > /tmp/enough
wait
step sums cat /tmp/sum1 /tmp/sum2
"""
STRESS_PROGRAMS = {"za-sum": SUM, **{name: ARM64 / name for name in (
    "fp-stress", "fpsimd-test", "kernel-test", "sve-test", "ssve-test", "za-test", "zt-test")}}
# It counts its turns, which take 25 ms, or longer where the guest is slow.
FP_STRESS = "step fp-stress ./fp-stress -t {turns}"
# The SVE lengths of fp-stress are as many processes a vCPU. Four are enough here.
STRESS_OPTIONS = "--cpus 2 --sve 64"

# What says whether a guest has SME.
SEES = "step cpuinfo grep -c -w sme /proc/cpuinfo\nstep za-sum /test/za-sum\n"

# Selftests whose verdicts are compared: those that give some in fp/ and abi/, and all of signal/.
HELPERS = ("rdvl-sve", "rdvl-sme")
FP = ("fp-ptrace", "sve-ptrace", "sve-probe-vls", "vec-syscfg", "za-fork", "za-ptrace", "zt-ptrace")
ABI = ("hwcap", "ptrace", "syscall-abi", "tpidr2")


def signal():
    """The names of the tests of signal/."""
    sources = (TREE / "tools/testing/selftests/arm64/signal/testcases").glob("*.c")
    return tuple(sorted(path.stem for path in sources if path.stem != "testcases"))


class Vmm:
    """How the VMM ended, and what it said: a line for each guest that was saved and restored."""

    def __init__(self, step):
        self.said = step.output
        found = re.findall(r"^restored: SVCR([\d ]*), (\d+) failed, (\d+) differ$", self.said, re.M)
        self.restores = len(found)
        self.moves = len(re.findall(r"^in a new process:$", self.said, re.M))
        self.streaming, self.za = (sum(any(int(svcr) & bit for svcr in of_vcpus.split()) for of_vcpus, *_ in found)
                                   for bit in (1, 2))
        self.failed, self.differ = (sum(int(row[at]) for row in found) for at in (1, 2))


def run(name, guests, kvm, beside="", programs=None, **env):
    """Boots a machine and in it guests, {name: (what it runs, its programs, options of the VMM to start it, options to
    resume it as well)}, side by side with a part of a script and its programs. {name: Job} of the guests, and with ""
    for a name of the machine, in which step NAME is what the VMM of a guest says; and where the log is."""
    # A VMM that crashes leaves its registers in the kernel's log.
    body = """
echo 1 > /proc/sys/debug/exception-trace
guest() {
    name=$1 both=$2
    shift 2
    /test/linux-vmm start /test/Image --initrd /test/$name --append "console=ttyS0 panic=-1 quiet" --memory 384 \
        $both "$@" 2> /tmp/$name.said
    # It is in a file, and goes on in a new process.
    while [ $? = 10 ]; do /test/linux-vmm resume /tmp/$name $both 2>> /tmp/$name.said; done
}
named() { awk '{ print "'$1': " $0; fflush() }'; }
"""
    with tempfile.TemporaryDirectory(dir=BUILD) as tmp:
        files = {"linux-vmm": VMM, "Image": IMAGE, **(programs or {})}
        for guest, (script, its_programs, options, both) in guests.items():
            files[guest] = boot.initramfs(Path(tmp) / guest, script, its_programs)
            body += f"guest {guest} '{both}' {options} | named {guest} &\n"
        body += f"{beside}\nwait\ndmesg | tail -n 170\n"
        body += "".join(f"step {guest} cat /tmp/{guest}.said\n" for guest in guests)
        job = boot.run(body, files, KVM=kvm, **env)
    jobs = {guest: of_guest(job, guest) for guest in guests}
    return {"": job, **jobs}, log(selftests.file_name("guests", name), job.output)


def of_guest(job, name):
    """The job of a guest, of what it has printed among the rest of its machine's."""
    said = "".join(re.findall(rf"^{name}: (.*\n)", job.output, re.M))
    return boot.Job(job.status, re.sub(r"^@@(begin|end) job.*\n", "", said, flags=re.M))


def sums(job):
    """Whether two sums in ZA were right all the time."""
    said = job.step("sums").output
    return len(re.findall(r"^[1-9]\d* sums are right$", said, re.M)) == 2, said


def saved(kvm, until, least):
    """A guest is stopped, saved, and goes on in a fresh VM or in a new process, all the time while it computes in Z, ZA
    and ZT0; nothing is lost, no call fails."""
    guest = (STRESS.format(until=until), STRESS_PROGRAMS, STRESS_OPTIONS, "--every 200 --file /tmp/linux --times 30")
    jobs, where = run(f"saved {kvm}", {"linux": guest}, kvm, TIMEOUT="1500")
    vmm, job, (right, said) = Vmm(jobs[""].step("linux")), jobs["linux"], sums(jobs["linux"])
    rows = []
    if "fp-stress" in until:
        step = job.step("fp-stress")
        rows = [row._replace(test=f"fp-stress: {row.test}") for row in ktap(step.output)]
        rows.append(verdict("fp-stress ends well", step.status == 0 and rows, where))
    counts = f"{vmm.restores} saves and restores, with SM on {vmm.streaming}, with ZA on {vmm.za}"
    return rows + [
        verdict("the boot ends well", not job.status, where),
        verdict(f"sums in ZA are right: {' '.join(said.split())}", right, said),
        verdict(f"{counts}: at least {least} of each", min(vmm.streaming, vmm.za) >= least, where),
        verdict(f"in a new process: {vmm.moves}", vmm.moves, where),
        verdict(f"calls that failed: {vmm.failed}", vmm.restores and not vmm.failed, vmm.said[-2000:]),
        verdict(f"registers that are not what they were: {vmm.differ}", vmm.restores and not vmm.differ,
                vmm.said[-2000:])]


def goes_wrong(kvm, how="--svcr-last yes", **env):
    """The same with SVCR behind all other registers, by the VMM or by the kernel, goes wrong, and the guest sees it."""
    guest = ("step sums /test/za-sum /tmp/never\n", {"za-sum": SUM}, "", f"--every 500 {how} --go-on yes")
    jobs, where = run(f"goes wrong {kvm} {how}", {"linux": guest}, kvm, TIMEOUT="1500", **env)
    vmm, said = Vmm(jobs[""].step("linux")), jobs["linux"].step("sums").output
    return [verdict(f"calls fail: {vmm.failed} in {vmm.restores} restores", vmm.failed, where),
            verdict(f"registers are lost: {vmm.differ}", vmm.differ, where),
            verdict(f"a sum is wrong: {said.strip()}", re.search(r"^row \d+, column \d+ of ZA0 is", said, re.M), where)]


def without(kvm):
    """A guest without SME sees none, on a machine that has it, beside one that has it."""
    programs = {"za-sum": SUM}
    jobs, where = run(f"without {kvm}", {"without": (SEES, programs, "--sme 0", ""),
                                         "with": (SEES, programs, "--cpus 2", "")}, kvm, TIMEOUT="1500")
    rows = [verdict("the boot ends well", not jobs[""].status, where)]
    for guest, count, status in (("without", "0", selftests.KSFT_SKIP), ("with", "2", 0)):
        seen, ran = jobs[guest].step("cpuinfo").output.strip(), jobs[guest].step("za-sum")
        rows += [verdict(f"{guest} SME: /proc/cpuinfo has it of {count} CPUs", seen == count, seen),
                 verdict(f"{guest} SME: a sum in ZA ends with {status}", ran.status == status, ran)]
    return rows


def next_boot(kvm):
    """A guest that computes in ZA is saved, and goes on in the next boot. The file goes through a serial port."""
    body = "cd /test\n./za-sum /tmp/enough > /tmp/sum & sleep 60\necho > /tmp/enough\nwait\nstep sum cat /tmp/sum\n"
    with tempfile.TemporaryDirectory(dir=BUILD) as tmp:
        port = Path(tmp) / "port"
        files = {"linux-vmm": VMM, "Image": IMAGE,
                 "linux": boot.initramfs(Path(tmp) / "linux", body, {"za-sum": SUM})}
        first = boot.run("""
cd /tmp
/test/linux-vmm start /test/Image --initrd /test/linux --append "console=ttyS0 quiet" --every 500 --times 80 \\
    --file guest > /tmp/console 2> /tmp/said
status=$?
step said cat /tmp/said
[ $status = 10 ] || exit 1
busybox stty -F /dev/ttyAMA1 raw
busybox tar -c guest guest.memory | busybox gzip -1 > /dev/ttyAMA1
""", files, KVM=kvm, QEMU_ARGS=f"-serial mon:stdio -serial file:{port}", TIMEOUT="600")
        there = log(f"guests-saved-{kvm}", first.output)
        rows = [verdict("the guest is saved", not first.status and port.stat().st_size > 1 << 20, there)]
        second = boot.run("""
cd /tmp
busybox gzip -dc /test/port | busybox tar -x
step vmm sh -c "/test/linux-vmm resume guest 2>&1 | sed 's/^@@/guest: /'"
""", {"linux-vmm": VMM, "port": port}, KVM=kvm, TIMEOUT="600")
    vmm, where = second.step("vmm").output, log(f"guests-next-boot-{kvm}", second.output)
    return rows + [verdict("no call fails, SM and ZA are on",
                           re.search(r"^restored: SVCR 3, 0 failed, 0 differ$", vmm, re.M), where),
                   verdict("the sum is right", re.search(r"^[1-9]\d* sums are right$", vmm, re.M), where)]


def verdicts(job, programs):
    """{(program, test): verdict} of all programs, and how each ended."""
    found = {}
    for name in programs:
        step = job.step(name)
        found.update({(name, row.test): row.verdict for row in ktap(step.output)})
        found[name, "as a whole"] = selftests.word(step.status)
    return found


def same(machine, programs):
    """Selftests have the same verdicts in a guest as with the same kernel on the machine itself."""
    programs = programs()
    body = "cd /test\n" + "".join(f"step {name} timeout 600 ./{name}\n" for name in programs)
    files = {name: ARM64 / name for name in (*programs, *HELPERS)}
    job = boot.run(body, files, IMAGE="debian", CPU=machine, TIMEOUT="1500")
    where = log(selftests.file_name("guests bare", machine, programs[0]), job.output)
    bare = verdicts(job, programs)
    rows = [verdict("some pass on the machine itself", PASSED in bare.values(), where)]
    for kvm in MODES:
        jobs, there = run(f"same {kvm} {machine} {programs[0]}",
                          {"linux": (body, files, "--cpus 2 --pauth yes", "")}, kvm, CPU=machine, TIMEOUT="2400")
        found = verdicts(jobs["linux"], programs)
        rows += [verdict(f"{kvm}: {program}: {test}: {how}, {found.get((program, test), 'not there')} in the guest",
                         how == found.get((program, test)), f"{where}, {there}")
                 for (program, test), how in bare.items()]
        rows.append(verdict(f"{kvm}: the guest runs no other tests", found.keys() <= bare.keys(), there))
    return rows


def beside(kvm):
    """Two guests and the machine itself, each with fp-stress: none sees the others."""
    guest = (STRESS.format(until=FP_STRESS.format(turns=30)), STRESS_PROGRAMS, STRESS_OPTIONS, "")
    host = "cd /test; step fp-stress ./fp-stress -t 60"
    jobs, where = run(f"beside {kvm}", {"one": guest, "other": guest}, kvm, host, STRESS_PROGRAMS, TIMEOUT="2400")
    rows = [verdict("the boot ends well", not jobs[""].status, where)]
    for name, job in jobs.items():
        step = job.step("fp-stress")
        found = [row.verdict for row in ktap(step.output)]
        rows.append(verdict(f"{name or 'the machine'}: fp-stress passes",
                            found and FAILED not in found and not step.status, where))
    return rows


SUITES = (
    *(Suite(f"guests saved and restored, {kvm}", partial(saved, kvm, "sleep 20", 10), NEEDS) for kvm in MODES),
    Suite("guests with and without SME", partial(without, "vhe"), NEEDS),
    Suite("guests with SVCR last", partial(goes_wrong, "vhe"), NEEDS),
    *(Suite(f"guests saved and restored 200 times, {kvm}", partial(saved, kvm, FP_STRESS.format(turns=1000), 200),
            NEEDS, long=True)
      for kvm in MODES),
    Suite("guests with SVCR last, nvhe", partial(goes_wrong, "nvhe"), NEEDS, long=True),
    *(Suite(f"guests that go on in the next boot, {kvm}", partial(next_boot, kvm), NEEDS, long=True) for kvm in MODES),
    *(Suite(f"guests beside each other, {kvm}", partial(beside, kvm), NEEDS, long=True) for kvm in MODES),
    *(Suite(f"guests and machine, selftests of {what}, {machine}", partial(same, machine, programs), NEEDS, long=True)
      for machine in ("default", "sme-only", "disjoint", "no-fa64")
      for what, programs in (("fp", lambda: FP), ("signal and abi", lambda: signal() + ABI))),
)
