/*
 * Post-copy destination: page faults, from the switch to the last page
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qemu/lockable.h"
#include "qemu/rcu.h"
#include "qemu/thread.h"
#include "qemu/userfaultfd.h"
#include "qapi/error.h"
#include "exec/ramblock.h"
#include "exec/target_page.h"
#include "hw/boards.h"
#include "hw/core/cpu.h"
#include "system/kvm-userfault.h"
#include "migration/migration.h"
#include "migration/options.h"
#include "migration/ram.h"
#include "blocktime.h"
#include "fault-stats.h"
#include "faults.h"
#include "kvm-exits.h"
#include "requests.h"
#include "trace.h"
#include "waiters.h"

/*
 * There are two mechanisms by which QEMU notices that a page is missing:
 *
 *   - kvm-exits.c: the vCPU leaves KVM, and its own thread requests the page.
 *     It waits for it there, or KVM accepts that it goes on.
 *   - userfaultfd.c: any other thread waits in the kernel.  The fault thread
 *     reads its fault from userfaultfd, enters it into the table, and requests
 *     the page in the same way.
 *
 * The way of a page while vCPU faults come as exits from KVM:
 *
 *   vCPU thread (fault thread)           thread that receives pages
 *   --------------------------           --------------------------
 *   bucket lock                          UFFDIO_COPY, without a wake
 *     received? then done (wake it)      receivedmap: set
 *     enter into the page's list         KVM bitmap: clear
 *   bucket unlock                        bucket lock
 *   request, if the first                  empty the page's list, wake all
 *   wait (-), or let KVM accept          bucket unlock
 *                                        one was from userfaultfd? wake there
 *                                        some were accepted? tell KVM
 *
 * Either the vCPU sees the page in the receivedmap, or the receiver finds the
 * vCPU in the list: both look with the bucket locked, and the receiver sets
 * the receivedmap first.  Once KVM has accepted an exit, the vCPU enters that
 * into the list in its own place.  If the page came before, the vCPU tells KVM.
 *
 * A fault in userfaultfd is read sooner or later.  Whichever comes second,
 * reading the fault or placing its page, wakes the thread.  So the fault thread
 * must wait for nothing but faults: not for the stream, and not for a recovery.
 * (There is one exception, as upstream: it waits for a recovery if it cannot
 * place the zero page of a discarded page.)  If it ends on an error, pages are
 * placed with a wake from then on.
 *
 * A recovery repeats the requests of all pages in the table.  With
 * postcopy-preempt, post-copy ends only when they have arrived.
 *
 * Lock order: a bucket's lock is a leaf; no lock is taken under it.  Requests
 * are sent with no bucket locked, see requests.c.
 *
 * The end: vCPUs may be on their way here when the last page has arrived.
 * Until it waits, a vCPU is in an RCU read section, and first checks whether
 * faults are still served.  postcopy_faults_stop() lets those that passed the
 * check finish before it frees what they use.
 *
 * Without KVM userfault, upstream's code places and requests pages, and faults
 * are only recorded here, so that both mechanisms are measured alike.
 */

/*
 * vCPU faults come as exits from KVM.  Constant while a page is being placed.
 */
static bool kvm_guarded;

/* The fault thread reads userfaultfd, and wakes threads whose page is there */
static bool userfaultfd_read;

/* There is a stream for requests.  Read under RCU. */
static bool kvm_serving;

/* Wakes the thread that waits for the last pages in postcopy_faults_end() */
static QemuEvent end_event;

/* The channel of those pages has ended early.  Set before @end_event is. */
static bool preempt_broken;

static bool initialized;

bool postcopy_faults_guarded(void)
{
    return qatomic_read(&kvm_guarded);
}

bool postcopy_faults_serving(void)
{
    return qatomic_read(&kvm_serving);
}

