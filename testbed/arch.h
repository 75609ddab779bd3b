/*
 * The architectures that L1 can have
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTBED_ARCH_H
#define TESTBED_ARCH_H

#include <glib.h>

typedef struct Arch {
    const char *name;
    const char *qemu;       /* L0's */
    const char *machine;
    const char *cpu;        /* TCG's model */
    const char *kernel;     /* L1's */
    const char *initramfs;
    const char *console;    /* L1's name for the serial port */
    const char *append;     /* more of L1's kernel command line */
    const char *shell;      /* in L1, as in a script's first line */
    const char *sysroot;    /* libraries of its programs; NULL: this machine's */
    /* This machine's own: L1 runs its programs, and KVM may run L1. */
    gboolean native;
} Arch;

/**
 * arch_find: find an architecture by its name
 *
 * Returns: the architecture, or NULL if there is none of that name.
 */
const Arch *arch_find(const char *name);

#endif
