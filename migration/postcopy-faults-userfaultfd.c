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
#include "exec/ramblock.h"
#include "hw/core/cpu.h"
#include "system/kvm-userfault.h"
#include "migration.h"
#include "postcopy-blocktime.h"
#include "postcopy-fault-table.h"
#include "postcopy-faults.h"
#include "ram.h"
#include "trace.h"

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
    /* Signal 0: does this process have such a thread? */
    if (syscall(SYS_tgkill, getpid(), ptid, 0) == 0) {
        return POSTCOPY_FAULT_UFFD_OTHER;
    }
    return POSTCOPY_FAULT_UFFD_ASYNC;
}

/* A fault was read after its page had been placed, maybe without a wake */
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
    PostcopyFaultBucket *bucket = postcopy_fault_bucket(host);
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

        page = postcopy_fault_page_get(bucket, rb, host);
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
