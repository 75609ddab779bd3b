/*
 * Post-copy destination: who waits for which page
 *
 * A vCPU that leaves KVM for a missing page asks the source for it from its
 * own thread and waits here.  Faults that come through userfaultfd wait in
 * the kernel and are only noted here, to measure both alike.
 *
 * The way of a page:
 *
 *   vCPU thread                          thread that receives pages
 *   -----------                          --------------------------
 *   bucket lock                          UFFDIO_COPY
 *     received? then done                receivedmap: set
 *     enter into the page's list         KVM bitmap: clear
 *   bucket unlock                        bucket lock
 *   request, if the first                  take the page's list, wake all
 *   wait                                 bucket unlock
 *
 * Either the vCPU sees the page in the receivedmap, or the receiver finds the
 * vCPU in the list: both look only with the bucket locked, and the receiver
 * sets the receivedmap before.
 *
 * Lock order: a bucket's lock is a leaf; nothing else is taken under it.  A
 * request takes page_request_mutex of the incoming state, and when it has let
 * go of that, rp_mutex: there is one list of what a recovery has to ask for
 * again, and one stream to ask through.  (A recovery holds page_request_mutex
 * while it takes rp_mutex; never the other way round.)
 *
 * The end, or a break: vCPUs may be on their way into here when the last page
 * has come, or when the stream breaks.  Until one waits it is in an RCU read
 * section, and looks first whether faults are still served, and before it
 * sends, whether there is a stream; postcopy_faults_stop() and
 * postcopy_faults_paused() let those that found so finish, before what they
 * use goes away.
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#ifdef CONFIG_LINUX
#include <sys/syscall.h>
#endif
#include "qemu/error-report.h"
#include "qemu/bitmap.h"
#include "qemu/lockable.h"
#include "qemu/queue.h"
#include "qemu/rcu.h"
#include "qemu/thread.h"
#include "qemu/timer.h"
#include "qapi/error.h"
#include "exec/ramblock.h"
#include "exec/target_page.h"
#include "hw/boards.h"
#include "hw/core/cpu.h"
#include "system/kvm-userfault.h"
#include "migration.h"
#include "options.h"
#include "postcopy-fault-stats.h"
#include "postcopy-faults.h"
#include "postcopy-ram.h"
#include "ram.h"
#include "trace.h"

typedef struct PostcopyFault {
    PostcopyFaultKind kind;
    int64_t start_ns;
    uint32_t ptid;              /* if it came through userfaultfd */
    QemuEvent *event;           /* who waits in QEMU; NULL: in the kernel */
    bool over;                  /* written under the bucket's lock */
    QLIST_ENTRY(PostcopyFault) next;
} PostcopyFault;

/* A page that was asked for and is not there yet */
typedef struct PostcopyFaultPage {
    void *host;
    bool requested;             /* by a vCPU */
    QLIST_HEAD(, PostcopyFault) faults;
    QLIST_ENTRY(PostcopyFaultPage) next;
} PostcopyFaultPage;

typedef struct PostcopyFaultBucket {
    QemuMutex lock;
    QLIST_HEAD(, PostcopyFaultPage) pages;
} PostcopyFaultBucket;

/* Enough that vCPUs seldom meet in one, few enough to be walked at the end */
#define BUCKETS 1024

static PostcopyFaultBucket *buckets;

typedef struct PostcopyVCPU {
    QemuEvent event;            /* set by who ends the fault, and by a kick */
    PostcopyFault fault;        /* what it waits for now, if it does */
    PostcopyFaultBucket *bucket;
} PostcopyVCPU;

/* By cpu_index; made at the first start and kept, for kicks come any time */
static PostcopyVCPU *vcpus;

/* vCPU faults come as KVM exits; several threads send requests */
static bool kvm_guarded;

/* The incoming state is there to serve them.  Read under RCU. */
static bool kvm_serving;

