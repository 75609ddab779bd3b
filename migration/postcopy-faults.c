/*
 * Post-copy destination: who waits for which page
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
#include "postcopy-blocktime.h"
#include "postcopy-fault-stats.h"
#include "postcopy-faults.h"
#include "postcopy-ram.h"
#include "postcopy-requests.h"
#include "qemu/userfaultfd.h"
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
 * anything but faults: not for the stream, nor for a recovery.
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

typedef struct PostcopyFault {
    PostcopyFaultKind kind;
    int cpu_index;              /* of the vCPU whose thread met it, or -1 */
    int64_t start_ns;
    uint32_t ptid;              /* if it came through userfaultfd */
    QemuEvent *event;           /* who waits in QEMU; NULL: in the kernel */
    bool over;                  /* written under the bucket's lock */
    QLIST_ENTRY(PostcopyFault) next;
} PostcopyFault;

/* A page that is waited for, or was, and is not there yet */
typedef struct PostcopyFaultPage {
    RAMBlock *rb;
    void *host;
    bool requested;             /* stays until the page is there */
    QLIST_HEAD(, PostcopyFault) faults;
    QLIST_ENTRY(PostcopyFaultPage) next;
} PostcopyFaultPage;

typedef struct PostcopyFaultBucket {
    QemuMutex lock;
    QLIST_HEAD(, PostcopyFaultPage) pages;
} PostcopyFaultBucket;

/* Enough that vCPUs seldom meet in one, few enough to walk through them all */
#define BUCKETS 1024

static PostcopyFaultBucket *buckets;

typedef struct PostcopyVCPU {
    QemuEvent event;            /* set by who ends the fault, and by a kick */
    PostcopyFault fault;        /* what it waits for now, if it does */
    void *host;                 /* the page, */
    PostcopyFaultBucket *bucket; /* and its bucket */
} PostcopyVCPU;

/* By cpu_index; made at the first start and kept, for kicks come any time */
static PostcopyVCPU *vcpus;

/* vCPU faults come as KVM exits.  Changes while no page is being placed. */
static bool kvm_guarded;

/* There is a stream to ask through.  Read under RCU. */
static bool kvm_serving;

/* Set by who ends the fault of the thread that waits for the last pages */
static QemuEvent end_event;
/* The channel that brings them ended early; also sets @end_event */
static bool preempt_broken;

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
                                         RAMBlock *rb, void *host)
{
    PostcopyFaultPage *page = fault_page_find(bucket, host);

    if (!page) {
        page = g_new0(PostcopyFaultPage, 1);
        page->rb = rb;
        page->host = host;
        QLIST_INIT(&page->faults);
        QLIST_INSERT_HEAD(&bucket->pages, page, next);
    }
    return page;
}

/*
 * The end of all faults of a page.  Returns whether one of them came through
 * userfaultfd.  With the lock of the page's bucket held.
 */
static bool fault_page_resolve(PostcopyFaultPage *page, int64_t now)
{
    PostcopyFault *fault, *tmp;
    bool userfaultfd = false;

    QLIST_FOREACH_SAFE(fault, &page->faults, next, tmp) {
        QLIST_REMOVE(fault, next);
        if (fault->event) {
            qatomic_set(&fault->over, true);
            qemu_event_set(fault->event);
        } else {
            userfaultfd = true;
            postcopy_fault_stats_served(fault->cpu_index, fault->kind,
                                        now - fault->start_ns);
            postcopy_blocktime_end(fault->cpu_index, page->host, now);
            g_free(fault);
        }
    }
    QLIST_REMOVE(page, next);
    g_free(page);
    return userfaultfd;
}

/*
 * A page is there.  Returns whether a thread waits for it in userfaultfd, as
 * far as its fault has been read.
 */
static bool fault_resolve(RAMBlock *rb, void *host, size_t length)
{
    PostcopyFaultBucket *bucket = fault_bucket(host);
    PostcopyFaultPage *page;

    kvm_userfault_page_placed(rb, (uint8_t *)host - rb->host, length);

    QEMU_LOCK_GUARD(&bucket->lock);
    page = fault_page_find(bucket, host);
    return page && fault_page_resolve(page, get_clock());
}

