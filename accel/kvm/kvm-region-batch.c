/*
 * Changes of memslots that KVM makes in one step
 *
 * The changes of a transaction are collected first, even if KVM cannot make
 * them in one step.  So refused changes are handled in one place.
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qemu/lockable.h"
#include "qapi/error.h"
#include "hw/boards.h"
#include "system/accel-blocker.h"
#include "system/kvm.h"
#include "kvm-region-batch.h"
#include "trace.h"

/* -accel kvm,x-memslot-batch=off: set before any memslot is made */
static bool batch_off;

/* KVM shadows page tables of this guest; once it does, it continues to */
static bool shadowed;

/* Number of changes that one ioctl takes, 0 if the host has no such ioctl */
static unsigned int batch_max(void)
{
    static bool known;
    static unsigned int max;
    struct kvm_user_memory_regions none = { };
    int ret;

    if (!known) {
        ret = kvm_vm_check_extension(kvm_state, KVM_CAP_MEMORY_REGIONS);
        /* An empty list is valid and does nothing */
        if (ret > 0 &&
            kvm_vm_ioctl(kvm_state, KVM_SET_USER_MEMORY_REGIONS, &none) == 0) {
            max = ret;
        }
        known = true;
    }
    return batch_off ? 0 : max;
}

/*
 * If more changes of a list are refused, they are made one by one: each refusal
 * costs another ioctl for the whole list.
 */
#define REFUSED_MAX 16

/* A section's changes in the list: up to the first of the next section */
typedef struct BatchSection {
    unsigned int first;
    MemoryRegionSection section;
} BatchSection;

/* The ioctl does not take memslots with guest_memfd */
static bool batch_in_one_step(void)
{
    return batch_max() && !machine_require_guest_memfd(current_machine);
}

void kvm_region_batch_begin(KVMMemoryListener *kml)
{
    assert(!kml->batch.regions);

    kml->batch.regions = g_array_new(false, false,
                             sizeof(struct kvm_userspace_memory_region2));
    kml->batch.sections = g_array_new(false, false, sizeof(BatchSection));
    kml->batch.region2 = false;
    kml->batch.error = 0;
}

static struct kvm_userspace_memory_region2 *batch_region(KVMMemoryListener *kml,
                                                         unsigned int i)
{
    return &g_array_index(kml->batch.regions,
                          struct kvm_userspace_memory_region2, i);
}

static BatchSection *batch_section(KVMMemoryListener *kml, unsigned int i)
{
    return &g_array_index(kml->batch.sections, BatchSection, i);
}

