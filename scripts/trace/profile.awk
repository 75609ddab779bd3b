# SPDX-License-Identifier: GPL-2.0-or-later
#
# profile.awk: which functions a trace of instructions.sh spends its
# instructions in.
#
#     nm -n PROGRAM | awk -f symbols.awk -f profile.awk \
#         - System.map TRACE
#
# Prints "instructions a page, calls a page, where, function", the most first.
# A page is what kvm_tdp_mmu_map() is called for.

{
    count[at]++
    calls[at] += entry
}

END {
    pages = calls["kernel kvm_tdp_mmu_map"]
    if (!pages) {
        print "no page was mapped" >"/dev/stderr"
        exit 1
    }
    printf "%d pages, %.0f instructions a page\n", pages, executed / pages
    for (at in count)
        printf "%8.1f %6.2f %s\n", count[at] / pages, calls[at] / pages, at | "sort -rn"
}
