/*
 * Post-copy source: a bound for the pages that are on their way
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The destination takes longer to place a page than the source to send it.  So
 * without a bandwidth limit, megabytes of pages that nobody asked for lie in
 * the destination's socket, and a requested page waits behind them.
 *
 * The source therefore sends pages in rounds, and a ping before each.  Every
 * destination answers a ping when it has placed all pages before it.  A round
 * may begin when the ping of the round before has been answered:
 *
 *   source        ping 1, round 1    ping 2, round 2          ping 3, round 3
 *   destination           pong 1, places round 1    pong 2, places round 2
 *
 * So no more than two rounds of memory are on their way, and the destination has
 * work while an answer travels.  A requested page does not wait for a round to
 * begin.  There is more on its way in these cases:
 *
 *   - A request is for a page that has been sent already: the next page goes
 *     out instead, as it does beyond a bandwidth limit.
 *   - A huge page of the host is sent as a whole.
 *   - Dirty bitmaps have no bound.
 *   - Zero pages are placed faster than others, so rounds after many of them
 *     are too long for a while.
 *
 * What is held back is not held back for long: if there is no answer, it goes
 * out after ANSWER_TIMEOUT_NS, as it would upstream.
 *
 * With postcopy-preempt, requested pages have a channel of their own, and do not
 * count.
 */

#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "qemu/thread.h"
#include "qemu/timer.h"
#include "migration/migration.h"
#include "migration/qemu-file.h"
#include "migration/ram.h"
#include "migration/savevm.h"
#include "flow.h"
#include "trace.h"

/* Below this, what a round costs shows in the time that the pages take */
#define ROUND_MIN 256

/* 1 GiB of pages of 4 KiB */
#define ROUND_MAX (256 * 1024)

/* How long the least round trip time is believed */
#define RTT_VALID_NS (10 * NANOSECONDS_PER_SECOND)

#define ANSWER_TIMEOUT_NS (5 * NANOSECONDS_PER_SECOND)

int postcopy_flow_wait_ms = 100;

static struct {
    /*
     * Of the migration thread, and of postcopy_flow_start(), when that is not
     * in post-copy, or waits for a recovery
     */
    unsigned round;             /* pages of this round that may be sent */
    unsigned sent;              /* and that were */

    /* There is a bound.  Written with the lock held. */
    bool bounded;

    QemuMutex lock;             /* a leaf; protects what follows */
    QemuCond cond;              /* a request, an answer, or no more answers */
    bool answering;
    uint32_t seq;               /* the last ping; the migration thread's */
    uint32_t answered;          /* the last ping that was */
    unsigned placed;            /* pages between it and the ping before */
    int64_t ping_ns;
    int64_t answered_ns;
    PostcopyFlowSpeed speed;
    unsigned next_round;
} flow;

static void __attribute__((constructor)) flow_init(void)
{
    qemu_mutex_init(&flow.lock);
    qemu_cond_init(&flow.cond);
}

unsigned postcopy_flow_learn(PostcopyFlowSpeed *speed, unsigned pages,
                             int64_t interval_ns, int64_t rtt_ns,
                             int64_t now_ns)
{
    uint64_t pages_per_s = muldiv64(NANOSECONDS_PER_SECOND, pages,
                                    MIN(MAX(interval_ns, 1), UINT32_MAX));
    uint64_t in_flight;

    rtt_ns = MAX(rtt_ns, 1);
    speed->pages_per_s -= speed->pages_per_s / 8;
    speed->pages_per_s = MAX(speed->pages_per_s, pages_per_s);

    if (!speed->rtt_ns || rtt_ns <= speed->rtt_ns) {
        speed->rtt_ns = rtt_ns;
        speed->rtt_at_ns = now_ns;
    } else if (now_ns - speed->rtt_at_ns > RTT_VALID_NS) {
        /*
         * The round trip has the time to place a round.  Measure it anew with
         * a short one, or the bound would never become lower.
         */
        speed->rtt_ns = 0;
        return ROUND_MIN;
    }

    in_flight = muldiv64(speed->pages_per_s,
                         MIN(speed->rtt_ns, NANOSECONDS_PER_SECOND),
                         NANOSECONDS_PER_SECOND);
    /* More than that, or it could not grow to what the link takes */
    return MIN(MAX(in_flight + in_flight / 2, ROUND_MIN), ROUND_MAX);
}

