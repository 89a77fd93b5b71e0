#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""What the series costs, patched against unpatched, in one run; fails past a limit."""

from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from operator import itemgetter
from pathlib import Path

import guest
from command import RESULTS, die, end_by_signals, save, say
from products import WITHOUT_KUNIT, Broken, groups_kernel, image, kernel, product
from reglist import KINDS, exits, listing, measure, moves, orderings, text_size

# The groups that can be merged first, and what the sizing and the full call together may cost on the SVE+PMU vCPU
# with them and with all groups: no more than this of the unpatched.
FIRST = ("fixes", "reg-list")
LISTING_FIRST = 0.65
LISTING = 0.22
# Where exits are counted, and what one of a vCPU without SME may cost, of the unpatched.
EXIT_MODES = ("vhe", "nvhe", "protected")
KERNELS = ("unpatched", "patched")
CALLS = {"hypercall": "a hypercall", "kvm_run": "KVM_RUN to a device", "close": "the end of the VM"}
EXIT = 1.01
# What the host's kernel does for an exit of Linux as a guest without SME: no more than this of the unpatched.
GUEST = 1.01
# An exit of a vCPU in streaming mode or with ZA on that makes no use of it: no more than this of one in neither.
IDLE = 1.05
# The end of a VM with 40 bits of IPA: no more than this of the unpatched. With pKVM it has as many as the machine, and
# most of that is empty.
CLOSE = {"vhe": 1.05, "nvhe": 1.05, "protected": 0.1}
# The step that orders the list: instructions a register.
ORDERING = 20
# A save and a restore in list order: no more than this of the best order that a client could know.
MOVE = 1.02
# Bytes of text and read-only data without KUNIT. System registers and accesses of SME are most of it, a sixth of them
# for protected VMs and guest hypervisors.
GROWTH = 14336


def worst(now, was, calls=("hypercall", "kvm_run")):
    """The greatest ratio of what calls cost, by vCPU, to what they are held against, and where that is."""
    return max((round(now[vcpu][call] / was[vcpu][call], 4), f"{call}, {vcpu}") for vcpu in was for call in calls)


end_by_signals()
try:
    unpatched = Path(product("unpatched"))
    without_kunit = kernel("out-CONFIG_KUNIT-n", "CONFIG_KUNIT-n", *WITHOUT_KUNIT, targets=("arch/arm64/kvm/",))
    first = image(groups_kernel(*FIRST))
    product("library")
except Broken as error:
    die(error)

with ThreadPoolExecutor(2) as boots:
    jobs = [boots.submit(job) for job in (
        orderings, moves,
        *(partial(measure, which, ICOUNT="1") for which in ("unpatched", first, "patched")),
        *(partial(cost, which, kvm) for cost in (exits, guest.cost) for kvm in EXIT_MODES for which in KERNELS))]
    for number, _ in enumerate(as_completed(jobs), 1):
        say(f"  {number} of {len(jobs)} boots measured")
ordered, moved, before, between, after, *counted = (job.result() for job in jobs)
half = len(counted) // 2
exit_costs, guest_costs = (dict(zip(EXIT_MODES, zip(found[::2], found[1::2])))
                           for found in (counted[:half], counted[half:]))

rows = []
table = [f"{'':26}{'':>12}{' + '.join(FIRST):>19}{'all groups':>18}",
         f"{'vCPU':8}{'registers':>10}{'call':>8}{'unpatched':>12}{'':>12}{'ratio':>7}{'':>11}{'ratio':>7}"]
for kind in KINDS:
    for call, cost in (("sizing", itemgetter("sizing_instructions")), ("full", itemgetter("list_instructions")),
                       ("both", listing)):
        was, then, now = (cost(found[kind]) for found in (before, between, after))
        n = after[kind]["registers"]
        table.append(f"{kind:8}{n:>10}{call:>8}{was:>12,}{then:>12,}{then / was:>7.3f}{now:>11,}{now / was:>7.3f}")
        rows.append({"vcpu": kind, "registers": n, "call": call, "unpatched": was, " ".join(FIRST): then,
                     "patched": now, "ratio_first": round(then / was, 4), "ratio": round(now / was, 4)})
