#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# unpack.sh qemu|linux [DIR [TREE]]: unpacks the upstream source to TREE, or to all
# trees of its kind that every build has (see trees.sh).  It comes from the Debian
# archive through the cache, or with DIR as a copy of that tree.  An existing tree
# stays; if it came from elsewhere, that is an error.

set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=scripts/common.sh
. "$root/scripts/common.sh"
# shellcheck source=scripts/setup/trees.sh
. "$root/scripts/setup/trees.sh"

kind=$1 from=${2:-} only=${3:-}
series=$(recorded "$kind" series)
tested=$(recorded "$kind" tested)
sources=$cache/sources
origin=${from:-the archive}

# check_version VERSION WHERE: dies if it is of another series, warns if it is
# another point release than the tested one
check_version() {
    in_series "$1" "$series" ||
        die "$2 is $kind $1; the hooks are made for the series $series (tested with $tested)"
    [ "$1" = "$tested" ] ||
        warn "$2 is $kind $1; tested was $tested of the same series"
}

# cached: the version in the cache: the tested one, else the newest of the series
cached() {
    for _sums in "$sources/${kind}_$series".*.sha256; do
        [ -e "$_sums" ] || continue
        _version=${_sums##*/"${kind}_"}
        echo "${_version%.sha256}"
    done | sort -V | awk -v tested="$tested" '
        { newest = $1 }
        $1 == tested { found = $1 }
        END { if (found) print found; else if (newest) print newest }'
}

# intact VERSION: are the cached files as apt had checked them?
intact() {
    (cd "$sources" && sha256sum -c --status "${kind}_$1.sha256") || return 1
    [ "$1" != "$tested" ] ||
        grep -q "^$(recorded "$kind" sha256) .*\.orig\.tar\.xz\$" \
            "$sources/${kind}_$1.sha256" ||
        die "$sources: the .orig.tar.xz of $kind $1 is not the one that was tested \
(scripts/setup/upstream.versions has its checksum)"
}

# named_in VERSION SUFFIX: the name of a cached file of that version
named_in() {
    awk -v suffix="$2" 'substr($2, length($2) - length(suffix) + 1) == suffix { print $2 }' \
        "$sources/${kind}_$1.sha256"
}

# fetch: fetches the source, unless cached, and prints its version
fetch() {
    mkdir -p "$cache"
    # Two checkouts may share the cache.
    exec 9>"$cache/lock"
    lock 9 "another configure, which uses $cache,"
    _version=$(cached)
    if [ -n "$_version" ] && ! intact "$_version"; then
        warn "$kind $_version in $sources is damaged, fetching it again"
        rm -f "$sources/${kind}_$_version.sha256"
        _version=
    fi
    if [ -z "$_version" ]; then
        sh "$root/scripts/setup/apt.sh" source "$kind" "$series" >&2 || exit 1
        _version=$(cached)
        intact "$_version" || die "what was downloaded for $kind is damaged"
    fi
    exec 9>&-
    echo "$_version"
}

# Debian's archive leaves out QEMU's bundled Python wheels and firmware.  With
# Debian's patches, QEMU's configure does not need them.
debian_patches='disable-pycotap skip-unpack-edk2-blobs'

patch_qemu() {
    for name in $debian_patches; do
        tar -xJf "$sources/$(named_in "$version" .debian.tar.xz)" -O \
            "debian/patches/$name.patch" >"$build/qemu/debian.patch" ||
            die "Debian's QEMU $version has no patch $name"
        logged debian-patch patch -d "$new" -p1 -i "$build/qemu/debian.patch" ||
            die "Debian's patch $name does not apply to QEMU $version"
        rm "$build/qemu/debian.patch"
    done
}

check_own_qemu() {
    if grep -q '^pycotap' "$from/pythondeps.toml" 2>/dev/null &&
        ! ls "$from"/python/wheels/pycotap-* >/dev/null 2>&1 &&
        ! python3 -c 'import pycotap' 2>/dev/null; then
        without=disable-pycotap
    elif grep -q '^if unpack_edk2_blobs$' "$from/pc-bios/meson.build" &&
        [ ! -e "$from/pc-bios/edk2-aarch64-code.fd.bz2" ]; then
        without=skip-unpack-edk2-blobs
    else
        return 0
    fi
    die "$from is Debian's archive without Debian's patches, at least $without: \
QEMU could not be configured from it"
}

todo=
for tree in ${only:-$trees}; do
    [ "$(tree_kind "$tree")" = "$kind" ] || continue
    if [ ! -e "$build/$tree/src" ]; then
        todo="$todo $tree"
        continue
    fi
    version=$(tree_version "$kind" "$build/$tree/src") ||
        die "build/$tree/src is no tree of $kind: remove it"
    check_version "$version" "build/$tree/src"
    # Trees of before there was such a note most likely came from the archive.
    came_from=$(cat "$build/$tree/origin" 2>/dev/null || echo "the archive")
    [ "$came_from" = "$origin" ] || die "build/$tree/src is from $came_from, not from $origin: \
'make refresh' if you edited it, then 'make distclean'; or configure as before"
    if [ -n "$from" ]; then
        wanted=$(tree_version "$kind" "$from" || echo none)
        [ "$wanted" = "$version" ] || die "build/$tree/src is $kind $version, $from is $wanted: \
refresh your hooks and remove build/$tree first"
    fi
    say "    build/$tree/src: $kind $version is there"
done
[ -n "$todo" ] || exit 0

if [ -n "$from" ]; then
    version=$(tree_version "$kind" "$from") ||
        die "$from is no unpacked source tree of $kind"
    check_version "$version" "$from"
    [ "$kind" != qemu ] || check_own_qemu
else
    version=$(fetch)
fi

for tree in $todo; do
    new=$build/$tree/src.new
    rm -rf "$new"
    mkdir -p "$new"
    if [ -n "$from" ]; then
        say "    copying $from to build/$tree/src"
        # No pipe: a file that cannot be read must be an error.
        find "$from" -mindepth 1 -maxdepth 1 ! -name .git \
            -exec cp -a -t "$new" {} + || die "$from could not be copied"
        if [ "$kind" = linux ] && [ -e "$new/.config" ]; then
            # A tree that was built in place cannot be built out of tree.
            logged "mrproper-$tree" make -C "$new" mrproper
        fi
    else
        say "    unpacking $kind $version to build/$tree/src"
        tar -C "$new" --strip-components=1 --no-same-owner \
            -xf "$sources/$(named_in "$version" .orig.tar.xz)"
        unpacked=$(tree_version "$kind" "$new") ||
            die "the archive's $kind $version holds no tree of $kind"
        check_version "$unpacked" "the archive's $kind"
        [ "$kind" != qemu ] || patch_qemu
    fi
    echo "$origin" >"$build/$tree/origin"
    mv "$new" "$build/$tree/src"
done
