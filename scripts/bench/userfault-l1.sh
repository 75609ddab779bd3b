#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# userfault-l1.sh ROUND PART: the part of "bench.py userfault" that runs in L1:
# one round of one part of the benchmark.
#
# Prints a JSON object for each run.  A failed run has "failed" in it, and the
# first lines of its output below it.  The last line is "all runs made", even if
# runs failed.

set -u

round=$1 part=$2
selftests=selftests
[ "$(uname -m)" != aarch64 ] || selftests="selftests-arm64"
cd "$(dirname "$0")/../../build/linux/$selftests" || exit

modes='none missing missing-readers missing-multi minor kvm kvm-uffd kvm-minor'

# reversed WORD...
reversed() {
    _reversed=
    for _word; do
        _reversed="$_word $_reversed"
    done
    echo "$_reversed"
}

# one MEMBERS PROGRAM [ARG]...: a run; if it fails, its object has MEMBERS
one() {
    _members=$1
    shift
    _said=$(timeout 120 "$@" 2>&1)
    _status=$?
    if [ "$_status" != 0 ]; then
        echo "{$_members, \"failed\": $_status}"
    elif ! printf '%s\n' "$_said" | grep '^{'; then
        echo "{$_members, \"failed\": \"no output\"}"
    else
        return
    fi
    printf '%s\n' "$_said" | head -n 20 | sed 's/^/    | /'
}

# bring MODE VCPUS KIB: a run of userfault_perf_test, with KIB for each vCPU
bring() {
    one "\"mode\": \"$1\", \"vcpus\": $2" \
        ./userfault_perf_test -u "$1" -v "$2" -b "${3}K"
}

# What runs first in one round runs last in the next.
if [ $((round % 2)) = 0 ]; then
    # shellcheck disable=SC2086 # a list
    modes=$(reversed $modes)
fi

case $part in
icount)
    # The total is constant, so 64 vCPUs take as long as 1.
    for vcpus in 1 2 4 8 16 32 64; do
        for mode in $modes; do
            bring "$mode" "$vcpus" $((16384 / vcpus))
        done
    done
    ;;
wall)
    for vcpus in 1 2 4 8; do
        for mode in $modes; do
            bring "$mode" "$vcpus" 4096
        done
    done
    ;;
off)
    for vcpus in 1 8; do
        bring none "$vcpus" $((16384 / vcpus))
    done
    for slots in 1 509; do
        one "\"slots\": $slots" ./userfault_memslot_perf_test -s "$slots"
    done
    ;;
esac
echo "all runs made"
