#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""What "make" shows: the register list of real vCPUs on the released kernel and on the patched one.

Each part is also in a file of build/results/, which README shows; the figures are in demo.json.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

from command import RESULTS, end_by_signals, save, say
from reglist import KINDS, STATES, clocks, measure, orders, restores


def lists(before, after):
    """The head of the list of an SVE vCPU, and where the registers are that the order is about."""
    before, after = before["SVE"], after["SVE"]
    yield f"{'':34}{'released kernel':>20}{'patched':>20}"
    for i, (old, new) in enumerate(zip(before["head_names"], after["head_names"])):
        yield f"{f'entry {i}':34}{old:>20}{new:>20}"
    for label, key in (("place of SVE_VLS", "sve_vls"), ("place of the first vector register", "first_vector")):
        yield f"{label:34}{before[key]:>20}{after[key]:>20}"


def promise(behind, states):
    """The three things that go wrong in the order of the released kernel."""
    yield f"{'a restore in the order of the list':50}{'released':>14}{'patched':>12}"
    minutes = {image: " and ".join(f"{seconds / 60:.0f}" for seconds in found) for image, found in behind.items()}
    yield f"{'2 vCPUs with EL2: clocks behind by, in minutes':50}{minutes['debian']:>14}{minutes['patched']:>12}"
    for what, sm, za, key in (("SVE+SME, streaming mode: registers lost", 1, 0, "lost"),
                              ("SVE+SME, ZA on: calls that fail", 0, 1, "errors")):
        for state in [s for s in states if (s["features"], s["sm"], s["za"]) == ("sve,sme", sm, za)][:1]:
            yield f"{what:50}{state['unpatched_' + key]:>14}{state[key]:>12}"


def total(states, prefix=""):
    """Errors, lost: of a restore in list order; with "all_" by a client that knows no register, with "unpatched_"
    in the order of an unpatched kernel."""
    return tuple(sum(state[prefix + what] for state in states) for what in ("errors", "lost"))


def table(found):
    """What restores give in each state of SVCR, in both orders, and whether that is as it must be."""
    lines = [f"{'':33}{'greatest lengths':>26}{'all lengths':>35}",
             f"{'vCPU':9}{'SM':>2}{'ZA':>3}{'':6}{'registers':>10}{'knows none':>12}{'*_VLS':>9}{'unpatched':>12}"
             f"{'vCPUs':>8}{'*_VLS':>9}{'unpatched':>13}"]
    good = True
    for kvm, states_found in found.items():
        for name, features in STATES.items():
            for sm, za in ((0, 0), (1, 0), (0, 1), (1, 1)) if "sme" in features else ((0, 0),):
                states = [s for s in states_found if (s["features"], s["sm"], s["za"]) == (features, sm, za)]
                # The kernel of some groups may have no such vCPUs.
                if not states:
                    continue
                greatest = states[:1]
                mode = f"{sm:>2}{za:>3}" if "sme" in features else f"{'-':>2}{'-':>3}"
                cells = ["{}, {}".format(*total(s, prefix)) for s, prefix in (
                    (greatest, "all_"), (greatest, ""), (greatest, "unpatched_"), (states, ""), (states, "unpatched_"))]
                lines.append(f"{name:9}{mode}  {kvm:4}{greatest[0]['registers']:>10}{cells[0]:>12}{cells[1]:>9}"
                             f"{cells[2]:>12}{len(states):>8}{cells[3]:>9}{cells[4]:>13}")
                # The client that knows no register has to fail where the lengths are others.
                good = good and not sum(total(greatest, "all_")) and all(sum(total([s], "all_")) for s in states[1:])
                # Each state must lose something in the old order, or this could not see a wrong one.
                good = good and not sum(total(states)) and all(
                    bool(sm or za) == bool(sum(total([s], "unpatched_"))) for s in states)
    return lines, good


def show(name, head, lines):
    """Prints a part under its head, and keeps it for README."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    lines = list(lines)
    (RESULTS / name).write_text("\n".join(lines) + "\n")
    say(f"\n{head}\n")
    say("\n".join(lines))


def main():
    end_by_signals()
    modes = ("vhe", "nvhe")
    with ThreadPoolExecutor(2) as boots:
        jobs = [boots.submit(job) for job in (
            *(partial(restores, kvm) for kvm in modes), orders, *(
                partial(job, image) for job in (measure, clocks) for image in ("debian", "patched")))]
    vhe, nvhe, order, before, after, *behind = (job.result() for job in jobs)
    behind = dict(zip(("debian", "patched"), behind))

    show("promise.txt", "What goes wrong today, without any error where something is lost (SME: on the patched\n"
         "kernel, by the order of the released one, which has no vCPUs with SME)", promise(behind, vhe))

    show("lists.txt", "The list of an SVE vCPU (KVM_GET_REG_LIST) on Debian's own kernel and on the patched one, VHE,\n"
         "QEMU -cpu max", lists(before, after))
    lines, good = table({"VHE": vhe, "nVHE": nvhe})
    show("restores.txt", "A restore on the patched kernel (errors, lost), for each state of SVCR: in list order, by a\n"
         "client that knows no register and by one that writes the *_VLS before finalize, and by the latter with the\n"
         "list sorted back into the order of the unpatched kernel. All lengths: a vCPU for each SVE and SME vector\n"
         "length of the machine, set by *_VLS", lines)

    bad = [kind for kind in KINDS if after[kind]["restore_errors"] or after[kind]["restore_lost"]]
    # The clocks of the released kernel have to be wrong, or this could not see that they are right.
    good = good and not bad and after["SVE"]["sve_vls"] == 0
    # Both run on while they are saved and restored: half a minute is none of the 39.
    good = good and any(by > 60 for by in behind["debian"]) and not any(abs(by) > 30 for by in behind["patched"])
    data = {"clocks": behind, "debian": before, "patched": after, "vhe": vhe, "nvhe": nvhe, "order": order}
    say(f"\nas JSON: {save('demo.json', data)}")
    raise SystemExit(0 if good else 1)


if __name__ == "__main__":
    main()
