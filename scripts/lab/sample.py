# SPDX-License-Identifier: GPL-2.0-only
"""Which of our tests a cell of the matrix, a mode of KVM on a machine, runs.

On the default machine in VHE that is everything: every program with every kind of vCPU. In the other cells
programs and kinds are dealt out, so that every pair of a mode, a machine, a program and a kind is run in one or
another. Tests of what only one mode has are run on all machines in that mode.
"""

from machines import MACHINES, MODES
from selftests import OF_MODE, REG_LIST, RUST, SME

PROGRAMS = (*REG_LIST, *SME, *RUST)
# These take a share of the kinds of vCPU, "-s I/N"; others are dealt out as a whole.
SHARED = ("sme_guest", *RUST)
# To sme_guest a kind is a set of features, whatever the lengths: there are no more.
FEATURES = 4
# In every cell: what takes no time where it does not belong.
ALWAYS = ("reg_list_order", "reg_list_el2", "sve_write_fault")
# Where everything is run.
WHOLE = ("vhe", "default")
# Into how many parts, on all machines but the default. All kinds are there in the first three modes, which have all
# parts between them; the other two differ by mode and not by machine.
PARTS = {"vhe": 3, "nvhe": 3, "hvhe": 3, "protected": 9, "nested": 9}


def commands(mode, machine, whole=False):
    """What the cell runs: {command: program}."""
    own = OF_MODE.get(mode, ()) if MACHINES[machine].sme else ()
    if whole or (mode, machine) == WHOLE:
        return {name: name for name in (*PROGRAMS, *own)}
    # From machine to machine the parts change places.
    at, parts = list(MACHINES).index(machine), 1 if machine == "default" else PARTS[mode]
    turn = MODES.index(mode) + at
    found = {name: name for i, name in enumerate(name for name in PROGRAMS if name not in SHARED)
             if i % parts == turn % parts or name in ALWAYS}
    found |= {name: name for name in own}
    found |= {"sme_guest" + share(turn, min(parts, FEATURES)): "sme_guest"}
    # A kind is tested by one of the two in Rust, and on the next machine by the other one. Ninths are few enough.
    of = parts if parts == 9 else len(RUST) * parts
    return found | {name + share(2 * turn + at + i, of): name for i, name in enumerate(RUST)}


def share(number, of):
    """The argument for a share of the kinds."""
    return f" -s {number % of}/{of}" if of > 1 else ""
