# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
#
# What every script of the build needs: where things are, how to say what
# is going on, how to run something long.  To be sourced, with $root set to
# the top of the checkout.

# shellcheck disable=SC2034,SC2154 # used, and set, by the scripts that source this file
build=$root/build
logs=$build/logs
cache=${XDG_CACHE_HOME:-$HOME/.cache}/postern
record=$root/scripts/upstream.versions
default_targets=x86_64-softmmu,aarch64-softmmu

# What the user set for other work must not change how tools word things,
# nor a make that started us reach the makes that we start.
LC_ALL=C.UTF-8
export LC_ALL
unset MAKEFLAGS MFLAGS MAKELEVEL QUILT_PATCHES

say() {
    printf '%s\n' "$*"
}

warn() {
    printf 'warning: %s\n' "$*" >&2
}

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# target_list: what is emulated and run, as configure was told; x86_64 is
# always there, aarch64 need not be.  While configure runs it is what that one
# is told, which takes effect for others when it has come to its end.
target_list() {
    if [ -n "${POSTERN_TARGETS:-}" ]; then
        echo "$POSTERN_TARGETS"
    else
        cat "$build/target-list" 2>/dev/null || echo "$default_targets"
    fi
}

# has_target ARCH: is it among them?
has_target() {
    case ,$(target_list), in
    *",$1-softmmu,"*) return 0 ;;
    *) return 1 ;;
    esac
}

# jobs: how many processes a build may use at a time
jobs() {
    nproc 2>/dev/null || echo 2
}

# machine: what this is measured on
machine() {
    _model=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | sort -u)
    say "${_model:-$(uname -m)}, $(nproc) CPUs, $(uname -sr)"
}

# load: of the last 1, 5 and 15 minutes
load() {
    cut -d' ' -f1-3 /proc/loadavg
}

# recorded NAME FIELD: a field of upstream NAME's line in upstream.versions
# (series, tested, sha256)
recorded() {
    awk -v name="$1" -v field="$2" '
        /^#/ { for (i = 2; i <= NF; i++) column[$i] = i - 1; next }
        $1 == name { print $(column[field]) }' "$record"
}

# log_tail FILE: the end of a log, indented, for an error message
log_tail() {
    tail -n "${2:-15}" "$1" 2>/dev/null | sed 's/^/    | /' >&2
}

# logged NAME COMMAND...: run it with its output in build/logs/NAME.log;
# what goes wrong is told with the log's end and name
logged() {
    _log=$logs/$1.log
    shift
    mkdir -p "$logs"
    "$@" >"$_log" 2>&1 </dev/null && return 0
    _status=$?
    log_tail "$_log"
    say "    the whole log: $_log" >&2
    return "$_status"
}

# lock FD WHOSE: takes the lock on the file that is open as FD, and says for
# whose end it waits if it has to
lock() {
    flock -n "$1" && return 0
    say "    waiting for $2 to end" >&2
    flock "$1"
}

# lock_build: nobody else changes build/ by these scripts until this one ends,
# nor do the scripts that it runs wait for it.  Not for what builds there.
lock_build() {
    [ -z "${POSTERN_LOCKED:-}" ] || return 0
    command -v flock >/dev/null || return 0 # deps.sh asks for it
    mkdir -p "$build"
    exec 9>"$build/lock"
    lock 9 "another make or configure, which prepares build/,"
    POSTERN_LOCKED=1
    export POSTERN_LOCKED
}

# ticking COMMAND...: runs it every 15 seconds until killed; to be put into the
# background
ticking() {
    # What a ticker holds open is locked, or waited for, until it ends.
    exec 9>&-
    # A sleep left behind would hold open what ninja watches to see us end.
    trap 'kill "${_sleep:-}" 2>/dev/null; exit 0' TERM
    # Ctrl-C ends whoever started this and cannot end a background job of a
    # script, which ignores it; so look often whether the script is still there.
    _ticks=0
    while kill -0 "$$" 2>/dev/null; do
        sleep 1 &
        _sleep=$!
        wait "$_sleep"
        _ticks=$((_ticks + 1))
        [ $((_ticks % 15)) != 0 ] || "$@"
    done
}

# how_far LABEL LOG BEGIN: how far a build is.  ninja says it ("[12/340] ..."),
# others have a line for each step.
how_far() {
    _steps=$(tail -n 1 "$2" | sed -n 's,^\[\([0-9]*\)/\([0-9]*\)\].*,\1 of \2,p')
    say "    $1: ${_steps:-$(wc -l <"$2")} steps, $(($(date +%s) - $3)) s"
}

# watched NAME LABEL COMMAND...: as logged(), for something long that prints
# a line for each of its steps; shows now and then how far it is
watched() {
    _log=$logs/$1.log
    _label=$2
    shift 2
    mkdir -p "$logs"
    : >"$_log"
    ticking how_far "$_label" "$_log" "$(date +%s)" &
    _ticker=$!
    _status=0
    "$@" >"$_log" 2>&1 </dev/null || _status=$?
    kill "$_ticker" 2>/dev/null
    wait "$_ticker" 2>/dev/null || :
    [ "$_status" = 0 ] && return 0
    # With several jobs at a time the error need not be at the end.
    grep -n -E '(^| )(FAILED:|error:|Error [0-9])' "$_log" | head -n 10 |
        sed 's/^/    | /' >&2
    log_tail "$_log" 5
    say "    the whole log: $_log" >&2
    return "$_status"
}

# cc_command: the C compiler, through ccache where there is one
cc_command() {
    if command -v ccache >/dev/null; then
        echo "ccache ${CC:-gcc}"
    else
        echo "${CC:-gcc}"
    fi
}

# ccache_for TREE: let ccache take the same file in another checkout, or in
# the other kernel tree, for the same.  It takes the names of the headers from
# the dependencies that every build here asks the compiler for: to preprocess
# each file first would make a build with an empty cache a sixth longer.
ccache_for() {
    CCACHE_BASEDIR=$build/$1
    CCACHE_NOHASHDIR=1
    CCACHE_DEPEND=1
    export CCACHE_BASEDIR CCACHE_NOHASHDIR CCACHE_DEPEND
}

# tree_version KIND DIR: the version of the unpacked upstream tree in DIR;
# fails where DIR holds no such tree
tree_version() {
    case $1 in
    qemu)
        [ -f "$2/VERSION" ] && [ -f "$2/qemu-options.hx" ] || return 1
        head -n 1 "$2/VERSION"
        ;;
    linux)
        [ -f "$2/Kbuild" ] && [ -f "$2/Makefile" ] || return 1
        awk '$2 == "=" && $1 == "VERSION" { v = $3 }
             $2 == "=" && $1 == "PATCHLEVEL" { p = $3 }
             $2 == "=" && $1 == "SUBLEVEL" { s = $3 }
             $2 == "=" && $1 == "EXTRAVERSION" { e = $3 }
             $1 ~ /:/ { exit }
             END { if (v == "") exit 1; print v "." p "." s e }' \
            "$2/Makefile"
        ;;
    esac
}

# in_series VERSION SERIES: does 10.0.13 belong to 10.0?
in_series() {
    case $1 in
    "$2" | "$2".[0-9]*) return 0 ;;
    *) return 1 ;;
    esac
}
