#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# mkinitramfs.sh OUTPUT BUSYBOX L1-INIT L1-RUN
# Packs the initramfs that L1 boots from. Needs no root: the kernel creates
# /dev/console itself, and everything else is mounted.
set -eu

output=$1 busybox=$2 init=$3 run=$4

# ldd does not know programs of another architecture.
if readelf -l "$busybox" 2>/dev/null | grep -q INTERP; then
    echo "$busybox is not statically linked: install busybox-static" >&2
    exit 1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree=$work/tree
mkdir -p "$tree/bin"
cp "$busybox" "$tree/bin/busybox"
cp "$init" "$tree/init"
cp "$run" "$tree/l1-run.sh"
chmod 755 "$tree/init" "$tree/bin/busybox"

# No pipes: only the last command's failure would count.
(
    cd "$tree"
    find . >../found
    LC_ALL=C sort ../found >../names
    cpio --quiet --create --format=newc --owner=0:0 --reproducible \
        <../names >../cpio
)
gzip -n -1 <"$work/cpio" >"$output"
