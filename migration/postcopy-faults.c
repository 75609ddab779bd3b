/*
 * Post-copy destination: who waits for which page
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qemu/bitmap.h"
#include "qemu/lockable.h"
#include "qemu/memalign.h"
#include "qemu/rcu.h"
#include "qemu/thread.h"
#include "qemu/timer.h"
#include "qemu/userfaultfd.h"
#include "qapi/error.h"
#include "exec/ramblock.h"
#include "exec/target_page.h"
#include "hw/boards.h"
#include "hw/core/cpu.h"
#include "system/kvm-userfault.h"
#include "migration.h"
#include "options.h"
#include "postcopy-blocktime.h"
#include "postcopy-fault-stats.h"
#include "postcopy-fault-table.h"
#include "postcopy-faults.h"
#include "postcopy-ram.h"
#include "postcopy-requests.h"
#include "ram.h"
#include "trace.h"

/*
 * A vCPU that leaves KVM for a missing page asks the source for it from its
 * own thread and waits here.  Faults that come through userfaultfd wait in
 * the kernel; the thread that reads them enters them here, and asks for them
 * in the same way.
 *
 * The way of a page while vCPU faults come from KVM:
 *
 *   vCPU thread (fault thread)           thread that receives pages
 *   --------------------------           --------------------------
 *   bucket lock                          UFFDIO_COPY, without a wake
 *     received? then done (wake it)      receivedmap: set
 *     enter into the page's list         KVM bitmap: clear
 *   bucket unlock                        bucket lock
 *   request, if the first                  take the page's list, wake all
 *   wait (-)                             bucket unlock
 *                                        one was from userfaultfd? wake there
 *
 * Either the vCPU sees the page in the receivedmap, or the receiver finds the
 * vCPU in the list: both look only with the bucket locked, and the receiver
 * sets the receivedmap before.  Likewise for a fault in userfaultfd: it is
 * read, sooner or later, and whoever is second, the one who reads it or the
 * one who places its page, wakes it.  So the fault thread must not wait for
 * anything but faults: not for the stream, nor for a recovery.  (As upstream's,
 * it waits for one if it cannot place the zero page of a discarded page.)  Should
 * it end on an error, pages are placed with a wake from then on.
 *
 * The lists are also what a recovery asks for again, and what has to come
 * before post-copy with preemption may end.
 *
 * Lock order: a bucket's lock is a leaf; nothing else is taken under it.
 * Requests are sent with none held, see postcopy-requests.c.
 *
 * The end: vCPUs may be on their way into here when the last page has come.
 * Until one waits it is in an RCU read section, and looks first whether faults
 * are still served; postcopy_faults_stop() lets those that found so finish,
 * before what they use goes away.
 *
 * Where KVM userfault is not in use, placing and asking are upstream's part,
 * and faults are only noted here, to measure both alike.
 */

typedef struct PostcopyVCPU {
    QemuEvent event;            /* set by who ends the fault, and by a kick */
    PostcopyFault fault;        /* what it waits for now, if it does */
    void *host;                 /* the page */
} QEMU_ALIGNED(64) PostcopyVCPU; /* no line of it is a neighbour's, too */

/* By cpu_index; made at the first start and kept, for kicks come any time */
static PostcopyVCPU *vcpus;

/* vCPU faults come as KVM exits.  Changes while no page is being placed. */
static bool kvm_guarded;

/* The fault thread reads userfaultfd, and wakes threads whose page is there */
static bool userfaultfd_read;

/* There is a stream to ask through.  Read under RCU. */
static bool kvm_serving;

/* Set by who ends the fault of the thread that waits for the last pages */
static QemuEvent end_event;
/* The channel that brings them ended early; also sets @end_event */
static bool preempt_broken;

bool postcopy_faults_guarded(void)
{
    return qatomic_read(&kvm_guarded);
}

