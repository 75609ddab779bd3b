/*
 * Post-copy destination: vCPU faults that come as exits from KVM
 *
 * A vCPU that leaves KVM for a missing page requests it from its own thread.
 * If KVM lets it, it then goes on without the page.  If not, it waits here
 * until the page is in place or the vCPU is kicked.
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "qemu/lockable.h"
#include "qemu/memalign.h"
#include "qemu/thread.h"
#include "qemu/timer.h"
#include "exec/ramblock.h"
#include "exec/target_page.h"
#include "hw/core/cpu.h"
#include "migration/ram.h"
#include "blocktime.h"
#include "faults.h"
#include "kvm-exits.h"
#include "requests.h"
#include "trace.h"
#include "waiters.h"

typedef struct PostcopyVCPU {
    QemuEvent event;            /* set at the end of the fault, and by a kick */
    PostcopyWaiter waiter;      /* in use while the vCPU waits */
    void *host;                 /* the page */
    bool requests;              /* this vCPU is the first that needs the page */
} QEMU_ALIGNED(64) PostcopyVCPU; /* shares no cache line with another vCPU */

/* By cpu_index; allocated once and never freed, as kicks come at any time */
static PostcopyVCPU *vcpus;

static bool vcpu_begin(CPUState *cpu, RAMBlock *rb, ram_addr_t offset)
{
    PostcopyVCPU *vcpu = &vcpus[cpu->cpu_index];
    PostcopyWaiter *waiter = &vcpu->waiter;
    PostcopyBucket *bucket;
    PostcopyPage *page;
    void *host;

    offset = ROUND_DOWN(offset, qemu_ram_pagesize(rb));
    host = rb->host + offset;

    if (!postcopy_faults_serving() || ramblock_page_is_discarded(rb, offset)) {
        /*
         * Leave this access to userfaultfd.  A discarded page is never sent:
         * the fault thread places a zero page, and no other thread may.
         */
        kvm_userfault_page_placed(rb, offset, qemu_ram_pagesize(rb));
        return false;
    }

    waiter->start_ns = get_clock();
    waiter->cpu_index = cpu->cpu_index;
    waiter->over = false;
    vcpu->host = host;
    bucket = postcopy_waiters_bucket(host);

    WITH_QEMU_LOCK_GUARD(&bucket->lock) {
        if (ramblock_recv_bitmap_test_byte_offset(rb, offset)) {
            /* It arrived after the exit, and its bit may still be set */
            kvm_userfault_page_placed(rb, offset, qemu_ram_pagesize(rb));
            postcopy_fault_stats_count(cpu->cpu_index,
                                       POSTCOPY_FAULT_KVM_PRESENT);
            return false;
        }
        page = postcopy_waiters_page(bucket, rb, host);
        vcpu->requests = !page->requested;
        page->requested = true;
        QLIST_INSERT_HEAD(&page->waiters, waiter, next);
    }
    postcopy_fault_stats_count(cpu->cpu_index, POSTCOPY_FAULT_KVM);
    postcopy_blocktime_begin(cpu->cpu_index, host, waiter->start_ns);
    trace_postcopy_fault_vcpu_begin(cpu->cpu_index, rb->idstr, offset,
                                    vcpu->requests);

    if (vcpu->requests) {
        postcopy_requests_push(rb, offset);
    }
    return true;
}

static void vcpu_request(CPUState *cpu)
{
    if (vcpus[cpu->cpu_index].requests) {
        postcopy_requests_send();
    }
}

static void vcpu_accepted(CPUState *cpu, const KVMUserfaultAccepted *accepted)
{
    PostcopyVCPU *vcpu = &vcpus[cpu->cpu_index];
    PostcopyWaiter *waiter = &vcpu->waiter;
    bool pending;
    int64_t now;

    /*
     * The page may have come since vcpu_begin(), unrequested or for another
     * vCPU.  Its thread has found @waiter, and does not know that KVM must be
     * told.
     */
    pending = postcopy_waiters_accept(postcopy_waiters_bucket(vcpu->host),
                                      waiter, accepted);
    now = get_clock();
    postcopy_blocktime_end(cpu->cpu_index, vcpu->host, now);
    postcopy_fault_stats_accepted(cpu->cpu_index, now - waiter->start_ns);
    if (!pending) {
        kvm_userfault_page_ready(accepted);
        postcopy_fault_stats_served(cpu->cpu_index, POSTCOPY_FAULT_KVM_ACCEPTED,
                                    now - waiter->start_ns);
    }
    trace_postcopy_fault_vcpu_accepted(cpu->cpu_index, pending);
    vcpu_request(cpu);
}

static bool vcpu_kicked(CPUState *cpu)
{
    return qatomic_read(&cpu->thread_kicked) ||
           qatomic_read(&cpu->exit_request);
}

static bool vcpu_wait(CPUState *cpu)
{
    PostcopyVCPU *vcpu = &vcpus[cpu->cpu_index];
    PostcopyWaiter *waiter = &vcpu->waiter;
    int64_t now;
    bool over;

    for (;;) {
        qemu_event_reset(&vcpu->event);
        if (qatomic_read(&waiter->over) || vcpu_kicked(cpu)) {
            break;
        }
        qemu_event_wait(&vcpu->event);
    }

    over = postcopy_waiters_leave(postcopy_waiters_bucket(vcpu->host), waiter);

    now = get_clock();
    postcopy_blocktime_end(cpu->cpu_index, vcpu->host, now);
    if (over) {
        postcopy_fault_stats_served(cpu->cpu_index, POSTCOPY_FAULT_KVM,
                                    now - waiter->start_ns);
    } else {
        postcopy_fault_stats_interrupted(cpu->cpu_index, POSTCOPY_FAULT_KVM,
                                         now - waiter->start_ns);
    }
    trace_postcopy_fault_vcpu_end(cpu->cpu_index, over);
    return over;
}

static void vcpu_kick(CPUState *cpu)
{
    qemu_event_set(&vcpus[cpu->cpu_index].event);
}

static void pages_missing(RAMBlock *rb, unsigned long *bitmap)
{
    size_t page_size = qemu_real_host_page_size();
    size_t npages = rb->postcopy_length / page_size;

    /* Plugged since precopy began: nothing of it is migrated */
    if (!npages) {
        return;
    }
    if (qemu_target_page_size() == page_size) {
        /* This is part of the downtime, so avoid a loop over single bits */
        bitmap_complement(bitmap, rb->receivedmap, npages);
        return;
    }
    for (size_t page = 0; page < npages; page++) {
        if (!ramblock_recv_bitmap_test_byte_offset(rb, page * page_size)) {
            set_bit(page, bitmap);
        }
    }
}

const KVMUserfaultOps postcopy_kvm_exits_ops = {
    .missing = pages_missing,
    .begin = vcpu_begin,
    .request = vcpu_request,
    .accepted = vcpu_accepted,
    .wait = vcpu_wait,
    .kick = vcpu_kick,
};

void postcopy_kvm_exits_init(unsigned max_cpus)
{
    vcpus = qemu_memalign(64, max_cpus * sizeof(PostcopyVCPU));
    memset(vcpus, 0, max_cpus * sizeof(PostcopyVCPU));
    for (unsigned i = 0; i < max_cpus; i++) {
        qemu_event_init(&vcpus[i].event, false);
        vcpus[i].waiter.event = &vcpus[i].event;
    }
}
