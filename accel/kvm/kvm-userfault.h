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
#include "kvm-unbacked.h"
#include <linux/kvm.h>

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
 * KVM userfault.  Memory that a device owns is not cut, nor is memory with
 * guest_memfd, which gets no bitmap.
 *
 * Context: kml_slots_lock held.
 * Returns: the size of the memslot in bytes, at most @size.
 */
hwaddr kvm_userfault_cut(const MemoryRegionSection *section, hwaddr start,
                         hwaddr size);

/* Bytes of the memslot at @start, where @size bytes of @section are left */
static inline hwaddr kvm_slot_size(const MemoryRegionSection *section,
                                   hwaddr start, hwaddr size)
{
    return MIN(kvm_max_slot_size, kvm_userfault_cut(section, start, size));
}

/* Memslots for @size bytes of @section, which are not 0, from @start on */
static inline uint64_t kvm_slots_needed(const MemoryRegionSection *section,
                                        hwaddr start, hwaddr size)
{
    hwaddr rest = size - kvm_slot_size(section, start, size);

    return 1 + DIV_ROUND_UP(rest, kvm_max_slot_size);
}

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
