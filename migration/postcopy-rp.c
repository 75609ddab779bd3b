/*
 * Post-copy destination: what goes through the return path
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/coroutine.h"
#include "qemu/error-report.h"
#include "migration.h"
#include "options.h"
#include "postcopy-faults.h"
#include "postcopy-ram.h"
#include "postcopy-rp.h"
#include "qemu-file.h"

/*
 * Either the answer is given, or the stream has failed, whichever is first: two
 * threads load at the same time.
 */
enum { ANSWER_OPEN, ANSWER_GIVEN, ANSWER_FAILED };
static int answer;

/* The source pauses when the return path ends without a confirmation */
static bool source_pauses;

/* The end of the main channel's stream has arrived */
static bool stream_ended;

void postcopy_rp_listen(void)
{
    qatomic_set(&answer, ANSWER_OPEN);
    qatomic_set(&stream_ended, false);
}

bool postcopy_rp_ping(uint32_t value)
{
    switch (value) {
    case POSTCOPY_PING_BEGIN:
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

bool postcopy_rp_answered(MigrationIncomingState *mis)
{
    if (migrate_postcopy_ram() && qatomic_read(&source_pauses) &&
        mis->to_src_file && qemu_file_get_error(mis->to_src_file)) {
        error_report("The source cannot be told that the devices are loaded,"
                     " so the guest goes on there");
        return false;
    }
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

int postcopy_rp_stream_ended(QEMUFile *f)
{
    Error *err = NULL;
    int ret;

    qatomic_set(&stream_ended, true);
    ret = postcopy_faults_end();
    if (!ret) {
        return 0;
    }
    if (!qatomic_read(&source_pauses)) {
        error_setg(&err, "Pages that were sent through the channel of"
                   " postcopy-preempt are lost, and the source cannot send them"
                   " again: the guest waits for them. When this QEMU ends, the"
                   " source starts the guest as it was when post-copy began.");
        migrate_set_error(migrate_get_current(), err);
        error_report_err(err);
        /* Nothing more comes, but the end */
        while (!qemu_file_get_error(f)) {
            qemu_get_byte(f);
        }
    }
    qatomic_set(&stream_ended, false);
    return ret;
}

bool postcopy_rp_may_pause(Error **errp)
{
    if (!qatomic_read(&stream_ended) || qatomic_read(&source_pauses)) {
        return true;
    }
    error_setg(errp, "The source has sent everything, and would not pause, but"
               " start the guest, which runs here");
    return false;
}
