/*
 * KVM userfault: bitmaps of missing pages for memslots, and exits for them
 *
 * While post-copy runs, each migrated RAMBlock has a bitmap with one bit for
 * each host page, which is set while the page is missing.  A memslot that maps
 * the block gives KVM its part of that bitmap.  So one atomic operation clears
 * the bit of a page for all slots that map it, in all address spaces.
 *
 * KVM requires that the bitmap of a slot begins with an unsigned long.
 * Sections of guest memory are cut into slots accordingly, whether or not
 * there is a migration: see kvm_userfault_cut().  Some slots still begin in
 * the middle of a word: the pages before a cut, sections of less than two
 * words, and memory of devices.  These have no bitmap.  Accesses to their
 * pages go to userfaultfd, as KVM's own accesses do, and the bits of these
 * pages are clear.
 *
 * Bits only change from set to clear, in any order.
 *
 * Lock order: BQL, kml_slots_lock.  The page path, kvm_userfault_handle_exit()
 * and kvm_userfault_page_placed(), takes no lock; it reads under RCU.
 *
 * Follows the interface of KVM_MEM_USERFAULT as posted on the KVM list.
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "qemu/lockable.h"
#include "qemu/main-loop.h"
#include "qemu/rcu.h"
#include "qapi/error.h"
#include "exec/address-spaces.h"
#include "exec/memory.h"
#include "exec/ramblock.h"
#include "hw/qdev-core.h"
#include "system/cpus.h"
#include "system/kvm.h"
#include "system/kvm_int.h"
#include "system/kvm-userfault.h"
#include "kvm-region-batch.h"
#include "kvm-userfault.h"
#include "kvm-userfault-async.h"
#include "trace.h"

typedef struct UserfaultBlock {
    RAMBlock *rb;
    unsigned long *bitmap;
    size_t npages;
} UserfaultBlock;

typedef struct UserfaultState {
    struct rcu_head rcu;
    GHashTable *blocks;         /* RAMBlock -> UserfaultBlock; constant */
    UserfaultBlock *last;       /* of these, found last: mostly found again */
} UserfaultState;

/*
 * Set while memory is guarded.  Read under RCU or kml_slots_lock.  Written
 * under kml_slots_lock by kvm_userfault_start() and _stop(), which never run
 * at the same time.
 */
static UserfaultState *userfault;

/* Memslots get no bitmap any more.  Under kml_slots_lock. */
static bool userfault_ending;

/*
 * Of the last start.  Never reset to NULL: vCPUs that left KVM just before the
 * end still use it, and so do kicks.
 */
static const KVMUserfaultOps *userfault_ops;

static size_t userfault_page(ram_addr_t offset)
{
    return offset / qemu_real_host_page_size();
}

static UserfaultBlock *userfault_block(UserfaultState *state, RAMBlock *rb)
{
    UserfaultBlock *block;

    if (!state) {
        return NULL;
    }
    block = qatomic_read(&state->last);
    if (!block || block->rb != rb) {
        block = g_hash_table_lookup(state->blocks, rb);
        if (block) {
            qatomic_set(&state->last, block);
        }
    }
    return block;
}

/*
 * Clears the bits in any order, but after all earlier writes: the caller has
 * made the pages visible.  Both ways are sequentially consistent.  Pairs with
 * KVM, which reads the bitmap before the page.
 */
static void userfault_clear_bits(unsigned long *bitmap, size_t first,
                                 size_t npages)
{
    if (npages == 1) {
        clear_bit_atomic(first, bitmap);
    } else {
        bitmap_test_and_clear_atomic(bitmap, first, npages);
    }
}

/* Called with kml_slots_lock held */
static bool host_has_userfault(void)
{
    static int has = -1;

    if (has < 0) {
        has = kvm_check_extension(kvm_state, KVM_CAP_USERFAULT) > 0;
    }
    return has;
}

/* A memslot with guest_memfd gets no bitmap, so a cut would be of no use */
static bool userfault_cuts(MemoryRegion *mr)
{
    return host_has_userfault() && !memory_region_has_guest_memfd(mr) &&
           !object_dynamic_cast(mr->owner, TYPE_DEVICE);
}

