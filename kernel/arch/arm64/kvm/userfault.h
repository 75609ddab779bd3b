/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * KVM userfault: how a stage 2 fault checks the bitmap.
 */
#ifndef __ARM64_KVM_USERFAULT_H
#define __ARM64_KVM_USERFAULT_H

#include <linux/kvm_userfault.h>

int __kvm_faultin_userfault(struct kvm_vcpu *vcpu, struct kvm_memory_slot *memslot,
			    unsigned long hva, unsigned long *max_size);

/**
 * kvm_faultin_userfault - stop a fault on a page that is missing
 * @vcpu:     the vCPU that faulted
 * @memslot:  the memslot
 * @hva:      the page; for a fault of a nested guest, that of its hypervisor
 * @mmu_seq:  set to mmu_invalidate_seq, as read before the bitmap
 * @max_size: set to PAGE_SIZE, PMD_SIZE or PUD_SIZE if the fault may go on: the
 *            largest block around the page whose bits are all clear.  The caller
 *            checks all other limits on blocks.
 *
 * Called without mmu_lock and mmap_lock, before the pfn is looked up.  With
 * userfault, the fault must use @mmu_seq, and no later count.
 *
 * Return: 0 if the fault may go on, 1 if the vCPU is halted for the page, -EFAULT if
 * KVM_RUN must return that.
 */
static inline int kvm_faultin_userfault(struct kvm_vcpu *vcpu,
					struct kvm_memory_slot *memslot,
					unsigned long hva, unsigned long *mmu_seq,
					unsigned long *max_size)
{
	*mmu_seq = vcpu->kvm->mmu_invalidate_seq;
	*max_size = PUD_SIZE;
	if (likely(!kvm_slot_userfault_enabled(memslot)))
		return 0;

	return __kvm_faultin_userfault(vcpu, memslot, hva, max_size);
}

/**
 * kvm_arm_userfault_halt - halt a vCPU that waits for a page already
 * @vcpu: the vCPU, which has faulted on the page
 * @gfn:  the page, whose bit is set
 *
 * Return: true if the vCPU is halted before it enters the guest again.
 */
bool kvm_arm_userfault_halt(struct kvm_vcpu *vcpu, gfn_t gfn);

/**
 * kvm_arm_userfault_offer - let userspace accept an exit, if the vCPU can be halted
 * @vcpu: the vCPU, after kvm_userfault_exit()
 * @gfn:  the page
 */
void kvm_arm_userfault_offer(struct kvm_vcpu *vcpu, gfn_t gfn);

/**
 * kvm_arm_userfault_requests - handle a vCPU's requests to halt and to go on
 * @vcpu: the vCPU, which is loaded
 */
void kvm_arm_userfault_requests(struct kvm_vcpu *vcpu);

/**
 * kvm_arm_vcpu_enable_cap - the vCPU's ioctl KVM_ENABLE_CAP
 * @vcpu: the vCPU, whose mutex is held
 * @arg:  a struct kvm_enable_cap
 *
 * Return: 0 or a negative errno.
 */
int kvm_arm_vcpu_enable_cap(struct kvm_vcpu *vcpu, const void __user *arg);

#endif /* __ARM64_KVM_USERFAULT_H */