/* A page is there, and the receivedmap says so */
static bool fault_resolve(RAMBlock *rb, void *host, size_t length)
{
    kvm_userfault_page_placed(rb, (uint8_t *)host - rb->host, length);
    return postcopy_fault_table_resolve(host);
}

void postcopy_faults_placed(RAMBlock *rb, void *host, size_t length)
{
    fault_resolve(rb, host, length);
}

#ifdef CONFIG_LINUX
bool postcopy_faults_place(MigrationIncomingState *mis, RAMBlock *rb,
                           void *host, void *from, size_t length, int *ret)
{
    bool in_userfaultfd;

    if (!qatomic_read(&kvm_guarded)) {
        return false;
    }

    *ret = from ? uffd_copy_page(mis->userfault_fd, host, from, length, true)
                : uffd_zero_page(mis->userfault_fd, host, length, true);
    if (*ret) {
        return true;
    }
    ramblock_recv_bitmap_set_range(rb, host, length / qemu_target_page_size());
    in_userfaultfd = fault_resolve(rb, host, length);
    smp_mb(); /* see postcopy_faults_userfaultfd_ends() */
    if (in_userfaultfd || !qatomic_read(&userfaultfd_read)) {
        *ret = uffd_wakeup(mis->userfault_fd, host, length);
    }
    trace_postcopy_fault_placed(rb->idstr, (uint8_t *)host - rb->host,
                                in_userfaultfd);
    return true;
}

static int wake_block(RAMBlock *rb, void *opaque)
{
    MigrationIncomingState *mis = opaque;

    /* An error, which the call reports, must not end the walk */
    if (rb->postcopy_length) {
        uffd_wakeup(mis->userfault_fd, rb->host, rb->postcopy_length);
    }
    return 0;
}

void postcopy_faults_userfaultfd_ends(MigrationIncomingState *mis)
{
    if (!qatomic_read(&kvm_guarded)) {
        return;
    }
    /*
     * While a page is being placed, either the wake below finds the threads
     * that wait for it, or postcopy_faults_place() sees the flag, and wakes
     * them.  With a full barrier on both sides, one of the two does.
     */
    qatomic_set_mb(&userfaultfd_read, false);
    foreach_not_ignored_block(wake_block, mis);
}
#endif

bool postcopy_faults_request(RAMBlock *rb, ram_addr_t offset)
{
    void *host = rb->host + offset;
    PostcopyFaultBucket *bucket;
    PostcopyFaultPage *page;

    RCU_READ_LOCK_GUARD();
    if (!qatomic_read(&kvm_serving)) {
        return false;
    }
    bucket = postcopy_fault_bucket(host);
    WITH_QEMU_LOCK_GUARD(&bucket->lock) {
        if (ramblock_recv_bitmap_test_byte_offset(rb, offset)) {
            return true;
        }
        page = postcopy_fault_page_get(bucket, rb, host);
        if (page->requested) {
            return true;
        }
        page->requested = true;
        postcopy_requests_push(rb, offset);
    }
    postcopy_requests_send();
    return true;
}