/* A page is in place, and marked in the receivedmap */
static bool fault_resolve(RAMBlock *rb, void *host, size_t length)
{
    kvm_userfault_page_placed(rb, (uint8_t *)host - rb->host, length);
    return postcopy_waiters_wake(host);
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

    /* The call reports an error; go on with the other blocks */
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
     * that wait for it, or postcopy_faults_place() sees the flag and wakes
     * them.  The full barriers on both sides ensure that one of the two does.
     */
    qatomic_set_mb(&userfaultfd_read, false);
    foreach_not_ignored_block(wake_block, mis);
}
#endif

bool postcopy_faults_request(RAMBlock *rb, ram_addr_t offset)
{
    void *host = rb->host + offset;
    PostcopyBucket *bucket;
    PostcopyPage *page;

    RCU_READ_LOCK_GUARD();
    if (!qatomic_read(&kvm_serving)) {
        return false;
    }
    bucket = postcopy_waiters_bucket(host);
    WITH_QEMU_LOCK_GUARD(&bucket->lock) {
        if (ramblock_recv_bitmap_test_byte_offset(rb, offset)) {
            return true;
        }
        page = postcopy_waiters_page(bucket, rb, host);
        if (page->requested) {
            return true;
        }
        page->requested = true;
        postcopy_requests_push(rb, offset);
    }
    postcopy_requests_send();
    return true;
}

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

    if (initialized) {
        return;
    }
    postcopy_kvm_exits_init(max_cpus);
    qemu_event_init(&end_event, false);
    postcopy_fault_stats_init(max_cpus);
    postcopy_waiters_init();
    initialized = true;
}

void postcopy_faults_start(MigrationIncomingState *mis)
{
    g_autoptr(GPtrArray) blocks = g_ptr_array_new();
    Error *err = NULL;

    faults_init_once();
    qatomic_set(&preempt_broken, false);
    /* Faults left over from an earlier post-copy: read after it had ended */
    postcopy_waiters_wake_all();

    postcopy_fault_stats_reset(POSTCOPY_FAULT_MECHANISM_USERFAULTFD);
    faults_blocktime_reset();
    if (!migrate_postcopy_kvm_userfault()) {
        return;
    }

    foreach_not_ignored_block(collect_block, blocks);
    if (!kvm_userfault_start(blocks, &postcopy_kvm_exits_ops,
                             migrate_postcopy_async_pf(), &err)) {
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
    postcopy_waiters_request_all();
    postcopy_requests_send();
}

/* Returns true when the page is there, false if its channel has broken */
static bool wait_at_end(PostcopyBucket *bucket, PostcopyWaiter *waiter)
{
    for (;;) {
        qemu_event_reset(waiter->event);
        if (qatomic_read(&waiter->over) || qatomic_read(&preempt_broken)) {
            break;
        }
        qemu_event_wait(waiter->event);
    }

    return postcopy_waiters_leave(bucket, waiter);
}

int postcopy_faults_end(void)
{
    PostcopyWaiter waiter = { .event = &end_event };
    PostcopyBucket *bucket;

    if (!qatomic_read(&kvm_serving) || !migrate_postcopy_preempt()) {
        return 0;
    }
    while ((bucket = postcopy_waiters_join_any(&waiter))) {
        if (!wait_at_end(bucket, &waiter)) {
            return -EIO;
        }
    }
    return 0;
}

void postcopy_faults_preempt_broken(void)
{
    qatomic_set(&preempt_broken, true);
    if (initialized) {
        qemu_event_set(&end_event);
    }
}

void postcopy_faults_stop(void)
{
    if (!initialized) {
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
    postcopy_waiters_wake_all();
}

void postcopy_faults_fill_info(MigrationInfo *info)
{
    KVMUserfaultAsyncStats async;
    CPUState *cpu;

    info->postcopy_faults = postcopy_fault_stats_query();
    if (info->postcopy_faults) {
        CPU_FOREACH(cpu) {
            kvm_userfault_async_stats(cpu, &async);
            postcopy_fault_stats_async(info->postcopy_faults, cpu->cpu_index,
                                       &async);
        }
    }
    postcopy_blocktime_fill_info(info);
}
