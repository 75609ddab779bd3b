/*
 * postern-test: errors at the switch to post-copy and at its end
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/ptrace.h>
#include "libqtest.h"
#include "migration/migration-qmp.h"
#include "migration/migration-util.h"
#include "qobject/qdict.h"
#include "test-util.h"
#include "walker.h"

/*
 * Begin post-copy, and return when the source has sent everything and waits
 * for the confirmation of the destination.  The destination's process is
 * stopped, and its guest, too.
 */
static bool begin_and_hold_end(QTestState **from, QTestState **to)
{
    /*
     * Until the sockets' buffers can hold the rest: fast at first, then slower
     */
    static const struct { int bytes_per_second; int remaining; } steps[] = {
        { 32 << 20, 8 << 20 }, { 1 << 20, 1 << 20 }, { 4096, INT_MAX },
    };

    if (!begin(from, to, ON, NULL)) {
        return false;
    }
    /* Requested pages ignore the limit, so let the guest request none */
    qtest_qmp_assert_success(*to, "{ 'execute': 'stop' }");
    for (int step = 0; step < ARRAY_SIZE(steps); step++) {
        migrate_set_parameter_int(*from, "max-postcopy-bandwidth",
                                  steps[step].bytes_per_second);
        for (int i = 0; read_ram_property_int(*from, "remaining") >
                        steps[step].remaining; i++) {
            g_assert_cmpint(i, <, 5 * POLLS_MAX);
            g_usleep(POLL_US / 5);
        }
    }
    kill(qtest_pid(*to), SIGSTOP);
    g_assert_cmpint(read_ram_property_int(*from, "remaining"), >, 0);
    migrate_set_parameter_int(*from, "max-postcopy-bandwidth", 0);
    POLL_UNTIL(read_ram_property_int(*from, "remaining") == 0);
    /* The end of the stream follows the last page soon */
    g_usleep(G_USEC_PER_SEC);
    return true;
}

/*
 * The stream breaks when everything is on its way.  The source does not know
 * whether it arrived, and must not start the guest, which runs on the
 * destination.  If it did not arrive, the destination pauses, and a recovery
 * sends the rest.
 */
static void test_cut_at_end(void)
{
    g_autofree char *status = NULL;
    QTestState *from, *to;

    if (!begin_and_hold_end(&from, &to)) {
        return;
    }
    migrate_pause(from);
    wait_for_paused(from);
    assert_not_running(from);
    kill(qtest_pid(to), SIGCONT);
    qtest_qmp_assert_success(to, "{ 'execute': 'cont' }");
    for (int i = 0; !status; i++) {
        g_autofree char *now = migrate_query_status(to);

        g_assert_cmpint(i, <, POLLS_MAX);
        if (!g_str_equal(now, "postcopy-active")) {
            status = g_steal_pointer(&now);
        }
        g_usleep(POLL_US);
    }
    g_test_message("the destination is %s", status);
    assert_not_running(from);
    if (g_str_equal(status, "postcopy-paused")) {
        resume(from, to);
        finish(from, to, true);
        return;
    }
    g_assert_cmpstr(status, ==, "completed");
    check_faults(to, true);
    end_and_check(from, to);
}

/* The destination is killed when everything is on its way: the source pauses */
static void test_kill_destination_at_end(void)
{
    QTestState *from, *to;

    if (!begin_and_hold_end(&from, &to)) {
        return;
    }
    kill_hard(to);
    wait_for_paused(from);
    assert_not_running(from);
    qtest_quit(from);
    clean_up();
}

/*
 * Begin post-copy, and return when the guest runs on the destination.  Its
 * answer that the devices are loaded is held back.
 */
static bool begin_and_hold_answer(QTestState **from, QTestState **to,
                                  const char *other, PosternRelay **relay)
{
    MigrateStart start = { .oob = true };

    if (!begin_precopy_relayed(&start, from, to, other, relay)) {
        return false;
    }
    postern_relay_hold_one(*relay, 0, true, true);
    switch_over(*from, *to);
    wait_for_migration_status(*to, "postcopy-active",
                              (const char * []) { "failed", "completed",
                                                 NULL });
    return true;
}

