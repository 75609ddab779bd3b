/*
 * Post-copy destination: pages that are waited for, and by whom
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_POSTCOPY_FAULT_TABLE_H
#define MIGRATION_POSTCOPY_FAULT_TABLE_H

#include "exec/cpu-common.h"
#include "qemu/queue.h"
#include "qemu/thread.h"
#include "postcopy-fault-stats.h"

/* One thread that waits for a page */
typedef struct PostcopyFault {
    PostcopyFaultKind kind;
    int cpu_index;              /* of the vCPU whose thread met it, or -1 */
    int64_t start_ns;
    uint32_t ptid;              /* if it came through userfaultfd */
    QemuEvent *event;           /* who waits in QEMU; NULL: in the kernel */
    bool over;                  /* written under the bucket's lock */
    QLIST_ENTRY(PostcopyFault) next;
} PostcopyFault;

/* A page that is waited for, or was, and is not there yet */
typedef struct PostcopyFaultPage {
    RAMBlock *rb;
    void *host;
    bool requested;             /* stays until the page is there */
    QLIST_HEAD(, PostcopyFault) faults;
    QLIST_ENTRY(PostcopyFaultPage) next;
} PostcopyFaultPage;

typedef struct PostcopyFaultBucket {
    QemuMutex lock;
    QLIST_HEAD(, PostcopyFaultPage) pages;
} PostcopyFaultBucket;

/**
 * postcopy_fault_table_init: make the table, empty
 *
 * Context: once, before all else.
 */
void postcopy_fault_table_init(void);

/** postcopy_fault_bucket: where the page at @host is, if it is in the table */
PostcopyFaultBucket *postcopy_fault_bucket(void *host);

/**
 * postcopy_fault_page_get: find a page, or enter it
 * @bucket: of the page, locked by the caller
 * @rb: its block
 * @host: its first byte
 */
PostcopyFaultPage *postcopy_fault_page_get(PostcopyFaultBucket *bucket,
                                           RAMBlock *rb, void *host);

/**
 * postcopy_fault_table_resolve: the end of all faults of a page
 * @host: its first byte
 *
 * Wakes those who wait in QEMU, and removes the page.
 *
 * Context: any thread; takes the lock of the page's bucket.
 * Returns: whether a thread waits for it in userfaultfd, as far as its fault
 * has been read.
 */
bool postcopy_fault_table_resolve(void *host);

/**
 * postcopy_fault_leave: stop waiting
 * @bucket: of the page
 * @fault: with an event, entered into the page's list
 *
 * When it returns, nobody else uses @fault.
 *
 * Context: the thread that waited; takes the lock of @bucket.
 * Returns: whether the fault is over.
 */
bool postcopy_fault_leave(PostcopyFaultBucket *bucket, PostcopyFault *fault);

/** postcopy_fault_table_resolve_all: the end of all faults of all pages */
void postcopy_fault_table_resolve_all(void);

/**
 * postcopy_fault_table_request_all: push a request for each page that was
 * requested before
 *
 * Context: any thread; takes the locks of all buckets, one after the other.
 */
void postcopy_fault_table_request_all(void);

/**
 * postcopy_fault_table_wait_any: wait for some page that was requested
 * @fault: with an event; entered into the page's list
 *
 * Context: any thread; takes the locks of buckets, one after the other.
 * Returns: the bucket of the page, or NULL if there is none.
 */
PostcopyFaultBucket *postcopy_fault_table_wait_any(PostcopyFault *fault);

#endif
