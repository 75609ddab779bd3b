#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The statistics of benchmarks, stats.awk, and their table.

set -eu
# shellcheck source=scripts/tests/tap.sh
. "$(dirname "$0")/tap.sh"

# stats LINE...: with blanks for tabs; likewise what comes out
stats() {
    printf '%s\n' "$@" | tr ' ' '\t' |
        awk -v base=slow -f "$scripts/bench/stats.awk" | tr '\t' ' '
}

is "median, least, most, of an odd number, in any order" \
    "$(stats '1 2 a 30' '2 2 a 10' '3 2 a 20')" \
    "2 a 3 0 20 10 30 - - -"
is "the mean of the two in the middle of an even number" \
    "$(stats '1 2 a 4' '2 2 a 1' '3 2 a 3' '4 2 a 100')" \
    "2 a 4 0 3.5 1 100 - - -"
is "numbers are compared as numbers" "$(stats '1 2 a 9' '2 2 a 10' '3 2 a 100')" \
    "2 a 3 0 10 9 100 - - -"
is "a ratio compares runs of the same round" \
    "$(stats '1 2 slow 10' '1 2 a 20' '2 2 slow 100' '2 2 a 300' '3 2 a 7')" \
    "2 slow 2 0 55 10 100 1 1 1
2 a 3 0 20 7 300 2.5 2 3"
is "and of the same group" \
    "$(stats '1 2 slow 10' '1 4 slow 20' '1 4 a 60' | tail -n 1)" \
    "4 a 1 0 60 60 60 3 3 3"
is "a run that failed is counted, and no figure" \
    "$(stats '1 2 slow 10' '1 2 a failed' '2 2 slow 10' '2 2 a 5')" \
    "2 slow 2 0 10 10 10 1 1 1
2 a 2 1 5 5 5 0.5 0.5 0.5"
is "one whose base failed has no ratio" \
    "$(stats '1 2 slow failed' '1 2 a 5')" \
    "2 slow 1 1 - - - - - -
2 a 1 0 5 5 5 - - -"
is "runs that are missing count as failed" \
    "$(printf '1\t2\ta\t5\n1\t2\tb\tfailed\n' |
        awk -v base=slow -v expected=3 -f "$scripts/bench/stats.awk" | cut -f1-5 | tr '\t' ' ')" \
    "2 a 3 2 5
2 b 3 3 -"
is "large numbers stay whole" "$(stats '1 2 a 1234567890')" \
    "2 a 1 0 1234567890 1234567890 1234567890 - - -"

# table LINE...: with blanks for tabs
table() {
    printf '%s\n' "$@" | tr ' ' '\t' |
        awk -v group=vCPUs -v value=pages/s -v base=slow -v seed="$work/seed" \
            -f "$scripts/bench/table.awk"
}

printf '2\ta\t1.234\n' >"$work/seed"
table=$(table '2 slow 3 0 10 9 11 1 1 1' '2 a 3 1 25 24 26 2.5 2.4 2.6' \
    '4 slow 1 1 - - - - - -')
matches "a column for each group" "$table" '^median pages/s +2 +4 +vCPUs$'
matches "and the medians in it" "$table" '^  slow +10.0 +-$'
matches "ratio, spread, the seed's, and failures" "$table" \
    '^  a +25.0 \(24.0..26.0\) +2.50 \(2.40..2.60\) +1.234  1 of 3 runs failed$'
matches "a group with failures only" "$table" '^  slow +- +- +1 of 1 runs failed$'
is "a row that a group has no run of: an empty cell, no line in the group" \
    "$(printf '%s\n' "$table" | tr -s ' ')" \
    "median pages/s 2 4 vCPUs
 slow 10.0 -
 a 25.0

vCPUs: 2 pages/s x slow seed
 slow 10.0 (9.00..11.0) 1.00 (1.00..1.00)
 a 25.0 (24.0..26.0) 2.50 (2.40..2.60) 1.234 1 of 3 runs failed

vCPUs: 4 pages/s x slow seed
 slow - - 1 of 1 runs failed"
is "and so where it is the first group's, in its column" \
    "$(table '2 slow 1 0 10 10 10 1 1 1' '4 a 1 0 5 5 5 - - -' | head -n 3)" \
    "median pages/s                 2         4  vCPUs
  slow                      10.0
  a                                   5.00"

# runs METRIC LINE...: a figure of runs of post-copy
runs() {
    _metric=$1
    shift
    printf '%s\n' "$@" | awk -v metric="$_metric" -f "$scripts/bench/field.awk" \
        -f "$scripts/bench/postcopy-runs.awk" | tr '\t' '|'
}

run='{"round": 2, "vcpus": 4, "mode": "plain", "limit_mib_s": 0, "delay_us": 30, "side": "upstream", '
is "post-copy: a figure as it is" "$(runs p50_us "$run\"p50_us\": 17}")" \
    "2|4 vCPUs, plain, 30 us|upstream|17"
is "post-copy: operations in the time that it took" \
    "$(runs ops_per_s "$run\"ops\": 30, \"guest_us\": 2000000, \"postcopy_us\": 9}")" \
    "2|4 vCPUs, plain, 30 us|upstream|15"