static void assert_refused(QTestState *who, const char *command)
{
    QDict *error = qtest_qmp_assert_failure_ref(who, "{ 'execute': %s }",
                                                command);

    qobject_unref(error);
}

/*
 * The stream fails while the source is in postcopy-device.  The answer may be
 * on its way, so the source waits for it, and pauses.
 */
static void test_answer_late(void)
{
    g_autofree char *status = NULL;
    QTestState *from, *to;
    PosternRelay *relay;

    if (!begin_and_hold_answer(&from, &to, NULL, &relay)) {
        return;
    }
    status = migrate_query_status(from);
    g_assert_cmpstr(status, ==, "postcopy-device");
    assert_refused(from, "migrate-pause");
    assert_refused(from, "migrate_cancel");

    postern_relay_end_one(relay, 0, false);
    wait_for_paused(to);
    assert_not_running(from);
    postern_relay_hold_one(relay, 0, true, false);
    wait_for_paused(from);
    assert_not_running(from);

    resume(from, to);
    finish(from, to, true);
    postern_relay_end(relay);
}

/*
 * Without an answer, the guest continues on the source, where release-ram has
 * freed none of its memory.
 */
static void finish_at_source(QTestState *from, QTestState *to,
                             PosternRelay *relay)
{
    kill_hard(to);
    postern_relay_cut(relay, 0);
    wait_for_migration_status(from, "failed",
                              (const char * []) { "postcopy-paused",
                                                 "completed", NULL });
    POLL_UNTIL(is_running(from));
    walker_check(from);
    postern_relay_end(relay);
    qtest_quit(from);
    clean_up();
}

/* The destination is killed after its answer, which does not arrive */
static void test_no_answer(void)
{
    QTestState *from, *to;
    PosternRelay *relay;

    if (begin_and_hold_answer(&from, &to, "release-ram", &relay)) {
        finish_at_source(from, to, relay);
    }
}

/* Wait until the main channel carries nothing more */
static void wait_for_silence(PosternRelay *relay)
{
    POLL_UNTIL_STILL(postern_relay_carried(relay, 0, false));
}

/* The destination is killed before it has loaded the devices */
static void test_no_devices(void)
{
    MigrateStart start = { .oob = true };
    QTestState *from, *to;
    PosternRelay *relay;

    if (!begin_precopy_relayed(&start, &from, &to, "pause-before-switchover",
                               &relay)) {
        return;
    }
    /*
     * The sockets must hold what is held back, so no pages may be on their way
     */
    qtest_qmp_assert_success(from, "{ 'execute': 'migrate-start-postcopy' }");
    wait_for_migration_status(from, "pre-switchover",
                              (const char * []) { "failed", "completed",
                                                 "postcopy-active", NULL });
    wait_for_silence(relay);
    postern_relay_hold_one(relay, 0, false, true);
    qtest_qmp_assert_success(from, "{ 'execute': 'migrate-continue',"
                             " 'arguments': { 'state': 'pre-switchover' } }");
    wait_for_migration_status(from, "postcopy-device",
                              (const char * []) { "failed", "completed",
                                                 "postcopy-active", NULL });
    finish_at_source(from, to, relay);
}

static bool has_error_desc(QTestState *who)
{
    QDict *info = migrate_query(who);
    bool has = qdict_haskey(info, "error-desc");

    qobject_unref(info);
    return has;
}

static void wait_for_end_of_stream(QTestState *from, PosternRelay *relay)
{
    POLL_UNTIL(read_ram_property_int(from, "remaining") == 0);
    wait_for_silence(relay);
}

/*
 * Begin post-copy, and return when everything on the main channel has arrived,
 * and the preempt channel has broken with the page that the guest waits for.
 */
