# SPDX-License-Identifier: GPL-2.0-only
"""What is built once and kept, in small folders."""

import os
import shutil
import subprocess
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from command import SCRIPTS


class Checkpatch(unittest.TestCase):
    """checkpatch() of lab.sh: true if there is something to say."""

    def test_a_clean_patch_is_one_that_was_looked_at(self):
        exceptions = "# A reason.\n\nUnknown commit id\n"
        for said, exceptions, found in (
                (None, exceptions, ""),
                ("a:1: WARNING: Unknown commit id 'x'\ntotal: 1 errors", exceptions, ""),
                ("a:1: ERROR: trailing whitespace\ntotal: 1 errors", exceptions, "a:1: ERROR: trailing whitespace\n"),
                ("a:1: ERROR: trailing whitespace\ntotal: 1 errors", "", "a:1: ERROR: trailing whitespace\n"),
                ("Can't locate Foo.pm in @INC", exceptions, "checkpatch.pl does not come to its end: Can't loc"),
                ("", exceptions, "checkpatch.pl does not come to its end")):
            with self.subTest(said), tempfile.TemporaryDirectory() as tmp:
                # It says nothing of a clean one.
                script = "exit 0" if said is None else f"cat {tmp}/out\nexit 1"
                for name, text in (("patches/checkpatch-exceptions", exceptions), ("out", said or ""),
                                   ("scripts/checkpatch.pl", f"#!/bin/sh\n{script}\n")):
                    (Path(tmp) / name).parent.mkdir(exist_ok=True)
                    (Path(tmp) / name).write_text(text)
                (Path(tmp) / "scripts/checkpatch.pl").chmod(0o755)
                done = subprocess.run(["bash", "-c", f". {SCRIPTS}/lab.sh; checkpatch a", f"{tmp}/scripts/lint"],
                                      check=False, env={**os.environ, "TREE": tmp}, text=True, stdout=subprocess.PIPE)
                self.assertEqual(done.stdout[:len(found) or 1], found)
                self.assertEqual(done.returncode == 0, bool(found))


class Kernel(unittest.TestCase):
    """scripts/build-kernel, where make does nothing."""

    def setUp(self):
        tmp = tempfile.TemporaryDirectory()
        self.addCleanup(tmp.cleanup)
        self.top = Path(tmp.name)
        for name, text in (("scripts/kernel.config", ""), ("tree/arch/arm64/kvm/Kconfig", ""),
                           ("tree/out/.config", ""), ("tree/out/a.o", "object\n"),
                           ("tree/scripts/kconfig/merge_config.sh", "#!/bin/sh\n"), ("bin/make", "#!/bin/sh\n")):
            (self.top / name).parent.mkdir(parents=True, exist_ok=True)
            (self.top / name).write_text(text)
            (self.top / name).chmod(0o755)
        for name in ("build-kernel", "lab.sh"):
            shutil.copy(SCRIPTS / name, self.top / "scripts")
        for args in (["init", "-q"], ["add", "arch"],
                     ["-c", "user.name=lab", "-c", "user.email=lab@localhost", "commit", "-q", "-m", "One"]):
            subprocess.run(["git", *args], cwd=self.top / "tree", check=True)

    def build(self):
        """Builds a variant; the exit status."""
        return subprocess.run([self.top / "scripts/build-kernel", self.top / "tree/out-x", "x"], check=False,
                              env={**os.environ, "PATH": f"{self.top}/bin:{os.environ['PATH']}"},
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode

    def test_a_variant_begins_with_all_objects_or_none(self):
        cp = self.top / "bin/cp"
        cp.write_text('#!/bin/sh\nfor to; do :; done\necho half > "$to/b.o"\nexit 1\n')
        cp.chmod(0o755)
        self.assertEqual(self.build(), 1)
        self.assertFalse((self.top / "tree/out-x").exists())
        # What is left is no work of the user's.
        said = subprocess.run(["git", "status", "--porcelain", "out-x.part"], cwd=self.top / "tree", check=True,
                              stdout=subprocess.PIPE, text=True).stdout
        self.assertEqual(said, "")
        cp.unlink()
        self.assertEqual(self.build(), 0)
        self.assertEqual((self.top / "tree/out-x/a.o").read_text(), "object\n")
        self.assertFalse((self.top / "tree/out-x/b.o").exists())

    def test_two_do_not_build_the_same_kernel_at_a_time(self):
        make = self.top / "bin/make"
        make.write_text(f"#!/bin/sh\nmkdir {self.top}/one || exit 1\nsleep 0.2\nrmdir {self.top}/one\n")
        with ThreadPoolExecutor(2) as pool:
            self.assertEqual(list(pool.map(lambda _: self.build(), range(2))), [0, 0])


class Once(unittest.TestCase):
    """once() of lab.sh."""

    def setUp(self):
        tmp = tempfile.TemporaryDirectory()
        self.addCleanup(tmp.cleanup)
        self.top = Path(tmp.name)
        (self.top / "kvm-reg-list").mkdir()
        self.source = self.top / "source"
        self.source.mkdir()
        (self.source / "a").write_text("one\n")
        for args in (["init", "-q"], ["add", "a"],
                     ["-c", "user.name=lab", "-c", "user.email=lab@localhost", "commit", "-q", "-m", "One"]):
            subprocess.run(["git", *args], cwd=self.source, check=True)

    def once(self, command="mkdir -p out; cat source/a > out/a"):
        """What out/a has when it is made from source/a; None if that fails."""
        done = subprocess.run(["bash", "-c", f". {SCRIPTS}/lab.sh; make_it() {{ {command}; }}\n"
                               f"once out {self.source} a logged log 'making it' make_it", SCRIPTS / "boot"],
                              cwd=self.top, check=False, env={**os.environ, "XDG_CACHE_HOME": str(self.top)},
                              stderr=subprocess.DEVNULL)
        return None if done.returncode else (self.top / "out/a").read_text()

    def test_it_is_made_once(self):
        self.assertEqual(self.once(), "one\n")
        self.assertEqual(self.once("false"), "one\n")
        (self.source / "a").write_text("two\n")
        self.assertEqual(self.once(), "two\n")

    def test_where_git_fails_it_is_made_anew(self):
        (self.source / ".git/HEAD").write_text("nothing\n")
        self.assertEqual(self.once(), "one\n")
        (self.source / "a").write_text("two\n")
        self.assertEqual(self.once(), "two\n")

    def test_what_fails_is_not_kept(self):
        self.assertIsNone(self.once("mkdir -p out; false; true"))
        self.assertEqual(self.once(), "one\n")

    def test_the_library_is_not_built_where_cargo_fails(self):
        """The function of scripts/build-library, with a cargo that fails where its output is read."""
        text = (SCRIPTS / "build-library").read_text()
        function = text[text.index("executables()"):text.index("\nmkdir -p")]
        (self.top / "bin").mkdir()
        for name, body in (("cargo", 'case "$*" in *no-run*) exit 1 ;; esac'), ("cp", ""), ("mv", ""),
                           ("aarch64-linux-gnu-gcc", "")):
            (self.top / "bin" / name).write_text(f"#!/bin/sh\n{body}\n")
            (self.top / "bin" / name).chmod(0o755)
        (self.top / "linux-vmm").mkdir()
        begin = f"set -eu; crate={self.top} programs=p target=t out=o"
        done = subprocess.run(["bash", "-c", f"{begin}\n{function}\nlibrary"], check=False,
                              env={**os.environ, "PATH": f"{self.top}/bin:{os.environ['PATH']}"},
                              stderr=subprocess.DEVNULL)
        self.assertEqual(done.returncode, 1)
