# SPDX-License-Identifier: GPL-2.0-only
"""The matrix, our tests on every machine in every mode of KVM, and what else is done to vCPUs."""

import json
import random
import re
from functools import partial

import boot
import sample
import selftests
from command import BUILD, RESULTS, log, script
from depgraph import KNOWN
from ktap import ALL, FAILED, PASSED, Result, ktap, shard, verdict
from machines import MACHINES, MODES
from report import cell_name
from selftests import OF_MODE, RUST
from suite import Suite

NEEDS = ("guest", "patched", "selftests")


def cell(mode, machine, whole=False, test=None):
    """Our tests on one machine in one mode. Where a vCPU can have a feature, tests in Rust have passed with it, and
    those in C if the one that has all kinds is among them. With a test ("PROGRAM" or "PROGRAM CASE") that alone."""
    if test:
        program, _, case = test.partition(" ")
        commands = {f"{program} '{case}'" if case else program: program}
    else:
        commands = sample.commands(mode, machine, whole)
    # Two cells run side by side already, and with two emulated CPUs all takes longer, up to twice as long. What goes
    # from CPU to CPU is tested on the default machine.
    cpus = "2" if machine == "default" and (whole or mode in ("vhe", "nvhe")) or test else "1"
    steps, where, calm = selftests.run(commands, mode, 1800, CPU=machine, SMP=cpus)
    rows = [row for command, name in commands.items() for row in selftests.results(name, steps[command], where)]
    rows.append(calm)
    if test:
        return of_case(rows, program, case)
    passed = [row.test for row in rows if row.verdict == PASSED]
    host = MACHINES[machine]
    for feature, there in (("SVE", bool(host.sve)), ("SME", bool(host.sme))):
        with_it = [name for name in passed if re.search(rf"(?<!without )\b{feature}\b", name, re.I)]
        for language, found in (("C", [n for n in with_it if not n.startswith(RUST)]),
                                ("Rust", [n for n in with_it if n.startswith(RUST)])):
            if language == "C" and "reg_list_sme" not in commands:  # it has all kinds
                continue
            rows.append(verdict(f"tests in {language} found {'' if there else 'no '}vCPUs with {feature}",
                                bool(found) == there, found[:3]))
    # A program that is there for something passes where all its cases are skipped.
    needed = {name: f"{name}: " for name in OF_MODE.get(mode, ()) if name in commands}
    if mode == "nested":
        needed["vCPUs with EL2"] = "reg_list_el2: "
    # With pKVM no VM has it (asm/kvm_pkvm.h).
    if machine == "mte" and mode != "protected" and "reg_list_contract" in commands:
        needed["MTE"] = "reg_list_contract: MTE, both have it"
    for what, begin in needed.items():
        of_it = [name for name in passed if name.startswith(begin) and not name.endswith(" ends well")]
        rows.append(verdict(f"a case of {what} was not skipped", of_it, where))
    for command, name in commands.items():
        if name in sample.SHARED:
            ran, of = shard(steps[command].output)
            good = 0 < ran and (ran == of) == (command == name)
            rows.append(verdict(f"{command} ran {ran} of {of} cases", good, where))
    return rows


def of_case(rows, program, case):
    """What a program says of the cases with these words in their names, whatever failed, and how it and the kernel
    ended. A program that takes no words has run all of its cases, and one that is for another machine none."""
    begin = f"{program}: "
    names = [row.test.removeprefix(begin) for row in rows if row.test.startswith(begin)]
    found = [begin + name for name in names if case in name or name == ALL]
    kept = [row for row in rows if row.test in found or row.verdict == FAILED or not row.test.startswith(begin)]
    if not found:
        kept.append(verdict(f"{program} has a case with \"{case}\" in its name", False,
                            "it ran: " + ("; ".join(names) or "none")))
    return kept


def whole(suites):
    """The suites with every kind of vCPU in every cell of the matrix."""
    cells = {cell_name(mode, machine): (mode, machine) for mode in MODES for machine in MACHINES}
    return [suite._replace(tests=partial(cell, *cells[suite.name], whole=True)) if suite.name in cells else suite
            for suite in suites]


