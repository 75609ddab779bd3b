/*
 * Unit tests of migration/postcopy/flow.c: how many pages are on their way
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/thread.h"
#include "qemu/timer.h"
#include "../migration/migration.h"
#include "../migration/postcopy/flow.h"
#include "../migration/qemu-file.h"
#include "../migration/ram.h"
#include "../migration/savevm.h"

#define US 1000ll
#define MS (1000 * US)

static uint32_t pings, last_ping;

static bool queued;             /* a requested page */

/* Functions of QEMU that the tested code calls: what it writes is a ping */

bool ram_has_queued_page(void)
{
    return qatomic_read(&queued);
}

void qemu_put_byte(QEMUFile *f, int v)
{
    g_assert_cmpint(v, ==, QEMU_VM_COMMAND);
}

void qemu_put_be16(QEMUFile *f, unsigned int v)
{
    g_assert(v == POSTCOPY_CMD_PING || v == sizeof(last_ping));
}

void qemu_put_be32(QEMUFile *f, unsigned int v)
{
    g_assert_cmphex(v, >=, POSTCOPY_PING_FLOW);
    pings++;
    last_ping = v;
}

/* Returns the number of pages that went out until the bound was reached */
static unsigned send_round(void)
{
    unsigned before = pings, pages = 0;

    g_assert(postcopy_flow_round(NULL));
    g_assert_cmpuint(pings, ==, before + 1);
    while (postcopy_flow_open()) {
        g_assert_cmpuint(++pages, <, 1000000);
        postcopy_flow_sent(1);
    }
    return pages;
}

static void *request_thread(void *opaque)
{
    g_usleep(10000);
    qatomic_set(&queued, true);
    postcopy_flow_requested();
    return NULL;
}

static void *pong_thread(void *opaque)
{
    g_usleep(10000);
    g_assert(postcopy_flow_pong(last_ping));
    return NULL;
}

static void *end_thread(void *opaque)
{
    g_usleep(10000);
    postcopy_flow_end();
    return NULL;
}

/* The bound is reached, and @wake_thread wakes the thread that waits for it */
static void wait_for(void *(*wake_thread)(void *))
{
    int64_t start = g_get_monotonic_time();
    QemuThread thread;

    g_assert(!postcopy_flow_open());
    postcopy_flow_wait_ms = 60000;
    qemu_thread_create(&thread, "wake", wake_thread, NULL,
                       QEMU_THREAD_JOINABLE);
    g_assert(postcopy_flow_round(NULL));
    g_assert_cmpint(g_get_monotonic_time() - start, <, 50000000);
    qemu_thread_join(&thread);
    postcopy_flow_wait_ms = 100;
}

static void test_rounds(void)
{
    unsigned first;

    /* Precopy knows no bound */
    g_assert(postcopy_flow_open());
    postcopy_flow_sent(1000);
    g_assert(postcopy_flow_open());

    /* Two rounds go out, the second when the first's ping was answered */
    postcopy_flow_start(true);
    pings = 0;
    first = send_round();
    g_assert_cmpuint(first, >, 0);
    g_assert(postcopy_flow_pong(last_ping));
    g_assert(!postcopy_flow_open());
    g_assert_cmpuint(send_round(), ==, first);

    /* Which is not answered: a requested page may go out, and nothing else */
    wait_for(request_thread);
    g_assert(!postcopy_flow_open());
    postcopy_flow_sent(1);
    queued = false;
    g_assert_cmpuint(pings, ==, 2);

    /* An answer of another kind, an old one */
    g_assert(!postcopy_flow_pong(1));
    g_assert(postcopy_flow_pong(last_ping - 1));
    g_assert(!postcopy_flow_open());

    /* The answer comes, and the next round begins */
    wait_for(pong_thread);
    g_assert_cmpuint(pings, ==, 3);
    g_assert(postcopy_flow_open());
    postcopy_flow_end();
}

/* A page that was queued before the wait goes out; one that has gone does not */
static void test_requested_before(void)
{
    postcopy_flow_start(true);
    send_round();
    queued = true;
    postcopy_flow_requested();
    g_assert(postcopy_flow_round(NULL));
    g_assert(!postcopy_flow_open());
    queued = false;
    g_assert(!postcopy_flow_round(NULL));
    wait_for(pong_thread);
    g_assert(postcopy_flow_open());
    postcopy_flow_end();
}

/* Without a return path there is no bound and no ping, until there is a new one */
static void test_end(void)
{
    unsigned before;

    postcopy_flow_start(true);
    send_round();
    wait_for(end_thread);
    before = pings;
    for (unsigned i = 0; i < 10; i++) {
        g_assert(postcopy_flow_open());
        postcopy_flow_sent(1000);
        g_assert(postcopy_flow_round(NULL));
    }
    g_assert_cmpuint(pings, ==, before);

    postcopy_flow_start(true);
    send_round();
    g_assert_cmpuint(pings, ==, before + 1);
    postcopy_flow_end();

    postcopy_flow_start(false);
    postcopy_flow_round(NULL);
    g_assert_cmpuint(pings, ==, before + 1);
    g_assert(postcopy_flow_open());
    postcopy_flow_end();
}

