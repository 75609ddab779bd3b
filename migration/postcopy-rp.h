/*
 * Post-copy destination: what goes through the return path
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_POSTCOPY_RP_H
#define MIGRATION_POSTCOPY_RP_H

#include "migration.h"

/*
 * Values of pings.  Sources send the first when a migration begins, and the
 * second behind the state of the devices, just before the destination may run:
 * its answer makes the source give up the guest.
 *
 * The last one is sent by Postern only: such a source never starts the guest
 * when the return path ends without a confirmation, but pauses.  Every
 * destination answers pings that it does not know, so this is compatible.
 */
#define POSTCOPY_PING_BEGIN 1
#define POSTCOPY_PING_DEVICES_LOADED 3
#define POSTCOPY_PING_SOURCE_PAUSES 0x504f5354

/**
 * postcopy_rp_listen: post-copy begins, and no answer was given yet
 *
 * Context: before the thread is started that loads the main channel.
 */
void postcopy_rp_listen(void);

/**
 * postcopy_rp_ping: the source sent a ping
 * @value: of the ping
 *
 * Context: the coroutine that loads the package, or the thread that loads the
 * main channel.
 * Returns: false, after a message, if it must not be answered: the devices are
 * loaded, but the stream has failed meanwhile.
 */
bool postcopy_rp_ping(uint32_t value);

/**
 * postcopy_rp_answered: was the source told that the devices are loaded?
 * @mis: the incoming migration
 *
 * Without the answer, a source of ours starts the guest again.  Upstream's does
 * so since 10.2.  An older one pauses, and needs the guest here for a recovery;
 * the two cannot be told apart, so the guest runs here then.
 *
 * Context: the coroutine that loads the package.
 * Returns: false, after a message, if the guest must not run here.
 */
bool postcopy_rp_answered(MigrationIncomingState *mis);

/**
 * postcopy_rp_running: the load of a stream failed; is the guest to stay here?
 * @mis: the incoming migration
 *
 * If the answer was not given yet, it never is.  If it was, this waits until
 * the package is loaded.
 *
 * Context: the coroutine that loads the package, or the thread that loads the
 * main channel.
 * Returns: true if migration is to pause, false if it fails.
 */
bool postcopy_rp_running(MigrationIncomingState *mis);

/**
 * postcopy_rp_stream_ended: everything on the main channel has arrived
 * @f: the main channel
 *
 * With KVM userfault, waits for the pages that come through the channel of
 * postcopy-preempt.  (Without, upstream's clean-up does, and does not notice if
 * that channel breaks.)  If it breaks, they are lost.  A source that is not known
 * to pause cannot send them again, and would start the guest, which runs here, if
 * the return path ended.  So this keeps it open until the source ends the main
 * channel.
 *
 * Context: the thread that loads the main channel.
 * Returns: 0 if all pages are here, -EIO if migration is to pause.
 */
int postcopy_rp_stream_ended(QEMUFile *f);

/**
 * postcopy_rp_may_pause: may the destination be paused by a command?
 * @errp: set if not
 *
 * Context: any thread.
 * Returns: false if the source would start the guest, which runs here.
 */
bool postcopy_rp_may_pause(Error **errp);

#endif
