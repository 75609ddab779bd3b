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
 * postcopy_completion_failed: all was sent, but the destination did not confirm
 * @s: the outgoing migration
 *
 * The guest runs there, or waits for pages that got lost on the way.  To fail
 * the migration would start it here, too, as it was when post-copy began;
 * so this makes the next look for errors find one, which pauses it instead.
 * A recovery sends what did not arrive.
 *
 * Context: migration thread.
 * Returns: false if the guest does not run there, and this is not needed.
 */
bool postcopy_completion_failed(MigrationState *s);

#endif
