/*
 * Post-copy source: when its end does not go well
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "migration.h"
#include "postcopy-completion.h"
#include "qemu-file.h"

bool postcopy_completion_failed(MigrationState *s)
{
    if (s->state != MIGRATION_STATUS_POSTCOPY_ACTIVE) {
        return false;
    }
    qemu_file_set_error(s->to_dst_file, -EIO);
    return true;
}
