# SPDX-License-Identifier: GPL-2.0-only
"""apply and refresh, each the other's inverse, on a small repository."""

import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from command import SCRIPTS

GUEST = "".join(f"line {n}\n" for n in range(40))
IDENTITY = {f"GIT_{who}_{what}": "lab@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


class RoundTrip(unittest.TestCase):
    """A project with scripts of its own, and a kernel of two files."""

    def setUp(self):
        tmp = tempfile.TemporaryDirectory()
        self.addCleanup(tmp.cleanup)
        self.top = Path(tmp.name)
        (self.top / "scripts").mkdir()
        for name in ("apply", "refresh", "lab.sh"):
            shutil.copy(SCRIPTS / name, self.top / "scripts")
        for name in ("patches", "build"):
            (self.top / name).mkdir()
        (self.top / "patches/series").write_text("# the series\n")
        self.tree = self.kernel("tree")
        (self.tree / ".git/series-id").touch()

    def kernel(self, name):
        """A kernel tree at the tag "unpatched"."""
        tree = self.top / name
        self.write(tree, "arch/arm64/kvm/guest.c", GUEST)
        self.git(tree, "init", "-q", "-b", "main")
        self.commit(tree, "Linux")
        self.git(tree, "tag", "unpatched")
        return tree

    def write(self, tree, name, text):
        """A file of a tree."""
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)

    def git(self, tree, *args):
        """What git prints."""
        return subprocess.run(["git", *args], cwd=tree, env={**os.environ, **IDENTITY}, check=True, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE).stdout

    def commit(self, tree, subject):
        """All that is there as a commit."""
        self.git(tree, "add", "-A", ".")
        self.git(tree, "commit", "-q", "-m", f"{subject}\n\nBecause.")

    def script(self, name, *args):
        """A script of the small project: (exit status, what it said)."""
        done = subprocess.run([self.top / "scripts" / name, *args], check=False, text=True, stderr=subprocess.PIPE,
                              env={**os.environ, **IDENTITY, "TREE": str(self.tree)})
        return done.returncode, done.stderr

    def work(self):
        """Three commits: a change, a new file with a change, and a change again."""
        self.write(self.tree, "arch/arm64/kvm/guest.c", GUEST.replace("line 3\n", "line three\n"))
        self.commit(self.tree, "KVM: Count right")
        self.write(self.tree, "arch/arm64/kvm/reg_list.h", "new\n")
        self.write(self.tree, "arch/arm64/kvm/guest.c", GUEST.replace("line 3\n", "line three\n#include\n"))
        self.commit(self.tree, "KVM: Add a file")
        self.write(self.tree, "arch/arm64/kvm/guest.c", GUEST.replace("line 3\n", "line three\n#include\n") + "end\n")
        self.commit(self.tree, "KVM: Use it")

    def later(self):
        """A commit of another group that changes the file which an earlier one has added."""
        self.write(self.tree, "arch/arm64/kvm/reg_list.h", "old\nnew\nlater\n")
        self.commit(self.tree, "KVM: Change the new file")

    def files(self):
        """{path: text} of what is in the project."""
        return {str(path.relative_to(self.top)): path.read_text() for folder in ("patches", "arch-arm64-kvm")
                for path in sorted((self.top / folder).rglob("*")) if path.is_file()}

    def test_back_and_forth(self):
        self.work()
        self.assertEqual(self.script("refresh")[0], 0)
        files = self.files()
        self.assertEqual(files["arch-arm64-kvm/reg_list.h"], "new\n")
        self.assertEqual(len([name for name in files if name.endswith(".patch")]), 3)
        self.assertFalse([name for name, text in files.items() if "+new" in text])

        other = self.kernel("other")
        self.assertEqual(self.script("apply", other)[0], 0)
        for head in ("HEAD", "HEAD~1", "HEAD~2"):
            self.assertEqual(self.git(other, "rev-parse", f"{head}^{{tree}}"),
                             self.git(self.tree, "rev-parse", f"{head}^{{tree}}"))

        self.tree = other
        (other / ".git/series-id").touch()
        self.assertEqual(self.script("refresh")[0], 0)
        self.assertEqual(self.files(), files)

    def test_a_later_patch_changes_a_new_file(self):
        self.work()
        self.script("refresh")
        self.later()
        self.assertEqual(self.script("refresh")[0], 0)
        files = self.files()
        self.assertEqual(files["arch-arm64-kvm/reg_list.h"], "old\nnew\nlater\n")
        last = [text for name, text in files.items() if "Change-the-new-file" in name][0]
        self.assertIn("+later", last)
        other = self.kernel("other")
        self.assertEqual(self.script("apply", other), (0, "4 patches on " + str(other) + "\n"))
        self.assertEqual(self.git(other, "show", "HEAD~2:arch/arm64/kvm/reg_list.h"), "new\n")
        self.assertEqual(self.git(other, "show", "HEAD:arch/arm64/kvm/reg_list.h"), "old\nnew\nlater\n")

    def test_what_the_series_no_longer_adds_goes(self):
        self.work()
        self.script("refresh")
        self.write(self.top, "arch-arm64-kvm/mine", "not of the series\n")
        self.git(self.tree, "reset", "-q", "--hard", "HEAD~2")
        self.assertEqual(self.script("refresh")[0], 0)
        self.assertEqual({name for name in self.files() if name.startswith("arch")}, {"arch-arm64-kvm/mine"})

    def test_groups(self):
        self.work()
        self.script("refresh")
        self.later()
        self.script("refresh")
        # The last patch becomes a group of its own.
        first, *_, last = [line for line in (self.top / "patches/series").read_text().splitlines() if "/" in line]
        group = first.partition("/")[0]
        (self.top / "patches/more").mkdir()
        (self.top / "patches" / last).rename(self.top / "patches" / last.replace(group, "more", 1))
        series = self.top / "patches/series"
        series.write_text(series.read_text().replace(last, last.replace(group, "more", 1)))
        other = self.kernel("other")
        self.assertEqual(self.script("apply", other, group)[0], 0)
        self.assertEqual(self.git(other, "show", "HEAD:arch/arm64/kvm/reg_list.h"), "new\n")
        status, said = self.script("apply", other, "fixs")
        self.assertEqual((status, said), (1, f"apply: fixs is not one of the groups: {group} more\n"))

    def test_a_tree_of_some_groups_is_not_taken_for_the_whole(self):
        self.work()
        (self.tree / ".git/series-groups").write_text("prep\n")
        status, said = self.script("refresh")
        self.assertEqual(status, 1)
        self.assertIn("has only the groups prep", said)
        self.assertEqual(self.files(), {"patches/series": "# the series\n"})

    def test_uncommitted_work_stops_refresh(self):
        self.work()
        self.write(self.tree, "arch/arm64/kvm/guest.c", "mine\n")
        status, said = self.script("refresh")
        self.assertEqual(status, 1)
        self.assertIn("has uncommitted changes", said)
        self.assertEqual(self.files(), {"patches/series": "# the series\n"})

    def test_a_patch_that_does_not_apply_changes_nothing(self):
        self.work()
        self.script("refresh")
        other = self.kernel("other")
        self.write(other, "arch/arm64/kvm/guest.c", GUEST.replace("line 3\n", "line iii\n"))
        self.commit(other, "Otherwise")
        head = self.git(other, "rev-parse", "HEAD")
        status, said = self.script("apply", other)
        self.assertEqual(status, 1)
        self.assertIn("0001-KVM-Count-right.patch does not apply", said)
        self.assertIn("\narch/arm64/kvm/guest.c.rej:\n", said)
        self.assertIn("nothing was changed", said)
        self.assertEqual(self.git(other, "rev-parse", "HEAD"), head)
        self.assertEqual(self.git(other, "status", "--porcelain"), "")

    def test_a_rejected_hunk_in_the_root_beside_what_the_user_has(self):
        for tree in (self.tree, other := self.kernel("other")):
            self.write(tree, "MAINTAINERS", GUEST)
            self.commit(tree, "Maintainers")
        self.git(self.tree, "tag", "-f", "unpatched")
        self.write(self.tree, "MAINTAINERS", GUEST.replace("line 3\n", "line three\n"))
        self.commit(self.tree, "MAINTAINERS: Add")
        self.script("refresh")
        self.write(other, "MAINTAINERS", GUEST.replace("line 3\n", "line iii\n"))
        self.commit(other, "Otherwise")
        for name in ("MAINTAINERS.rej", "arch/mine.rej"):
            self.write(other, name, "mine\n")
        status, said = self.script("apply", other)
        self.assertEqual(status, 1)
        self.assertIn("\nMAINTAINERS.rej:\n", said)
        self.assertIn("+line three", said)
        self.assertNotIn("mine", said)
        self.assertEqual(self.git(other, "status", "--porcelain"), "?? MAINTAINERS.rej\n?? arch/mine.rej\n")

    def test_a_file_of_the_user_s_is_in_the_way(self):
        self.work()
        self.script("refresh")
        other = self.kernel("other")
        head = self.git(other, "rev-parse", "HEAD")
        self.write(other, "arch/arm64/kvm/reg_list.h", "mine\n")
        status, said = self.script("apply", other)
        self.assertEqual((status, said.count("\n")), (1, 1))
        self.assertIn("reg_list.h is there, and git does not know it", said)
        self.assertEqual(self.git(other, "rev-parse", "HEAD"), head)
        self.assertEqual((other / "arch/arm64/kvm/reg_list.h").read_text(), "mine\n")

    def test_hooks_are_not_asked(self):
        self.work()
        self.script("refresh")
        other = self.kernel("other")
        for name in ("pre-commit", "commit-msg", "applypatch-msg", "pre-applypatch"):
            self.write(other, f".git/hooks/{name}", "#!/bin/sh\nexit 1\n")
            (other / ".git/hooks" / name).chmod(0o755)
        self.assertEqual(self.script("apply", other)[0], 0)

    def test_a_commit_that_fails_changes_nothing(self):
        self.work()
        self.script("refresh")
        other = self.kernel("other")
        head = self.git(other, "rev-parse", "HEAD")
        # A key that is gone when the second patch is to get its new file.
        gpg = self.top / "gpg"
        gpg.write_text('#!/bin/sh\ncat > /dev/null; echo >> "$0.calls"; [ "$(wc -l < "$0.calls")" -lt 3 ] || exit 1\n'
                       'printf "\\n[GNUPG:] SIG_CREATED \\n" >&2; echo signature\n')
        gpg.chmod(0o755)
        self.git(other, "config", "commit.gpgsign", "true")
        self.git(other, "config", "gpg.program", str(gpg))
        status, said = self.script("apply", other)
        self.assertNotEqual(status, 0)
        self.assertEqual(gpg.with_suffix(".calls").read_text(), "\n\n\n")
        self.assertIn("nothing was changed", said)
        self.assertEqual(self.git(other, "rev-parse", "HEAD"), head)
        self.assertEqual(self.git(other, "status", "--porcelain"), "")

    def test_a_git_am_of_the_user_s_goes_on(self):
        (self.tree / ".git/rebase-apply").mkdir()
        status, said = self.script("apply", self.tree)
        self.assertEqual(status, 1)
        self.assertIn("in the middle of a 'git am'", said)
        self.assertTrue((self.tree / ".git/rebase-apply").exists())
