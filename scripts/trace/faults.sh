#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# faults.sh BENCH-OPTION...: shows where the time of a fault goes in post-copy,
# with upstream QEMU and with ours, by KVM userfault.  The options are those of postern-bench, such
# as --vcpus=2 --delays=0 --limits=8.  It migrates by post-copy and by
# postcopy-preempt; the table has one part for each.
#
# Needs what "scripts/bench/bench.py postcopy" has built.

set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=scripts/common.sh
. "$root/scripts/common.sh"

[ $# -gt 0 ] || die "usage: $0 BENCH-OPTION..."
upstream=$build/qemu-stock/out/qemu-system-x86_64
ours=$build/qemu/out/qemu-system-x86_64
[ -x "$upstream" ] || die "there is no $upstream: run 'scripts/bench/bench.py postcopy' first"

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM

# qemu NAME PROGRAM: makes NAME, which runs PROGRAM with a log for each process
qemu() {
    cat >"$dir/$1" <<END
#!/bin/sh
exec "$2" "\$@" -msg timestamp=on \\
    -trace "file=/tmp/trace-$1-%d,events=$dir/events"
END
    chmod +x "$dir/$1"
}
qemu upstream "$upstream"
qemu postern "$ours"
cat >"$dir/events" <<'END'
postcopy_start
postcopy_preempt_enabled
ram_save_queue_pages
get_queued_page
postcopy_preempt_send_host_page
postcopy_ram_fault_thread_request
postcopy_page_req_add
postcopy_page_req_del
postcopy_fault_vcpu_begin
postcopy_fault_vcpu_end
postcopy_request_sent
END

# One log for each side, of all its processes
cat >"$dir/command" <<'END'
"$@" || exit
for side in upstream postern; do
    cat /tmp/trace-$side-* >/tmp/$side.log || exit
done
END

"$build/meson/testbed/testbed" --smp=1 --memory=2048 --timeout=1800 \
    --fetch="/tmp/upstream.log=$dir/upstream.log" \
    --fetch="/tmp/postern.log=$dir/postern.log" -- \
    sh "$dir/command" "$build/qemu/out/tests/qtest/postern-bench" \
    --kernel="$build/linux/out/arch/x86/boot/bzImage" \
    --initrd="$build/meson/testbed/guest/guest.cpio" \
    --upstream="$dir/upstream" --postern="$dir/postern" "$@" --sides=upstream,postern

for side in upstream postern; do
    printf '\n%s:\n' "$side"
    "$root/scripts/trace/trace.py" faults "$dir/$side.log"
done
