/*
 * Post-copy destination: the table of missing pages and the threads that wait
 * for them
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "qemu/timer.h"
#include "exec/ramblock.h"
#include "blocktime.h"
#include "requests.h"
#include "waiters.h"

/* Enough that two vCPUs seldom share one, and few enough to walk them all */
#define BUCKETS 1024

static PostcopyBucket *buckets;

PostcopyBucket *postcopy_waiters_bucket(void *host)
{
    uint64_t page = (uintptr_t)host / qemu_real_host_page_size();

    /* Spreads both adjacent pages and pages a huge page apart */
    return &buckets[(page * 0x9e3779b97f4a7c15ull) >> (64 - ctz32(BUCKETS))];
}

/* Called with the lock of @bucket held */
static PostcopyPage *page_find(PostcopyBucket *bucket, void *host)
{
    PostcopyPage *page;

    QLIST_FOREACH(page, &bucket->pages, next) {
        if (page->host == host) {
            return page;
        }
    }
    return NULL;
}

PostcopyPage *postcopy_waiters_page(PostcopyBucket *bucket, RAMBlock *rb,
                                    void *host)
{
    PostcopyPage *page = page_find(bucket, host);

    if (!page) {
        page = g_new0(PostcopyPage, 1);
        page->rb = rb;
        page->host = host;
        QLIST_INIT(&page->waiters);
        QLIST_INSERT_HEAD(&bucket->pages, page, next);
    }
    return page;
}

/*
 * End the faults of a page, except for those that KVM has accepted, and take
 * the page out of the table, for page_ready().  Returns true if one of them
 * came through userfaultfd.  Called with the lock of the page's bucket held.
 */
static bool page_wake(PostcopyPage *page, int64_t now)
{
    PostcopyWaiter *waiter, *tmp;
    bool userfaultfd = false;

    QLIST_FOREACH_SAFE(waiter, &page->waiters, next, tmp) {
        if (waiter->kind == POSTCOPY_FAULT_KVM_ACCEPTED) {
            continue;
        }
        QLIST_REMOVE(waiter, next);
        if (waiter->event) {
            qatomic_set(&waiter->over, true);
            qemu_event_set(waiter->event);
        } else {
            userfaultfd = true;
            postcopy_fault_stats_served(waiter->cpu_index, waiter->kind,
                                        now - waiter->start_ns);
            postcopy_blocktime_end(waiter->cpu_index, page->host, now);
            g_free(waiter);
        }
    }
    QLIST_REMOVE(page, next);
    return userfaultfd;
}

/*
 * End the faults that KVM has accepted, and free the page.  Called without a
 * lock: no other thread knows the page any more.
 */
static void page_ready(PostcopyPage *page, int64_t now)
{
    PostcopyWaiter *waiter, *tmp;

    QLIST_FOREACH_SAFE(waiter, &page->waiters, next, tmp) {
        kvm_userfault_page_ready(&waiter->accepted);
        postcopy_fault_stats_served(waiter->cpu_index, waiter->kind,
                                    now - waiter->start_ns);
        g_free(waiter);
    }
    g_free(page);
}

bool postcopy_waiters_wake(void *host)
{
    PostcopyBucket *bucket = postcopy_waiters_bucket(host);
    PostcopyPage *page;
    bool userfaultfd;
    int64_t now;

    WITH_QEMU_LOCK_GUARD(&bucket->lock) {
        page = page_find(bucket, host);
        if (!page) {
            return false;
        }
        now = get_clock();
        userfaultfd = page_wake(page, now);
    }
    page_ready(page, now);
    return userfaultfd;
}

bool postcopy_waiters_leave(PostcopyBucket *bucket, PostcopyWaiter *waiter)
{
    /* The thread that ends the fault uses @waiter only under this lock */
    QEMU_LOCK_GUARD(&bucket->lock);
    if (!waiter->over) {
        QLIST_REMOVE(waiter, next);
    }
    return waiter->over;
}

bool postcopy_waiters_accept(PostcopyBucket *bucket, PostcopyWaiter *waiter,
                             const KVMUserfaultAccepted *accepted)
{
    PostcopyWaiter *instead = g_new0(PostcopyWaiter, 1);

    instead->kind = POSTCOPY_FAULT_KVM_ACCEPTED;
    instead->cpu_index = waiter->cpu_index;
    instead->start_ns = waiter->start_ns;
    instead->accepted = *accepted;

    WITH_QEMU_LOCK_GUARD(&bucket->lock) {
        if (!waiter->over) {
            QLIST_INSERT_AFTER(waiter, instead, next);
            QLIST_REMOVE(waiter, next);
            return true;
        }
    }
    g_free(instead);
    return false;
}

/* The first byte of any page of @bucket, or NULL */
static void *bucket_any(PostcopyBucket *bucket)
{
    QEMU_LOCK_GUARD(&bucket->lock);
    return QLIST_EMPTY(&bucket->pages) ? NULL
                                       : QLIST_FIRST(&bucket->pages)->host;
}

void postcopy_waiters_wake_all(void)
{
    void *host;

    for (unsigned i = 0; i < BUCKETS; i++) {
        while ((host = bucket_any(&buckets[i]))) {
            postcopy_waiters_wake(host);
        }
    }
}

void postcopy_waiters_request_all(void)
{
    PostcopyPage *page;

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

PostcopyBucket *postcopy_waiters_join_any(PostcopyWaiter *waiter)
{
    PostcopyPage *page;

    for (unsigned i = 0; i < BUCKETS; i++) {
        QEMU_LOCK_GUARD(&buckets[i].lock);
        QLIST_FOREACH(page, &buckets[i].pages, next) {
            if (page->requested) {
                waiter->over = false;
                QLIST_INSERT_HEAD(&page->waiters, waiter, next);
                return &buckets[i];
            }
        }
    }
    return NULL;
}

void postcopy_waiters_init(void)
{
    buckets = g_new0(PostcopyBucket, BUCKETS);
    for (unsigned i = 0; i < BUCKETS; i++) {
        qemu_mutex_init(&buckets[i].lock);
        QLIST_INIT(&buckets[i].pages);
    }
}
