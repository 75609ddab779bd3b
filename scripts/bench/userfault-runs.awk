# SPDX-License-Identifier: GPL-2.0-or-later
#
# userfault-runs.awk: round, group, row and value of each run, as
# stats.awk takes them.
#
#     awk -v part=PART -f field.awk -f userfault-runs.awk RUNS

function value() {
    if (field("failed") != "")
        return "failed"
    if (part == "wall")
        return field("pages_per_s")
    if (field("op") != "")
        return field("median_ns")
    return field("ns") / field("pages")
}

{
    group = field("vcpus")
    row = field("mode")
    if (part == "off") {
        # a failed run has no operations; each lacks one, then
        if (!row && field("op") == "")
            next
        group = row ? "page, " group " vCPUs" : \
                field("op") ", " field("slots") " slots"
        row = field("kernel")
    }
    print field("round") "\t" group "\t" row "\t" value()
}
