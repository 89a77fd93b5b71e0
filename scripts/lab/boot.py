# SPDX-License-Identifier: GPL-2.0-only
"""Boots a kernel and runs a job in it; the job's steps, each with its output and exit status.

A job is a shell script. What it runs as "step NAME COMMAND" (scripts/guest/step) is found again by name;
that is the only protocol between the guest and the lab.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from command import SCRIPTS, die, run as run_command, script
from ktap import verdict

_STEP = re.compile(r"^@@begin (.+)\n((?:.*\n)*?)\n?@@end \1 (\d+)$", re.M)


class Step(NamedTuple):
    """What a step printed, and its exit status: None if it has not ended."""

    status: int | None
    output: str


class Job(NamedTuple):
    """What a boot gave. status: that of the job, or 124 for no end, 125 for a crash or a warning of the kernel.
    said: what scripts/boot says of these, with the path of the log."""

    status: int
    output: str
    said: str = ""

    def calm(self):
        """That the kernel has neither crashed nor warned, whatever the steps say."""
        return verdict("the kernel has no complaint", self.status != 125, self.said)

    def steps(self):
        """{name: Step} of all that have ended."""
        return {name: Step(int(status), output) for name, output, status in _STEP.findall(self.output)}

    def step(self, name):
        """A step by its name; one that has not ended has what came after its begin."""
        return self.steps().get(name) or Step(None, self.output.partition(f"@@begin {name}\n")[2])


@contextmanager
def _laid(body, files):
    """A shell script as a file, and a folder with files ({name: path}) in test/."""
    with tempfile.TemporaryDirectory() as tmp:
        job = Path(tmp) / "job"
        job.write_text("#!/bin/sh\n" + body)
        where = Path(tmp) / "root" / "test"
        where.mkdir(parents=True)
        for name, path in (files or {}).items():
            try:
                os.link(path, where / name)
            except OSError:  # in another file system, or another mount of this one
                shutil.copyfile(path, where / name)
            (where / name).chmod(0o755)
        yield job, str(where.parent)


def run(body, files=None, **env):
    """Boots and runs a shell script, with files ({name: path}) in /test. The environment is scripts/boot's."""
    with _laid(body, files) as (job, root):
        found = Job(*run_command([SCRIPTS / "boot", job], env={"BOOT_DIR": root, **env}, stderr=subprocess.PIPE))
    print(found.said, end="", file=sys.stderr, flush=True)
    return found


def initramfs(out, body, files=None):
    """Makes the root file system of which a guest runs a shell script, as run() does in a boot; its path."""
    with _laid(body, files) as (job, root):
        if script("initramfs", out, job, BOOT_DIR=root)[0]:
            die(f"{out} cannot be made")
    return out
