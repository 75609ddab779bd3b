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

names='libglib2.0-dev zlib1g-dev libfdt-dev libgnutls28-dev libslirp-dev libcap-ng-dev
libattr1-dev'
# shellcheck source=/dev/null
wanted="$(. /etc/os-release && echo "${VERSION_CODENAME:-}") $names"

# is_wanted FOLDER: is it of these packages?
is_wanted() {
    [ "$(cat "$1/wanted" 2>/dev/null)" = "$wanted" ]
}

! is_wanted "$sysroot" || exit 0

mkdir -p "$cache" "$build"
exec 9>"$cache/lock"
lock 9 "another build or configure, which uses $cache,"
# That one may have made it.
! is_wanted "$sysroot" || exit 0

if ! is_wanted "$packages" || ! (cd "$packages" && sha256sum -c --status sha256); then
    # shellcheck disable=SC2086 # several
    sh "$root/scripts/setup/apt.sh" closure arm64 sysroot-arm64 $names ||
        die "no libraries of aarch64, which come from Debian's archive only"
    printf '%s\n' "$wanted" >"$packages/wanted"
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

# Links from / would lead to this machine's files.
find "$new" -type l -lname '/*' >"$new/links"
while read -r link; do
    ln -snfr "$new$(readlink "$link")" "$link"
done <"$new/links"
rm "$new/links"
cp "$packages/wanted" "$new/wanted"
rm -rf "$sysroot"
mv -T "$new" "$sysroot"
say "    build/sysroot-arm64 is out of $(find "$packages" -name '*.deb' | wc -l) packages"
