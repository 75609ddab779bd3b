#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# busybox.sh [FILE]: puts a busybox for aarch64 at build/busybox-aarch64, for L1,
# where this machine's own programs do not run: FILE, or else the one in Debian's
# package, which is downloaded once.

set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=scripts/common.sh
. "$root/scripts/common.sh"

busybox=$build/busybox-aarch64
binaries=$cache/binaries
sums="busybox-static_arm64.sha256"

intact() {
    [ -e "$binaries/$sums" ] && (cd "$binaries" && sha256sum -c --status "$sums")
}

if [ -n "${1:-}" ]; then
    cmp -s "$1" "$busybox" || cp "$1" "$busybox"
    exit 0
fi
[ ! -e "$busybox" ] || exit 0

mkdir -p "$cache" "$build"
# Two checkouts may share the cache.
exec 8>"$cache/lock"
lock 8 "another configure, which uses $cache,"
if ! intact; then
    rm -f "$binaries/$sums"
    sh "$root/scripts/apt.sh" binary busybox-static arm64 || die "no busybox for aarch64: \
name a statically linked one by --aarch64-busybox, or leave aarch64 out of --target-list"
    intact || die "what was downloaded of busybox-static is damaged"
fi
deb=$binaries/$(sed 's/^[^ ]*  *//' "$binaries/$sums")
exec 8>&-

new=$build/busybox-aarch64.new
rm -rf "$new"
mkdir "$new"
dpkg-deb -x "$deb" "$new"
# Where a merged /usr is, it may lie under it.
cp "$(find "$new" -type f -path '*bin/busybox')" "$busybox.tmp"
rm -rf "$new"
mv "$busybox.tmp" "$busybox"
say "    build/busybox-aarch64 is out of ${deb##*/}"
