#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Where busybox.sh takes a busybox from.  It gets no real apt.

set -eu
# shellcheck source=scripts/tests/tap.sh
. "$(dirname "$0")/tap.sh"

make_checkout
XDG_CACHE_HOME=$work/cache
export XDG_CACHE_HOME
binaries=$XDG_CACHE_HOME/postern/binaries
result=$top/build/busybox-aarch64
busybox() {
    (sh "$top/scripts/busybox.sh" "$@" 2>&1) || echo "status $?"
}

echo 'exit 1' >"$top/scripts/apt.sh"
said=$(busybox)
matches "without the archive it says what else there is" "$said" '--aarch64-busybox.*--target-list'
matches "which is an error" "$said" '^status 1$'

echo own >"$work/own"
is "one that was named is taken" "$(busybox "$work/own")$(cat "$result")" own
is "and kept" "$(busybox)$(cat "$result")" own
echo other >"$work/own"
is "until another one is named" "$(busybox "$work/own")$(cat "$result")" other
rm "$result"

if ! command -v dpkg-deb >/dev/null; then
    done_testing
    exit
fi

# What apt.sh is asked for, and brings: a package with a folder bin.
mkdir -p "$work/package/DEBIAN" "$work/package/usr/bin" "$work/package/usr/share/bin"
printf 'Package: some\nVersion: 1\nArchitecture: all\nMaintainer: none\nDescription: none\n' \
    >"$work/package/DEBIAN/control"
echo packaged >"$work/package/usr/bin/busybox"
dpkg-deb -b "$work/package" "$work/deb" >/dev/null
cat >"$top/scripts/apt.sh" <<END
echo "\$*" >>"$work/called"
mkdir -p "$binaries"
cd "$binaries"
cp "$work/deb" busybox-static_1%3a1_arm64.deb
sha256sum busybox-static_1%3a1_arm64.deb >busybox-static_arm64.sha256
END
busybox >/dev/null
is "the archive's is unpacked" "$(cat "$result")" packaged
rm "$result"
busybox >/dev/null
is "again out of the cache" "$(cat "$result")" packaged
is "and not fetched again for it" "$(cat "$work/called")" "binary busybox-static arm64"
rm "$result"
echo damaged >"$binaries/busybox-static_1%3a1_arm64.deb"
busybox >/dev/null
is "unless the cache is damaged" "$(cat "$result")$(wc -l <"$work/called")" packaged2

done_testing
