/*
 * Post-copy destination: what page faults cost
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/host-utils.h"
#include "qapi/qapi-types-migration.h"
#include "postcopy-fault-stats.h"

/*
 * Latencies are kept in a histogram whose buckets grow with the value: each
 * power of two is cut into SUB equal parts, so a bucket is never wider than
 * 1/SUB of what it holds.
 */
#define SUB_BITS 4
#define SUB (1 << SUB_BITS)
#define LATENCY_BUCKETS ((64 - SUB_BITS + 1) * SUB)

static struct {
    bool valid;
    PostcopyFaultMechanism mechanism;
    uint64_t count[POSTCOPY_FAULT_KIND__MAX];
    uint64_t requested;
    uint64_t vcpu_blocked_ns;
    uint64_t guest_wait_ns;
    uint64_t latency[LATENCY_BUCKETS];
} stats;

static unsigned latency_bucket(uint64_t ns)
{
    unsigned shift;

    if (ns < SUB) {
        return ns;
    }
    shift = 63 - clz64(ns) - SUB_BITS;
    return (shift << SUB_BITS) + (ns >> shift);
}

/* The largest latency that falls into @bucket */
static uint64_t latency_bucket_max(unsigned bucket)
{
    unsigned shift;

    if (bucket < SUB) {
        return bucket;
    }
    shift = (bucket >> SUB_BITS) - 1;
    return ((((uint64_t)bucket & (SUB - 1)) + SUB + 1) << shift) - 1;
}

void postcopy_fault_stats_reset(PostcopyFaultMechanism mechanism)
{
    memset(&stats, 0, sizeof(stats));
    stats.mechanism = mechanism;
    qatomic_store_release(&stats.valid, true);
}

void postcopy_fault_stats_count(PostcopyFaultKind kind)
{
    qatomic_inc(&stats.count[kind]);
}

void postcopy_fault_stats_requested(void)
{
    qatomic_inc(&stats.requested);
}

/* Waiting counts by who waited; returns false if that was not the guest */
static bool count_wait(PostcopyFaultKind kind, uint64_t ns)
{
    switch (kind) {
    case POSTCOPY_FAULT_KVM:
    case POSTCOPY_FAULT_UFFD_VCPU:
        qatomic_add(&stats.vcpu_blocked_ns, ns);
        /* fall through */
    case POSTCOPY_FAULT_UFFD_ASYNC:
        qatomic_add(&stats.guest_wait_ns, ns);
        return true;
    default:
        return false;
    }
}

void postcopy_fault_stats_served(PostcopyFaultKind kind, int64_t ns)
{
    ns = MAX(ns, 0);
    if (count_wait(kind, ns)) {
        qatomic_inc(&stats.latency[latency_bucket(ns)]);
    }
}

void postcopy_fault_stats_interrupted(PostcopyFaultKind kind, int64_t ns)
{
    count_wait(kind, MAX(ns, 0));
}

static uint64_t latency_percentile(unsigned percent)
{
    uint64_t total = 0, seen = 0, rank;

    for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
        total += qatomic_read(&stats.latency[i]);
    }
    if (!total) {
        return 0;
    }
    rank = DIV_ROUND_UP(total * percent, 100);
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
        seen += qatomic_read(&stats.latency[i]);
        if (seen >= rank) {
            return latency_bucket_max(i);
        }
    }
    return latency_bucket_max(LATENCY_BUCKETS - 1);
}

PostcopyFaultInfo *postcopy_fault_stats_query(void)
{
    PostcopyFaultInfo *info;

    if (!qatomic_load_acquire(&stats.valid)) {
        return NULL;
    }

    info = g_new0(PostcopyFaultInfo, 1);
    info->mechanism = stats.mechanism;
    info->kvm_exits = qatomic_read(&stats.count[POSTCOPY_FAULT_KVM]) +
                      qatomic_read(&stats.count[POSTCOPY_FAULT_KVM_PRESENT]);
    info->kvm_exits_present =
        qatomic_read(&stats.count[POSTCOPY_FAULT_KVM_PRESENT]);
    info->userfaultfd_vcpu =
        qatomic_read(&stats.count[POSTCOPY_FAULT_UFFD_VCPU]);
    info->userfaultfd_async =
        qatomic_read(&stats.count[POSTCOPY_FAULT_UFFD_ASYNC]);
    info->userfaultfd_vcpu_host =
        qatomic_read(&stats.count[POSTCOPY_FAULT_UFFD_VCPU_HOST]);
    info->userfaultfd_other =
        qatomic_read(&stats.count[POSTCOPY_FAULT_UFFD_OTHER]);
    info->requested = qatomic_read(&stats.requested);
    info->vcpu_blocked_ns = qatomic_read(&stats.vcpu_blocked_ns);
    info->guest_wait_ns = qatomic_read(&stats.guest_wait_ns);
    info->latency_p50_ns = latency_percentile(50);
    info->latency_p99_ns = latency_percentile(99);
    return info;
}
