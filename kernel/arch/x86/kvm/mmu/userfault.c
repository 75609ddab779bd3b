// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM userfault for the x86 MMU.
 *
 * Copyright 2026 Postern developers
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kvm_host.h>
#include <linux/lockdep.h>

#include "userfault.h"

int __kvm_mmu_faultin_userfault(struct kvm_vcpu *vcpu, struct kvm_page_fault *fault)
{
	int r;

	r = kvm_userfault_test(fault->slot, fault->gfn);
	if (r <= 0)
		return r;

	/*
	 * Nobody waits for the page of a prefetch: KVM_PRE_FAULT_MEMORY reports
	 * the error by itself, and a completed async page fault is merely a
	 * hint, after which the guest faults again.  Either way kvm_run isn't
	 * theirs to fill.
	 */
	if (!fault->prefetch)
		kvm_userfault_prepare_exit(vcpu, fault->gfn, fault->write,
					   fault->exec, fault->is_private);
	return -EFAULT;
}

void kvm_arch_userfault_zap(struct kvm *kvm, const struct kvm_memory_slot *slot)
{
	lockdep_assert_held(&kvm->slots_lock);

	/*
	 * Unlike a deleted memslot this one keeps its rmaps and its shadowed
	 * page tables, so zapping the leafs is enough.  The range is zapped in
	 * all address spaces, which costs faults there, but no more.
	 */
	kvm_zap_gfn_range(kvm, slot->base_gfn, slot->base_gfn + slot->npages);
}

void kvm_arch_userfault_recover(struct kvm *kvm, const struct kvm_memory_slot *slot)
{
	lockdep_assert_held(&kvm->slots_lock);

	kvm_mmu_zap_collapsible_sptes(kvm, slot);
}