static bool postcopy_vcpu_begin(CPUState *cpu, RAMBlock *rb, ram_addr_t offset)
{
    PostcopyVCPU *vcpu = &vcpus[cpu->cpu_index];
    PostcopyFault *fault = &vcpu->fault;
    PostcopyFaultBucket *bucket;
    PostcopyFaultPage *page;
    void *host;
    bool first;

    offset = ROUND_DOWN(offset, qemu_ram_pagesize(rb));
    host = rb->host + offset;

    if (!qatomic_read(&kvm_serving) || ramblock_page_is_discarded(rb, offset)) {
        /*
         * Let userfaultfd have this access.  A discarded page is never sent:
         * the thread of userfaultfd places a page of zeroes, and must be the
         * only one that does.
         */
        kvm_userfault_page_placed(rb, offset, qemu_ram_pagesize(rb));
        return false;
    }

    fault->start_ns = get_clock();
    fault->over = false;
    vcpu->host = host;
    bucket = postcopy_fault_bucket(host);

    WITH_QEMU_LOCK_GUARD(&bucket->lock) {
        if (ramblock_recv_bitmap_test_byte_offset(rb, offset)) {
            /* It arrived after the exit; do not wait for who clears the bit */
            kvm_userfault_page_placed(rb, offset, qemu_ram_pagesize(rb));
            postcopy_fault_stats_count(cpu->cpu_index,
                                       POSTCOPY_FAULT_KVM_PRESENT);
            return false;
        }
        page = postcopy_fault_page_get(bucket, rb, host);
        first = !page->requested;
        page->requested = true;
        QLIST_INSERT_HEAD(&page->faults, fault, next);
    }
    postcopy_fault_stats_count(cpu->cpu_index, POSTCOPY_FAULT_KVM);
    postcopy_blocktime_begin(cpu->cpu_index, host, fault->start_ns);
    trace_postcopy_fault_vcpu_begin(cpu->cpu_index, rb->idstr, offset, first);

    if (first) {
        postcopy_requests_push(rb, offset);
        postcopy_requests_send();
    }
    return true;
}

static bool vcpu_kicked(CPUState *cpu)
{
    return qatomic_read(&cpu->thread_kicked) ||
           qatomic_read(&cpu->exit_request);
}

static bool postcopy_vcpu_wait(CPUState *cpu)
{
    PostcopyVCPU *vcpu = &vcpus[cpu->cpu_index];
    PostcopyFault *fault = &vcpu->fault;
    int64_t now;
    bool over;

    for (;;) {
        qemu_event_reset(&vcpu->event);
        if (qatomic_read(&fault->over) || vcpu_kicked(cpu)) {
            break;
        }
        qemu_event_wait(&vcpu->event);
    }

    over = postcopy_fault_leave(postcopy_fault_bucket(vcpu->host), fault);

    now = get_clock();
    postcopy_blocktime_end(cpu->cpu_index, vcpu->host, now);
    if (over) {
        postcopy_fault_stats_served(cpu->cpu_index, POSTCOPY_FAULT_KVM,
                                    now - fault->start_ns);
    } else {
        postcopy_fault_stats_interrupted(cpu->cpu_index, POSTCOPY_FAULT_KVM,
                                         now - fault->start_ns);
    }
    trace_postcopy_fault_vcpu_end(cpu->cpu_index, over);
    return over;
}

static void postcopy_vcpu_kick(CPUState *cpu)
{
    qemu_event_set(&vcpus[cpu->cpu_index].event);
}

static void postcopy_pages_missing(RAMBlock *rb, unsigned long *bitmap)
{
    size_t page_size = qemu_real_host_page_size();
    size_t npages = rb->postcopy_length / page_size;

    /* Plugged since precopy began: nothing of it is migrated */
    if (!npages) {
        return;
    }
    if (qemu_target_page_size() == page_size) {
        /* The source is stopped meanwhile: do not go through single bits */
        bitmap_complement(bitmap, rb->receivedmap, npages);
        return;
    }
    for (size_t page = 0; page < npages; page++) {
        if (!ramblock_recv_bitmap_test_byte_offset(rb, page * page_size)) {
            set_bit(page, bitmap);
        }
    }
}

static const KVMUserfaultOps postcopy_userfault_ops = {
    .missing = postcopy_pages_missing,
    .begin = postcopy_vcpu_begin,
    .wait = postcopy_vcpu_wait,
    .kick = postcopy_vcpu_kick,
};

static int collect_block(RAMBlock *rb, void *opaque)
{
    g_ptr_array_add(opaque, rb);
    return 0;
}

static void faults_blocktime_reset(void)
{
    unsigned indexes = 0, count = 0;
    CPUState *cpu;

    if (migrate_postcopy_blocktime()) {
        CPU_FOREACH(cpu) {
            indexes = MAX(indexes, cpu->cpu_index + 1);
            count++;
        }
    }
    postcopy_blocktime_reset(indexes, count);
}

