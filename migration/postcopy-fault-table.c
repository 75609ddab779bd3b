/*
 * Post-copy destination: pages that are waited for, and by whom
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "qemu/timer.h"
#include "exec/ramblock.h"
#include "postcopy-blocktime.h"
#include "postcopy-fault-table.h"
#include "postcopy-requests.h"

/* Enough that vCPUs seldom meet in one, few enough to walk through them all */
#define BUCKETS 1024

static PostcopyFaultBucket *buckets;

PostcopyFaultBucket *postcopy_fault_bucket(void *host)
{
    uint64_t page = (uintptr_t)host / qemu_real_host_page_size();

    /* Spread neighbours, and pages that are huge page sizes apart, alike */
    return &buckets[(page * 0x9e3779b97f4a7c15ull) >> (64 - ctz32(BUCKETS))];
}

/* With the lock of @bucket held */
static PostcopyFaultPage *fault_page_find(PostcopyFaultBucket *bucket,
                                          void *host)
{
    PostcopyFaultPage *page;

    QLIST_FOREACH(page, &bucket->pages, next) {
        if (page->host == host) {
            return page;
        }
    }
    return NULL;
}

PostcopyFaultPage *postcopy_fault_page_get(PostcopyFaultBucket *bucket,
                                           RAMBlock *rb, void *host)
{
    PostcopyFaultPage *page = fault_page_find(bucket, host);

    if (!page) {
        page = g_new0(PostcopyFaultPage, 1);
        page->rb = rb;
        page->host = host;
        QLIST_INIT(&page->faults);
        QLIST_INSERT_HEAD(&bucket->pages, page, next);
    }
    return page;
}

/*
 * The end of all faults of a page.  Returns whether one of them came through
 * userfaultfd.  With the lock of the page's bucket held.
 */
static bool fault_page_resolve(PostcopyFaultPage *page, int64_t now)
{
    PostcopyFault *fault, *tmp;
    bool userfaultfd = false;

    QLIST_FOREACH_SAFE(fault, &page->faults, next, tmp) {
        QLIST_REMOVE(fault, next);
        if (fault->event) {
            qatomic_set(&fault->over, true);
            qemu_event_set(fault->event);
        } else {
            userfaultfd = true;
            postcopy_fault_stats_served(fault->cpu_index, fault->kind,
                                        now - fault->start_ns);
            postcopy_blocktime_end(fault->cpu_index, page->host, now);
            g_free(fault);
        }
    }
    QLIST_REMOVE(page, next);
    g_free(page);
    return userfaultfd;
}

bool postcopy_fault_table_resolve(void *host)
{
    PostcopyFaultBucket *bucket = postcopy_fault_bucket(host);
    PostcopyFaultPage *page;

    QEMU_LOCK_GUARD(&bucket->lock);
    page = fault_page_find(bucket, host);
    return page && fault_page_resolve(page, get_clock());
}

bool postcopy_fault_leave(PostcopyFaultBucket *bucket, PostcopyFault *fault)
{
    /* The lock also makes sure that whoever ended the fault is done with it */
    QEMU_LOCK_GUARD(&bucket->lock);
    if (!fault->over) {
        QLIST_REMOVE(fault, next);
    }
    return fault->over;
}

void postcopy_fault_table_resolve_all(void)
{
    PostcopyFaultPage *page, *tmp;

    for (unsigned i = 0; i < BUCKETS; i++) {
        QEMU_LOCK_GUARD(&buckets[i].lock);
        QLIST_FOREACH_SAFE(page, &buckets[i].pages, next, tmp) {
            fault_page_resolve(page, get_clock());
        }
    }
}

void postcopy_fault_table_request_all(void)
{
    PostcopyFaultPage *page;

    for (unsigned i = 0; i < BUCKETS; i++) {
        QEMU_LOCK_GUARD(&buckets[i].lock);
        QLIST_FOREACH(page, &buckets[i].pages, next) {
            if (page->requested) {
                postcopy_requests_push(page->rb,
                                       (uint8_t *)page->host - page->rb->host);
            }
        }
    }
}

PostcopyFaultBucket *postcopy_fault_table_wait_any(PostcopyFault *fault)
{
    PostcopyFaultPage *page;

    for (unsigned i = 0; i < BUCKETS; i++) {
        QEMU_LOCK_GUARD(&buckets[i].lock);
        QLIST_FOREACH(page, &buckets[i].pages, next) {
            if (page->requested) {
                fault->over = false;
                QLIST_INSERT_HEAD(&page->faults, fault, next);
                return &buckets[i];
            }
        }
    }
    return NULL;
}

void postcopy_fault_table_init(void)
{
    buckets = g_new0(PostcopyFaultBucket, BUCKETS);
    for (unsigned i = 0; i < BUCKETS; i++) {
        qemu_mutex_init(&buckets[i].lock);
        QLIST_INIT(&buckets[i].pages);
    }
}
