/*
 * Post-copy destination: requests for pages, from many threads to one stream
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_POSTCOPY_REQUESTS_H
#define MIGRATION_POSTCOPY_REQUESTS_H

#include "exec/cpu-common.h"
#include "migration.h"

/* Messages of the return path that postcopy-requests.c puts; see migration.c */
#define POSTCOPY_RP_MSG_REQ_PAGES_ID 3
#define POSTCOPY_RP_MSG_REQ_PAGES 4

/**
 * postcopy_requests_start: get ready to send
 * @mis: the incoming migration, which must outlive the sending
 *
 * Makes the thread that sends where others would have to wait.
 *
 * Context: any thread; nobody uses the other functions yet.
 */
void postcopy_requests_start(MigrationIncomingState *mis);

/**
 * postcopy_requests_stop: no requests any more
 *
 * Drops what has not been sent, but first waits for the thread, which may be
 * in the middle of sending: until there is room, or the stream is shut down.
 *
 * Context: any thread; nobody uses the other functions any more.
 */
void postcopy_requests_stop(void);

/**
 * postcopy_requests_push: a host page is to be asked for
 * @rb: block of the page; must stay until postcopy_requests_stop()
 * @offset: of the page in @rb
 *
 * It is sent by the next postcopy_requests_send() of any thread, at the
 * latest by that which the caller makes.
 *
 * Context: any thread; takes no lock.
 */
void postcopy_requests_push(RAMBlock *rb, ram_addr_t offset);

/**
 * postcopy_requests_send: ask the source for what was pushed
 *
 * When it returns, the requests have been sent, or someone is at it.  Does not
 * wait for the stream nor for other threads.  While the stream is broken
 * requests are dropped: whoever makes one has to know by himself what to ask
 * for again when the stream is back.
 *
 * Context: any thread, also within RCU read sections, with no lock held.
 */
void postcopy_requests_send(void);

#endif
