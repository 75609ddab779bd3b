/*
 * Post-copy destination: statistics of page faults
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_POSTCOPY_FAULT_STATS_H
#define MIGRATION_POSTCOPY_FAULT_STATS_H

#include "qapi/qapi-types-migration.h"
#include "system/kvm-userfault.h"

typedef enum PostcopyFaultKind {
    /* A guest access caused an exit from KVM */
    POSTCOPY_FAULT_KVM,
    /* Likewise, but the page has arrived in the meantime */
    POSTCOPY_FAULT_KVM_PRESENT,
    /* Likewise, and the vCPU goes on; counts as POSTCOPY_FAULT_KVM, too */
    POSTCOPY_FAULT_KVM_ACCEPTED,
    /* Through userfaultfd, from a vCPU's thread, where KVM does not exit */
    POSTCOPY_FAULT_UFFD_VCPU,
    /* Through userfaultfd, from KVM's async page fault worker */
    POSTCOPY_FAULT_UFFD_ASYNC,
    /* Through userfaultfd, from a vCPU's thread, where KVM does exit */
    POSTCOPY_FAULT_UFFD_VCPU_HOST,
    /* Through userfaultfd, from another thread of QEMU */
    POSTCOPY_FAULT_UFFD_OTHER,
    POSTCOPY_FAULT_KIND__MAX,
} PostcopyFaultKind;

/**
 * postcopy_fault_stats_init: allocate the statistics
 * @max_cpus: vCPUs that the machine may get
 *
 * Context: once, before all other functions.
 */
void postcopy_fault_stats_init(unsigned max_cpus);

/**
 * postcopy_fault_stats_reset: a post-copy begins: start from 0
 * @mechanism: how vCPU faults will be served
 *
 * Context: no thread counts.
 */
void postcopy_fault_stats_reset(PostcopyFaultMechanism mechanism);

/**
 * postcopy_fault_stats_count: a fault happened
 * @cpu_index: the vCPU whose thread faulted, or -1
 * @kind: of the fault
 *
 * Context: any thread, no lock; so for all functions below.  Statistics of
 * different vCPUs share no cache lines, except the histogram of latencies.
 */
void postcopy_fault_stats_count(int cpu_index, PostcopyFaultKind kind);

/** postcopy_fault_stats_requested: a request was sent to the source */
void postcopy_fault_stats_requested(void);

/**
 * postcopy_fault_stats_served: a fault is over
 * @cpu_index: the vCPU whose thread faulted, or -1
 * @kind: of the fault
 * @ns: nanoseconds from when QEMU noticed it to its end
 */
void postcopy_fault_stats_served(int cpu_index, PostcopyFaultKind kind,
                                 int64_t ns);

/**
 * postcopy_fault_stats_interrupted: a vCPU stopped waiting without the page
 * @cpu_index: the vCPU
 * @kind: of the fault
 * @ns: nanoseconds for which it waited
 */
void postcopy_fault_stats_interrupted(int cpu_index, PostcopyFaultKind kind,
                                      int64_t ns);

/**
 * postcopy_fault_stats_accepted: a vCPU goes on without the page
 * @cpu_index: the vCPU
 * @ns: nanoseconds for which its thread was held up before
 *
 * Counts the fault as POSTCOPY_FAULT_KVM_ACCEPTED.
 */
void postcopy_fault_stats_accepted(int cpu_index, int64_t ns);

/**
 * postcopy_fault_stats_async: add what KVM did with accepted faults
 * @info: from postcopy_fault_stats_query()
 * @cpu_index: the vCPU
 * @async: of this vCPU
 *
 * The time for which KVM halted the vCPU counts as blocked.
 */
void postcopy_fault_stats_async(PostcopyFaultInfo *info, int cpu_index,
                                const KVMUserfaultAsyncStats *async);

/**
 * postcopy_fault_stats_query: the statistics of the last post-copy
 *
 * Returns: a new object, which the caller frees; NULL if there was no
 * post-copy.
 */
PostcopyFaultInfo *postcopy_fault_stats_query(void);

#endif
