// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM userfault for arm64's stage 2.
 *
 * Copyright 2026 Postern developers
 */
#include <linux/kvm_host.h>
#include <linux/lockdep.h>

#include <asm/kvm_emulate.h>
#include <asm/kvm_mmu.h>
#include <asm/kvm_nested.h>
#include <asm/kvm_pgtable.h>

#include "userfault.h"

/* Is all of the block of @size around @gfn in the memslot, and present? */
static bool userfault_block_clear(const struct kvm_memory_slot *memslot, gfn_t gfn,
				  unsigned long size)
{
	unsigned long npages = size >> PAGE_SHIFT;

	gfn = ALIGN_DOWN(gfn, npages);
	return gfn >= memslot->base_gfn &&
	       gfn + npages <= memslot->base_gfn + memslot->npages &&
	       kvm_userfault_range_clear(memslot, gfn, npages);
}

/* The size of the largest block around the page whose bits are all clear. */
static unsigned long userfault_max_size(struct kvm *kvm,
					const struct kvm_memory_slot *memslot,
					gfn_t gfn, unsigned long hva)
{
	/* Dirty logging needs small pages. */
	if (kvm_slot_dirty_track_enabled(memslot) ||
	    !userfault_block_clear(memslot, gfn, PMD_SIZE))
		return PAGE_SIZE;

	/*
	 * Read the many bits of a PUD only if the host has mapped one.  This is a
	 * hint: if the host maps it later, a later fault replaces smaller blocks.
	 */
	if (get_user_mapping_size(kvm, hva) < (long)PUD_SIZE ||
	    !userfault_block_clear(memslot, gfn, PUD_SIZE))
		return PMD_SIZE;

	return PUD_SIZE;
}

static int userfault_missing(struct kvm_vcpu *vcpu, gfn_t gfn)
{
	int r;

	if (kvm_arm_userfault_halt(vcpu, gfn))
		return 1;

	r = kvm_userfault_exit(vcpu, gfn, kvm_is_write_fault(vcpu),
			       kvm_vcpu_trap_is_exec_fault(vcpu), false);
	kvm_arm_userfault_offer(vcpu, gfn);
	return r;
}

int __kvm_faultin_userfault(struct kvm_vcpu *vcpu, struct kvm_memory_slot *memslot,
			    unsigned long hva, unsigned long *max_size)
{
	gfn_t gfn = hva_to_gfn_memslot(hva, memslot);
	int r;

	/*
	 * Read the bitmap after mmu_invalidate_seq: userspace may set a bit and then
	 * drop the page.  A fault that sees the count after the drop also sees the
	 * bit, and one that has read the bit before finds its count outdated.  The
	 * MMU notifier's mmu_lock sections order the two writes, by the unlock in
	 * its start and the lock in its end.
	 */
	smp_rmb();

	r = kvm_userfault_check_access(vcpu, memslot, gfn);
	if (r < 0)
		return r;
	if (r > 0)
		return userfault_missing(vcpu, gfn);

	*max_size = userfault_max_size(vcpu->kvm, memslot, gfn, hva);
	return 0;
}

void kvm_arch_userfault_zap(struct kvm *kvm, const struct kvm_memory_slot *slot,
			    gfn_t start, gfn_t end)
{
	lockdep_assert_held(&kvm->slots_lock);

	write_lock(&kvm->mmu_lock);
	kvm_stage2_unmap_range(&kvm->arch.mmu, gfn_to_gpa(start),
			       gfn_to_gpa(end - start), true);
	write_unlock(&kvm->mmu_lock);
}

void kvm_arch_userfault_zapped(struct kvm *kvm)
{
	lockdep_assert_held(&kvm->slots_lock);

	/*
	 * Shadow page tables can't be looked up by the hypervisor's IPA, so unmap
	 * all of them.  Later mappings there have been checked.
	 */
	write_lock(&kvm->mmu_lock);
	kvm_nested_s2_unmap(kvm, true);
	write_unlock(&kvm->mmu_lock);
}
