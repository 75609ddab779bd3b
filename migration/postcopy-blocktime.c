/*
 * Post-copy destination: the capability postcopy-blocktime with KVM userfault
 *
 * How long each vCPU waited for pages, and how long all of them did at once.
 * What postcopy-ram.c measures for faults that come through userfaultfd, it
 * measures by going through all vCPUs for each page that arrives; here, where
 * it is known who waits for a page, the cost does not depend on how many there
 * are.
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
    int64_t last_begin_ns;      /* when the last of them began to */
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

void postcopy_blocktime_begin(int cpu_index, void *page, int64_t now)
{
    VCPUBlocktime *vcpu;

    if ((unsigned)cpu_index >= blocktime.indexes) {
        return;
    }
    vcpu = &blocktime.vcpus[cpu_index];
    qatomic_set(&vcpu->since_ns, now);
    if (!qatomic_xchg(&vcpu->page, page)) {
        /*
         * Before it counts: who finds all waiting finds it.  Of two that begin
         * at once it may be the earlier one's.
         */
        qatomic_set(&blocktime.last_begin_ns, now);
        qatomic_inc(&blocktime.waiting);
    }
}

void postcopy_blocktime_end(int cpu_index, void *page, int64_t now)
{
    VCPUBlocktime *vcpu;
    int64_t since_ns;

    if ((unsigned)cpu_index >= blocktime.indexes) {
        return;
    }
    vcpu = &blocktime.vcpus[cpu_index];
    since_ns = qatomic_read(&vcpu->since_ns);
    if (qatomic_cmpxchg(&vcpu->page, page, NULL) != page) {
        return;
    }
    qatomic_add(&vcpu->total_ns, MAX(now - since_ns, 0));
    if (qatomic_fetch_dec(&blocktime.waiting) == blocktime.nr_vcpus) {
        int64_t all_ns = now - qatomic_read(&blocktime.last_begin_ns);

        qatomic_add(&blocktime.all_ns, MAX(all_ns, 0));
    }
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
