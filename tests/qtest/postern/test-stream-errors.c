/*
 * postern-test: interrupted waits and broken streams in the middle of post-copy
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "libqtest.h"
#include "migration/migration-qmp.h"
#include "migration/migration-util.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "qobject/qlist.h"
#include "test-util.h"
#include "uffd.h"
#include "walker.h"

/* A vCPU that waits for a page can be stopped and continued */
static void test_stop_cont(void)
{
    QTestState *from, *to;

    if (!begin_and_hold(&from, &to)) {
        return;
    }
    for (int i = 0; i < 3; i++) {
        uint64_t faults = guest_faults(to);

        qtest_qmp_assert_success(to, "{ 'execute': 'stop' }");
        qtest_qmp_assert_success(to, "{ 'execute': 'cont' }");
        /* It waits again */
        wait_for_guest_faults(to, faults + 1);
    }
    /* The vCPU also handles run_on_cpu() */
    g_free(qtest_hmp(to, "info registers"));
    kill(qtest_pid(from), SIGCONT);
    finish(from, to, true);
}

/* The page arrives while the VM is stopped, and no vCPU waits for it */
static void test_stop_placed_cont(void)
{
    QTestState *from, *to;

    if (!begin_and_hold(&from, &to)) {
        return;
    }
    qtest_qmp_assert_success(to, "{ 'execute': 'stop' }");
    kill(qtest_pid(from), SIGCONT);
    migrate_set_parameter_int(from, "max-postcopy-bandwidth", 0);
    wait_for_migration_complete(to);
    qtest_qmp_assert_success(to, "{ 'execute': 'cont' }");
    finish(from, to, true);
}

/*
 * How many more requests than completed faults there were.  The number of
 * exits from KVM would not do: a vCPU whose wait is interrupted exits again,
 * but does not repeat its request.
 */
static int64_t requests_ahead(QTestState *who)
{
    QDict *faults = query_faults(who);
    int64_t ahead = qdict_get_int(faults, "requested");
    QListEntry *entry;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(faults, "latency"), entry) {
        QDict *step = qobject_to(QDict, qlist_entry_obj(entry));

        ahead -= qdict_get_int(step, "count");
    }
    qobject_unref(faults);
    return ahead;
}

/* One time in 43 there was none; say then what both sides do */
static void wait_for_request_ahead(QTestState *from, QTestState *to,
                                   int64_t ahead)
{
    for (int polls = 0; requests_ahead(to) <= ahead; polls++) {
        if (polls == POLLS_MAX) {
            g_autofree char *source = migrate_query_status(from);
            g_autofree char *destination = migrate_query_status(to);
            QDict *faults = query_faults(to);
            g_autoptr(GString) json = qobject_to_json(QOBJECT(faults));

            qobject_unref(faults);
            g_error("no request but %" PRId64 ": source %s, destination %s: %s",
                    ahead, source, destination, json->str);
        }
        g_usleep(POLL_US);
    }
}

/*
 * The stream is broken, a vCPU waits, and the source's process is stopped.
 * Recover, and check that the page is requested again and that the vCPU
 * continues.  Without that request the page would arrive as well, but late,
 * and requests would never be ahead of faults.
 */
static void recover(QTestState *from, QTestState *to)
{
    uint64_t faults;
    int64_t ahead;

    kill(qtest_pid(from), SIGCONT);
    wait_for_paused(from);
    faults = guest_faults(to);
    ahead = requests_ahead(to);

    resume(from, to);
    /* The request for that page is one more than there are faults */
    wait_for_request_ahead(from, to, ahead);
    wait_for_guest_faults(to, faults + 20);
    finish(from, to, true);
}

/* The stream breaks while a vCPU waits: the recovery requests its page again */
static void test_recovery(void)
{
    QTestState *from, *to;

    if (!begin_and_hold(&from, &to)) {
        return;
    }
    migrate_pause(to);
    wait_for_paused(to);
    recover(from, to);
}

/*
 * A vCPU faults while there is no stream, on a page that has not been
 * requested: the recovery requests it.
 */
