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

/* All of the huge page of @level around @gfn is in the memslot, and there. */
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
 * The largest page with the faulting one in it whose bits are all clear.  The
 * size of the host's page and all else that KVM asks of a huge mapping is
 * looked at later, under mmu_lock, where the bitmap can't be read.
 */
static u8 userfault_max_level(struct kvm *kvm, const struct kvm_page_fault *fault)
{
	const struct kvm_memory_slot *slot = fault->slot;
	u8 level;

	/* Dirty logging wants small pages anyway. */
	if (kvm_slot_dirty_track_enabled(slot))
		return PG_LEVEL_4K;

	for (level = PG_LEVEL_4K; level < fault->max_level; level++) {
		/*
		 * So many bits are worth reading only if it is known that they
		 * matter.  Where it isn't yet, a later fault replaces smaller
		 * mappings by this one.
		 */
		if (level >= PG_LEVEL_2M &&
		    host_pfn_mapping_level(kvm, fault->gfn, slot) <= level)
			break;

		if (!userfault_hpage_clear(slot, fault->gfn, level + 1))
			break;
	}
	return level;
}

int __kvm_mmu_faultin_userfault(struct kvm_vcpu *vcpu, struct kvm_page_fault *fault)
{
	int r;

	r = kvm_userfault_test(fault->slot, fault->gfn);
	if (r < 0)
		return r;

	if (!r) {
		if (!fault->prefetch)
			kvm_userfault_resolved(vcpu, fault->gfn);
		fault->max_level = userfault_max_level(vcpu->kvm, fault);
		return RET_PF_CONTINUE;
	}

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

void kvm_arch_userfault_zap(struct kvm *kvm, const struct kvm_memory_slot *slot,
			    gfn_t start, gfn_t end)
{
	struct kvm_gfn_range range = {
		/* Nothing writes to it. */
		.slot = (struct kvm_memory_slot *)slot,
		.start = start,
		.end = end,
		.may_block = true,
	};

	lockdep_assert_held(&kvm->slots_lock);

	/*
	 * Unlike a deleted memslot this one keeps its rmaps and its shadowed
	 * page tables, so zapping the leafs is enough.
	 *
	 * Not kvm_zap_gfn_range(): while that zaps, which may take long, faults
	 * on the range try again and again.
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
	 * Where only ranges were flushed: a huge page that was partly in one goes
	 * beyond.
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
