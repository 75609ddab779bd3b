/*
 * Changes of memslots that KVM makes in one step
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

bool kvm_region_batch_begin(KVMMemoryListener *kml)
{
    assert(!kml->batch);

    /* A list cannot have memslots with guest_memfd */
    if (!batch_max() || machine_require_guest_memfd(current_machine)) {
        return false;
    }
    kml->batch = g_array_new(false, false,
                             sizeof(struct kvm_userspace_memory_region2));
    kml->batch_error = 0;
    return true;
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
    /* What lacks a memslot may get one in addition, for each that goes */
    return overlaps && (shadowed || nr > batch_max() / 2);
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
    return ret;
}

static void batch_report(KVMMemoryListener *kml, int ret, uint32_t failed)
{
    const struct kvm_userspace_memory_region2 *region;

    if (failed >= kml->batch->len) {
        error_report("KVM_SET_USER_MEMORY_REGIONS failed for %u changes: %s",
                     kml->batch->len, strerror(-ret));
        return;
    }
    region = &g_array_index(kml->batch, struct kvm_userspace_memory_region2,
                            failed);
    error_report("KVM_SET_USER_MEMORY_REGIONS failed at %u of %u changes,"
                 " slot=%d, start=0x%" PRIx64 ", size=0x%" PRIx64 ","
                 " flags=0x%" PRIx32 ": %s", failed, kml->batch->len,
                 (uint16_t)region->slot, (uint64_t)region->guest_phys_addr,
                 (uint64_t)region->memory_size, region->flags, strerror(-ret));
}

/*
 * KVM has what is new next to what is old until the step is made. One by one it
 * needs less memory.
 */
static int batch_one_by_one(KVMMemoryListener *kml, uint32_t *failed)
{
    for (*failed = 0; *failed < kml->batch->len; ++*failed) {
        int ret = kvm_vm_ioctl(kvm_state, KVM_SET_USER_MEMORY_REGION2,
                               &g_array_index(kml->batch,
                                    struct kvm_userspace_memory_region2,
                                    *failed));

        if (ret < 0) {
            return ret;
        }
    }
    return 0;
}

static int batch_set(KVMMemoryListener *kml, uint32_t *failed)
{
    int ret = batch_ioctl(kml, 0, failed);

    return ret == -ENOMEM ? batch_one_by_one(kml, failed) : ret;
}

/* Make what has been collected so far, and remember the first error */
static void batch_flush(KVMMemoryListener *kml, bool atomic)
{
    uint32_t failed;
    int ret;

    if (!kml->batch->len) {
        return;
    }
    if (atomic) {
        ret = batch_ioctl(kml, KVM_MEMORY_REGIONS_ATOMIC, &failed);
        if (ret == -EOPNOTSUPP || ret == -ENOMEM) {
            shadowed |= ret == -EOPNOTSUPP;
            accel_ioctl_inhibit_begin();
            ret = batch_set(kml, &failed);
            accel_ioctl_inhibit_end();
        }
    } else {
        ret = batch_set(kml, &failed);
    }
    if (ret < 0) {
        batch_report(kml, ret, failed);
        kml->batch_error = kml->batch_error ?: ret;
    }
    g_array_set_size(kml->batch, 0);
}

int kvm_region_set(KVMMemoryListener *kml,
                   struct kvm_userspace_memory_region2 *region, bool region2)
{
    if (!kml->batch) {
        return kvm_vm_ioctl(kvm_state, region2 ? KVM_SET_USER_MEMORY_REGION2 :
                                                 KVM_SET_USER_MEMORY_REGION,
                            region);
    }
    if (kml->batch->len == batch_max()) {
        batch_flush(kml, false);
    }
    g_array_append_vals(kml->batch, region, 1);
    return 0;
}

int kvm_region_batch_end(KVMMemoryListener *kml, bool atomic)
{
    batch_flush(kml, atomic);
    g_clear_pointer(&kml->batch, g_array_unref);
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
