/*
 * Post-copy destination: faults that come through userfaultfd
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/syscall.h>
#include "qemu/lockable.h"
#include "qemu/timer.h"
#include "qemu/userfaultfd.h"
#include "qapi/error.h"
#include "exec/ramblock.h"
#include "hw/core/cpu.h"
#include "migration/migration.h"
#include "migration/ram.h"
#include "system/kvm-userfault.h"
#include "blocktime.h"
#include "faults.h"
#include "trace.h"
#include "waiters.h"

#define UFFD_DEVICE "/dev/userfaultfd"

/*
 * KVM and devices in the kernel access guest memory, so userfaultfd must also
 * serve faults of the kernel, which needs one of three permissions.
 */
void postcopy_faults_userfaultfd_unavailable(int err, Error **errp)
{
    if (err != EPERM) {
        error_setg_errno(errp, err, "Userfaultfd not available");
        return;
    }
    error_setg(errp, "Userfaultfd not available: %s. Each of these allows it,"
               " unless a seccomp filter or a user namespace is in the way:"
               " access to " UFFD_DEVICE " (now: %s), CAP_SYS_PTRACE, or sysctl"
               " vm.unprivileged_userfaultfd=1", strerror(err),
               access(UFFD_DEVICE, R_OK | W_OK) ? strerror(errno) : "granted");
}

/*
 * Returns the cpu_index of the vCPU whose thread this is, or -1 for QEMU's
 * other threads and those of the kernel.  Called in the fault thread only.
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
                /* It has no thread yet: build the table again next time */
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
         * A guest access to a guarded page exits from KVM and never comes here,
         * so this is an access of KVM or of QEMU.
         */
        return kvm_userfault_guarded(rb, offset) ?
               POSTCOPY_FAULT_UFFD_VCPU_HOST : POSTCOPY_FAULT_UFFD_VCPU;
    }
    /* Signal 0: does this process have such a thread? */
    if (syscall(SYS_tgkill, getpid(), ptid, 0) == 0) {
        return POSTCOPY_FAULT_UFFD_OTHER;
    }
    return POSTCOPY_FAULT_UFFD_ASYNC;
}

/* The fault was read after its page was placed, possibly without a wake */
static void fault_wake_late(RAMBlock *rb, void *host)
{
    if (postcopy_faults_guarded()) {
        uffd_wakeup(migration_incoming_get_current()->userfault_fd, host,
                    qemu_ram_pagesize(rb));
    }
}

void postcopy_faults_userfaultfd(RAMBlock *rb, ram_addr_t offset,
                                 uint32_t ptid)
{
    void *host = rb->host + offset;
    PostcopyBucket *bucket = postcopy_waiters_bucket(host);
    int64_t now = get_clock();
    PostcopyFaultKind kind;
    PostcopyPage *page;
    PostcopyWaiter *waiter;
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

        page = postcopy_waiters_page(bucket, rb, host);
        QLIST_FOREACH(waiter, &page->waiters, next) {
            if (waiter->ptid && waiter->ptid == ptid) {
                /*
                 * It was interrupted in the kernel, and is back.  Its earlier
                 * wait has an unknown length: the VM may have been stopped.
                 */
                waiter->start_ns = now;
                return;
            }
        }
        waiter = g_new0(PostcopyWaiter, 1);
        waiter->kind = kind;
        waiter->cpu_index = cpu_index;
        waiter->start_ns = now;
        waiter->ptid = ptid;
        QLIST_INSERT_HEAD(&page->waiters, waiter, next);
    }
    if (late) {
        fault_wake_late(rb, host);
    }
}
