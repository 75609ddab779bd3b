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

/*
 * With KVM_SET_USER_MEMORY_REGIONS: all changes, or none, with one grace period
 * in the host's kernel, and vCPUs need not be stopped.  Where the host does not
 * have it, or it is switched off, changes are made one by one.
 *
 * If KVM refuses a memslot for memory of a device, that memory goes on without
 * memslots (kvm-memslots.h), and all other changes are made.
 *
 * All of this is called with kml_slots_lock held.
 */

/**
 * kvm_region_batch_begin: collect changes from now on
 * @kml: the address space
 */
void kvm_region_batch_begin(KVMMemoryListener *kml);

/**
 * kvm_region_batch_must_stop: must vCPUs be stopped while a transaction commits?
 * @kml: the address space, with the transaction that is to be committed
 * @overlaps: what it adds overlaps with what it removes
 *
 * What is written while vCPUs run, after dirty bits were collected and before
 * the memslot is gone, would be lost.  And there are changes that KVM cannot
 * make without a moment in between that vCPUs could see: where it has no lists,
 * where it shadows page tables, or where they are too many for one step.
 */
bool kvm_region_batch_must_stop(KVMMemoryListener *kml, bool overlaps);

/**
 * kvm_region_batch_section: the next changes are those of a section's memslots
 * @kml: the address space, after kvm_region_batch_begin()
 * @section: the section
 * @nr: how many memslots it has
 */
void kvm_region_batch_section(KVMMemoryListener *kml,
                              const MemoryRegionSection *section, uint64_t nr);

/**
 * kvm_region_set: collect a change of a memslot
 * @kml: the address space, after kvm_region_batch_begin()
 * @region: the change
 * @region2: it has members that only KVM_SET_USER_MEMORY_REGION2 takes
 */
void kvm_region_set(KVMMemoryListener *kml,
                    const struct kvm_userspace_memory_region2 *region,
                    bool region2);

/**
 * kvm_region_batch_end: make the changes that have been collected
 * @kml: the address space
 * @atomic: vCPUs run, and must not see anything in between; with the BQL held
 *
 * If the host has no memory for all of them at the same time, they are made one
 * by one, with vCPUs stopped if @atomic.  Errors are reported.
 *
 * Returns: 0, or -errno if KVM has refused a change of memory that must have its
 * memslots; then some of the changes may be made.
 */
int kvm_region_batch_end(KVMMemoryListener *kml, bool atomic);

/**
 * kvm_region_batch_add_property: let it be switched off
 * @oc: the accelerator's class
 */
void kvm_region_batch_add_property(ObjectClass *oc);

#endif
