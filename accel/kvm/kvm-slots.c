/*
 * The memslots of an address space, found by guest address, host address and id
 *
 * Each of the two addresses has an interval tree.  Memslots do not overlap by
 * guest address, but lookups are for a range.  By host address they may
 * overlap.
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "system/kvm-slots.h"

static KVMSlot *slot_by_gpa(IntervalTreeNode *node)
{
    return node ? container_of(node, KVMSlot, gpa_node) : NULL;
}

void kvm_slots_init(KVMSlots *slots, unsigned int max)
{
    *slots = (KVMSlots) {
        .by_id = g_ptr_array_new(),
        .free_ids = g_array_new(false, false, sizeof(int)),
        .max = max,
    };
}

void kvm_slots_destroy(KVMSlots *slots)
{
    if (!slots->by_id) {
        return;
    }
    for (guint i = 0; i < slots->by_id->len; i++) {
        KVMSlot *slot = g_ptr_array_index(slots->by_id, i);

        if (slot) {
            g_free(slot->dirty_bmap);
            g_free(slot);
        }
    }
    g_ptr_array_free(slots->by_id, true);
    g_array_free(slots->free_ids, true);
    *slots = (KVMSlots) { };
}

KVMSlot *kvm_slot_new(KVMSlots *slots)
{
    KVMSlot *slot;
    int id;

    if (slots->free_ids->len) {
        id = g_array_index(slots->free_ids, int, slots->free_ids->len - 1);
        g_array_set_size(slots->free_ids, slots->free_ids->len - 1);
    } else if (slots->by_id->len < slots->max) {
        id = slots->by_id->len;
        g_ptr_array_add(slots->by_id, NULL);
    } else {
        return NULL;
    }

    slot = g_new0(KVMSlot, 1);
    slot->slot = id;
    g_ptr_array_index(slots->by_id, id) = slot;
    return slot;
}

void kvm_slot_insert(KVMSlots *slots, KVMSlot *slot)
{
    assert(slot->memory_size);

    slot->gpa_node.start = slot->start_addr;
    slot->gpa_node.last = slot->start_addr + slot->memory_size - 1;
    interval_tree_insert(&slot->gpa_node, &slots->by_gpa);

    slot->hva_node.start = (uintptr_t)slot->ram;
    slot->hva_node.last = (uintptr_t)slot->ram + slot->memory_size - 1;
    interval_tree_insert(&slot->hva_node, &slots->by_hva);

    slots->nr++;
}

void kvm_slot_remove(KVMSlots *slots, KVMSlot *slot)
{
    interval_tree_remove(&slot->gpa_node, &slots->by_gpa);
    interval_tree_remove(&slot->hva_node, &slots->by_hva);
    slots->nr--;
}

void kvm_slot_free(KVMSlots *slots, KVMSlot *slot)
{
    int id = slot->slot;

    g_ptr_array_index(slots->by_id, id) = NULL;
    g_array_append_val(slots->free_ids, id);
    g_free(slot->dirty_bmap);
    g_free(slot);
}

KVMSlot *kvm_slots_find(KVMSlots *slots, hwaddr start, hwaddr size)
{
    /* Memslots do not overlap, so this is the only one that contains @start */
    KVMSlot *slot = kvm_slots_first(slots, start, start);

    return slot && slot->start_addr == start && slot->memory_size == size ?
           slot : NULL;
}

KVMSlot *kvm_slots_find_id(KVMSlots *slots, unsigned int id)
{
    return id < slots->by_id->len ? g_ptr_array_index(slots->by_id, id) : NULL;
}

KVMSlot *kvm_slots_find_host(KVMSlots *slots, const void *host)
{
    IntervalTreeNode *node = interval_tree_iter_first(&slots->by_hva,
                                                      (uintptr_t)host,
                                                      (uintptr_t)host);

    return node ? container_of(node, KVMSlot, hva_node) : NULL;
}

KVMSlot *kvm_slots_first(KVMSlots *slots, hwaddr start, hwaddr last)
{
    return slot_by_gpa(interval_tree_iter_first(&slots->by_gpa, start, last));
}

KVMSlot *kvm_slots_next(KVMSlot *slot, hwaddr start, hwaddr last)
{
    return slot_by_gpa(interval_tree_iter_next(&slot->gpa_node, start, last));
}
