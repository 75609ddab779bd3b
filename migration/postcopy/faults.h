/*
 * Post-copy destination: page faults, from the switch to the last page
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_POSTCOPY_FAULTS_H
#define MIGRATION_POSTCOPY_FAULTS_H

#include "qapi/qapi-types-migration.h"
#include "exec/cpu-common.h"

/**
 * postcopy_faults_start: begin to serve page faults
 * @mis: the incoming migration
 *
 * Called when it is known which pages were received before post-copy, and
 * before the fault thread starts.  With the capability postcopy-kvm-userfault,
 * guards memory with KVM userfault.  If that fails, warns and leaves vCPU
 * faults to userfaultfd, which serves them as well.
 *
 * Context: BQL held, no vCPU running, no page being placed.
 */
void postcopy_faults_start(MigrationIncomingState *mis);

/**
 * postcopy_faults_stop: all pages have arrived
 *
 * Ends the guarding, and wakes all threads that still wait.  Statistics are
 * kept.  When it returns, no vCPU uses the incoming migration's state any more.
 *
 * Context: any thread, vCPUs may run.  The fault thread has ended, and
 * userfaultfd is closed: this waits for RCU readers, and one of them might wait
 * for a page there.
 */
void postcopy_faults_stop(void);

/**
 * postcopy_faults_serving: do vCPU faults come as exits from KVM, and are
 * requests sent by requests.c?
 *
 * If so, the fault thread must not pause while the stream is broken: it wakes
 * the threads whose page was placed before their fault was read.
 *
 * Context: any thread.
 */
bool postcopy_faults_serving(void);

/**
 * postcopy_faults_guarded: does postcopy_faults_place() place pages, without a
 * wake?
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
 * Counts the fault, and enters the thread into the table of waiters, or wakes
 * it if the page has arrived.  The caller requests the page.
 *
 * Context: fault thread.
 */
void postcopy_faults_userfaultfd(RAMBlock *rb, ram_addr_t offset,
                                 uint32_t ptid);

/**
 * postcopy_faults_userfaultfd_ends: stop reading faults from userfaultfd
 * @mis: the incoming migration, with userfaultfd still open
 *
 * Called when the fault thread ends, possibly on an error.  Wakes all threads
 * that wait in userfaultfd; those whose page is missing wait again.  From then
 * on, each page is placed with a wake.
 *
 * Context: fault thread.
 */
void postcopy_faults_userfaultfd_ends(MigrationIncomingState *mis);

/**
 * postcopy_faults_userfaultfd_unavailable: say why userfaultfd cannot be opened
 * @err: errno of the attempt
 * @errp: says what is missing, and what would be enough
 */
void postcopy_faults_userfaultfd_unavailable(int err, Error **errp);

/**
 * postcopy_faults_request: request a page that another thread than a vCPU needs
 * @rb: block of the page
 * @offset: of the host page in @rb
 *
 * Does not wait for the stream.  If the stream breaks, the recovery requests
 * the page again.
 *
 * Context: any thread.
 * Returns: false if KVM userfault is not in use; the caller requests the page.
 */
bool postcopy_faults_request(RAMBlock *rb, ram_addr_t offset);

/**
 * postcopy_faults_request_again: the stream is back
 *
 * Requests all pages that have been requested and have not arrived.
 *
 * Context: the thread that loads, when the state is postcopy-active again.
 */
void postcopy_faults_request_again(void);

/**
 * postcopy_faults_end: the stream of the main channel has ended
 *
 * Waits for the requested pages that are still on their way in the preempt
 * channel.
 *
 * Context: the thread that loads the main channel.
 * Returns: 0, or -EIO if that channel is broken, and pages may be lost.
 */
int postcopy_faults_end(void);

/**
 * postcopy_faults_preempt_broken: the preempt channel is broken, or migration
 * is about to be paused
 *
 * Context: any thread.
 */
void postcopy_faults_preempt_broken(void);

/**
 * postcopy_faults_place: place a page that arrived, and wake its waiters
 * @mis: the incoming migration
 * @rb: block of the page
 * @host: its first byte
 * @from: the content, or NULL for zeroes
 * @length: bytes, the host page size of the block
 * @ret: gets 0, or a negative errno, which has been reported
 *
 * Wakes the vCPUs that wait for this page, and no others.  Uses userfaultfd's
 * queue only if a thread waits there.
 *
 * Context: any thread; takes only the lock of the page's bucket.
 * Returns: false if KVM userfault is not in use; the caller places the page.
 */
bool postcopy_faults_place(MigrationIncomingState *mis, RAMBlock *rb,
                           void *host, void *from, size_t length, int *ret);

/**
 * postcopy_faults_placed: the caller has placed a page
 * @rb: block of the page
 * @host: its first byte
 * @length: bytes, the host page size of the block
 *
 * For statistics, after postcopy_faults_place() has returned false.  The page
 * is already marked in the receivedmap.
 *
 * Context: any thread; takes only the lock of the page's bucket.
 */
void postcopy_faults_placed(RAMBlock *rb, void *host, size_t length);

/**
 * postcopy_faults_fill_info: the destination's members of query-migrate
 * @info: gets postcopy-faults, if post-copy ever began here, and blocktime
 *
 * Context: BQL held.
 */
void postcopy_faults_fill_info(MigrationInfo *info);

/**
 * postcopy_faults_print: the destination's lines of "info migrate"
 * @mon: the monitor
 * @info: from query-migrate; NULL prints nothing
 */
void postcopy_faults_print(Monitor *mon, const PostcopyFaultInfo *info);

#endif
