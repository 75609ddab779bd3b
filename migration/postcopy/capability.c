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
#include "migration/migration.h"
#include "migration/postcopy-ram.h"
#include "capability.h"

#define CAPABILITY MIGRATION_CAPABILITY_POSTCOPY_KVM_USERFAULT

bool migrate_postcopy_kvm_userfault(void)
{
    MigrationState *ms = migrate_get_current();
    OnOffAuto *property = &ms->postcopy_properties.kvm_userfault;
    bool *cap = &ms->capabilities[CAPABILITY];

    if (*property == ON_OFF_AUTO_AUTO) {
        *cap = kvm_userfault_supported(NULL);
        *property = *cap ? ON_OFF_AUTO_ON : ON_OFF_AUTO_OFF;
    }
    return *cap;
}

void postcopy_capability_init(MigrationState *ms)
{
    ms->capabilities[CAPABILITY] =
        ms->postcopy_properties.kvm_userfault == ON_OFF_AUTO_ON;
    if (ms->capabilities[MIGRATION_CAPABILITY_POSTCOPY_RAM]) {
        migrate_postcopy_kvm_userfault();
    }
}

void postcopy_capability_set(const MigrationCapabilityStatusList *caps)
{
    for (; caps; caps = caps->next) {
        switch (caps->value->capability) {
        case CAPABILITY:
            migrate_postcopy_kvm_userfault();
            break;
        case MIGRATION_CAPABILITY_POSTCOPY_RAM:
            /*
             * Only a destination needs to know.  The next time to find out
             * would be part of the downtime.
             */
            if (runstate_check(RUN_STATE_INMIGRATE)) {
                migrate_postcopy_kvm_userfault();
            }
            break;
        default:
            break;
        }
    }
}

bool postcopy_capability_check(const bool *old_caps, const bool *new_caps,
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
