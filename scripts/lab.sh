# SPDX-License-Identifier: GPL-2.0-only
# Sourced by the scripts: where things are, and the few functions that all of them use.
# shellcheck disable=SC2034

set -eu
shopt -s inherit_errexit
top=$(cd "$(dirname "$0")/.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/kvm-reg-list
build=$top/build
tree=${TREE:-$build/linux}
# The kernel that people run, in the toolbox (scripts/fetch-debian-kernel).
debian_image=/usr/lib/debian-kernel/Image
export LC_ALL=C.UTF-8

# Where there is ccache, its folder of compiler names stands first, so that the commands which
# kbuild records are the same with and without it.
export CCACHE_DIR=$cache/ccache CCACHE_MAXSIZE=3G
if [ -d /usr/lib/ccache ]; then PATH=/usr/lib/ccache:$PATH; fi

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

# series [GROUP]...: the patches of these groups, in order; without one, of all.
series()
{
	grep -v '^#' "$top/patches/series" | while read -r patch; do
		case " ${*:-${patch%%/*}} " in *" ${patch%%/*} "*) echo "$patch" ;; esac
	done
}

# file_of PATCH FILE: FILE as PATCH adds it. What is here is the file as it is at the end of the series, so
# the hunks of the patches behind PATCH are taken back, the last first.
file_of()
{
	_at=$(mktemp -d)
	mkdir -p "$_at/$(dirname "$2")"
	cp "$top/$(here_of "$2")" "$_at/$2"
	series | sed "1,\\#^$1\$#d" | tac | while read -r _later; do
		grep -q "^diff --git a/$2 " "$top/patches/$_later" || continue
		(cd "$_at" && GIT_CEILING_DIRECTORIES=$(dirname "$_at") git apply -R "--include=$2" "$top/patches/$_later") ||
			die "$(here_of "$2") has changed where $_later changes it: make the change in build/linux, then 'make refresh'"
	done
	cat "$_at/$2"
	rm -rf "$_at"
}

# What "make boot" is given means something else to the kernel's Makefiles: KVM is a folder there.
make() { env -u ARGS -u CPU -u IMAGE -u KVM -u RUN -u SMP make "$@"; }

# kmake OUT ARGS...: the kernel's make for arm64 (or KARCH) by clang (or WITH=gcc), with OUT inside the source
# tree, so that all paths in it are relative and a copied tree stays up to date. SPARSE=1: with sparse; Debian's
# does not know __typeof_unqual__, and kbuild leaves out a checker that does not; the older keyword will do.
kmake()
{
	_out=$1 _with=LLVM=${LLVM:-1}; shift
	[ "${WITH:-clang}" = clang ] || _with=CROSS_COMPILE=aarch64-linux-gnu-
	# LLVM in the environment, which the toolbox has, would win over CROSS_COMPILE.
	([ "${WITH:-clang}" = clang ] || unset LLVM
		make -C "$_out/.." "ARCH=${KARCH:-arm64}" "$_with" ${W:+"W=$W"} \
			${SPARSE:+"C=$SPARSE" "CHECK=sparse -D__typeof_unqual__=__typeof__"} O="$_out" "$@")
}

# put_series TREE [GROUP]...: makes the commits of the series, or of these groups, on the tag "unpatched"
# in the git repository TREE, and prints the last. TREE's own files stay as they are: what does not change is not built again.
put_series()
{
	_aside=$build/series-aside
	rm -rf "$_aside"
	git -C "$1" worktree prune
	git -C "$1" worktree add -q --no-checkout --detach "$_aside" unpatched
	git -C "$_aside" sparse-checkout set --cone arch/arm64 rust include/kvm include/uapi/linux Documentation/virt \
		tools/testing/selftests/kvm tools/testing/selftests/arm64 scripts
	git -C "$_aside" checkout -q --detach unpatched
	GIT_COMMITTER_NAME=kvm-reg-list GIT_COMMITTER_EMAIL=lab@localhost "$top/scripts/apply" "$_aside" "${@:2}"
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

# checkpatch PATCH: what checkpatch.pl --strict has to say, justified exceptions apart. If it complains its last line is
# a sum: one that does not get there has not looked.
checkpatch()
{
	_said=$(cd "$tree" && ./scripts/checkpatch.pl --strict --terse "$1" 2>&1) && return 1
	case $_said in *"total: "*) ;; *) echo "checkpatch.pl does not come to its end: $_said"; return ;; esac
	echo "$_said" | grep -E 'ERROR|WARNING|CHECK' |
		grep -v -F -f <(grep -v -E '^[[:space:]]*(#|$)' "$top/patches/checkpatch-exceptions")
}

# once FOLDER REPOSITORY PATHS CMD...: makes FOLDER by CMD, unless it was made from the same PATHS of the
# REPOSITORY before, here or in another clone: a copy is kept in the cache. What is not committed is always
# made anew.
once()
{
	_folder=$1 _repository=$2 _paths=$3 _from=; shift 3
	# Where git fails nothing is known of what it is made from.
	if _changed=$(git -C "$_repository" status --porcelain -- $_paths) && [ -z "$_changed" ] &&
		_of=$(git -C "$_repository" ls-tree HEAD $_paths) && [ -n "$_of" ]; then
		_from=$(basename "$_folder")-$( (echo "$_of"; echo "${TOOLBOX:-}"; cat "$0") | cksum | cut -d' ' -f1)
		[ ! -e "$_folder" ] || [ "$(cat "$_folder.from" 2>/dev/null)" != "$_from" ] || return 0
	fi
	rm -f "$_folder.from"
	if [ -n "$_from" ] && [ -e "$cache/$_from" ]; then
		rm -rf "$_folder"
		cp -a "$cache/$_from" "$_folder"
	else
		"$@"
	fi
	[ -n "$_from" ] || return 0
	echo "$_from" > "$_folder.from"
	[ -e "$cache/$_from" ] || { cp -a "$_folder" "$cache/$_from.part"; mv "$cache/$_from.part" "$cache/$_from"; }
	# The last three are kept.
	ls -dt "$cache/$(basename "$_folder")"-[0-9]* | tail -n +4 | xargs -r rm -rf
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