is "post-copy: processor time for a page that was used" \
    "$(runs dst_ns "$run\"pages\": 2, \"dst_ns\": 100, \"requested\": 5}")" \
    "2|4 vCPUs, plain, 30 us|upstream|50"
is "post-copy: a limit makes another group" \
    "$(runs waits "$(echo "$run\"waits\": 3}" | sed 's/s": 0/s": 8/')")" \
    "2|4 vCPUs, plain, 30 us, 8 MiB/s|upstream|3"
is "post-copy: both sides, and the ratio; what there is none of" \
    "$(printf '%s\n' 'g upstream 1 0 200 100 300 1 1 1' 'g postern 1 0 50 40 60 0.25 0.2 0.3' \
        'h upstream 1 0 3 3 3 1 1 1' | tr ' ' '\t' |
        awk -f "$scripts/bench/postcopy-table.awk" | tail -n +2 | tr -s ' ')" \
    " g 200 (100..300) 50.00 (40.00..60.00) 0.25 (0.20..0.30)
 h 3.00 (3.00..3.00) - -"

# userfault.sh, with the selftests and what starts them played by scripts
make_checkout
mkdir -p "$top/build/meson/testbed" "$top/build/linux/selftests" "$work/bin"
cat >"$top/build/meson/testbed/testbed" <<'END'
#!/bin/sh
while [ "$1" != -- ]; do shift; done
shift
[ ! -e "$LOST_L1" ] || { rm "$LOST_L1"; exit 3; }
exec "$@"
END
cat >"$top/build/linux/selftests/userfault_perf_test" <<'END'
#!/bin/sh
case $2-$4 in
$BROKEN) echo "something is wrong"; exit 4 ;;
$SILENT) echo "nothing to tell" ;;
*) echo "{\"mode\": \"$2\", \"vcpus\": $4, \"pages\": 10, \"ns\": 500, \"pages_per_s\": 7}" ;;
esac
END
cat >"$top/build/linux/selftests/userfault_memslot_perf_test" <<'END'
#!/bin/sh
[ "$2" != "$BROKEN" ] || exit 1
echo "{\"op\": \"move\", \"slots\": $2, \"count\": 500, \"median_ns\": 20}"
END
printf '#!/bin/sh\n' >"$work/bin/ninja"
printf '#!/bin/sh\necho 2\n' >"$work/bin/nproc"
printf '#!/bin/sh\nexit 1\n' >"$work/bin/gnuplot"
chmod +x "$top/build/meson/testbed/testbed" "$top/build/linux/selftests"/* "$work/bin"/*
export PATH="$work/bin:$PATH" BROKEN=none-none SILENT=none-none LOST_L1="$work/lost"

# bench ARG...: sets said and status
bench() {
    status=0
    said=$("$top/scripts/bench/userfault.sh" "$@" 2>&1) || status=$?
}

json=$top/build/bench-userfault.json
# json_count PATTERN
json_count() {
    grep -c -- "$1" "$json"
}

touch "$json" "$top/build/bench-userfault-wall.svg"
bench icount off 2
is "all runs are there, and no plot, which nothing else depends on" "$status" 0
matches "a plot that failed is told" "$said" 'warning: no plot bench-userfault-icount'
is "results, a line for each run" "$(json_count '"round"')" 128
is "plots of an earlier call are gone" "$(find "$top/build" -name '*.svg')" ""

BROKEN=kvm-4 bench icount 2
is "a run that fails: 1 at the end" "$status" 1
matches "it is told" "$said" '^icount, round 2, linux: failed: .*"kvm", "vcpus": 4, "failed": 4}$|^  icount, round 2.*"failed": 4}$'
matches "and counted, after the tables" "$said" '2 of 2 runs failed$'
is "and in the results, with the others" "$(json_count '"round"')" 112

SILENT=kvm-4 bench icount 2
is "one that says nothing: 1 at the end" "$status" 1
is "and is in the results" "$(json_count '"failed": "no output"')" 2

touch "$LOST_L1"
bench icount 2
is "an L1 that is lost: 1 at the end" "$status" 1
matches "its runs are missing" "$said" '1 of 2 runs failed$'
matches "which is told" "$said" '^  icount, round 1, linux: the testbed ended with status 3'
is "the others are in the results" "$(json_count '"round"')" 56

BROKEN=509 bench off 1
is "memslot operations that fail: 1 at the end" "$status" 1
is "they have no group without a name" "$(printf '%s\n' "$said" | grep -c '^, ')" 0

BROKEN='*' bench wall 1
is "everything fails: 1 at the end" "$status" 1
matches "fewer CPUs than L1's are warned of" "$said" "^warning: L1's 4 CPUs share 2 "
matches "every row is there" "$said" '^  kvm-minor +- +- +1 of 1 runs failed$'

for rounds in 0 00 x 3x ''; do
    bench "$rounds"
    matches "'$rounds' rounds" "$status $said" '^1 .*usage: '
done

done_testing
