/*
 * Post-copy destination: the capability postcopy-blocktime
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_POSTCOPY_BLOCKTIME_H
#define MIGRATION_POSTCOPY_BLOCKTIME_H

#include "qapi/qapi-types-migration.h"

/**
 * postcopy_blocktime_reset: a post-copy begins
 * @indexes: measure vCPUs with a lower cpu_index; 0 measures nothing
 * @vcpus: how many of them there are; the time for which all of them waited is
 *         right only as long as none is plugged or unplugged
 *
 * Context: no thread uses the other functions.
 */
void postcopy_blocktime_reset(unsigned indexes, unsigned vcpus);

/**
 * postcopy_blocktime_begin: a vCPU begins to wait for a page
 * @cpu_index: the vCPU; ignored if it is -1 or not measured
 * @page: the page
 * @now: get_clock()
 *
 * If the vCPU still counts as waiting for another page, that wait ends now:
 * userfaultfd wakes the vCPU before postcopy_blocktime_end() is called for that
 * page.  If it counts as waiting for the same page, it was interrupted, and its
 * time so far is not counted.
 *
 * Context: any thread; takes no lock.  Not called together with
 * postcopy_blocktime_end() for the same page.
 */
void postcopy_blocktime_begin(int cpu_index, void *page, int64_t now);

/**
 * postcopy_blocktime_end: a vCPU stops waiting
 * @cpu_index: the vCPU
 * @page: the page; ignored if the vCPU waits for another one by now
 * @now: get_clock()
 *
 * Context: any thread; takes no lock.
 */
void postcopy_blocktime_end(int cpu_index, void *page, int64_t now);

/**
 * postcopy_blocktime_fill_info: blocktime's members of query-migrate
 * @info: gets postcopy-blocktime and postcopy-vcpu-blocktime, if measured, from
 *        the beginning of post-copy on
 *
 * Context: BQL held.
 */
void postcopy_blocktime_fill_info(MigrationInfo *info);

#endif
