#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# memslots.sh [PART]... [ROUNDS]: what changes of memslots and of QEMU's
# memory regions cost, next to 10 to 32,000 of them, ROUNDS times (3), all ways in
# turn in one boot of L1, whose clock counts instructions.  PART is one of these;
# without any, all of them:
#
#   seed    the table of the scalable memslots posting: map, unmap, unmap 2M, move
#           active, move inactive, slot setup, by upstream's memslot_perf_test
#   idle    ioctls one by one and in one list, and through QEMU's memory API one
#           by one and in one transaction: pristine upstream QEMU (with our
#           memory-testdev in it, which makes the changes), ours, and ours without
#           lists; no vCPU runs
#   run     the same while a vCPU runs
#
# The environment may narrow it: SLOTS (10,30,50,100,509,1900,32000).  Upstream
# goes to 1900: with some more regions than that it ends itself.
#
# Prints tables; all figures go to build/bench-memslots.json, and plots next to
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
    seed | idle | run) parts="$parts $arg" ;;
    *[!0-9]* | '' | 0*) die "usage: $0 [seed|idle|run]... [ROUNDS]" ;;
    *) rounds=$arg ;;
    esac
done
parts=${parts:-seed idle run}
slots=${SLOTS:-10,30,50,100,509,1900,32000}
case $slots in
*[!0-9,]* | *,,* | ,* | *,) die "SLOTS is a list of numbers, with commas between" ;;
esac
upstream_max=1900

result=$build/bench-memslots.json
work=$build/bench-memslots
tab=$(printf '\t')

# What an earlier call left would pass for this one's, should this one fail.
rm -rf "$result" "$build"/bench-memslots-*.svg "$work"
mkdir -p "$work" "$logs"
: >"$work/notes"

ninja -C "$build/meson" --quiet qemu.stamp linux.stamp selftests.stamp \
    testbed/testbed testbed/initramfs.gz || die "the build failed"
case $parts in
*idle* | *run*)
    "$root/scripts/setup/testdev-tree.sh"
    "$root/scripts/build/qemu.sh" --testdev build x86_64
    upstream=$(tree_version qemu "$build/qemu-testdev/src")
    [ "$upstream" = "$(tree_version qemu "$build/qemu/src")" ] ||
        die "build/qemu-testdev/src is another QEMU than ours: remove build/qemu-testdev"
    ;;
esac

# in_l1 PART ROUND: its runs are added to $work/PART.runs
in_l1() {
    say "    $1, round $2 of $rounds" >&2
    _log=$logs/bench-memslots-$1-$2.log
    _status=0
    "$build/meson/testbed/testbed" --icount --memory=4096 --timeout=7200 -- \
        "$root/scripts/bench/memslots-l1.sh" "$2" "$1" "$slots" "$upstream_max" \
        >"$_log" 2>&1 || _status=$?
    [ "$_status" = 0 ] ||
        note "$1, round $2: the testbed ended with status $_status ($_log)"
    grep -q '^all runs made' "$_log" || note "$1, round $2: runs are missing ($_log)"
    grep '^{.*"failed"' "$_log" | while read -r _run; do
        note "$1, round $2: failed: $_run"
    done
    whole_runs "$_log" "\"part\": \"$1\", \"round\": $2" >>"$work/$1.runs"
}

# tables_of PART: a line each
tables_of() {
    case $1 in
    seed) echo seed ;;
    *) printf '%s\n' setup 'move all' 'delete all' 'replace half' \
        'delete and add one' 'move one' ;;
    esac
}

# stats PART TABLE FILE
stats() {
    awk -v table="$2" -f "$root/scripts/bench/field.awk" \
        -f "$root/scripts/bench/memslots-runs.awk" "$work/$1.runs" >"$3.table"
    awk -v base='raw, one by one' -v expected="$rounds" \
        -f "$root/scripts/bench/stats.awk" "$3.table" >"$3.stats"
}

plot() {
    command -v gnuplot >/dev/null || return 0
    cut -f2 "$1.stats" | awk '!seen[$0]++' >"$1.rows"
    while read -r row; do
        printf '"%s"\n' "$row"
        awk -F "$tab" -v OFS="$tab" -v row="$row" \
            '$2 == row && $5 != "-" { print $1, $5, $6, $7 }' "$1.stats"
        printf '\n\n'
    done <"$1.rows" >"$1.data"
    svg "$build/bench-memslots-${1##*/}.svg" "$1.data" "$(wc -l <"$1.rows")" "$2" \
        'set xlabel "memory regions"
         set ylabel "us"
         set logscale xy 10
         set yrange [*:*]'
}