def host_fp(mode):
    """The host's own FP tests pass while guests with SME run beside them."""
    alone = ("za-test", "zt-test", "ssve-test", "kernel-test")
    files = {n: BUILD / "selftests-arm64" / n for n in (*alone, "fp-stress", "fpsimd-test", "sve-test")}
    job = boot.run("cd /test\nwhile true; do ./sme_guest; done > /tmp/guests 2>&1 &\nguests=$!\n"
                   + "".join(f"step {t} timeout 8 ./{t}\n" for t in alone)
                   + "step fp-stress ./fp-stress -t 15\n"
                   "until [ $(grep -c ^ok /tmp/guests) -gt 20 ]; do sleep 1; done\n"
                   "kill $guests\nstep guests cat /tmp/guests\n",
                   files | {"sme_guest": selftests.FOLDER / "sme_guest"}, KVM=mode, TIMEOUT="3000")
    where = log(f"host-fp-{mode}", job.output)
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
    return selftests.tested(("reg_list_fuzz --steps 100000",), "vhe", 3000)


def streams(mode):
    """Random streams of vector instructions, the same ones each time."""
    return selftests.tested(("rust_vector_streams",), mode, 3000, SMP="1")


def new_streams(mode):
    """Streams of instructions that nobody has run before; what fails names its seed."""
    return selftests.tested((f"rust_vector_streams --seed {random.getrandbits(32)} --count 20",), mode, 3000)


def every_id():
    """Every id of the classes of vector registers, on vCPUs that have some of them; make check sees some of each."""
    return selftests.tested(("sme_regs 'every id'",), "vhe", 1800, SMP="1")


def id_space():
    """Every id of a system register with each set of ID registers; make check sees one in 32 with each."""
    return selftests.tested(("rust_reg_list_order -l 'other ID registers'",), "nested", 3000)


def dependencies():
    """The dependency experiment, a part of it, and that it finds what an order loses."""
    (RESULTS / "depgraph-quick.json").unlink(missing_ok=True)
    status, out = script("lab/depgraph.py", "--quick")
    found = json.loads((RESULTS / "depgraph-quick.json").read_text())
    pairs = {(edge["first"], edge["then"]) for edge in found["edges"]}
    rows = [verdict("the order honours every dependency, and restores lose nothing", not status, out[-2000:])]
    # The same edge comes from several boots.
    rows += [Result(name, PASSED if good else FAILED) for name, good in sorted(
        {(f"{edge['first']} -> {edge['then']}: {edge['why']}", edge["accepted"])
         for edge in found["edges"] if edge["against_order"]})]
    rows += [Result(f"{loss['register']} of {loss['vcpu']} is restored", FAILED) for loss in found["losses"]]
    rows += [verdict(f"it finds {first} -> {then}", (first, then) in pairs) for first, then in KNOWN]
    program = {"reg_list_depgraph": selftests.FOLDER / "reg_list_depgraph"}
    job = boot.run("/test/reg_list_depgraph --quick --old-order --only SVE+SME\n", program, TIMEOUT="1500")
    refused = job.status == 1 and "VIOLATED: SVCR -> " in job.output and "LOST: Z0 of " in job.output
    return rows + [verdict("the old order is refused", refused, job.output[-2000:])]


# The default machine's cells take longest: they come first.
SUITES = (
    *(Suite(cell_name(mode, machine), partial(cell, mode, machine), NEEDS,
            programs=(*sample.PROGRAMS, *OF_MODE.get(mode, ())))
      for machine in MACHINES for mode in MODES),
    # hVHE switches vectors by the code of nVHE.
    *(Suite(f"random streams of instructions, {mode}", partial(streams, mode), NEEDS)
      for mode in MODES if mode != "hvhe"),
    *(Suite(f"host FP tests beside guests, {mode}", partial(host_fp, mode), (*NEEDS, "FP selftests"))
      for mode in ("vhe", "protected")),
    Suite("fuzzing vCPUs", fuzzing, NEEDS),
    Suite("dependency experiment", dependencies, NEEDS),
    Suite("every id of the vector classes", every_id, NEEDS, long=True),
    Suite("every id of a system register", id_space, NEEDS, long=True),
    *(Suite(f"new streams of instructions, {mode}", partial(new_streams, mode), NEEDS, long=True) for mode in MODES),
)
