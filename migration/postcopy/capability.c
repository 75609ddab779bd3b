/*
 * The capabilities postcopy-kvm-userfault and postcopy-async-pf
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

/* Capabilities whose default depends on the host */
typedef struct HostCapability {
    MigrationCapability cap;
    bool (*supported)(Error **errp);
    size_t property;            /* offset of an OnOffAuto in MigrationState */
} HostCapability;

static const HostCapability kvm_userfault = {
    .cap = MIGRATION_CAPABILITY_POSTCOPY_KVM_USERFAULT,
    .supported = kvm_userfault_supported,
    .property = offsetof(MigrationState, postcopy_properties.kvm_userfault),
};

static const HostCapability async_pf = {
    .cap = MIGRATION_CAPABILITY_POSTCOPY_ASYNC_PF,
    .supported = kvm_userfault_async_supported,
    .property = offsetof(MigrationState, postcopy_properties.async_pf),
};

static const HostCapability *const host_caps[] = { &kvm_userfault, &async_pf };

static OnOffAuto *host_cap_property(MigrationState *ms,
                                    const HostCapability *of)
{
    return (OnOffAuto *)((char *)ms + of->property);
}

static bool host_cap_get(const HostCapability *of)
{
    MigrationState *ms = migrate_get_current();
    OnOffAuto *property = host_cap_property(ms, of);
    bool *cap = &ms->capabilities[of->cap];

    if (*property == ON_OFF_AUTO_AUTO) {
        *cap = of->supported(NULL);
        *property = *cap ? ON_OFF_AUTO_ON : ON_OFF_AUTO_OFF;
    }
    return *cap;
}

bool migrate_postcopy_kvm_userfault(void)
{
    return host_cap_get(&kvm_userfault);
}

bool migrate_postcopy_async_pf(void)
{
    return host_cap_get(&async_pf);
}

void postcopy_capabilities_decide(void)
{
    for (int i = 0; i < ARRAY_SIZE(host_caps); i++) {
        host_cap_get(host_caps[i]);
    }
}

void postcopy_capability_init(MigrationState *ms)
{
    for (int i = 0; i < ARRAY_SIZE(host_caps); i++) {
        ms->capabilities[host_caps[i]->cap] =
            *host_cap_property(ms, host_caps[i]) == ON_OFF_AUTO_ON;
    }
    if (ms->capabilities[MIGRATION_CAPABILITY_POSTCOPY_RAM]) {
        postcopy_capabilities_decide();
    }
}

void postcopy_capability_set(const MigrationCapabilityStatusList *caps)
{
    for (; caps; caps = caps->next) {
        switch (caps->value->capability) {
        case MIGRATION_CAPABILITY_POSTCOPY_KVM_USERFAULT:
        case MIGRATION_CAPABILITY_POSTCOPY_ASYNC_PF:
            postcopy_capabilities_decide();
            break;
        case MIGRATION_CAPABILITY_POSTCOPY_RAM:
            /*
             * Only a destination needs to know.  The next time to find out
             * would be part of the downtime.
             */
            if (runstate_check(RUN_STATE_INMIGRATE)) {
                postcopy_capabilities_decide();
            }
            break;
        default:
            break;
        }
    }
}

static bool host_cap_check(const HostCapability *of, bool was, bool is,
                           Error **errp)
{
    ERRP_GUARD();
    const char *name = MigrationCapability_str(of->cap);
    PostcopyState state = postcopy_state_get();

    if (is != was &&
        (state == POSTCOPY_INCOMING_LISTENING ||
         state == POSTCOPY_INCOMING_RUNNING)) {
        error_setg(errp, "Capability '%s' cannot be changed once post-copy has"
                   " begun", name);
        return false;
    }
    if (is && !was && !of->supported(errp)) {
        error_prepend(errp, "Capability '%s' cannot be enabled: ", name);
        return false;
    }
    return true;
}

bool postcopy_capability_check(const bool *old_caps, const bool *new_caps,
                               Error **errp)
{
    for (int i = 0; i < ARRAY_SIZE(host_caps); i++) {
        MigrationCapability cap = host_caps[i]->cap;

        if (!host_cap_check(host_caps[i], old_caps[cap], new_caps[cap], errp)) {
            return false;
        }
    }
    return true;
}
