# SPDX-License-Identifier: GPL-2.0-only
"""The suites of "make check", a file a subject. Each has its suites in SUITES at its end."""
