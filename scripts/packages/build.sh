#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# build.sh: makes Debian packages, and leaves them in build/packages/, from which
# apt can install: see docs/packages.md
#   postern-kvm-dkms   KVM's modules with our files and changes
#   postern-doctor     tells whether a host can use them; its manual page is the users'

set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=scripts/common.sh
. "$root/scripts/common.sh"
# shellcheck source=scripts/packages/common.sh
. "$root/scripts/packages/common.sh"

out=$build/packages
tree=$out/postern

POSTERN_ALSO=packages "$root/scripts/setup/deps.sh" install

# version: a newer one for each commit
version() {
    _version=$(sed -n '1s/.*(\(.*\)).*/\1/p' "$root/packages/debian/changelog")
    echo "$_version$(commit "$commit_version")"
}

# hooks VERSION: our changes to KVM's modules and their headers.  If a point release
# has the folder VERSION, hooks there replace those of the same name.
hooks() {
    while read -r patch; do
        hook=$root/packages/dkms/$1/$patch
        [ -f "$hook" ] || hook=$root/kernel/patches/$patch
        filterdiff --strip-match=1 --include='arch/x86/kvm/*' --include='arch/x86/include/*' \
            --include='virt/kvm/*' --include='include/*' --exclude='*/Kconfig' "$hook" ||
            die "$hook cannot be read"
    done <"$root/kernel/patches/series"
    cat "$root/packages/dkms/kvm-version.patch"
}

# check_options: Kbuild.kvm has to set each option that our hooks add.
check_options() {
    sed -n 's/^+config //p' "$root"/kernel/patches/*.patch | while read -r option; do
        grep -qw "$option" "$root/packages/dkms/Kbuild.kvm" ||
            die "packages/dkms/Kbuild.kvm does not set $option"
    done
}

# check_replaced VERSION: each file there has to replace a hook.
check_replaced() {
    for file in "$root/packages/dkms/$1"/*; do
        [ ! -e "$file" ] || grep -qx "${file##*/}" "$root/kernel/patches/series" ||
            die "$file has the name of no hook"
    done
}

rm -rf "$out"
mkdir -p "$tree/files/arch/x86"
cp -R "$root/packages/debian" "$root/packages/doctor/." "$tree/"
for file in Kbuild Kbuild.kvm prepare.sh; do
    cp "$root/packages/dkms/$file" "$tree/"
done
cp "$root/packages/dkms/dkms.conf" "$tree/debian/postern-kvm-dkms.dkms"
sed -i "1s/(.*)/($(version))/" "$tree/debian/changelog"
cp -R "$root/kernel/arch/x86/kvm" "$tree/files/arch/x86/"
cp -R "$root/kernel/virt" "$root/kernel/include" "$tree/files/"

check_options
tested=$(recorded linux tested)
[ -n "$tested" ] || die "$record has no linux"
hooks "$tested" >"$tree/kvm-$tested.patch"
for folder in "$root"/packages/dkms/[0-9]*; do
    [ -d "$folder" ] || continue
    check_replaced "${folder##*/}"
    hooks "${folder##*/}" >"$tree/kvm-${folder##*/}.patch"
done

(cd "$tree" && logged packages env DEB_BUILD_OPTIONS=noautodbgsym \
    dpkg-buildpackage --build=binary --no-sign) || die "the packages could not be built"
rm -rf "$tree"

"$root/scripts/packages/index.sh"
