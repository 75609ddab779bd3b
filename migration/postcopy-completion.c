/*
 * Post-copy source: when its end does not go well
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qapi/error.h"
#include "io/channel.h"
#include "migration.h"
#include "options.h"
#include "postcopy-completion.h"
#include "postcopy-rp.h"
#include "qemu-file.h"
#include "ram.h"
#include "savevm.h"

/* Pages were sent that release-ram is to free.  Migration thread only. */
static bool release_pending;

/*
 * The destination has everything.  Written by the return path thread, read when
 * that has ended.
 */
static bool confirmed;

void postcopy_completion_announce(MigrationState *s)
{
    if (migrate_postcopy_ram() && s->postcopy_pause_unconfirmed) {
        qemu_savevm_send_ping(s->to_dst_file, POSTCOPY_PING_SOURCE_PAUSES);
    }
}

void postcopy_completion_begin(MigrationState *s)
{
    release_pending = migrate_release_ram();
    confirmed = false;
    if (migrate_postcopy_ram()) {
        migrate_set_state(&s->state, MIGRATION_STATUS_DEVICE,
                          MIGRATION_STATUS_POSTCOPY_DEVICE);
    }
}

int postcopy_completion_sent(MigrationState *s, Error **errp)
{
    int ret;

    if (migrate_postcopy_ram()) {
        return 0;
    }
    ret = qemu_file_get_error(s->to_dst_file);
    if (ret) {
        error_setg_errno(errp, -ret, "The devices cannot be sent");
        return ret;
    }
    migrate_set_state(&s->state, MIGRATION_STATUS_DEVICE,
                      MIGRATION_STATUS_POSTCOPY_ACTIVE);
    return 0;
}

void postcopy_completion_pong(MigrationState *s, uint32_t seq)
{
    if (seq == POSTCOPY_PING_DEVICES_LOADED) {
        migrate_set_state(&s->state, MIGRATION_STATUS_POSTCOPY_DEVICE,
                          MIGRATION_STATUS_POSTCOPY_ACTIVE);
    }
}

void postcopy_completion_shut(uint32_t sibling_error)
{
    confirmed = !sibling_error;
}

bool postcopy_completion_confirmed(MigrationState *s)
{
    return confirmed && s->state == MIGRATION_STATUS_POSTCOPY_ACTIVE;
}

bool postcopy_completion_await_answer(MigrationState *s)
{
    if (s->state != MIGRATION_STATUS_POSTCOPY_DEVICE) {
        return false;
    }
    if (s->to_dst_file) {
        qio_channel_shutdown(qemu_file_get_ioc(s->to_dst_file),
                             QIO_CHANNEL_SHUTDOWN_WRITE, NULL);
    }
    return true;
}

bool postcopy_completion_may_release_ram(void)
{
    return migrate_release_ram() && migration_in_postcopy() &&
           migrate_get_current()->state != MIGRATION_STATUS_POSTCOPY_DEVICE;
}

void postcopy_completion_release_ram(MigrationState *s)
{
    if (!release_pending || !postcopy_completion_may_release_ram()) {
        return;
    }
    release_pending = false;
    /* What is sent may still be in the guest's memory only */
    qemu_fflush(s->to_dst_file);
    ram_postcopy_migrated_memory_release(s);
}

bool postcopy_completion_failed(MigrationState *s)
{
    if (s->state != MIGRATION_STATUS_POSTCOPY_ACTIVE ||
        !migrate_postcopy_ram() || !s->postcopy_pause_unconfirmed) {
        return false;
    }
    error_report("All memory was sent, but the destination did not confirm it:"
                 " the guest may run there, and is not started here. If the"
                 " destination is paused, too, recover the migration.");
    qemu_file_set_error(s->to_dst_file, -EIO);
    return true;
}
