#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# postcopy.sh [PART]... [ROUNDS]: post-copy with pristine upstream QEMU
# against ours, ROUNDS times (2), in turn, on one emulated host with one CPU and
# our kernel.  PART is one of these; without any, all:
#
#   wall    a guest that uses its memory at random, 1 to 8 vCPUs, with and
#           without postcopy-preempt, a delay of the network and a limit for
#           pages sent unasked: how long its accesses waited, what it got done,
#           the time to the last page
#   walk    a guest that uses each page once, most of them missing: the
#           processor time of the destination, its guest included, for each of
#           them; the source is ours both times
#   icount  the same with instructions counted, for processor time; 1 vCPU, as
#           guests with more do not boot where instructions are counted.  There
#           a guest with one may hang, too: then the round is made again, up to
#           four times, and the tables are followed by how often
#
# An access is taken for one that waited for a page if it took 500 us or more. On
# the one processor, with several vCPUs, some only waited for their turn.
#
# The environment may narrow it: VCPUS (1,2,4,8; wall and walk), DELAYS of the
# network each way (0,30,1000, in us; wall), LIMITS for pages sent unasked (0,8,
# in MiB/s, 0 for none; wall).
#
# Prints tables; all figures go to build/bench-postcopy.json, and plots next to
# it, where there is gnuplot.  Ends with 1 if a run failed or is missing.

set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=scripts/common.sh
. "$root/scripts/common.sh"
# shellcheck source=scripts/setup/trees.sh
. "$root/scripts/setup/trees.sh"
# shellcheck source=scripts/bench/common.sh
. "$root/scripts/bench/common.sh"

usage() {
    die "usage: $0 [wall|walk|icount]... [ROUNDS]"
}

parts='' rounds=2
for arg; do
    case $arg in
    walk | wall | icount)
        case " $parts " in
        *" $arg "*) usage ;;
        esac
        parts="$parts $arg"
        ;;
    *[!0-9]* | '' | 0*) usage ;;
    *) rounds=$arg ;;
    esac
done
parts=${parts:-wall walk icount}
vcpus=${VCPUS:-1,2,4,8} delays=${DELAYS:-0,30,1000} limits=${LIMITS:-0,8}
case ,$vcpus,$delays,$limits, in
*[!0-9,]* | *,,*) die "VCPUS, DELAYS and LIMITS are lists of numbers, with commas between" ;;
esac
case ,$vcpus in
*,0*) die "VCPUS is a list of numbers above 0" ;;
esac

result=$build/bench-postcopy.json
work=$build/bench-postcopy
guest=testbed/guest/guest.cpio
tab=$(printf '\t')

# Where Debian has tc, and not everybody looks.
PATH=$PATH:/usr/sbin:/sbin
command -v tc >/dev/null || die "tc is missing, for the delays (Debian: iproute2)"

# What an earlier call left would pass for this one's, should this one fail.
rm -rf "$result" "$build"/bench-postcopy-*.svg "$work"
mkdir -p "$work" "$logs"
: >"$work/notes"

ninja -C "$build/meson" --quiet qemu.stamp linux.stamp testbed/testbed \
    testbed/initramfs.gz "$guest" || die "the build failed"
unpack_again qemu qemu-stock
"$root/scripts/build/qemu.sh" --stock build x86_64
stock=$(tree_version qemu "$build/qemu-stock/src")
ours=$(tree_version qemu "$build/qemu/src")
[ "$stock" = "$ours" ] ||
    die "build/qemu-stock/src is QEMU $stock, ours is of $ours: remove build/qemu-stock"

# boot_l1 LOG TIMEOUT CLOCK BENCH-OPTION...: one round in a boot of its own
boot_l1() {
    _log=$1 _timeout=$2 _clock=$3
    shift 3
    "$build/meson/testbed/testbed" --smp=1 --memory=2048 --timeout="$_timeout" \
        ${_clock:+"$_clock"} -- \
        "$build/qemu/out/tests/qtest/postern-bench" \
        --kernel="$build/linux/out/arch/x86/boot/bzImage" \
        --initrd="$build/meson/$guest" \
        --upstream="$build/qemu-stock/out/qemu-system-x86_64" \
        --postern="$build/qemu/out/qemu-system-x86_64" \
        --round="$_round" "$@" >"$_log" 2>&1
}

