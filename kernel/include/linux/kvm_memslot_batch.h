/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Many changes of memslots in one step, as architectures see it.  See
 * Documentation/virt/kvm/memslot-batch.rst for the contract with userspace.
 */
#ifndef __KVM_MEMSLOT_BATCH_H
#define __KVM_MEMSLOT_BATCH_H

#include <linux/kvm_host.h>

#ifdef CONFIG_KVM_MEMSLOT_BATCH

/**
 * kvm_memslot_batch_refuses - does a fault have to wait for memslots to change?
 * @kvm: the VM
 * @gfn: what is to be mapped
 *
 * Whoever tries a fault again without leaving its section of kvm->srcu must
 * give up when this is true: faults on @gfn are refused until that section ends.
 *
 * KVM has one range for all that refuse faults.  It only grows until the last
 * one is done: if an MMU notifier adds its range while a list refuses faults,
 * this is true as well for that range, and for all gfns in between, until the
 * list is done.
 *
 * Called without mmu_lock it may be wrong, but not for ever: a fault that is
 * refused next time can be asked about again.
 *
 * Return: true while a list of changes refuses faults on @gfn.
 */
static inline bool kvm_memslot_batch_refuses(struct kvm *kvm, gfn_t gfn)
{
	/* The list keeps the range, whoever has added to it. */
	return READ_ONCE(kvm->memslot_batch_refuses) &&
	       gfn >= READ_ONCE(kvm->mmu_invalidate_range_start) &&
	       gfn < READ_ONCE(kvm->mmu_invalidate_range_end);
}

/**
 * kvm_arch_memslot_batch_has_shadow - does KVM shadow page tables of the guest?
 * @kvm: the VM
 *
 * A page table that is shadowed belongs to the memslot that it lies in, which
 * refusing faults does not keep from getting more of them.  Called with
 * slots_arch_lock held: if it returns false, then whatever is shadowed later
 * must have been looked up in memslots that are active once that is released.
 *
 * Return: true if there may be any.
 */
bool kvm_arch_memslot_batch_has_shadow(struct kvm *kvm);

/**
 * kvm_arch_memslot_batch_zap_all - drop all mappings of the VM, if that is usual
 * @kvm: the VM
 *
 * Where kvm_arch_flush_shadow_memslot() drops what is mapped of all memslots,
 * once is enough for a list.  Called with slots_lock held.
 *
 * Return: true if that has been done, and no memslot is to be flushed by itself.
 */
bool kvm_arch_memslot_batch_zap_all(struct kvm *kvm);

#else /* !CONFIG_KVM_MEMSLOT_BATCH */

static inline bool kvm_memslot_batch_refuses(struct kvm *kvm, gfn_t gfn)
{
	return false;
}

#endif /* CONFIG_KVM_MEMSLOT_BATCH */

#endif /* __KVM_MEMSLOT_BATCH_H */
