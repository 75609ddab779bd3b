/*
 * Post-copy destination: no unplug of devices whose memory is still migrated
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
 * On a destination in post-copy, the source may still send memory of @dev or
 * of a device on its buses.  Without the device, the name of that memory is
 * unknown: the stream cannot be loaded any more, not even after a recovery.
 *
 * Context: BQL held.
 * Returns: true if post-copy does not migrate memory of these devices.
 */
bool migration_incoming_may_unplug(DeviceState *dev, Error **errp);

/**
 * migration_incoming_may_eject: may the guest eject a device now?
 * @dev: the device
 *
 * As migration_incoming_may_unplug().  If the guest had been asked to eject
 * @dev, sends DEVICE_UNPLUG_GUEST_ERROR, and the guest can be asked again.
 *
 * Context: BQL held.
 * Returns: true if post-copy does not migrate memory of these devices.
 */
bool migration_incoming_may_eject(DeviceState *dev);

#endif
