#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""The dependency experiment: which registers of a vCPU depend on one another when they are written
back, and whether the order of KVM_GET_REG_LIST respects it.

usage: scripts/lab/depgraph.py [--write-ids] [--quick] [ARGUMENT OF reg_list_depgraph]...

Boots reg_list_depgraph in the modes that its kinds of vCPU need, and puts what it finds together in
build/results/depgraph.json, .dot and .svg (--quick: depgraph-quick.json and so on). If all is well, the ids
that it has seen are in known-ids.txt there. With --write-ids they become the selftests' own file, which
says what has been looked at.
"""

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import boot
from command import RESULTS, TOP, die, end_by_signals, log, save, say, script
from selftests import FOLDER, file_name

# The boots: (KVM mode, arguments, machine). EL2 vCPUs are there only in nested mode, and memory with tags on one
# machine, where a VM without shows what KVM_CAP_ARM_MTE does.
BOOTS = (
    ("vhe", "--part 0 2", "default"),
    ("vhe", "--part 1 2", "default"),
    ("nested", "--only EL2", "default"),
    ("vhe", "--only MTE --only plain", "mte"),
)

# What it has to find, or it finds nothing: first, then.
KNOWN = (("SVE_VLS", "Z0"), ("SME_VLS", "ZA.H[0]"), ("SVCR", "Z0"), ("SVCR", "FPSR"),
         ("ID_AA64PFR1_EL1", "SMCCC_ARCH_WORKAROUND_2"), ("CNTVCT_EL0", "CNTPCT_EL0"),
         ("KVM_ARM_SET_COUNTER_OFFSET", "CNTVCT_EL0"), ("KVM_ARM_VCPU_PMU_V3_SET_NR_COUNTERS", "PMCR_EL0"),
         ("KVM_CAP_ARM_MTE", "RGSR_EL1"), ("ID_AA64PFR2_EL1(another-vCPU)", "FPMR"))

KNOWN_IDS = TOP / "tools-testing-selftests/kvm/arm64/rust/lib/known_ids.txt"

DOT = """digraph {{
\trankdir=LR; ranksep=1.2; nodesep=0.12;
\tgraph [fontname="sans-serif", labelloc=t, label="A -> B: what is written to A changes B.  \\
Dashed: against the order of the list, but nothing is lost.  Red: a restore loses it."];
\tnode [shape=box, style="rounded,filled", fillcolor="#eef2f8", fontname="sans-serif", height=0.3];
\tedge [fontname="sans-serif", fontsize=10, color="#445566"];
{edges}
}}
"""


def experiment(mode, args, **env):
    """One boot; (exit status, {section: text})."""
    job = boot.run(f"/test/reg_list_depgraph {args}\n", {"reg_list_depgraph": FOLDER / "reg_list_depgraph"},
                   KVM=mode, TIMEOUT="3500", **env)
    log(file_name("depgraph", mode, args, *map(os.path.basename, env.values())), job.output)
    return job.status, dict(re.findall(r"^==== (\w+)\n(.*?)(?=^====)", job.output, re.M | re.S))


def merge(sections):
    """The edges of several graphs, each once: all that is said of it, and in the worst of the styles."""
    edges = {}
    for line in "".join(sections).splitlines():
        pair, labels, style = re.fullmatch(r'(".*" -> ".*") \[label="(.*?)"(.*)\];', line).groups()
        seen, worst = edges.get(pair, (set(), ""))
        worst = max(style, worst, key=("", ", style=dashed", ", color=red, fontcolor=red").index)
        edges[pair] = (seen | set(labels.split(", ")), worst)
    return [f'\t{pair} [label="{", ".join(sorted(labels))}"{style}];'
            for pair, (labels, style) in sorted(edges.items())]


def known_ids(write):
    """The file of known ids as the kernel has them, all kinds of vCPU in one boot: that machine has all of them."""
    job = boot.run("/test/reg_list_depgraph --ids\n", {"reg_list_depgraph": FOLDER / "reg_list_depgraph"},
                   KVM="nested", CPU="mte", TIMEOUT="300")
    text = job.output[job.output.find("# SPDX"):].rstrip() + "\n"
    if job.status or not text.startswith("# SPDX"):
        die(f"reg_list_depgraph --ids: {job.output[-500:]}")
    path = RESULTS / "known-ids.txt"
    path.write_text(text)
    if write:
        KNOWN_IDS.write_text(text)
    same = text == KNOWN_IDS.read_text()
    say(f"the ids that were seen: {path}, {'the same as' if same else 'not those of'} {KNOWN_IDS.relative_to(TOP)}"
        + ("" if same else "; make depgraph IDS=1 puts them there"))


def main():
    end_by_signals()
    if script("build-selftests")[0]:
        die("the kvm selftests do not build")
    write, arguments = "--write-ids" in sys.argv, [a for a in sys.argv[1:] if a != "--write-ids"]
    extra = " ".join(arguments)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        done = list(pool.map(lambda b: experiment(b[0], f"{b[1]} {extra}", CPU=b[2]), BOOTS))

    found = {"edges": [], "losses": []}
    for (mode, args, machine), (status, sections) in zip(BOOTS, done):
        say(f"\n{mode} {args} {extra} on {machine}: exit status {status}")
        if "json" not in sections:
            die(f"reg_list_depgraph broke down; see build/log/depgraph-{mode}*.log")
        say(sections["text"])
        part = json.loads(sections["json"])
        for key in ("edges", "losses"):
            found[key] += [{"kvm": mode, "machine": machine, **item} for item in part[key]]

    # The suite of "make check" can run beside "make depgraph".
    name = "depgraph-quick" if "--quick" in arguments else "depgraph"
    path = save(f"{name}.json", found)
    dot = RESULTS / f"{name}.dot"
    dot.write_text(DOT.format(edges="\n".join(merge(sections["dot"] for _, sections in done))))
    subprocess.run(["dot", "-Tsvg", "-o", dot.with_suffix(".svg"), dot], check=True)
    edges = {(e["first"], e["then"]) for e in found["edges"]}
    bad = {(e["first"], e["then"]) for e in found["edges"] if not e["accepted"]}
    lost = {loss["register"] for loss in found["losses"]}
    say(f"{len(edges)} edges, {len(bad)} of them violated, {len(lost)} registers lost; "
        f"as JSON: {path}, drawn: {dot.with_suffix('.svg')}")
    missing = [] if "--only" in arguments else [f"{first} -> {then}" for first, then in KNOWN
                                                if (first, then) not in edges]
    if missing:
        say(f"not found: {', '.join(missing)}")
    failed = bool(missing) or any(status for status, _ in done)
    if not failed and not arguments:
        known_ids(write)
    raise SystemExit(failed)


if __name__ == "__main__":
    main()
