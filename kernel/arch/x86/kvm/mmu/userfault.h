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
 * Return: RET_PF_CONTINUE if the fault may go on, RET_PF_RETRY if the vCPU is halted
 * until the page comes, -EFAULT if KVM_RUN must return that.
 */
static inline int kvm_mmu_faultin_userfault(struct kvm_vcpu *vcpu,
					    struct kvm_page_fault *fault)
{
	/* Always true without CONFIG_KVM_USERFAULT. */
	if (likely(!kvm_slot_userfault_enabled(fault->slot)))
		return RET_PF_CONTINUE;

	return __kvm_mmu_faultin_userfault(vcpu, fault);
}

/**
 * kvm_mmu_apf_token - get a token for an async page fault of either kind
 * @vcpu: the vCPU
 *
 * Return: a token that no pending page of the vCPU has.  It is in mmu.c.
 */
u32 kvm_mmu_apf_token(struct kvm_vcpu *vcpu);

#ifdef CONFIG_KVM_USERFAULT_ASYNC

/**
 * kvm_mmu_userfault_token_pending - does a page that was accepted have this token?
 * @vcpu:  the vCPU
 * @token: the token
 */
bool kvm_mmu_userfault_token_pending(struct kvm_vcpu *vcpu, u32 token);

/**
 * kvm_mmu_userfault_halt - halt a vCPU that accesses a page which it has accepted
 * @vcpu:  the vCPU
 * @fault: the fault on a missing page
 *
 * Return: true if the vCPU will be halted instead of leaving KVM_RUN.
 */
bool kvm_mmu_userfault_halt(struct kvm_vcpu *vcpu, const struct kvm_page_fault *fault);

/**
 * kvm_mmu_userfault_offer - let userspace accept an exit, if the guest can go on
 * @vcpu:  the vCPU, whose exit is prepared
 * @fault: the fault on a missing page
 */
void kvm_mmu_userfault_offer(struct kvm_vcpu *vcpu, const struct kvm_page_fault *fault);

#else

static inline bool kvm_mmu_userfault_token_pending(struct kvm_vcpu *vcpu, u32 token)
{
	return false;
}

static inline bool kvm_mmu_userfault_halt(struct kvm_vcpu *vcpu,
					  const struct kvm_page_fault *fault)
{
	return false;
}

static inline void kvm_mmu_userfault_offer(struct kvm_vcpu *vcpu,
					   const struct kvm_page_fault *fault)
{
}

#endif /* CONFIG_KVM_USERFAULT_ASYNC */

#endif /* __KVM_X86_MMU_USERFAULT_H */
