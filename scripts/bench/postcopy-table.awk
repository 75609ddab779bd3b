# SPDX-License-Identifier: GPL-2.0-or-later
#
# postcopy-table.awk: a table for people of what stats.awk prints of
# two rows, upstream and postern: a line for each group, with both medians, and
# the ratio of the second to the first.
#
#     awk -f postcopy-table.awk STATS

BEGIN {
    FS = "\t"
    printf "  %-34s %-28s %-28s %s\n", "", "upstream", "postern", "ratio"
}

!($1 in seen) { seen[$1]; groups[++nr_groups] = $1 }
{ line[$1, $2] = $0 }

function number(x) {
    if (x == "-")
        return x
    return sprintf(x >= 100 ? "%.0f" : "%.2f", x)
}

function range(middle, least, most) {
    if (middle == "-")
        return "-"
    return sprintf("%s (%s..%s)", number(middle), number(least), number(most))
}

# field(): the summary that begins in field n of a line
function field(group, row, n,    f) {
    if (!((group, row) in line))
        return "-"
    split(line[group, row], f)
    return range(f[n], f[n + 1], f[n + 2])
}

END {
    for (g = 1; g <= nr_groups; g++)
        printf "  %-34s %-28s %-28s %s\n", groups[g], field(groups[g], "upstream", 5),
               field(groups[g], "postern", 5), field(groups[g], "postern", 8)
}
