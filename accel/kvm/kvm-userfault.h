/*
 * KVM userfault: the hooks in kvm-all.c and kvm-accel-ops.c
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
 * From kvm-all.c: the lock that protects the memslots, and the function that
 * sets a memslot in the kernel.
 */
extern QemuMutex kml_slots_lock;
int kvm_set_user_memory_region(KVMMemoryListener *kml, KVMSlot *slot, bool new);

/**
 * kvm_userfault_cut: find the end of a memslot, so that the next one has a
 * bitmap
 * @section: a section of memory
 * @start: guest address in @section where the memslot begins
 * @size: bytes of @section from there on
 *
 * KVM requires that a memslot's bitmap begins with a word.  A section that
 * begins in the middle of a word of its RAMBlock's bitmap is cut at the next
 * word.  So only its first pages, less than a word, have no bitmap.
 *
 * The result depends only on the section and the host, so that it is the same
 * when the memslots are removed.  Nothing is cut if the host does not support
 * KVM userfault.  Memory of devices is not cut, as a device's section gets one
 * memslot or none.  Memory with guest_memfd is not cut, as it gets no bitmap.
 *
 * Context: kml_slots_lock held.
 * Returns: the size of the memslot in bytes, at most @size.
 */
hwaddr kvm_userfault_cut(const MemoryRegionSection *section, hwaddr start,
                         hwaddr size);

/**
 * kvm_userfault_set_region: give a memslot its userfault bitmap
 * @region: argument of KVM_SET_USER_MEMORY_REGION(2), with all members but the
 *          size, and with the slot's other flags
 * @size: bytes of the slot
 *
 * Sets @region->userfault_bitmap, and KVM_MEM_USERFAULT in @region->flags, if
 * the slot maps guarded memory and begins with a word of its bitmap.  Clears
 * them otherwise.
 *
 * Context: kml_slots_lock held.
 * Returns: true if the region needs KVM_SET_USER_MEMORY_REGION2.
 */
bool kvm_userfault_set_region(struct kvm_userspace_memory_region2 *region,
                              uint64_t size);

/**
 * kvm_userfault_handle_exit: handle KVM_EXIT_MEMORY_FAULT with the USERFAULT
 * flag
 * @cpu: the vCPU, in its own thread
 * @attrs: of the access; they tell SMM from normal accesses
 *
 * Context: outside the BQL.
 * Returns: 0 to enter the guest again, EXCP_INTERRUPT to go to the event
 * loop first.
 */
int kvm_userfault_handle_exit(CPUState *cpu, MemTxAttrs attrs);

/**
 * kvm_userfault_kick_vcpu_thread: AccelOpsClass::kick_vcpu_thread of KVM
 * @cpu: the vCPU, which is in KVM_RUN or waits for a page
 *
 * Context: any thread.
 */
void kvm_userfault_kick_vcpu_thread(CPUState *cpu);

#endif
