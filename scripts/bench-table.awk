# SPDX-License-Identifier: GPL-2.0-or-later
#
# bench-table.awk: a table for people of what bench-stats.awk prints.
#
#     awk -v group=NAME -v row=NAME -v value=NAME -v base=ROW
#         [-v seed=FILE] -f bench-table.awk STATS
#
# FILE has the ratios of others, as "group<TAB>row<TAB>ratio".  First the
# medians, a column for each group, if NAME is not empty; then each group by
# itself.

BEGIN {
    FS = "\t"
    while (seed && (getline <seed) > 0)
        others[$1, $2] = $3
}

!($1 in seen) { seen[$1]; groups[++nr_groups] = $1 }
!($2 in seen_row) { seen_row[$2]; rows[++nr_rows] = $2 }
{ line[$1, $2] = $0 }

# number(): with four digits, or as many as it takes
function number(x) {
    if (x == "-")
        return x
    if (x >= 100)
        return sprintf("%.0f", x)
    return sprintf(x >= 10 ? "%.1f" : "%.2f", x)
}

function range(median, least, most) {
    if (median == "-")
        return "-"
    return sprintf("%s (%s..%s)", number(median), number(least), number(most))
}

function medians(    r, g, f) {
    printf "%-22s", "median " value
    for (g = 1; g <= nr_groups; g++)
        printf " %9s", groups[g]
    printf "  %s\n", group
    for (r = 1; r <= nr_rows; r++) {
        printf "  %-20s", rows[r]
        for (g = 1; g <= nr_groups; g++) {
            split(line[groups[g], rows[r]] , f)
            printf " %9s", (groups[g], rows[r]) in line ? number(f[5]) : ""
        }
        print ""
    }
}

function details(g,    r, f, failures, heading, text) {
    heading = group ? group ": " groups[g] : groups[g]
    text = sprintf("%-22s %-26s %-20s %s", heading, value, "x " base,
                   seed ? "seed" : "")
    sub(/ +$/, "", text)
    print "\n" text
    for (r = 1; r <= nr_rows; r++) {
        if (!((groups[g], rows[r]) in line))
            continue
        split(line[groups[g], rows[r]], f)
        failures = f[4] > 0 ? "  " f[4] " of " f[3] " runs failed" : ""
        text = sprintf("  %-20s %-26s %-20s %s%s", f[2], range(f[5], f[6], f[7]),
                       range(f[8], f[9], f[10]), others[f[1], f[2]], failures)
        sub(/ +$/, "", text)
        print text
    }
}

END {
    if (group)
        medians()
    for (g = 1; g <= nr_groups; g++)
        details(g)
}
