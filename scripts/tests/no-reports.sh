#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Tests what testbed/no-reports.sh recognizes as a report of the kernel.

set -eu
# shellcheck source=scripts/tests/tap.sh
. "$(dirname "$0")/tap.sh"

no_reports=$scripts/../testbed/no-reports.sh
mkdir "$work/bin" "$work/proc"
# shellcheck disable=SC2016 # not this shell's
printf '#!/bin/sh\ncat "$WORK/log"\n' >"$work/bin/dmesg"
chmod +x "$work/bin/dmesg"
PATH=$work/bin:$PATH WORK=$work POSTERN_PROC=$work/proc
export PATH WORK POSTERN_PROC

# kernel_log [LINE]...: sets the kernel's log
kernel_log() {
    {
        echo '[    0.000000] Linux version 6.12 (postern@postern)'
        echo '[    0.000000] Lock dependency validator: Copyright (c) 2006 Red Hat'
        for line; do
            echo "[    7.123456] $line"
        done
        echo '[    8.000000] kvm_amd: Nested Paging enabled'
    } >"$work/log"
}

# lockdep N: 1 if it is on, 0 if off
lockdep() {
    printf ' max locking depth:  17\n debug_locks:       %11u\n' "$1" \
        >"$work/proc/lockdep_stats"
}

run() {
    _status=0
    sh "$no_reports" "$@" || _status=$?
    echo "status $_status"
}

kernel_log
is "no report, without lockdep" "$(run printf '%s\n' said)" "said
status 0"
lockdep 1
is "no report, with lockdep" "$(run true)" "status 0"
is "the command's own failure is kept" "$(run sh -c 'exit 4')" "status 4"
is "usage: no command" "$(run 2>&1)" \
    "usage: no-reports.sh [--no-memory] COMMAND [ARG]...
status 2"

# caught LINE: LINE alone is recognized as a report
caught() {
    kernel_log "$1" "  more of it"
    said=$(run printf '%s\n' said)
    matches "caught: $1" "$said" '^status 123$'
    matches "printed to its end: $1" "$said" 'more of it'
}

caught 'BUG: KASAN: slab-use-after-free in kvm_userfault_test+0x1f/0xd0'
caught 'WARNING: possible circular locking dependency detected'
caught 'WARNING: possible recursive locking detected'
caught 'WARNING: suspicious RCU usage'
caught '[ BUG: Invalid wait context ]'
caught 'BUG: sleeping function called from invalid context at mm/util.c:1'
caught 'BUG: scheduling while atomic: userfault_test/70/0x00000002'
caught 'WARNING: CPU: 0 PID: 70 at virt/kvm/userfault.c:1 kvm_userfault_test+0x1f'
caught '------------[ cut here ]------------'
caught 'BUG: MAX_LOCKDEP_CHAINS too low!'
caught 'turning off the locking correctness validator.'
caught 'INFO: lockdep is turned off.'
caught 'INFO: trying to register non-static key.'
caught 'rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:'
caught ' Call Trace:'

kernel_log 'BUG: KASAN: slab-out-of-bounds in f+0x1/0x2'
matches "a report is found after a failed command, too" "$(run sh -c 'exit 4')" \
    "mistake .the command's own status: 4.$"

no_memory='memslot_batch_t: vmalloc error: size 4096, page order 0, failed to allocate pages
 Call Trace:
  </TASK>
 Mem-Info:'
kernel_log "$no_memory"
matches "a failed allocation is a report" "$(run true)" '^status 123$'
is "a failed allocation is none with --no-memory" "$(run --no-memory true)" "status 0"
kernel_log "$no_memory" 'BUG: KASAN: slab-use-after-free in f+0x1/0x2'
matches "another report after a failed allocation is one with --no-memory" "$(run --no-memory true)" '^status 123$'

kernel_log
lockdep 0
matches "lockdep that is off at the end is an error" "$(run true)" 'lockdep was off'
: >"$work/proc/lockdep_stats"
matches "lockdep without a state is an error" "$(run true)" '^status 123$'

lockdep 1
sed -i 1d "$work/log"
matches "a log without its beginning is an error" "$(run true)" 'lost its beginning'
printf '#!/bin/sh\nexit 1\n' >"$work/bin/dmesg"
matches "no log is an error" "$(run true)" '^status 123$'

done_testing
