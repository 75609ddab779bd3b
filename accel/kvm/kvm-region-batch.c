/*
 * Changes of memslots that KVM makes in one step
 *
 * They are collected first, also where KVM cannot make them in one step.  So what
 * KVM refuses is dealt with in one place.
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qapi/error.h"
#include "hw/boards.h"
#include "system/accel-blocker.h"
#include "system/kvm.h"
#include "kvm-memslots.h"
#include "kvm-region-batch.h"
#include "trace.h"

/* -accel kvm,x-memslot-batch=off: set before any memslot is made */
static bool batch_off;

/* KVM shadows page tables of this guest, which it goes on to do once it did */
static bool shadowed;

/* How many changes one ioctl takes, 0 if there is none */
static unsigned int batch_max(void)
{
    static bool known;
    static unsigned int max;
    struct kvm_user_memory_regions none = { };
    int ret;

    if (!known) {
        ret = kvm_vm_check_extension(kvm_state, KVM_CAP_MEMORY_REGIONS);
        /* An empty list does nothing, wherever there are lists */
        if (ret > 0 &&
            kvm_vm_ioctl(kvm_state, KVM_SET_USER_MEMORY_REGIONS, &none) == 0) {
            max = ret;
        }
        known = true;
    }
    return batch_off ? 0 : max;
}

/*
 * So many changes of a list may be refused until they are made one by one.  Each
 * costs another ioctl for all of the list.
 */
#define REFUSED_MAX 16

/* The changes of a list from @first up to those of the next section */
typedef struct BatchSection {
    unsigned int first;
    MemoryRegionSection section;
} BatchSection;

/* A list cannot have memslots with guest_memfd */
static bool batch_in_one_step(void)
{
    return batch_max() && !machine_require_guest_memfd(current_machine);
}

void kvm_region_batch_begin(KVMMemoryListener *kml)
{
    assert(!kml->batch);

    kml->batch = g_array_new(false, false,
                             sizeof(struct kvm_userspace_memory_region2));
    kml->batch_sections = g_array_new(false, false, sizeof(BatchSection));
    kml->batch_region2 = false;
    kml->batch_error = 0;
}

static struct kvm_userspace_memory_region2 *batch_region(KVMMemoryListener *kml,
                                                         unsigned int i)
{
    return &g_array_index(kml->batch, struct kvm_userspace_memory_region2, i);
}

static BatchSection *batch_section(KVMMemoryListener *kml, unsigned int i)
{
    return &g_array_index(kml->batch_sections, BatchSection, i);
}

/* The index in batch_sections of the section that change @i is about, or -1 */
static int batch_find_section(KVMMemoryListener *kml, unsigned int i)
{
    int low = 0, high = kml->batch_sections->len;

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
    return i + 1 < kml->batch_sections->len ?
           batch_section(kml, i + 1)->first : kml->batch->len;
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

bool kvm_region_batch_must_stop(KVMMemoryListener *kml, bool overlaps)
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
     * goes, a section without a memslot may get one in addition.
     */
    return overlaps && (!batch_in_one_step() || shadowed ||
                        nr > batch_max() / 4);
}

/* KVM has made a change, or has not */
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
    /* Of a memslot that is deleted it may be the next one with that id, or none */
    slot = kvm_slots_find_id(&kml->slots, (uint16_t)region->slot);
    if (slot) {
        slot->old_flags = region->memory_size ? region->flags : 0;
        slot->in_kvm = region->memory_size;
    }
}

/* Returns 0 or -errno; with @failed the change that the error is about */
static int batch_ioctl(KVMMemoryListener *kml, uint32_t flags, uint32_t *failed)
{
    struct kvm_user_memory_regions list = {
        .nr = kml->batch->len,
        .flags = flags,
        .regions = (uintptr_t)kml->batch->data,
        .failed = kml->batch->len,
    };
    int ret = kvm_vm_ioctl(kvm_state, KVM_SET_USER_MEMORY_REGIONS, &list);

    trace_kvm_set_user_memory_regions(kml->as_id, list.nr, flags, ret,
                                      list.failed);
    *failed = list.failed;
    if (ret == 0) {
        for (guint i = 0; i < kml->batch->len; i++) {
            region_done(kml, batch_region(kml, i), ret);
        }
    } else if (list.failed < kml->batch->len) {
        region_done(kml, batch_region(kml, list.failed), ret);
    }
    return ret;
}

static int region_ioctl(KVMMemoryListener *kml,
                        struct kvm_userspace_memory_region2 *region)
{
    int ret = kvm_vm_ioctl(kvm_state, kml->batch_region2 ?
                                      KVM_SET_USER_MEMORY_REGION2 :
                                      KVM_SET_USER_MEMORY_REGION, region);

