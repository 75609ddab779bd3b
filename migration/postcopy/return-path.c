/*
 * Post-copy destination: the return path, and when the guest may run or pause
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/coroutine.h"
#include "qemu/error-report.h"
#include "qemu/lockable.h"
#include "qemu/thread.h"
#include "migration/migration.h"
#include "migration/options.h"
#include "migration/postcopy-ram.h"
#include "migration/qemu-file.h"
#include "migration/savevm.h"
#include "faults.h"
#include "return-path.h"

/*
 * Either the ping behind the devices' state is answered, or the stream fails,
 * whichever comes first: two threads load at the same time.
 */
enum { ANSWER_OPEN, ANSWER_GIVEN, ANSWER_FAILED };
static int answer;

/* The source pauses when the return path ends without a confirmation */
static bool source_pauses;

/*
 * The end of the main channel's stream has arrived.  Written under
 * @stream_mutex: a pause on request comes either before it or after.
 */
static bool stream_ended;

/*
 * Also to take the main channel away before it is closed: a pause on request
 * comes either before that, or finds none.
 */
static QemuMutex stream_mutex;

static void __attribute__((constructor)) return_path_init(void)
{
    qemu_mutex_init(&stream_mutex);
}

/* Returns false if the ping must not be answered */
static bool handle_ping(uint32_t value)
{
    switch (value) {
    case POSTCOPY_PING_BEGIN:
        qatomic_set(&answer, ANSWER_OPEN);
        qatomic_set(&stream_ended, false);
        qatomic_set(&source_pauses, false);
        break;
    case POSTCOPY_PING_SOURCE_PAUSES:
        qatomic_set(&source_pauses, true);
        break;
    case POSTCOPY_PING_DEVICES_LOADED:
        if (qatomic_cmpxchg(&answer, ANSWER_OPEN, ANSWER_GIVEN) !=
            ANSWER_OPEN) {
            error_report("The stream ended while devices were loaded");
            return false;
        }
        break;
    }
    return true;
}

int postcopy_rp_ping(MigrationIncomingState *mis, uint32_t value)
{
    if (!handle_ping(value)) {
        return -1;
    }
    migrate_send_rp_pong(mis, value);
    return 0;
}

bool postcopy_rp_may_run(MigrationIncomingState *mis)
{
    if (migrate_postcopy_ram() && qatomic_read(&source_pauses) &&
        mis->to_src_file && qemu_file_get_error(mis->to_src_file)) {
        error_report("The source cannot be told that the devices are loaded,"
                     " so the guest continues there");
        return false;
    }
    migrate_set_state(&mis->state, MIGRATION_STATUS_POSTCOPY_DEVICE,
                      MIGRATION_STATUS_POSTCOPY_ACTIVE);
    return true;
}

bool postcopy_rp_running(MigrationIncomingState *mis)
{
    if (postcopy_state_get() == POSTCOPY_INCOMING_LISTENING &&
        !qemu_in_coroutine() &&
        qatomic_cmpxchg(&answer, ANSWER_OPEN, ANSWER_FAILED) == ANSWER_GIVEN) {
        qemu_event_wait(&mis->main_thread_load_event);
    }
    return postcopy_state_get() == POSTCOPY_INCOMING_RUNNING;
}

int postcopy_rp_section_error(QEMUFile *f, uint8_t section_type)
{
    MigrationIncomingState *mis = migration_incoming_get_current();

    if (section_type == QEMU_VM_EOF && postcopy_faults_guarded()) {
        return qemu_file_get_error(f);
    }
    return qemu_file_get_error_obj_any(f, mis->postcopy_qemufile_dst, NULL);
}

int postcopy_rp_stream_ended(QEMUFile *f)
{
    Error *err = NULL;
    int ret;

    WITH_QEMU_LOCK_GUARD(&stream_mutex) {
        ret = qemu_file_get_error(f);
        if (ret) {
            return ret;
        }
        qatomic_set(&stream_ended, true);
    }
    ret = postcopy_faults_end();
    if (!ret) {
        return 0;
    }
    if (!qatomic_read(&source_pauses)) {
        error_setg(&err, "The preempt channel broke, and the source cannot send"
                   " its pages again: the guest waits for them. When this QEMU"
                   " ends, the source starts the guest in the state that it had"
                   " when post-copy began.");
        migrate_set_error(migrate_get_current(), err);
        error_report_err(err);
        /* Only the end of the channel is still to come */
        while (!qemu_file_get_error(f)) {
            qemu_get_byte(f);
        }
    }
    qatomic_set(&stream_ended, false);
    return ret;
}

QEMUFile *postcopy_rp_take_stream(MigrationIncomingState *mis)
{
    QEMUFile *f;

    QEMU_LOCK_GUARD(&stream_mutex);
    f = mis->from_src_file;
    mis->from_src_file = NULL;
    return f;
}

void postcopy_rp_pause(MigrationIncomingState *mis, Error **errp)
{
    QEMU_LOCK_GUARD(&stream_mutex);
    if (!mis->from_src_file) {
        /* It broke, and migration pauses, unless it was closed at the end */
        if (!migration_postcopy_is_alive(mis->state) &&
            !postcopy_is_paused(mis->state)) {
            error_setg(errp, "Migration has ended");
        }
        return;
    }
    if (qatomic_read(&stream_ended) && !qatomic_read(&source_pauses)) {
        error_setg(errp, "The source has sent everything. It would not pause,"
                   " but start the guest, which runs here");
        return;
    }
    if (qemu_file_shutdown(mis->from_src_file)) {
        error_setg(errp, "Failed to pause destination migration");
        return;
    }
    /* Under the lock: before a recovery, which begins with a new channel */
    postcopy_faults_preempt_broken();
}
