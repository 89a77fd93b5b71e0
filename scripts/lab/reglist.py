# SPDX-License-Identifier: GPL-2.0-only
"""What scripts/guest/reg-list, clocks and exit-cost say of vCPUs in a booted kernel, and sizes of what was built.

Under -icount shift=0 with one CPU an instruction takes a nanosecond of the guest's clock, so the
figures of a cost are instructions, and the same from run to run.
"""

import json
import re
from pathlib import Path

import boot
from command import BUILD, LOGS, TREE, die, run

PROGRAMS = {"reg-list": BUILD / "guest/reg-list", "exit-cost": BUILD / "guest/exit-cost",
            "clocks": BUILD / "guest/clocks"}

# The kinds of vCPU whose listing is timed, and those that are restored in every state: name, features.
KINDS = {"plain": "", "SVE": "sve", "PMU": "pmu", "SVE+PMU": "sve,pmu"}
STATES = {"none": "", "SVE": "sve", "SME": "sme", "SVE+SME": "sve,sme"}
SKIPPED = 4
LONGEST = "--features sve,sme,pmu --svcr 3"


def outputs(commands, image, **env):
    """What each command printed in one boot; nothing if it says that this kernel has no such vCPU."""
    body = "".join(f"step '{number}' /test/{command}\n" for number, command in enumerate(commands))
    job = boot.run(body, PROGRAMS, IMAGE=str(image), **env)
    if job.status == 125:
        die(f"the {image} kernel complains, and gives no figures")
    steps = [job.step(str(number)) for number in range(len(commands))]
    for command, step in zip(commands, steps):
        if step.status not in (0, SKIPPED):
            die(f"{command} failed on the {image} kernel (status {step.status}):\n{step.output or job.output}")
    return ["" if step.status == SKIPPED else step.output for step in steps]


def figures(commands, image, **env):
    """The lines of JSON that each command printed."""
    return [[json.loads(line) for line in out.splitlines() if line.startswith("{")]
            for out in outputs(commands, image, **env)]


def measure(image, **env):
    """{kind: head and length of its list, what a listing costs, and what a restore in its order gives}."""
    found = figures([f"reg-list --features '{f}'" for f in KINDS.values()], image, **env)
    return {kind: lines[0] for kind, lines in zip(KINDS, found)}


def restores(kvm):
    """[what a restore gives] for the vCPUs of STATES that the patched kernel has, at every vector length."""
    found = figures([f"reg-list --features '{f}' --states" for f in STATES.values()], "patched", KVM=kvm)
    return [line for lines in found for line in lines]


def listing(kind):
    """What a listing costs a VMM: the sizing call and the full call."""
    return kind["sizing_instructions"] + kind["list_instructions"]


def lists(image, kinds):
    """{kind: [id]} of kinds of vCPU, as arguments of reg-list, on one kernel."""
    found = [re.findall(r"^0x[0-9a-f]{16}$", out, re.M)
             for out in outputs([f"reg-list {kind} --ids" for kind in kinds], image)]
    if min(map(len, found)) < 200:
        die(f"reg-list --ids on the {image} kernel gave {[len(ids) for ids in found]} ids")
    return dict(zip(kinds, found))


def orders():
    """The list of an SVE+SME vCPU in streaming mode with ZA on, in both orders, if the kernel has such a vCPU."""
    kind = "reg-list --features sve,sme --svcr 3"
    found = outputs([f"{kind} --ids", f"{kind} --unpatched"], "patched")
    return {order: re.findall(r"^0x[0-9a-f]{16}$", out, re.M) for order, out in zip(("patched", "unpatched"), found)}


def clocks(image):
    """By how many seconds the clock of each of two vCPUs with EL2 is behind after a restore."""
    return [vcpu["behind"] for vcpu in figures(["clocks"], image, KVM="nested")[0]]


def exits(image, kvm):
    """{vCPU: what a hypercall and a KVM_RUN cost} of one kernel in one mode of KVM."""
    return {row["vcpu"]: row for row in figures(["exit-cost"], image, KVM=kvm, ICOUNT="1")[0]}


def moves():
    """What a save and a restore of the longest list cost, by the order of the client."""
    return figures([f"reg-list {LONGEST} --moves"], "patched", ICOUNT="1")[0][0]


def orderings():
    """{registers: instructions} of the step that orders a list, counted in the booted kernel itself.

    QEMU executes one instruction at a time and logs those of the functions of that step, with memmove(), which
    is others' as well: what comes behind the last instruction of a call's own is not of that call.
    """
    status, symbols, _ = run(["aarch64-linux-gnu-nm", "-S", TREE / "out/vmlinux"])
    found = {name: (int(start, 16), int(size, 16)) for start, size, name in
             re.findall(r"^(\S+) (\S+) [tTwW] (memmove|kvm_arm_reg_list_order(?:_rust)?|\S*reg_list_core\S*5order)$",
                        symbols, re.M)}
    # Where there is the Rust version, it is the one that runs.
    entry = next((name for name in ("kvm_arm_reg_list_order_rust", "kvm_arm_reg_list_order") if name in found), None)
    if status or not entry or "memmove" not in found:
        die(f"there is no kvm_arm_reg_list_order() or no memmove() in {TREE}/out/vmlinux")
    if entry.endswith("_rust"):
        found.pop("kvm_arm_reg_list_order", None)

    trace = LOGS / "order.trace"
    places = ",".join(f"{start:#x}+{size:#x}" for start, size in found.values())
    kinds = (f"--features {KINDS['SVE+PMU']}", LONGEST)
    # The KUnit suite orders lists too.
    lists_of = outputs([f"reg-list {kind} --ids" for kind in kinds], "patched", SMP="1", APPEND="kunit.enable=0",
                       QEMU_ARGS=f"-accel tcg,one-insn-per-tb=on -d exec,nochain -dfilter {places} -D {trace}")
    registers = [len(re.findall(r"^0x", out, re.M)) for out in lists_of]
    calls = calls_in(trace, found.pop("memmove"), found[entry][0])
    trace.unlink()
    if len(calls) != len(kinds):
        die(f"{len(calls)} calls of {entry}() for the lists of {len(kinds)} vCPUs")
    return dict(zip(registers, calls))


def calls_in(trace, helper, entry):
    """The instructions of each call of the function that begins at entry, with those of its helper."""
    calls, since = [], 0
    with open(trace) as lines:
        for line in lines:
            if not line.startswith("Trace"):
                continue
            # The field behind the first slash is the address of the instruction.
            address = int(line.split("/")[1], 16)
            if helper[0] <= address < sum(helper):
                since += 1
            elif address == entry:
                calls.append(1)
                since = 0
            elif calls:
                calls[-1] += since + 1
                since = 0
    return calls


# The objects that the series has to do with; what sme/ changes in them counts as well.
OBJECTS = ("arm", "guest", "hypercalls", "sys_regs", "reg_list", "reg_list_rust")


def text_size(kvm):
    """Bytes of text of those objects in a build of arch/arm64/kvm."""
    objects = [path for name in OBJECTS if (path := Path(kvm) / f"{name}.o").exists()]
    status, out, _ = run(["aarch64-linux-gnu-size", "-t", *objects])
    if status:
        die(f"no objects in {kvm}")
    return int(re.search(r"^\s*(\d+).*TOTALS", out, re.M)[1])
