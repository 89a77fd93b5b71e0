#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""What the series costs, patched against unpatched, in one run; fails past a limit."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from command import RESULTS, die, save, say
from products import Broken, kernel, product
from reglist import KINDS, exits, listing, measure, moves, orderings, text_size

# The sizing and the full call together, on the SVE+PMU vCPU: no more than this of the unpatched.
LISTING = 0.25
# An exit to user space of a vCPU without SME: no more than this of the unpatched.
EXIT = 1.02
# The step that orders the list: instructions a register.
ORDERING = 12
# A save and a restore in list order: no more than this of the best order that a client could know.
MOVE = 1.02
# Bytes of text and read-only data without KUNIT.
GROWTH = 8192

try:
    unpatched = Path(product("unpatched"))
    without_kunit = kernel("out-CONFIG_KUNIT-n", "CONFIG_KUNIT-n", "CONFIG_KUNIT=n", "CONFIG_RUST_KERNEL_DOCTESTS=n",
                           targets=("arch/arm64/kvm/",))
except Broken as error:
    die(error)

with ThreadPoolExecutor(2) as boots:
    jobs = [boots.submit(job) for job in (
        orderings, moves,
        *(partial(measure, image, ICOUNT="1") for image in ("unpatched", "patched")),
        *(partial(exits, image) for image in ("unpatched", "patched")))]
ordered, moved, before, after, exits_before, exits_after = (job.result() for job in jobs)

rows = []
table = [f"{'vCPU':8}{'registers':>10}{'call':>8}{'unpatched':>12}{'patched':>9}{'ratio':>7}"]
for kind in KINDS:
    b, a = before[kind], after[kind]
    for call, was, now in (("sizing", b["sizing_instructions"], a["sizing_instructions"]),
                           ("full", b["list_instructions"], a["list_instructions"]),
                           ("both", listing(b), listing(a))):
        table.append(f"{kind:8}{a['registers']:>10}{call:>8}{was:>12,}{now:>9,}{now / was:>7.3f}")
        rows.append({"vcpu": kind, "registers": a["registers"], "call": call, "unpatched": was,
                     "patched": now, "ratio": round(now / was, 4)})
say("\n".join(table))
# For the cover letter of the series.
RESULTS.mkdir(parents=True, exist_ok=True)
(RESULTS / "bench.txt").write_text("".join(f"  {line}\n" for line in table))

table = [f"{'vCPU':16}{'a hypercall':>24}{'KVM_RUN to a device':>24}",
         f"{'':16}{'unpatched':>14}{'patched':>10}{'unpatched':>14}{'patched':>10}"]
for vcpu, now in exits_after.items():
    was = exits_before.get(vcpu, {"hypercall": "-", "kvm_run": "-"})
    table.append(f"{vcpu:16}{was['hypercall']:>14}{now['hypercall']:>10}{was['kvm_run']:>14}{now['kvm_run']:>10}")
say("\n" + "\n".join(table))

best = min((order for order in moved if order not in ("registers", "list_order")), key=moved.get)
was, now = text_size(unpatched / "out/arch/arm64/kvm"), text_size(without_kunit / "arch/arm64/kvm")
limits = [
    ("listing, SVE+PMU, both calls: of the unpatched kernel", rows[-1]["ratio"], LISTING),
    ("KVM_RUN of an SVE vCPU: of the unpatched kernel",
     round(exits_after["SVE"]["kvm_run"] / exits_before["SVE"]["kvm_run"], 4), EXIT),
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
        "exits": {"unpatched": exits_before, "patched": exits_after}, "text": {"unpatched": was, "patched": now},
        "limits": [{"what": " ".join(what.split()), "measured": value, "limit": limit}
                   for what, value, limit in limits]}
say(f"\nas JSON: {save('bench.json', data)}")
raise SystemExit(any(value > limit for _, value, limit in limits))
