/*
 * Post-copy destination: the capability postcopy-blocktime
 *
 * How long each vCPU waited for pages, and how long all of them did at once.
 * It is known who waits for a page, so the cost of one does not depend on how
 * many vCPUs there are.
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/util.h"
#include "qemu/atomic.h"
#include "qemu/timer.h"
#include "postcopy-blocktime.h"

typedef struct VCPUBlocktime {
    void *page;                 /* that it waits for, or NULL */
    int64_t since_ns;
    uint64_t total_ns;
} VCPUBlocktime;

static struct {
    VCPUBlocktime *vcpus;       /* by cpu_index; NULL: not measured here */
    unsigned indexes;
    unsigned nr_vcpus;          /* there may be holes */
    unsigned waiting;           /* how many of them */
    int64_t last_begin_ns;      /* when the last of them began (again) */
    uint64_t all_ns;            /* time that all waited */
} blocktime;

void postcopy_blocktime_reset(unsigned indexes, unsigned vcpus)
{
    g_free(blocktime.vcpus);
    memset(&blocktime, 0, sizeof(blocktime));
    blocktime.indexes = indexes;
    blocktime.nr_vcpus = vcpus;
    blocktime.vcpus = indexes ? g_new0(VCPUBlocktime, indexes) : NULL;
}

/* When waits began, and how many vCPUs are waiting */
typedef struct Waits {
    int64_t since_ns;           /* of one vCPU */
    int64_t last_begin_ns;      /* of any */
    unsigned waiting;
} Waits;

static Waits blocktime_waits(VCPUBlocktime *vcpu)
{
    return (Waits) {
        .since_ns = qatomic_read(&vcpu->since_ns),
        .last_begin_ns = qatomic_read(&blocktime.last_begin_ns),
        .waiting = qatomic_read(&blocktime.waiting),
    };
}

/* A vCPU that is one of those in @waits has waited until @now */
static void blocktime_add(VCPUBlocktime *vcpu, const Waits *waits, int64_t now)
{
    qatomic_add(&vcpu->total_ns, MAX(now - waits->since_ns, 0));
    if (waits->waiting == blocktime.nr_vcpus) {
        qatomic_add(&blocktime.all_ns, MAX(now - waits->last_begin_ns, 0));
    }
}

void postcopy_blocktime_begin(int cpu_index, void *page, int64_t now)
{
    VCPUBlocktime *vcpu;
    void *before;

    if ((unsigned)cpu_index >= blocktime.indexes) {
        return;
    }
    vcpu = &blocktime.vcpus[cpu_index];
    before = qatomic_xchg(&vcpu->page, NULL);
    if (before && before != page) {
        /* That page has come, but its end was not counted yet */
        Waits waits = blocktime_waits(vcpu);

        blocktime_add(vcpu, &waits, now);
    }
    qatomic_set(&vcpu->since_ns, now);
    /*
     * This is set before the vCPU counts, so that it is valid when all count.
     * If two begin at once, it may be the earlier one's.
     */
    qatomic_set(&blocktime.last_begin_ns, now);
    if (!before) {
        qatomic_inc(&blocktime.waiting);
    }
    if (qatomic_xchg(&vcpu->page, page)) {
        /* Two threads have begun for this vCPU at once: it counts only once */
        qatomic_dec(&blocktime.waiting);
    }
}

void postcopy_blocktime_end(int cpu_index, void *page, int64_t now)
{
    VCPUBlocktime *vcpu;
    Waits waits;

    if ((unsigned)cpu_index >= blocktime.indexes) {
        return;
    }
    vcpu = &blocktime.vcpus[cpu_index];
    /* First, for then the vCPU's next wait may begin at any time */
    waits = blocktime_waits(vcpu);
    if (qatomic_cmpxchg(&vcpu->page, page, NULL) != page) {
        return;
    }
    qatomic_dec(&blocktime.waiting);
    blocktime_add(vcpu, &waits, now);
}

static uint32_t ns_to_ms(uint64_t ns)
{
    return MIN(ns / SCALE_MS, UINT32_MAX);
}

void postcopy_blocktime_fill_info(MigrationInfo *info)
{
    uint32List **tail = &info->postcopy_vcpu_blocktime;

    if (!blocktime.vcpus) {
        return;
    }
    info->has_postcopy_blocktime = true;
    info->postcopy_blocktime = ns_to_ms(qatomic_read(&blocktime.all_ns));
    info->has_postcopy_vcpu_blocktime = true;
    for (unsigned i = 0; i < blocktime.indexes; i++) {
        QAPI_LIST_APPEND(tail,
                         ns_to_ms(qatomic_read(&blocktime.vcpus[i].total_ns)));
    }
}
