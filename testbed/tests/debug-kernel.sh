#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# debug-kernel.sh NO-REPORTS: tests in L1 that the debug kernel finds mistakes,
# made on purpose with its module lkdtm, and that NO-REPORTS reports them.

set -u

no_reports=$1
provoke=/sys/kernel/debug/provoke-crash/DIRECT
cases=0
said='' status=0

# run COMMAND: runs it under NO-REPORTS
run() {
    status=0
    said=$(sh "$no_reports" sh -c "$1" 2>&1) || status=$?
    printf '%s\n' "$said" | sed 's/^/# /'
}

# is CASE STATUS PATTERN: it ended with STATUS, and a line matches
is() {
    cases=$((cases + 1))
    if [ "$status" = "$2" ] && printf '%s\n' "$said" | grep -qE "$3"; then
        echo "ok $cases - $1"
    else
        echo "not ok $cases - $1 (status $status)"
    fi
}

run "cat /proc/lockdep_stats"
is "nothing yet, and lockdep is on" 0 'debug_locks: *1$'
# Returns from the kernel with a spinlock held.
run "echo SPINLOCKUP >$provoke"
is "lock held too long" 123 'WARNING: lock held when returning to user space'
is "sleep in atomic context" 123 'BUG: sleeping function called from invalid context'
# This one last: it switches lockdep off.
run "echo READ_AFTER_FREE >$provoke"
is "use after free" 123 'BUG: KASAN: slab-use-after-free'

echo "1..$cases"
