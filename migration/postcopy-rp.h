/*
 * Post-copy destination: the answer that the devices are loaded
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_POSTCOPY_RP_H
#define MIGRATION_POSTCOPY_RP_H

#include "migration.h"

/*
 * The source sends this ping behind the state of the devices, just before the
 * destination may run.  Its answer makes the source give up the guest.
 */
#define POSTCOPY_PING_DEVICES_LOADED 3

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

#endif
