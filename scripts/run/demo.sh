#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# demo.sh [OPTION]...: builds what the demo needs and runs it in L1.  OPTIONs are
# those of postern-demo.

set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=scripts/common.sh
. "$root/scripts/common.sh"

guest=testbed/guest/guest.cpio
kernel=$build/linux/out/arch/x86/boot/bzImage
result=$build/demo.json

ninja -C "$build/meson" --quiet qemu.stamp linux.stamp testbed/testbed \
    testbed/initramfs.gz "$guest" || die "the build failed"

cd "$root"
rm -f "$result"
# L1 has a file system of its own; fetch the result from it.
# shellcheck disable=SC2086 # options without blanks, from scripts/bench/demo.sh
"$build/meson/testbed/testbed" ${TESTBED_OPTIONS:---timeout=300} --log="$logs/demo-l1.log" \
    --fetch="/tmp/demo.json=$result" -- \
    "$build/qemu/out/tests/qtest/postern-demo" \
    --kernel="$kernel" --initrd="$build/meson/$guest" \
    --qemu="$build/qemu/out/qemu-system-x86_64" --json=/tmp/demo.json "$@" || {
    status=$?
    say "demo.sh: the demo failed; L1's console is in $logs/demo-l1.log" >&2
    exit "$status"
}
say "The same figures as JSON: ${result#"$root/"}"