void postcopy_flow_start(bool bound)
{
    QEMU_LOCK_GUARD(&flow.lock);
    flow.answering = bound;
    flow.answered = flow.seq;
    flow.answered_ns = 0;
    flow.speed = (PostcopyFlowSpeed) { 0 };
    flow.next_round = ROUND_MIN;
    flow.round = flow.sent = 0;
    qatomic_set(&flow.bounded, false);
}

void postcopy_flow_end(void)
{
    QEMU_LOCK_GUARD(&flow.lock);
    flow.answering = false;
    qatomic_set(&flow.bounded, false);
    qemu_cond_signal(&flow.cond);
}

bool postcopy_flow_pong(uint32_t seq)
{
    int64_t now = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);

    if (seq < POSTCOPY_PING_FLOW) {
        return false;
    }
    QEMU_LOCK_GUARD(&flow.lock);
    if (seq != flow.seq || seq == flow.answered) {
        return true;
    }
    if (flow.answered_ns) {
        flow.next_round = postcopy_flow_learn(&flow.speed, flow.placed,
                                              now - flow.answered_ns,
                                              now - flow.ping_ns, now);
    }
    trace_postcopy_flow_answered(flow.placed, now - flow.ping_ns,
                                 flow.next_round);
    flow.answered = seq;
    flow.answered_ns = now;
    qatomic_set(&flow.bounded, true);
    qemu_cond_signal(&flow.cond);
    return true;
}

void postcopy_flow_requested(void)
{
    QEMU_LOCK_GUARD(&flow.lock);
    qemu_cond_signal(&flow.cond);
}

/* A ping as qemu_savevm_send_ping() sends it, which would flush it */
static void put_ping(QEMUFile *f, uint32_t seq)
{
    qemu_put_byte(f, QEMU_VM_COMMAND);
    qemu_put_be16(f, POSTCOPY_CMD_PING);
    qemu_put_be16(f, sizeof(seq));
    qemu_put_be32(f, seq);
}

/* Called with the lock held */
static bool answer_expected(void)
{
    return flow.answering && flow.answered != flow.seq;
}

/*
 * Wait for an answer or a request.  Returns false if there was neither.  Called
 * with the lock held, which is released meanwhile.
 */
static bool wait_for_answer(void)
{
    bool woken = true;

    while (woken && answer_expected() && !ram_has_queued_page()) {
        woken = qemu_cond_timedwait(&flow.cond, &flow.lock,
                                    postcopy_flow_wait_ms);
    }
    return !answer_expected() || ram_has_queued_page();
}

bool postcopy_flow_round(QEMUFile *f)
{
    if (postcopy_flow_open() && flow.round) {
        return true;
    }
    WITH_QEMU_LOCK_GUARD(&flow.lock) {
        bool urgent = wait_for_answer();

        if (answer_expected()) {
            if (qemu_clock_get_ns(QEMU_CLOCK_REALTIME) - flow.ping_ns <=
                ANSWER_TIMEOUT_NS) {
                return urgent;
            }
            trace_postcopy_flow_no_answer();
            qatomic_set(&flow.bounded, false);
            return true;
        }
        if (!flow.answering) {
            return true;
        }
        flow.seq = MAX(flow.seq + 1, POSTCOPY_PING_FLOW);
        flow.placed = flow.round ? flow.sent : 0;
        flow.round = flow.next_round;
        flow.sent = 0;
        flow.ping_ns = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
        qatomic_set(&flow.bounded, true);
    }
    put_ping(f, flow.seq);
    return true;
}

bool postcopy_flow_open(void)
{
    return !qatomic_read(&flow.bounded) || flow.sent < flow.round;
}

void postcopy_flow_sent(unsigned pages)
{
    flow.sent += pages;
}
