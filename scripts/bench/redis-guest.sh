#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# redis-guest.sh INITRAMFS: a guest with Debian's kernel and Debian's Redis, at
# build/redis/vmlinuz and build/redis/initramfs.  INITRAMFS is the testbed's guest,
# whose program reads from the server.  The packages are downloaded once.

set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=scripts/common.sh
. "$root/scripts/common.sh"

packages=$cache/binaries/redis
out=$build/redis
tree=$out/tree
debian=$out/debian

[ "$(uname -m)" = x86_64 ] || die "the guest with Redis is for x86_64 hosts"

exec 9>"$cache/lock"
lock 9 "a configure, which uses $cache,"
if ! (cd "$packages" 2>/dev/null && sha256sum -c --status sha256); then
    sh "$root/scripts/setup/apt.sh" closure amd64 redis redis-server linux-image-cloud-amd64
fi

rm -rf "$out"
mkdir -p "$debian" "$tree/bin" "$tree/lib" "$tree/lib64"
for deb in "$packages"/*.deb; do
    dpkg-deb -x "$deb" "$debian"
done
exec 9>&-

# Its own loader finds its own libraries.
loader=$debian/lib64/ld-linux-x86-64.so.2
[ -e "$loader" ] || loader=$(find "$debian" -name ld-linux-x86-64.so.2 | head -n 1)
path=$debian/lib/x86_64-linux-gnu:$debian/usr/lib/x86_64-linux-gnu
cp -L "$debian/usr/bin/redis-check-rdb" "$tree/bin/redis-server"
cp -L "$loader" "$tree/lib64/ld-linux-x86-64.so.2"
# No pipes: only the last command's failure would count.
"$loader" --library-path "$path" --list "$tree/bin/redis-server" >"$out/list"
sed -n 's/.* => \([^ ]*\) .*/\1/p' "$out/list" >"$out/libraries"
while read -r library; do
    case $library in
    "$debian"/*) cp -L "$library" "$tree/lib/" ;;
    *) die "Debian's packages lack $library" ;;
    esac
done <"$out/libraries"

# The kernel unpacks one archive after the other.
(cd "$tree" && find . >"$out/names" &&
    cpio --create --quiet --format=newc --owner=0:0 <"$out/names") >"$out/added"
cat "$1" "$out/added" >"$out/initramfs"
cp "$debian"/boot/vmlinuz-* "$out/vmlinuz"
basename "$debian"/boot/vmlinuz-* | sed 's/vmlinuz-//' >"$out/kernel-version"
dpkg-deb -f "$packages"/redis-server_*.deb Version >"$out/redis-version"
rm -rf "$tree" "$debian" "$out/added" "$out/list" "$out/libraries" "$out/names"
