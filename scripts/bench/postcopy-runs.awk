# SPDX-License-Identifier: GPL-2.0-or-later
#
# postcopy-runs.awk: round, group, row and one figure of each run, as
# stats.awk takes them.
#
#     awk -v metric=NAME -f field.awk -f postcopy-runs.awk RUNS

function value() {
    if (metric == "dst_ns")
        return field("dst_ns") / field("pages")
    if (metric == "ops_per_s")
        return field("ops") * 1000000 / field("guest_us")
    if (metric == "waiting")
        return field("wait_us") * 100 / field("guest_us") / field("vcpus")
    return field(metric)
}

{
    group = sprintf("%s vCPUs, %s, %s us", field("vcpus"), field("mode"), field("delay_us"))
    if (field("limit_mib_s") > 0)
        group = group ", " field("limit_mib_s") " MiB/s"
    print field("round") "\t" group "\t" field("side") "\t" value()
}
