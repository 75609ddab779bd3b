/*
 * The capability postcopy-kvm-userfault
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "system/kvm-userfault.h"
#include "system/runstate.h"
#include "migration.h"
#include "postcopy-faults.h"
#include "postcopy-ram.h"

#define CAPABILITY MIGRATION_CAPABILITY_POSTCOPY_KVM_USERFAULT

void postcopy_kvm_userfault_init(MigrationState *ms)
{
    ms->capabilities[CAPABILITY] =
        ms->postcopy_kvm_userfault == ON_OFF_AUTO_ON;
    if (ms->capabilities[MIGRATION_CAPABILITY_POSTCOPY_RAM]) {
        postcopy_kvm_userfault_get();
    }
}

bool postcopy_kvm_userfault_get(void)
{
    MigrationState *ms = migrate_get_current();
    bool *cap = &ms->capabilities[CAPABILITY];

    if (ms->postcopy_kvm_userfault == ON_OFF_AUTO_AUTO) {
        *cap = kvm_userfault_supported(NULL);
        ms->postcopy_kvm_userfault = *cap ? ON_OFF_AUTO_ON : ON_OFF_AUTO_OFF;
    }
    return *cap;
}

void postcopy_kvm_userfault_set(const MigrationCapabilityStatusList *caps)
{
    for (; caps; caps = caps->next) {
        switch (caps->value->capability) {
        case CAPABILITY:
            postcopy_kvm_userfault_get();
            break;
        case MIGRATION_CAPABILITY_POSTCOPY_RAM:
            /* A source does not need to know.  LISTEN would be in downtime. */
            if (runstate_check(RUN_STATE_INMIGRATE)) {
                postcopy_kvm_userfault_get();
            }
            break;
        default:
            break;
        }
    }
}

bool postcopy_kvm_userfault_check(const bool *old_caps, const bool *new_caps,
                                  Error **errp)
{
    ERRP_GUARD();
    PostcopyState state = postcopy_state_get();

    if (new_caps[CAPABILITY] != old_caps[CAPABILITY] &&
        (state == POSTCOPY_INCOMING_LISTENING ||
         state == POSTCOPY_INCOMING_RUNNING)) {
        error_setg(errp, "Capability 'postcopy-kvm-userfault' cannot be changed"
                   " once post-copy has begun");
        return false;
    }
    if (new_caps[CAPABILITY] && !old_caps[CAPABILITY] &&
        !kvm_userfault_supported(errp)) {
        error_prepend(errp, "Capability 'postcopy-kvm-userfault' cannot be"
                      " enabled: ");
        return false;
    }
    return true;
}
