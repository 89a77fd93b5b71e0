# SPDX-License-Identifier: GPL-2.0-only
"""Draws the results of scripts/check as a page: the matrix of machines, then every suite."""

from collections import Counter
from html import escape

HEAD = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>kvm-reg-list: test results</title><style>
body { font: 15px sans-serif; margin: 2em; }
table { border-collapse: collapse; margin: 1em 0 2em; }
th, td { border: 1px solid #bbb; padding: 0.3em 0.7em; text-align: right; }
th, td:first-child { text-align: left; }
.passed { background: #d7efd9; } .failed { background: #f3b5b0; font-weight: bold; } .skipped { background: #eee; }
</style></head><body>
"""


def cell(verdicts):
    """A table cell: passed / failed / skipped, in the colour of the worst; all skipped is grey."""
    if not verdicts:
        return "<td></td>"
    count = Counter(verdicts)
    colour = "failed" if count["failed"] else "passed" if count["passed"] else "skipped"
    return f'<td class="{colour}">{count["passed"]} / {count["failed"]} / {count["skipped"]}</td>'


def page(results, modes, machines, suite_of):
    """The page. suite_of(mode, machine) is the name of that cell's suite in the results."""
    suites = {}
    for result in results:
        suites.setdefault(result["suite"], []).append(result)

    def verdicts(name):
        return [result["verdict"] for result in suites.get(name, ())]

    grid = [(machine, [verdicts(suite_of(mode, machine)) for mode in modes]) for machine in machines]
    cells = {suite_of(mode, machine) for mode in modes for machine in machines}
    total = Counter(result["verdict"] for result in results)
    out = [HEAD, f"<h1>{total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped</h1>"]
    if any(found for _, row in grid for found in row):
        out += ["<h2>Our selftests, on every machine in every mode of KVM</h2>", "<table><tr><th>machine</th>",
                *(f"<th>{escape(mode)}</th>" for mode in modes), "</tr>"]
        for machine, row in grid:
            out += [f"<tr><td>{escape(machine)}</td>", *map(cell, row), "</tr>"]
        out.append("</table>")
    out += ["<p>Passed / failed / skipped.</p>", "<h2>All else</h2>", "<table>"]
    out += [f"<tr><td>{escape(name)}</td>{cell(verdicts(name))}</tr>" for name in suites if name not in cells]
    out.append("</table>")
    failed = [f"<li>{escape(r['suite'])}: {escape(r['test'])}</li>" for r in results if r["verdict"] == "failed"]
    if failed:
        out += ["<h2>Failed</h2><ul>", *failed, "</ul>"]
    return "\n".join([*out, "</body></html>\n"])
