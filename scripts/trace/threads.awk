# SPDX-License-Identifier: GPL-2.0-or-later
#
# threads.awk: how a trace of instructions.sh of userfault_perf_test divides
# between the threads of vCPUs and the readers of userfaultfd.
#
#     nm -n PROGRAM | awk -f symbols.awk -f threads.awk \
#         - System.map TRACE
#
# Prints the instructions a page of each.  A thread is told by what it calls
# between two switches; an interrupt counts for whom it interrupts.

# end_of_turn(): the next one begins with instruction next_one
function end_of_turn(next_one) {
    total[who]++
    instructions[who] += next_one - turn
    turn = next_one
    who = "others"
}

BEGIN {
    turn = 1
    who = "others"
}

entry {
    if (name[found] ~ /^finish_task_switch/)
        end_of_turn(executed)
    else if (name[found] ~ /^(kvm_vcpu_ioctl|kvm_mmu_page_fault|svm_vcpu_run|handle_userfault)$/)
        who = "vCPUs"
    else if (name[found] ~ /^(do_epoll_wait|userfaultfd_read_iter|ep_send_events|mfill_atomic_copy)$/ &&
             who != "vCPUs")
        who = "readers"
    pages += at == "kernel kvm_tdp_mmu_map"
}

END {
    end_of_turn(executed + 1)
    if (!pages) {
        print "no page was mapped" >"/dev/stderr"
        exit 1
    }
    printf "%d pages\n", pages
    for (who in total)
        printf "%8.0f %6.2f turns  %s\n", instructions[who] / pages, total[who] / pages, who
}
