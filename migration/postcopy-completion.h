/*
 * Post-copy source: when its end does not go well
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_POSTCOPY_COMPLETION_H
#define MIGRATION_POSTCOPY_COMPLETION_H

#include "migration.h"

/*
 * Does the guest run on the destination?  The destination answers the ping
 * behind the state of the devices before it starts the guest, and does not
 * start it without.  Until that answer has come, the state is postcopy-device,
 * and a failure lets the guest go on here.  Behind it, the state is
 * postcopy-active, and whatever happens pauses the migration, until the
 * destination confirms that it has everything.
 *
 * If the answer was given and got lost, the guest runs on both sides.  Nothing
 * on this side can tell that from a destination that did not load the devices.
 */

/**
 * postcopy_completion_announce: tell the destination that this side pauses
 * @s: the outgoing migration
 *
 * Such a destination may end the return path when it has not everything.  A
 * destination that does not know this ping answers it, and no more.
 *
 * Context: migration thread, when post-copy begins and the destination still
 * loads the main channel.
 */
void postcopy_completion_announce(MigrationState *s);

/**
 * postcopy_completion_begin: the state of the devices is about to be sent
 * @s: the outgoing migration; its state is device
 *
 * Context: migration thread.
 */
void postcopy_completion_begin(MigrationState *s);

/**
 * postcopy_completion_sent: the state of the devices was sent
 * @s: the outgoing migration
 * @errp: set on errors
 *
 * Where no memory is migrated, no answer is asked for: this is the end of what
 * may fail.
 *
 * Context: migration thread.
 * Returns: 0, or a negative errno if the migration fails.
 */
int postcopy_completion_sent(MigrationState *s, Error **errp);

/**
 * postcopy_completion_pong: the destination answered a ping
 * @s: the outgoing migration
 * @seq: the ping's value
 *
 * Context: return path thread.
 */
void postcopy_completion_pong(MigrationState *s, uint32_t seq);

/**
 * postcopy_completion_shut: the destination ends the return path
 * @sibling_error: 0 if it has everything
 *
 * Context: return path thread.
 */
void postcopy_completion_shut(uint32_t sibling_error);

/**
 * postcopy_completion_confirmed: does the destination have everything?
 * @s: the outgoing migration
 *
 * Context: migration thread, when the return path thread has ended.
 * Returns: true if post-copy is complete, whatever errors there are.
 */
bool postcopy_completion_confirmed(MigrationState *s);

/**
 * postcopy_completion_await_answer: leave the return path open for the answer
 * @s: the outgoing migration, which has failed
 *
 * In postcopy-device, ends the stream.  A destination that is still loading
 * then ends, too, and one that has given its answer pauses; both end the return
 * path, and the return path thread reads what comes before that.  If the
 * destination cannot be reached, this takes until the connection is given up;
 * the command yank shortens it.
 *
 * Context: any thread, with qemu_file_lock held.
 * Returns: false if the return path is of no use any more.
 */
bool postcopy_completion_await_answer(MigrationState *s);

/**
 * postcopy_completion_may_release_ram: may memory be freed that was sent?
 *
 * Not in postcopy-device: the guest may go on with it.
 *
 * Context: any thread.
 * Returns: true with release-ram if the guest does not come back.
 */
bool postcopy_completion_may_release_ram(void);

/**
 * postcopy_completion_release_ram: free what was sent before that was allowed
 * @s: the outgoing migration
 *
 * Context: migration thread; takes the bitmap_mutex.
 */
void postcopy_completion_release_ram(MigrationState *s);

/**
 * postcopy_completion_failed: all was sent, but the destination did not confirm
 * @s: the outgoing migration
 *
 * In postcopy-active the guest runs on the destination, or waits for pages
 * that got lost on the way.  To fail the migration would start it here, too, as
 * it was when post-copy began.  So this makes the next look for errors find
 * one, which pauses it.  A recovery then sends what did not arrive, if the
 * destination is paused as well.  If it has everything, only the confirmation
 * was lost; quit this QEMU.
 *
 * Context: migration thread.
 * Returns: false if the migration is to fail.
 */
bool postcopy_completion_failed(MigrationState *s);

#endif
