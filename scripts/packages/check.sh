#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Tests the packages of build.sh on a root file system of Debian 13, which is made
# once: that apt installs them and DKMS builds the modules, that the stock kernel loads them and a
# guest migrates with them, and that their removal brings the stock modules back.
# Needs root.

set -eu
# shellcheck source=scripts/tests/tap.sh
. "$(dirname "$0")/../tests/tap.sh"
root=$(cd "$scripts/.." && pwd)
# shellcheck source=scripts/common.sh
. "$root/scripts/common.sh"
# shellcheck source=scripts/run/arch.sh
. "$root/scripts/run/arch.sh"

suite=trixie
dir=$build/roots/$suite
host=$build/roots/host
series=$(recorded linux series)
qemu=$programs/qemu-system-x86_64
# Those of guest_memfd need a kernel with KVM_SW_PROTECTED_VM.
selftests='set_memory_region_test userfault_test userfault_memslot_test
    userfault_accept_test memslot_batch_test'

in_root() {
    chroot "$dir" env DEBIAN_FRONTEND=noninteractive "$@"
}

# apt ARGUMENT...: in the root; shows its output if it fails
apt() {
    logged packages-apt in_root apt-get -y -q "$@"
}

# make_host: L1's stock kernel, with the modules that the root has now
make_host() {
    "$root/scripts/packages/stock-host.sh" "$dir" "$stock" "$host"
}

# in_l1 COMMAND...: on that
in_l1() {
    "$build/meson/testbed/testbed" --kernel="$host/vmlinuz" --initramfs="$host/initramfs" \
        --timeout=600 --log="$logs/packages-l1.log" -- "$@"
}

# modules: where the root's modules are, and their versions
modules() {
    for module in kvm kvm-amd kvm-intel; do
        { in_root modinfo -k "$stock" "$module" 2>/dev/null || echo "version: no $module"; } |
            sed -n "s,^filename: */lib/modules/[^/]*/\(.*\)/.*,\1,p; s/^version: *//p"
    done | sort -u | paste -s -d ' '
}

build_what_runs
ninja -C "$build/meson" --quiet selftests.stamp || die "the build failed"
"$root/scripts/packages/build.sh" >/dev/null
"$root/scripts/packages/root.sh" "$suite" "$dir" >/dev/null
trap 'exit 1' HUP INT TERM
trap 'umount "$dir/proc"; rm -rf "$work"' EXIT
# A run that was killed leaves it.
while umount "$dir/proc" 2>/dev/null; do :; done
mount -t proc proc "$dir/proc"

rm -rf "$dir/srv/postern"
cp -R "$build/packages" "$dir/srv/postern"
echo 'deb [trusted=yes] file:/srv/postern ./' >"$dir/etc/apt/sources.list.d/postern.list"
apt update || die "no package lists"

# install_kernel VERSION: the kernel of a point release, its headers and its source
install_kernel() {
    apt purge 'postern-*' 'linux-headers-*' 'linux-image-*' || :
    apt install --no-install-recommends --allow-downgrades kmod \
        "linux-source-$series=$1-*" "linux-headers-$stock"
}

# try_host VERSION: what is to be said of the stock kernel with our modules
try_host() {
    make_host
    output=$(in_l1 "$dir/usr/bin/postern-doctor" --qemu="$qemu" --user=root) || :
    matches "$1: it loads them" "$output" "^ok +KVM, module $1\\+postern"
    matches "$1: postern-doctor: the host can do it" "$output" '^This host can '
    # shellcheck disable=SC2016 # L1's shell
    output=$(in_l1 sh -c 'dmesg | grep "kvm: Postern" && "$@"' sh \
        "$programs/tests/qtest/postern-demo" --kernel="$kernel" \
        --initrd="$build/meson/$guest" --qemu="$qemu" && echo status 0) || :
    matches "$1: the kernel's log names them" "$output" "kvm: Postern's modules, $1"
    matches "$1: a guest migrates by exits from KVM" "$output" \
        '^ *faults through KVM exits +0 +[1-9][0-9]{2}'
    matches "$1: and its words are right" "$output" '^ *corrupted words +0 +0 *$'
    matches "$1: the demo succeeds" "$output" '^status 0$'
    set --
    for test in $selftests; do
        set -- "$@" --test "$test" "$build/linux/selftests/$test"
    done
    output=$(in_l1 "$root/testbed/run-tests.sh" 300 "$@") || :
    for test in $selftests; do
        matches "$version: KVM's $test" "$output" "^ok - $test"
    done
    is "$version: no failure of KVM's selftests" "$(echo "$output" | grep '^not ok')" ""
}

