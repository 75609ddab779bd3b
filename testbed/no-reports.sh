#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# no-reports.sh [--no-memory] COMMAND [ARG]...: for L1: runs COMMAND and ends
# with its status, but if the kernel has reported a mistake of its own since it
# booted, prints what it said from there on and ends with 123.  With --no-memory
# an allocation that failed is no mistake: COMMAND sees to that.
#
# A kernel survives most of what KASAN, lockdep and its other checks find, and
# says it only in its log.  What it does not survive, a panic, the testbed tells.

set -u

no_memory=
if [ "${1-}" = --no-memory ]; then
    no_memory=yes
    shift
fi
if [ $# = 0 ]; then
    echo "usage: ${0##*/} [--no-memory] COMMAND [ARG]..." >&2
    exit 2
fi
"$@"
status=$?

proc=${POSTERN_PROC:-/proc} # tests have one of their own

# All reports have one of these; most have a call trace, too.
reports='BUG: |WARNING: |INFO: |Call Trace:|\[ cut here \]|turning off the locking'

fail() {
    printf '%s: %s\n' "${0##*/}" "$1"
    exit 123
}

log=$(dmesg) || fail "the kernel's log cannot be read"

# Up to the end of its call trace
[ -z "$no_memory" ] ||
    log=$(printf '%s\n' "$log" |
        sed -E '/: (vmalloc error|page allocation failure): /,/<\/TASK>/d')

found=$(printf '%s\n' "$log" | sed -nE "/$reports/,\$p")
[ -z "$found" ] ||
    fail "the kernel reported a mistake (the command's own status: $status)
$found"

case $log in
*'Linux version'*) ;;
*) fail "the kernel's log has lost its beginning: was there a report in it?" ;;
esac

# It ends with the first mistake, and when its tables are full.
[ ! -e "$proc/lockdep_stats" ] ||
    grep -qE '^ *debug_locks: *1$' "$proc/lockdep_stats" ||
    fail "lockdep was off in the end"

exit "$status"
