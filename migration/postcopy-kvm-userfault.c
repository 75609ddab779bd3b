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
#include "migration.h"
#include "postcopy-faults.h"

void postcopy_kvm_userfault_init(MigrationState *ms)
{
    bool *cap = &ms->capabilities[MIGRATION_CAPABILITY_POSTCOPY_KVM_USERFAULT];

    switch (ms->postcopy_kvm_userfault) {
    case ON_OFF_AUTO_AUTO:
        *cap = kvm_userfault_supported(NULL);
        break;
    default:
        *cap = ms->postcopy_kvm_userfault == ON_OFF_AUTO_ON;
        break;
    }
}

bool postcopy_kvm_userfault_check(const bool *old_caps, const bool *new_caps,
                                  Error **errp)
{
    ERRP_GUARD();
    int cap = MIGRATION_CAPABILITY_POSTCOPY_KVM_USERFAULT;

    if (new_caps[cap] && !old_caps[cap] && !kvm_userfault_supported(errp)) {
        error_prepend(errp, "Capability 'postcopy-kvm-userfault' cannot be"
                      " enabled: ");
        return false;
    }
    return true;
}
