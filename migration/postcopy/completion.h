/*
 * Post-copy source: who has the guest when the end of post-copy fails
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_POSTCOPY_COMPLETION_H
#define MIGRATION_POSTCOPY_COMPLETION_H

#include "exec/cpu-common.h"
#include "qemu/thread.h"

/*
 * Does the guest run on the destination?  The source sends a ping behind the
 * devices' state.  The destination answers it before it starts the guest.  If
 * the answer cannot be sent, a destination that knows that this source pauses
 * does not start the guest.  Until the answer has arrived, the state is
 * postcopy-device, and after a failure the guest continues on the source.  From
 * then on the state is postcopy-active, and a failure pauses the migration,
 * until the destination confirms that it has everything.
 *
 * If the answer was sent and got lost, the guest runs on both sides.  The
 * source cannot tell this from a destination that did not load the devices.
 */

/**
 * postcopy_completion_announce: tell the destination that this source pauses
 * @s: the outgoing migration
 *
 * The destination may then end the return path before it has everything.  One
 * that does not know this ping just answers it.
 *
 * Context: migration thread, when post-copy begins and the destination still
 * loads the main channel.
 */
void postcopy_completion_announce(MigrationState *s);

/**
 * postcopy_completion_begin: the devices' state is about to be sent
 * @s: the outgoing migration; its state is device
 *
 * If memory is migrated in post-copy, the state becomes postcopy-device.
 *
 * Context: migration thread.
 */
void postcopy_completion_begin(MigrationState *s);

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
 * postcopy_completion_confirmed: has the destination confirmed that it has
 * everything?
 * @s: the outgoing migration
 *
 * If so, post-copy is complete, whatever errors there are.
 *
 * Context: migration thread, when the return path thread has ended.
 */
bool postcopy_completion_confirmed(MigrationState *s);

/**
 * postcopy_completion_unconfirmed: does the end of the return path mean
 * failure?
 * @s: the outgoing migration
 * @error: there was an error
 *
 * Context: migration thread, when the return path thread has ended.
 * Returns: true on an error, unless the destination confirmed all the same;
 * also true if the destination never answered.
 */
bool postcopy_completion_unconfirmed(MigrationState *s, bool error);

/**
 * postcopy_completion_set_error: the stream has an error
 * @s: the outgoing migration
 * @ret: the negative errno
 * @err: a description, or NULL; freed
 *
 * An error without a description gets one: the return path is not shut down
 * unless the migration has an error.
 *
 * Context: migration thread.
 */
void postcopy_completion_set_error(MigrationState *s, int ret, Error *err);

/**
 * postcopy_completion_await_answer: keep the return path open for the answer
 * @s: the outgoing migration, which has failed
 *
 * In postcopy-device, ends the stream.  A destination that is still loading
 * then exits, and one that has answered pauses.  Both end the return path, and
 * the return path thread first reads what was sent before.  If the destination
 * cannot be reached, this takes until the connection times out; the command
 * yank makes it shorter.
 *
 * Context: any thread, with qemu_file_lock held.
 * Returns: false if no answer is expected.
 */
bool postcopy_completion_await_answer(MigrationState *s);

/**
 * postcopy_completion_release_block: free what was sent of a block
 * @rb: the block
 * @bitmap_mutex: protects its bitmap of pages to be sent; taken
 *
 * Context: migration thread.
 */
void postcopy_completion_release_block(RAMBlock *rb, QemuMutex *bitmap_mutex);

/**
 * postcopy_completion_release_ram: with release-ram, free what was sent before
 * the destination's answer
 * @s: the outgoing migration
 *
 * Does so once, when the answer has arrived.
 *
 * Context: migration thread; takes the bitmap_mutex.
 */
void postcopy_completion_release_ram(MigrationState *s);

/**
 * postcopy_completion_failed: everything was sent, but not confirmed
 * @s: the outgoing migration
 *
 * In postcopy-active, the guest runs on the destination, or waits there for
 * pages that got lost.  A failed migration would start it here too, in the
 * state that it had when post-copy began.  So this sets an error on the
 * stream: the next check for errors finds it and pauses the migration.  A
 * recovery then sends what did not arrive, if the destination is paused as
 * well.  If the destination has everything, only the confirmation was lost;
 * quit this QEMU.
 *
 * Context: migration thread.
 * Returns: false if the migration must fail.
 */
bool postcopy_completion_failed(MigrationState *s);

#endif