/* Returns the index of the section that change @i belongs to, or -1 */
static int batch_find_section(KVMMemoryListener *kml, unsigned int i)
{
    int low = 0, high = kml->batch.sections->len;

    while (low < high) {
        int middle = (low + high) / 2;

        if (batch_section(kml, middle)->first <= i) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low - 1;
}

static unsigned int batch_section_end(KVMMemoryListener *kml, unsigned int i)
{
    return i + 1 < kml->batch.sections->len ?
           batch_section(kml, i + 1)->first : kml->batch.regions->len;
}

static bool may_have_memslot(const MemoryRegionSection *section)
{
    return memory_region_is_ram(section->mr) || section->mr->rom_device;
}

static bool logs_dirty_pages(KVMMemoryListener *kml,
                             const MemoryRegionSection *section)
{
    hwaddr start = section->offset_within_address_space;
    hwaddr last = start + (int128_get64(section->size) - 1);
    KVMSlot *slot;

    for (slot = kvm_slots_first(&kml->slots, start, last); slot;
         slot = kvm_slots_next(slot, start, last)) {
        if (slot->flags & KVM_MEM_LOG_DIRTY_PAGES) {
            return true;
        }
    }
    return false;
}

/*
 * Must vCPUs be stopped while the transaction commits?
 *
 * Yes if a memslot that is removed logs dirty pages: a write between the last
 * sync of its dirty bits and its removal would be lost.  And yes if added and
 * removed sections overlap, and vCPUs could see a moment in between: where the
 * host has no lists, where KVM shadows page tables, or where there are too many
 * changes for one list.
 */
static bool must_stop(KVMMemoryListener *kml, bool overlaps)
{
    KVMMemoryUpdate *update;
    unsigned int nr = 0;

    QSIMPLEQ_FOREACH(update, &kml->transaction_del, next) {
        if (!may_have_memslot(&update->section)) {
            continue;
        }
        if (logs_dirty_pages(kml, &update->section)) {
            return true;
        }
        nr++;
    }
    QSIMPLEQ_FOREACH(update, &kml->transaction_add, next) {
        nr += may_have_memslot(&update->section);
    }
    /*
     * A section has up to two memslots, see kvm_userfault_cut().  For each that
     * is removed, an unbacked section may get one in addition.
     */
    return overlaps && (!batch_in_one_step() || shadowed ||
                        nr > batch_max() / 4);
}

bool kvm_region_batch_begin_commit(KVMMemoryListener *kml, bool overlaps)
{
    bool stop = must_stop(kml, overlaps);

    kvm_region_batch_begin(kml);
    kml->batch.atomic = overlaps && !stop;
    return stop;
}

/* KVM has made a change, or has refused it */
static void region_done(KVMMemoryListener *kml,
                        const struct kvm_userspace_memory_region2 *region,
                        int ret)
{
    KVMSlot *slot;

    trace_kvm_set_user_memory(region->slot >> 16, (uint16_t)region->slot,
                              region->flags, region->guest_phys_addr,
                              region->memory_size, region->userspace_addr,
                              region->guest_memfd, region->guest_memfd_offset,
                              ret);
    if (ret < 0) {
        return;
    }
    /* A deleted memslot is gone, and its id may be that of a new memslot */
    slot = kvm_slots_find_id(&kml->slots, (uint16_t)region->slot);
    if (slot) {
        slot->old_flags = region->memory_size ? region->flags : 0;
        slot->in_kvm = region->memory_size;
    }
}

/* Returns 0 or -errno; sets @failed to the index of the refused change */
static int batch_ioctl(KVMMemoryListener *kml, uint32_t flags, uint32_t *failed)
{
    struct kvm_user_memory_regions list = {
        .nr = kml->batch.regions->len,
        .flags = flags,
        .regions = (uintptr_t)kml->batch.regions->data,
        .failed = kml->batch.regions->len,
    };
    int ret = kvm_vm_ioctl(kvm_state, KVM_SET_USER_MEMORY_REGIONS, &list);

    trace_kvm_set_user_memory_regions(kml->as_id, list.nr, flags, ret,
                                      list.failed);
    *failed = list.failed;
    if (ret == 0) {
        for (guint i = 0; i < kml->batch.regions->len; i++) {
            region_done(kml, batch_region(kml, i), ret);
        }
    } else if (list.failed < kml->batch.regions->len) {
        region_done(kml, batch_region(kml, list.failed), ret);
    }
    return ret;
}

static int region_ioctl(KVMMemoryListener *kml,
                        struct kvm_userspace_memory_region2 *region)
{
    int ret = kvm_vm_ioctl(kvm_state, kml->batch.region2 ?
                                      KVM_SET_USER_MEMORY_REGION2 :
                                      KVM_SET_USER_MEMORY_REGION, region);

    region_done(kml, region, ret);
    return ret;
}

static void batch_report(KVMMemoryListener *kml, int ret, uint32_t failed)
{
    const struct kvm_userspace_memory_region2 *region;

    kml->batch.error = kml->batch.error ?: ret;
    if (failed >= kml->batch.regions->len) {
        error_report("KVM has refused %u changes of memslots: %s",
                     kml->batch.regions->len, strerror(-ret));
        return;
    }
    region = batch_region(kml, failed);
    error_report("KVM has refused %u of %u changes of memslots,"
                 " slot=%d, start=0x%" PRIx64 ", size=0x%" PRIx64 ","
                 " flags=0x%" PRIx32 ", guest_memfd=%" PRId32 ","
                 " guest_memfd_offset=0x%" PRIx64 ": %s", failed,
                 kml->batch.regions->len, (uint16_t)region->slot,
                 (uint64_t)region->guest_phys_addr,
                 (uint64_t)region->memory_size, region->flags,
                 (int32_t)region->guest_memfd,
                 (uint64_t)region->guest_memfd_offset, strerror(-ret));
}

/* Remove the memslots that a section already has; it is unbacked now */
static void section_refused(KVMMemoryListener *kml,
                            const MemoryRegionSection *section, int error)
{
    hwaddr start = section->offset_within_address_space;
    hwaddr last = start + (int128_getlo(section->size) - 1);
    KVMSlot *slot, *next;

    for (slot = kvm_slots_first(&kml->slots, start, last); slot; slot = next) {
        next = kvm_slots_next(slot, start, last);
        if (slot->in_kvm) {
            struct kvm_userspace_memory_region2 region = {
                .slot = slot->slot | kml->as_id << 16,
                .guest_phys_addr = slot->start_addr,
            };

            if (region_ioctl(kml, &region) < 0) {
                error_report("KVM does not delete memslot %d", slot->slot);
                abort();
            }
        }
        kvm_slot_remove(&kml->slots, slot);
        kvm_slot_free(&kml->slots, slot);
    }
    kvm_unbacked_refused(kml, section, error);
}

/* Drop the section of a refused change; returns false if it needs memslots */
static bool batch_drop(KVMMemoryListener *kml, uint32_t failed, int error)
{
    int i = batch_find_section(kml, failed);
    MemoryRegionSection section;
    unsigned int first, nr;

    if (i < 0 || !kvm_unbacked_works(&batch_section(kml, i)->section)) {
        return false;
    }

    section = batch_section(kml, i)->section;
    first = batch_section(kml, i)->first;
    nr = batch_section_end(kml, i) - first;
    g_array_remove_range(kml->batch.regions, first, nr);
    g_array_remove_index(kml->batch.sections, i);
    for (; i < kml->batch.sections->len; i++) {
        batch_section(kml, i)->first -= nr;
    }
    section_refused(kml, &section, error);
    return true;
}

/*
 * Make the changes one by one, and continue after an error.  KVM needs less
 * memory than in one step, where it keeps the old memslots until all new ones
 * exist.
 */
static void batch_one_by_one(KVMMemoryListener *kml)
{
    int ret;

    for (unsigned int i = 0; i < kml->batch.regions->len; i++) {
        int section;

        ret = region_ioctl(kml, batch_region(kml, i));
        if (ret == 0) {
            continue;
        }
        section = batch_find_section(kml, i);
        if (section < 0 ||
            !kvm_unbacked_works(&batch_section(kml, section)->section)) {
            batch_report(kml, ret, i);
            continue;
        }
        section_refused(kml, &batch_section(kml, section)->section, ret);
        i = batch_section_end(kml, section) - 1;
    }
}

/*
 * Make all changes in one step, without the sections that are refused and work
 * unbacked.  Returns false if nothing was changed, and the changes must be made
 * one by one while no vCPU runs.
 */
static bool batch_make(KVMMemoryListener *kml, uint32_t flags)
{
    for (int refused = 0; refused < REFUSED_MAX; refused++) {
        uint32_t failed;
        int ret = batch_ioctl(kml, flags, &failed);

        if (ret == 0) {
            return true;
        }
        if (ret == -ENOMEM || ret == -EOPNOTSUPP) {
            shadowed |= ret == -EOPNOTSUPP;
            return false;
        }
        if (failed >= kml->batch.regions->len ||
            !batch_drop(kml, failed, ret)) {
            batch_report(kml, ret, failed);
            return true;
        }
    }
    return false;
}

/* Make the changes collected so far, and keep the first error */
static void batch_flush(KVMMemoryListener *kml, bool atomic)
{
    if (!kml->batch.regions->len) {
        return;
    }
    if (!batch_in_one_step()) {
        batch_one_by_one(kml);
    } else if (!atomic) {
        if (!batch_make(kml, 0)) {
            batch_one_by_one(kml);
        }
    } else if (!batch_make(kml, KVM_MEMORY_REGIONS_ATOMIC)) {
        accel_ioctl_inhibit_begin();
        if (!batch_make(kml, 0)) {
            batch_one_by_one(kml);
        }
        accel_ioctl_inhibit_end();
    }
    g_array_set_size(kml->batch.regions, 0);
    g_array_set_size(kml->batch.sections, 0);
}

static bool batch_has_room(KVMMemoryListener *kml, uint64_t nr)
{
    return !batch_in_one_step() || kml->batch.regions->len + nr <= batch_max();
}

void kvm_region_batch_section(KVMMemoryListener *kml,
                              const MemoryRegionSection *section)
{
    hwaddr size = int128_get64(section->size);
    /* One more than without kvm_userfault_cut() */
    uint64_t nr = (size - 1) / kvm_max_slot_size + 2;
    BatchSection new = { .section = *section };

    /* Up to two changes of each memslot, see kvm_set_user_memory_region() */
    if (!batch_has_room(kml, 2 * nr)) {
        batch_flush(kml, false);
    }
    new.first = kml->batch.regions->len;
    g_array_append_val(kml->batch.sections, new);
}

void kvm_region_set(KVMMemoryListener *kml,
                    const struct kvm_userspace_memory_region2 *region)
{
    if (!batch_has_room(kml, 1)) {
        batch_flush(kml, false);
    }
    g_array_append_vals(kml->batch.regions, region, 1);
    kml->batch.region2 |= !!(region->flags &
                             (KVM_MEM_GUEST_MEMFD | KVM_MEM_USERFAULT));
}

int kvm_region_batch_end(KVMMemoryListener *kml, bool atomic)
{
    batch_flush(kml, atomic);
    g_clear_pointer(&kml->batch.regions, g_array_unref);
    g_clear_pointer(&kml->batch.sections, g_array_unref);
    return kml->batch.error;
}

void kvm_region_batch_end_commit(KVMMemoryListener *kml)
{
    if (kvm_region_batch_end(kml, kml->batch.atomic) < 0) {
        abort();
    }
}

int kvm_region_log(KVMMemoryListener *kml, MemoryRegionSection *section,
                   void (*start)(KVMSlot *slot))
{
    hwaddr first = section->offset_within_address_space;
    hwaddr last = first + (int128_getlo(section->size) - 1);
    KVMSlot *slot;

    if (!kml->batch.log) {
        kml->batch.log = g_array_new(false, false, sizeof(*section));
    }
    g_array_append_vals(kml->batch.log, section, 1);
    if (!start) {
        return 0;
    }

    QEMU_LOCK_GUARD(&kml_slots_lock);
    for (slot = kvm_slots_first(&kml->slots, first, last); slot;
         slot = kvm_slots_next(slot, first, last)) {
        slot->flags |= KVM_MEM_LOG_DIRTY_PAGES;
        start(slot);
    }
    return 0;
}

void kvm_region_log_commit(KVMMemoryListener *kml,
                           int (*update_flags)(KVMMemoryListener *kml,
                                               MemoryRegionSection *section))
{
    g_autoptr(GArray) log = g_steal_pointer(&kml->batch.log);

    if (!log) {
        return;
    }
    QEMU_LOCK_GUARD(&kml_slots_lock);
    kvm_region_batch_begin(kml);
    kml->batch.atomic = false;
    for (guint i = 0; i < log->len; i++) {
        update_flags(kml, &g_array_index(log, MemoryRegionSection, i));
    }
    kvm_region_batch_end_commit(kml);
}

static bool get_batch(Object *obj, Error **errp)
{
    return !batch_off;
}

static void set_batch(Object *obj, bool value, Error **errp)
{
    batch_off = !value;
}

void kvm_region_batch_add_property(ObjectClass *oc)
{
    object_class_property_add_bool(oc, "x-memslot-batch", get_batch, set_batch);
    object_class_property_set_description(oc, "x-memslot-batch",
        "Change many memslots in one step where the host can do it");
}