static void test_fault_while_paused(void)
{
    QTestState *from, *to;
    uint64_t faults, requested;

    if (!begin_and_hold(&from, &to)) {
        return;
    }
    /* Let the vCPU's page arrive, but do not run the vCPU */
    qtest_qmp_assert_success(to, "{ 'execute': 'stop' }");
    requested = faults_get(to, "requested");
    kill(qtest_pid(from), SIGCONT);
    POLL_UNTIL(read_ram_property_int(from, "postcopy-requests") >= requested);
    g_usleep(G_USEC_PER_SEC);
    kill(qtest_pid(from), SIGSTOP);
    migrate_pause(to);
    wait_for_paused(to);

    faults = guest_faults(to);
    requested = faults_get(to, "requested");
    qtest_qmp_assert_success(to, "{ 'execute': 'cont' }");
    wait_for_guest_faults(to, faults + 1);
    g_assert_cmpint(faults_get(to, "requested"), ==, requested);
    recover(from, to);
}

/*
 * The fault thread ends on an error.  A thread that waits in userfaultfd is
 * woken all the same when its page arrives.
 */
static void test_no_fault_thread(void)
{
    UffdReader *outside, *inside;
    QTestState *from, *to;

    if (!begin_and_hold(&from, &to)) {
        return;
    }
    /* A fault outside guest memory is such an error */
    outside = uffd_reader_new(to, uffd_watch_stack(to));
    POLL_UNTIL(has_said("postcopy_ram_fault_thread: Fault outside guest"));

    /* The vCPU waits for this page, so it has been requested */
    inside = uffd_reader_new(to, walker_host_address(to, walker_position(to)));
    POLL_UNTIL(uffd_reader_sleeps(inside));
    kill(qtest_pid(from), SIGCONT);
    wait_for_requests(to, 20);
    /*
     * The vCPU has its page.  Hold the end of post-copy, which wakes all
     * threads
     */
    kill(qtest_pid(from), SIGSTOP);
    POLL_UNTIL(uffd_reader_done(inside));
    kill(qtest_pid(from), SIGCONT);

    finish(from, to, true);
    uffd_reader_free(inside);
    uffd_reader_free(outside);
}

/* The destination quits at once, although a vCPU waits */
static void test_quit(void)
{
    QTestState *from, *to;

    if (!begin_and_hold(&from, &to)) {
        return;
    }
    qtest_qmp_assert_success(to, "{ 'execute': 'quit' }");
    finish_alone(from, to);
}

/* The source is killed: the destination pauses, and still obeys commands */
static void test_kill_source(void)
{
    QTestState *from, *to;

    if (!begin_and_hold(&from, &to)) {
        return;
    }
    kill_hard(from);
    wait_for_paused(to);
    qtest_qmp_assert_success(to, "{ 'execute': 'stop' }");
    qtest_qmp_assert_success(to, "{ 'execute': 'cont' }");
    qtest_qmp_assert_success(to, "{ 'execute': 'quit' }");
    qtest_wait_qemu(to);
    qtest_quit(to);
    clean_up();
}

/* The destination is killed: the source pauses with the guest */
static void test_kill_destination(void)
{
    QTestState *from, *to;

    if (!begin_and_hold(&from, &to)) {
        return;
    }
    kill_hard(to);
    kill(qtest_pid(from), SIGCONT);
    wait_for_paused(from);
    assert_not_running(from);
    qtest_quit(from);
    clean_up();
}

void add_stream_errors_cases(void)
{
    if (!host_has_userfault()) {
        return;
    }
    migration_test_add("/postern/stream-errors/stop-cont", test_stop_cont);
    migration_test_add("/postern/stream-errors/stop-placed-cont",
                       test_stop_placed_cont);
    migration_test_add("/postern/stream-errors/recovery", test_recovery);
    migration_test_add("/postern/stream-errors/fault-while-paused",
                       test_fault_while_paused);
    migration_test_add("/postern/stream-errors/no-fault-thread",
                       test_no_fault_thread);
    migration_test_add("/postern/stream-errors/quit", test_quit);
    migration_test_add("/postern/stream-errors/kill-source", test_kill_source);
    migration_test_add("/postern/stream-errors/kill-destination",
                       test_kill_destination);
}