hwaddr kvm_userfault_cut(const MemoryRegionSection *section, hwaddr start,
                         hwaddr size)
{
    hwaddr word = BITS_PER_LONG * qemu_real_host_page_size();
    hwaddr offset = start - section->offset_within_address_space +
                    section->offset_within_region;
    hwaddr head = ROUND_UP(offset, word) - offset;

    if (!head || size < head + word || !userfault_cuts(section->mr)) {
        return size;
    }
    return head;
}

bool kvm_userfault_set_region(struct kvm_userspace_memory_region2 *region,
                              uint64_t size)
{
    size_t first, npages = userfault_page(size);
    UserfaultBlock *block;
    ram_addr_t offset;
    RAMBlock *rb;

    region->flags &= ~KVM_MEM_USERFAULT;
    region->userfault_bitmap = 0;

    if (!userfault || userfault_ending || !size ||
        (region->flags & KVM_MEM_GUEST_MEMFD)) {
        return false;
    }

    RCU_READ_LOCK_GUARD();
    rb = qemu_ram_block_from_host((void *)(uintptr_t)region->userspace_addr,
                                  false, &offset);
    block = rb ? userfault_block(userfault, rb) : NULL;
    if (!block) {
        return false;
    }
    first = userfault_page(offset);
    assert(first + npages <= block->npages);

    if (first % BITS_PER_LONG) {
        /* From now on, accesses to these pages exit through no slot */
        userfault_clear_bits(block->bitmap, first, npages);
        return false;
    }
    region->flags |= KVM_MEM_USERFAULT;
    region->userfault_bitmap = (uintptr_t)(block->bitmap + BIT_WORD(first));
    return true;
}

/*
 * Set all memslots again.  Does so in one step for each address space if the
 * kernel supports that; otherwise one by one, also after an error.  Returns the
 * first error.  Called with kml_slots_lock held.
 */
static int userfault_update_slots(void)
{
    int first_error = 0;

    for (int i = 0; i < kvm_state->nr_as; i++) {
        KVMMemoryListener *kml = kvm_state->as[i].ml;
        KVMSlot *slot;
        int ret;

        if (!kml) {
            continue;
        }
        kvm_region_batch_begin(kml);
        KVM_SLOTS_FOREACH(slot, &kml->slots) {
            kvm_set_user_memory_region(kml, slot, false);
        }
        ret = kvm_region_batch_end(kml, false);
        first_error = first_error ?: ret;
    }
    return first_error;
}

static void userfault_block_free(gpointer opaque)
{
    UserfaultBlock *block = opaque;

    memory_region_unref(block->rb->mr);
    g_free(block->bitmap);
    g_free(block);
}

static UserfaultBlock *userfault_block_new(RAMBlock *rb,
                                           const KVMUserfaultOps *ops)
{
    size_t page_size = qemu_real_host_page_size();
    UserfaultBlock *block = g_new0(UserfaultBlock, 1);

    /* The block may grow up to its maximum length; new pages are not missing */
    memory_region_ref(rb->mr);
    block->rb = rb;
    block->npages = DIV_ROUND_UP(rb->max_length, page_size);
    block->bitmap = bitmap_new(block->npages);
    ops->missing(rb, block->bitmap);
    if (trace_event_get_state_backends(TRACE_KVM_USERFAULT_BLOCK)) {
        trace_kvm_userfault_block(rb->idstr, block->npages,
                                  bitmap_count_one(block->bitmap,
                                                   block->npages));
    }
    return block;
}

static void userfault_state_free(UserfaultState *state)
{
    g_hash_table_destroy(state->blocks);
    g_free(state);
}

bool kvm_userfault_start(const GPtrArray *blocks, const KVMUserfaultOps *ops,
                         bool async, Error **errp)
{
    UserfaultState *state;
    int ret;

    if (!kvm_userfault_supported(errp)) {
        return false;
    }

    kvm_userfault_async_start(async);
    state = g_new0(UserfaultState, 1);
    state->blocks = g_hash_table_new_full(NULL, NULL, NULL,
                                          userfault_block_free);
    for (guint i = 0; i < blocks->len; i++) {
        RAMBlock *rb = g_ptr_array_index(blocks, i);

        g_hash_table_insert(state->blocks, rb, userfault_block_new(rb, ops));
    }

    WITH_QEMU_LOCK_GUARD(&kml_slots_lock) {
        assert(!userfault);
        qatomic_store_release(&userfault_ops, ops);
        qatomic_rcu_set(&userfault, state);
        ret = userfault_update_slots();
    }
    trace_kvm_userfault_start(blocks->len, ret);
    if (ret < 0) {
        kvm_userfault_stop();
        error_setg_errno(errp, -ret,
                         "Could not set KVM_MEM_USERFAULT on a memslot");
        return false;
    }
    return true;
}

