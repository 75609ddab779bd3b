#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The statistics of benchmarks, bench-stats.awk, and their table.

set -eu
# shellcheck source=scripts/tests/tap.sh
. "$(dirname "$0")/tap.sh"

# stats LINE...: with blanks for tabs; likewise what comes out
stats() {
    printf '%s\n' "$@" | tr ' ' '\t' |
        awk -v base=slow -f "$scripts/bench-stats.awk" | tr '\t' ' '
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
is "large numbers stay whole" "$(stats '1 2 a 1234567890')" \
    "2 a 1 0 1234567890 1234567890 1234567890 - - -"

# table LINE...: with blanks for tabs
table() {
    printf '%s\n' "$@" | tr ' ' '\t' |
        awk -v group=vCPUs -v value=pages/s -v base=slow -v seed="$work/seed" \
            -f "$scripts/bench-table.awk"
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

done_testing
