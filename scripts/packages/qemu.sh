#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# qemu.sh: makes Debian's packages of QEMU again, with our files and hooks, and
# leaves them in build/packages-qemu/.  They replace the distribution's.
#
# The packaging is Debian's own, of the archive's source that build/qemu/src is
# made of.  It is built in a root file system of Debian 13.  Needs root.

set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=scripts/common.sh
. "$root/scripts/common.sh"
# shellcheck source=scripts/setup/trees.sh
. "$root/scripts/setup/trees.sh"
# shellcheck source=scripts/packages/common.sh
. "$root/scripts/packages/common.sh"

suite=trixie
suffix=+postern1
# What a host of x86_64 needs, and all that must be of the same version.
# Others, such as qemu-system-data, may be the distribution's.
packages='qemu-system-x86 qemu-system-arm qemu-system-common qemu-system-gui '\
'qemu-system-modules-opengl qemu-system-modules-spice qemu-block-extra qemu-utils'
groups='arm x86'
targets=aarch64-softmmu,arm-softmmu,i386-softmmu,x86_64-softmmu
profiles=nocheck,pkg.qemu.postern,pkg.qemu.use-upstream-vdso

out=$build/packages-qemu
tree=$out/src
dir=$build/roots/build-$suite
sources=$cache/sources
compiled=$cache/ccache-$suite

# with_profiles: debian/control with a build profile for what we do not want
with_profiles() {
    awk -v wanted=" $packages " '
        /^Package: / { other = !index(wanted, " " $2 " ") }
        /^$/ { other = 0 }
        other && /^Build-Profiles:/ { next }
        { print }
        other && /^Package: / { print "Build-Profiles: <!pkg.qemu.postern>" }' "$1"
}

# qemu_commit FORMAT: of the last commit that changed QEMU
qemu_commit() {
    # shellcheck disable=SC2046 # names without blanks
    commit "$1" patches scripts/packages/qemu.sh $(tree_overlay qemu | tail -n +2)
}

# changed_version VERSION: ours, made of Debian's; newer for each commit
changed_version() {
    echo "$1$suffix$(qemu_commit "$commit_version")"
}

# changelog: our entry
changelog() {
    _date=$(qemu_commit %cD)
    cat <<CHANGES
qemu ($version) $suite; urgency=medium

  * With Postern's changes.

 -- Postern developers <postern@example.org>  ${_date:-$(date -R)}

CHANGES
}

# set_in FILE "NAME = VALUE": there has to be such a line, of another value
set_in() {
    _name=${2%=*}=
    sed -i "s/^$_name .*/$2/" "$tree/debian/$1"
    grep -qx "$2" "$tree/debian/$1" || die "debian/$1 has no line '$_name'"
}

# edit_packaging: only our packages and targets, our version, our patches
edit_packaging() {
    changelog >"$tree/debian/changelog.new"
    cat "$tree/debian/changelog" >>"$tree/debian/changelog.new"
    mv "$tree/debian/changelog.new" "$tree/debian/changelog"
    for package in $packages; do
        grep -qx "Package: $package" "$tree/debian/control-in" ||
            die "Debian's QEMU $version has no package $package"
    done
    with_profiles "$tree/debian/control-in" >"$tree/debian/control.new"
    mv "$tree/debian/control.new" "$tree/debian/control-in"
    set_in control.mk "system-packages := $groups"
    # It asks for a package that has no files, which is not ours.
    set_in rules "enable-system = y"

    mkdir "$tree/debian/patches/postern"
    cp "$out/series/qemu"/*.patch "$tree/debian/patches/postern/"
    (cd "$tree/debian/patches" && echo postern/*.patch | tr ' ' '\n' >>series)
    (cd "$tree" && QUILT_PATCHES=debian/patches logged packages-qemu-quilt \
        quilt --quiltrc=- push -a) || die "our patches do not apply to Debian's QEMU"
}

# in_root COMMAND...: in the root, with the source in /build/qemu.  The mounts end
# with it.
in_root() {
    mkdir -p "$dir/build/qemu" "$dir/ccache" "$compiled"
    # shellcheck disable=SC2016 # the inner shell's
    unshare --mount --propagation private sh -euc '
        mount -t proc proc "$1/proc"
        mount -t tmpfs tmpfs "$1/dev/shm"
        mount --bind "$2" "$1/build"
        mount --bind "$3" "$1/ccache"
        shift 3
        exec "$@"' sh "$dir" "$out" "$compiled" \
        chroot "$dir" env -i LC_ALL=C.UTF-8 HOME=/root DEBIAN_FRONTEND=noninteractive \
        CCACHE_DIR=/ccache CCACHE_BASEDIR=/build CCACHE_NOHASHDIR=1 CCACHE_DEPEND=1 \
        PATH=/usr/lib/ccache:/usr/sbin:/usr/bin:/sbin:/bin \
        DEB_BUILD_OPTIONS="terse noautodbgsym nocheck parallel=$(jobs)" \
        DEB_BUILD_PROFILES="$(echo $profiles | tr , ' ')" DEB_CFLAGS_STRIP=-g \
        QEMU_CONFIGURE_OPTIONS="--target-list=$targets --disable-debug-info" \
        QEMU_MICROVM_CONFIGURE_OPTIONS=--disable-debug-info \
        sh -euc 'cd /build/src; exec "$@"' sh "$@"
}

# build_packages: steps in the root
build_packages() {
    # shellcheck disable=SC2016 # the inner shell's
    watched packages-qemu-apt "packages to build with" in_root sh -euc '
        apt-get -q update
        apt-get -q -y install --no-install-recommends build-essential ccache
        rm -f debian/control
        debian/rules debian/control
        apt-get -q -y build-dep --no-install-recommends --arch-only -P "$1" /build/src' \
        sh "$profiles" || die "what QEMU needs could not be installed in $dir"
    watched packages-qemu "QEMU's packages" in_root dpkg-buildpackage -B --no-sign ||
        die "QEMU's packages could not be built"
}

upstream=$(tree_version qemu "$build/qemu/src") || die "there is no build/qemu/src: run ./configure"
dsc=$(awk '$2 ~ /\.dsc$/ { print $2 }' "$sources/qemu_$upstream.sha256" 2>/dev/null) || dsc=
[ -n "$dsc" ] || die "Debian's packaging of QEMU $upstream is not in $sources: \
configure without --qemu-source"
[ "$(id -u)" = 0 ] || die "needs root, for a root file system of Debian's $suite"
POSTERN_ALSO=packages "$root/scripts/setup/deps.sh" install
version=$(changed_version "$(sed -n 's/^Version: //p' "$sources/$dsc")")

mkdir -p "$out"
series_to "$out/series" qemu
sum=$({
    echo "$version"
    series_text "$out/series" qemu
    cat "$root/scripts/packages/qemu.sh"
} | sha256sum)
if [ "$sum" = "$(cat "$out/built" 2>/dev/null)" ]; then
    exit 0
fi

"$root/scripts/packages/root.sh" "$suite" "$dir"
rm -rf "$tree" "$out"/*.deb "$out"/*.buildinfo "$out"/*.changes "$out/built"
logged packages-qemu-unpack dpkg-source --no-check --no-copy -x "$sources/$dsc" "$tree" ||
    die "$dsc could not be unpacked"
edit_packaging
build_packages
rm -rf "$tree"
echo "$sum" >"$out/built"
