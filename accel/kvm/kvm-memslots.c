/*
 * Memory of devices that has no memslot
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
#include "kvm-memslots.h"

/* No more warnings of a kind than one in this time: a guest can cause them */
#define REPORT_NS NANOSECONDS_PER_SECOND
/* What KVM had no room for may have room after this time */
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
 * A device's memory, which the guest may place.  A memory backend owns its memory
 * itself, and may be in a BAR or be the guest's own memory.
 */
static bool is_device_memory(MemoryRegion *mr)
{
    return mr->owner &&
           (object_dynamic_cast(mr->owner, TYPE_DEVICE) ||
            object_child_foreach_recursive(object_get_root(), is_in_bar_of,
                                           mr));
}

/* KVM reads or writes the memory of these devices by itself, by guest address */
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

bool kvm_memslots_may_lack(const MemoryRegionSection *section)
{
    return !memory_region_has_guest_memfd(section->mr) &&
           is_device_memory(section->mr);
}

/* Others have the last memslots for themselves */
static bool is_expendable(const MemoryRegionSection *section)
{
    return kvm_memslots_may_lack(section) && !section->mr->rom_device &&
           !is_used_by_kvm(section->mr->owner);
}

static unsigned int nr_free(const KVMMemoryListener *kml)
{
    return kml->slots.max - kml->slots.nr;
}

void kvm_memslots_init(KVMMemoryListener *kml)
{
    for (int i = 0; i < ARRAY_SIZE(kml->lacking_queue); i++) {
        QTAILQ_INIT(&kml->lacking_queue[i]);
    }
}

bool kvm_memslots_enough(const KVMMemoryListener *kml,
                         const MemoryRegionSection *section, uint64_t nr)
{
    /* Almost always there is enough, whatever it is */
    return nr_free(kml) >= nr + KVM_MEMSLOTS_RESERVED ||
           (nr_free(kml) >= nr && !is_expendable(section));
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
    kml->nr_refused_new++;
    if (!is_time(&kml->refused_reported_ns, REPORT_NS)) {
        return;
    }
    warn_report("%s: KVM has refused a memslot for %u more ranges of devices'"
                " memory: '%s' at 0x%" HWADDR_PRIx " is emulated now: %s",
                kml->listener.address_space->name, kml->nr_refused_new,
                memory_region_name(section->mr),
                section->offset_within_address_space, strerror(-error));
    kml->nr_refused_new = 0;
}

static void lacking_enqueue(KVMMemoryListener *kml, KVMLackingSection *lacking)
{
    KVMLackingQueue queue;

    switch (lacking->error) {
    case 0:
        queue = is_expendable(&lacking->section) ? KVM_LACKING_EXPENDABLE :
                                                   KVM_LACKING_IMPORTANT;
        break;
    case -ENOMEM:
    case -ENOSPC:
    case -EEXIST:
        queue = KVM_LACKING_REFUSED;
        break;
    default:
        queue = KVM_LACKING_REFUSED_FOR_EVER;
    }
    lacking->queue = queue;
    lacking->round = kml->lacking_round;
    QTAILQ_INSERT_TAIL(&kml->lacking_queue[queue], lacking, next);
}

void kvm_memslots_lack(KVMMemoryListener *kml,
                       const MemoryRegionSection *section, int error)
{
    KVMLackingSection *lacking;

    if (!kvm_memslots_may_lack(section)) {
        error_report("KVM has no memslot for '%s' at 0x%" HWADDR_PRIx "%s%s",
                     memory_region_name(section->mr),
                     section->offset_within_address_space,
                     error ? ": " : " any more", error ? strerror(-error) : "");
        abort();
    }

    lacking = g_new0(KVMLackingSection, 1);
    lacking->section = *section;
    /* The next view may not have it any more */
    lacking->section.fv = NULL;
    lacking->error = error;
    lacking->node.start = section->offset_within_address_space;
    lacking->node.last = lacking->node.start +
                         (int128_getlo(section->size) - 1);
    interval_tree_insert(&lacking->node, &kml->lacking);
    lacking_enqueue(kml, lacking);
    if (error) {
        report_refused(kml, section, error);
    } else {
        kml->nr_lacking_new++;
    }
}

