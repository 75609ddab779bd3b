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
 * @indexes: measure for vCPUs with a cpu_index below that; 0: measure nothing
 * @vcpus: how many of them there are; the time that all of them waited is
 *         right only as long as none is plugged in between or unplugged
 *
 * Context: nobody uses the other functions meanwhile.
 */
void postcopy_blocktime_reset(unsigned indexes, unsigned vcpus);

/**
 * postcopy_blocktime_begin: a vCPU begins to wait for a page
 * @cpu_index: the vCPU; ignored if it is -1 or beyond those measured
 * @page: what it waits for
 * @now: get_clock()
 *
 * If it has waited for another page, it did so until now: userfaultfd wakes the
 * vCPU before postcopy_blocktime_end() is called for that page.  If it has
 * waited for the same page, it was interrupted, and its time so far does not
 * count.
 *
 * Context: any thread; takes no lock.  Not called together with
 * postcopy_blocktime_end() for the same page.
 */
void postcopy_blocktime_begin(int cpu_index, void *page, int64_t now);

/**
 * postcopy_blocktime_end: it waits no more
 * @cpu_index: the vCPU
 * @page: what it waited for; ignored if that is something else by now
 * @now: get_clock()
 *
 * Context: any thread; takes no lock.
 */
void postcopy_blocktime_end(int cpu_index, void *page, int64_t now);

/**
 * postcopy_blocktime_fill_info: for query-migrate
 * @info: gets the members postcopy-blocktime and postcopy-vcpu-blocktime if
 *        they were measured: from the beginning of post-copy on
 *
 * Context: BQL held.
 */
void postcopy_blocktime_fill_info(MigrationInfo *info);

#endif