# other_source VERSION: as if linux-source were of another point release
other_source() {
    mkdir "$work/linux-source-$series"
    for folder in virt/kvm arch/x86/kvm arch/x86/include/asm include/linux \
        include/uapi/linux include/trace/events; do
        mkdir -p "$work/linux-source-$series/$folder"
        touch "$work/linux-source-$series/$folder/kvm.h"
    done
    printf 'VERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 1\n' >"$work/linux-source-$series/Makefile"
    tar -C "$work" -cf "$dir/srv/other.tar" "linux-source-$series"
    cp -R "$dir"/usr/src/postern-kvm-* "$dir/srv/try"
    output=$(in_root env POSTERN_LINUX_SOURCE=/srv/other.tar \
        /srv/try/prepare.sh "$stock" "/lib/modules/$stock/build" 0 2>&1 || echo "status $?")
    rm -rf "$dir/srv/try" "$dir/srv/other.tar"
    matches "another point release is refused" "$output" "is Linux $1, but .* is 6.12.1: upgrade"
    is "the reason is kept for postern-doctor" \
        "postern-kvm: $(cat "$dir/var/lib/postern-kvm/$stock")" "$(echo "$output" | head -n 1)"
    matches "with the status for that" "$output" '^status 77$'
}

# late_source VERSION: the package comes with the source of another point release,
# whose source comes later
late_source() {
    apt purge 'postern-*' || :
    apt install --no-install-recommends --allow-downgrades "linux-source-$series=$tested-*" ||
        die "the archive has no source of $tested"
    is "$1: with another source, apt installs the package" \
        "$(apt install --no-install-recommends postern-kvm-dkms postern-doctor && echo yes)" yes
    is "$1: and the stock modules are used" "$(modules)" kernel/arch/x86/kvm
    matches "$1: the reason is kept" "$(cat "$dir/var/lib/postern-kvm/$stock")" \
        "is Linux $1, but .* is $tested: upgrade"
    is "$1: its source is installed" \
        "$(apt install --no-install-recommends "linux-source-$series=$1-*" && echo yes)" yes
}

tested=$(recorded linux tested)
last=
for version in $(cd "$root/packages/dkms" && ls -d [0-9]*) "$tested"; do
    stock=$version+deb13-amd64
    # The archive drops old point releases.
    if ! in_root apt-cache show "linux-headers-$stock" >/dev/null 2>&1; then
        skip "Linux $version" "the archive does not have it"
        continue
    fi
    install_kernel "$version" || die "the kernel $version cannot be installed"
    is "$version: before, the stock modules are used" "$(modules)" kernel/arch/x86/kvm
    if [ "$version" = "$tested" ]; then
        is "$version: apt installs the packages" \
            "$(apt install --no-install-recommends postern-kvm-dkms postern-doctor &&
                echo yes)" yes
    else
        late_source "$version"
    fi
    package=$(in_root dpkg-query --show --showformat '$''{Version}' postern-kvm-dkms)
    is "$version: DKMS has built the modules" "$(modules)" "$version+postern$package updates/dkms"
    try_host "$version"
    last=$version
done
[ -n "$last" ] || die "the archive has none of the kernels that the package is for"
version=$last
stock=$version+deb13-amd64

other_source "$version"
is "apt removes the packages" "$(apt purge postern-kvm-dkms && echo yes)" yes
is "the stock modules are used again" "$(modules)" kernel/arch/x86/kvm
make_host
output=$(in_l1 "$dir/usr/bin/postern-doctor" --qemu="$qemu" --user=root || echo "status $?")
matches "postern-doctor: KVM userfault is missing" "$output" '^MISSING +KVM userfault'
matches "postern-doctor ends with 1" "$output" '^status 1$'
done_testing
