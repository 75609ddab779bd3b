#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# testdev-tree.sh: prepares build/qemu-testdev/src: upstream's QEMU with our
# memory-testdev, a device that maps many regions, and nothing else of ours.

set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=scripts/common.sh
. "$root/scripts/common.sh"
# shellcheck source=scripts/setup/trees.sh
. "$root/scripts/setup/trees.sh"

src=$build/qemu-testdev/src
hook=$root/patches/hw-misc-memory-testdev.patch

unpack_again qemu qemu-testdev

for file in hw/misc/memory-testdev qapi/memory-testdev.json \
    configs/devices/x86_64-softmmu/testbed.mak; do
    ln -sfn "$root/$file" "$src/$file"
done

applied=$src/.testdev-hook
if ! cmp -s "$hook" "$applied"; then
    [ ! -e "$applied" ] || die "${hook##*/} has changed: remove build/qemu-testdev"
    patch -s --dry-run -d "$src" -p1 <"$hook" ||
        die "${hook##*/} does not apply to upstream's QEMU alone"
    patch -s -d "$src" -p1 <"$hook"
    cp "$hook" "$applied"
fi
