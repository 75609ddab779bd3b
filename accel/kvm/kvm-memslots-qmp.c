/*
 * query-memslots
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-memslots.h"
#include "exec/memory.h"
#include "exec/ramblock.h"
#include "system/kvm.h"
#include "system/kvm_int.h"
#include "kvm-region-batch.h"
#include "kvm-unbacked.h"
#include "kvm-userfault.h"

static Memslot *memslot_info(const KVMSlot *slot)
{
    Memslot *info = g_new0(Memslot, 1);
    ram_addr_t offset;
    RAMBlock *rb;

    info->id = slot->slot;
    info->guest_address = slot->start_addr;
    info->size = slot->memory_size;
    info->host_address = (uintptr_t)slot->ram;
    info->readonly = slot->flags & KVM_MEM_READONLY;
    info->dirty_log = slot->flags & KVM_MEM_LOG_DIRTY_PAGES;
    info->userfault = slot->old_flags & KVM_MEM_USERFAULT;
    info->guest_memfd = slot->flags & KVM_MEM_GUEST_MEMFD;

    RCU_READ_LOCK_GUARD();
    rb = qemu_ram_block_from_host(slot->ram, false, &offset);
    info->ram_block = g_strdup(!rb ? "" : rb->idstr[0] ? rb->idstr :
                               memory_region_name(rb->mr));
    info->offset = rb ? offset : 0;
    return info;
}

static MemslotRange *unbacked_info(const KVMUnbackedSection *unbacked)
{
    const MemoryRegionSection *section = &unbacked->section;
    MemslotRange *info = g_new0(MemslotRange, 1);

    info->guest_address = section->offset_within_address_space;
    info->size = int128_get64(section->size);
    info->region = g_strdup(memory_region_name(section->mr));
    if (unbacked->error) {
        info->refused = g_strdup(strerror(-unbacked->error));
    }
    return info;
}

/* Called with kml_slots_lock held */
static MemslotAddressSpace *address_space_info(KVMState *s, int id)
{
    MemslotAddressSpace *info = g_new0(MemslotAddressSpace, 1);
    KVMMemoryListener *kml = s->as[id].ml;
    MemslotList **memslots = &info->memslots;
    MemslotRangeList **unbacked = &info->unbacked;
    KVMUnbackedSection *section;
    KVMSlot *slot;

    info->id = id;
    info->name = g_strdup(s->as[id].as->name);
    info->used = kml->slots.nr;
    info->free = kml->slots.max - kml->slots.nr;
    KVM_SLOTS_FOREACH(slot, &kml->slots) {
        QAPI_LIST_APPEND(memslots, memslot_info(slot));
    }
    for (section = kvm_unbacked_first(kml); section;
         section = kvm_unbacked_next(section)) {
        QAPI_LIST_APPEND(unbacked, unbacked_info(section));
    }
    return info;
}

MemslotInfo *qmp_query_memslots(bool has_address_space,
                                uint8_t address_space, Error **errp)
{
    KVMState *s = kvm_state;
    MemslotAddressSpaceList **tail;
    MemslotInfo *info;

    if (!kvm_enabled()) {
        error_setg(errp, "KVM is not in use");
        return NULL;
    }
    if (has_address_space &&
        (address_space >= s->nr_as || !s->as[address_space].ml)) {
        error_setg(errp, "KVM has no address space %u", address_space);
        return NULL;
    }

    info = g_new0(MemslotInfo, 1);
    info->limit = kvm_get_max_memslots();
    tail = &info->address_spaces;
    QEMU_LOCK_GUARD(&kml_slots_lock);
    for (int i = 0; i < s->nr_as; i++) {
        if (s->as[i].ml && (!has_address_space || i == address_space)) {
            QAPI_LIST_APPEND(tail, address_space_info(s, i));
        }
    }
    return info;
}
