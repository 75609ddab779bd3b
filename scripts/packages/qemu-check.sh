#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Tests QEMU's packages of qemu.sh on a root file system of Debian 13, which is made
# once: that apt upgrades the distribution's to ours, that nothing of the
# distribution's is missing then, that a guest boots, and that the way back works.
# Needs root.

set -eu
# shellcheck source=scripts/tests/tap.sh
. "$(dirname "$0")/../tests/tap.sh"
root=$(cd "$scripts/.." && pwd)
# shellcheck source=scripts/common.sh
. "$root/scripts/common.sh"
# shellcheck source=scripts/packages/common.sh
. "$root/scripts/packages/common.sh"

suite=trixie
dir=$build/roots/$suite-qemu
kernel=$build/linux/out/arch/x86/boot/bzImage
qemus='/usr/bin/qemu-system-x86_64 /usr/bin/qemu-system-i386 /usr/bin/qemu-system-aarch64
    /usr/bin/qemu-system-arm /usr/bin/qemu-system-x86_64-microvm'
utils='/usr/bin/qemu-img /usr/bin/qemu-nbd /usr/bin/qemu-io /usr/bin/qemu-storage-daemon'

in_root() {
    chroot_to "$dir" "$@"
}

# apt ARGUMENT...: in the root; shows its output if it fails
apt() {
    logged packages-qemu-check in_root apt-get -y -q --no-install-recommends "$@"
}

# versions: of the packages that we make
versions() {
    # shellcheck disable=SC2086 # a list of names
    in_root dpkg-query --show --showformat '$''{Version}\n' $names | sort -u
}

# files: that these packages have
files() {
    for name in $names; do
        in_root dpkg --listfiles "$name" | sed "s/^/$name /"
    done | sort
}

# features: what the programs have; the block drivers of qemu-img, too
features() {
    # shellcheck disable=SC2086 # a list of names
    {
        in_root sh /srv/features.sh $qemus
        in_root qemu-img --help | sed -n 's/^Supported formats: *//p' | tr ' ' '\n' |
            sed 's/^/qemu-img format /'
        for program in $utils; do
            in_root ldd "$program" |
                sed -n "s,^[[:space:]]*\([^ ]*\) .*,${program##*/} library \1,p"
        done
    } | sort -u
}

# missing BEFORE AFTER: lines of the first file that the second lacks
missing() {
    comm -23 "$1" "$2" | head -n 20
}

"$root/scripts/packages/qemu.sh" >&2
"$root/scripts/packages/build.sh" >/dev/null
ninja -C "$build/meson" --quiet linux.stamp >&2 || die "the build failed"
"$root/scripts/packages/root.sh" "$suite" "$dir" >/dev/null
names=$(cd "$build/packages" && for file in qemu-*.deb; do echo "${file%%_*}"; done)

# The distribution's, as they are on a host
rm -rf "$dir/srv/postern" "$dir/etc/apt/sources.list.d/postern.list"
cp "$root/scripts/packages/features.sh" "$kernel" "$dir/srv/"
apt update || die "no package lists"
apt purge 'qemu-*' || :
# shellcheck disable=SC2086 # a list of names
apt install $names || die "the distribution's QEMU cannot be installed"
old=$(versions)
files >"$work/files"
features >"$work/features"
is "the distribution's packages are all of one version" "$(printf '%s\n' "$old" | wc -l)" 1

cp -R "$build/packages" "$dir/srv/postern"
echo 'deb [trusted=yes] file:/srv/postern ./' >"$dir/etc/apt/sources.list.d/postern.list"
apt update || die "no package lists"
is "apt upgrades to ours" "$(apt upgrade && echo yes)" yes
new=$(versions)
is "ours are all of one version, made of the distribution's" "${new%+postern1*}" "$old"
is "our version sorts above it" "$(dpkg --compare-versions "$new" gt "$old" && echo yes)" yes
is "dpkg finds nothing broken" "$(in_root dpkg --audit)" ""
files >"$work/our-files"
is "no file is missing" "$(missing "$work/files" "$work/our-files")" ""
is "no file is new" "$(missing "$work/our-files" "$work/files")" ""
features >"$work/our-features"
is "no feature is missing" "$(missing "$work/features" "$work/our-features")" ""
for qemu in $qemus; do
    is "${qemu##*/} has devices" \
        "$([ "$(grep -c "^${qemu##*/} device " "$work/our-features")" -gt 100 ] && echo yes)" yes
done
for kind in accel audiodev cpu device display machine netdev; do
    sed -n "s/^qemu-system-x86_64 $kind //p" "$work/our-features" >"$work/kind"
    is "there are features of the kind $kind" "$([ -s "$work/kind" ] && echo yes)" yes
    echo "# qemu-system-x86_64 $kind: $(wc -l <"$work/kind")," \
        "the distribution's: $(grep -c "^qemu-system-x86_64 $kind " "$work/features")"
done
matches "there are machines of ours" "$(cat "$work/our-features")" \
    '^qemu-system-x86_64 machine pc-q35-10.0-postern1$'
is "QEMU says which version it is" \
    "$(in_root qemu-system-x86_64 --version | sed -n 's/^QEMU .*(Debian \(.*\))$/\1/p')" "$new"
matches "it has the capability" "$(printf '%s\n' '{"execute": "qmp_capabilities"}' \
    '{"execute": "query-migrate-capabilities"}' '{"execute": "quit"}' |
    in_root timeout 60 qemu-system-x86_64 -M none -display none -qmp stdio 2>&1)" \
    '"capability": "postcopy-kvm-userfault"'
matches "a guest boots, with the distribution's firmware" \
    "$(boot /srv/bzImage in_root timeout 120 qemu-system-x86_64)" \
    'Linux version 6\.12.*postern'

# shellcheck disable=SC2046 # a list of names
is "apt brings the distribution's back" \
    "$(apt install --allow-downgrades $(for name in $names; do echo "$name=$old"; done) &&
        versions)" "$old"
done_testing
