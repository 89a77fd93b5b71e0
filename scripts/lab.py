# SPDX-License-Identifier: GPL-2.0-only
"""What the Python scripts share: where things are, booting, and reading test output."""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
BUILD = TOP / "build"
TREE = BUILD / "linux"
RESULTS = BUILD / "results"


# No script of a test run takes longer, in seconds; boots have a TIMEOUT of their own.
LIMIT = 3600


def say(text):
    print(text, flush=True)


def run(args, **options):
    """Runs a command: (exit status, output, error output if it was asked for); 124 for no end."""
    env = {**os.environ, **options.pop("env", {})}
    try:
        done = subprocess.run([str(a) for a in args], env=env, stdout=subprocess.PIPE, text=True,
                              errors="replace", check=False, timeout=LIMIT, **options)
    except subprocess.TimeoutExpired:
        return 124, "", ""
    return done.returncode, done.stdout, done.stderr


def script(name, *args, **env):
    """Runs a script of this folder; its exit status and output."""
    return run([TOP / "scripts" / name, *args], env=env)[:2]


def boot_script(body, files=None, **env):
    """Boots and runs a shell script, with files ({name: path}) in /test; exit status and output."""
    with tempfile.TemporaryDirectory() as tmp:
        job = Path(tmp) / "job"
        job.write_text("#!/bin/sh\n" + body)
        where = Path(tmp) / "root" / "test"
        where.mkdir(parents=True)
        for name, path in (files or {}).items():
            os.link(path, where / name) if os.stat(path).st_dev == os.stat(tmp).st_dev else \
                (where / name).write_bytes(Path(path).read_bytes())
            (where / name).chmod(0o755)
        return script("boot", job, BOOT_DIR=str(where.parent), **env)


def ktap(text):
    """The leaf results of KTAP text: [(name, "passed" | "failed" | "skipped")]."""
    found = []
    for line in text.splitlines():
        m = re.match(r"\s*(not )?ok \d+\s*-?\s*([^#]*?)\s*(#\s*SKIP.*)?(#.*)?$", line, re.I)
        if m:
            found.append((m[2].strip(), "skipped" if m[3] else "failed" if m[1] else "passed"))
    return found


def verdict(good):
    return "passed" if good else "failed"


def save(name, data):
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / name
    path.write_text(json.dumps(data, indent=1) + "\n")
    return path


def die(text):
    print(f"{Path(sys.argv[0]).name}: {text}", file=sys.stderr)
    sys.exit(1)
