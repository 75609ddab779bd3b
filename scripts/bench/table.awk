# SPDX-License-Identifier: GPL-2.0-or-later
#
# table.awk: a table for people of what stats.awk prints.
#
#     awk -v group=NAME -v row=NAME -v value=NAME -v base=ROW
#         [-v seed=FILE] [-v width=COLUMNS of names] -f table.awk STATS
#
# FILE has the ratios of others, as "group<TAB>row<TAB>ratio".  First the
# medians, a column for each group, unless group is empty; then each group by
# itself.

BEGIN {
    FS = "\t"
    width = width ? width : 20
    while (seed && (getline <seed) > 0)
        others[$1, $2] = $3
}

!($1 in seen) { seen[$1]; groups[++nr_groups] = $1 }
!($2 in seen_row) { seen_row[$2]; rows[++nr_rows] = $2 }
{ line[$1, $2] = $0 }

# number(): with two digits behind the point, fewer where many are before it
function number(x) {
    if (x == "-")
        return x
    if (x >= 100)
        return sprintf("%.0f", x)
    return sprintf(x >= 10 ? "%.1f" : "%.2f", x)
}

function range(middle, least, most) {
    if (middle == "-")
        return "-"
    return sprintf("%s (%s..%s)", number(middle), number(least), number(most))
}

# What is missing stays empty.  (Where split() takes a line that there is none
# of, there is one, an empty one, from then on.)
function median(g, r,    f) {
    if (!((g, r) in line))
        return ""
    split(line[g, r], f)
    return number(f[5])
}

function print_stripped(text) {
    sub(/ +$/, "", text)
    print text
}

function medians(    r, g, text) {
    printf "%-*s", width + 2, "median " value
    for (g = 1; g <= nr_groups; g++)
        printf " %9s", groups[g]
    printf "  %s\n", group
    for (r = 1; r <= nr_rows; r++) {
        text = sprintf("  %-*s", width, rows[r])
        for (g = 1; g <= nr_groups; g++)
            text = text sprintf(" %9s", median(groups[g], rows[r]))
        print_stripped(text)
    }
}

function details(g,    r, f, failures, heading) {
    heading = group ? group ": " groups[g] : groups[g]
    print ""
    print_stripped(sprintf("%-*s %-26s %-20s %s", width + 2, heading, value, "x " base,
                           seed ? "seed" : ""))
    for (r = 1; r <= nr_rows; r++) {
        if (!((groups[g], rows[r]) in line))
            continue
        split(line[groups[g], rows[r]], f)
        failures = f[4] > 0 ? "  " f[4] " of " f[3] " runs failed" : ""
        print_stripped(sprintf("  %-*s %-26s %-20s %s%s", width, f[2],
                               range(f[5], f[6], f[7]), range(f[8], f[9], f[10]),
                               others[f[1], f[2]], failures))
    }
}

END {
    if (group)
        medians()
    for (g = 1; g <= nr_groups; g++)
        details(g)
}