# in_l1 PART ROUND EXPECTED BENCH-OPTION...: one round, of that many runs
in_l1() {
    _part=$1 _round=$2 _expected=$3
    shift 3
    say "    $_part, round $_round of $rounds" >&2
    _log=$logs/bench-postcopy-$_part-$_round.log
    # Where instructions are counted it takes two minutes, or hangs.
    _timeout=3400 _clock='' _boots=1
    [ "$_part" != icount ] || _timeout=300 _clock=--icount _boots=5
    while :; do
        _status=0
        boot_l1 "$_log" "$_timeout" "$_clock" "$@" || _status=$?
        if [ "$_status" != 124 ] || [ $((_boots -= 1)) = 0 ]; then
            break
        fi
        echo "$_round" >>"$work/$_part.hung"
    done
    [ "$_status" = 0 ] ||
        note "$_part, round $_round: ended with status $_status ($_log)"
    whole_runs "$_log" "\"part\": \"$_part\"" >"$work/new.runs"
    _made=$(wc -l <"$work/new.runs")
    [ "$_made" = "$_expected" ] ||
        note "$_part, round $_round: $_made of $_expected runs ($_log)"
    cat "$work/new.runs" >>"$work/$_part.runs"
}

# length LIST
length() {
    echo "$1" | tr , '\n' | wc -l
}

run_part() {
    : >"$work/$1.runs"
    _n=0
    while [ $((_n += 1)) -le "$rounds" ]; do
        case $1 in
        wall)
            # two modes, two sides
            in_l1 wall "$_n" $(($(length "$vcpus") * $(length "$delays") * $(length "$limits") * 4)) \
                --vcpus="$vcpus" --delays="$delays" --limits="$limits"
            ;;
        walk | icount)
            _vcpus=$vcpus
            [ "$1" = walk ] || _vcpus=1
            in_l1 "$1" "$_n" $(($(length "$_vcpus") * 4)) \
                --vcpus="$_vcpus" --walk --delays=0 --limits=0 --memory=96 --percent=30
            ;;
        esac
    done
}

# metrics PART: name and title of each
metrics() {
    case $1 in
    wall)
        printf '%s\t%s\n' p50_us "Time that an access waited, p50, us" \
            p99_us "Time that an access waited, p99, us" \
            wait_us "Time that accesses waited altogether, us" \
            waiting "Part of the vCPUs' time that accesses waited, %" \
            waits "Accesses that took 500 us or more" \
            ops_per_s "The guest's operations a second, from just before the switch" \
            postcopy_us "Time from the switch to the last page, us"
        ;;
    walk)
        printf '%s\t%s\n' dst_ns "Processor time of the destination for a page that is used, ns" \
            requested "Pages asked for"
        ;;
    icount)
        printf '%s\t%s\n' dst_ns "Instructions of the destination for a page that is used" \
            requested "Pages asked for"
        ;;
    esac
}

# plot PART METRIC TITLE: both sides' medians over the vCPUs, plain, no delay
plot() {
    command -v gnuplot >/dev/null || return 0
    for row in upstream postern; do
        printf '"%s"\n' "$row"
        awk -F "$tab" -v OFS="$tab" -v row="$row" '
            $2 == row && $1 ~ /plain, 0 us$/ && $5 != "-" {
                print $1 + 0, $5, $6, $7
            }' "$work/$1-$2.stats"
        printf '\n\n'
    done >"$work/$1-$2.data"
    svg "$build/bench-postcopy-$1-$2.svg" "$work/$1-$2.data" 2 "$3 (plain, no delay)"
}

machine=$(machine | paste -s -d / -)
load_before=$(load)
cd "$root"
for part in $parts; do
    run_part "$part"
done
load_after=$(load)

say "machine: $machine; load before: $load_before, after: $load_after"
say "L1: Linux $(tree_version linux "$build/linux/src"), emulated, one CPU; upstream: QEMU" \
    "$stock; $rounds rounds: median (least..most)"
for part in $parts; do
    metrics "$part" | while IFS=$tab read -r metric title; do
        stats=$work/$part-$metric.stats
        awk -v metric="$metric" -f "$root/scripts/bench/field.awk" \
            -f "$root/scripts/bench/postcopy-runs.awk" "$work/$part.runs" |
            awk -v base=upstream -v expected="$rounds" -f "$root/scripts/bench/stats.awk" >"$stats"
        printf '\n%s\n\n' "$title"
        awk -f "$root/scripts/bench/postcopy-table.awk" "$stats"
        plot "$part" "$metric" "$title"
    done
    if [ -s "$work/$part.hung" ]; then
        printf '\nBoots that hung and were made again: %s\n' "$(wc -l <"$work/$part.hung")"
    fi
done

for part in $parts; do
    cat "$work/$part.runs"
done >"$work/all.runs"
strings "$work/notes" >"$work/all.notes"
printf '%s\n' '{' "  \"machine\": \"$machine\"," \
    "  \"kernel\": \"$(tree_version linux "$build/linux/src")\"," \
    "  \"upstream\": \"$stock\"," \
    "  \"rounds\": $rounds," \
    "  \"load_before\": \"$load_before\", \"load_after\": \"$load_after\"," \
    '  "notes": [' "$(objects "$work/all.notes")" '  ],' \
    '  "runs": [' "$(objects "$work/all.runs")" '  ]' '}' >"$result"

say ""
say "All figures: ${result#"$root/"}"
if [ -s "$work/notes" ]; then
    cat "$work/notes" >&2
    exit 1
fi
