# SPDX-License-Identifier: GPL-2.0-only
"""What has to be built before a suite can run, each once in a run, by the scripts that build it."""

import threading
from functools import cache

from command import BUILD, TREE, script

# What goes without Rust, and without KUnit.
WITHOUT_KUNIT = ("CONFIG_KUNIT=n", "CONFIG_RUST_KERNEL_DOCTESTS=n", "CONFIG_KVM_REG_LIST_KUNIT_TEST=n")
WITHOUT_RUST = ("CONFIG_RUST=n", "CONFIG_RUST_KERNEL_DOCTESTS=n", "CONFIG_KVM_REG_LIST_RUST=n",
                "CONFIG_KVM_REG_LIST_KUNIT_TEST=n")

# One kernel at a time: a build takes all CPUs.
_kernels = threading.Lock()
_products = threading.RLock()


class Broken(Exception):
    """Something does not build; the script has said why."""


def _done(what, status):
    if status:
        raise Broken(f"{what} does not build: see build/log/")


@cache
def _build(name):
    if name == "unpatched":
        with _kernels:
            status, out = script("build-unpatched")
        _done("the unpatched kernel", status)
        return out.strip()
    if name != "tree":
        product("tree")
    if name == "patched":
        kernel("out", "patched")
        return str(TREE / "out")
    scripts = {"tree": ("tree",), "guest": ("build-guest",), "selftests": ("build-selftests",),
               "FP selftests": ("build-selftests", "arm64"), "library": ("build-library",)}
    _done(name, script(*scripts[name])[0])
    return None


def product(name):
    """Builds one of "tree", "guest", "patched", "unpatched", "selftests", "FP selftests", "library"."""
    with _products:
        return _build(name)


def kernel(folder, name, *lines, targets=(), **env):
    """Builds a kernel of the patched tree in a folder of it, configured by lines; the folder."""
    out = TREE / folder
    with _kernels:
        status, _ = script("build-kernel", out, name, *lines, *(("--", *targets) if targets else ()), **env)
    _done(f"the {name} kernel", status)
    return out


def groups_kernel(*groups):
    """Builds the kernel of some groups of patches/ in a tree of their own; its folder."""
    tree = BUILD / f"linux-{'+'.join(groups)}"
    _done(f"the tree of {' '.join(groups)}", script("tree", *groups, TREE=str(tree))[0])
    return kernel(tree / "out", "+".join(groups))


def groups_selftests(out):
    """Builds the kvm selftests of the tree of a kernel of some groups; their folder."""
    programs = BUILD / out.parent.name.replace("linux", "selftests")
    _done("the kvm selftests", script("build-selftests", TREE=str(out.parent), PROGRAMS=str(programs))[0])
    return programs


def image(out):
    """The Image in a build folder."""
    return str(out / "arch/arm64/boot/Image")
