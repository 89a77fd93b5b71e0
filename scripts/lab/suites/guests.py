# SPDX-License-Identifier: GPL-2.0-only
"""Linux as a guest: the VMM in arm64-vl/linux-vmm boots Debian's kernel or the lab's, with selftests in it."""

import re
import tempfile
from functools import partial
from pathlib import Path

import boot
import selftests
from command import BUILD, TREE, log
from guest import IMAGE, KERNEL_TEST, VMM, Vmm, compare, ends, run
from ktap import FAILED, PASSED, ktap, verdict
from products import Broken
from suite import Suite

MODES = ("vhe", "nvhe")
ALL_MODES = (*MODES, "nested", "protected")

ARM64 = BUILD / "selftests-arm64"
SUM = BUILD / "guest/za-sum"
NEEDS = ("guest", "patched", "FP selftests", "library")
# The kernel of the machine, as that of a guest.
OWN = TREE / "out/arch/arm64/boot/Image"

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
DEBIAN_PROGRAMS = STRESS_PROGRAMS | KERNEL_TEST
# It counts its turns, which take 25 ms, or longer where the guest is slow.
FP_STRESS = "step fp-stress ./fp-stress -t {turns}"
# The SVE lengths of fp-stress are as many processes a vCPU. Four are enough here.
STRESS_OPTIONS = "--cpus 2 --sve 64"

# What says whether a guest has SME.
SEES = "step cpuinfo grep -c -w sme /proc/cpuinfo\nstep za-sum /test/za-sum\ntrue\n"

# Selftests whose verdicts are compared: those that give some in fp/ and abi/, and all of signal/.
HELPERS = ("rdvl-sve", "rdvl-sme")
FP = ("fp-ptrace", "sve-ptrace", "sve-probe-vls", "vec-syscfg", "za-fork", "za-ptrace", "zt-ptrace")
ABI = ("hwcap", "ptrace", "syscall-abi", "tpidr2", "seccomp_ptrace_x0_bypass", "seccomp_ret_trace_x0_bypass")


def signal():
    """The names of the tests of signal/."""
    sources = (TREE / "tools/testing/selftests/arm64/signal/testcases").glob("*.c")
    names = tuple(sorted(path.stem for path in sources if path.stem != "testcases"))
    if not names:
        raise Broken(f"{TREE} has no tests of signals")
    return names


def sums(job):
    """Whether two sums in ZA were right all the time."""
    said = job.step("sums").output
    return len(re.findall(r"^[1-9]\d* sums are right$", said, re.M)) == 2, said


def saved(kvm, until, least, options="", image=IMAGE):
    """A guest is stopped, saved, and goes on in a fresh VM or in a new process, all the time while it computes in Z, ZA
    and ZT0; nothing is lost, no call fails. The VMM writes registers in the order of the kernel's list."""
    programs = STRESS_PROGRAMS if image == OWN else DEBIAN_PROGRAMS
    guest = (STRESS.format(until=until), programs, f"{STRESS_OPTIONS} {options}",
             "--every 500 --order listed --file /tmp/linux --times 30")
    name = f"saved {kvm} {least}{' own' if image == OWN else ''}"
    jobs, where = run(name, {"linux": guest}, kvm, image=image, TIMEOUT="1500")
    vmm, job, (right, said) = Vmm(jobs[""].step("linux")), jobs["linux"], sums(jobs["linux"])
    step = job.step("fp-stress")
    rows = [row._replace(test=f"fp-stress: {row.test}") for row in ktap(step.output)]
    counts = f"{vmm.restores} saves and restores, with SM on {vmm.streaming}, with ZA on {vmm.za}"
    return rows + [
        verdict("fp-stress ends well", step.status == 0 and rows, where),
        *ends(jobs, where),
        verdict(f"sums in ZA are right: {' '.join(said.split())}", right, said),
        verdict(f"{counts}: at least {least} of each", min(vmm.streaming, vmm.za) >= least, where),
        verdict(f"SVCR is 0, 1, 2 and 3 of a vCPU in {vmm.states} of them", all(vmm.states), where),
        verdict(f"in a new process: {vmm.moves}", vmm.moves, where),
        verdict(f"calls that failed: {vmm.failed}", vmm.restores and not vmm.failed, vmm.said[-2000:]),
        verdict(f"registers that are not what they were: {vmm.differ}", vmm.restores and not vmm.differ,
                vmm.said[-2000:])]