static bool begin_and_lose_page(MigrateStart *start, QTestState **from,
                                QTestState **to, PosternRelay **relay)
{
    if (!begin_precopy_relayed(start, from, to, "postcopy-preempt", relay)) {
        return false;
    }
    begin_postcopy(*from, *to, 20);
    postern_relay_hold_one(*relay, 1, false, true);
    wait_for_last_request(*to);
    migrate_set_parameter_int(*from, "max-postcopy-bandwidth", 0);
    wait_for_end_of_stream(*from, *relay);
    postern_relay_cut(*relay, 1);
    return true;
}

/*
 * The source behaves like upstream's: if the return path ended, it would start
 * the guest, which runs on the destination.
 */
static void test_preempt_lost(void)
{
    MigrateStart start = {
        .oob = true,
        .opts_source = "-global migration.x-postcopy-pause-unconfirmed=off",
    };
    QTestState *from, *to;
    PosternRelay *relay;

    if (!begin_and_lose_page(&start, &from, &to, &relay)) {
        return;
    }
    POLL_UNTIL(has_error_desc(to) || is_running(from));
    assert_not_running(from);
    g_assert_true(is_running(to));
    assert_refused(to, "migrate-pause");
    assert_not_running(from);

    /* Only after the destination's exit does the source start the guest */
    kill_hard(to);
    postern_relay_cut(relay, 0);
    POLL_UNTIL(is_running(from));
    postern_relay_end(relay);
    qtest_quit(from);
    clean_up();
}

/*
 * Our source pauses with the destination, and the recovery sends the page
 * again
 */
static void test_preempt_recover(void)
{
    MigrateStart start = { .oob = true };
    QTestState *from, *to;
    PosternRelay *relay;

    if (!begin_and_lose_page(&start, &from, &to, &relay)) {
        return;
    }
    wait_for_paused(to);
    wait_for_paused(from);
    assert_not_running(from);

    resume(from, to);
    finish(from, to, true);
    postern_relay_end(relay);
}

/*
 * With machine types up to 7.2, the source ends the preempt channel when it
 * has sent everything.  The pages on the main channel get lost, so the
 * recovery needs the preempt channel again, for the page that the guest waits
 * for.
 */
static void test_pre_7_2(void)
{
    MigrateStart start = {
        .oob = true,
        .memory_backend = "-m %s -machine " MACHINE_7_2,
    };
    QTestState *from, *to;
    PosternRelay *relay;
    uint64_t carried;

    if (!begin_precopy_relayed(&start, &from, &to, "postcopy-preempt",
                               &relay)) {
        return;
    }
    begin_postcopy(from, to, 20);
    postern_relay_hold_one(relay, 0, true, true);
    wait_for_last_request(to);
    carried = postern_relay_carried(relay, 1, false);
    postern_relay_lose_one(relay, 0, false);
    migrate_set_parameter_int(from, "max-postcopy-bandwidth", 0);
    /* No page is requested, so this is the end of the channel */
    POLL_UNTIL(postern_relay_carried(relay, 1, false) > carried);
    postern_relay_cut(relay, -1);
    wait_for_paused(from);
    wait_for_paused(to);

    migrate_set_parameter_int(from, "max-postcopy-bandwidth", 4096);
    resume(from, to);
    wait_for_guest_faults(to, guest_faults(to) + 20);
    finish(from, to, true);
    postern_relay_end(relay);
}

/* Stop one thread until thread_continue() */
static pid_t thread_stop(QTestState *who, const char *name)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task", qtest_pid(who));
    g_autoptr(GDir) threads = g_dir_open(path, 0, NULL);
    g_autofree char *line = g_strdup_printf("%s\n", name);
    const char *thread;

    while ((thread = g_dir_read_name(threads))) {
        g_autofree char *comm = g_strdup_printf("%s/%s/comm", path, thread);
        g_autofree char *found = NULL;
        pid_t tid = atoi(thread);

        if (!g_file_get_contents(comm, &found, NULL, NULL) ||
            !g_str_equal(found, line)) {
            continue;
        }
        g_assert_cmpint(ptrace(PTRACE_SEIZE, tid, NULL, NULL), ==, 0);
        g_assert_cmpint(ptrace(PTRACE_INTERRUPT, tid, NULL, NULL), ==, 0);
        g_assert_cmpint(waitpid(tid, NULL, __WALL), ==, tid);
        return tid;
    }
    g_assert_not_reached();
}

