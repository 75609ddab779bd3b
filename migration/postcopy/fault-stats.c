/*
 * Post-copy destination: statistics of page faults
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/util.h"
#include "qemu/atomic.h"
#include "qemu/host-utils.h"
#include "qemu/memalign.h"
#include "qapi/qapi-types-migration.h"
#include "fault-stats.h"

/*
 * Latencies below 4 ns have one step each.  From there on, each power of two
 * has four steps: step i begins at (4 + i % 4) << (i / 4 - 1) ns.
 */
#define LATENCY_STEPS (4 + 62 * 4)

/*
 * Of one vCPU, on cache lines of its own, so that its thread counts without a
 * cache miss.  Faults through userfaultfd are counted by the thread that reads
 * them, and their time by the thread that places the page.
 */
typedef struct FaultStats {
    uint64_t count[POSTCOPY_FAULT_KIND__MAX];
    uint64_t vcpu_blocked_ns;
    uint64_t guest_wait_ns;
} QEMU_ALIGNED(64) FaultStats;

static struct {
    bool valid;
    PostcopyFaultMechanism mechanism;
    /* By cpu_index; the last element is for all other threads */
    FaultStats *of;
    unsigned max_cpus;
} stats;

/* Counted by any thread, so not on a cache line that is only read */
static QEMU_ALIGNED(64) uint64_t stats_requested;

/* Of all threads: a fault takes far longer than a cache miss */
static QEMU_ALIGNED(64) uint64_t stats_latency[LATENCY_STEPS];

static FaultStats *stats_of(int cpu_index)
{
    return &stats.of[cpu_index < 0 ? stats.max_cpus : cpu_index];
}

static unsigned latency_step(uint64_t ns)
{
    unsigned shift = ns < 4 ? 0 : 61 - clz64(ns);

    return 4 * shift + (ns >> shift);
}

/* The smallest and the largest latency of a step */
static uint64_t latency_min(unsigned step)
{
    return step < 4 ? step : (4ull + step % 4) << (step / 4 - 1);
}

static uint64_t latency_max(unsigned step)
{
    return latency_min(step + 1) - 1;
}

void postcopy_fault_stats_init(unsigned max_cpus)
{
    stats.max_cpus = max_cpus;
    stats.of = qemu_memalign(64, (max_cpus + 1) * sizeof(FaultStats));
}

void postcopy_fault_stats_reset(PostcopyFaultMechanism mechanism)
{
    memset(stats.of, 0, (stats.max_cpus + 1) * sizeof(FaultStats));
    memset(stats_latency, 0, sizeof(stats_latency));
    stats_requested = 0;
    stats.mechanism = mechanism;
    qatomic_store_release(&stats.valid, true);
}

void postcopy_fault_stats_count(int cpu_index, PostcopyFaultKind kind)
{
    qatomic_inc(&stats_of(cpu_index)->count[kind]);
}

void postcopy_fault_stats_requested(void)
{
    qatomic_inc(&stats_requested);
}

/*
 * Add to the time for which a vCPU waited, whether the guest, KVM or QEMU
 * needed the page, and to that of the guest.  Returns true if the guest needed
 * it.
 */
static bool count_wait(FaultStats *of, PostcopyFaultKind kind, uint64_t ns)
{
    switch (kind) {
    case POSTCOPY_FAULT_KVM:
    case POSTCOPY_FAULT_UFFD_VCPU:
        qatomic_add(&of->vcpu_blocked_ns, ns);
        /* fall through */
    case POSTCOPY_FAULT_KVM_ACCEPTED:
    case POSTCOPY_FAULT_UFFD_ASYNC:
        qatomic_add(&of->guest_wait_ns, ns);
        return true;
    case POSTCOPY_FAULT_UFFD_VCPU_HOST:
        qatomic_add(&of->vcpu_blocked_ns, ns);
        return false;
    default:
        return false;
    }
}

void postcopy_fault_stats_served(int cpu_index, PostcopyFaultKind kind,
                                 int64_t ns)
{
    FaultStats *of = stats_of(cpu_index);

    ns = MAX(ns, 0);
    if (count_wait(of, kind, ns)) {
        qatomic_inc(&stats_latency[latency_step(ns)]);
    }
}

void postcopy_fault_stats_interrupted(int cpu_index, PostcopyFaultKind kind,
                                      int64_t ns)
{
    count_wait(stats_of(cpu_index), kind, MAX(ns, 0));
}

void postcopy_fault_stats_accepted(int cpu_index, int64_t ns)
{
    qatomic_add(&stats_of(cpu_index)->vcpu_blocked_ns, MAX(ns, 0));
    postcopy_fault_stats_count(cpu_index, POSTCOPY_FAULT_KVM_ACCEPTED);
}

