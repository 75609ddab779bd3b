#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Tests what trace.py makes of a trace, and how instructions.sh ends.

set -eu
# shellcheck source=scripts/tests/tap.sh
. "$(dirname "$0")/tap.sh"

cat >"$work/program" <<'END'
0000000000401000 T main
END
cat >"$work/System.map" <<'END'
ffffffff81000000 T kvm_vcpu_ioctl
ffffffff81001000 T kvm_tdp_mmu_map
ffffffff81002000 T _raw_spin_lock
ffffffff81003000 T _raw_spin_unlock
ffffffff81004000 T userfaultfd_read_iter
ffffffff81005000 t finish_task_switch.isra.0
ffffffff81006000 D data
END

# ran ADDRESS...: instructions as QEMU logs them; with L2: in front, in guest mode
ran() {
    for _pc; do
        _flags=00c0c2b0
        case $_pc in
        L2:*) _flags=0070c090 _pc=${_pc#L2:} ;;
        esac
        echo "Trace 0: 0x7f8f97911c40 [00000000/$_pc/$_flags/ff022201] "
    done
}

kernel=ffffffff8100
{
    # a vCPU: 3 + 1 + 2 instructions of its own, one of them in L2
    ran ${kernel}0000 ${kernel}0004 0000000000401000 L2:0000000000401004 \
        ${kernel}1000 ${kernel}1004
    # takes a lock, holds it for 3, as 2 functions
    ran ${kernel}2000 ${kernel}2004 ${kernel}1008 ${kernel}0008 ${kernel}100c ${kernel}3000
    # a reader, after a switch
    ran ${kernel}5000 ${kernel}4000 00007f0000001000 ${kernel}5000
    # as QEMU may stop anywhere, the last one does not count
    ran ${kernel}5004
} >"$work/trace"

# trace WHAT
trace() {
    "$scripts/trace/trace.py" "$1" "$work/program" "$work/System.map" "$work/trace"
}

said=$(trace profile)
matches "profile: pages, and instructions a page" "$said" '^1 pages, 16 instructions a page$'
matches "profile: instructions and calls of a function" "$said" '^ +4.0 +1.00 kernel kvm_tdp_mmu_map$'
matches "profile: a program" "$said" '^ +1.0 +1.00 user main$'
matches "profile: libraries, which have no symbols" "$said" '^ +1.0 +0.00 user libraries$'
matches "profile: L2, at any address" "$said" '^ +1.0 +0.00 L2 the guest$'

said=$(trace locks)
is "locks: how often, how long, and whose" "$(printf '%s\n' "$said" | tail -n 1)" \
    "  1.00      3      3  spin kvm_tdp_mmu_map kvm_tdp_mmu_map"

said=$(trace threads)
matches "threads: a vCPU's turn" "$said" '^ +12 +1.00 turns  vCPUs$'
matches "threads: a reader's turn" "$said" '^ +3 +1.00 turns  readers$'

# A function whose address reads as the number 4e12, more than those after it
cat >"$work/program" <<'END'
00000000004d0000 T before
00000000004e0012 T middle
0000000000500000 T after
0000000000600000 T last
END
{
    ran ${kernel}1000 00000000004e0012 00000000004e0013 00000000004fffff
    echo "Stopped execution of TB chain before 0x7f8f97911c40 [00000000004fffff] "
    echo "something else"
    ran 00000000004fffff 0000000000500000 0000000000500004 0000000000600000 ${kernel}5000
} >"$work/trace"
said=$(trace profile)
matches "instructions that were not executed, and other lines, do not count" "$said" \
    '^1 pages, 7 instructions a page$'
matches "instructions that were not executed do not count for their function" "$said" '^ +3.0 +1.00 user middle$'
matches "addresses are not numbers" "$said" '^ +2.0 +1.00 user after$'

: >"$work/trace"
matches "a trace without a page is an error" "$(trace locks 2>&1 || echo failed)" '^failed$'

