#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# userfault.sh [PART]... [ROUNDS]: how pages are brought on demand, with
# userfaultfd and with KVM userfault, ROUNDS times (3), all ways in turn in one
# boot of L1.  PART is one of these; without any, all of them:
#
#   icount  instructions a page, with 1 to 64 vCPUs on one CPU of L1
#   wall    pages/s by the clock, with 1 to 8 vCPUs on four CPUs of L1;
#           wants as many of its machine (a warning says where it has less)
#   off     what the feature costs where it is off: our kernel and the stock
#           one in turn, instructions a page and an operation on a memslot
#
# Prints tables; all figures go to build/bench-userfault.json, and plots next to
# it, where there is gnuplot.  Ends with 1 if a run failed or is missing.

set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=scripts/common.sh
. "$root/scripts/common.sh"
# shellcheck source=scripts/bench/common.sh
. "$root/scripts/bench/common.sh"

parts='' rounds=3
for arg; do
    case $arg in
    icount | wall | off) parts="$parts $arg" ;;
    *[!0-9]* | '' | 0*) die "usage: $0 [icount|wall|off]... [ROUNDS]" ;;
    *) rounds=$arg ;;
    esac
done
parts=${parts:-icount wall off}
wall_cpus=4

result=$build/bench-userfault.json
work=$build/bench-userfault
tab=$(printf '\t')

# What an earlier call left would pass for this one's, should this one fail.
rm -rf "$result" "$build"/bench-userfault-*.svg "$work"

targets='qemu.stamp linux.stamp selftests.stamp testbed/testbed testbed/initramfs.gz'
case $parts in
*off*) targets="$targets linux-stock.stamp" ;;
esac
# shellcheck disable=SC2086 # a list
ninja -C "$build/meson" --quiet $targets || die "the build failed"

# in_l1 PART ROUND KERNEL [TESTBED-OPTION]...: one round; its runs, each with
# where it belongs, are added to $work/PART.runs
in_l1() {
    _part=$1 _round=$2 _kernel=$3
    shift 3
    say "    $_part, round $_round of $rounds, $_kernel" >&2
    _log=$logs/bench-userfault-$_part-$_round-$_kernel.log
    _status=0
    "$build/meson/testbed/testbed" --kernel="$build/$_kernel/out/arch/x86/boot/bzImage" \
        --timeout=1800 "$@" -- \
        "$root/scripts/bench/userfault-l1.sh" "$_round" "$_part" >"$_log" 2>&1 || _status=$?
    [ "$_status" = 0 ] ||
        note "$_part, round $_round, $_kernel: the testbed ended with status $_status ($_log)"
    grep -q '^all runs made' "$_log" ||
        note "$_part, round $_round, $_kernel: runs are missing ($_log)"
    grep '^{.*"failed"' "$_log" | while read -r _run; do
        note "$_part, round $_round, $_kernel: failed: $_run"
    done
    whole_runs "$_log" "\"part\": \"$_part\", \"round\": $_round, \"kernel\": \"$_kernel\"" \
        >>"$work/$_part.runs"
}

run_part() {
    if [ "$1" = wall ] && [ "$(nproc)" -lt "$wall_cpus" ]; then
        warn "L1's $wall_cpus CPUs share $(nproc) here: what threads wait for one" \
            "another, more than what they do at once, is what \"wall\" measures"
    fi
    : >"$work/$1.runs"
    _n=0
    while [ $((_n += 1)) -le "$rounds" ]; do
        case $1 in
        icount) in_l1 icount "$_n" linux --icount ;;
        wall) in_l1 wall "$_n" linux --smp="$wall_cpus" ;;
        off)
            if [ $((_n % 2)) = 1 ]; then order='linux-stock linux'; else order='linux linux-stock'; fi
            for kernel in $order; do
                in_l1 off "$_n" "$kernel" --icount
            done
            ;;
        esac
    done
}

# seed_ratios: of the posted figures, as table.awk takes them
seed_ratios() {
    awk '
        $1 == "#" && $2 == "row" { for (i = 3; i <= NF; i++) group[i - 1] = $i }
        /^#/ { next }
        {
            row[++n] = $1
            for (i = 2; i <= NF; i++)
                value[$1, i] = $i
        }
        END {
            for (r = 1; r <= n; r++)
                for (i = 2; i in group; i++)
                    printf "%s\t%s\t%.2f\n", group[i], row[r],
                           value[row[r], i] / value["missing", i]
        }' "$root/scripts/bench/userfault-seed.list"
}

