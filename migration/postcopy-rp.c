/*
 * Post-copy destination: the answer that the devices are loaded
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/coroutine.h"
#include "qemu/error-report.h"
#include "migration.h"
#include "options.h"
#include "postcopy-ram.h"
#include "postcopy-rp.h"
#include "qemu-file.h"

/*
 * Either the answer is given, or the stream has failed, whichever is first: two
 * threads load at the same time.
 */
enum { ANSWER_OPEN, ANSWER_GIVEN, ANSWER_FAILED };
static int answer;

void postcopy_rp_listen(void)
{
    qatomic_set(&answer, ANSWER_OPEN);
}

bool postcopy_rp_ping(uint32_t value)
{
    if (value == POSTCOPY_PING_DEVICES_LOADED &&
        qatomic_cmpxchg(&answer, ANSWER_OPEN, ANSWER_GIVEN) != ANSWER_OPEN) {
        error_report("The stream ended while devices were loaded");
        return false;
    }
    return true;
}

bool postcopy_rp_answered(MigrationIncomingState *mis)
{
    if (migrate_postcopy_ram() && mis->to_src_file &&
        qemu_file_get_error(mis->to_src_file)) {
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