say("\n".join(table))
# For the cover letter of the series.
RESULTS.mkdir(parents=True, exist_ok=True)
(RESULTS / "bench.txt").write_text("".join(f"  {line}\n" for line in table))

table = [f"{'':10}{'vCPU':16}" + "".join(f"{what:>24}" for what in CALLS.values()),
         f"{'':26}" + f"{'unpatched':>14}{'patched':>10}" * len(CALLS)]
exit_limits = []
for kvm, (exits_before, exits_after) in exit_costs.items():
    for vcpu, now in exits_after.items():
        was = exits_before.get(vcpu, dict.fromkeys(CALLS, "-"))
        table.append(f"{kvm:10}{vcpu:16}" + "".join(f"{was[call]:>14}{now[call]:>10}" for call in CALLS))
    ratio, where = worst(exits_after, exits_before)
    exit_limits.append((f"exits without SME, {kvm}: of the unpatched (worst: {where})", ratio, EXIT))
    ratio, where = worst(exits_after, exits_before, ("close",))
    exit_limits.append((f"end of a VM, {kvm}: of the unpatched (worst: {where})", ratio, CLOSE[kvm]))
    idle = {vcpu: exits_after["SVE+SME"] for vcpu in exits_after if vcpu.startswith("SVE+SME ")}
    if idle:
        ratio, where = worst(exits_after, idle)
        exit_limits.append((f"exits of idle SME, {kvm}: of SVE+SME (worst: {where})", ratio, IDLE))
say("\n" + "\n".join(table))

table = [f"{'Linux as a guest':26}{'exits':>24}{'instructions an exit':>24}",
         f"{'':26}{'unpatched':>14}{'patched':>10}{'unpatched':>14}{'patched':>10}"]
for kvm, costs in guest_costs.items():
    was, now = (found["instructions"] / found["exits"] for found in costs)
    table.append(f"{kvm:26}{costs[0]['exits']:>14,}{costs[1]['exits']:>10,}{was:>14,.0f}{now:>10,.0f}")
    exit_limits.append((f"exits of Linux without SME, {kvm}: of the unpatched", round(now / was, 4), GUEST))
say("\n" + "\n".join(table))

best = min((order for order in moved if order not in ("registers", "list_order")), key=moved.get)
was, now = text_size(unpatched / "out/arch/arm64/kvm"), text_size(without_kunit / "arch/arm64/kvm")
limits = [
    (f"listing, SVE+PMU, both calls, {' + '.join(FIRST)}: of the unpatched kernel", rows[-1]["ratio_first"],
     LISTING_FIRST),
    ("the same with all groups", rows[-1]["ratio"], LISTING),
    *exit_limits,
    *((f"ordering {n} registers: {count:,} instructions, a register", round(count / n, 2), ORDERING)
      for n, count in ordered.items()),
    (f"save and restore of {moved['registers']} registers, SM = ZA = 1: {moved['list_order']:,} instructions in list\n"
     f"order, {moved[best]:,} in the best order by heart ({best}): ratio",
     round(moved["list_order"] / moved[best], 4), MOVE),
    (f"growth of KVM's text without KUNIT, in bytes ({was:,} to {now:,};\n"
     "the share of sme/ in the same objects included)", now - was, GROWTH),
]
say(f"\n{'':70}{'measured':>10}{'limit':>8}")
for what, value, limit in limits:
    head, _, last = what.rpartition("\n")
    say(f"{head}\n{last:70}{value:>10,}{limit:>8,}".lstrip("\n"))

data = {"calls": rows, "ordering": ordered, "moves": moved,
        "exits": {kvm: dict(zip(KERNELS, costs)) for kvm, costs in exit_costs.items()},
        "guests": {kvm: dict(zip(KERNELS, costs)) for kvm, costs in guest_costs.items()},
        "text": {"unpatched": was, "patched": now},
        "limits": [{"what": " ".join(what.split()), "measured": value, "limit": limit}
                   for what, value, limit in limits]}
say(f"\nas JSON: {save('bench.json', data)}")
raise SystemExit(any(value > limit for _, value, limit in limits))
