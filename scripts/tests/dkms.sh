#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Tests what prepare.sh of postern-kvm-dkms makes of Debian's linux-source, and when
# it leaves a kernel alone

set -eu
# shellcheck source=scripts/tests/tap.sh
. "$(dirname "$0")/tap.sh"

package=$work/package
headers=$work/headers
POSTERN_LINUX_SOURCE=$work/linux-source.tar
POSTERN_REASONS=$work/reasons
export POSTERN_LINUX_SOURCE POSTERN_REASONS

# prepare: for a kernel with these headers
prepare() {
    (sh "$package/prepare.sh" some-kernel "$headers" 1 2>&1) || echo "status $?"
}

reason() {
    cat "$POSTERN_REASONS/some-kernel" 2>/dev/null || echo none
}

mkdir -p "$package/files/virt/kvm" "$headers"
cp "$scripts/../packages/dkms/prepare.sh" "$scripts/../packages/dkms/Kbuild" \
    "$scripts/../packages/dkms/Kbuild.kvm" "$package/"
echo ours >"$package/files/virt/kvm/ours.c"

matches "no source: the kernel is left alone" "$(prepare)" '^status 77$'
matches "no source: what to do" "$(reason)" 'install the package linux-source-6.12$'

# A kernel's source with what KVM is made of, and something else
mkdir -p "$work/linux-source-6.12"
# shellcheck disable=SC2016 # make's variable
(cd "$work/linux-source-6.12" &&
    mkdir -p virt/kvm arch/x86/kvm arch/x86/include/asm include/linux include/uapi/linux \
        include/trace/events other &&
    printf 'VERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 5\n' >Makefile &&
    touch arch/x86/include/asm/kvm_host.h include/linux/kvm_host.h include/uapi/linux/kvm.h \
        include/trace/events/kvm.h other/Makefile &&
    printf 'one\ntwo\nthree\n' >virt/kvm/kvm_main.c &&
    printf 'include $(srctree)/virt/kvm/Makefile.kvm\n' >arch/x86/kvm/Makefile)
tar -C "$work" -cf "$POSTERN_LINUX_SOURCE" linux-source-6.12

matches "no headers: the kernel is left alone" "$(prepare)" '^status 77$'
is "no headers: what to do" "$(reason)" "install the package linux-headers-some-kernel"

# headers_of VERSION
headers_of() {
    printf 'kernelversion:\n\t@echo %s\n' "$1" >"$headers/Makefile"
}

headers_of 6.12.6
matches "another point release: the kernel is left alone" "$(prepare)" '^status 77$'
matches "another point release: what to do" "$(reason)" \
    'some-kernel is Linux 6.12.6, but linux-source-6.12 is 6.12.5: upgrade both'

headers_of 6.12.5
matches "a point release without changes: the kernel is left alone" "$(prepare)" '^status 77$'
matches "a point release without changes: the reason" "$(reason)" 'not made for Linux 6.12.5$'

cat >"$package/kvm-6.12.5.patch" <<'END'
--- a/virt/kvm/kvm_main.c
+++ b/virt/kvm/kvm_main.c
@@ -1,3 +1,3 @@
 one
-2
+TWO
 three
END
matches "changes that do not fit: the kernel is left alone" "$(prepare)" '^status 77$'
matches "changes that do not fit: the reason" "$(reason)" 'do not fit this Linux 6.12.5$'

sed -i 's/^-2$/-two/' "$package/kvm-6.12.5.patch"
is "changes that fit" "$(prepare)" ""
is "they are made" "$(sed -n 2p "$package/tree/virt/kvm/kvm_main.c")" TWO
is "our files are there" "$(cat "$package/tree/virt/kvm/ours.c")" ours
is "nothing else of the kernel is" "$(ls "$package/tree")" "Kbuild
arch
include
virt"
is "the reason is gone" "$(reason)" none
matches "the modules have a version" "$(cat "$package/tree/arch/x86/kvm/Makefile")" \
    '^postern_version := 6.12.5\+postern1$'
matches "KVM's makefile is found" "$(cat "$package/tree/arch/x86/kvm/Makefile")" \
    '^include \$\(postern\)/virt/kvm/Makefile.kvm$'
done_testing