static void thread_continue(pid_t tid)
{
    g_assert_cmpint(ptrace(PTRACE_DETACH, tid, NULL, NULL), ==, 0);
}

/*
 * The network stalls when little is left: by its estimate, the source could send
 * the rest within the limit of downtime.  Its monitor answers all the same.
 */
static void test_stall(void)
{
    MigrateStart start = {};
    QTestState *from, *to;
    PosternRelay *relay;
    int64_t remaining;
    pid_t migration;

    if (!begin_precopy_relayed(&start, &from, &to, NULL, &relay)) {
        return;
    }
    begin_postcopy(from, to, 20);
    /* Nothing fills the socket before the parameters take effect */
    migration = thread_stop(from, "mig/src/main");
    postern_relay_hold_one(relay, 0, false, true);
    migrate_set_parameter_int(from, "avail-switchover-bandwidth", 1 << 30);
    migrate_set_parameter_int(from, "downtime-limit", 1000000);
    thread_continue(migration);
    g_usleep(G_USEC_PER_SEC / 2);

    /* A monitor that does not answer ends the test */
    alarm(60);
    migrate_set_parameter_int(from, "max-postcopy-bandwidth", 0);
    POLL_UNTIL_STILL(remaining = read_ram_property_int(from, "remaining"));
    g_assert_cmpint(remaining, >, 0);
    alarm(0);

    postern_relay_hold_one(relay, 0, false, false);
    finish(from, to, true);
    postern_relay_end(relay);
}

/*
 * migrate-pause comes after the destination's confirmation has arrived, but
 * before the source has read it: the migration completes.
 */
static void test_pause_when_confirmed(void)
{
    MigrateStart start = { .oob = true };
    QTestState *from, *to;
    PosternRelay *relay;
    pid_t return_path;

    if (!begin_precopy_relayed(&start, &from, &to, NULL, &relay)) {
        return;
    }
    begin_postcopy(from, to, 20);
    postern_relay_hold_one(relay, 0, true, true);
    migrate_set_parameter_int(from, "max-postcopy-bandwidth", 0);
    wait_for_migration_complete(to);

    return_path = thread_stop(from, "mig/src/return");
    postern_relay_hold_one(relay, 0, true, false);
    POLL_UNTIL(postern_relay_over(relay, 0, true));
    migrate_pause(from);
    thread_continue(return_path);

    wait_for_migration_status(from, "completed",
                              (const char * []) { "postcopy-paused", "failed",
                                                 NULL });
    assert_not_running(from);
    end_and_check(from, to);
    postern_relay_end(relay);
}

void add_completion_errors_cases(void)
{
    if (!host_has_userfault()) {
        return;
    }
    migration_test_add("/postern/completion-errors/cut", test_cut_at_end);
    migration_test_add("/postern/completion-errors/kill-destination",
                       test_kill_destination_at_end);
    migration_test_add("/postern/completion-errors/preempt-lost",
                       test_preempt_lost);
    migration_test_add("/postern/completion-errors/preempt-recover",
                       test_preempt_recover);
    migration_test_add("/postern/completion-errors/pre-7-2", test_pre_7_2);
    migration_test_add("/postern/completion-errors/stall", test_stall);
    migration_test_add("/postern/completion-errors/pause-when-confirmed",
                       test_pause_when_confirmed);
    migration_test_add("/postern/completion-errors/answer-late",
                       test_answer_late);
    migration_test_add("/postern/completion-errors/no-answer", test_no_answer);
    migration_test_add("/postern/completion-errors/no-devices",
                       test_no_devices);
}
