/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __ARM64_KVM_USERFAULT_H
#define __ARM64_KVM_USERFAULT_H

#include <linux/kvm_userfault.h>

#ifdef CONFIG_KVM_USERFAULT

int __kvm_faultin_userfault(struct kvm_vcpu *vcpu, struct kvm_memory_slot *memslot,
			    unsigned long hva, unsigned long *max_size);

/**
 * kvm_faultin_userfault - stop a fault on a page that userspace has yet to bring
 * @vcpu:     the vCPU that faulted
 * @memslot:  the memslot
 * @hva:      the page, of a nested guest's fault that of its hypervisor
 * @max_size: set to PAGE_SIZE, PMD_SIZE or PUD_SIZE if the fault may go on: the
 *            largest block with the page in it whose bits are all clear.  All
 *            else that KVM asks of a block is for the caller to look at.
 *
 * Called without mmu_lock and mmap_lock, before the pfn is looked up and after
 * mmu_invalidate_seq has been read.  Userspace may set a bit and then drop the
 * page; a fault that has read the bit before must find its count outdated.
 *
 * Return: 0 if the fault may go on, -EFAULT if KVM_RUN has to return to
 * userspace.
 */
static inline int kvm_faultin_userfault(struct kvm_vcpu *vcpu,
					struct kvm_memory_slot *memslot,
					unsigned long hva, unsigned long *max_size)
{
	*max_size = PUD_SIZE;
	if (likely(!kvm_slot_userfault_enabled(memslot)))
		return 0;

	return __kvm_faultin_userfault(vcpu, memslot, hva, max_size);
}

#else /* !CONFIG_KVM_USERFAULT */

static inline int kvm_faultin_userfault(struct kvm_vcpu *vcpu,
					struct kvm_memory_slot *memslot,
					unsigned long hva, unsigned long *max_size)
{
	*max_size = PUD_SIZE;
	return 0;
}

#endif /* CONFIG_KVM_USERFAULT */

#endif /* __ARM64_KVM_USERFAULT_H */
