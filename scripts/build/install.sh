#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# install.sh PREFIX [DESTDIR]: builds the full QEMU and installs it in PREFIX, or, to
# be moved there later, in DESTDIR/PREFIX.  It runs from any place, as QEMU finds its
# files by the place of the program.  Firmware comes from the distribution's packages.

set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=scripts/common.sh
. "$root/scripts/common.sh"

prefix=${1:-} destdir=${2:-}
out=$build/qemu-full/out
staged=$build/qemu-full/staged

case $prefix in
/*) ;;
*) die "PREFIX=$prefix: not an absolute path" ;;
esac
case $destdir in
'' | /*) ;;
*) destdir=$PWD/$destdir ;;
esac
# The nearest folder that is there
nearest=$destdir$prefix
while [ ! -e "$nearest" ]; do
    nearest=$(dirname "$nearest")
done
{ [ -d "$nearest" ] && [ -w "$nearest" ]; } ||
    die "$nearest cannot be written: run as root, or name another PREFIX or DESTDIR"

"$root/scripts/build/qemu.sh" --full build all
rm -rf "$staged"
logged qemu-full-install env DESTDIR="$staged" meson install -C "$out" --no-rebuild --quiet --strip ||
    die "QEMU could not be installed in build/"
others=$(find "$staged" ! -type d ! -path "$staged/usr/local/*")
[ -z "$others" ] || die "QEMU installs files outside of its prefix: $others"
mkdir -p "$destdir$prefix"
cp -a "$staged/usr/local/." "$destdir$prefix/" || die "$destdir$prefix could not be written"
rm -rf "$staged"
say "QEMU is in $destdir$prefix/bin"
