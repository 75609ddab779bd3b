# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
#
# What runs on an emulated host of the architecture $POSTERN_ARCH (x86_64), which
# is make's ARCH.  To be sourced after common.sh.

# shellcheck disable=SC2034,SC2154 # used, and set, by the scripts that source it
arch=${POSTERN_ARCH:-x86_64}

# programs: the folder of our QEMU, and of the programs that start it
# kernel, guest: of guests; guest is a target of Meson, too
# wanted: what to build besides, for Meson
# seconds: for the demo, at most
case $arch in
x86_64)
    programs=$build/qemu/out
    kernel=$build/linux/out/arch/x86/boot/bzImage
    guest=testbed/guest/guest.cpio
    wanted='testbed/initramfs.gz qemu.stamp linux.stamp'
    seconds=300
    ;;
aarch64)
    has_target aarch64 || die "ARCH=aarch64: the target list of configure has no aarch64-softmmu"
    programs=$build/qemu-arm64/out
    kernel=$build/linux-arm64/out/arch/arm64/boot/Image
    guest=testbed/guest/guest-aarch64.cpio
    wanted='testbed/initramfs-aarch64.gz qemu-aarch64.stamp qemu-arm64.stamp linux-arm64.stamp'
    seconds=600
    ;;
*) die "ARCH=$arch: known are x86_64 and aarch64" ;;
esac

# build_what_runs: builds all of it
build_what_runs() {
    # shellcheck disable=SC2086 # several
    ninja -C "$build/meson" --quiet testbed/testbed "$guest" $wanted || die "the build failed"
}
