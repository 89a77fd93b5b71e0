# SPDX-License-Identifier: GPL-2.0-only
# Sourced by the scripts: where things are, and the few functions that all of them use.

set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/kvm-reg-list
build=$top/build
tree=${TREE:-$build/linux}
export LC_ALL=C.UTF-8

# The groups of patches/series that upstream is to see, in order.
upstream_groups="prep reg-list"

say() { printf '%s\n' "$*" >&2; }
die() { say "$(basename "$0"): $*"; exit 1; }

# Where a folder of this repository lands in the kernel: a dash is a slash.
landing="
rust/			rust/
arch-arm64-kvm/		arch/arm64/kvm/
Documentation/		Documentation/
tools-testing-selftests/	tools/testing/selftests/
"

# here_of KERNEL_PATH: the file of this repository that becomes KERNEL_PATH.
here_of()
{
	echo "$landing" | grep . | while read -r here there; do
		case $1 in "$there"*) echo "$here${1#"$there"}"; return ;; esac
	done
}

# kmake OUT ARGS...: the kernel's make for arm64, with OUT inside the source tree,
# so that all paths in it are relative and a copied tree stays up to date.
kmake()
{
	_out=$1; shift
	make -C "$_out/.." ARCH=arm64 "LLVM=${LLVM:-1}" O="$_out" "$@"
}

# logged LOG WHAT CMD...: runs CMD with its output in LOG; on failure shows the error.
logged()
{
	_log=$1 _what=$2; shift 2
	mkdir -p "$(dirname "$_log")"
	if ! "$@" > "$_log" 2>&1; then
		say "$_what failed; the log is $_log and says:"
		grep -E -m 5 -A 8 '(^|[^_])(error|Error|ERROR|fatal)(\[|:| )' "$_log" >&2 ||
			tail -n 15 "$_log" >&2
		exit 1
	fi
}