static KVMLackingSection *lacking_of(IntervalTreeNode *node)
{
    return node ? container_of(node, KVMLackingSection, node) : NULL;
}

static KVMLackingSection *lacking_at(KVMMemoryListener *kml, hwaddr first,
                                     hwaddr last)
{
    return lacking_of(interval_tree_iter_first(&kml->lacking, first, last));
}

static void lacking_free(KVMMemoryListener *kml, KVMLackingSection *lacking)
{
    interval_tree_remove(&lacking->node, &kml->lacking);
    QTAILQ_REMOVE(&kml->lacking_queue[lacking->queue], lacking, next);
    g_free(lacking);
}

void kvm_memslots_forget(KVMMemoryListener *kml,
                         const MemoryRegionSection *section)
{
    hwaddr start = section->offset_within_address_space;
    KVMLackingSection *lacking = lacking_at(kml, start, start);

    if (lacking) {
        lacking_free(kml, lacking);
    }
}

void kvm_memslots_begin(KVMMemoryListener *kml)
{
    KVMLackingSection *lacking, *next;

    kml->lacking_round++;
    if (QTAILQ_EMPTY(&kml->lacking_queue[KVM_LACKING_REFUSED]) ||
        !is_time(&kml->lacking_retried_ns, RETRY_NS)) {
        return;
    }
    QTAILQ_FOREACH_SAFE(lacking, &kml->lacking_queue[KVM_LACKING_REFUSED], next,
                        next) {
        QTAILQ_REMOVE(&kml->lacking_queue[KVM_LACKING_REFUSED], lacking, next);
        lacking->error = 0;
        lacking_enqueue(kml, lacking);
        /* Not one of this round: it may be taken in it */
        lacking->round--;
    }
}

static bool lacking_take(KVMMemoryListener *kml, KVMLackingQueue queue,
                         MemoryRegionSection *section)
{
    KVMLackingSection *lacking = QTAILQ_FIRST(&kml->lacking_queue[queue]);

    /* What this round has queued is behind all others */
    if (!lacking || lacking->round == kml->lacking_round) {
        return false;
    }
    *section = lacking->section;
    lacking_free(kml, lacking);
    return true;
}

bool kvm_memslots_take(KVMMemoryListener *kml, MemoryRegionSection *section)
{
    if (nr_free(kml) &&
        lacking_take(kml, KVM_LACKING_IMPORTANT, section)) {
        return true;
    }
    return nr_free(kml) > KVM_MEMSLOTS_RESERVED &&
           lacking_take(kml, KVM_LACKING_EXPENDABLE, section);
}

static const KVMLackingSection *lowest_waiting(KVMMemoryListener *kml)
{
    KVMLackingSection *lacking = kvm_memslots_first_lacking(kml);

    while (lacking && lacking->error) {
        lacking = kvm_memslots_next_lacking(lacking);
    }
    return lacking;
}

void kvm_memslots_report(KVMMemoryListener *kml)
{
    const KVMLackingSection *lacking;

    if (!kml->nr_lacking_new) {
        return;
    }
    lacking = lowest_waiting(kml);
    /* A guest can cause one each time that it turns a BAR off and on */
    if (!lacking || !is_time(&kml->lacking_reported_ns, REPORT_NS)) {
        return;
    }
    warn_report("%s: KVM has no memslot for %u more ranges of devices' memory,"
                " of %u: '%s' at 0x%" HWADDR_PRIx " is the lowest that is"
                " emulated now", kml->listener.address_space->name,
                kml->nr_lacking_new, kml->slots.max,
                memory_region_name(lacking->section.mr),
                lacking->section.offset_within_address_space);
    kml->nr_lacking_new = 0;
}

KVMLackingSection *kvm_memslots_first_lacking(KVMMemoryListener *kml)
{
    return lacking_at(kml, 0, HWADDR_MAX);
}

KVMLackingSection *kvm_memslots_next_lacking(KVMLackingSection *lacking)
{
    return lacking_of(interval_tree_iter_next(&lacking->node, 0, HWADDR_MAX));
}
