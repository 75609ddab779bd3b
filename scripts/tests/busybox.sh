#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Tests where busybox.sh takes a busybox from.  apt is faked.

set -eu
# shellcheck source=scripts/tests/tap.sh
. "$(dirname "$0")/tap.sh"

make_checkout
XDG_CACHE_HOME=$work/cache
export XDG_CACHE_HOME
binaries=$XDG_CACHE_HOME/postern/binaries
result=$top/build/busybox-aarch64
busybox() {
    (sh "$top/scripts/setup/busybox.sh" "$@" 2>&1) || echo "status $?"
}

echo 'exit 1' >"$top/scripts/setup/apt.sh"
said=$(busybox)
matches "without the archive, the error names the alternatives" "$said" '--aarch64-busybox.*--target-list'
matches "no busybox is an error" "$said" '^status 1$'

# zeroes N: as bytes, for printf
zeroes() {
    printf '\\000%.0s' $(seq "$1")
}

# program MACHINE SEGMENT: a program with one segment; both are low bytes, in octal
program() {
    # shellcheck disable=SC2059 # all of them are escapes
    printf "\\177ELF\\002\\001\\001$(zeroes 9)\\002\\000\\$1\\000\\001$(zeroes 11)\\100$(zeroes 19)\
\\100\\000\\070\\000\\001\\000\\100$(zeroes 5)\\$2$(zeroes 55)"
}

# same FILE: yes if it is the same as the result
same() {
    cmp "$1" "$result" 2>&1 && echo yes
}

aarch64=267 x86=076 load=001 interpreter=003
program $aarch64 $load >"$work/own"
is "a named busybox is used" "$(busybox "$work/own")$(same "$work/own")" yes
is "a named busybox is kept" "$(busybox)$(same "$work/own")" yes
{ program $aarch64 $load && echo more; } >"$work/other"
is "another named busybox replaces it" "$(busybox "$work/other")$(same "$work/other")" yes

program $x86 $load >"$work/x86"
program $aarch64 $interpreter >"$work/dynamic"
echo '#!/bin/sh' >"$work/script"
: >"$work/empty"
for kind in x86 dynamic script empty; do
    is "refused: a busybox that would not run: $kind" "$(busybox "$work/$kind")" \
        "busybox.sh: $work/$kind is no statically linked program of aarch64
status 1"
done
is "a refused busybox leaves the former one" "$(same "$work/other")" yes
is "a refused busybox leaves no other file" "$(find "$top/build" -name 'busybox*')" "$result"
rm "$result"

if ! command -v dpkg-deb >/dev/null; then
    skip "a busybox from a package" "no dpkg-deb here"
    done_testing
    exit
fi

# apt.sh notes its arguments, and brings a package with a second folder bin.
mkdir -p "$work/package/DEBIAN" "$work/package/usr/bin" "$work/package/usr/share/bin"
printf 'Package: some\nVersion: 1\nArchitecture: all\nMaintainer: none\nDescription: none\n' \
    >"$work/package/DEBIAN/control"
echo packaged >"$work/package/usr/bin/busybox"
dpkg-deb -b "$work/package" "$work/deb" >/dev/null
cat >"$top/scripts/setup/apt.sh" <<END
echo "\$*" >>"$work/called"
mkdir -p "$binaries"
cd "$binaries"
cp "$work/deb" busybox-static_1%3a1_arm64.deb
sha256sum busybox-static_1%3a1_arm64.deb >busybox-static_arm64.sha256
END
busybox >/dev/null
is "the archive's busybox is unpacked" "$(cat "$result")" packaged
rm "$result"
busybox >/dev/null
is "the cached package is unpacked again" "$(cat "$result")" packaged
is "the cached package is not downloaded again" "$(cat "$work/called")" "binary busybox-static arm64"
rm "$result"
echo damaged >"$binaries/busybox-static_1%3a1_arm64.deb"
busybox >/dev/null
is "a damaged package is downloaded again" "$(cat "$result")$(wc -l <"$work/called")" packaged2

done_testing
