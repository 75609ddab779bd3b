#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# prepare.sh KERNEL HEADERS VERSION: unpacks KVM from Debian's linux-source to tree/
# beside this script, and puts our files and changes in.  DKMS runs it before it
# builds modules for KERNEL, whose headers are in the folder HEADERS.
#
# Both must be of the same point release: they change what KVM and the rest of the
# kernel call of each other.  Status 77 tells DKMS to leave KERNEL as it is; the
# reason is kept for postern-doctor.

set -eu

series=6.12
kernel=$1 headers=$2 package=$3
archive=${POSTERN_LINUX_SOURCE:-/usr/src/linux-source-$series.tar.xz}
reasons=${POSTERN_REASONS:-/var/lib/postern-kvm}

# leave REASON: the kernel keeps its own modules
leave() {
    echo "postern-kvm: $*" >&2
    mkdir -p "$reasons"
    echo "$*" >"$reasons/$kernel"
    exit 77
}

cd "$(dirname "$0")"
rm -f "$reasons/$kernel"
[ -f "$archive" ] || leave "there is no $archive: install the package linux-source-$series"
[ -f "$headers/Makefile" ] || leave "install the package linux-headers-$kernel"
wanted=$(make -s -C "$headers" kernelversion)

rm -rf tree
mkdir tree
tar -xf "$archive" -C tree --strip-components=1 --wildcards --no-wildcards-match-slash \
    'linux-source-*/Makefile' 'linux-source-*/virt/kvm' \
    'linux-source-*/arch/x86/kvm' 'linux-source-*/arch/x86/include/asm/kvm*.h' \
    'linux-source-*/include/linux/kvm*.h' \
    'linux-source-*/include/uapi/linux/kvm.h' \
    'linux-source-*/include/trace/events/kvm.h' ||
    leave "$archive cannot be unpacked"
found=$(sed -n 's/^\(VERSION\|PATCHLEVEL\|SUBLEVEL\) = //p' tree/Makefile | paste -s -d .)
[ "$found" = "$wanted" ] || leave "the kernel $kernel is Linux $wanted, but \
linux-source-$series is $found: upgrade both, then: dkms autoinstall -k $kernel"
rm tree/Makefile

[ -f "kvm-$found.patch" ] || leave "postern-kvm-dkms $package is not made for Linux $found"
cp -R files/. tree/
patch -d tree -p1 -F0 -s --no-backup-if-mismatch <"kvm-$found.patch" ||
    leave "the changes of postern-kvm-dkms $package do not fit this Linux $found"
cp Kbuild tree/Kbuild
{
    echo "postern_version := $found+postern$package"
    cat Kbuild.kvm
    # What is in the kernel's tree, but for these two folders, is in its headers.
    # shellcheck disable=SC2016 # make's variables
    sed -e 's,\$(srctree)/arch/x86/kvm,$(src),' \
        -e 's,\$(srctree)/virt/kvm,$(postern)/virt/kvm,' tree/arch/x86/kvm/Makefile
} >Makefile.new
mv Makefile.new tree/arch/x86/kvm/Makefile
