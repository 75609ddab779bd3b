/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * KVM userfault: how a fault of the x86 MMU checks the bitmap.
 */
#ifndef __KVM_X86_MMU_USERFAULT_H
#define __KVM_X86_MMU_USERFAULT_H

#include <linux/kvm_userfault.h>

#include "mmu_internal.h"

int __kvm_mmu_faultin_userfault(struct kvm_vcpu *vcpu, struct kvm_page_fault *fault);

/**
 * kvm_mmu_faultin_userfault - stop a fault on a page that is missing
 * @vcpu:  the vCPU that faulted, or that prefaults
 * @fault: the fault, with a valid memslot; its max_level may be lowered
 *
 * Called without mmu_lock, before the pfn is looked up.
 *
 * Return: RET_PF_CONTINUE if the fault may go on, -EFAULT if KVM_RUN must return
 * that.
 */
static inline int kvm_mmu_faultin_userfault(struct kvm_vcpu *vcpu,
					    struct kvm_page_fault *fault)
{
	/* Always true without CONFIG_KVM_USERFAULT. */
	if (likely(!kvm_slot_userfault_enabled(fault->slot)))
		return RET_PF_CONTINUE;

	return __kvm_mmu_faultin_userfault(vcpu, fault);
}

#endif /* __KVM_X86_MMU_USERFAULT_H */
