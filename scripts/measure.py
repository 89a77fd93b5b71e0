# SPDX-License-Identifier: GPL-2.0-only
"""What reg-list says of each kind of vCPU in a booted kernel.

Under -icount shift=0 with one CPU an instruction takes a nanosecond of the guest's clock, so the
figures are instructions, and the same from run to run.
"""

import json
import re

from lab import BUILD, TREE, boot_script, die, run

# The vCPUs whose listing is timed, and those that are restored in every state: name, features.
SHAPES = {"plain": "", "SVE": "sve", "PMU": "pmu", "SVE+PMU": "sve,pmu"}
LONGEST = "--features sve,sme,pmu --svcr 3"
STATES = {"none": "", "SVE": "sve", "SME": "sme", "SVE+SME": "sve,sme"}


def reg_list(image, args, **env):
    """What reg-list printed on one kernel, run once with each of the args."""
    body = "".join(f"/test/reg-list {arg}\n" for arg in args)
    status, out = boot_script("set -e\n" + body, {"reg-list": BUILD / "guest" / "reg-list"}, IMAGE=image, **env)
    lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    if status or len(lines) < len(args):
        die(f"reg-list failed on the {image} kernel (status {status}):\n{out}")
    return lines


def measure(image):
    """{shape: costs and head of its list} of one kernel, by instructions."""
    return dict(zip(SHAPES, reg_list(image, [f"--features '{f}'" for f in SHAPES.values()], ICOUNT="1")))


def restores(kvm):
    """[what a restore gives] for the vCPUs of STATES on the patched kernel, at every vector length."""
    return reg_list("patched", [f"--features '{f}' --states" for f in STATES.values()], KVM=kvm)


def listing(shape):
    """What a listing costs a VMM: the sizing call and the full call."""
    return shape["sizing_instructions"] + shape["list_instructions"]


def lists(image, kinds):
    """{kind: [id]} of kinds of vCPU on one kernel."""
    body = "set -e\n" + "".join(f"echo @@list; /test/reg-list {kind} --ids\n" for kind in kinds)
    status, out = boot_script(body, {"reg-list": BUILD / "guest" / "reg-list"}, IMAGE=str(image))
    # What the kernel itself writes to the console in between is not part of a list.
    found = [re.findall(r"^0x[0-9a-f]{16}$", part, re.M) for part in out.split("@@list")[1:]]
    if status or len(found) != len(kinds) or min(map(len, found)) < 200:
        raise ValueError(f"reg-list --ids on {image}: status {status}, {[len(f) for f in found]} ids")
    return dict(zip(kinds, found))


def orders():
    """The list of an SVE+SME vCPU in streaming mode with ZA on, in both orders."""
    kind = "--features sve,sme --svcr 3"
    ordered, unpatched = lists("patched", (kind, kind + " --unpatched")).values()
    return {"patched": ordered, "unpatched": unpatched}


def exits(image):
    """{vCPU: what a hypercall and a KVM_RUN cost} of one kernel."""
    status, out = boot_script("/test/exit-cost\n", {"exit-cost": BUILD / "guest" / "exit-cost"}, IMAGE=image, ICOUNT="1")
    found = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    if status or not found:
        die(f"exit-cost failed on the {image} kernel (status {status}):\n{out}")
    return {row["vcpu"]: row for row in found}


def moves():
    """What a save and a restore of the longest list cost, by the order of the client."""
    return reg_list("patched", [LONGEST + " --moves"], ICOUNT="1")[0]


def orderings():
    """{registers: instructions} of the step that orders a list, counted in the booted kernel itself.

    QEMU executes one instruction at a time and logs those of the functions of that step.
    """
    entry = "kvm_arm_reg_list_order"
    status, symbols, _ = run(["aarch64-linux-gnu-nm", "-S", TREE / "out/vmlinux"])
    found = {name: (int(start, 16), size) for start, size, name in
             re.findall(rf"^(\S+) (\S+) [tT] ({entry}|\S*reg_list_core\S*5order)$", symbols, re.M)}
    if status or entry not in found:
        die(f"there is no {entry}() in {TREE}/out/vmlinux")

    log = BUILD / "log" / "order.trace"
    places = ",".join(f"{start:#x}+0x{size}" for start, size in found.values())
    body = "".join(f"echo @@$(/test/reg-list {vcpu} --ids | grep -c ^0x)\n"
                   for vcpu in (f"--features {SHAPES['SVE+PMU']}", LONGEST))
    status, out = boot_script("set -e\n" + body, {"reg-list": BUILD / "guest" / "reg-list"}, SMP="1",
                              QEMU_ARGS=f"-accel tcg,one-insn-per-tb=on -d exec,nochain -dfilter {places} -D {log}")
    registers = [int(n) for n in re.findall(r"^@@(\d+)$", out, re.M)]
    # The field behind the first slash is the address of the instruction.
    addresses = [int(line.split("/")[1], 16) for line in log.read_text().splitlines() if line.startswith("Trace")]
    starts = [i for i, address in enumerate(addresses) if address == found[entry][0]] + [len(addresses)]
    calls = [end - start for start, end in zip(starts, starts[1:])]
    log.unlink()
    if status or len(registers) != 2 or len(calls) != 2:
        die(f"{len(calls)} calls of {entry}() for the lists of 2 vCPUs (status {status}):\n{out}")
    return dict(zip(registers, calls))


# The objects that prep/ and reg-list/ have to do with; what sme/ changes in them counts as well.
OBJECTS = ("arm", "guest", "hypercalls", "sys_regs", "reg_list")


def text_size(kvm):
    """Bytes of text of those objects in a build of arch/arm64/kvm."""
    objects = [kvm / f"{name}.o" for name in OBJECTS if (kvm / f"{name}.o").exists()]
    status, out, _ = run(["aarch64-linux-gnu-size", "-t", *objects])
    if status:
        die(f"no objects in {kvm}")
    return int(re.search(r"^\s*(\d+).*TOTALS", out, re.M)[1])
