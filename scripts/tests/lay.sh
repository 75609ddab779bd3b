#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Tests what lay.sh does to a prepared tree.

set -eu
# shellcheck source=scripts/tests/tap.sh
. "$(dirname "$0")/tap.sh"

make_checkout
src=$top/build/qemu/src
lay() {
    (sh "$top/scripts/setup/lay.sh" qemu 2>&1) || echo "failed"
}

mkdir -p "$top/accel/kvm" "$top/docs" "$src/accel/kvm"
echo ours >"$top/accel/kvm/ours.c"
echo fork >"$top/docs/fork.md"
echo upstream >"$src/accel/kvm/upstream.c"

is "no message if all is well" "$(lay)" ""
is "a link leads to our file" "$(cat "$src/accel/kvm/ours.c")" ours
is "a link is relative" "$(readlink "$src/accel/kvm/ours.c")" \
    ../../../../../accel/kvm/ours.c
is "the fork's own docs are not linked" "$(ls "$src")" accel

rm "$top/accel/kvm/ours.c"
matches "a file that is gone is reported" "$(lay)" 'accel/kvm/ours.c is gone'
is "the link of a file that is gone is removed" "$(ls "$src/accel/kvm")" upstream.c

echo mine >"$top/accel/kvm/upstream.c"
matches "an upstream file is not replaced" "$(lay)" 'accel/kvm/upstream.c.*hook'
is "an upstream file keeps its content" "$(cat "$src/accel/kvm/upstream.c")" upstream

done_testing
