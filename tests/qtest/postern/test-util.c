/*
 * postern-test: how all groups of cases begin and end a migration
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/ioctl.h>
#include <linux/kvm.h>
#include "libqtest.h"
#include "migration/migration-qmp.h"
#include "migration/migration-util.h"
#include "qobject/qdict.h"
#include "q35.h"
#include "test-util.h"
#include "walker.h"

static bool host_has(int capability)
{
    int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    bool has = fd >= 0 && ioctl(fd, KVM_CHECK_EXTENSION, capability) > 0;

    if (fd >= 0) {
        close(fd);
    }
    return has;
}

bool host_has_userfault(void)
{
    return host_has(KVM_CAP_USERFAULT);
}

bool host_has_async_pf(void)
{
    return host_has(KVM_CAP_ASYNC_PF_USERFAULT);
}

bool host_has_memory_regions(void)
{
    return host_has(KVM_CAP_MEMORY_REGIONS);
}

/* For the next guest, until it migrates */
static bool boots_with_seabios;

void boot_with_seabios(void)
{
#ifndef __aarch64__
    boots_with_seabios = true;
#endif
}

/*
 * On aarch64, KVM writes how long a vCPU has not run into a page of its own, for
 * any guest.  check_faults() knows no such accesses.
 */
#ifdef __aarch64__
#define CPU_ARGS "-cpu max,kvm-steal-time=off"
#else
#define CPU_ARGS ""
#endif

/* migrate_start(), with a new file for messages */
static bool start_both(MigrateStart *start, QTestState **from, QTestState **to)
{
    g_autofree char *path = watch_messages();
    g_autofree char *firmware =
        walker_write_firmware(migration_get_env()->tmpfs);
    g_autofree char *options =
        g_strdup_printf(CPU_ARGS " %s %s -d flatview_check 2>>%s",
                        boots_with_seabios ? "" : "-bios",
                        boots_with_seabios ? "" : firmware, path);
    const char *source = start->opts_source, *target = start->opts_target;
    g_autofree char *opts_source = g_strdup_printf("%s %s", source ?: "",
                                                   options);
    g_autofree char *opts_target = g_strdup_printf("%s %s", target ?: "",
                                                   options);
    bool skipped;

    start->opts_source = opts_source;
    start->opts_target = opts_target;
    skipped = migrate_start(from, to, "defer", start);
    start->opts_source = source;
    start->opts_target = target;
    unlink(path);
    unlink(firmware);
    return !skipped;
}

/* Begin to migrate, through a relay if @relay is not NULL */
static void migrate_from_to(QTestState *from, QTestState *to,
                            PosternRelay **relay)
{
    const char *tmpfs = migration_get_env()->tmpfs;
    g_autofree char *there = g_strdup_printf("%s/migsocket-to", tmpfs);
    g_autofree char *here = g_strdup_printf("%s/migsocket-from", tmpfs);
    g_autofree char *there_uri = g_strdup_printf("unix:%s", there);
    g_autofree char *here_uri = g_strdup_printf("unix:%s", here);

    migrate_incoming_qmp(to, relay ? there_uri : "tcp:127.0.0.1:0", NULL, "{}");
    if (relay) {
        *relay = postern_relay_start(here, there, &error_abort);
    }
    walker_wait_for_round(from);
#ifndef __aarch64__
    if (!boots_with_seabios) {
        postern_bios_shadow(from);
    }
#endif
    boots_with_seabios = false;
    migrate_qmp(from, to, relay ? here_uri : NULL, NULL, "{}");
}

static bool begin_precopy_via(MigrateStart *start, QTestState **from,
                              QTestState **to, Setting capability,
                              const char *other, PosternRelay **relay)
{
    if (!start_both(start, from, to)) {
        return false;
    }
    migrate_set_capability(*from, "postcopy-ram", true);
    migrate_set_capability(*to, "postcopy-ram", true);
    if (other) {
        migrate_set_capability(*to, other, true);
    }
    if (other && (g_str_equal(other, "postcopy-preempt") ||
                  g_str_equal(other, "pause-before-switchover") ||
                  g_str_equal(other, "release-ram"))) {
        migrate_set_capability(*from, other, true);
    }
    if (capability != DEFAULT) {
        migrate_set_capability(*to, CAPABILITY, capability == ON);
    }
    migrate_ensure_non_converge(*from);
    migrate_prepare_for_dirty_mem(*from);
    migrate_from_to(*from, *to, relay);
    migrate_wait_for_dirty_mem(*from, *to);
    return true;
}

