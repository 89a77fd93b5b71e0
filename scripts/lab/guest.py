# SPDX-License-Identifier: GPL-2.0-only
"""Runs Linux as a guest in a booted kernel, by the VMM in arm64-vl/linux-vmm, and says how guest and VMM ended, or
what it costs.

The guest has the lab's own init, so that its steps are found like those of the machine that it runs on.
"""

import re
import tempfile
from pathlib import Path

import boot
import selftests
from command import BUILD, die, log
from ktap import verdict

# Debian's kernel, in the toolbox.
IMAGE = Path("/usr/lib/debian-kernel/Image")
VMM = BUILD / "library-arm64/linux-vmm"
# The kernel-test that fp-stress starts under a kernel without AF_ALG, such as Debian's without its modules. There it
# becomes fpsimd-test, after a line that tells fp-stress to begin with signals: one that comes before fpsimd-test is
# ready for it ends it. Here it is fpsimd-test from the start.
KERNEL_TEST = {"kernel-test": BUILD / "selftests-arm64/fpsimd-test"}
# Guests whose cost is counted, one after the other: it differs by half a percent from one to the next.
COUNTED = 9


class Vmm:
    """How the VMM ended, and what it said: a line for each guest that was saved and restored."""

    def __init__(self, step):
        self.said = step.output
        found = re.findall(r"^restored: SVCR([\d ]*), (\d+) failed, (\d+) differ$", self.said, re.M)
        ended = re.findall(r"^ended: (\d+)$", self.said, re.M)
        self.status = int(ended[0]) if len(ended) == 1 else None
        self.restores = len(found)
        self.moves = len(re.findall(r"^in a new process:$", self.said, re.M))
        # Saves with some vCPU in each state of SVCR: SM is bit 0, ZA bit 1.
        self.states = [sum(str(state) in of_vcpus.split() for of_vcpus, *_ in found) for state in range(4)]
        self.streaming, self.za = (sum(any(int(svcr) & bit for svcr in of_vcpus.split()) for of_vcpus, *_ in found)
                                   for bit in (1, 2))
        self.failed, self.differ = (sum(int(row[at]) for row in found) for at in (1, 2))


def run(name, guests, kvm, beside="", programs=None, image=IMAGE, **env):
    """Boots a machine and in it guests, {name: (what it runs, its programs, options of the VMM to start it, options to
    resume it as well)} of one kernel, side by side with a part of a script and its programs. {name: Job} of the guests,
    and with "" for a name of the machine, in which step NAME is what the VMM of a guest says; and where the log is.
    What a guest has written so far is in /tmp/NAME.console of the machine."""
    # A VMM that crashes leaves its registers in the kernel's log. On a slow machine a CPU of a guest can be busy with
    # its console for half a minute, which a watchdog or RCU would report in the middle of a line of a test.
    body = """
echo 1 > /proc/sys/debug/exception-trace
guest() {
    name=$1 both=$2
    shift 2
    append="console=ttyS0 panic=-1 quiet nowatchdog rcupdate.rcu_cpu_stall_suppress=1"
    /test/linux-vmm start /test/Image --initrd /test/$name --append "$append" --memory 384 $both "$@" 2> /tmp/$name.said
    status=$?
    # It is in a file, and goes on in a new process.
    while [ $status = 10 ]; do
        /test/linux-vmm resume /tmp/$name $both 2>> /tmp/$name.said
        status=$?
    done
    echo "ended: $status" >> /tmp/$name.said
}
named() {
    awk -v name=$1 -v file=/tmp/$1.console '{ print name ": " $0; fflush(); print > file; fflush(file) }'
}
"""
    with tempfile.TemporaryDirectory(dir=BUILD) as tmp:
        files = {"linux-vmm": VMM, "Image": image, **(programs or {})}
        for guest, (script, its_programs, options, both) in guests.items():
            files[guest] = boot.initramfs(Path(tmp) / guest, script, its_programs)
            body += f"guest {guest} '{both}' {options} | named {guest} &\n"
        body += f"{beside}\nwait\ndmesg | tail -n 170\n"
        body += "".join(f"step {guest} cat /tmp/{guest}.said\n" for guest in guests)
        job = boot.run(body, files, KVM=kvm, **env)
    jobs = {guest: of_guest(job, guest) for guest in guests}
    return {"": job, **jobs}, log(selftests.file_name("guests", name), job.output)


