#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# soak.sh [N [SEED [TOUR]]]: N migrations (200) of guests that check each word of
# their memory.  All else is random, from SEED (the time of day): memory and its
# back end, vCPUs, load, bandwidth, preempt, the network cut or stalled,
# migrate-pause, stop and cont, memslots changed, dirty pages logged.
#
# It uses as many emulated hosts at a time as there are processors, and memory for
# them; with TOUR, the number of the first tour, only one.  Ends with 1 if a word
# was wrong, a guest was lost or something hung, and says how to repeat that tour.

set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=scripts/common.sh
. "$root/scripts/common.sh"
# shellcheck source=scripts/run/arch.sh
. "$root/scripts/run/arch.sh"

n=${1:-200} seed=${2:-$(($(date +%s) % 1000000))} tour=${3:-}
usage="usage: $0 [N [SEED [TOUR]]]"
case $n$seed$tour in
*[!0-9]*) die "$usage" ;;
esac
# "08" is invalid in some shells, and 8 in others.
case "$n $seed $tour " in
0* | *" 0"[0-9]*) die "$usage" ;;
esac
memory=3072

build_what_runs
room=$(awk -v each="$memory" '$1 == "MemAvailable:" { print int($2 / 1024 / each) }' \
    /proc/meminfo)
hosts=$(nproc)
[ "$hosts" -le "$n" ] || hosts=$n
[ "$hosts" -le "$room" ] || hosts=$room
[ "$hosts" -gt 0 ] || die "an emulated host takes $memory MiB of memory"
[ -z "$tour" ] || hosts=1
mkdir -p "$logs"
say "machine: $(machine), load $(load)"
say "$n migrations, seed $seed, $hosts emulated hosts of $arch"

# log HOST: the log of an emulated host, which has tours and a seed of its own
log() {
    echo "$logs/soak-$1.log"
}

pids=
i=0
while [ "$i" -lt "$hosts" ]; do
    count=$((n / hosts + (i < n % hosts ? 1 : 0)))
    # A migration takes some 15 s on a machine that is not busy.
    "$build/meson/testbed/testbed" "--arch=$arch" --smp=1 --memory=$memory \
        --timeout=$((600 + count * 150)) -- \
        "$programs/tests/qtest/postern-soak" \
        --kernel="$kernel" \
        --initrd="$build/meson/$guest" \
        --qemu="$programs/qemu-system-$arch" \
        --seed=$((seed + i * 1000000)) --tour="${tour:-0}" \
        --migrations="$count" >"$(log "$i")" 2>&1 &
    pids="$pids $!"
    i=$((i + 1))
done
trap 'kill $pids 2>/dev/null' INT TERM

# progress: the last line of each host about its progress
progress() {
    i=0
    while [ "$i" -lt "$hosts" ]; do
        say "    host $i: $(grep '^-- ' "$(log "$i")" | tail -n 1)"
        i=$((i + 1))
    done
}

ticking progress &
ticker=$!
status=0
for pid in $pids; do
    wait "$pid" || status=1
done
kill "$ticker" 2>/dev/null || :
wait "$ticker" 2>/dev/null || :

i=0
while [ "$i" -lt "$hosts" ]; do
    say "host $i (${logs#"$root/"}/soak-$i.log): $(grep ' tours, ' "$(log "$i")" ||
        echo 'no summary: it did not end by itself')"
    grep -h 'FAILED' "$(log "$i")" || :
    grep -q ' tours, ' "$(log "$i")" || status=1
    i=$((i + 1))
done
[ "$status" = 0 ] || die "not all went well"
