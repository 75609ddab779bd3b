/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __ARM64_KVM_USERFAULT_H
#define __ARM64_KVM_USERFAULT_H

#include <linux/kvm_userfault.h>

#ifdef CONFIG_KVM_USERFAULT

int __kvm_faultin_userfault(struct kvm_vcpu *vcpu, struct kvm_memory_slot *memslot,
			    gfn_t gfn);
unsigned long __kvm_userfault_max_size(struct kvm *kvm, struct kvm_memory_slot *memslot,
				       unsigned long hva);

/**
 * kvm_faultin_userfault - stop a fault on a page that userspace has yet to bring
 * @vcpu:    the vCPU that faulted
 * @memslot: the memslot
 * @gfn:     the page, of a nested guest's fault that of its hypervisor
 *
 * Called without mmu_lock and mmap_lock, before the pfn is looked up.
 *
 * Return: 0 if the fault may go on, -EFAULT if KVM_RUN has to return to
 * userspace.
 */
static inline int kvm_faultin_userfault(struct kvm_vcpu *vcpu,
					struct kvm_memory_slot *memslot, gfn_t gfn)
{
	if (likely(!kvm_slot_userfault_enabled(memslot)))
		return 0;

	return __kvm_faultin_userfault(vcpu, memslot, gfn);
}

/**
 * kvm_userfault_max_size - how much may a fault map?
 * @kvm:     the VM
 * @memslot: the memslot
 * @hva:     the page, which has passed kvm_faultin_userfault()
 *
 * Called without mmu_lock and mmap_lock, before the pfn is looked up.
 *
 * Return: PAGE_SIZE, PMD_SIZE or PUD_SIZE: the largest block with the page in
 * it whose bits are all clear.  All else that KVM asks of a block is for the
 * caller to look at.
 */
static inline unsigned long kvm_userfault_max_size(struct kvm *kvm,
						   struct kvm_memory_slot *memslot,
						   unsigned long hva)
{
	if (likely(!kvm_slot_userfault_enabled(memslot)))
		return PUD_SIZE;

	return __kvm_userfault_max_size(kvm, memslot, hva);
}

#else /* !CONFIG_KVM_USERFAULT */

static inline int kvm_faultin_userfault(struct kvm_vcpu *vcpu,
					struct kvm_memory_slot *memslot, gfn_t gfn)
{
	return 0;
}

static inline unsigned long kvm_userfault_max_size(struct kvm *kvm,
						   struct kvm_memory_slot *memslot,
						   unsigned long hva)
{
	return PUD_SIZE;
}

#endif /* CONFIG_KVM_USERFAULT */

#endif /* __ARM64_KVM_USERFAULT_H */
