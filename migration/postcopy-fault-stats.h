/*
 * Post-copy destination: what page faults cost
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_POSTCOPY_FAULT_STATS_H
#define MIGRATION_POSTCOPY_FAULT_STATS_H

#include "qapi/qapi-types-migration.h"

typedef enum PostcopyFaultKind {
    /* A guest access left KVM_RUN with a memory-fault exit */
    POSTCOPY_FAULT_KVM,
    /* Likewise, but the page had arrived in the meantime */
    POSTCOPY_FAULT_KVM_PRESENT,
    /* A guest access came through userfaultfd, from the vCPU's thread */
    POSTCOPY_FAULT_UFFD_VCPU,
    /* Likewise, from KVM's async page fault worker; the vCPU goes on */
    POSTCOPY_FAULT_UFFD_ASYNC,
    /* From a vCPU's thread, to a page that the guest's own access exits for */
    POSTCOPY_FAULT_UFFD_VCPU_HOST,
    /* From another thread of QEMU's */
    POSTCOPY_FAULT_UFFD_OTHER,
    POSTCOPY_FAULT_KIND__MAX,
} PostcopyFaultKind;

/**
 * postcopy_fault_stats_init: make room for figures
 * @max_cpus: vCPUs that the machine may get
 *
 * Context: once, before all else.
 */
void postcopy_fault_stats_init(unsigned max_cpus);

/**
 * postcopy_fault_stats_reset: forget everything, a post-copy begins
 * @mechanism: how vCPU faults will be served
 *
 * Context: nobody counts meanwhile.
 */
void postcopy_fault_stats_reset(PostcopyFaultMechanism mechanism);

/**
 * postcopy_fault_stats_count: a fault happened
 * @cpu_index: of the vCPU whose thread met it, or -1
 * @kind: of the fault
 *
 * Any thread, no lock; so is all below.  Figures of different vCPUs share no
 * cache lines, but for the histogram of latencies, which all share.
 */
void postcopy_fault_stats_count(int cpu_index, PostcopyFaultKind kind);

/** postcopy_fault_stats_requested: a request was sent to the source */
void postcopy_fault_stats_requested(void);

/**
 * postcopy_fault_stats_served: a fault is over
 * @cpu_index: of the vCPU whose thread met it, or -1
 * @kind: of the fault
 * @ns: nanoseconds from its notice to its end
 */
void postcopy_fault_stats_served(int cpu_index, PostcopyFaultKind kind,
                                 int64_t ns);

/**
 * postcopy_fault_stats_interrupted: a vCPU stopped waiting, the page is not
 * there
 * @cpu_index: of the vCPU
 * @kind: what it waited for
 * @ns: nanoseconds that it waited
 */
void postcopy_fault_stats_interrupted(int cpu_index, PostcopyFaultKind kind,
                                      int64_t ns);

/**
 * postcopy_fault_stats_query: the figures of the last post-copy
 *
 * Returns: a new object, to be freed by the caller; NULL if there was none.
 */
PostcopyFaultInfo *postcopy_fault_stats_query(void);

#endif
