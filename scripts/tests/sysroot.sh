#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Tests how sysroot.sh unpacks libraries.  apt is faked.

set -eu
# shellcheck source=scripts/tests/tap.sh
. "$(dirname "$0")/tap.sh"

if ! command -v dpkg-deb >/dev/null; then
    skip "a sysroot from packages" "no dpkg-deb here"
    done_testing
    exit
fi

make_checkout
XDG_CACHE_HOME=$work/cache
export XDG_CACHE_HOME
packages=$XDG_CACHE_HOME/postern/binaries/sysroot-arm64
result=$top/build/sysroot-arm64
sysroot() {
    (sh "$top/scripts/setup/sysroot.sh" 2>&1) || echo "status $?"
}

echo 'exit 1' >"$top/scripts/setup/apt.sh"
matches "no packages are an error" "$(sysroot)" '^status 1$'
is "an error leaves no sysroot" "$(ls -d "$result" 2>&1)" "ls: cannot access '$result': No such file or directory"

# One library in /lib, as in a root with a folder of its own there, and its link for
# the linker in /usr/lib
mkdir -p "$work/package/DEBIAN" "$work/package/lib/arch" "$work/package/usr/lib/arch" \
    "$work/package/usr/bin" "$work/package/usr/share/pkgconfig" "$work/package/usr/share/doc"
printf 'Package: some\nVersion: 1\nArchitecture: all\nMaintainer: none\nDescription: none\n' \
    >"$work/package/DEBIAN/control"
echo library >"$work/package/lib/arch/lib.so.1"
ln -s /lib/arch/lib.so.1 "$work/package/usr/lib/arch/lib.so"
echo description >"$work/package/usr/share/pkgconfig/lib.pc"
touch "$work/package/usr/bin/program" "$work/package/usr/share/doc/lib"
dpkg-deb -b "$work/package" "$work/deb" >/dev/null
cat >"$top/scripts/setup/apt.sh" <<END
echo "\$1 \$2 \$3" >>"$work/called"
mkdir -p "$packages"
cd "$packages"
cp "$work/deb" lib_1_arm64.deb
sha256sum ./*.deb >sha256
END
sysroot >/dev/null
is "a link from / leads to a file in the sysroot" "$(cat "$result/usr/lib/arch/lib.so")" library
is "the link is relative" "$(readlink "$result/usr/lib/arch/lib.so")" lib.so.1
is "descriptions for pkg-config are there" "$(cat "$result/usr/share/pkgconfig/lib.pc")" description
is "programs and documentation are not" \
    "$(find "$result" -name program -o -name doc)" ""
rm -r "$result"
sysroot >/dev/null
is "cached packages are not downloaded again" "$(cat "$work/called")" "closure arm64 sysroot-arm64"
sed -i 's/zlib1g-dev/& more-dev/' "$top/scripts/setup/sysroot.sh"
sysroot >/dev/null
is "other packages replace the sysroot" "$(wc -l <"$work/called")" 2
rm -r "$result"
echo damaged >"$packages/lib_1_arm64.deb"
sysroot >/dev/null
is "a damaged package is downloaded again" "$(cat "$result/lib/arch/lib.so")$(wc -l <"$work/called")" library3

done_testing
