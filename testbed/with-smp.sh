#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# with-smp.sh SECONDS PROGRAM [ARG]...: runs PROGRAM, a KVM selftest, in L1 with
# more than one CPU.  If it fails, or takes longer than SECONDS, because the
# emulator mixed up the registers of L1 and of a guest, runs it again, 5 times at
# most.  The emulator does that once in a while with several CPUs.
#
# After a mix-up the guest goes on at an address of L1's kernel, where it has no
# memory, so it takes a page fault for a fetch.  A selftest's guest never does
# that by itself.  The guest leaves KVM while that fault is being delivered
# (0x80000b0e, with error code 0x10), as the handler is not where L1's registers
# say.  From then on its rip is L1's, or it shuts down.  A failure without such an
# exit is PROGRAM's.

set -u

if [ $# -lt 2 ]; then
    echo "usage: ${0##*/} SECONDS PROGRAM [ARG]..." >&2
    exit 2
fi
seconds=$1
shift

tracing=/sys/kernel/tracing
[ -d "$tracing/events" ] || mount -t tracefs none "$tracing" || exit 1
[ -d "$tracing/events/kvm/kvm_exit" ] || {
    echo "$0: no tracepoint kvm_exit" >&2
    exit 1
}
echo 'intr_info == 0x80000b0e && error_code == 0x10' \
    >"$tracing/events/kvm/kvm_exit/filter" || exit 1
echo 1 >"$tracing/events/kvm/kvm_exit/enable" || exit 1

run=0
while [ $((run += 1)) -le 5 ]; do
    : >"$tracing/trace"
    status=0
    timeout -k 5 "$seconds" "$@" || status=$?
    mixed_up=$(grep -c 'kvm_exit:' "$tracing/trace")
    echo "run $run: status $status, $mixed_up exits after a mix-up"
    [ "$status" != 0 ] || exit 0
    grep -m 3 'kvm_exit:' "$tracing/trace"
    [ "$mixed_up" != 0 ] || exit "$status"
done
echo "$0: the emulator mixed up registers in each run: nothing was tried" >&2
exit 1