static void faults_resolve_all(void)
{
    PostcopyFaultPage *page, *tmp;

    for (unsigned i = 0; i < BUCKETS; i++) {
        QEMU_LOCK_GUARD(&buckets[i].lock);
        QLIST_FOREACH_SAFE(page, &buckets[i].pages, next, tmp) {
            fault_page_resolve(page, get_clock());
        }
    }
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
    if (in_userfaultfd) {
        *ret = uffd_wakeup(mis->userfault_fd, host, length);
    }
    trace_postcopy_fault_placed(rb->idstr, (uint8_t *)host - rb->host,
                                in_userfaultfd);
    return true;
}
#endif

/*
 * The vCPU whose thread this is, by its cpu_index, or -1 for other threads of
 * QEMU and those of the kernel.  Called in the thread of userfaultfd only.
 */
static int vcpu_of_thread(uint32_t ptid)
{
    static GHashTable *threads;
    static unsigned generation;
    gpointer cpu_index;
    CPUState *cpu;

    QEMU_LOCK_GUARD(&qemu_cpu_list_lock);
    if (!threads || generation != cpu_list_generation_id_get()) {
        g_clear_pointer(&threads, g_hash_table_destroy);
        threads = g_hash_table_new(NULL, NULL);
        generation = cpu_list_generation_id_get();
        CPU_FOREACH(cpu) {
            g_hash_table_insert(threads, GINT_TO_POINTER(cpu->thread_id),
                                GINT_TO_POINTER(cpu->cpu_index));
            if (!cpu->thread_id) {
                /* It has no thread yet; ask again next time */
                generation--;
            }
        }
    }
    return g_hash_table_lookup_extended(threads, GINT_TO_POINTER(ptid), NULL,
                                        &cpu_index) ?
           GPOINTER_TO_INT(cpu_index) : -1;
}

