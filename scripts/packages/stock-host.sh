#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# stock-host.sh ROOT KERNEL OUT: what the testbed needs to boot a distribution's
# kernel as L1: OUT/vmlinuz and OUT/initramfs
#
# ROOT is a root file system that has KERNEL installed.  L1's own root is the build
# machine's as ever; only the kernel and its modules are from ROOT.

set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=scripts/common.sh
. "$root/scripts/common.sh"

from=$1 kernel=$2 out=$3

rm -rf "$out"
mkdir -p "$out/tree/modules"
cp "$from/boot/vmlinuz-$kernel" "$out/vmlinuz"

# What is built in is not listed as insmod's.
for name in virtio_pci virtio_console 9p 9pnet_virtio overlay kvm-amd; do
    chroot "$from" modprobe --set-version "$kernel" --show-depends "$name" ||
        die "$kernel has no module $name"
done >"$out/depends"
awk '$1 == "insmod" && !seen[$2]++ { print $2 }' "$out/depends" >"$out/modules"

number=100
while read -r module; do
    name=${module##*/}
    name=$out/tree/modules/$number-${name%.xz}
    case $module in
    *.xz) xz -dc "$from$module" >"$name" ;;
    *) cp "$from$module" "$name" ;;
    esac
    number=$((number + 1))
done <"$out/modules"

# The kernel unpacks one archive after the other.  One that is not compressed would
# have to begin at a multiple of four bytes.
(cd "$out/tree" && find . >../names &&
    cpio --create --quiet --format=newc --owner=0:0 <../names) >"$out/cpio"
gzip -n -1 <"$out/cpio" >"$out/added"
cat "$build/meson/testbed/initramfs.gz" "$out/added" >"$out/initramfs"
rm -rf "$out/tree" "$out/depends" "$out/names" "$out/cpio" "$out/added"
