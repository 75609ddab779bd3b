/*
 * Unbacked sections: memory of devices that has no memslot
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qemu/timer.h"
#include "hw/pci/pci_device.h"
#include "hw/qdev-core.h"
#include "system/kvm.h"
#include "kvm-unbacked.h"

/* At most one warning of a kind in this time: a guest can cause any number */
#define REPORT_NS NANOSECONDS_PER_SECOND
/* After this time, KVM may have room for sections that it had no room for */
#define RETRY_NS NANOSECONDS_PER_SECOND

static int is_in_bar_of(Object *obj, void *opaque)
{
    PCIDevice *dev = (PCIDevice *)object_dynamic_cast(obj, TYPE_PCI_DEVICE);

    for (int i = 0; dev && i < PCI_NUM_REGIONS; i++) {
        for (MemoryRegion *mr = opaque; mr; mr = mr->container) {
            if (dev->io_regions[i].size && dev->io_regions[i].memory == mr) {
                return true;
            }
        }
    }
    return false;
}

/*
 * Is it a device's memory, which the guest may place?  A memory backend owns
 * its memory itself, so that may be in a BAR or be the guest's own memory.
 */
static bool is_device_memory(MemoryRegion *mr)
{
    return mr->owner &&
           (object_dynamic_cast(mr->owner, TYPE_DEVICE) ||
            object_child_foreach_recursive(object_get_root(), is_in_bar_of,
                                           mr));
}

/* KVM itself accesses the memory of these devices, by guest address */
static bool is_used_by_kvm(Object *owner)
{
    static const char *const types[] = {
        "hyperv-synic", "xen-overlay", "spapr-xive", "xive-source",
    };

    for (int i = 0; i < ARRAY_SIZE(types); i++) {
        if (object_dynamic_cast(owner, types[i])) {
            return true;
        }
    }
    return false;
}

bool kvm_unbacked_works(const MemoryRegionSection *section)
{
    return !memory_region_has_guest_memfd(section->mr) &&
           is_device_memory(section->mr);
}

/* Must it leave the last memslots to others? */
static bool is_expendable(const MemoryRegionSection *section)
{
    return kvm_unbacked_works(section) && !section->mr->rom_device &&
           !is_used_by_kvm(section->mr->owner);
}

static unsigned int nr_free(const KVMMemoryListener *kml)
{
    return kml->slots.max - kml->slots.nr;
}

static bool is_time(int64_t *last, int64_t interval)
{
    int64_t now = get_clock();

    if (*last && now - *last < interval) {
        return false;
    }
    *last = now;
    return true;
}

static void report_refused(KVMMemoryListener *kml,
                           const MemoryRegionSection *section, int error)
{
    KVMUnbacked *unbacked = &kml->unbacked;

    unbacked->nr_refused_new++;
    if (!is_time(&unbacked->refused_reported_ns, REPORT_NS)) {
        return;
    }
    warn_report("%s: KVM has refused a memslot for %u more ranges of devices'"
                " memory: '%s' at 0x%" HWADDR_PRIx " is emulated now: %s",
                kml->listener.address_space->name, unbacked->nr_refused_new,
                memory_region_name(section->mr),
                section->offset_within_address_space, strerror(-error));
    unbacked->nr_refused_new = 0;
}

static void enqueue(KVMUnbacked *unbacked, KVMUnbackedSection *section)
{
    KVMUnbackedQueue queue;

    switch (section->error) {
    case 0:
        queue = is_expendable(&section->section) ? KVM_UNBACKED_EXPENDABLE :
                                                   KVM_UNBACKED_IMPORTANT;
        break;
    case -ENOMEM:
    case -ENOSPC:
    case -EEXIST:
        queue = KVM_UNBACKED_REFUSED;
        break;
    default:
        queue = KVM_UNBACKED_REFUSED_FOREVER;
    }
    section->queue = queue;
    if (QTAILQ_EMPTY(&unbacked->queue[queue])) {
        QTAILQ_INIT(&unbacked->queue[queue]);
    }
    QTAILQ_INSERT_TAIL(&unbacked->queue[queue], section, next);
}

static void add(KVMMemoryListener *kml, const MemoryRegionSection *section,
                int error, unsigned int round)
{
    KVMUnbackedSection *new;

    if (!kvm_unbacked_works(section)) {
        error_report("KVM has no memslot for '%s' at 0x%" HWADDR_PRIx "%s%s",
                     memory_region_name(section->mr),
                     section->offset_within_address_space,
                     error ? ": " : " any more", error ? strerror(-error) : "");
        abort();
    }

    new = g_new0(KVMUnbackedSection, 1);
    new->section = *section;
    /* The section outlives this FlatView */
    new->section.fv = NULL;
    new->error = error;
    new->round = round;
    new->node.start = section->offset_within_address_space;
    new->node.last = new->node.start + (int128_getlo(section->size) - 1);
    interval_tree_insert(&new->node, &kml->unbacked.sections);
    enqueue(&kml->unbacked, new);
}

