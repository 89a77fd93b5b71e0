# SPDX-License-Identifier: GPL-2.0-only
"""What reg-list says of each kind of vCPU in a booted kernel.

Under -icount shift=0 with one CPU an instruction takes a nanosecond of the guest's clock, so the
figures are instructions, and the same from run to run.
"""

import json

from lab import BUILD, boot_script, die

# The vCPUs whose listing is timed, and those that are restored in every state: name, features.
SHAPES = {"plain": "", "SVE": "sve", "PMU": "pmu", "SVE+PMU": "sve,pmu"}
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