static PostcopyFaultBucket *fault_bucket(void *host)
{
    uint64_t page = (uintptr_t)host / qemu_real_host_page_size();

    /* Spread neighbours, and pages that are huge page sizes apart, alike */
    return &buckets[(page * 0x9e3779b97f4a7c15ull) >> (64 - ctz32(BUCKETS))];
}

/* With the lock of @bucket held */
static PostcopyFaultPage *fault_page_find(PostcopyFaultBucket *bucket,
                                          void *host)
{
    PostcopyFaultPage *page;

    QLIST_FOREACH(page, &bucket->pages, next) {
        if (page->host == host) {
            return page;
        }
    }
    return NULL;
}

/* With the lock of @bucket held */
static PostcopyFaultPage *fault_page_get(PostcopyFaultBucket *bucket,
                                         void *host)
{
    PostcopyFaultPage *page = fault_page_find(bucket, host);

    if (!page) {
        page = g_new0(PostcopyFaultPage, 1);
        page->host = host;
        QLIST_INIT(&page->faults);
        QLIST_INSERT_HEAD(&bucket->pages, page, next);
    }
    return page;
}

/* With the lock of the page's bucket held: the end of all its faults */
static void fault_page_resolve(PostcopyFaultPage *page, int64_t now)
{
    PostcopyFault *fault, *tmp;

    QLIST_FOREACH_SAFE(fault, &page->faults, next, tmp) {
        QLIST_REMOVE(fault, next);
        if (fault->event) {
            qatomic_set(&fault->over, true);
            qemu_event_set(fault->event);
        } else {
            postcopy_fault_stats_served(fault->kind, now - fault->start_ns);
            g_free(fault);
        }
    }
    QLIST_REMOVE(page, next);
    g_free(page);
}

void postcopy_faults_placed(RAMBlock *rb, void *host, size_t length)
{
    PostcopyFaultBucket *bucket;
    PostcopyFaultPage *page;

    kvm_userfault_page_placed(rb, (uint8_t *)host - rb->host, length);

    bucket = fault_bucket(host);
    WITH_QEMU_LOCK_GUARD(&bucket->lock) {
        page = fault_page_find(bucket, host);
        if (page) {
            fault_page_resolve(page, get_clock());
        }
    }
}

/* False for other threads of QEMU and for those of the kernel */
static bool fault_is_vcpu(uint32_t ptid)
{
    CPUState *cpu;
    bool found = false;

    cpu_list_lock();
    CPU_FOREACH(cpu) {
        if (cpu->thread_id == ptid) {
            found = true;
            break;
        }
    }
    cpu_list_unlock();
    return found;
}

static PostcopyFaultKind fault_kind(RAMBlock *rb, ram_addr_t offset,
                                    uint32_t ptid)
{
    if (!ptid) {
        return POSTCOPY_FAULT_UFFD_OTHER;
    }
    if (fault_is_vcpu(ptid)) {
        /*
         * A guest's access to a guarded page exits from KVM and never comes
         * here: what does is an access of KVM's own or of QEMU's.
         */
        return kvm_userfault_guarded(rb, offset) ?
               POSTCOPY_FAULT_UFFD_VCPU_HOST : POSTCOPY_FAULT_UFFD_VCPU;
    }
#ifdef CONFIG_LINUX
    /* Signal 0: does this process have such a thread? */
    if (syscall(SYS_tgkill, getpid(), ptid, 0) == 0) {
        return POSTCOPY_FAULT_UFFD_OTHER;
    }
#endif
    return POSTCOPY_FAULT_UFFD_ASYNC;
}

