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
 * have it, or it is switched off, changes are made one by one as ever.
 *
 * All of this is called with kml_slots_lock held.
 */

/**
 * kvm_region_batch_begin: collect changes from now on
 * @kml: the address space
 *
 * Returns: false if changes cannot be collected; then each is made at once.
 */
bool kvm_region_batch_begin(KVMMemoryListener *kml);

/**
 * kvm_region_batch_must_stop: do vCPUs have to be out of KVM for a transaction?
 * @kml: the address space, with the transaction that is to be committed
 * @overlaps: what it adds overlaps with what it removes
 *
 * What is written while vCPUs run, after dirty bits were collected and before
 * the memslot is gone, would be lost.  And there are changes that KVM cannot
 * make without a moment in between that vCPUs could see: where it shadows page
 * tables, or where they are too many for one step.
 */
bool kvm_region_batch_must_stop(KVMMemoryListener *kml, bool overlaps);

/**
 * kvm_region_set: have KVM change a memslot
 * @kml: the address space
 * @region: the change
 * @region2: it has members that only KVM_SET_USER_MEMORY_REGION2 takes
 *
 * Returns: 0 if it is made or, after kvm_region_batch_begin(), collected; else
 * -errno.
 */
int kvm_region_set(KVMMemoryListener *kml,
                   struct kvm_userspace_memory_region2 *region, bool region2);

/**
 * kvm_region_batch_end: make the changes that have been collected
 * @kml: the address space
 * @atomic: vCPUs run, and must not see anything in between; with the BQL held
 *
 * If the host has no memory for all of them at the same time, they are made one
 * by one, with vCPUs stopped if @atomic.  What fails is reported.
 *
 * Returns: 0, or -errno; then some of the changes may be made.
 */
int kvm_region_batch_end(KVMMemoryListener *kml, bool atomic);

/**
 * kvm_region_batch_add_property: let it be switched off
 * @oc: the accelerator's class
 */
void kvm_region_batch_add_property(ObjectClass *oc);

#endif
