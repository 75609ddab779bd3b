/*
 * postern-test: trouble at the end of post-copy
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
#include "test-util.h"

/*
 * Begin post-copy, and return when the source has sent everything and waits
 * for the destination, whose process is stopped, to say that it has it all.
 * Its guest is stopped, too.
 */
static bool begin_and_hold_end(QTestState **from, QTestState **to)
{
    /* Down to what sockets' buffers hold: fast at first, then with care */
    static const struct { int bytes_per_second; int remaining; } steps[] = {
        { 32 << 20, 8 << 20 }, { 1 << 20, 1 << 20 }, { 4096, INT_MAX },
    };

    if (!begin(from, to, ON, NULL)) {
        return false;
    }
    /* What the guest asks for comes at any speed: it shall not */
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
    /* From the last page to the end of the stream it is a short way */
    g_usleep(G_USEC_PER_SEC);
    return true;
}

/*
 * The stream is cut when all is on its way: the source, which cannot know
 * whether it arrived, must not run the guest, for the destination does.  If
 * it did not, that pauses, and a recovery brings the rest.
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

/* The destination dies when all is on its way: likewise */
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

void add_end_cases(void)
{
    if (!host_has_userfault()) {
        return;
    }
    migration_test_add("/postern/end/cut", test_cut_at_end);
    migration_test_add("/postern/end/kill-destination",
                       test_kill_destination_at_end);
}
