/*
 * Post-copy destination: who waits for which page
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_POSTCOPY_FAULTS_H
#define MIGRATION_POSTCOPY_FAULTS_H

#include "qapi/qapi-types-migration.h"
#include "exec/cpu-common.h"
#include "migration.h"

/**
 * postcopy_faults_start: begin to serve page faults
 * @mis: the incoming migration
 *
 * Called when it is known which pages were received before post-copy, and
 * before the fault thread starts.  Guards memory with KVM userfault if the
 * capability postcopy-kvm-userfault is on; should that fail now, warns and
 * leaves vCPU faults to userfaultfd, which serves them as well.
 *
 * Context: BQL held, no vCPU running, no page being placed.
 */
void postcopy_faults_start(MigrationIncomingState *mis);

/**
 * postcopy_faults_paused: the stream broke, and the state says so
 *
 * When it returns, no vCPU sends a request any more, until the state is
 * postcopy-active again.
 *
 * Context: the thread that loads, outside RCU read sections, with the
 * stream's socket shut down, so that no vCPU is stuck in it.
 */
void postcopy_faults_paused(void);

/**
 * postcopy_faults_stop: every page is there
 *
 * Ends the guarding, lets go whoever still waits.  Statistics stay.  When it
 * returns, no vCPU uses the incoming migration's state any more.
 *
 * Context: any thread, vCPUs may run.  Waits for RCU readers.
 */
void postcopy_faults_stop(void);

/**
 * postcopy_faults_userfaultfd: a fault was read from userfaultfd
 * @rb: block of the page
 * @offset: of the host page in @rb
 * @ptid: the faulting thread, 0 if the kernel does not tell
 *
 * For statistics; to ask for the page is the caller's part.
 *
 * Context: fault thread.
 */
void postcopy_faults_userfaultfd(RAMBlock *rb, ram_addr_t offset,
                                 uint32_t ptid);

/**
 * postcopy_faults_placed: a page is there
 * @rb: block of the page
 * @host: its first byte
 * @length: bytes, the host page size of the block
 *
 * Wakes the vCPUs that wait for this page, and no others.  Called after the
 * page has been placed and marked in the receivedmap.
 *
 * Context: any thread; takes only the lock of the page's bucket.
 */
void postcopy_faults_placed(RAMBlock *rb, void *host, size_t length);

/** postcopy_faults_requested: a request was sent to the source */
void postcopy_faults_requested(void);

/**
 * postcopy_faults_concurrent: do several threads request pages?
 *
 * If so, a request cannot rely on the block named in the one before.
 */
bool postcopy_faults_concurrent(void);

/**
 * postcopy_faults_fill_info: what query-migrate says on the destination
 * @info: gets the member postcopy-faults, if post-copy ever began here
 */
void postcopy_faults_fill_info(MigrationInfo *info);

/**
 * mark_postcopy_blocktime_begin: a vCPU begins to wait (postcopy-ram.c)
 * @addr: host address that it accessed
 * @ptid: its thread
 * @rb: block of the page
 *
 * For the capability postcopy-blocktime.  Called once the fault can be found
 * by whoever places the page.
 */
void mark_postcopy_blocktime_begin(uintptr_t addr, uint32_t ptid,
                                   RAMBlock *rb);

/**
 * postcopy_kvm_userfault_init: settle the default of the capability
 * @ms: its x-postcopy-kvm-userfault property decides; "auto" means on where
 *      the host can do it
 *
 * Context: BQL held, accelerator configured.
 */
void postcopy_kvm_userfault_init(MigrationState *ms);

/**
 * postcopy_kvm_userfault_check: may the capability be what it shall become?
 * @old_caps: capabilities as they are
 * @new_caps: as they shall be
 * @errp: names what the host lacks
 *
 * Returns: true if so.
 */
bool postcopy_kvm_userfault_check(const bool *old_caps, const bool *new_caps,
                                  Error **errp);

#endif
