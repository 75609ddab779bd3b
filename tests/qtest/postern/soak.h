/*
 * Soak: randomized tours of one guest through many migrations
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef POSTERN_SOAK_H
#define POSTERN_SOAK_H

#include "vm.h"

#define POSTERN_SOAK_LEGS_MAX 5

/* An event of the network, or an action of an operator, in post-copy */
typedef enum PosternTrouble {
    TROUBLE_NONE,
    TROUBLE_CUT,                /* all connections break */
    TROUBLE_CUT_PREEMPT,        /* the preempt channel breaks */
    TROUBLE_STALL,              /* all connections stall for a while */
    TROUBLE_STALL_CUT,          /* all connections stall, and then break */
    TROUBLE_PAUSE_SOURCE,       /* migrate-pause */
    TROUBLE_PAUSE_DESTINATION,
    TROUBLE_STOP_CONT,          /* the guest is stopped for a while */
    TROUBLE_SLOTS,              /* the largest slot changes, and back */
    TROUBLE_DIRTY_LOG,          /* all slots log dirty pages for a while */
    TROUBLE__MAX,
} PosternTrouble;

#define POSTERN_SOAK_TROUBLES_MAX 3

/**
 * struct PosternLeg - one migration of a tour
 * @kvm_userfault: capability postcopy-kvm-userfault
 * @async_pf: capability postcopy-async-pf
 * @preempt: capability postcopy-preempt
 * @cut_precopy: the network breaks before post-copy, so that migration fails
 * @precopy_percent: post-copy begins when this part of memory was sent
 * @max_bandwidth: limit of precopy, in bytes a second, 0 for QEMU's default
 * @postcopy_bandwidth: limit of post-copy, 0 for none
 * @troubles: one after the other
 */
typedef struct PosternLeg {
    bool kvm_userfault;
    bool async_pf;
    bool preempt;
    bool cut_precopy;
    unsigned precopy_percent;
    uint64_t max_bandwidth;
    uint64_t postcopy_bandwidth;
    struct {
        PosternTrouble what;
        unsigned after_ms;      /* since the switch or the previous trouble */
        unsigned lasts_ms;      /* if it lasts for a while */
    } troubles[POSTERN_SOAK_TROUBLES_MAX];
} PosternLeg;

/**
 * struct PosternTour - a guest, and its migrations
 */
typedef struct PosternTour {
    unsigned memory_mib;
    unsigned vcpus;
    unsigned backend;           /* of the guest's memory, see soak-plan.c */
    unsigned percent;           /* part of its memory that the guest uses */
    unsigned rest_us;           /* pause of the guest after 64 operations */
    const char *cpu;            /* CPU model; NULL: the host's */
    bool no_kvmapf;             /* the guest ignores async page faults */
    unsigned nlegs;
    PosternLeg legs[POSTERN_SOAK_LEGS_MAX];
} PosternTour;

/**
 * struct PosternSoakCounts - results of tours, in memory shared by processes
 * @migrations: migrations after which the guest was well
 * @postcopies: of these, those that completed in post-copy
 * @kept: of these, those that failed before the switch, as planned
 * @unconfirmed: of these, those that only the destination completed
 * @troubles: troubles
 * @recoveries: recoveries
 * @kvm_exits: sum of kvm-exits in query-migrate's postcopy-faults
 * @accepted: likewise of kvm-exits-accepted
 * @told: likewise of async-told
 * @halts: likewise of async-halts
 * @words: words that were checked in sweeps
 * @corrupted: words that were wrong
 * @step: the current step, for a message if it hangs
 */
typedef struct PosternSoakCounts {
    unsigned migrations;
    unsigned postcopies;
    unsigned kept;
    unsigned unconfirmed;
    unsigned troubles;
    unsigned recoveries;
    uint64_t kvm_exits;
    uint64_t accepted;
    uint64_t told;
    uint64_t halts;
    uint64_t words;
    uint64_t corrupted;
    char step[160];
} PosternSoakCounts;

/**
 * postern_soak_plan() - generate a tour
 * @tour: filled in
 * @seed: determines the tour, with @number
 * @number: of the tour
 */
void postern_soak_plan(PosternTour *tour, uint32_t seed, unsigned number);

/**
 * postern_soak_narrow() - replace parts of a generated tour
 * @tour: the tour
 * @backend: name of the memory's back end, or NULL to keep it
 * @trouble: name of all troubles, or NULL to keep them; a leg without a trouble
 *           gets one
 * @no_preempt: use postcopy-preempt in no leg
 *
 * Return: false if there is no such name
 */
bool postern_soak_narrow(PosternTour *tour, const char *backend,
                         const char *trouble, bool no_preempt);

/**
 * postern_soak_describe() - describe a tour's guest in one line, to be freed
 */
char *postern_soak_describe(const PosternTour *tour);

/**
 * postern_soak_describe_leg() - describe a migration in one line, to be freed
 */
char *postern_soak_describe_leg(const PosternLeg *leg);

/**
 * postern_soak_arguments() - QEMU's arguments for a tour's memory, to be freed
 */
char *postern_soak_arguments(const PosternTour *tour);

/**
 * postern_soak_run() - make a tour
 * @tour: the tour
 * @config: the guest's kernel and initramfs, and a log
 * @directory: for sockets
 * @counts: updated by each migration
 * @errp: set if the guest was lost, or a step took too long
 *
 * Return: true if the guest was well and had no wrong word at the end
 */
bool postern_soak_run(const PosternTour *tour, const PosternVMConfig *config,
                      const char *directory, PosternSoakCounts *counts,
                      Error **errp);

#endif
