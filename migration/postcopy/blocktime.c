/*
 * Post-copy destination: the capability postcopy-blocktime
 *
 * Measures how long each vCPU waited for pages, and how long all vCPUs waited
 * at the same time.  The table of waiters says which vCPUs wait for a page, so
 * the cost for a page does not depend on the number of vCPUs.
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/util.h"
#include "qemu/atomic.h"
#include "qemu/timer.h"
#include "blocktime.h"

typedef struct VCPUBlocktime {
    void *page;                 /* the page it waits for, or NULL */
    int64_t since_ns;
    uint64_t total_ns;
} VCPUBlocktime;

static struct {
    VCPUBlocktime *vcpus;       /* by cpu_index; NULL: not measured here */
    unsigned indexes;
    unsigned nr_vcpus;          /* fewer than @indexes if there are holes */
    unsigned waiting;           /* vCPUs that wait */
    int64_t last_begin_ns;      /* when a vCPU last began to wait */
    uint64_t all_ns;            /* time for which all vCPUs waited */
} blocktime;

void postcopy_blocktime_reset(unsigned indexes, unsigned vcpus)
{
    g_free(blocktime.vcpus);
    memset(&blocktime, 0, sizeof(blocktime));
    blocktime.indexes = indexes;
    blocktime.nr_vcpus = vcpus;
    blocktime.vcpus = indexes ? g_new0(VCPUBlocktime, indexes) : NULL;
}

/* A snapshot */
typedef struct Waits {
    int64_t since_ns;           /* when this vCPU began to wait */
    int64_t last_begin_ns;      /* when any vCPU last began to wait */
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

/* @vcpu, which counts in @waits->waiting, has waited until @now */
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
        /* That page has arrived, but the end of its wait is not counted yet */
        Waits waits = blocktime_waits(vcpu);

        blocktime_add(vcpu, &waits, now);
    }
    qatomic_set(&vcpu->since_ns, now);
    /*
     * Set before the vCPU is counted, so that it is valid when all are.  If two
     * vCPUs begin at the same time, it may be the earlier one's.
     */
    qatomic_set(&blocktime.last_begin_ns, now);
    if (!before) {
        qatomic_inc(&blocktime.waiting);
    }
    if (qatomic_xchg(&vcpu->page, page)) {
        /* Two threads began for this vCPU at the same time: count it once */
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
    /* First: after the exchange, the vCPU's next wait may begin at any time */
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
