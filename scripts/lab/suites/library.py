# SPDX-License-Identifier: GPL-2.0-only
"""The library (arm64-vl/) in booted kernels, on every machine."""

import itertools
import json
import re
from functools import partial

import boot
import selftests
from command import BUILD, RESULTS, log
from ktap import PASSED, libtest, verdict
from machines import MACHINES
from suite import Suite
from suites.packages import logged

PROGRAMS = BUILD / "library-arm64"
SUM = BUILD / "guest/za-sum"

# Each machine, and the default one in other modes and with another kernel: name, machine, mode, what to boot.
GUESTS = (
    *((name, name, "vhe", {}) for name in MACHINES),
    ("nvhe", "default", "nvhe", {}),
    ("protected", "default", "protected", {}),
    ("nested", "default", "nested", {}),
    ("unpatched kernel", "default", "vhe", {"IMAGE": "unpatched"}),
    # It has seccomp, which the others have not.
    ("released kernel", "default", "vhe", {"IMAGE": "debian"}),
)
# Those that differ most for the library; the others are for check-all, and so is a whole kernel more.
DIFFERENT = ("default", "sme-only", "none", "protected", "nested", "released kernel")
# What has to be built for each kernel. The released one is in the toolbox.
KERNELS = {"patched": ("patched",), "unpatched": ("unpatched",), "debian": ()}
# Three of them have a vCPU in common that is none of theirs.
POOL = ("default", "powers-of-two", "no-fa64")


def programs():
    """{name: path} of what runs in the guest."""
    return {path.name: path for path in PROGRAMS.iterdir()}


def words(lengths):
    return ",".join(map(str, lengths))


