/*
 * Changes of memslots that KVM makes in one step
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_KVM_REGION_BATCH_H
#define ACCEL_KVM_REGION_BATCH_H

#include <linux/kvm.h>
#include "qom/object.h"
#include "system/kvm_int.h"
#include "kvm-unbacked.h"

/*
 * KVM_SET_USER_MEMORY_REGIONS makes all changes or none, with one grace period
 * in the host's kernel, and vCPUs need not be stopped.  If the host does not
 * have it, or it is switched off, the changes are made one by one.
 *
 * If KVM refuses a memslot for a section that works unbacked, the section is
 * unbacked (kvm-unbacked.h), and all other changes are made.
 *
 * The functions that say no other context are called with kml_slots_lock held.
 */

/*
 * From kvm-all.c: the lock that protects the memslots, and the function that
 * adds the change of a memslot to the batch.  It returns 0: errors come from
 * kvm_region_batch_end().
 */
extern QemuMutex kml_slots_lock;
int kvm_set_user_memory_region(KVMMemoryListener *kml, KVMSlot *slot, bool new);

/**
 * kvm_region_batch_begin: begin to collect changes
 * @kml: the address space
 */
void kvm_region_batch_begin(KVMMemoryListener *kml);

/**
 * kvm_region_batch_begin_commit: begin to collect the changes of a transaction
 * @kml: the address space, with the transaction
 * @overlaps: added sections overlap removed ones
 *
 * Returns: true if vCPUs must be stopped until kvm_region_batch_end_commit().
 */
bool kvm_region_batch_begin_commit(KVMMemoryListener *kml, bool overlaps);

/**
 * kvm_region_batch_section: the next changes are those of a section's memslots
 * @kml: the address space, after kvm_region_batch_begin()
 * @section: the section
 */
void kvm_region_batch_section(KVMMemoryListener *kml,
                              const MemoryRegionSection *section);

/**
 * kvm_region_set: collect a change of a memslot
 * @kml: the address space, after kvm_region_batch_begin()
 * @region: the change
 */
void kvm_region_set(KVMMemoryListener *kml,
                    const struct kvm_userspace_memory_region2 *region);

/**
 * kvm_region_batch_end: make the collected changes
 * @kml: the address space
 * @atomic: vCPUs run, and must not see a moment in between; with the BQL held
 *
 * If the host has no memory for all of them at the same time, they are made one
 * by one, with vCPUs stopped if @atomic.  Errors are reported.
 *
 * Returns: 0, or -errno if KVM has refused a change for a section that needs
 * its memslots; then some of the changes may be made.
 */
int kvm_region_batch_end(KVMMemoryListener *kml, bool atomic);

/**
 * kvm_region_batch_end_commit: make the collected changes of a transaction
 * @kml: the address space, after kvm_region_batch_begin_commit()
 *
 * Aborts if kvm_region_batch_end() fails.
 */
void kvm_region_batch_end_commit(KVMMemoryListener *kml);

/**
 * kvm_region_log: change the dirty log of a section when the transaction
 * commits
 * @kml: the address space
 * @section: the section; the new FlatView keeps its region until then
 * @start: allocates the dirty bitmap of a memslot; NULL if the log stops
 *
 * When a migration begins or ends, the log changes for all of memory, and it
 * does so in one step.  The new FlatView is in place before the commit, so any
 * thread may clear dirty bits of the section: @start is called at once.
 *
 * Context: BQL held.
 * Returns: 0.
 */
int kvm_region_log(KVMMemoryListener *kml, MemoryRegionSection *section,
                   void (*start)(KVMSlot *slot));

/**
 * kvm_region_log_commit: make the changes of kvm_region_log()
 * @kml: the address space
 * @update_flags: collects the changes of a section's memslots
 *
 * Context: BQL held.
 */
void kvm_region_log_commit(KVMMemoryListener *kml,
                           int (*update_flags)(KVMMemoryListener *kml,
                                               MemoryRegionSection *section));

/**
 * kvm_region_batch_add_property: add the property x-memslot-batch
 * @oc: the accelerator's class
 *
 * Context: class initialization.
 */
void kvm_region_batch_add_property(ObjectClass *oc);

#endif