def goes_wrong(kvm, order="svcr-last", **env):
    """The same with SVCR behind all other registers, by the VMM or by the kernel, goes wrong, and the guest sees it.

    "make mutants" judges by this alone: on the kernel as it is, saved() shows that none of it goes wrong."""
    guest = ("step sums /test/za-sum /tmp/never\n", {"za-sum": SUM}, "", f"--every 500 --order {order} --go-on true")
    jobs, where = run(f"goes wrong {kvm} {order}", {"linux": guest}, kvm, TIMEOUT="1500", **env)
    vmm, said = Vmm(jobs[""].step("linux")), jobs["linux"].step("sums").output
    return [verdict(f"calls fail: {vmm.failed} in {vmm.restores} restores", vmm.failed, where),
            verdict(f"registers are lost: {vmm.differ}", vmm.differ, where),
            verdict(f"a sum is wrong: {said.strip()}", re.search(r"^row \d+, column \d+ of ZA0 is", said, re.M), where)]


def without(kvm):
    """A guest without SME sees none, on a machine that has it, beside one that has it."""
    jobs, where = run(f"without {kvm}", {"without": (SEES, {"za-sum": SUM}, "--sme 0", ""),
                                         "with": (SEES, {"za-sum": SUM}, "--cpus 2", "")}, kvm, TIMEOUT="1500")
    rows = ends(jobs, where)
    for guest, count, status in (("without", "0", selftests.KSFT_SKIP), ("with", "2", 0)):
        seen, ran = jobs[guest].step("cpuinfo").output.strip(), jobs[guest].step("za-sum")
        rows += [verdict(f"{guest} SME: /proc/cpuinfo has it of {count} CPUs", seen == count, seen),
                 verdict(f"{guest} SME: a sum in ZA ends with {status}", ran.status == status, ran)]
    return rows


def next_boot(kvm):
    """A guest that computes in ZA is saved, and goes on in the next boot. The file goes through a serial port."""
    body = "cd /test\n./za-sum /tmp/enough > /tmp/sum & echo it computes; sleep 60\n" \
        "echo > /tmp/enough\nwait\nstep sum cat /tmp/sum\n"
    with tempfile.TemporaryDirectory(dir=BUILD) as tmp:
        port = Path(tmp) / "port"
        files = {"linux-vmm": VMM, "Image": IMAGE,
                 "linux": boot.initramfs(Path(tmp) / "linux", body, {"za-sum": SUM})}
        first = boot.run("""
cd /tmp
/test/linux-vmm start /test/Image --initrd /test/linux --append "console=ttyS0 quiet" --every 500 --times 9999 \\
    --file guest > /tmp/console 2> /tmp/said &
until grep -q "^it computes" /tmp/console || ! kill -0 $!; do sleep 1; done
sleep 3
touch guest.now
wait $!
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
/test/linux-vmm resume guest > said 2>&1
echo "ended: $?" >> said
step vmm sed 's/^@@/guest: /' said
""", {"linux-vmm": VMM, "port": port}, KVM=kvm, TIMEOUT="600")
    vmm, where = Vmm(second.step("vmm")), log(f"guests-next-boot-{kvm}", second.output)
    return rows + [verdict(f"the next boot ends with {second.status}, the VMM with {vmm.status}",
                           (second.status, vmm.status) == (0, 0), where),
                   verdict("the guest ends well", re.search(r"^guest: end job 0$", vmm.said, re.M), where),
                   verdict("no call fails, SM and ZA are on",
                           re.search(r"^restored: SVCR 3, 0 failed, 0 differ$", vmm.said, re.M), where),
                   verdict("the sum is right", re.search(r"^[1-9]\d* sums are right$", vmm.said, re.M), where)]


def verdicts(job, programs):
    """[(program, test, verdict)] of all programs, and how each ended."""
    found = []
    for program in programs:
        step = job.step(program)
        found += [(program, row.test, row.verdict) for row in ktap(step.output)]
        found.append((program, "as a whole", selftests.word(step.status)))
    return found


def same(machine, programs, modes=MODES):
    """Selftests have the same verdicts in a guest as with the same kernel on the machine itself."""
    programs = programs()
    body = "cd /test\n" + "".join(f"step {name} {selftests.patient(name)}\n" for name in programs) + "true\n"
    files = {name: ARM64 / name for name in (*programs, *HELPERS)}
    if "fp-stress" in programs:
        files |= DEBIAN_PROGRAMS
    # What KVM does not give to guests at all, the machine must not have.
    job = boot.run(body, files, IMAGE="debian", CPU=machine, APPEND="arm64.nogcs", TIMEOUT="1500")
    where = log(selftests.file_name("guests bare", machine, programs[0]), job.output)
    bare = verdicts(job, programs)
    rows = [verdict(f"the machine itself ends with {job.status}", job.status == 0, where),
            verdict("some pass there", any(how == PASSED for *_, how in bare), where)]
    for kvm in modes:
        jobs, there = run(f"same {kvm} {machine} {programs[0]}",
                          {"linux": (body, files, "--cpus 2 --pauth true", "")}, kvm, CPU=machine, TIMEOUT="2400")
        rows += [row._replace(test=f"{kvm}: {row.test}") for row in ends(jobs, there)]
        rows += [verdict(f"{kvm}: {what}", good, f"{where}, {there}")
                 for what, good in compare(bare, verdicts(jobs["linux"], programs))]
    return rows


