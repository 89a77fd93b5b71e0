# SPDX-License-Identifier: GPL-2.0-only
# Sourced by the scripts: where things are, and the few functions that all of them use.

set -eu
shopt -s inherit_errexit
top=$(cd "$(dirname "$0")/.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/kvm-reg-list
build=$top/build
tree=${TREE:-$build/linux}
export LC_ALL=C.UTF-8

# Where there is ccache, its folder of compiler names stands first, so that the commands which
# kbuild records are the same with and without it.
export CCACHE_DIR=$cache/ccache CCACHE_MAXSIZE=3G
if [ -d /usr/lib/ccache ]; then PATH=/usr/lib/ccache:$PATH; fi

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

# What "make boot" is given means something else to the kernel's Makefiles: KVM is a folder there.
make() { env -u ARGS -u CPU -u IMAGE -u KVM -u RUN -u SMP make "$@"; }

# kmake OUT ARGS...: the kernel's make for arm64 (or KARCH), with OUT inside the source tree,
# so that all paths in it are relative and a copied tree stays up to date.
kmake()
{
	_out=$1; shift
	make -C "$_out/.." "ARCH=${KARCH:-arm64}" "LLVM=${LLVM:-1}" O="$_out" "$@"
}

# put_series TREE: makes the commits of the series on the tag "unpatched" in the git repository TREE,
# and prints the last. TREE's own files stay as they are: what does not change is not built again.
put_series()
{
	_aside=$build/series-aside
	rm -rf "$_aside"
	git -C "$1" worktree prune
	git -C "$1" worktree add -q --no-checkout --detach "$_aside" unpatched
	git -C "$_aside" sparse-checkout set --cone arch/arm64 rust include/kvm include/uapi/linux Documentation/virt \
		tools/testing/selftests/kvm tools/testing/selftests/arm64 scripts
	git -C "$_aside" checkout -q --detach unpatched
	GIT_COMMITTER_NAME=kvm-reg-list GIT_COMMITTER_EMAIL=lab@localhost "$top/scripts/apply" "$_aside"
	git -C "$_aside" rev-parse HEAD
	git -C "$1" worktree remove --force "$_aside"
}

# need_space FOLDER GIB: stops where what is to be made would not fit.
need_space()
{
	mkdir -p "$1"
	_free=$(df --output=avail -BG "$1" | tail -n 1 | tr -dc 0-9)
	[ "$_free" -ge "$2" ] || die "$1 has $_free GiB free, $2 are needed: make room${3:+, or $3}"
}

# checkpatch PATCH: what checkpatch.pl --strict has to say, justified exceptions apart.
checkpatch()
{
	(cd "$tree" && ./scripts/checkpatch.pl --strict --terse --no-summary "$1") |
		grep -E 'ERROR|WARNING|CHECK' | grep -v -F -e "$(grep -v '^#' "$top/patches/checkpatch-exceptions")"
}

# logged LOG WHAT CMD...: runs CMD with its output in LOG; on failure shows the error. CMD can be a
# function, which stops at the first command that fails.
logged()
{
	_log=$1 _what=$2; shift 2
	mkdir -p "$(dirname "$_log")"
	set +e
	( set -e; "$@" ) > "$_log" 2>&1
	_status=$?
	set -e
	[ $_status = 0 ] && return
	say "$_what failed; the log is $_log and says:"
	grep -E -m 5 -A 8 '(^|[^_])(error|Error|ERROR|fatal)(\[|:| )' "$_log" >&2 || tail -n 15 "$_log" >&2
	exit 1
}
