/*
 * postern-test: one migration of a guest that runs Linux, and a program that
 * checks every word that it uses (testbed/guest/postern-guest.c)
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef POSTERN_TRIP_H
#define POSTERN_TRIP_H

#include "guest.h"
#include "migrate.h"

enum {
    TIMEOUT_S = 300,            /* also for a QEMU with sanitizers */
    MEMORY_MIB = 128,
};

typedef enum Side { SOURCE, DESTINATION, SIDES } Side;

extern const char * const side_names[SIDES];

/* A migration of a guest that was booted for it */
typedef struct Trip {
    PosternVMConfig configs[SIDES];
    PosternVM *vms[SIDES];
    PosternMigrateOptions options;
    char *arguments[SIDES];
    char *messages;
    char *socket;
    int memory_mib;             /* 0: MEMORY_MIB */
    int vcpus;                  /* 0: one */
    const char *cpu;            /* NULL: the host's */
    bool upstream_way;          /* userfaultfd alone, with postcopy-preempt */
    bool may_complete;          /* before trip_end(): the test takes long */
    bool resets;                /* firmware may access pages without a bitmap */
} Trip;

/** trip_own_path: the name of a file for one side, to be freed */
char *trip_own_path(const char *name, Side side);

/** trip_environment: an environment variable that the test must have */
const char *trip_environment(const char *name);

/**
 * trip_boot: boot the guest on the source
 * @trip: all 0, or with the members that the caller chooses
 * @source: arguments of QEMU, which this takes ownership of
 * @destination: likewise
 * @append: words for the guest's kernel
 */
void trip_boot(Trip *trip, char *source, char *destination,
               const char *append);

/**
 * trip_switch: switch to post-copy at once, with nearly all memory missing
 *
 * Pages that are not requested arrive slowly, so post-copy continues until
 * trip_end().
 */
void trip_switch(Trip *trip);

/** trip_let_go: bring the rest of the pages without a limit */
void trip_let_go(Trip *trip);

/** trip_check: check that the guest runs, and that no word of it is wrong */
void trip_check(PosternVM *vm);

/** trip_free: end both QEMUs, and free what belongs to @trip */
void trip_free(Trip *trip);

/** trip_end: complete the migration, check the guest, and free @trip */
void trip_end(Trip *trip);

#endif