bool begin_precopy(MigrateStart *start, QTestState **from, QTestState **to,
                   Setting capability, const char *other)
{
    return begin_precopy_via(start, from, to, capability, other, NULL);
}

bool begin_precopy_relayed(MigrateStart *start, QTestState **from,
                           QTestState **to, const char *other,
                           PosternRelay **relay)
{
    return begin_precopy_via(start, from, to, ON, other, relay);
}

void switch_over(QTestState *from, QTestState *to)
{
    migrate_set_parameter_str(from, "zero-page-detection", "none");
    migrate_set_parameter_int(from, "max-postcopy-bandwidth", 4096);
    migrate_postcopy_start(from, to, get_src());
}

void begin_postcopy(QTestState *from, QTestState *to, unsigned faults)
{
    switch_over(from, to);
    wait_for_guest_faults(to, faults);
}

bool begin_with(MigrateStart *start, QTestState **from, QTestState **to,
                unsigned faults, Setting capability, const char *other)
{
    if (!begin_precopy(start, from, to, capability, other)) {
        return false;
    }
    begin_postcopy(*from, *to, faults);
    return true;
}

bool begin(QTestState **from, QTestState **to, Setting capability,
           const char *other)
{
    /* migrate-pause and migrate-recover are out-of-band commands */
    MigrateStart start = { .oob = true };

    return begin_with(&start, from, to, 20, capability, other);
}

void wait_for_last_request(QTestState *to)
{
    /* Pages that are on their way still arrive */
    POLL_UNTIL_STILL(faults_get(to, "requested"));
}

bool begin_and_hold_with(MigrateStart *start, QTestState **from,
                         QTestState **to)
{
    if (!begin_with(start, from, to, 20, ON, NULL)) {
        return false;
    }
    kill(qtest_pid(*from), SIGSTOP);
    wait_for_last_request(*to);
    return true;
}

bool begin_and_hold(QTestState **from, QTestState **to)
{
    MigrateStart start = { .oob = true };

    return begin_and_hold_with(&start, from, to);
}

void end_and_check(QTestState *from, QTestState *to)
{
    walker_check(to);
    migrate_end(from, to, false);
}

void finish(QTestState *from, QTestState *to, bool kvm)
{
    migrate_set_parameter_int(from, "max-postcopy-bandwidth", 0);
    wait_for_migration_complete(from);
    wait_for_migration_complete(to);
    check_faults(to, kvm);
    /* QEMU only reports it if a block stays registered */
    g_assert_false(has_said("unregister"));
    end_and_check(from, to);
}

void wait_for_paused(QTestState *who)
{
    wait_for_migration_status(who, "postcopy-paused",
                              (const char * []) { "failed", "completed",
                                                 NULL });
}

bool is_running(QTestState *who)
{
    QDict *status = qtest_qmp_assert_success_ref(who,
                                        "{ 'execute': 'query-status' }");
    bool running = qdict_get_bool(status, "running");

    qobject_unref(status);
    return running;
}

void assert_not_running(QTestState *who)
{
    g_assert_false(is_running(who));
}

void resume(QTestState *from, QTestState *to)
{
    g_autofree char *uri = g_strdup_printf("unix:%s/migsocket",
                                           migration_get_env()->tmpfs);

    migrate_recover(to, uri);
    migrate_qmp(from, to, uri, NULL, "{ 'resume': true }");
}

void kill_hard(QTestState *who)
{
    kill(qtest_pid(who), SIGKILL);
    g_assert_cmpint(waitpid(qtest_pid(who), NULL, 0), ==, qtest_pid(who));
}

void clean_up(void)
{
    const char *files[] = { "src_serial", "dest_serial", "migsocket-to" };

    for (int i = 0; i < ARRAY_SIZE(files); i++) {
        g_autofree char *path = g_build_filename(migration_get_env()->tmpfs,
                                                 files[i], NULL);
        unlink(path);
    }
}

void finish_alone(QTestState *from, QTestState *to)
{
    qtest_wait_qemu(to);
    kill(qtest_pid(from), SIGCONT);
    wait_for_paused(from);
    assert_not_running(from);
    qtest_quit(from);
    qtest_quit(to);
    clean_up();
}

static bool dirty_rate_measured(QTestState *who)
{
    QDict *rate = qtest_qmp_assert_success_ref(who,
                                        "{ 'execute': 'query-dirty-rate' }");
    bool measured = g_str_equal(qdict_get_str(rate, "status"), "measured");

    qobject_unref(rate);
    return measured;
}

void wait_for_dirty_rate(QTestState *who)
{
    POLL_UNTIL(dirty_rate_measured(who));
}