void postcopy_faults_userfaultfd(RAMBlock *rb, ram_addr_t offset,
                                 uint32_t ptid)
{
    void *host = rb->host + offset;
    PostcopyFaultBucket *bucket = fault_bucket(host);
    int64_t now = get_clock();
    PostcopyFaultKind kind;
    PostcopyFaultPage *page;
    PostcopyFault *fault;

    if (ramblock_recv_bitmap_test_byte_offset(rb, offset)) {
        /* It arrived after the fault; who waited has been woken */
        return;
    }
    kind = fault_kind(rb, offset, ptid);

    QEMU_LOCK_GUARD(&bucket->lock);
    if (ramblock_recv_bitmap_test_byte_offset(rb, offset)) {
        return;
    }
    postcopy_fault_stats_count(kind);
    trace_postcopy_fault_userfaultfd(rb->idstr, offset, ptid, kind);

    page = fault_page_get(bucket, host);
    QLIST_FOREACH(fault, &page->faults, next) {
        if (fault->ptid && fault->ptid == ptid) {
            /*
             * It was interrupted in the kernel, and is back.  How long it
             * waited before nobody knows: the VM may have been stopped.
             */
            fault->start_ns = now;
            return;
        }
    }
    fault = g_new0(PostcopyFault, 1);
    fault->kind = kind;
    fault->start_ns = now;
    fault->ptid = ptid;
    QLIST_INSERT_HEAD(&page->faults, fault, next);
}

/*
 * Ask for a page from a vCPU's thread.
 *
 * The page is noted as requested first, and the state looked at second: while
 * the stream is broken nothing is sent, and the recovery, which makes the
 * state active before it sends again all that is noted, takes care of it.
 * Called in an RCU read section, see postcopy_faults_paused().
 */
static void fault_request(MigrationIncomingState *mis, RAMBlock *rb,
                          ram_addr_t offset, void *host)
{
    WITH_QEMU_LOCK_GUARD(&mis->page_request_mutex) {
        if (ramblock_recv_bitmap_test_byte_offset(rb, offset)) {
            return;
        }
        if (!g_tree_lookup(mis->page_requested, host)) {
            g_tree_insert(mis->page_requested, host, (gpointer)1);
            qatomic_inc(&mis->page_requested_count);
        }
    }
    if (qatomic_read(&mis->state) == MIGRATION_STATUS_POSTCOPY_ACTIVE) {
        migrate_send_rp_message_req_pages(mis, rb, offset);
    }
}

static void fault_blocktime_begin(CPUState *cpu, RAMBlock *rb, void *host)
{
#ifdef CONFIG_LINUX
    mark_postcopy_blocktime_begin((uintptr_t)host, cpu->thread_id, rb);
#endif
}