/* There is no answer: the bound is given up, until it comes after all */
static void test_no_answer(void)
{
    int64_t start = g_get_monotonic_time();
    unsigned before;

    postcopy_flow_start(true);
    send_round();
    before = pings;
    while (!postcopy_flow_round(NULL)) {
        g_assert(!postcopy_flow_open());
    }
    g_assert_cmpint(g_get_monotonic_time() - start, >, 1000000);
    for (unsigned i = 0; i < 10; i++) {
        g_assert(postcopy_flow_open());
        postcopy_flow_sent(1000);
        g_assert(postcopy_flow_round(NULL));
    }
    g_assert_cmpuint(pings, ==, before);
    g_assert(postcopy_flow_pong(last_ping));
    g_assert(!postcopy_flow_open());
    send_round();
    postcopy_flow_end();
}

/*
 * A link and a destination: a round goes out when the one before it begins to
 * be placed.  Returns the pages a second, and in @round the last round.
 */
static double simulate(PostcopyFlowSpeed *speed, int64_t *now, int64_t delay_ns,
                       int64_t page_ns, unsigned *round, int64_t how_long)
{
    int64_t begin = *now, answered = 0, placed_at = 0;
    unsigned before = 0;
    double pages = 0;

    while (*now - begin < how_long) {
        int64_t sent = *now, at_destination = sent + delay_ns;

        /* The ping waits there until the round before is placed */
        at_destination = MAX(at_destination, placed_at);
        *now = at_destination + delay_ns;
        placed_at = at_destination + *round * page_ns;
        pages += *round;
        if (answered) {
            unsigned next = postcopy_flow_learn(speed, before, *now - answered,
                                                *now - sent, *now);

            before = *round;
            *round = next;
        } else {
            before = *round;
        }
        answered = *now;
    }
    return pages * NANOSECONDS_PER_SECOND / (*now - begin);
}

/* A bound that is low on a near host, and costs nothing on a far one */
static void test_speed(void)
{
    static const struct {
        int64_t delay_ns, page_ns;
        unsigned least, most;   /* of the last round */
    } links[] = {
        { 20 * US, 7 * US, 256, 512 },
        { 20 * US, 1 * US, 256, 640 },
        { 1 * MS, 7 * US, 285, 1000 },
        { 10 * MS, 7 * US, 2857, 9000 },
        { 10 * MS, 1 * US, 20000, 64000 },
    };

    for (int i = 0; i < ARRAY_SIZE(links); i++) {
        PostcopyFlowSpeed speed = { 0 };
        int64_t now = 1;
        unsigned round = 64;
        double rate;

        simulate(&speed, &now, links[i].delay_ns, links[i].page_ns, &round,
                 NANOSECONDS_PER_SECOND);
        rate = simulate(&speed, &now, links[i].delay_ns, links[i].page_ns,
                        &round, 5 * NANOSECONDS_PER_SECOND);
        g_test_message("delay %" PRId64 " ns, a page %" PRId64 " ns: round %u, "
                       "%.0f pages/s", links[i].delay_ns, links[i].page_ns,
                       round, rate);
        g_assert_cmpuint(round, >=, links[i].least);
        g_assert_cmpuint(round, <=, links[i].most);
        g_assert_cmpfloat(rate, >,
                          0.97 * NANOSECONDS_PER_SECOND / links[i].page_ns);
    }
}

/* A far host comes near, and the bound becomes lower within some seconds */
static void test_speed_changes(void)
{
    PostcopyFlowSpeed speed = { 0 };
    int64_t now = 1;
    unsigned round = 64;

    simulate(&speed, &now, 10 * MS, 7 * US, &round, NANOSECONDS_PER_SECOND);
    g_assert_cmpuint(round, >, 2000);
    simulate(&speed, &now, 20 * US, 7 * US, &round,
             12 * NANOSECONDS_PER_SECOND);
    g_assert_cmpuint(round, <, 640);
}

/* Whatever the clock says */
static void test_speed_extremes(void)
{
    static const int64_t times[] = { -1, 0, 1, MS, INT64_MAX / 2 };

    for (int i = 0; i < ARRAY_SIZE(times); i++) {
        for (int j = 0; j < ARRAY_SIZE(times); j++) {
            PostcopyFlowSpeed speed = { 0 };
            unsigned round = 0;

            for (int k = 0; k < 3; k++) {
                round = postcopy_flow_learn(&speed, k ? UINT_MAX : 0, times[i],
                                            times[j], times[j]);
                g_assert_cmpuint(round, >, 0);
                g_assert_cmpuint(round, <, 1 << 20);
            }
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/postcopy-flow/rounds", test_rounds);
    g_test_add_func("/postcopy-flow/requested-before", test_requested_before);
    g_test_add_func("/postcopy-flow/end", test_end);
    g_test_add_func("/postcopy-flow/no-answer", test_no_answer);
    g_test_add_func("/postcopy-flow/speed/links", test_speed);
    g_test_add_func("/postcopy-flow/speed/changes", test_speed_changes);
    g_test_add_func("/postcopy-flow/speed/extremes", test_speed_extremes);
    return g_test_run();
}
