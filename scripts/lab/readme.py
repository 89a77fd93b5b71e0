#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""README shows what the commands print: each block of figures in it is made from what a run has left.

A block is the text between "<!-- FILE -->" and "<!-- end -->", where FILE is one of build/results/.

usage: scripts/lab/readme.py      puts what the last runs printed into README.md ("make readme")
"""

import re

from command import RESULTS, TOP, die, say

README = TOP / "README.md"
# What "make" shows. A block may be elsewhere in README, but not be gone.
BLOCKS = ("promise.txt", "lists.txt", "restores.txt")
_BLOCK = re.compile(r"(<!-- (\w[\w.-]*) -->\n\n)(.*?)(\n\n?<!-- end -->)", re.S)


def shown(text):
    """How a README shows what a command printed: indented, without spaces at the ends of lines."""
    return "\n".join(f"    {line}".rstrip() for line in text.strip("\n").splitlines())


def compare(readme=None, folder=RESULTS):
    """[(FILE, whether README has what is in it)] of every block, those of "make" above all, whose command has
    run."""
    blocks = {name: block for _, name, block, _ in
              _BLOCK.findall(README.read_text() if readme is None else readme)}
    return [(name, name in blocks and blocks[name].rstrip() == shown((folder / name).read_text()).rstrip())
            for name in dict.fromkeys((*BLOCKS, *blocks)) if (folder / name).exists()]


def filled(readme, folder=RESULTS):
    """The text of README with each block as its command has printed it."""
    def block(match):
        path = folder / match[2]
        return match[1] + (shown(path.read_text()) if path.exists() else match[3]) + match[4]
    return _BLOCK.sub(block, readme)


def main():
    text = README.read_text()
    if not any((RESULTS / name).exists() for _, name, _, _ in _BLOCK.findall(text)):
        die("nothing has run yet: 'make' first")
    README.write_text(filled(text))
    say("README.md shows what the last runs printed")


if __name__ == "__main__":
    main()
