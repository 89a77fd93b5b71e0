# SPDX-License-Identifier: GPL-2.0-only
"""The VMM in arm64-vl/linux-vmm itself: that it is short enough to be read, and what it refuses."""

import re

import boot
from command import TOP, log, run
from guest import IMAGE, VMM
from ktap import verdict
from suite import Suite

CRATE = TOP / "arm64-vl/linux-vmm"
# Fewer lines than this.
LINES = 800

# What it is told and says. The guest in the files is one that has just begun; each file has one thing wrong.
HOST = """
cd /tmp
/test/linux-vmm start /test/Image --memory 128 --sve 0 --sme 0 --every 200 --file whole
echo "saved: $?"
head() { busybox head "$@"; }
{ head -n 1 whole | sed 's/"cpus":1/"cpus":2/'; busybox tail -n +2 whole; } > fewer
head -c 1000000 whole > cut
{ head -n 1 whole | sed 's/"mp_state":0/"mp_state":77/'; busybox tail -n +2 whole; } > state
"""
REFUSED = {
    "start /test/Image --cpus 0": "--cpus 0?",
    "start /test/Image --pauth maybe": "--pauth maybe?",
    "start /test/Image --times": "usage:",
    "stop /test/Image": "usage:",
    "resume whole --memory 128": "usage:",
    "resume whole --order unknown": "--order unknown?",
    "resume fewer": "not all vCPUs",
    "resume cut": "",
    "resume state": "",
}


def short():
    """The reference of how a VMM uses the order is short enough to be read, and what it stands on is counted."""
    count = sum(len(path.read_text().splitlines()) for path in (CRATE / "src").glob("*.rs"))
    status, out, _ = run(["cargo", "tree", "--offline", "--prefix", "none", "--edges", "normal",
                          "--target", "aarch64-unknown-linux-gnu"], cwd=CRATE)
    crates = {line.split()[0] for line in out.splitlines() if line.strip()}
    return [verdict(f"{count} lines, of less than {LINES}", 0 < count < LINES),
            verdict(f"with what it stands on it is {len(crates)} crates", not status and "kvm-ioctls" in crates, out)]


def refuses():
    """What is no guest, or not all of one, is refused, and by a message."""
    # What the kernel's header says that it takes in memory, which is more than its file, and just not that much.
    with IMAGE.open("rb") as image:
        memory = (int.from_bytes(image.read(24)[16:], "little") >> 20) + 2
    refused = {**REFUSED, f"start /test/Image --memory {memory}": "the initramfs does not fit"}
    body = HOST + "".join(f"step '{words}' timeout 60 /test/linux-vmm {words}\n" for words in refused)
    job = boot.run(body + "true\n", {"linux-vmm": VMM, "Image": IMAGE})
    where = log("linux-vmm-refuses", job.output)
    rows = [verdict(f"the boot ends with {job.status}", job.status == 0, where),
            verdict("a guest is saved to a file", "saved: 10" in job.output, where)]
    for words, message in refused.items():
        step = job.step(words)
        rows.append(verdict(f"{words}: {step.output.strip().splitlines()[-1:]}",
                            step.status == 1 and re.search(f"^linux-vmm: .*{re.escape(message)}", step.output, re.M),
                            f"{step}\n{where}"))
    return rows


SUITES = (
    Suite("linux-vmm, lines and crates", short, ("library",)),
    Suite("linux-vmm, what it refuses", refuses, ("guest", "patched", "library")),
)