def overlap(output):
    """How often fp-stress of the machine began and ended while two guests were in theirs."""
    at = [[output.find(f"\n{name}: @@{mark} fp-stress") for name in ("one", "other")] for mark in ("begin", "end")]
    if -1 in sum(at, []):
        return 0
    return len(re.findall(r"^@@begin (fp-stress-\d+)\n(?:.*\n)*?@@end \1 ", output[max(at[0]):min(at[1])], re.M))


def beside(kvm):
    """Two guests and the machine itself, each with fp-stress: none sees the others."""
    guest = (STRESS.format(until=FP_STRESS.format(turns=80)), DEBIAN_PROGRAMS, STRESS_OPTIONS, "")
    # The machine's begins when theirs run: beside it they would be ten minutes about starting their programs.
    host = """
cd /test
ended() { [ $(cat /tmp/*.said | grep -c "^ended: ") = 2 ]; }
until ended || [ $(grep -ls "^# Sending signals" /tmp/*.console | grep -c .) = 2 ]; do sleep 1; done
until ended; do
    turn=$((turn + 1))
    step fp-stress-$turn ./fp-stress -t 60
done"""
    jobs, where = run(f"beside {kvm}", {"one": guest, "other": guest}, kvm, host, STRESS_PROGRAMS, TIMEOUT="2400")
    rows = ends(jobs, where)
    for name, job in jobs.items():
        steps = [step for what, step in job.steps().items() if what.startswith("fp-stress")]
        found = [row.verdict for step in steps for row in ktap(step.output)]
        rows.append(verdict(f"{name or 'the machine'}: fp-stress passes {len(steps)} times",
                            found and FAILED not in found and not any(step.status for step in steps), where))
        if name:
            right, said = sums(job)
            rows.append(verdict(f"{name}: sums in ZA are right: {' '.join(said.split())}", right, said))
    times = overlap(jobs[""].output)
    return [*rows, verdict(f"that of the machine ran {times} times beside both", times, where)]


# Pointer authentication in one of the modes: the other one of them has it where more is saved.
PAUTH = {"vhe": "", "nvhe": "--pauth true", "nested": "--pauth true", "protected": ""}
SHORT = f"sleep 5\n{FP_STRESS.format(turns=25)}"
LONG = FP_STRESS.format(turns=700)

SUITES = (
    *(Suite(f"guests saved and restored, {kvm}", partial(saved, kvm, SHORT, 10, PAUTH[kvm]), NEEDS,
            long=kvm not in MODES) for kvm in ALL_MODES),
    *(Suite(f"guests with and without SME, {kvm}", partial(without, kvm), NEEDS, long=kvm != "vhe")
      for kvm in ALL_MODES),
    *(Suite(f"guests of the machine's own kernel, {kvm}", partial(saved, kvm, SHORT, 10, image=OWN), NEEDS, long=True)
      for kvm in MODES),
    Suite("guests with SVCR last", partial(goes_wrong, "vhe"), NEEDS),
    *(Suite(f"guests saved and restored 200 times, {kvm}", partial(saved, kvm, LONG, 200, PAUTH[other]), NEEDS,
            long=True) for kvm, other in zip(MODES, reversed(MODES))),
    Suite("guests with SVCR last, nvhe", partial(goes_wrong, "nvhe"), NEEDS, long=True),
    *(Suite(f"guests that go on in the next boot, {kvm}", partial(next_boot, kvm), NEEDS, long=True) for kvm in MODES),
    *(Suite(f"guests beside each other, {kvm}", partial(beside, kvm), NEEDS, long=True) for kvm in MODES),
    *(Suite(f"guests and machine, selftests of {what}, {machine}", partial(same, machine, programs), NEEDS, long=True)
      for machine in ("default", "sme-only", "disjoint", "no-fa64")
      for what, programs in (("fp", lambda: FP), ("signal and abi", lambda: signal() + ABI))),
    *(Suite(f"guests and machine, fp-stress, {machine}", partial(same, machine, lambda: ("fp-stress",)), NEEDS,
            long=True) for machine in ("sme-only", "disjoint", "no-fa64")),
    Suite("guests and machine, selftests of fp, nested and protected",
          partial(same, "default", lambda: FP, ("nested", "protected")), NEEDS, long=True),
)
