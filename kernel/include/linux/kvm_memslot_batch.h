/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Many changes of memslots in one step: the interface for architectures.  The
 * contract with userspace is in Documentation/virt/kvm/memslot-batch.rst.
 */
#ifndef __KVM_MEMSLOT_BATCH_H
#define __KVM_MEMSLOT_BATCH_H

#include <linux/kvm_host.h>

#ifdef CONFIG_KVM_MEMSLOT_BATCH

/**
 * kvm_memslot_batch_refuses - does a list of changes refuse faults on a page?
 * @kvm: the VM
 * @gfn: the page
 *
 * Code that retries a fault without leaving its section of kvm->srcu must give up
 * when this is true: faults on @gfn are refused until that section ends.
 *
 * KVM has a single range of gfns for everyone who refuses faults, and it only
 * grows until the last of them is done.  If an MMU notifier adds its range while a
 * list refuses faults, this is also true for that range and for all gfns in
 * between, until the list is done.
 *
 * Without mmu_lock the answer may be outdated, so ask again after each fault that
 * is refused.
 *
 * Return: true while a list of changes refuses faults on @gfn.
 */
static inline bool kvm_memslot_batch_refuses(struct kvm *kvm, gfn_t gfn)
{
	/* The list keeps the range from shrinking, whoever has extended it. */
	return READ_ONCE(kvm->memslot_batch_refuses) &&
	       gfn >= READ_ONCE(kvm->mmu_invalidate_range_start) &&
	       gfn < READ_ONCE(kvm->mmu_invalidate_range_end);
}

/**
 * kvm_arch_memslot_batch_has_shadow - does KVM shadow page tables of the guest?
 * @kvm: the VM
 *
 * A shadowed page table belongs to the memslot that it lies in, and refusing
 * faults does not stop KVM from shadowing more page tables there.
 *
 * Called with slots_arch_lock held.  If this returns false, page tables that are
 * shadowed later must have been looked up in memslots that are active after
 * slots_arch_lock has been released.
 *
 * Return: true if there may be shadowed page tables.
 */
bool kvm_arch_memslot_batch_has_shadow(struct kvm *kvm);

/**
 * kvm_arch_memslot_batch_zap_all - drop all mappings of the VM, once for a list
 * @kvm: the VM
 *
 * For architectures whose kvm_arch_flush_shadow_memslot() would drop the mappings
 * of all memslots each time.  Called with slots_lock held.
 *
 * Return: true if all mappings were dropped, false if the caller must call
 * kvm_arch_flush_shadow_memslot() for each memslot.
 */
bool kvm_arch_memslot_batch_zap_all(struct kvm *kvm);

#else /* !CONFIG_KVM_MEMSLOT_BATCH */

static inline bool kvm_memslot_batch_refuses(struct kvm *kvm, gfn_t gfn)
{
	return false;
}

#endif /* CONFIG_KVM_MEMSLOT_BATCH */

#endif /* __KVM_MEMSLOT_BATCH_H */
