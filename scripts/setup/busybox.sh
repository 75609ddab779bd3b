#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# busybox.sh [FILE]: puts a busybox for aarch64 at build/busybox-aarch64, for an L1
# that cannot run this machine's programs: FILE, or else the one in Debian's
# package, which is downloaded once.

set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=scripts/common.sh
. "$root/scripts/common.sh"

busybox=$build/busybox-aarch64
binaries=$cache/binaries
sums="busybox-static_arm64.sha256"

intact() {
    [ -e "$binaries/$sums" ] && (cd "$binaries" && sha256sum -c --status "$sums")
}

# runs_alone FILE: does it run on aarch64, without libraries?
runs_alone() {
    _headers=$(readelf -h -l "$1" 2>/dev/null) || return 1
    case $_headers in
    *INTERP*) return 1 ;;
    *Machine:*AArch64*) return 0 ;;
    *) return 1 ;;
    esac
}

# put FILE: installs it as a whole, or not at all
put() {
    cp "$1" "$busybox.tmp"
    mv "$busybox.tmp" "$busybox"
}

mkdir -p "$cache" "$build"
if [ -n "${1:-}" ]; then
    runs_alone "$1" || die "$1 is no statically linked program of aarch64"
    cmp -s "$1" "$busybox" || put "$1"
    exit 0
fi
[ ! -e "$busybox" ] || exit 0

# Two checkouts may share the cache.
exec 9>"$cache/lock"
lock 9 "another configure, which uses $cache,"
if ! intact; then
    rm -f "$binaries/$sums"
    sh "$root/scripts/setup/apt.sh" binary busybox-static arm64 || die "no busybox for aarch64: \
name a statically linked one by --aarch64-busybox, or leave aarch64 out of --target-list"
    intact || die "what was downloaded of busybox-static is damaged"
fi
deb=$binaries/$(sed 's/^[^ ]*  *//' "$binaries/$sums")
exec 9>&-

new=$build/busybox-aarch64.new
rm -rf "$new"
mkdir "$new"
dpkg-deb -x "$deb" "$new"
# With a merged /usr it may be below that.
put "$(find "$new" -type f -path '*bin/busybox')"
rm -rf "$new"
say "    build/busybox-aarch64 is out of ${deb##*/}"