    region_done(kml, region, ret);
    return ret;
}

static void batch_report(KVMMemoryListener *kml, int ret, uint32_t failed)
{
    const struct kvm_userspace_memory_region2 *region;

    kml->batch_error = kml->batch_error ?: ret;
    if (failed >= kml->batch->len) {
        error_report("KVM has refused %u changes of memslots: %s",
                     kml->batch->len, strerror(-ret));
        return;
    }
    region = batch_region(kml, failed);
    error_report("KVM has refused %u of %u changes of memslots,"
                 " slot=%d, start=0x%" PRIx64 ", size=0x%" PRIx64 ","
                 " flags=0x%" PRIx32 ", guest_memfd=%" PRId32 ","
                 " guest_memfd_offset=0x%" PRIx64 ": %s", failed,
                 kml->batch->len, (uint16_t)region->slot,
                 (uint64_t)region->guest_phys_addr,
                 (uint64_t)region->memory_size, region->flags,
                 (int32_t)region->guest_memfd,
                 (uint64_t)region->guest_memfd_offset, strerror(-ret));
}

/* A section goes on without those memslots that it has */
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
    kvm_memslots_lack(kml, section, error);
}

/* Returns false if what KVM has refused cannot be done without */
static bool batch_drop(KVMMemoryListener *kml, uint32_t failed, int error)
{
    int i = batch_find_section(kml, failed);
    MemoryRegionSection section;
    unsigned int first, nr;

    if (i < 0 || !kvm_memslots_may_lack(&batch_section(kml, i)->section)) {
        return false;
    }

    section = batch_section(kml, i)->section;
    first = batch_section(kml, i)->first;
    nr = batch_section_end(kml, i) - first;
    g_array_remove_range(kml->batch, first, nr);
    g_array_remove_index(kml->batch_sections, i);
    for (; i < kml->batch_sections->len; i++) {
        batch_section(kml, i)->first -= nr;
    }
    section_refused(kml, &section, error);
    return true;
}

/*
 * KVM has what is new next to what is old until the step is made. One by one it
 * needs less memory.  After an error the others are made.
 */
static void batch_one_by_one(KVMMemoryListener *kml)
{
    int ret;

    for (unsigned int i = 0; i < kml->batch->len; i++) {
        int section;

        ret = region_ioctl(kml, batch_region(kml, i));
        if (ret == 0) {
            continue;
        }
        section = batch_find_section(kml, i);
        if (section < 0 ||
            !kvm_memslots_may_lack(&batch_section(kml, section)->section)) {
            batch_report(kml, ret, i);
            continue;
        }
        section_refused(kml, &batch_section(kml, section)->section, ret);
        i = batch_section_end(kml, section) - 1;
    }
}

/*
 * Make the list but for what is refused and can be done without.  Returns false,
 * with nothing made, if it is to be made one by one while no vCPU runs.
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
        if (failed >= kml->batch->len || !batch_drop(kml, failed, ret)) {
            batch_report(kml, ret, failed);
            return true;
        }
    }
    return false;
}

/* Make what has been collected so far, and remember the first error */
static void batch_flush(KVMMemoryListener *kml, bool atomic)
{
    if (!kml->batch->len) {
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
    g_array_set_size(kml->batch, 0);
    g_array_set_size(kml->batch_sections, 0);
}

static bool batch_has_room(KVMMemoryListener *kml, uint64_t nr)
{
    return !batch_in_one_step() || kml->batch->len + nr <= batch_max();
}

void kvm_region_batch_section(KVMMemoryListener *kml,
                              const MemoryRegionSection *section, uint64_t nr)
{
    BatchSection new = { .section = *section };

    /* Up to two changes of each memslot, see kvm_set_user_memory_region() */
    if (!batch_has_room(kml, 2 * nr)) {
        batch_flush(kml, false);
    }
    new.first = kml->batch->len;
    g_array_append_val(kml->batch_sections, new);
}

void kvm_region_set(KVMMemoryListener *kml,
                    const struct kvm_userspace_memory_region2 *region,
                    bool region2)
{
    if (!batch_has_room(kml, 1)) {
        batch_flush(kml, false);
    }
    g_array_append_vals(kml->batch, region, 1);
    kml->batch_region2 |= region2;
}

int kvm_region_batch_end(KVMMemoryListener *kml, bool atomic)
{
    batch_flush(kml, atomic);
    g_clear_pointer(&kml->batch, g_array_unref);
    g_clear_pointer(&kml->batch_sections, g_array_unref);
    return kml->batch_error;
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
