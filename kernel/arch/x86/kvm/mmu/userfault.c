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

/* Is all of the huge page of @level around @gfn in the memslot, and present? */
static bool userfault_hpage_clear(const struct kvm_memory_slot *slot, gfn_t gfn,
				  u8 level)
{
	unsigned long npages = KVM_PAGES_PER_HPAGE(level);

	gfn = gfn_round_for_level(gfn, level);
	return gfn >= slot->base_gfn &&
	       gfn + npages <= slot->base_gfn + slot->npages &&
	       kvm_userfault_range_clear(slot, gfn, npages);
}

/*
 * The level of the largest page around the faulting one whose bits are all clear.
 * KVM's other limits on huge mappings, the size of the host's page among them,
 * are checked later under mmu_lock, where the bitmap can't be read.
 */
static u8 userfault_max_level(struct kvm *kvm, const struct kvm_page_fault *fault)
{
	const struct kvm_memory_slot *slot = fault->slot;
	u8 level;

	/* Dirty logging needs small pages, and guest_memfd has no huge ones. */
	if (kvm_slot_dirty_track_enabled(slot) || fault->is_private)
		return PG_LEVEL_4K;

	for (level = PG_LEVEL_4K; level < fault->max_level; level++) {
		/*
		 * Read the many bits of a 1 GiB page only if the host has
		 * mapped one.  Without mmu_lock the answer is a hint, and it
		 * decides only which bits are read: the level is looked up
		 * again under mmu_lock.  If the host maps the page later, a
		 * later fault replaces smaller mappings.
		 */
		if (level >= PG_LEVEL_2M &&
		    kvm_mmu_max_mapping_level(kvm, slot, fault->gfn,
					      fault->max_level) <= level)
			break;

		if (!userfault_hpage_clear(slot, fault->gfn, level + 1))
			break;
	}
	return level;
}

static int userfault_missing(struct kvm_vcpu *vcpu, const struct kvm_page_fault *fault)
{
	int r;

	if (kvm_mmu_userfault_halt(vcpu, fault))
		return RET_PF_RETRY;

	r = kvm_userfault_exit(vcpu, fault->gfn, fault->write, fault->exec,
			       fault->is_private);
	kvm_mmu_userfault_offer(vcpu, fault);
	return r;
}

int __kvm_mmu_faultin_userfault(struct kvm_vcpu *vcpu, struct kvm_page_fault *fault)
{
	int r;

	/*
	 * No access waits for a prefetched page: KVM_PRE_FAULT_MEMORY returns the
	 * error itself, and a completed async page fault is only a hint, after
	 * which the guest faults again.  So don't touch kvm_run.
	 */
	if (fault->prefetch)
		r = kvm_userfault_test(fault->slot, fault->gfn) ? -EFAULT : 0;
	else
		r = kvm_userfault_check_access(vcpu, fault->slot, fault->gfn);
	if (r < 0)
		return r;
	if (r > 0)
		return userfault_missing(vcpu, fault);

	fault->max_level = userfault_max_level(vcpu->kvm, fault);
	return RET_PF_CONTINUE;
}

void kvm_arch_userfault_zap(struct kvm *kvm, const struct kvm_memory_slot *slot,
			    gfn_t start, gfn_t end)
{
	struct kvm_gfn_range range = {
		/* kvm_unmap_gfn_range() does not write to it. */
		.slot = (struct kvm_memory_slot *)slot,
		.start = start,
		.end = end,
		.may_block = true,
	};

	lockdep_assert_held(&kvm->slots_lock);

	/*
	 * Unlike a deleted memslot, this one keeps its rmaps and its shadowed
	 * page tables, so zapping leaf SPTEs is enough.
	 *
	 * Don't use kvm_zap_gfn_range(): faults on the range would spin for as
	 * long as that takes.
	 */
	write_lock(&kvm->mmu_lock);
	if (kvm_unmap_gfn_range(kvm, &range))
		kvm_flush_remote_tlbs_range(kvm, start, end - start);
	write_unlock(&kvm->mmu_lock);
}

void kvm_arch_userfault_zapped(struct kvm *kvm)
{
	lockdep_assert_held(&kvm->slots_lock);

#if IS_ENABLED(CONFIG_HYPERV)
	/*
	 * Hyper-V has flushed only the ranges, but a zapped huge page may extend
	 * beyond its range.
	 */
	if (kvm_x86_ops.flush_remote_tlbs_range)
		kvm_flush_remote_tlbs(kvm);
#endif
}

void kvm_arch_userfault_recover(struct kvm *kvm, const struct kvm_memory_slot *slot)
{
	lockdep_assert_held(&kvm->slots_lock);

	kvm_mmu_zap_collapsible_sptes(kvm, slot);
}
