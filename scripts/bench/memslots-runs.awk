# SPDX-License-Identifier: GPL-2.0-or-later
#
# memslots-runs.awk: round, group, row and one figure of each run, as
# stats.awk takes them.
#
#     awk -v table=NAME -f field.awk -f memslots-runs.awk RUNS
#
# A table has the figures of one operation: microseconds for each memslot where
# all of them change, else for the operation.

# Of memslot_batch_perf_test
function raw(op) {
    row = field("batch") == "true" ? "raw, one list" : "raw, one by one"
    if (op == "one")
        print_run("move one", row, field("median_ns"))
    else
        print_run(op == "setup" ? op : op " all", row, field("median_ns") / field("slots"))
}

# Of postern-bench-memslots: "move all, batched", or "move one"
function qemu(op, level,    comma) {
    comma = index(op, ", ")
    if (!comma)
        print_run(op, level, field("ns"))
    else
        print_run(substr(op, 1, comma - 1), level substr(op, comma),
                  field("ns") / field("slots"))
}

function print_run(of, row, ns) {
    if (of == table)
        print field("round") "\t" field("slots") "\t" row "\t" ns / 1000
}

# field() ends at a comma, which some names have
function whole(name) {
    if (!match($0, "\"" name "\": \"[^\"]*\""))
        return ""
    return substr($0, RSTART + length(name) + 5, RLENGTH - length(name) - 6)
}

/"failed"/ { next }
/"median_ns"/ { raw(field("op")); next }
field("part") == "seed" { if (table == "seed") print_run("seed", whole("op"), field("ns")); next }
{ qemu(whole("op"), whole("level")) }
