/*
 * The architectures that L1 can have
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>

#include "arch.h"

static const Arch archs[] = {
    {
        .name = "x86_64",
        .qemu = TESTBED_OUT "/qemu/out/qemu-system-x86_64",
        .machine = "q35",
        /* Other models lack features that KVM needs, and TCG lacks XSAVES. */
        .cpu = "EPYC,+svm,+npt,-xsaves",
        .kernel = TESTBED_OUT "/linux/out/arch/x86/boot/bzImage",
        .initramfs = TESTBED_INITRAMFS ".gz",
        .console = "ttyS0",
        /*
         * Linux measures the frequency of its TSC twice, and a busy machine
         * disturbs the first time.  Where the two differ by more than KVM
         * tolerates, upstream's KVM takes the TSC of a guest for 0, and fires
         * the guest's timers too late by all of its TSC.  Linux drops a second
         * result that differs by more than 1 % of the first.
         */
        .append = "kvm.tsc_tolerance_ppm=11000",
        .shell = "/bin/sh",
#ifdef __x86_64__
        .native = TRUE,
#endif
    }, {
        .name = "aarch64",
        .qemu = TESTBED_OUT "/qemu/out/qemu-system-aarch64",
        /* KVM needs EL2. */
        .machine = "virt,virtualization=on,gic-version=3",
        /* Emulating SVE and pointer authentication costs much. */
        .cpu = "max,sve=off,pauth=off",
        .kernel = TESTBED_OUT "/linux-arm64/out/arch/arm64/boot/Image",
        .initramfs = TESTBED_INITRAMFS "-aarch64.gz",
        .console = "ttyAMA0",
        .append = "",
        .shell = "/run/postern-l1/busybox sh",
#ifdef __aarch64__
        .native = TRUE,
#else
        .sysroot = TESTBED_OUT "/sysroot-arm64",
#endif
    },
};

const Arch *arch_find(const char *name)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(archs); i++) {
        if (!strcmp(archs[i].name, name)) {
            return &archs[i];
        }
    }
    return NULL;
}
