# SPDX-License-Identifier: GPL-2.0-only
"""Runs kvm selftests in a booted kernel, and reads what they say."""

import re
import shlex

import boot
from command import BUILD, log
from ktap import FAILED, LAST_LINES, PASSED, SKIPPED, ktap, verdict

FOLDER = BUILD / "selftests"
KSFT_SKIP = 4

# Our tests: of the list on every kernel, of vCPUs with SME, and both anew in Rust.
REG_LIST = ("reg_list_room", "reg_list_order", "reg_list_restore", "reg_list_contract", "reg_list_vls",
            "reg_list_el2", "sve_write_fault")
SME = ("reg_list_sme", "sme_regs", "sme_guest")
RUST = ("rust_reg_list_order", "rust_reg_list_restore")
# Of vCPUs that only one mode of KVM has.
OF_MODE = {"protected": ("sme_protected",), "nested": ("sme_nested",)}


def file_name(*words):
    """A name for a log."""
    return re.sub(r"[^\w.-]+", "-", "-".join(str(word) for word in words if word))[-100:].strip("-").lower()


def run(commands, kvm, timeout=60, folder=FOLDER, **env):
    """Runs programs with their arguments, each a step, in one boot: ({command: Step}, path of the log, whether the
    kernel had no complaint)."""
    body = "".join(f"step {shlex.quote(c)} timeout {timeout} /test/{c}\n" for c in commands)
    programs = {c.split()[0] for c in commands}
    job = boot.run(body, {p: folder / p for p in programs}, KVM=kvm, TIMEOUT=str(120 + timeout * len(commands)), **env)
    where = log(file_name("selftests", kvm, *env.values(), *(commands if len(commands) == 1 else ())), job.output)
    return {c: job.step(c) for c in commands}, where, job.calm()


def patient(name):
    """The command for a selftest in the folder it is called in: some give themselves three seconds, and have two
    chances more. What they say comes when they have ended: a guest's console is slow as well."""
    return (f"sh -c 'for n in 1 2 3; do timeout 600 ./{name} > said 2>&1; status=$?; "
            "grep -q \"^-- Timeout\" said || break; done; cat said; exit $status'")


def word(status):
    """What an exit status of a selftest says in a word."""
    return {0: PASSED, KSFT_SKIP: SKIPPED, 124: "no end", 143: "no end", None: "did not end"}.get(status, FAILED)


def results(name, step, where):
    """The results of a program: each of its subtests, and how it ended."""
    rows = [row._replace(test=f"{name}: {row.test}") for row in ktap(step.output)]
    last = "\n".join([*step.output.splitlines()[-LAST_LINES:], f"the whole output is in {where}"])
    return rows + [verdict(f"{name} ends well", step.status in (0, KSFT_SKIP) and rows,
                           f"exit status {step.status}\n{last}")]


def tested(names, kvm, timeout=1800, folder=FOLDER, **env):
    """The results of programs of ours in one boot."""
    steps, where, calm = run(names, kvm, timeout, folder, **env)
    return [row for name in names for row in results(name, steps[name], where)] + [calm]
