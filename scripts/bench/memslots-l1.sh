#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# memslots-l1.sh ROUND PART SLOTS UPSTREAM-MAX: the part of "bench.py memslots"
# that runs in L1: one round of one part of the benchmark.
#
# Prints a JSON object for each figure, with "failed" in it if the run failed.
# The last line is "all runs made", even if runs failed.

set -u

round=$1 part=$2 slots=$3 upstream_max=$4
cd "$(dirname "$0")/../.." || exit
selftests=build/linux/selftests

# seed SLOTS TEST ROW: a row of the seed's table, by the same program
seed() {
    _said=$("$selftests/memslot_perf_test" -s "$1" -f "$2" -e "$2" -l 1 -r 1 2>&1)
    printf '%s\n' "$_said" | awk -v slots="$1" -v row="$3" '
        function ns(text) { sub(/s$/, "", text); return text * 1e9 }
        function say(op, value) {
            printf "{\"level\": \"raw\", \"vcpu\": true, \"slots\": %s, \"op\": \"%s\", \"ns\": %.0f}\n",
                   slots, op, value
            said = 1
        }
        /^Best runtime result was/ { say(row, ns($5)) }
        row == "move inactive" && /^Best slot setup time/ { say("setup", ns($NF)) }
        END { if (!said) printf "{\"op\": \"%s\", \"slots\": %s, \"failed\": true}\n", row, slots }'
}

# Tests 0..4 are map, unmap, unmap chunked (2M), move active, move inactive
seed_rows() {
    for n in $(echo "$slots" | tr , ' '); do
        # More do not fit into the memory that the test maps; the seed did likewise.
        if [ "$n" -gt 8194 ]; then map=8194; else map=$n; fi
        seed "$map" 0 map | sed "s/\"slots\": $map/\"slots\": $n/"
        seed "$n" 1 unmap
        seed "$n" 2 'unmap 2M'
        seed "$n" 3 'move active'
        seed "$n" 4 'move inactive'
    done
}

# run OP SLOTS PROGRAM...: prints what PROGRAM measured, and a failed run of OP if
# it did not end well
run() {
    _op=$1 _slots=$2
    shift 2
    { "$@" || printf '\n{"op": "%s", "slots": %s, "failed": %s}\n' "$_op" "$_slots" "$?"; } |
        grep --line-buffered '^{'
}

# raw OPTION...: the kernel alone, one by one and in one list
raw() {
    for n in $(echo "$slots" | tr , ' '); do
        iterations=3
        [ "$n" -lt 5000 ] || iterations=1
        run raw "$n" "$selftests/memslot_batch_perf_test" -s "$n" -i "$iterations" "$@"
    done
}

qemu() {
    [ $((round % 2)) = 1 ] || set -- "$@" --reverse
    run qemu 0 env QTEST_QEMU_BINARY=build/qemu/out/qemu-system-x86_64 \
        POSTERN_QEMU_UPSTREAM=build/qemu-testdev/out/qemu-system-x86_64 \
        build/qemu/out/tests/qtest/postern-bench-memslots --slots="$slots" \
        --upstream-max="$upstream_max" "$@"
}

case $part in
seed) seed_rows ;;
idle)
    raw
    qemu
    ;;
run)
    raw -r
    qemu --run
    ;;
esac
echo "all runs made"
