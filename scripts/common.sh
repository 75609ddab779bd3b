# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
#
# What every script of the build needs: folders, messages, long steps, locks,
# versions.  To be sourced, with $root set to the top of the checkout.

# shellcheck disable=SC2034,SC2154 # used, and set, by the scripts that source it
build=$root/build
logs=$build/logs
cache=${XDG_CACHE_HOME:-$HOME/.cache}/postern
record=$root/scripts/setup/upstream.versions
default_targets=x86_64-softmmu,aarch64-softmmu

# The user's settings must not change the messages of tools.  A make that runs
# us must not affect the makes that we run.
LC_ALL=C.UTF-8
export LC_ALL
unset MAKEFLAGS MFLAGS MAKELEVEL QUILT_PATCHES

newline='
'

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

# target_list: configure's --target-list.  It always has x86_64.  A configure that
# is running has its new list in the environment; other scripts see it once that
# configure has ended.
target_list() {
    if [ -n "${POSTERN_TARGETS:-}" ]; then
        echo "$POSTERN_TARGETS"
    else
        cat "$build/target-list" 2>/dev/null || echo "$default_targets"
    fi
}

# has_target ARCH: is it in the list?
has_target() {
    case ,$(target_list), in
    *",$1-softmmu,"*) return 0 ;;
    *) return 1 ;;
    esac
}

# qemu_options_kept: what the last configure had after its --, a line each
qemu_options_kept() {
    cat "$build/qemu-options" 2>/dev/null || :
}

# qemu_options: likewise, of a configure that is running if there is one
qemu_options() {
    if [ -n "${POSTERN_QEMU_OPTIONS+set}" ]; then
        printf '%s' "$POSTERN_QEMU_OPTIONS"
    else
        qemu_options_kept
    fi
}

# quoted TEXT: as one word of a shell command
quoted() {
    printf "'%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")"
}

# jobs: how many processes a build may use at a time.  One more than there are
# processors, as one of them may wait for a file.
jobs() {
    echo $(($(nproc 2>/dev/null || echo 2) + 1))
}

# machine: a description of this machine, for reports
machine() {
    _model=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | sort -u)
    say "${_model:-$(uname -m)}, $(nproc) CPUs, $(uname -sr)"
}

# load: the load averages of the last 1, 5 and 15 minutes
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

# logged NAME COMMAND...: runs COMMAND with its output in build/logs/NAME.log; if
# it fails, shows the log's end and name
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

# lock FD WHOSE: locks the file that is open as FD; if it has to wait, says that
# it waits for WHOSE end
lock() {
    flock -n "$1" && return 0
    say "    waiting for $2 to end" >&2
    flock "$1"
}

# lock_build: keeps other scripts from changing build/ until this one ends.
# Scripts that it runs do not wait for the lock.  Not for building there.
lock_build() {
    [ -z "${POSTERN_LOCKED:-}" ] || return 0
    command -v flock >/dev/null || return 0 # deps.sh asks for it
    mkdir -p "$build"
    exec 9>"$build/lock"
    lock 9 "another make or configure, which prepares build/,"
    POSTERN_LOCKED=1
    export POSTERN_LOCKED
}

# progress TEXT: says how far something is; on a terminal, in one line that moves
progress() {
    if [ -t 1 ]; then
        printf '\r\033[K    %s' "$*"
    else
        say "    $*"
    fi
}

# progress_ends: empties that line
progress_ends() {
    [ ! -t 1 ] || printf '\r\033[K'
}

# ticking COMMAND...: runs COMMAND every 15 seconds, on a terminal every second, until
# killed; to be run in the background
ticking() {
    _every=15
    [ ! -t 1 ] || _every=1
    # An open lock file would stay locked until the ticker ends.
    exec 9>&-
    # ninja waits for our output to be closed: no sleep must survive us.
    trap 'kill "${_sleep:-}" 2>/dev/null; exit 0' TERM
    # A script's background job ignores Ctrl-C, which ends the script.  So check
    # often whether the script is still there.
    _ticks=0
    while kill -0 "$$" 2>/dev/null; do
        sleep 1 &
        _sleep=$!
        wait "$_sleep"
        _ticks=$((_ticks + 1))
        [ $((_ticks % _every)) != 0 ] || "$@"
    done
}

# how_far LABEL LOG BEGIN: reports a build's progress.  ninja prints it ("[12/340]
# ..."); others print a line for each step.  If LOG.total has the number of steps of
# a kernel's build, this counts the lines of its steps ("  CC      lib/list_sort.o").
how_far() {
    _steps=$(tail -n 1 "$2" | sed -n 's,^\[\([0-9]*\)/\([0-9]*\)\].*,\1 of \2,p')
    if [ -s "$2.total" ]; then
        _steps="$(grep -c '^  [A-Z]' "$2") of about $(cat "$2.total")"
    fi
    progress "$1: ${_steps:-$(wc -l <"$2")} steps, $(($(date +%s) - $3)) s"
}

# watched NAME LABEL COMMAND...: as logged(), for a long COMMAND that prints a line
# for each of its steps; reports progress now and then
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
    progress_ends
    [ "$_status" = 0 ] && return 0
    # With several jobs at a time, the error need not be at the end.
    grep -n -E '(^| )(FAILED:|error:|Error [0-9])' "$_log" | head -n 10 |
        sed 's/^/    | /' >&2
    log_tail "$_log" 5
    say "    the whole log: $_log" >&2
    return "$_status"
}

# cc_command: the C compiler, through ccache if it is installed
cc_command() {
    if command -v ccache >/dev/null; then
        echo "ccache ${CC:-gcc}"
    else
        echo "${CC:-gcc}"
    fi
}

# ccache_for TREE: lets ccache share results between checkouts, and between the
# kernel trees.  ccache gets the names of headers from the dependencies that
# every build here asks the compiler for: to preprocess each file first makes a
# build with an empty cache a sixth longer.
ccache_for() {
    CCACHE_BASEDIR=$build/$1
    CCACHE_NOHASHDIR=1
    CCACHE_DEPEND=1
    export CCACHE_BASEDIR CCACHE_NOHASHDIR CCACHE_DEPEND
}

# tree_version KIND DIR: the version of the unpacked upstream tree in DIR; fails
# if DIR has no such tree
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

# in_series VERSION SERIES: does VERSION (10.0.13) belong to SERIES (10.0)?
in_series() {
    case $1 in
    "$2" | "$2".[0-9]*) return 0 ;;
    *) return 1 ;;
    esac
}
