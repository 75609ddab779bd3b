/*
 * Memory of devices that has no memslot since none was free
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qemu/timer.h"
#include "hw/qdev-core.h"
#include "system/kvm.h"
#include "kvm-memslots.h"

/*
 * Only memory of devices.  Others than x86 cannot say what an access to MMIO is
 * about, if it is not one of a few instructions.  Private memory has to have a
 * memslot.
 */
static bool may_lack(const MemoryRegionSection *section)
{
#ifdef TARGET_I386
    return section->mr->owner &&
           object_dynamic_cast(section->mr->owner, TYPE_DEVICE) &&
           !memory_region_has_guest_memfd(section->mr);
#else
    return false;
#endif
}

static unsigned int nr_free(const KVMMemoryListener *kml)
{
    return kml->slots.max - kml->slots.nr;
}

bool kvm_memslots_enough(const KVMMemoryListener *kml,
                         const MemoryRegionSection *section, uint64_t nr)
{
    /* Almost always there is enough, whatever it is */
    return nr_free(kml) >= nr + KVM_MEMSLOTS_RESERVED ||
           (nr_free(kml) >= nr && !may_lack(section));
}

void kvm_memslots_lack(KVMMemoryListener *kml,
                       const MemoryRegionSection *section)
{
    KVMLackingSection *lacking;

    if (!may_lack(section)) {
        error_report("KVM has no memslot for '%s' at 0x%" HWADDR_PRIx
                     " any more", memory_region_name(section->mr),
                     section->offset_within_address_space);
        abort();
    }

    lacking = g_new0(KVMLackingSection, 1);
    lacking->section = *section;
    /* The next view may not have it any more */
    lacking->section.fv = NULL;
    lacking->node.start = section->offset_within_address_space;
    lacking->node.last = lacking->node.start +
                         (int128_getlo(section->size) - 1);
    interval_tree_insert(&lacking->node, &kml->lacking);
    kml->nr_lacking_new++;
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

bool kvm_memslots_take(KVMMemoryListener *kml, MemoryRegionSection *section)
{
    KVMLackingSection *lacking = kvm_memslots_first_lacking(kml);

    if (!lacking || nr_free(kml) <= KVM_MEMSLOTS_RESERVED) {
        return false;
    }
    *section = lacking->section;
    lacking_free(kml, lacking);
    return true;
}

void kvm_memslots_report(KVMMemoryListener *kml)
{
    const KVMLackingSection *lacking = kvm_memslots_first_lacking(kml);
    int64_t now = get_clock();

    /* A guest can cause one each time that it turns a BAR off and on */
    if (!kml->nr_lacking_new || !lacking ||
        (kml->lacking_reported_ns &&
         now - kml->lacking_reported_ns < NANOSECONDS_PER_SECOND)) {
        return;
    }
    warn_report("%s: KVM has no memslot for %u more ranges of devices' memory,"
                " of %u: '%s' at 0x%" HWADDR_PRIx " is the lowest that is"
                " emulated now", kml->listener.address_space->name,
                kml->nr_lacking_new, kml->slots.max,
                memory_region_name(lacking->section.mr),
                lacking->section.offset_within_address_space);
    kml->nr_lacking_new = 0;
    kml->lacking_reported_ns = now;
}

KVMLackingSection *kvm_memslots_first_lacking(KVMMemoryListener *kml)
{
    return lacking_at(kml, 0, HWADDR_MAX);
}

KVMLackingSection *kvm_memslots_next_lacking(KVMLackingSection *lacking)
{
    return lacking_of(interval_tree_iter_next(&lacking->node, 0, HWADDR_MAX));
}