static void faults_init_once(void)
{
    unsigned max_cpus = MACHINE(qdev_get_machine())->smp.max_cpus;

    if (vcpus) {
        return;
    }
    vcpus = qemu_memalign(64, max_cpus * sizeof(PostcopyVCPU));
    memset(vcpus, 0, max_cpus * sizeof(PostcopyVCPU));
    for (unsigned i = 0; i < max_cpus; i++) {
        qemu_event_init(&vcpus[i].event, false);
        vcpus[i].fault.event = &vcpus[i].event;
    }
    qemu_event_init(&end_event, false);
    postcopy_fault_stats_init(max_cpus);
    postcopy_fault_table_init();
}

void postcopy_faults_start(MigrationIncomingState *mis)
{
    g_autoptr(GPtrArray) blocks = g_ptr_array_new();
    Error *err = NULL;

    faults_init_once();
    qatomic_set(&preempt_broken, false);
    /* Of a post-copy before: a fault that was read when it was over */
    postcopy_fault_table_resolve_all();

    postcopy_fault_stats_reset(POSTCOPY_FAULT_MECHANISM_USERFAULTFD);
    faults_blocktime_reset();
    if (!postcopy_kvm_userfault_get()) {
        return;
    }

    foreach_not_ignored_block(collect_block, blocks);
    if (!kvm_userfault_start(blocks, &postcopy_userfault_ops, &err)) {
        warn_reportf_err(err, "vCPU page faults go through userfaultfd: ");
        return;
    }
    postcopy_fault_stats_reset(POSTCOPY_FAULT_MECHANISM_KVM_USERFAULT);
    postcopy_requests_start(mis);
    qatomic_set(&userfaultfd_read, true);
    qatomic_set(&kvm_guarded, true);
    qatomic_set(&kvm_serving, true);
}

void postcopy_faults_request_again(void)
{
    if (!qatomic_read(&kvm_serving)) {
        return;
    }
    qatomic_set(&preempt_broken, false);
    postcopy_fault_table_request_all();
    postcopy_requests_send();
}

/* Wait for the page of @fault, or the end of its channel; true: it is there */
static bool fault_wait_at_end(PostcopyFaultBucket *bucket, PostcopyFault *fault)
{
    for (;;) {
        qemu_event_reset(fault->event);
        if (qatomic_read(&fault->over) || qatomic_read(&preempt_broken)) {
            break;
        }
        qemu_event_wait(fault->event);
    }

    return postcopy_fault_leave(bucket, fault);
}

int postcopy_faults_end(void)
{
    PostcopyFault fault = { .event = &end_event };
    PostcopyFaultBucket *bucket;

    if (!qatomic_read(&kvm_serving) || !migrate_postcopy_preempt()) {
        return 0;
    }
    while ((bucket = postcopy_fault_table_wait_any(&fault))) {
        if (!fault_wait_at_end(bucket, &fault)) {
            return -EIO;
        }
    }
    return 0;
}

void postcopy_faults_preempt_broken(void)
{
    qatomic_set(&preempt_broken, true);
    if (vcpus) {
        qemu_event_set(&end_event);
    }
}

void postcopy_faults_stop(void)
{
    if (!vcpus) {
        return;
    }
    if (qatomic_read(&kvm_serving)) {
        qatomic_set(&kvm_serving, false);
        synchronize_rcu();
        postcopy_requests_stop();
    }
    if (kvm_userfault_stop()) {
        qatomic_set(&kvm_guarded, false);
    }
    postcopy_fault_table_resolve_all();
}

void postcopy_faults_requested(void)
{
    postcopy_fault_stats_requested();
}

bool postcopy_faults_serving(void)
{
    return qatomic_read(&kvm_serving);
}

void postcopy_faults_fill_info(MigrationInfo *info)
{
    info->postcopy_faults = postcopy_fault_stats_query();
    postcopy_blocktime_fill_info(info);
}
