# SPDX-License-Identifier: GPL-2.0-or-later
#
# stats.awk: medians of what was measured in several rounds.
#
#     awk -v base=ROW [-v expected=N] -f stats.awk RUNS
#
# RUNS has a line for each run, of fields that tabs separate: round, group, row
# and value, where a value of "failed" stands for a run without one.  Where there
# are less than N runs of a row, those that are missing count as failed.  Prints
# for each group and row, in the order in which they came, tabs between:
#
#     group row runs failed median least most ratio least-ratio most-ratio
#
# A ratio compares a row with the row ROW of its group.  It is the median of
# the ratios of the rounds: whatever slowed a round slowed both.  "-" stands for
# what there is none of.

BEGIN { FS = OFS = "\t" }

{
    key = $2 OFS $3
    if (!(key in runs)) {
        order[++nr_keys] = key
        group[key] = $2
    }
    runs[key]++
    if ($4 == "failed") {
        failed[key]++
        next
    }
    nr = ++good[key]
    value[key, nr] = $4
    round[key, nr] = $1
    by_round[key, $1] = $4
}

# sort(): the first nr of list, an insertion sort
function sort(nr,    i, j, x) {
    for (i = 2; i <= nr; i++) {
        x = list[i]
        for (j = i - 1; j >= 1 && list[j] > x; j--)
            list[j + 1] = list[j]
        list[j + 1] = x
    }
}

# summary(): median, least and most of the first nr of list
function summary(nr) {
    if (!nr)
        return "-" OFS "-" OFS "-"
    sort(nr)
    return (list[int((nr + 1) / 2)] + list[int(nr / 2) + 1]) / 2 OFS list[1] OFS list[nr]
}

function values(key,    i) {
    for (i = 1; i <= good[key]; i++)
        list[i] = value[key, i] + 0
    return summary(good[key] + 0)
}

function ratios(key,    i, nr, of) {
    of = group[key] OFS base
    for (i = 1; i <= good[key]; i++)
        if (by_round[of, round[key, i]] > 0)
            list[++nr] = value[key, i] / by_round[of, round[key, i]]
    return summary(nr + 0)
}

END {
    CONVFMT = OFMT = "%.10g"
    for (k = 1; k <= nr_keys; k++) {
        key = order[k]
        missing = expected > runs[key] ? expected - runs[key] : 0
        print key, runs[key] + missing, failed[key] + missing, values(key), ratios(key)
    }
}
