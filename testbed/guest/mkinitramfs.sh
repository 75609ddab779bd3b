#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# mkinitramfs.sh OUTPUT BUSYBOX INIT PROGRAM
#
# Packs an initramfs from a static busybox, an init script and one static
# program. Needs no root: init mounts devtmpfs, so no device node is packed.
# It is not compressed: unpacking costs an emulated guest more than reading.

set -eu

output=$1 busybox=$2 init=$3 program=$4

for binary in "$busybox" "$program"; do
    if readelf -lW "$binary" | grep -q INTERP; then
        echo "mkinitramfs.sh: $binary is not statically linked" >&2
        exit 1
    fi
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree=$work/tree

mkdir -p "$tree/bin" "$tree/dev" "$tree/proc" "$tree/sys"
install -m 755 "$busybox" "$tree/bin/busybox"
for applet in sh mount ifconfig; do
    ln -s busybox "$tree/bin/$applet"
done
install -m 755 "$init" "$tree/init"
name=${program##*/}
install -m 755 "$program" "$tree/bin/${name%-aarch64}"

# The same input gives the same file.
find "$tree" -exec touch -h -d @0 {} +
# No pipes: only the last command's failure would count.
(
    cd "$tree"
    find . >../found
    LC_ALL=C sort ../found >../names
    cpio --create --quiet --format=newc --owner=0:0 --reproducible \
        <../names >../cpio
)
cat "$work/cpio" >"$output"
