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
    const char *cpu;        /* that TCG emulates */
    const char *kernel;     /* L1's */
    const char *initramfs;
    const char *console;    /* the serial port, as L1's kernel calls it */
    /* The shell that runs in L1, as the first line of a script says it. */
    const char *shell;
    /* TCG runs several CPUs in parallel. */
    gboolean parallel;
    /* This machine's own: L1 runs its programs, and KVM may run L1. */
    gboolean native;
} Arch;

/**
 * arch_find: the architecture of that name
 *
 * Returns: NULL where there is none.
 */
const Arch *arch_find(const char *name);

#endif
