#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# no-reports.sh [--no-memory] COMMAND [ARG]...: runs COMMAND in L1 and ends with
# its status.  If the kernel has reported a mistake of its own since it booted,
# prints its log from there on and ends with 123 instead.  With --no-memory, a
# failed allocation is no mistake: COMMAND makes allocations fail.
#
# A kernel survives most of what KASAN, lockdep and its other checks find, and
# reports it only in its log.  The testbed itself reports a panic.

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

proc=${POSTERN_PROC:-/proc} # tests replace it

# Each report has one of these; most have a call trace, too.
reports='BUG: |WARNING: |INFO: |Call Trace:|\[ cut here \]|turning off the locking'

fail() {
    printf '%s: %s\n' "${0##*/}" "$1"
    exit 123
}

log=$(dmesg) || fail "the kernel's log cannot be read"

# Drop reports of failed allocations, to the end of their call traces.
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

# lockdep switches itself off after a mistake, and when its tables are full.
[ ! -e "$proc/lockdep_stats" ] ||
    grep -qE '^ *debug_locks: *1$' "$proc/lockdep_stats" ||
    fail "lockdep was off in the end"

exit "$status"
