#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# linux.sh [CONFIG]: builds Linux with our changes as Debian packages, with the
# options of the file CONFIG, or with Debian's own for amd64; leaves them in
# build/linux-deb/.  They are not in build/packages/, as few hosts want them.
#
# The source is upstream's with the patches of "make series", in build/linux-deb/src:
# the package of headers must not have links to our checkout.

set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=scripts/common.sh
. "$root/scripts/common.sh"
# shellcheck source=scripts/setup/trees.sh
. "$root/scripts/setup/trees.sh"
# shellcheck source=scripts/packages/common.sh
. "$root/scripts/packages/common.sh"

config=${1:-}
top=$build/linux-deb
src=$top/src
out=$top/out
sources=$cache/sources
local=-postern1

[ -z "$config" ] || [ -r "$config" ] || die "CONFIG=$config: no such file"
version=$(tree_version linux "$build/linux/src") || die "there is no build/linux/src: run ./configure"
packaging=$sources/$(awk '$2 ~ /\.debian\.tar\.xz$/ { print $2 }' \
    "$sources/linux_$version.sha256" 2>/dev/null || :)
[ -n "$config" ] || [ -f "$packaging" ] || die "Debian's options for Linux $version are not in $sources: \
name a configuration by CONFIG=FILE"
POSTERN_ALSO=linux-deb sh "$root/scripts/setup/deps.sh" install

# unpack: upstream's source with our patches, unless it is there
unpack() {
    mkdir -p "$top"
    series_to "$top/series" linux
    sum=$({
        echo "$version"
        series_text "$top/series" linux
    } | sha256sum)
    [ "$sum" != "$(cat "$top/unpacked" 2>/dev/null)" ] || return 0
    rm -rf "$src" "$top/unpacked"
    unpack_again linux linux-deb
    for patch in "$top/series/linux"/*.patch; do
        logged linux-deb-patch patch -d "$src" -p1 -s --no-backup-if-mismatch -i "$patch" ||
            die "${patch##*/} does not apply to Linux $version"
    done
    echo "$sum" >"$top/unpacked"
}

# debian_options: Debian's for amd64, those that win last
debian_options() {
    for part in config kernelarch-x86/config amd64/config; do
        tar -xJf "$packaging" -O "debian/config/$part" ||
            die "Debian's packaging of Linux $version has no debian/config/$part"
    done
}

run_make() {
    make -C "$src" O="$out" ARCH=x86 CC="$(cc_command)" -j"$(jobs)" "$@"
}

# Debian's keys are not in upstream's source.  Symbols for debuggers double what is
# built.
configure_linux() {
    mkdir -p "$out"
    if [ -n "$config" ]; then
        cat "$config"
    else
        debian_options
    fi >"$out/.config.new"
    "$src/scripts/config" --file "$out/.config.new" --set-str LOCALVERSION "$local" \
        --disable LOCALVERSION_AUTO --set-str SYSTEM_TRUSTED_KEYS "" \
        --set-str SYSTEM_REVOCATION_KEYS "" \
        --disable DEBUG_INFO_DWARF_TOOLCHAIN_DEFAULT --disable DEBUG_INFO_DWARF4 \
        --disable DEBUG_INFO_DWARF5 --enable DEBUG_INFO_NONE
    mv "$out/.config.new" "$out/.config"
    logged linux-deb-config run_make olddefconfig || die "Linux cannot be configured"
    grep -qx 'CONFIG_KVM_USERFAULT=y' "$out/.config" ||
        die "CONFIG=$config: it has no KVM for x86_64"
}

unpack
ccache_for linux-deb
configure_linux
rm -f "$top"/*.deb "$top"/*.buildinfo "$top"/*.changes
watched linux-deb "Linux's packages" run_make bindeb-pkg \
    KDEB_PKGVERSION="$version+postern1$(commit "$commit_version" kernel)" \
    DEBFULLNAME='Postern developers' DEBEMAIL=postern@example.org \
    DPKG_FLAGS=--no-sign KDEB_SOURCENAME=linux-postern ||
    die "Linux's packages could not be built"
for file in "$top"/*.deb; do
    say "$file"
done
