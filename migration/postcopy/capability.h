/*
 * The capabilities postcopy-kvm-userfault and postcopy-async-pf, and the
 * properties of post-copy
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_POSTCOPY_CAPABILITY_H
#define MIGRATION_POSTCOPY_CAPABILITY_H

#include "qapi/qapi-types-common.h"
#include "qapi/qapi-types-migration.h"

typedef struct PostcopyProperties {
    /* x-postcopy-kvm-userfault: the default of the capability */
    OnOffAuto kvm_userfault;
    /* x-postcopy-async-pf: likewise */
    OnOffAuto async_pf;
    /*
     * x-postcopy-pause-unconfirmed: pause the source, and do not start the
     * guest there, if the destination has not confirmed the end of post-copy,
     * but the guest may run there.  Off is as upstream, for tests.
     */
    bool pause_unconfirmed;
    /* x-postcopy-flow: bound what is on its way, see flow.h */
    bool flow;
} PostcopyProperties;

/**
 * migrate_postcopy_kvm_userfault: is the capability on?
 *
 * The first call turns the default "auto" into on or off, which needs a scratch
 * VM.  From then on, the array of capabilities has the right value.
 *
 * Context: BQL held.
 */
bool migrate_postcopy_kvm_userfault(void);

/** migrate_postcopy_async_pf: likewise of postcopy-async-pf */
bool migrate_postcopy_async_pf(void);

/**
 * postcopy_capabilities_decide: turn "auto" of both into on or off
 *
 * Context: BQL held.
 */
void postcopy_capabilities_decide(void);

/**
 * postcopy_capability_init: set the capabilities from the command line
 * @ms: its properties decide
 *
 * "auto" is on where the host supports it.  The first call of a function above
 * finds out.
 *
 * Context: BQL held, accelerator configured.
 */
void postcopy_capability_init(MigrationState *ms);

/**
 * postcopy_capability_set: capabilities are about to be set
 * @caps: which, and to what
 *
 * Decides what "auto" means if one of them depends on it.
 *
 * Context: BQL held.
 */
void postcopy_capability_set(const MigrationCapabilityStatusList *caps);

/**
 * postcopy_capability_check: may the capabilities change like this?
 * @old_caps: current capabilities
 * @new_caps: requested capabilities
 * @errp: says what the host does not support, or that it is too late
 *
 * Returns: true if so.
 */
bool postcopy_capability_check(const bool *old_caps, const bool *new_caps,
                               Error **errp);

#endif
