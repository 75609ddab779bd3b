/*
 * Post-copy destination: the table of missing pages and the threads that wait
 * for them
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_POSTCOPY_WAITERS_H
#define MIGRATION_POSTCOPY_WAITERS_H

#include "exec/cpu-common.h"
#include "qemu/queue.h"
#include "qemu/thread.h"
#include "system/kvm-userfault.h"
#include "fault-stats.h"

/* A thread that waits for a page */
typedef struct PostcopyWaiter {
    PostcopyFaultKind kind;
    int cpu_index;              /* the vCPU whose thread faulted, or -1 */
    int64_t start_ns;
    uint32_t ptid;              /* if the fault came through userfaultfd */
    /* A vCPU that goes on without the page, if of that kind */
    KVMUserfaultAccepted accepted;
    QemuEvent *event;           /* if it waits in QEMU; NULL: it does not */
    bool over;                  /* written under the bucket's lock */
    QLIST_ENTRY(PostcopyWaiter) next;
} PostcopyWaiter;

/* A page that has not arrived, and that a thread waits for or has waited for */
typedef struct PostcopyPage {
    RAMBlock *rb;
    void *host;
    bool requested;             /* until the page is in place */
    QLIST_HEAD(, PostcopyWaiter) waiters;
    QLIST_ENTRY(PostcopyPage) next;
} PostcopyPage;

typedef struct PostcopyBucket {
    QemuMutex lock;
    QLIST_HEAD(, PostcopyPage) pages;
} PostcopyBucket;

/**
 * postcopy_waiters_init: allocate the table
 *
 * Context: once, before all other functions.
 */
void postcopy_waiters_init(void);

/** postcopy_waiters_bucket: the bucket of the page at @host */
PostcopyBucket *postcopy_waiters_bucket(void *host);

/**
 * postcopy_waiters_page: find a page in the table, or add it
 * @bucket: of the page, locked by the caller
 * @rb: its block
 * @host: its first byte
 */
PostcopyPage *postcopy_waiters_page(PostcopyBucket *bucket, RAMBlock *rb,
                                    void *host);

/**
 * postcopy_waiters_wake: end all faults of a page
 * @host: its first byte
 *
 * Wakes the threads that wait in QEMU, tells KVM about vCPUs that went on, and
 * removes the page.
 *
 * Context: any thread; takes the lock of the page's bucket.
 * Returns: true if a thread waits for the page in userfaultfd, and its fault
 * has been read.
 */
bool postcopy_waiters_wake(void *host);

/**
 * postcopy_waiters_leave: stop waiting
 * @bucket: of the page
 * @waiter: a waiter with an event, in the page's list
 *
 * No other thread uses @waiter after this returns.
 *
 * Context: the thread that waited; takes the lock of @bucket.
 * Returns: true if the fault is over.
 */
bool postcopy_waiters_leave(PostcopyBucket *bucket, PostcopyWaiter *waiter);

/**
 * postcopy_waiters_accept: stop waiting, as the vCPU goes on without the page
 * @bucket: of the page
 * @waiter: a waiter with an event, in the page's list
 * @accepted: the exit
 *
 * A waiter of kind POSTCOPY_FAULT_KVM_ACCEPTED takes the place of @waiter.  No
 * other thread uses @waiter after this returns.
 *
 * Context: the thread that waited; takes the lock of @bucket.
 * Returns: false if the fault is over; kvm_userfault_page_ready() is then left
 * to the caller.
 */
bool postcopy_waiters_accept(PostcopyBucket *bucket, PostcopyWaiter *waiter,
                             const KVMUserfaultAccepted *accepted);

/** postcopy_waiters_wake_all: postcopy_waiters_wake() for all pages */
void postcopy_waiters_wake_all(void);

/**
 * postcopy_waiters_request_all: push a request for every page that has been
 * requested before
 *
 * Context: any thread; takes the locks of all buckets, one after the other.
 */
void postcopy_waiters_request_all(void);

/**
 * postcopy_waiters_join_any: wait for any page that has been requested
 * @waiter: a waiter with an event; it is added to the page's list
 *
 * Context: any thread; takes the locks of buckets, one after the other.
 * Returns: the bucket of the page, or NULL if there is none.
 */
PostcopyBucket *postcopy_waiters_join_any(PostcopyWaiter *waiter);

#endif
