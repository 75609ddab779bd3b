/*
 * postern-test: how all groups of cases begin and end a migration
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef POSTERN_TEST_UTIL_H
#define POSTERN_TEST_UTIL_H

#include "libqtest.h"
#include "migration/framework.h"
#include "messages.h"
#include "postcopy-faults.h"
#include "relay.h"

#define CAPABILITY "postcopy-kvm-userfault"

/* What these tests call the machine, of QEMU 7.2 */
#ifdef __aarch64__
#define MACHINE_7_2 "virt-7.2"
#else
#define MACHINE_7_2 "pc-q35-7.2"
#endif

/* The interval of polls, and their number until a test fails: a minute */
#define POLL_US 50000
#define POLLS_MAX 1200

/* Poll every @us until the condition holds; fail after @max polls */
#define POLL_UNTIL_EVERY(us, max, condition) \
    do { \
        for (int polls_ = 0; !(condition); polls_++) { \
            if (polls_ >= (max)) { \
                g_error("never true: %s", #condition); \
            } \
            g_usleep(us); \
        } \
    } while (0)

/* Poll until the condition holds, or fail */
#define POLL_UNTIL(condition) POLL_UNTIL_EVERY(POLL_US, POLLS_MAX, condition)

/* Poll until the number has been the same for 10 polls, or fail */
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

/** host_has_userfault: does this host support KVM userfault? */
bool host_has_userfault(void);

/** host_has_async_pf: can exits of KVM userfault be accepted? */
bool host_has_async_pf(void);

/** host_has_memory_regions: does its KVM support lists of memslot changes? */
bool host_has_memory_regions(void);

/**
 * boot_with_seabios: on x86, boot the next guest through SeaBIOS, which sets
 * up devices
 */
void boot_with_seabios(void);

/**
 * begin_with: begin post-copy, and return in the middle of it
 * @start: how to start both QEMUs
 * @from: gets the source
 * @to: gets the destination
 * @faults: how many faults the destination's guest has had, in query-migrate
 * @capability: setting of postcopy-kvm-userfault on the destination
 * @other: another capability to turn on, or NULL; if "postcopy-preempt",
 *         "pause-before-switchover" or "release-ram", on the source, too
 *
 * Pages that are not requested arrive slowly, so post-copy continues until
 * finish() or another action of the test.
 *
 * Returns: false if the test must be skipped.
 */
bool begin_with(MigrateStart *start, QTestState **from, QTestState **to,
                unsigned faults, Setting capability, const char *other);

/** begin_precopy: migrate until post-copy can begin, with switch_over() */
bool begin_precopy(MigrateStart *start, QTestState **from, QTestState **to,
                   Setting capability, const char *other);

/**
 * begin_precopy_relayed: begin_precopy() with the capability on, through a
 * relay
 * @relay: gets it; its connection 0 is the main channel, 1 the preempt channel
 */
bool begin_precopy_relayed(MigrateStart *start, QTestState **from,
                           QTestState **to, const char *other,
                           PosternRelay **relay);

/**
 * switch_over: begin post-copy, with a stream so slow that the guest finds most
 * of its pages missing
 *
 * All pages are sent whole: 4096 bytes a second would hold thousands of zero
 * pages, and the walker's memory is zero in one round of 256.
 */
void switch_over(QTestState *from, QTestState *to);

/** begin_postcopy: switch_over(), and wait for @faults faults of the guest */
void begin_postcopy(QTestState *from, QTestState *to, unsigned faults);

/** begin: begin_with() with the usual machine */
bool begin(QTestState **from, QTestState **to, Setting capability,
           const char *other);

/**
 * begin_and_hold_with: begin post-copy, and return while the destination's vCPU
 * waits for a page
 *
 * The source's process is stopped; the caller must continue or kill it.
 */
bool begin_and_hold_with(MigrateStart *start, QTestState **from,
                         QTestState **to);

/** begin_and_hold: begin_and_hold_with() with the usual machine */
bool begin_and_hold(QTestState **from, QTestState **to);

/** end_and_check: check the guest's memory, and quit both QEMUs */
void end_and_check(QTestState *from, QTestState *to);

/**
 * wait_for_last_request: wait until the guest waits for a page
 *
 * The caller has made sure that pages do not arrive any more.
 */
void wait_for_last_request(QTestState *to);

/** finish: complete the migration, and check the guest's memory */
void finish(QTestState *from, QTestState *to, bool kvm);

/** wait_for_paused: wait until the migration is postcopy-paused */
void wait_for_paused(QTestState *who);

/** is_running: does the guest run here? */
bool is_running(QTestState *who);

/** assert_not_running: the guest does not run here */
void assert_not_running(QTestState *who);

/** resume: recover a migration that is paused on both sides */
void resume(QTestState *from, QTestState *to);

/**
 * kill_hard: kill a QEMU
 *
 * libqtest fails the test if QEMU was killed by a signal, so the test must not
 * use this QTestState any more.
 */
void kill_hard(QTestState *who);

/** clean_up: remove the files of a test in which one side was killed */
void clean_up(void);

/**
 * finish_alone: wait until the destination's QEMU has exited, and check that
 * the source pauses with the guest; its process may be stopped
 */
void finish_alone(QTestState *from, QTestState *to);

/** wait_for_dirty_rate: wait until calc-dirty-rate has its result */
void wait_for_dirty_rate(QTestState *who);

/* The groups of cases */
void add_async_pf_cases(void);
void add_capability_cases(MigrationTestEnv *env);
void add_completion_errors_cases(void);
void add_memory_backends_cases(void);
void add_memory_users_cases(void);
void add_memslot_limits_cases(void);
void add_postcopy_cases(void);
void add_slot_changes_cases(void);
void add_stream_errors_cases(void);
void add_vm_lifecycle_cases(void);

#endif
