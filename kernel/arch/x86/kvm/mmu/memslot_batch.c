// SPDX-License-Identifier: GPL-2.0-only
/*
 * Many changes of memslots in one step: the x86 MMU.
 *
 * Copyright 2026 Postern developers
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kvm_host.h>
#include <linux/kvm_memslot_batch.h>
#include <linux/lockdep.h>

#include "mmu.h"
#include "mmu_internal.h"

bool kvm_arch_memslot_batch_has_shadow(struct kvm *kvm)
{
	lockdep_assert_held(&kvm->slots_arch_lock);

	/* Once set it stays; it is set with slots_arch_lock held. */
	return kvm_shadow_root_allocated(kvm);
}

bool kvm_arch_memslot_batch_zap_all(struct kvm *kvm)
{
	lockdep_assert_held(&kvm->slots_lock);

	/* The quirk can be disabled at any time: look once, and act on that. */
	if (!kvm_memslot_flush_zap_all(kvm))
		return false;

	kvm_mmu_zap_all_fast(kvm);
	return true;
}

/*
 * Before a fault of KVM_PRE_FAULT_MEMORY on @gfn, each time that it is tried.
 * It is tried again without leaving a section of kvm->srcu, so what gets nowhere
 * before that ends must not be.
 *
 * Returns 0, -EAGAIN if memslots have to change first, or another error.
 */
int kvm_mmu_prepare_prefault(struct kvm_vcpu *vcpu, gfn_t gfn)
{
	const struct kvm_memory_slot *slot = kvm_vcpu_gfn_to_memslot(vcpu, gfn);

	/* Whoever deletes or moves it waits for this section. */
	if (slot && slot->flags & KVM_MEMSLOT_INVALID)
		return -EAGAIN;
	if (kvm_memslot_batch_refuses(vcpu->kvm, gfn))
		return -EAGAIN;

	/* When all mappings are zapped, it is entering the guest that does this. */
	if (kvm_check_request(KVM_REQ_MMU_FREE_OBSOLETE_ROOTS, vcpu))
		kvm_mmu_free_obsolete_roots(vcpu);
	return kvm_mmu_reload(vcpu);
}
