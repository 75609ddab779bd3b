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
 * postcopy_faults_stop: every page is there
 *
 * Ends the guarding, lets go whoever still waits.  Statistics stay.  When it
 * returns, no vCPU uses the incoming migration's state any more.
 *
 * Context: any thread, vCPUs may run.  The thread of userfaultfd has ended, and
 * userfaultfd is closed: it waits for RCU readers, and one may have waited for
 * a page there.
 */
void postcopy_faults_stop(void);

/**
 * postcopy_faults_serving: do vCPU faults come from KVM, and requests go out
 * from here?
 *
 * If so, the thread of userfaultfd must not pause while the stream is broken:
 * it wakes those whose page was placed when their fault had not been read.
 *
 * Context: any thread.
 */
bool postcopy_faults_serving(void);

/**
 * postcopy_faults_guarded: are pages placed from here, and without a wake?
 *
 * Context: any thread.
 */
bool postcopy_faults_guarded(void);

/**
 * postcopy_faults_userfaultfd: a fault was read from userfaultfd
 * @rb: block of the page
 * @offset: of the host page in @rb
 * @ptid: the faulting thread, 0 if the kernel does not tell
 *
 * For statistics, and to wake who waits; to ask for the page is the caller's
 * part.
 *
 * Context: fault thread.
 */
void postcopy_faults_userfaultfd(RAMBlock *rb, ram_addr_t offset,
                                 uint32_t ptid);

/**
 * postcopy_faults_userfaultfd_ends: stop reading faults from userfaultfd
 * @mis: the incoming migration, with userfaultfd still open
 *
 * The fault thread ends, maybe on an error.  Wakes all threads that wait in
 * userfaultfd; those whose page is missing wait again.  From now on, each page
 * is placed with a wake.
 *
 * Context: fault thread.
 */
void postcopy_faults_userfaultfd_ends(MigrationIncomingState *mis);

/**
 * postcopy_faults_request: ask for a page that another one than a vCPU needs
 * @rb: block of the page
 * @offset: of the host page in @rb
 *
 * Does not wait for the stream; should it break, the page is asked for again.
 *
 * Context: any thread.
 * Returns: false if it is the caller's part to ask, for KVM userfault is not
 * in use.
 */
bool postcopy_faults_request(RAMBlock *rb, ram_addr_t offset);

/**
 * postcopy_faults_request_again: the stream is back
 *
 * Asks for all pages that were asked for and have not come.
 *
 * Context: the thread that loads, when the state is postcopy-active again.
 */
void postcopy_faults_request_again(void);

/**
 * postcopy_faults_end: the main channel has brought all that it was to bring
 *
 * Waits for pages that are still on their way in the channel of preemption:
 * these were asked for, and have not come.
 *
 * Context: the thread that loads from the main channel.
 * Returns: 0, or -EIO if that channel is broken, and pages may be lost.
 */
int postcopy_faults_end(void);

/**
 * postcopy_faults_preempt_broken: the channel of preemption is broken, or
 * migration is to be paused
 *
 * Context: any thread.
 */
void postcopy_faults_preempt_broken(void);

/**
 * postcopy_faults_place: place a page that came, and wake who waits for it
 * @mis: the incoming migration
 * @rb: block of the page
 * @host: its first byte
 * @from: the content, or NULL for zeroes
 * @length: bytes, the host page size of the block
 * @ret: gets 0, or a negative errno, which has been reported
 *
 * Wakes the vCPUs that wait for this page, and no others, and goes to
 * userfaultfd's queue only if a thread waits there.
 *
 * Context: any thread; takes only the lock of the page's bucket.
 * Returns: false if it is the caller's part to place it, for KVM userfault is
 * not in use.
 */
bool postcopy_faults_place(MigrationIncomingState *mis, RAMBlock *rb,
                           void *host, void *from, size_t length, int *ret);

/**
 * postcopy_faults_placed: a page is there
 * @rb: block of the page
 * @host: its first byte
 * @length: bytes, the host page size of the block
 *
 * For statistics, where postcopy_faults_place() left it to the caller to
 * place the page.  Called when it is marked in the receivedmap.
 *
 * Context: any thread; takes only the lock of the page's bucket.
 */
void postcopy_faults_placed(RAMBlock *rb, void *host, size_t length);

/** postcopy_faults_requested: a request was sent to the source */
void postcopy_faults_requested(void);

/**
 * postcopy_faults_fill_info: what query-migrate says on the destination
 * @info: gets the member postcopy-faults, if post-copy ever began here
 *
 * Context: BQL held.
 */
void postcopy_faults_fill_info(MigrationInfo *info);

/**
 * postcopy_faults_print: what "info migrate" says of them
 * @mon: where to
 * @info: of query-migrate; NULL: nothing
 */
void postcopy_faults_print(Monitor *mon, const PostcopyFaultInfo *info);

/**
 * postcopy_kvm_userfault_init: set the capability as the command line says
 * @ms: its x-postcopy-kvm-userfault property decides
 *
 * "auto" means on where the host can do it.  Finding that out takes a scratch
 * VM, so it is left to postcopy_kvm_userfault_get().
 *
 * Context: BQL held, accelerator configured.
 */
void postcopy_kvm_userfault_init(MigrationState *ms);

/**
 * postcopy_kvm_userfault_get: is the capability on?
 *
 * The first call settles what "auto" means; from then on the value in the
 * array of capabilities is right.
 *
 * Context: BQL held.
 * Returns: true if it is.
 */
bool postcopy_kvm_userfault_get(void);

/**
 * postcopy_kvm_userfault_set: capabilities are about to be set
 * @caps: which, and to what
 *
 * Settles what "auto" means if one of them depends on it.
 *
 * Context: BQL held.
 */
void postcopy_kvm_userfault_set(const MigrationCapabilityStatusList *caps);

/**
 * postcopy_kvm_userfault_check: may the capability be what it shall become?
 * @old_caps: capabilities as they are
 * @new_caps: as they shall be
 * @errp: names what the host lacks, or says that it is too late
 *
 * Returns: true if so.
 */
bool postcopy_kvm_userfault_check(const bool *old_caps, const bool *new_caps,
                                  Error **errp);

#endif
