/*
 * Post-copy destination: devices whose memory is still coming stay
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_POSTCOPY_UNPLUG_H
#define MIGRATION_POSTCOPY_UNPLUG_H

#include "hw/qdev-core.h"

/**
 * migration_incoming_may_unplug: may a device be unplugged now?
 * @dev: the device
 * @errp: set if not
 *
 * On a destination in post-copy, memory of @dev or of a device below it may be
 * among what the source still sends.  Without the device, the name of that
 * memory is unknown, the stream cannot be loaded any more, and no recovery
 * helps.
 *
 * Context: BQL held.
 * Returns: true if no memory would be missed.
 */
bool migration_incoming_may_unplug(DeviceState *dev, Error **errp);

/**
 * migration_incoming_may_eject: may the guest eject a device now?
 * @dev: the device
 *
 * As migration_incoming_may_unplug().  If the guest was asked to eject @dev, an
 * event says that it stays, and it can be asked again.
 *
 * Context: BQL held.
 * Returns: true if no memory would be missed.
 */
bool migration_incoming_may_eject(DeviceState *dev);

#endif