/* The sum over all threads; may include half of a concurrent update */
static void stats_sum(FaultStats *sum)
{
    memset(sum, 0, sizeof(*sum));
    for (unsigned who = 0; who <= stats.max_cpus; who++) {
        FaultStats *of = &stats.of[who];

        for (unsigned i = 0; i < POSTCOPY_FAULT_KIND__MAX; i++) {
            sum->count[i] += qatomic_read(&of->count[i]);
        }
        sum->vcpu_blocked_ns += qatomic_read(&of->vcpu_blocked_ns);
        sum->guest_wait_ns += qatomic_read(&of->guest_wait_ns);
    }
}

/* Interpolates as if the latencies of a step were spread over it evenly */
static uint64_t latency_percentile(const uint64_t *latency, unsigned percent)
{
    uint64_t total = 0, seen = 0, rank;

    for (unsigned i = 0; i < LATENCY_STEPS; i++) {
        total += latency[i];
    }
    rank = DIV_ROUND_UP(total * percent, 100);
    for (unsigned i = 0; i < LATENCY_STEPS; i++) {
        if (latency[i] && seen + latency[i] >= rank) {
            double part = (double)(rank - seen) / latency[i];

            return latency_min(i) +
                   (uint64_t)(part * (latency_max(i) - latency_min(i)));
        }
        seen += latency[i];
    }
    return 0;
}

static PostcopyFaultLatencyList *latency_list(const uint64_t *latency)
{
    PostcopyFaultLatencyList *list = NULL, **tail = &list;

    for (unsigned i = 0; i < LATENCY_STEPS; i++) {
        PostcopyFaultLatency *step;

        if (!latency[i]) {
            continue;
        }
        step = g_new0(PostcopyFaultLatency, 1);
        step->max_ns = latency_max(i);
        step->count = latency[i];
        QAPI_LIST_APPEND(tail, step);
    }
    return list;
}

static PostcopyFaultVCPUList *vcpu_list(void)
{
    PostcopyFaultVCPUList *list = NULL, **tail = &list;

    for (unsigned i = 0; i < stats.max_cpus; i++) {
        FaultStats *of = &stats.of[i];
        uint64_t faults =
            qatomic_read(&of->count[POSTCOPY_FAULT_KVM]) +
            qatomic_read(&of->count[POSTCOPY_FAULT_UFFD_VCPU]) +
            qatomic_read(&of->count[POSTCOPY_FAULT_UFFD_VCPU_HOST]);
        PostcopyFaultVCPU *vcpu;

        if (!faults) {
            continue;
        }
        vcpu = g_new0(PostcopyFaultVCPU, 1);
        vcpu->cpu_index = i;
        vcpu->faults = faults;
        vcpu->blocked_ns = qatomic_read(&of->vcpu_blocked_ns);
        QAPI_LIST_APPEND(tail, vcpu);
    }
    return list;
}

PostcopyFaultInfo *postcopy_fault_stats_query(void)
{
    uint64_t latency[LATENCY_STEPS];
    PostcopyFaultInfo *info;
    FaultStats sum;

    if (!qatomic_load_acquire(&stats.valid)) {
        return NULL;
    }

    info = g_new0(PostcopyFaultInfo, 1);
    info->mechanism = stats.mechanism;
    /* Read first, so that there is no request without its fault */
    info->requested = qatomic_load_acquire(&stats_requested);
    stats_sum(&sum);
    info->kvm_exits = sum.count[POSTCOPY_FAULT_KVM] +
                      sum.count[POSTCOPY_FAULT_KVM_PRESENT];
    info->kvm_exits_present = sum.count[POSTCOPY_FAULT_KVM_PRESENT];
    info->kvm_exits_accepted = sum.count[POSTCOPY_FAULT_KVM_ACCEPTED];
    info->userfaultfd_vcpu = sum.count[POSTCOPY_FAULT_UFFD_VCPU];
    info->userfaultfd_async = sum.count[POSTCOPY_FAULT_UFFD_ASYNC];
    info->userfaultfd_vcpu_host = sum.count[POSTCOPY_FAULT_UFFD_VCPU_HOST];
    info->userfaultfd_other = sum.count[POSTCOPY_FAULT_UFFD_OTHER];
    info->vcpu_blocked_ns = sum.vcpu_blocked_ns;
    info->vcpus = vcpu_list();
    info->guest_wait_ns = sum.guest_wait_ns;
    for (unsigned i = 0; i < LATENCY_STEPS; i++) {
        latency[i] = qatomic_read(&stats_latency[i]);
    }
    info->latency_p50_ns = latency_percentile(latency, 50);
    info->latency_p99_ns = latency_percentile(latency, 99);
    info->latency = latency_list(latency);
    return info;
}

void postcopy_fault_stats_async(PostcopyFaultInfo *info, int cpu_index,
                                const KVMUserfaultAsyncStats *async)
{
    info->async_told += async->told;
    info->async_halts += async->halts;
    for (PostcopyFaultVCPUList *v = info->vcpus; v; v = v->next) {
        if (v->value->cpu_index == cpu_index) {
            v->value->blocked_ns += async->halt_ns;
            info->vcpu_blocked_ns += async->halt_ns;
        }
    }
}
