/*
 * Memory of devices that has no memslot
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
 * can whoever plugs devices in.  And it can put a BAR where KVM refuses a
 * memslot: beyond the physical addresses that the CPU has, for example.
 *
 * The memory of a device that gets no memslot can still be accessed: KVM takes
 * it for MMIO, and QEMU finds the RAM that is there.  That is slow, a locked
 * instruction is not atomic there, those that KVM does not emulate (AVX, say;
 * on other architectures, all but simple loads and stores) fail, and code does
 * not run.  The device gets a memslot once one is free.
 *
 * The guest's own memory must not get into that state, so it has the last
 * KVM_MEMSLOTS_RESERVED memslots for itself.  They are also for two kinds of
 * devices' memory: ROM devices, as code of the firmware runs there, and memory
 * that KVM itself reads or writes.
 *
 * All of this is called with kml_slots_lock held.
 */
#define KVM_MEMSLOTS_RESERVED 64

typedef struct KVMLackingSection {
    IntervalTreeNode node;      /* in KVMMemoryListener::lacking, by address */
    MemoryRegionSection section;
    int error;                  /* KVM's -errno, or 0 if none was free */
    unsigned int round;         /* in which it was queued */
    KVMLackingQueue queue;
    QTAILQ_ENTRY(KVMLackingSection) next;   /* in that queue */
} KVMLackingSection;

/**
 * kvm_memslots_init: no section lacks a memslot yet
 * @kml: the address space
 */
void kvm_memslots_init(KVMMemoryListener *kml);

/**
 * kvm_memslots_may_lack: does a section work without memslots?
 * @section: the section
 *
 * Returns: true for memory of a device that is not private to the guest.
 */
bool kvm_memslots_may_lack(const MemoryRegionSection *section);

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
 * @error: -errno for which KVM has refused it, or 0 if none is free
 *
 * Aborts if it would not work without one.
 */
void kvm_memslots_lack(KVMMemoryListener *kml,
                       const MemoryRegionSection *section, int error);

/**
 * kvm_memslots_forget: a section that has no memslot is not mapped any more
 * @kml: of its address space
 * @section: the section, with which kvm_memslots_lack() was called or not
 */
void kvm_memslots_forget(KVMMemoryListener *kml,
                         const MemoryRegionSection *section);

/**
 * kvm_memslots_begin: a round of kvm_memslots_take() begins
 * @kml: the address space
 *
 * From time to time, sections that KVM had no room for are tried again.
 */
void kvm_memslots_begin(KVMMemoryListener *kml);

/**
 * kvm_memslots_take: a section that may get a memslot now
 * @kml: the address space
 * @section: set to the section that has lacked one, and is forgotten
 *
 * A section that lacks one again is not returned again in this round.
 *
 * Returns: false if there is none, or still no memslot is free.
 */
bool kvm_memslots_take(KVMMemoryListener *kml, MemoryRegionSection *section);

/**
 * kvm_memslots_report: warn of sections for which newly none was free
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
