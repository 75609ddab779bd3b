/*
 * Post-copy source: when its end does not go well
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "migration.h"
#include "postcopy-completion.h"
#include "qemu-file.h"

#define PING_BEGIN 1
#define PING_DEVICES_LOADED 3

/* Written by the return path thread, read when that has ended */
static bool devices_loaded;

void postcopy_completion_pong(uint32_t seq)
{
    switch (seq) {
    case PING_BEGIN:
        devices_loaded = false;
        break;
    case PING_DEVICES_LOADED:
        devices_loaded = true;
        break;
    }
}

bool postcopy_completion_failed(MigrationState *s)
{
    if (s->state != MIGRATION_STATUS_POSTCOPY_ACTIVE || !devices_loaded) {
        return false;
    }
    error_report("All memory was sent, but the destination did not confirm it:"
                 " the guest may run there, and is not started here. If the"
                 " destination is paused, too, recover the migration.");
    qemu_file_set_error(s->to_dst_file, -EIO);
    return true;
}
