# SPDX-License-Identifier: GPL-2.0-only
"""The report of scripts/lab/check.py: a line a suite, check.json, and check.html with the matrix.

Both files are written anew with each suite that ends, and say whether the run went to its end.
"""

import json
import os
from collections import Counter
from html import escape

from command import RESULTS, say
from ktap import FAILED, PASSED, SKIPPED
from machines import MACHINES, MODES

# So many rows of a suite are shown to who asked for it; a cell of the matrix has hundreds.
FEW = 25

HEAD = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>kvm-reg-list: test results</title><style>
body { font: 15px sans-serif; margin: 2em; }
table { border-collapse: collapse; margin: 1em 0 2em; }
th, td { border: 1px solid #bbb; padding: 0.3em 0.7em; text-align: right; }
th, td:first-child { text-align: left; }
pre { background: #f6f6f6; padding: 0.5em; margin: 0.3em 0 1em; overflow-x: auto; }
.passed { background: #d7efd9; } .failed { background: #f3b5b0; font-weight: bold; } .skipped { background: #eee; }
.not-run { color: #888; } .incomplete { background: #fde3c3; padding: 0.5em; }
</style></head><body>
"""


def cell_name(mode, machine):
    """What a suite of the matrix is called."""
    return f"{mode}, {machine}"


def failed(row):
    """Whether a row counts as failed: also with a verdict that is none, lest it fall out of every sum."""
    return row.verdict not in (PASSED, SKIPPED)


def tally(rows):
    """How many have each verdict."""
    return Counter(FAILED if failed(row) else row.verdict for row in rows)


def totals(rows):
    """N passed, N failed, N skipped: also the last line of a run, by which it is judged."""
    count = tally(rows)
    return f"{count[PASSED]} passed, {count[FAILED]} failed, {count[SKIPPED]} skipped"


def anchor(name):
    """The id of a suite's section."""
    return "".join(c if c.isalnum() else "-" for c in name)


def again(suite, row):
    """The command that runs just this test, as far as there is one."""
    program, found, case = row.test.partition(": ")
    if not found or program not in suite.programs:
        case, program = "", row.test.partition(" ")[0] if row.test.partition(" ")[0] in suite.programs else ""
    only = suite.name.replace(",", "")
    return f"make check ONLY=\"{only}\"" + (f" TEST=\"{f'{program} {case}'.strip()}\"" if program else "")


class Report:
    """known: every suite there is; chosen: those of this run; whole: every cell tests every kind of vCPU; named: who
    runs it has asked for these suites, and sees what passed as well where that is few."""

    def __init__(self, known, chosen, whole=False, named=False):
        self.known, self.chosen, self.whole, self.named = known, chosen, whole, named
        self.rows, self.seconds, self.finished = {}, {}, False
        self.html, self.json = RESULTS / "check.html", RESULTS / "check.json"
        RESULTS.mkdir(parents=True, exist_ok=True)
        self.write()

    def add(self, suite, rows, seconds):
        """A suite has ended: prints its line and its failures."""
        self.rows[suite.name], self.seconds[suite.name] = rows, seconds
        count = tally(rows)
        say(f"{suite.name:44}{count[PASSED]:>5} passed{count[FAILED]:>4} failed{count[SKIPPED]:>5} skipped"
            f"{seconds:>6.0f} s")
        for row in rows:
            if failed(row):
                say(f"    failed: {row.test}")
                for line in row.detail.splitlines():
                    say(f"        {line}")
            elif self.named and len(rows) <= FEW:
                say(f"    {row.verdict}: {row.test}")
        self.write()

    def complete(self):
        """The run has come to its end."""
        self.finished = True
        self.write()

    def all_rows(self):
        """Every result so far."""
        return [row for rows in self.rows.values() for row in rows]

    def totals(self):
        """The last line."""
        return totals(self.all_rows())

    def bad(self):
        """The exit status: whether something failed, or nothing ran."""
        rows = self.all_rows()
        return int(not rows or any(map(failed, rows)))

    def failures(self):
        """Each test that failed, by its suite: the lines above may be many, or cut off by who keeps them."""
        return [f"failed: {name}: {row.test}" for name, rows in self.rows.items()
                for row in rows if failed(row)]

    def cells(self):
        """How much of the product of modes, machines and kinds of vCPU ran."""
        ran = sum(cell_name(mode, machine) in self.rows for mode in MODES for machine in MACHINES)
        kinds = "every kind of vCPU in each" if self.whole else \
            "every kind of vCPU in that of the default machine in VHE, a share of the kinds in each other"
        return f"{ran} of the {len(MODES) * len(MACHINES)} cells (mode, machine) ran, {kinds}"

    def write(self):
        """Puts both files in their places, whole at any time."""
        data = {"complete": self.finished, "suites": [
            {"suite": name, "seconds": round(self.seconds[name], 1), "results": [row._asdict() for row in rows]}
            for name, rows in self.rows.items()]}
        for path, text in ((self.json, json.dumps(data, indent=1) + "\n"), (self.html, self.page())):
            part = path.with_suffix(".part")
            part.write_text(text)
            os.replace(part, path)

    def cell(self, name):
        """A table cell: passed / failed / skipped, in the colour of the worst, or that it was not run."""
        if name not in self.rows:
            waits = not self.finished and any(suite.name == name for suite in self.chosen)
            return f'<td class="not-run">{"not yet" if waits else "not run"}</td>'
        count = tally(self.rows[name])
        colour = FAILED if count[FAILED] else PASSED if count[PASSED] else SKIPPED
        numbers = f"{count[PASSED]} / {count[FAILED]} / {count[SKIPPED]}"
        return f'<td class="{colour}"><a href="#{anchor(name)}">{numbers}</a></td>'

    def section(self, suite):
        """Behind a cell: what failed and how to run it again, and why tests were skipped."""
        rows = self.rows[suite.name]
        out = [f'<h3 id="{anchor(suite.name)}">{escape(suite.name)}</h3>',
               f"<p>{totals(rows)}, in {self.seconds[suite.name]:.0f} s</p>"]
        for row in rows:
            if failed(row):
                out.append(f'<p><span class="failed">failed: {escape(row.test)}</span></p>'
                           f"<pre>{escape(row.detail)}\n\n{escape(again(suite, row))}</pre>")
        reasons = Counter(row.detail or "no reason was given" for row in rows if row.verdict == SKIPPED)
        if reasons:
            out.append("<p>Skipped:</p><ul>" + "".join(
                f"<li>{number} tests: {escape(why)}</li>" for why, number in reasons.most_common()) + "</ul>")
        return out

    def page(self):
        """The page."""
        cells = {cell_name(mode, machine) for mode in MODES for machine in MACHINES}
        out = [HEAD, f"<h1>{self.totals()}</h1>"]
        if not self.finished:
            done = f"{len(self.rows)} of {len(self.chosen)}"
            out.append(f'<p class="incomplete">Incomplete: {done} suites had ended.</p>')
        out += ["<h2>Our selftests, on every machine in every mode of KVM</h2>", f"<p>{self.cells()}.</p>",
                "<table><tr><th>machine</th>", *(f"<th>{escape(mode)}</th>" for mode in MODES), "</tr>"]
        out += ["".join([f"<tr><td>{escape(machine)}</td>",
                         *(self.cell(cell_name(mode, machine)) for mode in MODES), "</tr>"]) for machine in MACHINES]
        out += ["</table>", "<p>Passed / failed / skipped. They lead to what failed, and why tests were skipped.</p>",
                "<h2>All else</h2>", "<table>"]
        out += [f"<tr><td>{escape(suite.name)}</td>{self.cell(suite.name)}</tr>" for suite in self.known
                if suite.name not in cells]
        out += ["</table>", "<h2>Suite by suite</h2>"]
        for suite in self.known:
            if suite.name in self.rows:
                out += self.section(suite)
        return "\n".join([*out, "</body></html>\n"])
