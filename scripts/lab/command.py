# SPDX-License-Identifier: GPL-2.0-only
"""Where things are, and running the commands of the lab."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
SCRIPTS = TOP / "scripts"
BUILD = TOP / "build"
TREE = Path(os.environ.get("TREE", BUILD / "linux"))
LOGS = BUILD / "log"
# What a tree of some groups gives is kept apart: build/linux-GROUPS, build/results-GROUPS.
RESULTS = BUILD / TREE.name.replace("linux", "results", 1)

# No command of a test run takes longer, in seconds; boots have a TIMEOUT of their own.
LIMIT = 3 * 3600

_running = set()
_lock = threading.Lock()


def say(text):
    print(text, flush=True)


def die(text):
    print(f"{Path(sys.argv[0]).name}: {text}", file=sys.stderr)
    sys.exit(1)


def run(args, **options):
    """Runs a command: (exit status, output, error output if it was asked for); 124 for no end."""
    env = {**os.environ, **options.pop("env", {})}
    # In a session of its own, so that stop_all() reaches what it has started as well.
    with subprocess.Popen([str(a) for a in args], env=env, stdout=subprocess.PIPE, text=True, errors="replace",
                          start_new_session=True, **options) as child:
        with _lock:
            _running.add(child)
        try:
            out, err = child.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            _kill(child)
            return 124, "", ""
        except KeyboardInterrupt:
            _kill(child)
            raise
        finally:
            with _lock:
                _running.discard(child)
    return child.returncode, out, err


def _kill(child):
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def stop_all():
    """Ends every command that still runs."""
    with _lock:
        for child in _running:
            _kill(child)


def script(name, *args, **env):
    """Runs a script of scripts/; its exit status and output."""
    return run([SCRIPTS / name, *args], env=env)[:2]


def log(name, text):
    """Writes a log of the run; its path."""
    LOGS.mkdir(parents=True, exist_ok=True)
    path = LOGS / f"{name}.log"
    path.write_text(text)
    return path


def save(name, data):
    """Writes a result as JSON; its path."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / name
    path.write_text(json.dumps(data, indent=1) + "\n")
    return path
