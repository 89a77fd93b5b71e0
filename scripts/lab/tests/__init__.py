# SPDX-License-Identifier: GPL-2.0-only
"""The lab's own tests: no kernel, no boot, seconds. Run by "make check" before all else."""
