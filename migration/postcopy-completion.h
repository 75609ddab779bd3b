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

/**
 * postcopy_completion_pong: the destination answered a ping
 * @seq: of the ping: 1 is sent when a migration begins, and 3 stands behind
 *       the state of the devices, just before the destination may run
 *
 * Context: return path thread.
 */
void postcopy_completion_pong(uint32_t seq);

/**
 * postcopy_completion_failed: all was sent, but the destination did not confirm
 * @s: the outgoing migration
 *
 * If the destination has loaded the devices, the guest runs there, or waits
 * for pages that got lost on the way.  To fail the migration would start it
 * here, too, as it was when post-copy began; so this makes the next look for
 * errors find one, which pauses it.  A recovery then sends what did not
 * arrive, if the destination is paused as well.  If it has everything, only
 * that was not heard here, and this side is to be quit.
 *
 * Context: migration thread.
 * Returns: false if the guest does not run there as far as is known here, which
 * it may if the answer was lost; the migration is to fail then, as it always did.
 */
bool postcopy_completion_failed(MigrationState *s);

#endif
