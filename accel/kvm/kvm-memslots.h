/*
 * Memory of devices that has no memslot since none was free
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_KVM_MEMSLOTS_H
#define ACCEL_KVM_MEMSLOTS_H

#include "exec/memory.h"
#include "qemu/interval-tree.h"
#include "system/kvm_int.h"

/*
 * A guest can cause more memslots than KVM has, by where it puts BARs, and so
 * can who plugs devices in.  On x86, the memory of a device that gets none can
 * still be accessed: KVM takes it for MMIO, and QEMU finds the RAM that is
 * there.  That is slow, a locked instruction is not atomic there, those that
 * KVM does not emulate (AVX, say) fail, and code does not run.  It gets a
 * memslot once one is free.
 *
 * The guest's own memory must not get into that state, so it has the last
 * KVM_MEMSLOTS_RESERVED memslots for itself.
 *
 * All of this is called with kml_slots_lock held.
 */
#define KVM_MEMSLOTS_RESERVED 64

typedef struct KVMLackingSection {
    IntervalTreeNode node;      /* in KVMMemoryListener::lacking, by address */
    MemoryRegionSection section;
} KVMLackingSection;

/**
 * kvm_memslots_enough: may a section have memslots?
 * @kml: of its address space
 * @section: the section
 * @nr: how many it needs
 */
bool kvm_memslots_enough(const KVMMemoryListener *kml,
                         const MemoryRegionSection *section, uint64_t nr);

/**
 * kvm_memslots_lack: a section gets no memslot
 * @kml: of its address space
 * @section: the section; its region is referenced for as long as it is mapped
 *
 * Aborts if it would not work without one.
 */
void kvm_memslots_lack(KVMMemoryListener *kml,
                       const MemoryRegionSection *section);

/**
 * kvm_memslots_forget: a section that has no memslot is not mapped any more
 * @kml: of its address space
 * @section: the section, with which kvm_memslots_lack() was called or not
 */
void kvm_memslots_forget(KVMMemoryListener *kml,
                         const MemoryRegionSection *section);

/**
 * kvm_memslots_take: a section that may get a memslot now
 * @kml: the address space
 * @section: set to the section that has lacked one, and is forgotten
 *
 * Returns: false if there is none, or still no memslot is free.
 */
bool kvm_memslots_take(KVMMemoryListener *kml, MemoryRegionSection *section);

/**
 * kvm_memslots_report: warn of sections that are new among those
 * @kml: the address space
 *
 * In one line for all since the last time, and once a second at most.
 */
void kvm_memslots_report(KVMMemoryListener *kml);

/**
 * kvm_memslots_first_lacking: the first section that has no memslot
 * @kml: the address space
 *
 * Returns: the section, or NULL.
 */
KVMLackingSection *kvm_memslots_first_lacking(KVMMemoryListener *kml);

/**
 * kvm_memslots_next_lacking: the next one
 * @lacking: from either of these functions
 *
 * Returns: the section, or NULL.
 */
KVMLackingSection *kvm_memslots_next_lacking(KVMLackingSection *lacking);

#endif
