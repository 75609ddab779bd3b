/*
 * Unbacked sections: memory of devices that has no memslot
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_KVM_UNBACKED_H
#define ACCEL_KVM_UNBACKED_H

#include "exec/memory.h"
#include "qemu/interval-tree.h"
#include "system/kvm_int.h"

/*
 * All functions are called with kml_slots_lock held.
 *
 * A guest can cause more memslots than KVM has, by where it puts BARs, and so
 * can whoever plugs devices in.  And it can put a BAR where KVM refuses a
 * memslot, beyond the CPU's physical addresses for example.
 *
 * A device's memory without a memslot can still be accessed: KVM takes it for
 * MMIO, and QEMU finds the RAM that is there.  That is slow; a locked
 * instruction is not atomic; an instruction that KVM does not emulate fails
 * (AVX, say; on other architectures, all but simple loads and stores); and code
 * does not run.  The section gets a memslot once one is free.
 *
 * The guest's own memory needs its memslots, so KVM_MEMSLOTS_RESERVED memslots
 * are reserved for it.  Two kinds of devices' memory may use them, too: ROM
 * devices, which the firmware runs from, and memory that KVM itself accesses.
 */
#define KVM_MEMSLOTS_RESERVED 64

typedef struct KVMUnbackedSection {
    IntervalTreeNode node;      /* in KVMUnbacked::sections */
    MemoryRegionSection section;
    int error;                  /* KVM's -errno, or 0 if no memslot was free */
    unsigned int round;         /* no retry up to this one */
    KVMUnbackedQueue queue;
    QTAILQ_ENTRY(KVMUnbackedSection) next;      /* in that queue */
} KVMUnbackedSection;

/* Bytes that one memslot may have, in kvm-all.c */
extern hwaddr kvm_max_slot_size;

/* Add memslots for a section, or remove them: kvm_set_phys_mem() */
typedef void KVMSetSection(KVMMemoryListener *kml, MemoryRegionSection *section,
                           bool add);

/**
 * kvm_unbacked_works: does a section work without memslots?
 * @section: the section
 *
 * Returns: true for memory of a device that is not private to the guest.
 */
bool kvm_unbacked_works(const MemoryRegionSection *section);

/**
 * kvm_unbacked_check: may a section have memslots?
 * @kml: of its address space
 * @section: the section; its region is referenced as long as it is mapped
 * @nr: of its memslots
 *
 * Aborts if it may not, but would not work without.
 *
 * Returns: true if it may; otherwise it is unbacked now.
 */
bool kvm_unbacked_check(KVMMemoryListener *kml,
                        const MemoryRegionSection *section, uint64_t nr);

/**
 * kvm_unbacked_refused: KVM has refused a section's memslots
 * @kml: of its address space
 * @section: as for kvm_unbacked_check(); it is unbacked now
 * @error: KVM's -errno
 *
 * Aborts if it does not work without.
 */
void kvm_unbacked_refused(KVMMemoryListener *kml,
                          const MemoryRegionSection *section, int error);

/**
 * kvm_unbacked_remove: a section without memslots is not mapped any more
 * @kml: of its address space
 * @section: the section, unbacked or not
 */
void kvm_unbacked_remove(KVMMemoryListener *kml,
                         const MemoryRegionSection *section);

/**
 * kvm_unbacked_retry: at the end of a transaction, add memslots that are free
 * now
 * @kml: the address space
 * @set: adds the memslots of a section that was unbacked
 *
 * Sections for which no memslot was free in this transaction are left out.
 * From time to time, sections that KVM had no room for are tried again.  Warns
 * of sections for which no memslot was free, once a second at most, and of all
 * since the last warning.
 */
void kvm_unbacked_retry(KVMMemoryListener *kml, KVMSetSection *set);

/**
 * kvm_unbacked_first: get the unbacked section with the lowest address
 * @kml: the address space
 *
 * Returns: the section, or NULL.
 */
KVMUnbackedSection *kvm_unbacked_first(KVMMemoryListener *kml);

/**
 * kvm_unbacked_next: get the next unbacked section
 * @section: from either of these functions
 *
 * Returns: the section, or NULL.
 */
KVMUnbackedSection *kvm_unbacked_next(KVMUnbackedSection *section);

#endif
