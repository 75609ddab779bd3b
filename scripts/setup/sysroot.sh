#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# sysroot.sh: puts Debian's libraries and headers of aarch64 at build/sysroot-arm64,
# for a QEMU that runs on an emulated host of aarch64.  The packages are downloaded
# once; dpkg does not know of them.

set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=scripts/common.sh
. "$root/scripts/common.sh"

packages=$cache/binaries/sysroot-arm64
sysroot=$build/sysroot-arm64
new=$build/sysroot-arm64.new

[ ! -d "$sysroot" ] || exit 0

mkdir -p "$cache" "$build"
exec 9>"$cache/lock"
lock 9 "a configure, which uses $cache,"
if ! (cd "$packages" 2>/dev/null && sha256sum -c --status sha256); then
    sh "$root/scripts/setup/apt.sh" closure arm64 sysroot-arm64 libglib2.0-dev \
        zlib1g-dev libfdt-dev libgnutls28-dev libslirp-dev libcap-ng-dev libattr1-dev
fi

# All libraries are in one folder, wherever a package has them.
rm -rf "$new"
mkdir -p "$new/usr/lib" "$new/usr/include" "$new/usr/share"
ln -s usr/lib "$new/lib"
for deb in "$packages"/*.deb; do
    dpkg-deb --fsys-tarfile "$deb" >"$new/tar"
    tar -xf "$new/tar" -C "$new" --keep-directory-symlink --wildcards --no-anchored \
        --exclude='./usr/share/[!p]*' --exclude='./etc' --exclude='./var' \
        --exclude='./usr/bin' --exclude='./usr/sbin' --exclude='./bin' --exclude='./sbin'
done
rm -f "$new/tar"
exec 9>&-

# Links from / would lead to this machine's files.
find "$new" -type l -lname '/*' >"$new/links"
while read -r link; do
    ln -snfr "$new$(readlink "$link")" "$link"
done <"$new/links"
rm "$new/links"
mv "$new" "$sysroot"
say "    build/sysroot-arm64 is out of $(find "$packages" -name '*.deb' | wc -l) packages"