# table PART TITLE OPTION...: the options are variables of table.awk
table() {
    _part=$1
    printf '\n%s\n\n' "$2"
    shift 2
    awk "$@" -f "$root/scripts/bench/table.awk" "$work/$_part.stats"
}

rows() {
    cut -f2 "$work/$1.stats" | awk '!seen[$0]++'
}

# plot PART TITLE: the medians over the vCPUs, with least and most
plot() {
    command -v gnuplot >/dev/null || return 0
    rows "$1" | while read -r row; do
        printf '"%s"\n' "$row"
        awk -F "$tab" -v OFS="$tab" -v row="$row" \
            '$2 == row && $5 != "-" { print $1, $5, $6, $7 }' "$work/$1.stats"
        printf '\n\n'
    done >"$work/$1.data"
    svg "$build/bench-userfault-$1.svg" "$work/$1.data" "$(rows "$1" | wc -l)" "$2"
}

stats_json() {
    for part in $parts; do
        awk -F "$tab" -v part="$part" '
            function number(x) { return x == "-" ? "null" : x }
            {
                printf "{\"part\": \"%s\", \"group\": \"%s\", \"row\": \"%s\", ", part, $1, $2
                printf "\"runs\": %s, \"failed\": %s, ", $3, $4
                printf "\"median\": %s, \"least\": %s, \"most\": %s, ",
                       number($5), number($6), number($7)
                printf "\"ratio\": %s, \"least_ratio\": %s, \"most_ratio\": %s}\n",
                       number($8), number($9), number($10)
            }' "$work/$part.stats"
    done
}

json() {
    for part in $parts; do
        cat "$work/$part.runs"
    done >"$work/all.runs"
    stats_json >"$work/all.stats"
    strings "$work/notes" >"$work/all.notes"
    printf '%s\n' '{' "  \"machine\": \"$machine\"," \
        "  \"kernel\": \"$(tree_version linux "$build/linux/src")\"," \
        "  \"rounds\": $rounds," \
        "  \"load_before\": \"$load_before\", \"load_after\": \"$(load)\"," \
        '  "notes": [' "$(objects "$work/all.notes")" '  ],' \
        '  "stats": [' "$(objects "$work/all.stats")" '  ],' \
        '  "runs": [' "$(objects "$work/all.runs")" '  ]' '}' >"$result"
}

mkdir -p "$work" "$logs"
: >"$work/notes"
# one line, also where not all processors are the same
machine=$(machine | paste -s -d / -)
load_before=$(load)
seed_ratios >"$work/seed"

cd "$root"
for part in $parts; do
    run_part "$part"
    case $part in
    off) base=linux-stock ;;
    *) base=missing ;;
    esac
    awk -v part="$part" -f "$root/scripts/bench/field.awk" \
        -f "$root/scripts/bench/userfault-runs.awk" "$work/$part.runs" >"$work/$part.table"
    awk -v base="$base" -v expected="$rounds" -f "$root/scripts/bench/stats.awk" \
        "$work/$part.table" >"$work/$part.stats"
    lost=$(awk -F "$tab" '{ n += $4 } END { print n + 0 }' "$work/$part.stats")
    [ "$lost" = 0 ] || note "$part: $lost figures are missing, see the table"
done
json

say "machine: $machine; load before: $load_before, after: $(load)"
say "L1: Linux $(tree_version linux "$build/linux/src"), emulated; $rounds rounds: median (least..most)"
for part in $parts; do
    case $part in
    icount)
        table icount "Instructions a page, one CPU, 16 MiB altogether" \
            -v group=vCPUs -v value=instructions -v base=missing
        plot icount "Instructions a page (one emulated CPU)"
        ;;
    wall)
        table wall "Pages/s by the clock, four CPUs of L1 on $(nproc), 4 MiB a vCPU; seed: see scripts/bench/userfault-seed.list" \
            -v group=vCPUs -v value=pages/s -v base=missing -v seed="$work/seed"
        plot wall "Pages/s (four emulated CPUs on $(nproc))"
        ;;
    off)
        table off "With the feature off: instructions a page or operation, one CPU" \
            -v group='' -v value=instructions -v base=linux-stock
        ;;
    esac
done
say ''
command -v gnuplot >/dev/null || say "no gnuplot: plots skipped (package gnuplot-nox)"
say "The same figures as JSON: ${result#"$root/"}"
if [ -s "$work/notes" ]; then
    printf '\nWhat failed:\n'
    sed 's/^/  /' "$work/notes"
    exit 1
fi
