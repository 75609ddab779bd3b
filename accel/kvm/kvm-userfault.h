/*
 * KVM userfault: what kvm-all.c and kvm-accel-ops.c call
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_KVM_USERFAULT_H
#define ACCEL_KVM_USERFAULT_H

#include "exec/memory.h"
#include "hw/core/cpu.h"
#include "system/kvm_int.h"
#include <linux/kvm.h>

/*
 * From kvm-all.c, which owns the memslots: the lock that protects them, and
 * the function that hands one to the kernel.
 */
extern QemuMutex kml_slots_lock;
int kvm_set_user_memory_region(KVMMemoryListener *kml, KVMSlot *slot, bool new);

/**
 * kvm_userfault_cut: find the end of a memslot, so that the next has a bitmap
 * @section: of memory
 * @start: guest address in @section where the memslot begins
 * @size: bytes of @section from there on
 *
 * KVM wants a memslot's bitmap to begin with a word.  A section that begins in
 * the middle of a word of its RAM block's bitmap is cut at the next word.  So
 * only its first pages, less than a word, have no bitmap.
 *
 * The result depends on the section and the host only, so that it is the same
 * when the memslots go away.  Nothing is cut where the host has no KVM userfault.
 * Memory of devices is not cut, as a device's section gets one memslot or none;
 * nor is memory with guest_memfd, which gets no bitmap.
 *
 * Context: kml_slots_lock held.
 * Returns: bytes of the memslot, at most @size.
 */
hwaddr kvm_userfault_cut(const MemoryRegionSection *section, hwaddr start,
                         hwaddr size);

/**
 * kvm_userfault_set_region: give a memslot its userfault bitmap
 * @region: about to be handed to KVM_SET_USER_MEMORY_REGION(2), everything
 *          but the size filled in, with the slot's other flags
 * @size: bytes of the slot
 *
 * Sets @region->userfault_bitmap, and KVM_MEM_USERFAULT in @region->flags if
 * the slot maps guarded memory and begins with a word of its bitmap; clears
 * them otherwise.
 *
 * Context: kml_slots_lock held.
 * Returns: true if the region needs KVM_SET_USER_MEMORY_REGION2.
 */
bool kvm_userfault_set_region(struct kvm_userspace_memory_region2 *region,
                              uint64_t size);

/**
 * kvm_userfault_handle_exit: KVM_EXIT_MEMORY_FAULT with the USERFAULT flag
 * @cpu: the vCPU, in its own thread
 * @attrs: of the access, tells SMM apart
 *
 * Context: outside the BQL.
 * Returns: 0 to enter the guest again, EXCP_INTERRUPT to go to the event
 * loop first.
 */
int kvm_userfault_handle_exit(CPUState *cpu, MemTxAttrs attrs);

/**
 * kvm_userfault_kick_vcpu_thread: AccelOpsClass::kick_vcpu_thread of KVM
 * @cpu: the vCPU to be kicked out of KVM_RUN or out of waiting for a page
 *
 * Context: any thread.
 */
void kvm_userfault_kick_vcpu_thread(CPUState *cpu);

/**
 * kvm_userfault_probe: does the flag do what it promises?
 * @kvm_fd: an open /dev/kvm
 * @errp: what went wrong
 *
 * Runs one vCPU of a scratch VM into a page that is marked missing.
 *
 * Returns: true if it left KVM_RUN as it should.
 */
bool kvm_userfault_probe(int kvm_fd, Error **errp);

#endif