static PostcopyFaultKind fault_kind(RAMBlock *rb, ram_addr_t offset,
                                    uint32_t ptid, int cpu_index)
{
    if (!ptid) {
        return POSTCOPY_FAULT_UFFD_OTHER;
    }
    if (cpu_index >= 0) {
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

#ifdef CONFIG_LINUX
/* A fault was read after its page had been placed, maybe without a wake */
static void fault_wake_late(RAMBlock *rb, void *host)
{
    if (qatomic_read(&kvm_guarded)) {
        uffd_wakeup(migration_incoming_get_current()->userfault_fd, host,
                    qemu_ram_pagesize(rb));
    }
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
    bool late = false;
    int cpu_index;

    if (ramblock_recv_bitmap_test_byte_offset(rb, offset)) {
        fault_wake_late(rb, host);
        return;
    }
    cpu_index = ptid ? vcpu_of_thread(ptid) : -1;
    kind = fault_kind(rb, offset, ptid, cpu_index);

    WITH_QEMU_LOCK_GUARD(&bucket->lock) {
        late = ramblock_recv_bitmap_test_byte_offset(rb, offset);
        if (late) {
            break;
        }
        postcopy_fault_stats_count(cpu_index, kind);
        postcopy_blocktime_begin(cpu_index, host, now);
        trace_postcopy_fault_userfaultfd(rb->idstr, offset, ptid, kind);

        page = fault_page_get(bucket, rb, host);
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
        fault->cpu_index = cpu_index;
        fault->start_ns = now;
        fault->ptid = ptid;
        QLIST_INSERT_HEAD(&page->faults, fault, next);
    }
    if (late) {
        fault_wake_late(rb, host);
    }
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
    bucket = fault_bucket(host);
    WITH_QEMU_LOCK_GUARD(&bucket->lock) {
        if (ramblock_recv_bitmap_test_byte_offset(rb, offset)) {
            return true;
        }
        page = fault_page_get(bucket, rb, host);
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
    vcpu->bucket = fault_bucket(host);

    WITH_QEMU_LOCK_GUARD(&vcpu->bucket->lock) {
        if (ramblock_recv_bitmap_test_byte_offset(rb, offset)) {
            /* It arrived after the exit; do not wait for who clears the bit */
            kvm_userfault_page_placed(rb, offset, qemu_ram_pagesize(rb));
            postcopy_fault_stats_count(cpu->cpu_index,
                                       POSTCOPY_FAULT_KVM_PRESENT);
            return false;
        }
        page = fault_page_get(vcpu->bucket, rb, host);
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

    now = get_clock();
    postcopy_blocktime_end(cpu->cpu_index, vcpu->host, now);
    if (fault->over) {
        postcopy_fault_stats_served(cpu->cpu_index, POSTCOPY_FAULT_KVM,
                                    now - fault->start_ns);
    } else {
        postcopy_fault_stats_interrupted(cpu->cpu_index, POSTCOPY_FAULT_KVM,
                                         now - fault->start_ns);
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

/* Up to the highest cpu_index there is */
static unsigned count_vcpus(void)
{
    unsigned count = 0;
    CPUState *cpu;

    CPU_FOREACH(cpu) {
        count = MAX(count, cpu->cpu_index + 1);
    }
    return count;
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
        vcpus[i].fault.event = &vcpus[i].event;
    }
    qemu_event_init(&end_event, false);
    postcopy_fault_stats_init(max_cpus);
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
    qatomic_set(&preempt_broken, false);
    /* Of a post-copy before: a fault that was read when it was over */
    faults_resolve_all();

    postcopy_fault_stats_reset(POSTCOPY_FAULT_MECHANISM_USERFAULTFD);
    postcopy_blocktime_reset(0);
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
    if (mis->blocktime_ctx) {
        postcopy_blocktime_reset(count_vcpus());
        /* Without a context, which it frees at exit, postcopy-ram.c does not */
        mis->blocktime_ctx = NULL;
    }
    postcopy_requests_start(mis);
    qatomic_set(&kvm_guarded, true);
    qatomic_set(&kvm_serving, true);
}

void postcopy_faults_request_again(void)
{
    PostcopyFaultPage *page;

    if (!qatomic_read(&kvm_serving)) {
        return;
    }
    qatomic_set(&preempt_broken, false);
    for (unsigned i = 0; i < BUCKETS; i++) {
        QEMU_LOCK_GUARD(&buckets[i].lock);
        QLIST_FOREACH(page, &buckets[i].pages, next) {
            if (page->requested) {
                postcopy_requests_push(page->rb,
                                       (uint8_t *)page->host - page->rb->host);
            }
        }
    }
    postcopy_requests_send();
}

/* Enter @fault into the list of a page of @bucket; false: none is to come */
static bool fault_add_to_any(PostcopyFaultBucket *bucket, PostcopyFault *fault)
{
    PostcopyFaultPage *page;

    QEMU_LOCK_GUARD(&bucket->lock);
    QLIST_FOREACH(page, &bucket->pages, next) {
        if (page->requested) {
            fault->over = false;
            QLIST_INSERT_HEAD(&page->faults, fault, next);
            return true;
        }
    }
    return false;
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

    /* The lock also makes sure that whoever ended the fault is done with it */
    QEMU_LOCK_GUARD(&bucket->lock);
    if (!fault->over) {
        QLIST_REMOVE(fault, next);
    }
    return fault->over;
}

int postcopy_faults_end(void)
{
    PostcopyFault fault = { .event = &end_event };

    if (!qatomic_read(&kvm_serving) || !migrate_postcopy_preempt()) {
        return 0;
    }
    for (unsigned i = 0; i < BUCKETS; i++) {
        while (fault_add_to_any(&buckets[i], &fault)) {
            if (!fault_wait_at_end(&buckets[i], &fault)) {
                return -EIO;
            }
        }
    }
    return 0;
}

void postcopy_faults_preempt_broken(void)
{
    qatomic_set(&preempt_broken, true);
    if (buckets) {
        qemu_event_set(&end_event);
    }
}

void postcopy_faults_stop(void)
{
    if (!buckets) {
        return;
    }
    if (kvm_userfault_stop()) {
        qatomic_set(&kvm_guarded, false);
    }
    if (qatomic_read(&kvm_serving)) {
        qatomic_set(&kvm_serving, false);
        synchronize_rcu();
        postcopy_requests_stop();
    }
    faults_resolve_all();
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
    if (!migration_incoming_get_current()->blocktime_ctx) {
        /* Else postcopy-ram.c does, or is going to */
        postcopy_blocktime_fill_info(info);
    }
}
