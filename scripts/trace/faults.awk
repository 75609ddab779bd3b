# SPDX-License-Identifier: GPL-2.0-or-later
#
# faults.awk: how long each part of a page's way takes in post-copy, from
# what QEMUs log with the events of faults.sh.
#
#     sort -t @ -k 2 LOG... | awk -f faults.awk
#
# Prints for both modes, plain and preempt, a line for each part: its name, and
# mean, median and 99th percentile.  Pages that the source had sent before it was
# asked are told apart, as it does nothing for them; but not with preempt, where
# it does not say so.
#
# A fault begins where QEMU comes to know of it: in ours, when the vCPU has left
# KVM; upstream's, when the fault thread has read it from userfaultfd.  It ends
# when ours lets the vCPU go on, and when upstream's has placed the page.

BEGIN {
    nr_points = split("begin asked queued taken end", points)
    split("from the fault to asking|to the source's queue|waits in the queue|comes", parts, "|")
}

# The number of the thread and of seconds and microseconds, and the event
{
    split($1, word, "[@.:]")
    # of a day, for the precision of numbers
    us = word[2] % 86400 * 1000000 + word[3]
    event = word[4]
}

event == "postcopy_start" { migration++ }
event == "postcopy_preempt_enabled" { mode[migration] = $2 ? "preempt" : "plain" }

# at(): page has come to a point of its way; only the first time counts
function at(point, page) {
    page = migration " " page
    if ((page, point) in when)
        return
    if (point == "begin") {
        pages[++nr_pages] = page
        of[nr_pages] = migration
    }
    when[page, point] = us
}

# Ours
event == "postcopy_fault_vcpu_begin" {
    vcpu[$3] = $4
    at("begin", $4)
}
event == "postcopy_request_sent" { at("asked", $2) }
event == "postcopy_fault_vcpu_end" && $5 == 1 { at("end", vcpu[$3]) }

# Upstream's: "Request for HVA=0x7f00 rb=pc.ram offset=0x1000 pid=0"
event == "postcopy_ram_fault_thread_request" {
    sub(/^HVA=/, "", $4)
    sub(/^rb=/, "", $5)
    sub(/^offset=/, "", $6)
    block_offset[$4] = $5 "/" $6
    at("begin", $5 "/" $6)
}
event == "postcopy_page_req_add" && $5 in block_offset { at("asked", block_offset[$5]) }
event == "postcopy_page_req_del" && $5 in block_offset { at("end", block_offset[$5]) }

# Both sources': "pc.ram: start: 0x1000 len: 0x1000", "pc.ram/0x1000 page_abs=0x1",
# and with preempt, where there is no queue, "ramblock pc.ram offset 0x1", a page
event == "ram_save_queue_pages" {
    sub(/:$/, "", $2)
    at("queued", $2 "/" $4)
}
event == "get_queued_page" { at("taken", $2) }
event == "postcopy_preempt_send_host_page" { at("taken", $3 "/" $5 "000") }

# sort(): the first nr of list, a Shell sort
function sort(nr,    gap, i, j, x) {
    for (gap = int(nr / 2); gap > 0; gap = int(gap / 2))
        for (i = gap + 1; i <= nr; i++) {
            x = list[i]
            for (j = i - gap; j >= 1 && list[j] > x; j -= gap)
                list[j + gap] = list[j]
            list[j + gap] = x
        }
}

# line(): of all pages of a mode that came to both points and to the end, those
# that the source took from its queue, or the others
function line(name, of_mode, from, to, queued,    p, page, nr, i, sum) {
    for (p = 1; p <= nr_pages; p++) {
        page = pages[p]
        if (mode[of[p]] == of_mode && (page, "end") in when && (page, from) in when &&
            (page, to) in when && ((page, "taken") in when) == queued) {
            list[++nr] = when[page, to] - when[page, from]
            sum += list[nr]
        }
    }
    if (nr) {
        sort(nr)
        printf "  %-28s %6d %9.0f %9.0f %9.0f\n", name, nr, sum / nr,
               list[int((nr + 1) / 2)], list[int((nr * 99 + 99) / 100)]
    }
}

function table(of_mode,    p) {
    printf "%-30s %6s %9s %9s %9s\n", of_mode ", us", "pages", "mean", "median", "p99"
    for (p = 1; p < nr_points; p++)
        line(parts[p], of_mode, points[p], points[p + 1], 1)
    line("altogether", of_mode, "begin", "end", 1)
    line("sent before it was asked for", of_mode, "begin", "end", 0)
}

END {
    if (!nr_pages) {
        print "no fault was traced" >"/dev/stderr"
        exit 1
    }
    table("plain")
    table("preempt")
}
