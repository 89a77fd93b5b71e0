#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Draws the order of the register list, before and after, from the lists that "make" got of a vCPU.

usage: scripts/lab/picture.py [FILE]      (default: the picture in Documentation/)
"""

import json
import sys
from itertools import groupby
from pathlib import Path

from command import RESULTS, TOP, die

VECTORS, ARRAY = "Z0 to Z31, P0 to P15, FFR", "ZA.H[0] to ZA.H[255], ZT0"
# What a register is called: by its id, else by the class in it.
NAMES = {0x606000000015ffff: "SVE_VLS", 0x606000000017fffe: "SME_VLS", 0x603000000013da12: "SVCR",
         0x60200000001000d4: "FPSR", 0x603000000013da22: "FPMR", 0x603000000013c021: "ID_AA64PFR1_EL1",
         0x6030000000140002: "ARCH_WORKAROUND_2", 0x603000000013df1a: "CNTVCT_EL0",
         0x603000000013df01: "CNTPCT_EL0"}
CLASSES = {0x10: "core registers", 0x11: "CCSIDRs", 0x13: "system registers", 0x14: "firmware registers",
           0x15: VECTORS, 0x16: "firmware registers", 0x17: ARRAY}
# The table DEPENDENCIES of reg_list_core.rs, as far as this vCPU has the registers.
DEPENDENTS = {"SVE_VLS": (VECTORS,), "SME_VLS": (VECTORS, ARRAY), "SVCR": ("FPSR", VECTORS, ARRAY, "FPMR"),
              "ID_AA64PFR1_EL1": ("ARCH_WORKAROUND_2",), "CNTVCT_EL0": ("CNTPCT_EL0",)}

WIDTH, BLOCK, STEP, TOP_EDGE = 880, 250, 28, 80
COLUMNS = {"unpatched": 150, "patched": 480}
FILL = {True: "#1f4e79", False: "#fde3c3", None: "#eeeeee"}
# Arrows, also for who does not see colours: name, colour, dashes.
ARROWS = {"late": ("#d55e00", "6 3"), "in-time": ("#0072b2", "none")}


def runs(ids):
    """[(name, first place, last place)] of a list."""
    found, place = [], 0
    for name, run in groupby(ids, lambda i: NAMES.get(i) or CLASSES[i >> 16 & 0xff]):
        number = len(list(run))
        found.append((name, place, place + number - 1))
        place += number
    return found


def text(x, y, what, **attributes):
    extra = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in attributes.items())
    return f'<text x="{x}" y="{y}"{extra}>{what}</text>'


def column(which, listed):
    """The blocks of one list and, on its outer side, an arrow for each dependency."""
    x, dependents = COLUMNS[which], {name for names in DEPENDENTS.values() for name in names}
    middle = {name: TOP_EDGE + STEP * i + 12 for i, (name, _, _) in enumerate(listed)}
    lines = []
    for i, (name, first, last) in enumerate(listed):
        kind = True if name in DEPENDENTS else False if name in dependents else None
        y, ink = TOP_EDGE + STEP * i, "#ffffff" if kind else "#000000"
        place = f"{first}" if first == last else f"{first} - {last}"
        lines += [f'<rect x="{x}" y="{y}" width="{BLOCK}" height="{STEP - 4}" fill="{FILL[kind]}" stroke="#808080"/>',
                  text(x + 8, y + 16, name, fill=ink),
                  text(x + BLOCK - 8, y + 16, place, fill=ink, text_anchor="end")]
    side, edge = (-1, x) if which == "unpatched" else (1, x + BLOCK)
    for leader, names in DEPENDENTS.items():
        for name in names:
            start, end = middle[leader], middle[name]
            out = edge + side * (20 + abs(end - start) * 0.3)
            arrow = "late" if end < start else "in-time"
            colour, dashes = ARROWS[arrow]
            lines.append(f'<path d="M{edge} {start} C{out:.0f} {start} {out:.0f} {end} {edge + side * 5} {end}" '
                         f'fill="none" stroke="{colour}" stroke-dasharray="{dashes}" marker-end="url(#{arrow})"/>')
    return lines, middle


def picture(data):
    lists = {which: runs([int(i, 16) for i in data["order"][which]]) for which in COLUMNS}
    state, = (s for s in data["vhe"] if s["features"] == "sve,sme" and s["sm"] and s["za"]
              and s["sve_vl"] == s["sme_vl"] == 256)
    height = TOP_EDGE + STEP * max(map(len, lists.values())) + 70
    svg = ['<?xml version="1.0" encoding="UTF-8"?>',
           "<!-- SPDX-License-Identifier: GPL-2.0 -->",
           f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
           'font-family="sans-serif" font-size="13">', "<defs>"]
    svg += [f'<marker id="{arrow}" markerWidth="8" markerHeight="8" refX="6" refY="4" orient="auto">'
            f'<path d="M0 0 L8 4 L0 8 z" fill="{colour}"/></marker>' for arrow, (colour, _) in ARROWS.items()]
    svg += ["</defs>", f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
            text(WIDTH / 2, 22, f"The {state['registers']} registers of a vCPU with SVE and SME, SVCR.SM = SVCR.ZA = 1,"
                 f" vectors of {state['sme_vl']} bytes", text_anchor="middle", font_size=15)]
    svg.append(text(WIDTH / 2, height - 14, "An arrow leads from a register to those that it decides about: "
                    "dashed where it comes too late.", text_anchor="middle"))
    places = {}
    for which, head, prefix in (("unpatched", "without KVM_CAP_ARM_REG_LIST_ORDER", "unpatched_"),
                                ("patched", "in the order of KVM_GET_REG_LIST", "")):
        lines, places[which] = column(which, lists[which])
        centre = COLUMNS[which] + BLOCK / 2
        svg += [text(centre, 52, head, text_anchor="middle", font_weight="bold"),
                text(centre, 70, "name, place in the list", text_anchor="middle", font_size=11), *lines,
                text(centre, height - 46, f"a restore gives {state[prefix + 'errors']} errors, "
                     f"{state[prefix + 'lost']} lost", text_anchor="middle", font_weight="bold")]
    for leader in DEPENDENTS:
        svg.append(f'<line x1="{COLUMNS["unpatched"] + BLOCK}" y1="{places["unpatched"][leader]}" '
                   f'x2="{COLUMNS["patched"]}" y2="{places["patched"][leader]}" stroke="{FILL[True]}" '
                   'stroke-dasharray="1 4"/>')
    return "\n".join([*svg, "</svg>\n"])


results = RESULTS / "demo.json"
if not results.exists():
    die(f"there is no {results}: run 'make' first")
where = sys.argv[1] if len(sys.argv) > 1 else TOP / "Documentation/virt/kvm/arm/reg-list-order.svg"
Path(where).write_text(picture(json.loads(results.read_text())))