# The ways of pages, out of order, as if from several logs
cat >"$work/log" <<'END'
11@1700000000.000100:postcopy_start
11@1700000000.000110:postcopy_preempt_enabled 0
12@1700000000.000200:postcopy_fault_vcpu_begin cpu_index 0 pc.ram/0x1000 first 1
12@1700000000.000210:postcopy_request_sent pc.ram/0x1000
12@1700000000.000900:postcopy_fault_vcpu_end cpu_index 0 came 1
12@1700000000.000910:postcopy_fault_vcpu_begin cpu_index 0 pc.ram/0x2000 first 1
12@1700000000.000930:postcopy_fault_vcpu_end cpu_index 0 came 0
11@1699999999.999950:something_else Request for HVA=0x7f0000
11@1700000000.000260:ram_save_queue_pages pc.ram: start: 0x1000 len: 0x1000
11@1700000000.000300:get_queued_page pc.ram/0x1000 page_abs=0x1
11@1700000000.999999:postcopy_start
11@1700000001.000110:postcopy_preempt_enabled 1
12@1700000001.000200:postcopy_ram_fault_thread_request Request for HVA=0x7f0000 rb=pc.ram offset=0x1000 pid=0
12@1700000001.000210:postcopy_page_req_add new page req 0x7f0000 total 1
12@1700000001.000950:postcopy_page_req_del resolved page req 0x7f0000 total 0
12@1700000001.001000:postcopy_fault_vcpu_begin cpu_index 1 pc.ram/0x3000 first 1
12@1700000001.001001:postcopy_request_sent pc.ram/0x3000
11@1700000001.001002:ram_save_queue_pages pc.ram: start: 0x3000 len: 0x1000
11@1700000001.001007:postcopy_preempt_send_host_page ramblock pc.ram offset 0x3
12@1700000001.001090:postcopy_fault_vcpu_end cpu_index 1 came 1
END
faults() {
    "$scripts/trace/trace.py" faults "$1"
}
said=$(faults "$work/log")
matches "faults: a part of a page's way" "$said" '^  waits in the queue +1 +40 +40 +40$'
matches "faults: the whole way, of pages that have an end" "$said" '^  altogether +1 +700 +700 +700$'
matches "faults: upstream's, of another migration, sent before it was asked for" "$said" \
    '^  sent before it was asked for +1 +750 +750 +750$'
matches "faults: preempt, which has no queue" "$said" \
    '^  waits in the queue +1 +5 +5 +5$'
matches "faults: no other lines" "$(printf '%s\n' "$said" | wc -l)" '^13$'
: >"$work/log"
matches "a log without a fault is an error" "$(faults "$work/log" 2>&1 || echo failed)" '^failed$'

# instructions.sh, with a fake testbed and QEMU
make_checkout
mkdir -p "$top/build/meson/testbed" "$top/build/qemu/out"
cat >"$top/build/meson/testbed/testbed" <<'END'
#!/bin/sh
case $L1 in
lost) exit 3 ;;
early) echo "it ran"; exit 0 ;;
esac
echo "trace now"
exec "$POSTERN_L0_QEMU"
END
# qemu -D TRACE -chardev pipe,id=monitor,path=PATH ...
cat >"$top/build/qemu/out/qemu-system-x86_64" <<'END'
#!/bin/sh
monitor=${4##*path=}
while read -r line; do
    echo "$line" >>"$2"
    [ "$line" != quit ] || exit 5
done <"$monitor.in" >"$monitor.out"
END
chmod +x "$top/build/meson/testbed/testbed" "$top/build/qemu/out/qemu-system-x86_64"

# trace_l1 L1 ARG...
trace_l1() {
    L1=$1
    export L1
    shift
    { timeout 60 "$top/scripts/trace/instructions.sh" "$@" 2>&1 && echo good; } || echo "status $?"
}

matches "a trace is made between two commands to the monitor" \
    "$(trace_l1 good "$work/made" 1 command)" '^good$'
is "the commands to the monitor" "$(tr '\n' ' ' <"$work/made")" \
    "one-insn-per-tb on log exec,nochain log none quit "
said=$(trace_l1 lost "$work/made" 1 command)
matches "an L1 that is lost is an error" "$said" '^status 1$'
matches "an L1 that is lost: its status is reported" "$said" 'ended, with status 3, before'
matches "a command that ends too early is an error" "$(trace_l1 early "$work/made" 1 command)" \
    'ended, with status 0, before KVM had mapped 5000 pages: command$'
matches "usage: no command" "$(trace_l1 good "$work/made" 1)" 'usage: '

done_testing
