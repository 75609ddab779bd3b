/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVM_X86_MMU_USERFAULT_H
#define __KVM_X86_MMU_USERFAULT_H

#include <linux/kvm_userfault.h>

#include "mmu_internal.h"

#ifdef CONFIG_KVM_USERFAULT

int __kvm_mmu_faultin_userfault(struct kvm_vcpu *vcpu, struct kvm_page_fault *fault);

/**
 * kvm_mmu_faultin_userfault - stop a fault on a page that userspace has yet to bring
 * @vcpu:  the vCPU that faulted, or that prefaults
 * @fault: the fault, with a valid memslot
 *
 * Called without mmu_lock, before the pfn is looked up.
 *
 * Return: RET_PF_CONTINUE if the fault may go on, -EFAULT if KVM_RUN has to
 * return to userspace.
 */
static inline int kvm_mmu_faultin_userfault(struct kvm_vcpu *vcpu,
					    struct kvm_page_fault *fault)
{
	if (likely(!kvm_slot_userfault_enabled(fault->slot)))
		return RET_PF_CONTINUE;

	return __kvm_mmu_faultin_userfault(vcpu, fault);
}

#else /* !CONFIG_KVM_USERFAULT */

static inline int kvm_mmu_faultin_userfault(struct kvm_vcpu *vcpu,
					    struct kvm_page_fault *fault)
{
	return RET_PF_CONTINUE;
}

#endif /* CONFIG_KVM_USERFAULT */

#endif /* __KVM_X86_MMU_USERFAULT_H */
