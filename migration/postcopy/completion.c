/*
 * Post-copy source: who has the guest when the end of post-copy fails
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "qemu/error-report.h"
#include "qemu/lockable.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "exec/ramblock.h"
#include "exec/target_page.h"
#include "io/channel.h"
#include "migration/migration.h"
#include "migration/options.h"
#include "migration/qemu-file.h"
#include "migration/ram.h"
#include "migration/savevm.h"
#include "completion.h"
#include "return-path.h"

/* Pages were sent that release-ram may not free yet.  Migration thread only. */
static bool release_pending;

/*
 * The destination has everything.  Written by the return path thread, read
 * after that has ended.
 */
static bool confirmed;

void postcopy_completion_announce(MigrationState *s)
{
    if (migrate_postcopy_ram() && s->postcopy_properties.pause_unconfirmed) {
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

bool postcopy_completion_unconfirmed(MigrationState *s, bool error)
{
    return (error && !postcopy_completion_confirmed(s)) ||
           s->state == MIGRATION_STATUS_POSTCOPY_DEVICE;
}

void postcopy_completion_set_error(MigrationState *s, int ret, Error *err)
{
    if (!err) {
        error_setg_errno(&err, -ret, "Migration stream error");
    }
    migrate_set_error(s, err);
    error_free(err);
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

void postcopy_completion_release_block(RAMBlock *rb, QemuMutex *bitmap_mutex)
{
    unsigned bits = qemu_target_page_bits();
    /* A requested page waits no longer than this takes */
    unsigned long most = MAX(64 * MiB, qemu_ram_pagesize(rb)) >> bits;
    unsigned long end = rb->used_length >> bits;
    unsigned long run_start = 0, run_end;

    do {
        /* The return path thread may be sending a page of the block */
        QEMU_LOCK_GUARD(bitmap_mutex);

        run_start = find_next_zero_bit(rb->bmap, end, run_start);
        run_end = find_next_bit(rb->bmap, MIN(end, run_start + most),
                                run_start);
        if (run_start < run_end) {
            ram_discard_range(rb->idstr, (ram_addr_t)run_start << bits,
                              (ram_addr_t)(run_end - run_start) << bits);
        }
        run_start = run_end;
    } while (run_start < end);
}

void postcopy_completion_release_ram(MigrationState *s)
{
    if (!release_pending || !migrate_release_ram() ||
        !migration_in_postcopy()) {
        return;
    }
    release_pending = false;
    /* The send buffer may refer to guest memory */
    qemu_fflush(s->to_dst_file);
    ram_postcopy_migrated_memory_release(s);
}

bool postcopy_completion_failed(MigrationState *s)
{
    if (s->state != MIGRATION_STATUS_POSTCOPY_ACTIVE ||
        !migrate_postcopy_ram() || !s->postcopy_properties.pause_unconfirmed) {
        return false;
    }
    error_report("All memory was sent, but the destination did not confirm it."
                 " The guest may run there, so it is not started here. If the"
                 " destination is paused, too, recover the migration.");
    qemu_file_set_error(s->to_dst_file, -EIO);
    return true;
}
