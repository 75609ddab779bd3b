/*
 * What the groups of cases of postern-test share
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef POSTERN_TEST_UTIL_H
#define POSTERN_TEST_UTIL_H

#include "libqtest.h"
#include "migration/framework.h"
#include "relay.h"

#define CAPABILITY "postcopy-kvm-userfault"

/* One poll, and how many of them until a test gives up: a minute */
#define POLL_US 50000
#define POLLS_MAX 1200

/* Look at the condition again and again until it holds, or fail */
#define POLL_UNTIL(condition) \
    do { \
        for (int polls_ = 0; !(condition); polls_++) { \
            if (polls_ >= POLLS_MAX) { \
                g_error("in vain: %s", #condition); \
            } \
            g_usleep(POLL_US); \
        } \
    } while (0)

/* Look at the number again and again until it stays the same, or fail */
#define POLL_UNTIL_STILL(number) \
    do { \
        uint64_t last_ = (number); \
        \
        for (int polls_ = 0, same_ = 0; same_ < 10; polls_++) { \
            uint64_t now_; \
            \
            g_assert_cmpint(polls_, <, POLLS_MAX); \
            g_usleep(POLL_US); \
            now_ = (number); \
            same_ = now_ == last_ ? same_ + 1 : 0; \
            last_ = now_; \
        } \
    } while (0)

typedef enum Setting { DEFAULT, ON, OFF } Setting;

/** host_has_userfault: is this a host with KVM userfault? */
bool host_has_userfault(void);

/** host_has_memory_regions: does its KVM take lists of memslots' changes? */
bool host_has_memory_regions(void);

/** query_faults: the member postcopy-faults of query-migrate, or NULL */
QDict *query_faults(QTestState *who);

/** faults_get: a number out of it */
uint64_t faults_get(QTestState *who, const char *member);

/** check_faults: what it must say when a migration is over */
void check_faults(QTestState *to, bool kvm);

/** guest_faults: accesses of the guest that met a missing page */
uint64_t guest_faults(QTestState *who);

/**
 * watch_messages: a new file for what QEMUs say on stderr, which is shown when
 * the test fails
 *
 * Returns: its path, to be unlinked and freed when all of them have started
 */
char *watch_messages(void);

/** has_said: is @what in the last of those messages? */
bool has_said(const char *what);

/** wait_for_guest_faults: until there were @goal of them */
void wait_for_guest_faults(QTestState *who, uint64_t goal);

/** wait_for_requests: until @more pages were asked for than by now */
void wait_for_requests(QTestState *who, unsigned more);

/**
 * boot_with_seabios: have the next guest boot through SeaBIOS, for a test that
 * needs what it sets up
 */
void boot_with_seabios(void);

/**
 * begin_with: begin post-copy, and return in the middle of it
 * @start: how to start both QEMUs
 * @from: gets the source
 * @to: gets the destination, whose guest has asked for some pages
 * @faults: how many of them, as seen by query-migrate
 * @capability: what to do with the capability there
 * @other: another capability to turn on, or NULL; if "postcopy-preempt" or
 *         "release-ram", on the source, too
 *
 * What nobody asks for comes slowly, so the middle lasts until finish(), or
 * whatever else the test does.
 *
 * Returns: false if the test is to be skipped.
 */
bool begin_with(MigrateStart *start, QTestState **from, QTestState **to,
                unsigned faults, Setting capability, const char *other);

/** begin_precopy: up to where post-copy may begin; for begin_postcopy() */
bool begin_precopy(MigrateStart *start, QTestState **from, QTestState **to,
                   Setting capability, const char *other);

/**
 * begin_precopy_relayed: begin_precopy() with the capability on, through a relay
 * @relay: gets it; its connection 0 is the main channel, 1 that of preemption
 */
bool begin_precopy_relayed(MigrateStart *start, QTestState **from,
                           QTestState **to, const char *other,
                           PosternRelay **relay);

/** begin_postcopy: go on with it, until the guest has asked for @faults pages */
void begin_postcopy(QTestState *from, QTestState *to, unsigned faults);

/** begin: the same as begin_with with the usual machine */
bool begin(QTestState **from, QTestState **to, Setting capability,
           const char *other);

/**
 * begin_and_hold_with: begin post-copy, and return when the destination's vCPU
 * waits for a page that does not come
 *
 * The source's process is stopped; the caller must continue or kill it.
 */
bool begin_and_hold_with(MigrateStart *start, QTestState **from,
                         QTestState **to);

/** begin_and_hold: the same with the usual machine */
bool begin_and_hold(QTestState **from, QTestState **to);

/** end_and_check: check what the guest made of it, and quit both */
void end_and_check(QTestState *from, QTestState *to);

/**
 * wait_for_last_request: until the guest waits for a page that does not come,
 * which the caller has seen to
 */
void wait_for_last_request(QTestState *to);

/** finish: let the rest come, and check what the guest made of it */
void finish(QTestState *from, QTestState *to, bool kvm);

/** wait_for_paused: until the migration is postcopy-paused */
void wait_for_paused(QTestState *who);

/** is_running: does the guest run here? */
bool is_running(QTestState *who);

/** assert_not_running: the guest does not run here */
void assert_not_running(QTestState *who);

/** resume: connect two paused ones again */
void resume(QTestState *from, QTestState *to);

/**
 * kill_hard: kill a QEMU
 *
 * libqtest takes a death by signal for a failure of the test, so it must not
 * look at this process again: the QTestState is left alone from here on.
 */
void kill_hard(QTestState *who);

/** clean_up: the end of a test in which one side is gone */
void clean_up(void);

/**
 * finish_alone: wait until the destination's QEMU has ended by itself, and see
 * that the source keeps the guest, paused; its process may be stopped
 */
void finish_alone(QTestState *from, QTestState *to);

/** wait_for_dirty_rate: wait until calc-dirty-rate has its result */
void wait_for_dirty_rate(QTestState *who);

/* The groups; each adds its cases */
void add_capability_cases(MigrationTestEnv *env);
void add_postcopy_cases(void);
void add_memory_cases(void);
void add_trouble_cases(void);
void add_end_cases(void);
void add_life_cases(void);
void add_slots_cases(void);
void add_neighbours_cases(void);
void add_memslots_cases(void);

#endif