void kvm_userfault_page_placed(RAMBlock *rb, ram_addr_t offset, size_t length)
{
    UserfaultBlock *block;

    RCU_READ_LOCK_GUARD();
    block = userfault_block(qatomic_rcu_read(&userfault), rb);
    if (block) {
        userfault_clear_bits(block->bitmap, userfault_page(offset),
                             userfault_page(length));
    }
}

bool kvm_userfault_guarded(RAMBlock *rb, ram_addr_t offset)
{
    UserfaultBlock *block;

    RCU_READ_LOCK_GUARD();
    block = userfault_block(qatomic_rcu_read(&userfault), rb);
    return block && test_bit(userfault_page(offset), block->bitmap);
}

bool kvm_userfault_stop(void)
{
    UserfaultState *state = qatomic_read(&userfault);

    /* Without KVM, kml_slots_lock is not initialized */
    if (!state) {
        return true;
    }
    WITH_QEMU_LOCK_GUARD(&kml_slots_lock) {
        userfault_ending = true;
        /*
         * KVM may be out of memory, which has been reported.  Then it still
         * reads the bitmaps of some slots: they must stay, and their bits must
         * still be cleared.
         */
        if (userfault_update_slots() < 0) {
            return false;
        }
        qatomic_rcu_set(&userfault, NULL);
        userfault_ending = false;
    }
    trace_kvm_userfault_stop();
    call_rcu(state, userfault_state_free, rcu);
    return true;
}

/*
 * Returns the guarded block at @gpa, and the page in @offset.  Returns NULL if
 * the guarding ended or the memory map changed after the exit.  Called in an
 * RCU read section.
 */
static RAMBlock *userfault_translate(hwaddr gpa, MemTxAttrs attrs,
                                     ram_addr_t *offset)
{
    /* x86: SMM has address space 1, and sets attrs.secure */
    int as_id = attrs.secure && kvm_state->nr_as > 1 ? 1 : 0;
    hwaddr xlat, len = 1;
    UserfaultBlock *block;
    MemoryRegion *mr;

    mr = address_space_translate(kvm_state->as[as_id].as, gpa, &xlat, &len,
                                 false, attrs);
    block = userfault_block(qatomic_rcu_read(&userfault), mr->ram_block);
    *offset = ROUND_DOWN(xlat, qemu_real_host_page_size());
    return block ? block->rb : NULL;
}

int kvm_userfault_handle_exit(CPUState *cpu, MemTxAttrs attrs)
{
    const KVMUserfaultOps *ops = qatomic_load_acquire(&userfault_ops);
    hwaddr gpa = cpu->kvm_run->memory_fault.gpa;
    KVMUserfaultAccepted accepted;
    ram_addr_t offset;
    RAMBlock *rb;

    WITH_RCU_READ_LOCK_GUARD() {
        rb = userfault_translate(gpa, attrs, &offset);
        trace_kvm_userfault_exit(cpu->cpu_index, gpa, rb ? rb->idstr : "none",
                                 rb ? offset : 0);
        if (!rb || !ops->begin(cpu, rb, offset)) {
            /* The guest repeats its access */
            return 0;
        }
        if (kvm_userfault_async_accept(cpu, &accepted)) {
            ops->accepted(cpu, &accepted);
            return 0;
        }
        ops->request(cpu);
    }
    return ops->wait(cpu) ? 0 : EXCP_INTERRUPT;
}

void kvm_userfault_kick_vcpu_thread(CPUState *cpu)
{
    const KVMUserfaultOps *ops = qatomic_load_acquire(&userfault_ops);

    cpus_kick_thread(cpu);
    if (ops) {
        ops->kick(cpu);
    }
}