# goals PART: the ratios that are to be kept small, as far as they were measured
goals() {
    awk -F "$tab" '
        { median[FILENAME, $2, $1] = $5 }
        function of(file, row, slots) { return median[work "-" file ".stats", row, slots] }
        function goal(text, x, y, at_most) {
            if (x > 0 && y > 0)
                printf "  %-66s %7.3f  (goal: %s)\n", text, x / y, at_most
        }
        END {
            goal("move one through QEMU: 32000 regions / 10", of("move-one", "postern", 32000),
                 of("move-one", "postern", 10), "3")
            goal("  without lists", of("move-one", "postern, no lists", 32000),
                 of("move-one", "postern, no lists", 10), "3")
            raw = of("setup", "raw, one by one", 32000)
            goal("set up 32000 through QEMU, no lists / raw one by one",
                 of("setup", "postern, no lists, batched", 32000), raw, "1.5")
            goal("set up 32000 through QEMU / raw one by one",
                 of("setup", "postern, batched", 32000), raw, "0.5")
            goal("set up 32000, raw: one list / one by one",
                 of("setup", "raw, one list", 32000), raw, "0.2")
        }' work="$work/$1" "$work/$1-setup.stats" "$work/$1-move-one.stats"
}

for part in $parts; do
    : >"$work/$part.runs"
done
machine=$(machine | paste -s -d / -)
load_before=$(load)

cd "$root"
n=0
while [ $((n += 1)) -le "$rounds" ]; do
    for part in $parts; do
        in_l1 "$part" "$n"
    done
done

for part in $parts; do
    tables_of "$part" | while read -r table; do
        stats "$part" "$table" "$work/$part-$(echo "$table" | tr ' ' -)"
    done
done

stats_json() {
    for part in $parts; do
        tables_of "$part" | while read -r table; do
            awk -F "$tab" -v part="$part" -v table="$table" '
                function number(x) { return x == "-" ? "null" : x }
                {
                    printf "{\"part\": \"%s\", \"table\": \"%s\", \"slots\": %s, ",
                           part, table, $1
                    printf "\"row\": \"%s\", \"runs\": %s, \"failed\": %s, ", $2, $3, $4
                    printf "\"median_us\": %s, \"least\": %s, \"most\": %s, ",
                           number($5), number($6), number($7)
                    printf "\"ratio\": %s}\n", number($8)
                }' "$work/$part-$(echo "$table" | tr ' ' -).stats"
        done
    done
}

stats_json >"$work/all.stats"
for part in $parts; do
    cat "$work/$part.runs"
done >"$work/all.runs"
strings "$work/notes" >"$work/all.notes"
printf '%s\n' '{' "  \"machine\": \"$machine\"," \
    "  \"kernel\": \"$(tree_version linux "$build/linux/src")\"," \
    "  \"qemu\": \"$(tree_version qemu "$build/qemu/src")\"," \
    "  \"rounds\": $rounds," \
    "  \"load_before\": \"$load_before\", \"load_after\": \"$(load)\"," \
    '  "notes": [' "$(objects "$work/all.notes")" '  ],' \
    '  "stats": [' "$(objects "$work/all.stats")" '  ],' \
    '  "runs": [' "$(objects "$work/all.runs")" '  ]' '}' >"$result"

say "machine: $machine; load before: $load_before, after: $(load)"
say "L1: Linux $(tree_version linux "$build/linux/src"), one emulated CPU whose clock counts"
say "instructions, 1 ns each; $rounds rounds: median (least..most)"
for part in $parts; do
    case $part in
    seed) what='The seed'"'"'s table, us for an iteration' ;;
    idle) what='No vCPU runs' ;;
    run) what='A vCPU runs' ;;
    esac
    tables_of "$part" | while read -r table; do
        file=$work/$part-$(echo "$table" | tr ' ' -)
        case $table in
        seed) printf '\n%s\n\n' "$what" ;;
        *one) printf '\n%s: %s, us\n\n' "$what" "$table" ;;
        *) printf '\n%s: %s, us for each\n\n' "$what" "$table" ;;
        esac
        awk -v width=30 -v group=memslots -v value=us -v base='raw, one by one' \
            -f "$root/scripts/bench/table.awk" "$file.stats"
        plot "$file" "$what: $table"
    done
    if [ "$part" != seed ]; then
        printf '\n%s: what is to be small\n\n' "$what"
        goals "$part"
    fi
done
say ''
command -v gnuplot >/dev/null || say "no gnuplot: plots skipped (package gnuplot-nox)"
say "The same figures as JSON: ${result#"$root/"}"
if [ -s "$work/notes" ]; then
    printf '\nWhat failed:\n'
    sed 's/^/  /' "$work/notes"
    exit 1
fi
