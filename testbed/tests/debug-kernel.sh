#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# debug-kernel.sh NO-REPORTS: for L1 with the debug kernel: that this kernel
# finds mistakes, made on purpose with its module lkdtm, and that NO-REPORTS
# tells of them.

set -u

no_reports=$1
provoke=/sys/kernel/debug/provoke-crash/DIRECT
cases=0
said='' status=0

# run COMMAND: under NO-REPORTS
run() {
    status=0
    said=$(sh "$no_reports" sh -c "$1" 2>&1) || status=$?
    printf '%s\n' "$said" | sed 's/^/# /'
}

# is CASE STATUS PATTERN: so it ended, and one of its lines matches
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
# Comes back from the kernel with a spinlock.
run "echo SPINLOCKUP >$provoke"
is "lock held too long" 123 'WARNING: lock held when returning to user space'
is "sleep in atomic context" 123 'BUG: sleeping function called from invalid context'
# Last: it switches lockdep off.
run "echo READ_AFTER_FREE >$provoke"
is "use after free" 123 'BUG: KASAN: slab-use-after-free'

echo "1..$cases"