static bool postcopy_vcpu_begin(CPUState *cpu, RAMBlock *rb, ram_addr_t offset)
{
    PostcopyVCPU *vcpu = &vcpus[cpu->cpu_index];
    PostcopyFault *fault = &vcpu->fault;
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

    fault->kind = POSTCOPY_FAULT_KVM;
    fault->start_ns = get_clock();
    fault->event = &vcpu->event;
    fault->over = false;
    vcpu->bucket = fault_bucket(host);

    WITH_QEMU_LOCK_GUARD(&vcpu->bucket->lock) {
        if (ramblock_recv_bitmap_test_byte_offset(rb, offset)) {
            /* It arrived after the exit; do not wait for who clears the bit */
            kvm_userfault_page_placed(rb, offset, qemu_ram_pagesize(rb));
            postcopy_fault_stats_count(POSTCOPY_FAULT_KVM_PRESENT);
            return false;
        }
        page = fault_page_get(vcpu->bucket, host);
        first = !page->requested;
        page->requested = true;
        QLIST_INSERT_HEAD(&page->faults, fault, next);
    }
    postcopy_fault_stats_count(fault->kind);
    trace_postcopy_fault_vcpu_begin(cpu->cpu_index, rb->idstr, offset, first);
    fault_blocktime_begin(cpu, rb, host);

    if (first) {
        fault_request(migration_incoming_get_current(), rb, offset, host);
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
    int64_t waited;

    for (;;) {
        qemu_event_reset(&vcpu->event);
        if (qatomic_read(&fault->over) || vcpu_kicked(cpu)) {
            break;
        }
        qemu_event_wait(&vcpu->event);
    }

    /* The lock also makes sure that whoever ended the fault is done with it */
    WITH_QEMU_LOCK_GUARD(&vcpu->bucket->lock) {
        if (!fault->over) {
            QLIST_REMOVE(fault, next);
        }
    }

    waited = get_clock() - fault->start_ns;
    if (fault->over) {
        postcopy_fault_stats_served(fault->kind, waited);
    } else {
        postcopy_fault_stats_interrupted(fault->kind, waited);
    }
    trace_postcopy_fault_vcpu_end(cpu->cpu_index, fault->over);
    return fault->over;
}

static void postcopy_vcpu_kick(CPUState *cpu)
{
    qemu_event_set(&vcpus[cpu->cpu_index].event);
}

static void postcopy_pages_missing(RAMBlock *rb, unsigned long *bitmap)
{
    size_t page_size = qemu_real_host_page_size();
    size_t npages = rb->postcopy_length / page_size;

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

static void faults_init_once(void)
{
    unsigned max_cpus = MACHINE(qdev_get_machine())->smp.max_cpus;

    if (buckets) {
        return;
    }
    vcpus = g_new0(PostcopyVCPU, max_cpus);
    for (unsigned i = 0; i < max_cpus; i++) {
        qemu_event_init(&vcpus[i].event, false);
    }
    buckets = g_new0(PostcopyFaultBucket, BUCKETS);
    for (unsigned i = 0; i < BUCKETS; i++) {
        qemu_mutex_init(&buckets[i].lock);
        QLIST_INIT(&buckets[i].pages);
    }
}

void postcopy_faults_start(MigrationIncomingState *mis)
{
    g_autoptr(GPtrArray) blocks = g_ptr_array_new();
    Error *err = NULL;

    faults_init_once();

    postcopy_fault_stats_reset(POSTCOPY_FAULT_MECHANISM_USERFAULTFD);
    if (!migrate_get_current()->
        capabilities[MIGRATION_CAPABILITY_POSTCOPY_KVM_USERFAULT]) {
        return;
    }

    foreach_not_ignored_block(collect_block, blocks);
    if (!kvm_userfault_start(blocks, &postcopy_userfault_ops, &err)) {
        warn_reportf_err(err, "vCPU page faults go through userfaultfd: ");
        return;
    }
    postcopy_fault_stats_reset(POSTCOPY_FAULT_MECHANISM_KVM_USERFAULT);
    qatomic_set(&kvm_guarded, true);
    qatomic_set(&kvm_serving, true);
}

void postcopy_faults_paused(void)
{
    /* No vCPU sends by what it read of the state before */
    if (qatomic_read(&kvm_serving)) {
        synchronize_rcu();
    }
}

void postcopy_faults_stop(void)
{
    PostcopyFaultPage *page, *tmp;

    if (!buckets) {
        return;
    }
    if (kvm_userfault_stop()) {
        qatomic_set(&kvm_guarded, false);
    }
    if (qatomic_read(&kvm_serving)) {
        qatomic_set(&kvm_serving, false);
        synchronize_rcu();
    }

    for (unsigned i = 0; i < BUCKETS; i++) {
        QEMU_LOCK_GUARD(&buckets[i].lock);
        QLIST_FOREACH_SAFE(page, &buckets[i].pages, next, tmp) {
            fault_page_resolve(page, get_clock());
        }
    }
}

void postcopy_faults_requested(void)
{
    postcopy_fault_stats_requested();
}

bool postcopy_faults_concurrent(void)
{
    return qatomic_read(&kvm_guarded);
}

void postcopy_faults_fill_info(MigrationInfo *info)
{
    info->postcopy_faults = postcopy_fault_stats_query();
}
