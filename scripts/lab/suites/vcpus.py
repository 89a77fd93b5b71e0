# SPDX-License-Identifier: GPL-2.0-only
"""The matrix, our tests on every machine in every mode of KVM, and what else is done to vCPUs."""

import json
import re
from functools import partial

import boot
import selftests
from command import BUILD, RESULTS, log, script
from ktap import FAILED, PASSED, Result, ktap, shard, verdict
from machines import MACHINES, MODES, share
from report import cell_name
from selftests import REG_LIST, RUST, SME
from suite import Suite

PROGRAMS = (*REG_LIST, *SME, *RUST)
# Those that take long go through a share of the kinds of vCPU; the others take seconds, and see all kinds.
SHARED = ("sme_guest", *RUST)
NEEDS = ("guest", "patched", "selftests")

# What the dependency experiment has to find, or it finds nothing: first, then.
KNOWN_DEPENDENCIES = (("SVE_VLS", "Z0"), ("SME_VLS", "ZA.H[0]"), ("SVCR", "Z0"), ("SVCR", "FPSR"),
                      ("ID_AA64PFR1_EL1", "SMCCC_ARCH_WORKAROUND_2"), ("CNTVCT_EL0", "CNTPCT_EL0"))


def cell(mode, machine, whole=False, test=None):
    """Our tests on one machine in one mode. Where a vCPU can have a feature, tests in C and in Rust have passed
    with it. With a test ("PROGRAM" or "PROGRAM CASE") that alone."""
    if test:
        program, _, case = test.partition(" ")
        commands = {f"{program} '{case}'" if case else program: program}
    else:
        number, count = share(mode, machine, whole)
        part = f" -s {number}/{count}" if count > 1 else ""
        commands = {name + part * (name in SHARED): name for name in PROGRAMS}
    # Two cells run side by side already. What goes from CPU to CPU is tested on the default machine.
    cpus = "2" if machine == "default" or whole or test else "1"
    steps, where = selftests.run(commands, mode, 600, CPU=machine, SMP=cpus)
    rows = [row for command, name in commands.items() for row in selftests.results(name, steps[command], where)]
    if test:
        return rows
    passed = [row.test for row in rows if row.verdict == PASSED]
    host = MACHINES[machine]
    for feature, there in (("SVE", bool(host.sve)), ("SME", bool(host.vcpu_sme(mode)))):
        with_it = [name for name in passed if re.search(rf"\b{feature}\b", name, re.I)]
        for language, found in (("C", [n for n in with_it if not n.startswith(RUST)]),
                                ("Rust", [n for n in with_it if n.startswith(RUST)])):
            rows.append(verdict(f"tests in {language} found {'' if there else 'no '}vCPUs with {feature}",
                                bool(found) == there, found[:3]))
    for name in SHARED:
        ran, of = shard(next(steps[c].output for c in commands if commands[c] == name))
        rows.append(verdict(f"{name} ran its share of {number}/{count}: {ran} of {of} cases",
                            0 < ran and (ran == of) == (count == 1), where))
    return rows


def whole(suites):
    """The suites with every kind of vCPU in every cell of the matrix."""
    cells = {cell_name(mode, machine): (mode, machine) for mode in MODES for machine in MACHINES}
    return [suite._replace(tests=partial(cell, *cells[suite.name], whole=True)) if suite.name in cells else suite
            for suite in suites]


def host_fp():
    """The host's own FP tests pass while guests with SME run beside them."""
    alone = ("za-test", "zt-test", "ssve-test", "kernel-test")
    files = {n: BUILD / "selftests-arm64" / n for n in (*alone, "fp-stress", "fpsimd-test", "sve-test")}
    job = boot.run("cd /test\nwhile true; do ./sme_guest; done > /tmp/guests 2>&1 &\nguests=$!\n"
                   + "".join(f"step {t} timeout 20 ./{t}\n" for t in alone)
                   + "step fp-stress ./fp-stress -t 60\nkill $guests\nstep guests cat /tmp/guests\n",
                   files | {"sme_guest": selftests.FOLDER / "sme_guest"}, TIMEOUT="600")
    where = log("host-fp", job.output)
    rows = [verdict("the boot ends well", not job.status, where)]
    for name in alone:
        said = job.step(name).output
        went = re.search(r"iterations=(\d+)", said)
        rows.append(verdict(f"{name}, beside guests", went and int(went[1]) > 0
                            and not re.search(r"mismatch|fail|not supported|Unable", said, re.I), said))
    rows += [row._replace(test=f"fp-stress: {row.test}") for row in ktap(job.step("fp-stress").output)]
    guests = [line.split()[0] for line in job.step("guests").output.splitlines() if line.startswith(("ok", "not"))]
    return rows + [verdict("the guests are right meanwhile", guests.count("ok") > 20 and "not" not in guests, where)]


def fuzzing():
    """A hundred thousand random calls to vCPUs; "make fuzz-kvm" makes a million on the debug kernel."""
    return selftests.tested(("reg_list_fuzz --steps 100000",), "vhe", 600)


def dependencies():
    """The dependency experiment, a part of it, and that it finds what an order loses."""
    (RESULTS / "depgraph.json").unlink(missing_ok=True)
    status, out = script("lab/depgraph.py", "--quick")
    found = json.loads((RESULTS / "depgraph.json").read_text())
    pairs = {(edge["first"], edge["then"]) for edge in found["edges"]}
    rows = [verdict("the order honours every dependency, and restores lose nothing", not status, out[-2000:])]
    # The same edge comes from several boots.
    rows += [Result(name, PASSED if good else FAILED) for name, good in sorted(
        {(f"{edge['first']} -> {edge['then']}: {edge['why']}", edge["accepted"])
         for edge in found["edges"] if edge["against_order"]})]
    rows += [Result(f"{loss['register']} of {loss['vcpu']} is restored", FAILED) for loss in found["losses"]]
    rows += [verdict(f"it finds {first} -> {then}", (first, then) in pairs) for first, then in KNOWN_DEPENDENCIES]
    program = {"reg_list_depgraph": selftests.FOLDER / "reg_list_depgraph"}
    job = boot.run("/test/reg_list_depgraph --quick --old-order --only SVE+SME\n", program)
    refused = job.status == 1 and "VIOLATED: SVCR -> " in job.output and "LOST: Z0 of " in job.output
    return rows + [verdict("the old order is refused", refused, job.output[-2000:])]


# The default machine's cells take longest: they come first.
SUITES = (
    *(Suite(cell_name(mode, machine), partial(cell, mode, machine), NEEDS, programs=PROGRAMS)
      for machine in MACHINES for mode in MODES),
    Suite("host FP tests beside guests", host_fp, (*NEEDS, "FP selftests")),
    Suite("fuzzing vCPUs", fuzzing, NEEDS),
    Suite("dependency experiment", dependencies, NEEDS),
)
