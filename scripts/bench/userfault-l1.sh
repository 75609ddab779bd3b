#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# userfault-l1.sh ROUND PART: what userfault.sh runs in L1, for one
# round of one part of the benchmark (see there).  Prints a JSON object for each
# run, with "failed" in it where the run did, and what that said.  Ends with "all
# runs made", however they went.

set -u

round=$1 part=$2
cd "$(dirname "$0")/../../build/linux/selftests" || exit

modes='none missing missing-readers missing-multi minor kvm kvm-uffd kvm-minor'

# reversed WORD...
reversed() {
    _reversed=
    for _word; do
        _reversed="$_word $_reversed"
    done
    echo "$_reversed"
}

# one WHAT PROGRAM [ARG]...: WHAT is how a run that failed is told
one() {
    _what=$1
    shift
    _said=$(timeout 120 "$@" 2>&1)
    _status=$?
    if [ "$_status" != 0 ]; then
        echo "{$_what, \"failed\": $_status}"
    elif ! printf '%s\n' "$_said" | grep '^{'; then
        echo "{$_what, \"failed\": \"no output\"}"
    else
        return
    fi
    printf '%s\n' "$_said" | head -n 20 | sed 's/^/    | /'
}

# bring MODE VCPUS KIB: a run of userfault_perf_test, with so much a vCPU
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
    # As much altogether, so that it takes as long with 64 vCPUs as with 1.
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
