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

/* Message types of the return path; migration.c has the rest of them */
#define POSTCOPY_RP_MSG_REQ_PAGES_ID 3
#define POSTCOPY_RP_MSG_REQ_PAGES 4

/**
 * postcopy_requests_start: prepare for sending, and start the sender thread
 * @mis: the incoming migration; must stay valid until postcopy_requests_stop()
 *
 * The thread sends when other threads would have to wait.
 *
 * Context: any thread; nobody uses the other functions yet.
 */
void postcopy_requests_start(MigrationIncomingState *mis);

/**
 * postcopy_requests_stop: stop the sender thread
 *
 * Drops requests that have not been sent.  Waits for the thread, which may be
 * sending: until the stream has room or is shut down.
 *
 * Context: any thread; nobody uses the other functions any more.
 */
void postcopy_requests_stop(void);

/**
 * postcopy_requests_reset: name the block in the next request
 * @mis: the incoming migration
 *
 * Called in a recovery, as the source has no previous block then.
 *
 * Context: any thread; takes rp_mutex, as threads that send may look at it.
 */
void postcopy_requests_reset(MigrationIncomingState *mis);

/**
 * postcopy_requests_push: add a request for a host page
 * @rb: block of the page; must stay until postcopy_requests_stop()
 * @offset: of the page in @rb
 *
 * The next postcopy_requests_send() of any thread sends it.  The caller makes
 * one.
 *
 * Context: any thread; takes no lock.
 */
void postcopy_requests_push(RAMBlock *rb, ram_addr_t offset);

/**
 * postcopy_requests_send: send all requests that were pushed
 *
 * When this returns, they have been sent, or another thread is sending them.
 * Waits neither for the stream nor for other threads.  While the stream is
 * broken, requests are dropped; the table of waiters says which of them to
 * repeat when the stream is back.
 *
 * Context: any thread, also within RCU read sections, with no lock held.
 */
void postcopy_requests_send(void);

#endif
