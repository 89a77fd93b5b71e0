# SPDX-License-Identifier: GPL-2.0-only
"""The commands of the front door: what they show, what a mistake in one gives, and the long ones."""

import re
import shutil
import subprocess
import tempfile
import threading
from functools import partial
from pathlib import Path

import readme
from command import BUILD, RESULTS, SCRIPTS, TOP, run, script
from ktap import FAILED, PASSED, Result, verdict
from suite import Suite

_bench, _benched = threading.Lock(), []

git = partial(subprocess.run, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def in_folder(tests):
    """The tests, with a folder of their own."""
    def inside():
        with tempfile.TemporaryDirectory(dir=BUILD) as tmp:
            return tests(Path(tmp))
    return inside


def command(args, **env):
    """A command as a user gives it: (exit status, output, error output)."""
    return run(args, env=env, stderr=subprocess.PIPE)


def demo(tmp):
    """What "make" shows, the picture in Documentation/ of the lists that it got, and README's figures."""
    picture = "Documentation/virt/kvm/arm/reg-list-order.svg"
    status, out = script("lab/demo.py")
    drawn, _ = script("lab/picture.py", tmp / "picture.svg")
    same = not drawn and (tmp / "picture.svg").read_bytes() == (TOP / picture).read_bytes()
    return [verdict("no error and nothing lost in list order, and some in the other", not status, out[-3000:]),
            verdict(f"{picture} is what scripts/lab/picture.py makes of it", same, "run scripts/lab/picture.py"),
            *(verdict(f"README shows {what}", good, "make readme") for what, good in readme.compare())]


def cross_compile(out, *flags):
    """A program that is no part of the project: prints a line, exits with 7."""
    source = out.with_suffix(".c")
    source.write_text('#include <stdio.h>\nint main(int c, char **v)\n'
                      '{ printf("hello, %s\\n", c > 1 ? v[1] : "nobody"); return 7; }\n')
    subprocess.run(["aarch64-linux-gnu-gcc", *flags, "-o", out, source], check=True)
    return out


def boot_tests(tmp):
    """make boot: output and exit status of a foreign program; a crash and a hang are errors."""
    hello = cross_compile(tmp / "hello", "-static")
    rows = []
    for kvm in ("vhe", "nvhe", "protected", "nested"):
        status, out, err = command([SCRIPTS / "boot", hello, "you"], KVM=kvm)
        rows.append(verdict(f"a foreign program, {kvm}", status == 7 and "hello, you" in out, f"{status}\n{out}{err}"))
    for what, body, timeout, wanted in (
            ("a shell script", "exit 9", "300", (9, "")),
            ("a kernel panic", "echo c > /proc/sysrq-trigger", "300", (125, "the whole console is in")),
            # As warn() in kernel/panic.c and print_circular_bug() in kernel/locking/lockdep.c say it.
            ("a warning", "echo WARNING: arch/arm64/kvm/arm.c:1 at f+0x10/0x20, CPU#0: job/1 > /dev/kmsg", "300",
             (125, "WARNING: arch/arm64/kvm/arm.c:1 at f")),
            ("a report of lockdep", "echo WARNING: possible circular locking dependency detected > /dev/kmsg", "300",
             (125, "possible circular locking")),
            ("a hang", "sleep 1000", "20", (124, "no answer in 20 s"))):
        job = tmp / "job"
        job.write_text(f"#!/bin/sh\n{body}\n")
        status, _, err = command([SCRIPTS / "boot", job], TIMEOUT=timeout)
        rows.append(verdict(what, status == wanted[0] and wanted[1] in err, f"{status}\n{err}"))
    # As a user gives it: through make and the toolbox.
    (tmp / "extra").mkdir()
    (tmp / "extra" / "note").write_text("brought along\n")
    (tmp / "job").write_text("#!/bin/sh\ncat /note\n")
    status, out, err = command(["make", "-s", "-C", TOP, "boot", f"RUN={tmp / 'job'}", f"BOOT_DIR={tmp / 'extra'}"])
    rows.append(verdict("files of BOOT_DIR are there", not status and "brought along" in out, out + err))
    return rows


def kernel_clone(where):
    """A clone of the unpatched tree, with the folders that the series touches."""
    source = script("source")[1].strip()
    git(["git", "clone", "-q", "--shared", "--no-checkout", source, where])
    git(["git", "-C", where, "sparse-checkout", "set", "--cone", "arch/arm64", "rust", "include/kvm", "include/uapi",
         "Documentation/virt", "tools/testing/selftests/kvm", "tools/testing/selftests/arm64"])
    git(["git", "-C", where, "checkout", "-q", "--detach", "unpatched"])
    for name in ("name", "email"):
        git(["git", "-C", where, "config", f"user.{name}", "check@localhost"])
    # What git does in the background would be in the way of removing the clone.
    git(["git", "-C", where, "config", "maintenance.auto", "false"])
    return where


def apply_tests(tmp):
    """make apply: a fresh clone, a dirty one, and one in which a hunk is rejected."""
    clone = kernel_clone(tmp / "linux")
    guest = clone / "arch/arm64/kvm/guest.c"
    text = guest.read_text()
    here = partial(git, cwd=clone)
    head = partial(here, ["git", "rev-parse", "HEAD"])
    start = head().stdout
    apply = [SCRIPTS / "apply", clone]

    guest.write_text(text + "\n")
    status, _, err = command(apply)
    rows = [verdict("a dirty tree is left alone",
                    status == 1 and "uncommitted changes" in err and guest.read_text() == text + "\n", err)]

    guest.write_text(text.replace("copy_core_reg_indices", "other_name"))
    here(["git", "commit", "-qam", "Rename"])
    renamed = head().stdout
    status, _, err = command(apply)
    rows.append(verdict("a patch that does not apply is named, with its hunk, and nothing is changed",
                        status == 1 and re.search(r"^patches/\S+\.patch does not apply", err, re.M)
                        and "guest.c.rej" in err and re.search(r"^@@ -", err, re.M) and head().stdout == renamed
                        and not here(["git", "status", "--porcelain"]).stdout, err))

    here(["git", "reset", "-q", "--hard", start.strip()])
    status, _, err = command(apply)
    count = len([p for p in (TOP / "patches/series").read_text().splitlines() if not p.startswith("#")])
    commits = here(["git", "rev-list", "--count", "unpatched..HEAD"]).stdout.strip()
    rows.append(verdict("a fresh clone gets a commit a patch", status == 0 and commits == str(count), err))

    # The other way, in a copy of the project.
    folders = ("patches", "scripts", "rust", "arch-arm64-kvm", "Documentation", "tools-testing-selftests")
    project = tmp / "project"
    for folder in folders:
        shutil.copytree(TOP / folder, project / folder)
    (project / "build").mkdir()
    (clone / ".git/series-id").touch()
    status, _, err = command([project / "scripts/refresh"], TREE=str(clone))
    for folder in folders:
        _, out, _ = command(["git", "diff", "--no-index", "--stat", TOP / folder, project / folder])
        rows.append(verdict(f"refresh after apply changes nothing in {folder}/", not status and not out, err + out))
    return rows


def bad_input(tmp):
    """What a mistake in a command gives: one line, and the right one."""
    hello = cross_compile(tmp / "hello", "-static")
    dynamic = cross_compile(tmp / "dynamic")
    short = tmp / "short.tar.xz"
    with open("/usr/src/linux-source-7.3.tar.xz", "rb") as whole:
        short.write_bytes(whole.read(1 << 20))
    boot, cache, check = SCRIPTS / "boot", {"XDG_CACHE_HOME": str(tmp / "cache")}, SCRIPTS / "lab/check.py"
    rows = []
    for what, args, env, wanted in (
            ("unknown CPU", [boot, hello], {"CPU": "z80"}, "CPU=z80 is not one of"),
            ("unknown KVM", [boot, hello], {"KVM": "turbo"}, "KVM=turbo is not one of"),
            ("no program", [boot], {}, "say what to run"),
            ("missing program", [boot, "/nowhere"], {}, "there is no file /nowhere"),
            ("a program for x86", [boot, "/usr/bin/bc"], {}, "is not for arm64"),
            ("a dynamic program", [boot, dynamic], {}, "is dynamically linked: build it with -static"),
            ("neither program nor script", [boot, TOP / "README.md"], {}, "is not a program"),
            ("missing Image", [boot, hello], {"IMAGE": "/nowhere"}, "there is no kernel Image at /nowhere"),
            ("apply: no kernel tree", [SCRIPTS / "apply", tmp], {}, "is no kernel tree"),
            ("modules: no build", [SCRIPTS / "build-module", tmp], {}, "is no kernel build folder"),
            ("fuzz: no number", [SCRIPTS / "fuzz", "many"], {}, "many is not a number of executions"),
            ("check: no such suite", [check, "--only", "kunitt"], {}, "no suite is called \"kunitt\"; near it: KUnit"),
            ("check: no such program", [check, "--only", "vhe default", "--test", "true"], {},
             "none of these suites runs"),
            ("no source archive", [SCRIPTS / "source"], {**cache, "KERNEL_SOURCE": "/nowhere"},
             "no kernel source at /nowhere"),
            ("a cut-off source archive", [SCRIPTS / "source"], {**cache, "KERNEL_SOURCE": str(short)},
             "is cut off or damaged")):
        status, _, err = command(args, **env)
        rows.append(verdict(what, status == 1 and wanted in err and "Traceback" not in err, f"{status}\n{err}"))
    rows.append(verdict("nothing half-unpacked is left", not list((tmp / "cache").glob("*/linux-*[0-9]"))))
    return rows


def lint():
    """Style of sources, scripts and patches, each tool a test."""
    status, out = script("lint")
    rows = [Result(m[2], FAILED if m[1] else PASSED, m[3] or "")
            for m in re.finditer(r"^(not )?ok (\S+)(?: # (.*))?", out, re.M)]
    # Its status is 1 for a tool that complains: without one it has broken off.
    return rows + [verdict("every tool ran", rows and bool(status) == any(row.verdict == FAILED for row in rows),
                           f"exit status {status}\n{out[-2000:]}")]


def succeeds(name, what, *args):
    """A long command that judges itself; its last line is kept."""
    status, out = script(name, *args)
    last = (out.strip().splitlines() or ["it printed nothing"])[-1]
    return [verdict(f"{what}: {last}" if not status else what, not status, out[-3000:])]


def bench():
    """What the series costs. Once, whoever asks first."""
    with _bench:
        if not _benched:
            _benched.extend(succeeds("lab/bench.py", "no limit is passed"))
        return _benched


def series():
    """The mails, one of which has the figures of the bench, as "make series" has it."""
    bench()
    return succeeds("series", "the mails for upstream")


def semver():
    """The API of the library against that of the commit which set its version."""
    status, out, _ = run(["make", "-C", TOP / "arm64-vl", "semver"], stderr=subprocess.STDOUT,
                         env={"CARGO_TARGET_DIR": str(BUILD / "library")})
    return [verdict("cargo-semver-checks finds no break", not status, out[-3000:])]


def mutants():
    """Every mutant is seen by a test in C and by one in Rust."""
    (RESULTS / "mutants.json").unlink(missing_ok=True)
    return succeeds("lab/mutants.py", "every mutant is seen, in C and in Rust")


SUITES = (
    Suite("bad input", in_folder(bad_input), ("guest",)),
    Suite("what make shows, and README", in_folder(demo), ("guest", "patched")),
    Suite("make boot", in_folder(boot_tests), ("guest", "patched")),
    Suite("make apply and refresh", in_folder(apply_tests), ("tree",)),
    Suite("lint", lint, ("guest", "patched", "selftests")),
    Suite("make bench", bench, ("guest", "patched", "unpatched"), long=True),
    Suite("make series", series, ("guest", "patched", "unpatched"), long=True),
    Suite("make mutants", mutants, ("guest", "patched", "selftests"), long=True),
    Suite("make depgraph", partial(succeeds, "lab/depgraph.py", "the whole dependency experiment"),
          ("guest", "patched", "selftests"), long=True),
    Suite("make fuzz-kvm", partial(succeeds, "fuzz-kvm", "a million calls to vCPUs"), ("guest", "patched", "selftests"),
          long=True),
    Suite("make semver", semver, (), long=True),
)