def cost(image, kvm):
    """{"exits", "instructions"} of guests without SME in one kernel: how often they left it to the host while they
    worked, and what the host's kernel did for that. The first one is not counted: the host's caches fill."""
    body = f"""
for n in $(busybox seq 0 {COUNTED}); do
    /test/host-cost /test/linux-vmm start /test/Image --initrd /test/guest --append "console=ttyS0 quiet" \\
        --memory 384 --sme 0
done
"""
    # Processes come and go, and each line that they write is dozens of exits to the VMM.
    work = "for n in $(busybox seq 100); do ls -l /proc/self; done\n"
    with tempfile.TemporaryDirectory(dir=BUILD) as tmp:
        files = {"linux-vmm": VMM, "Image": IMAGE, "host-cost": BUILD / "guest/host-cost",
                 "guest": boot.initramfs(Path(tmp) / "guest", work)}
        job = boot.run(body, files, IMAGE=image, KVM=kvm, ICOUNT="1", TIMEOUT="600")
    found = re.findall(r"^(\d+) exits, (\d+) instructions$", job.output, re.M)
    if job.status or len(found) != 1 + COUNTED:
        die(f"guests in the {image} kernel, {kvm}, did not end: see {log(f'guest-cost-{kvm}', job.output)}")
    return dict(zip(("exits", "instructions"), (sum(map(int, column)) for column in zip(*found[1:]))))


def of_guest(job, name):
    """The job of a guest, of what it has printed among the rest of its machine's. status: None if it has not ended."""
    said = "".join(re.findall(rf"^{name}: (.*\n)", job.output, re.M))
    ended = re.findall(r"^@@end job (\d+)$", said, re.M)
    return boot.Job(int(ended[0]) if len(ended) == 1 else None, re.sub(r"^@@(begin|end) job.*\n", "", said, flags=re.M))


def warnings(job):
    """What the kernel of a guest warned of: init prints it behind the job, and a crash is on the console."""
    return re.findall(r"^(?:kernel: (?:WARNING|BUG|\[ BUG): |.*Kernel panic|.*Internal error: Oops).*",
                      job.output, re.M)


def ends(jobs, where):
    """How the machine, its guests and their VMMs ended."""
    rows = [verdict(f"the boot ends with {jobs[''].status}", jobs[""].status == 0, where)]
    for name, job in jobs.items():
        if not name:
            continue
        vmm, warned = Vmm(jobs[""].step(name)), warnings(job)
        rows += [verdict(f"{name}: the guest ends with {job.status}, its VMM with {vmm.status}",
                         job.status == 0 and vmm.status == 0, f"{vmm.said[-1000:]}\n{where}"),
                 verdict(f"{name}: its kernel warns of nothing", not warned, "\n".join([*warned[:5], str(where)]))]
    return rows


def compare(there, here):
    """A row for each test of two runs of the same programs, each a list of (program, test, verdict): whether the
    verdicts are the same in both, as many times, and each program has ended."""
    rows, by_name = [], {}
    for run_, found in enumerate((there, here)):
        for program, test, how in found:
            by_name.setdefault((program, test), ([], []))[run_].append(how)
    for (program, test), both in by_name.items():
        was, now = (" ".join(hows) or "not there" for hows in both)
        same = both[0] == both[1] and not any("end" in how for how in both[0])
        rows.append((f"{program}: {test}: {was}, {now} in the guest", same))
    return rows