def guest(name, machine, mode, env):
    """All of it in one booted kernel."""
    host, patched = MACHINES[machine], "IMAGE" not in env
    sme = host.sme if patched else ()
    told = {"SVE": words(host.sve), "SME": words(host.sme), "VCPU_SVE": words(host.sve), "VCPU_SME": words(sme),
            "SME2": int(bool(host.sme)), "FA64": int(host.fa64)}
    body = "cd /test\n" + "".join(f"export {name}={value}\n" for name, value in told.items()) + """
step machine ./machine --test-threads=1 --show-output
step debugger ./debugger --test-threads=1 --show-output
step vmm sh -c "./vmm start /tmp/guest && ./vmm resume /tmp/guest"
./vlmatrix > /tmp/command; ./vlmatrix-c > /tmp/c
step same sh -c "grep -q process /tmp/command && busybox cmp /tmp/command /tmp/c"
step try ./vlmatrix --try
step c_api ./c_api
sleep 60 &
step pid ./vlmatrix pid $!
./za-sum /tmp/enough > /dev/null &
sleep 1
step sums sh -c "for look in 1 2 3; do ./vlmatrix pid $!; done"
echo > /tmp/enough
"""
    # Who watches a thread and who is watched have a CPU each on one of the machines. Two take twice as long.
    cpus = "2" if name == "default" else "1"
    job = boot.run(body, {**programs(), "za-sum": SUM}, CPU=machine, KVM=mode, SMP=cpus, TIMEOUT="3000", **env)
    where = log(selftests.file_name("library", name), job.output)
    vmm, tried = job.step("vmm"), job.step("try")
    numbers = "ZA" if sme else "Z" if host.sve else "V"
    pairs = (len(host.sve) + 1) * (len(sme) + 1)
    tests = [row for step in ("machine", "debugger") for row in libtest(job.step(step).output)]
    # The released kernel is the one that has seccomp.
    jailed = [row.verdict for row in tests if row.test == "jailed_vmm_can_ask_save_and_restore"]
    return tests + [
        verdict("a filter was put on the jailed VMM", env.get("IMAGE") != "debian" or jailed == [PASSED], jailed),
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
        # Between two sums it is not in streaming mode, for a moment.
        verdict("vlmatrix pid of what computes in ZA", not host.sme or re.search(
            r"^thread \d+: in streaming mode\n(?: .*\n)*    a checkpoint .* alone loses .*ZA", job.step("sums").output,
            re.M), job.step("sums").output),
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


def carried(file, boots):
    """States of every kind of vCPU of each boot, {name: what it is}, in each boot: why_not() tells which KVM takes."""
    states, table = RESULTS / file, []
    for name, env in boots.items():
        job = boot.run(f"SAVE={name} /test/machine --nocapture a_state_of_each_kind_is_saved\n", programs(), **env)
        table += re.findall(r"^(?:test .* \.\.\. )?state (.*)$", job.output, re.M)
    states.write_text("\n".join(table) + "\n")
    rows = [verdict("there are states of all", {line.split()[0] for line in table} == set(boots), "")]
    for name, env in boots.items():
        job = boot.run("STATES=/test/states /test/machine --nocapture states_of_other_machines_fit_as_foretold\n",
                       {**programs(), "states": states}, TIMEOUT="3000", **env)
        where = log(selftests.file_name(file, name), job.output)
        fits = re.findall(r"fit (\S+) \S+ (true|false)$", job.output, re.M)
        good = not job.status and "1 passed" in job.output and len(fits) == len(table)
        counts = ", ".join(f"{fits.count((of, 'true'))} of {sum(it[0] == of for it in fits)} of {of}" for of in boots)
        rows.append(verdict(f"on {name} fit, as foretold: {counts}", good, where))
        rows.append(verdict(f"on {name} fit all of its own", (name, "true") in fits and (name, "false") not in fits,
                            where))
    return rows


def signals():
    """Threads that are looked at thousands of times lose no signal and are never left stopped: ten boots."""
    rows = []
    for n in range(10):
        job = boot.run("LOOKS=5000 /test/debugger look_ --test-threads=1 --nocapture\n", programs(), TIMEOUT="900")
        where = log(f"library-signals-{n}", job.output)
        sent = re.findall(r"signal (\d+): (\d+) sent, 0 lost, 0 errors", job.output)
        rows.append(verdict(f"of {sum(int(count) for _, count in sent)} signals none is lost",
                            not job.status and len(sent) == 3, where))
    return rows


def asking(*cells):
    """vlmatrix takes less than a second on each machine, by the clock of a guest whose time is its instructions."""
    rows = []
    for mode, machine in cells:
        job = boot.run("read -r before idle < /proc/uptime\n/test/vlmatrix --json > /tmp/json || exit 1\n"
                       "read -r after idle < /proc/uptime\necho $before $after\n",
                       programs(), CPU=machine, KVM=mode, ICOUNT="1")
        times = re.findall(r"^([\d.]+) ([\d.]+)$", job.output, re.M)
        seconds = round(float(times[0][1]) - float(times[0][0]), 2) if times and not job.status else None
        rows.append(verdict(f"{mode}, {machine}: {seconds} s", seconds is not None and seconds < 1, job.output))
    return rows


def qemu():
    """A machine that QEMU makes of what "vlmatrix qemu" prints has the lengths that were asked for."""
    wanted = {"sve": [16, 32, 48, 64], "sme": [64]}
    args = " ".join(f"--{name} {words(lengths)}" for name, lengths in wanted.items())
    job = boot.run(f"/test/vlmatrix qemu --cpu max,lpa2=off {args}\n", programs(), CPU="default")
    line = job.output.strip()
    job = boot.run("/test/vlmatrix --json\n", programs(), CPU="default", QEMU_ARGS=f"-cpu {line}")
    try:
        host = json.loads(job.output)["host"]
        found = {name: host[name]["lengths"] for name in wanted} | {"fa64": host["fa64"]}
    except (ValueError, KeyError):
        found = job.output
    return [verdict("QEMU makes the machine that vlmatrix words", found == wanted | {"fa64": False}, (line, found))]


SUITES = (
    *(Suite(f"library, {name}", partial(guest, name, *rest),
            ("guest", "library", *KERNELS[rest[-1].get("IMAGE", "patched")]), long=name not in DIFFERENT)
      for name, *rest in GUESTS),
    Suite("library, pool", pool, ("guest", "library", "patched")),
    Suite("library, QEMU", qemu, ("guest", "library", "patched")),
    Suite("library, states of the released kernel",
          partial(carried, "library-states-released", {"released": {"IMAGE": "debian"}, "patched": {}}),
          ("guest", "library", "patched")),
    Suite("library, states of other machines",
          partial(carried, "library-states", {name: {"CPU": name} for name in MACHINES}),
          ("guest", "library", "patched"), long=True),
    Suite("library, signals of watched threads", signals, ("guest", "library", "patched"), long=True),
    Suite("library, time of asking", partial(asking, ("vhe", "lpa2"), ("nested", "lpa2")),
          ("guest", "library", "patched")),
    Suite("library, time of asking on all machines", partial(asking, *itertools.product(("vhe", "nested"), MACHINES)),
          ("guest", "library", "patched"), long=True),
)
