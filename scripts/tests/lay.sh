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

is "says nothing when all is well" "$(lay)" ""
is "a link leads to our file" "$(cat "$src/accel/kvm/ours.c")" ours
is "the link is relative" "$(readlink "$src/accel/kvm/ours.c")" \
    ../../../../../accel/kvm/ours.c
is "the fork's own docs stay out" "$(ls "$src")" accel

rm "$top/accel/kvm/ours.c"
matches "a file that is gone is told" "$(lay)" 'accel/kvm/ours.c is gone'
is "and its link is gone" "$(ls "$src/accel/kvm")" upstream.c

echo mine >"$top/accel/kvm/upstream.c"
matches "an upstream file is not covered" "$(lay)" 'accel/kvm/upstream.c.*hook'
is "and stays what it was" "$(cat "$src/accel/kvm/upstream.c")" upstream

done_testing
