/*
 * Soak: tours of one guest through many migrations, at random
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef POSTERN_SOAK_H
#define POSTERN_SOAK_H

#include "vm.h"

#define POSTERN_SOAK_LEGS_MAX 5

/* What happens to the network, or what an operator does, in mid-post-copy */
typedef enum PosternTrouble {
    TROUBLE_NONE,
    TROUBLE_CUT,                /* all connections break */
    TROUBLE_CUT_PREEMPT,        /* that of postcopy-preempt breaks */
    TROUBLE_STALL,              /* nothing is carried for a while */
    TROUBLE_STALL_CUT,          /* likewise, and then they break */
    TROUBLE_PAUSE_SOURCE,       /* migrate-pause */
    TROUBLE_PAUSE_DESTINATION,
    TROUBLE_STOP_CONT,          /* the guest is stopped for a while */
    TROUBLE_SLOTS,              /* the slot of most memory changes, and back */
    TROUBLE_DIRTY_LOG,          /* all slots log what is dirtied for a while */
    TROUBLE__MAX,
} PosternTrouble;

#define POSTERN_SOAK_TROUBLES_MAX 3

/**
 * struct PosternLeg - one migration of a tour
 * @kvm_userfault: capability postcopy-kvm-userfault
 * @preempt: capability postcopy-preempt
 * @cut_precopy: the network breaks before post-copy, so that it fails
 * @precopy_percent: post-copy begins when so much of memory was sent
 * @max_bandwidth: of precopy, in bytes a second, 0 for QEMU's default
 * @postcopy_bandwidth: likewise, 0 for no limit
 * @troubles: one after the other; each waits until the one before is over
 */
typedef struct PosternLeg {
    bool kvm_userfault;
    bool preempt;
    bool cut_precopy;
    unsigned precopy_percent;
    uint64_t max_bandwidth;
    uint64_t postcopy_bandwidth;
    struct {
        PosternTrouble what;
        unsigned after_ms;      /* of post-copy, or since the one before */
        unsigned lasts_ms;      /* for those of a while */
    } troubles[POSTERN_SOAK_TROUBLES_MAX];
} PosternLeg;

/**
 * struct PosternTour - a guest, and where it goes
 */
typedef struct PosternTour {
    unsigned memory_mib;
    unsigned vcpus;
    unsigned backend;           /* of the guest's memory, see soak-plan.c */
    unsigned percent;           /* of its memory that the guest uses */
    unsigned rest_us;           /* of the guest after each 64 operations */
    unsigned nlegs;
    PosternLeg legs[POSTERN_SOAK_LEGS_MAX];
} PosternTour;

/**
 * struct PosternSoakCounts - what came of tours, in memory shared by processes
 * @migrations: that ended with a guest that lives
 * @postcopies: of them, those that completed after a switch
 * @kept: of them, those that failed before the switch, as planned
 * @unconfirmed: of them, those where all arrived, and the source was not told
 * @troubles: that were made
 * @recoveries: that were begun
 * @kvm_exits: as in query-migrate's postcopy-faults, of all
 * @words: that were checked in sweeps
 * @corrupted: that were found wrong
 * @step: what is being done, for a message should it hang
 */
typedef struct PosternSoakCounts {
    unsigned migrations;
    unsigned postcopies;
    unsigned kept;
    unsigned unconfirmed;
    unsigned troubles;
    unsigned recoveries;
    uint64_t kvm_exits;
    uint64_t words;
    uint64_t corrupted;
    char step[160];
} PosternSoakCounts;

/**
 * postern_soak_plan() - make up a tour
 * @tour: filled in
 * @seed: with @number, says all
 * @number: of the tour
 */
void postern_soak_plan(PosternTour *tour, uint32_t seed, unsigned number);

/**
 * postern_soak_narrow() - put something else in the place of what was made up
 * @tour: what to change
 * @backend: name of the memory's back end, or NULL to leave it
 * @trouble: name of what each trouble is to be, or NULL to leave them; a leg
 *           that had none gets one
 * @no_preempt: no leg has postcopy-preempt
 *
 * Return: false if there is no such name
 */
bool postern_soak_narrow(PosternTour *tour, const char *backend,
                         const char *trouble, bool no_preempt);

/**
 * postern_soak_describe() - a tour's guest in one line, to be freed
 */
char *postern_soak_describe(const PosternTour *tour);

/**
 * postern_soak_describe_leg() - a migration in one line, to be freed
 */
char *postern_soak_describe_leg(const PosternLeg *leg);

/**
 * postern_soak_arguments() - QEMU's arguments for a tour's memory, to be freed
 */
char *postern_soak_arguments(const PosternTour *tour);

/**
 * postern_soak_run() - make a tour
 * @tour: what to do
 * @config: the guest's kernel and initramfs, and a log
 * @directory: for sockets
 * @counts: added to as it goes
 * @errp: set when the guest was lost, or something took too long
 *
 * Return: true when the guest was well and had no wrong word at the end
 */
bool postern_soak_run(const PosternTour *tour, const PosternVMConfig *config,
                      const char *directory, PosternSoakCounts *counts,
                      Error **errp);

#endif
