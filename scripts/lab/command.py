# SPDX-License-Identifier: GPL-2.0-only
"""Where things are, and running the commands of the lab."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
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

# How long a command that is ended may take to end what it has started itself, in seconds.
GRACE = 5

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
    with _lock:
        started = subprocess.Popen([str(a) for a in args], env=env, stdout=subprocess.PIPE, text=True,
                                   errors="replace", start_new_session=True, **options)
        _running.add(started)
    with started as child:
        try:
            out, err = child.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            _end([child])
            return 124, "", ""
        except KeyboardInterrupt:
            _end([child])
            raise
        finally:
            with _lock:
                _running.discard(child)
    return child.returncode, out, err


def _end(children, grace=GRACE):
    """Ends commands with what they have started. Those in Python have sessions in theirs: see end_by_signals()."""
    until = time.monotonic() + grace
    for number in (signal.SIGTERM, signal.SIGKILL):
        for child in children:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, number)
        while any(child.poll() is None for child in children) and time.monotonic() < until:
            time.sleep(0.05)


def stop_all(grace=GRACE):
    """Ends every command that still runs, for good: the lock is kept, nothing starts any more, and the caller exits."""
    _lock.acquire()
    _end(list(_running), grace)


def end_by_signals():
    """For a program that runs commands in threads, which would go on with the next one: a signal ends it and all that
    it runs, and at once, as whoever ends it waits no longer than it does."""
    def stop(number):
        stop_all(0)
        os._exit(128 + number)

    # A thread, as the signal can come while this one starts a command, which nobody knows of yet: that ends first.
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, lambda number, _: threading.Thread(target=stop, args=[number]).start())


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
