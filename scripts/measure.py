# SPDX-License-Identifier: GPL-2.0-only
"""One boot of each kernel under -icount: what reg-list says of each kind of vCPU.

Under -icount shift=0 with one CPU an instruction takes a nanosecond of the guest's clock, so the
figures are instructions, and the same from run to run.
"""

import json

from lab import BUILD, boot_script, die

SHAPES = {"plain": "", "SVE": "sve", "PMU": "pmu", "SVE+PMU": "sve,pmu"}


def measure(image, kvm="vhe"):
    """{shape: what reg-list printed} of one kernel."""
    body = "".join(f"/test/reg-list --features '{features}'\n" for features in SHAPES.values())
    status, out = boot_script("set -e\n" + body, {"reg-list": BUILD / "guest" / "reg-list"},
                              IMAGE=image, KVM=kvm, ICOUNT="1")
    lines = [line for line in out.splitlines() if line.startswith("{")]
    if status or len(lines) != len(SHAPES):
        die(f"reg-list failed on the {image} kernel (status {status}):\n{out}")
    return dict(zip(SHAPES, map(json.loads, lines)))


def listing(shape):
    """What a listing costs a VMM: the sizing call and the full call."""
    return shape["sizing_instructions"] + shape["list_instructions"]
