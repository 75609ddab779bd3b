#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# demo.sh [OPTION]...: builds what the demo needs and runs it in L1.
# OPTIONs are those of postern-demo.

set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=scripts/common.sh
. "$root/scripts/common.sh"
# shellcheck source=scripts/run/arch.sh
. "$root/scripts/run/arch.sh"

result=$build/demo.json

build_what_runs

cd "$root"
rm -f "$result"
# L1 has a file system of its own; fetch the result from it.
# shellcheck disable=SC2086 # options without blanks, from scripts/bench/demo.sh
"$build/meson/testbed/testbed" "--arch=$arch" ${TESTBED_OPTIONS:---timeout=$seconds} --log="$logs/demo-l1.log" \
    --fetch="/tmp/demo.json=$result" -- \
    "$programs/tests/qtest/postern-demo" \
    --kernel="$kernel" --initrd="$build/meson/$guest" \
    --qemu="$programs/qemu-system-$arch" --json=/tmp/demo.json "$@" || {
    status=$?
    say "demo.sh: the demo failed; L1's console is in $logs/demo-l1.log" >&2
    exit "$status"
}
say "The same figures as JSON: ${result#"$root/"}"
