/*
 * Post-copy source: a bound for the pages that are on their way
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_POSTCOPY_FLOW_H
#define MIGRATION_POSTCOPY_FLOW_H

#include "migration/qemu-file-types.h"

/* Values of the pings that the bound is kept with: this or more */
#define POSTCOPY_PING_FLOW 0x80000000u

/* MIG_CMD_PING of savevm.c */
#define POSTCOPY_CMD_PING 2

/**
 * postcopy_flow_start: the destination answers from now on
 * @bound: bound what is on its way
 *
 * Context: before the return path's thread is created.
 */
void postcopy_flow_start(bool bound);

/**
 * postcopy_flow_end: no answer comes any more
 *
 * There is no bound then.  If the migration thread waits for an answer, this
 * wakes it.
 *
 * Context: return path thread, at its end.
 */
void postcopy_flow_end(void);

/**
 * postcopy_flow_pong: the destination answered a ping
 * @seq: the ping's value
 *
 * Context: return path thread.
 * Returns: false if it was a ping of another kind.
 */
bool postcopy_flow_pong(uint32_t seq);

/**
 * postcopy_flow_requested: a requested page is queued for the migration thread
 *
 * If that waits for an answer, this wakes it.
 *
 * Context: any thread.
 */
void postcopy_flow_requested(void);

/**
 * postcopy_flow_round: pages are about to be sent
 * @f: the main channel; a ping may be put there, which is not flushed
 *
 * If as many pages are on their way as may be, waits until the destination has
 * placed some of them, or until a page is requested.
 *
 * Context: migration thread, in post-copy, between two sections; no lock held.
 * Returns: false after a while without either, to look for errors and come
 * again.
 */
bool postcopy_flow_round(QEMUFile *f);

/**
 * postcopy_flow_open: may a page be sent that was not requested?
 *
 * Context: migration thread.
 * Returns: true if so, and always before post-copy.
 */
bool postcopy_flow_open(void);

/**
 * postcopy_flow_sent: pages were put on the main channel
 * @pages: their number, in target pages
 *
 * Context: migration thread.
 */
void postcopy_flow_sent(unsigned pages);

/*
 * How long the migration thread waits before it looks for errors.  Only unit
 * tests change it.
 */
extern int postcopy_flow_wait_ms;

/* How fast the link and the destination are */
typedef struct PostcopyFlowSpeed {
    uint64_t pages_per_s;
    int64_t rtt_ns;             /* the least, or 0 if it is not known */
    int64_t rtt_at_ns;          /* when it was measured */
} PostcopyFlowSpeed;

/**
 * postcopy_flow_learn: a round of pages has been placed
 * @speed: what is known so far; all 0 in the beginning
 * @pages: in the round
 * @interval_ns: since the round before was placed
 * @rtt_ns: since the ping was sent
 * @now_ns: the time
 *
 * The bound is the product of bandwidth and delay, as in BBR (Cardwell et al.,
 * "BBR: Congestion-Based Congestion Control", 2016): the highest rate, which
 * fades, times the least round trip time of some seconds.
 *
 * Context: any; @speed is the caller's.
 * Returns: how many pages the next round has.
 */
unsigned postcopy_flow_learn(PostcopyFlowSpeed *speed, unsigned pages,
                             int64_t interval_ns, int64_t rtt_ns,
                             int64_t now_ns);

#endif