bool kvm_unbacked_check(KVMMemoryListener *kml,
                        const MemoryRegionSection *section, uint64_t nr)
{
    KVMUnbacked *unbacked = &kml->unbacked;

    /* The first test is cheap and almost always true */
    if (nr_free(kml) >= nr + KVM_MEMSLOTS_RESERVED ||
        (nr_free(kml) >= nr && !is_expendable(section))) {
        return true;
    }
    /* Not in this transaction: either its retry is yet to come, or it runs */
    add(kml, section, 0, unbacked->round + !unbacked->retrying);
    unbacked->nr_new++;
    return false;
}

void kvm_unbacked_refused(KVMMemoryListener *kml,
                          const MemoryRegionSection *section, int error)
{
    add(kml, section, error, kml->unbacked.round);
    report_refused(kml, section, error);
}

static KVMUnbackedSection *section_of(IntervalTreeNode *node)
{
    return node ? container_of(node, KVMUnbackedSection, node) : NULL;
}

static void section_free(KVMUnbacked *unbacked, KVMUnbackedSection *section)
{
    interval_tree_remove(&section->node, &unbacked->sections);
    QTAILQ_REMOVE(&unbacked->queue[section->queue], section, next);
    g_free(section);
}

void kvm_unbacked_remove(KVMMemoryListener *kml,
                         const MemoryRegionSection *section)
{
    hwaddr start = section->offset_within_address_space;
    KVMUnbackedSection *unbacked =
        section_of(interval_tree_iter_first(&kml->unbacked.sections, start,
                                            start));

    if (unbacked) {
        section_free(&kml->unbacked, unbacked);
    }
}

/* From time to time, let sections wait that KVM had no room for */
static void requeue_refused(KVMUnbacked *unbacked)
{
    KVMUnbackedSection *section, *next;

    if (QTAILQ_EMPTY(&unbacked->queue[KVM_UNBACKED_REFUSED]) ||
        !is_time(&unbacked->retried_ns, RETRY_NS)) {
        return;
    }
    QTAILQ_FOREACH_SAFE(section, &unbacked->queue[KVM_UNBACKED_REFUSED], next,
                        next) {
        QTAILQ_REMOVE(&unbacked->queue[KVM_UNBACKED_REFUSED], section, next);
        section->error = 0;
        enqueue(unbacked, section);
    }
}

static bool dequeue(KVMUnbacked *unbacked, KVMUnbackedQueue queue,
                    MemoryRegionSection *section)
{
    KVMUnbackedSection *first = QTAILQ_FIRST(&unbacked->queue[queue]);

    if (!first || first->round >= unbacked->round) {
        return false;
    }
    *section = first->section;
    section_free(unbacked, first);
    return true;
}

static bool dequeue_any(KVMMemoryListener *kml, MemoryRegionSection *section)
{
    KVMUnbacked *unbacked = &kml->unbacked;

    if (nr_free(kml) &&
        dequeue(unbacked, KVM_UNBACKED_IMPORTANT, section)) {
        return true;
    }
    return nr_free(kml) > KVM_MEMSLOTS_RESERVED &&
           dequeue(unbacked, KVM_UNBACKED_EXPENDABLE, section);
}

static const KVMUnbackedSection *lowest_waiting(KVMMemoryListener *kml)
{
    KVMUnbackedSection *section = kvm_unbacked_first(kml);

    while (section && section->error) {
        section = kvm_unbacked_next(section);
    }
    return section;
}

static void report_waiting(KVMMemoryListener *kml)
{
    const KVMUnbackedSection *lowest;

    if (!kml->unbacked.nr_new) {
        return;
    }
    lowest = lowest_waiting(kml);
    /* A guest can cause one each time that it turns a BAR off and on */
    if (!lowest || !is_time(&kml->unbacked.reported_ns, REPORT_NS)) {
        return;
    }
    warn_report("%s: KVM has no memslot for %u more ranges of devices' memory,"
                " of %u: '%s' at 0x%" HWADDR_PRIx " is the lowest that is"
                " emulated now", kml->listener.address_space->name,
                kml->unbacked.nr_new, kml->slots.max,
                memory_region_name(lowest->section.mr),
                lowest->section.offset_within_address_space);
    kml->unbacked.nr_new = 0;
}

void kvm_unbacked_retry(KVMMemoryListener *kml, KVMSetSection *set)
{
    MemoryRegionSection section;

    requeue_refused(&kml->unbacked);
    kml->unbacked.round++;
    kml->unbacked.retrying = true;
    while (dequeue_any(kml, &section)) {
        set(kml, &section, true);
    }
    kml->unbacked.retrying = false;
    report_waiting(kml);
}

KVMUnbackedSection *kvm_unbacked_first(KVMMemoryListener *kml)
{
    return section_of(interval_tree_iter_first(&kml->unbacked.sections, 0,
                                               HWADDR_MAX));
}

KVMUnbackedSection *kvm_unbacked_next(KVMUnbackedSection *section)
{
    return section_of(interval_tree_iter_next(&section->node, 0, HWADDR_MAX));
}
