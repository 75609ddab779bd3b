/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * KVM userfault: a vCPU's access to a missing page exits to userspace.
 *
 * A memslot with KVM_MEM_USERFAULT has a bitmap in userspace memory, one bit per
 * page.  A vCPU that faults on a page whose bit is set leaves KVM_RUN with
 * KVM_EXIT_MEMORY_FAULT, and the page is not mapped.  The contract with userspace
 * is in Documentation/virt/kvm/userfault.rst.
 */
#ifndef __KVM_USERFAULT_H
#define __KVM_USERFAULT_H

#include <linux/kvm_host.h>

/**
 * kvm_slot_userfault_enabled - does this memslot have KVM_MEM_USERFAULT?
 * @slot: the memslot
 *
 * If so, KVM may map a page of @slot only after kvm_userfault_test(),
 * kvm_userfault_check_access() or kvm_userfault_range_clear() has allowed that
 * page.  Neighbours must not be prefetched.
 */
static inline bool kvm_slot_userfault_enabled(const struct kvm_memory_slot *slot)
{
	if (!IS_ENABLED(CONFIG_KVM_USERFAULT))
		return false;

	/* Pairs with kvm_userfault_update_gmem(): the flag implies the bitmap. */
	return smp_load_acquire(&slot->flags) & KVM_MEM_USERFAULT;
}

/**
 * kvm_userfault_bitmap - the bitmap that a memslot gets from a region
 * @mem: the region
 *
 * Return: the bitmap's address, or NULL if @mem has no KVM_MEM_USERFAULT.  NULL
 * is also a valid address.
 */
static inline unsigned long __user *
kvm_userfault_bitmap(const struct kvm_userspace_memory_region2 *mem)
{
	if (!(mem->flags & KVM_MEM_USERFAULT))
		return NULL;

	return u64_to_user_ptr(mem->userfault_bitmap);
}

/**
 * kvm_userfault_slot_changed - has an update changed userfault of a memslot?
 * @old: the memslot before
 * @new: the memslot after
 *
 * Return: true if KVM_MEM_USERFAULT was set or cleared, or if it stayed set and
 * the bitmap's address changed.
 */
static inline bool kvm_userfault_slot_changed(const struct kvm_memory_slot *old,
					      const struct kvm_memory_slot *new)
{
	return (old->flags ^ new->flags) & KVM_MEM_USERFAULT ||
	       old->userfault_bitmap != new->userfault_bitmap;
}

/**
 * kvm_userfault_only_changed - has an update left dirty logging alone?
 * @old: the memslot before
 * @new: the memslot after
 *
 * Return: true if userfault of the memslot changed and dirty logging did not.
 */
static inline bool kvm_userfault_only_changed(const struct kvm_memory_slot *old,
					      const struct kvm_memory_slot *new)
{
	return kvm_userfault_slot_changed(old, new) &&
	       !((old->flags ^ new->flags) & KVM_MEM_LOG_DIRTY_PAGES);
}

#ifdef CONFIG_KVM_USERFAULT

/**
 * kvm_userfault_region_valid - may a region have its bitmap where it is?
 * @mem: the region that userspace wants to create, move or change
 *
 * Whether memory is mapped there turns out when the bitmap is read.
 *
 * Return: false if @mem has KVM_MEM_USERFAULT and its bitmap is not entirely in
 * userspace's half of the address space, or its address has a tag.
 */
bool kvm_userfault_region_valid(const struct kvm_userspace_memory_region2 *mem);

/**
 * kvm_userfault_update_gmem - change userfault of a memslot with guest_memfd
 * @kvm:  the VM
 * @slot: the existing memslot
 * @mem:  the requested state, which kvm_userfault_region_valid() accepts
 *
 * Userfault is all that can change about such a memslot.  The memslot stays bound
 * to its file, which may already be closed: the file descriptor and the offset in
 * @mem, which the caller has validated, are ignored.  The new state is in effect
 * when this returns.  Called with slots_lock held.
 *
 * Return: 0, or -EINVAL if anything but userfault would change, or if @slot has
 * no userfault and @mem does not ask for it.
 */
int kvm_userfault_update_gmem(struct kvm *kvm, struct kvm_memory_slot *slot,
			      const struct kvm_userspace_memory_region2 *mem);

/**
 * kvm_userfault_commit - bring second-stage mappings in line with a new memslot
 * @kvm:    the VM
 * @old:    the memslot before, NULL if it is being created
 * @new:    the memslot after, NULL if it has been deleted
 * @change: the kind of update
 *
 * Called with slots_lock held, once @new is active and every vCPU has left the
 * SRCU sections in which it could have used @old.
 */
void kvm_userfault_commit(struct kvm *kvm, const struct kvm_memory_slot *old,
			  const struct kvm_memory_slot *new,
			  enum kvm_mr_change change);

/**
 * kvm_userfault_test - is a page missing?
 * @slot: a memslot with kvm_slot_userfault_enabled()
 * @gfn:  a page of @slot
 *
 * Reads userspace memory and may sleep: call it in the context of the VM's
 * process, with kvm->srcu held for reading, before looking up the page's pfn.
 * Has acquire semantics: after a return of 0, everything is visible that
 * userspace wrote to the page before it cleared the bit with release semantics.
 *
 * Return: 0 if the page may be mapped, 1 if its bit is set, -EFAULT if the
 * bitmap can't be read.
 */
int kvm_userfault_test(const struct kvm_memory_slot *slot, gfn_t gfn);

/**
 * kvm_userfault_check_access - may a vCPU access a page?
 * @vcpu: the vCPU that faulted
 * @slot: a memslot with kvm_slot_userfault_enabled()
 * @gfn:  a page of @slot
 *
 * Return: as kvm_userfault_test().  After 1, the caller exits.
 */
int kvm_userfault_check_access(struct kvm_vcpu *vcpu,
			       const struct kvm_memory_slot *slot, gfn_t gfn);

/**
 * kvm_userfault_exit - fill kvm_run for an access to a missing page
 * @vcpu:       the vCPU that faulted
 * @gfn:        the page
 * @is_write:   the access was a write
 * @is_exec:    the access was an instruction fetch
 * @is_private: the access was to private memory
 *
 * Return: -EFAULT, which KVM_RUN must return.
 */
int kvm_userfault_exit(struct kvm_vcpu *vcpu, gfn_t gfn, bool is_write, bool is_exec,
		       bool is_private);

/**
 * kvm_userfault_range_clear - may all pages of a range be mapped?
 * @slot:   a memslot with kvm_slot_userfault_enabled()
 * @gfn:    the first page; all of them are in @slot
 * @npages: the number of pages
 *
 * For huge mappings.  The rules for calling it and the memory ordering are those
 * of kvm_userfault_test().
 *
 * Return: true if the bits of all pages are clear, false if one is set or if
 * the bitmap can't be read.
 */
bool kvm_userfault_range_clear(const struct kvm_memory_slot *slot, gfn_t gfn,
			       unsigned long npages);

/**
 * kvm_arch_userfault_zap - drop the second-stage mappings of a range
 * @kvm:   the VM
 * @slot:  the memslot
 * @start: the first page; all of them are in @slot
 * @end:   the page after the last one
 *
 * Once kvm_arch_userfault_zapped() has returned as well, no second-stage mapping
 * of these pages is left that is older than the bitmap of @slot, nor one of a
 * huge page that contains any of them.  Faults in flight need not be retried:
 * they have checked that bitmap.  Called with slots_lock held; takes mmu_lock.
 */
void kvm_arch_userfault_zap(struct kvm *kvm, const struct kvm_memory_slot *slot,
			    gfn_t start, gfn_t end);

/**
 * kvm_arch_userfault_zapped - finish what kvm_arch_userfault_zap() began
 * @kvm: the VM
 *
 * Called once after any number of zaps, with slots_lock held: for work whose cost
 * does not depend on the number of pages.
 */
void kvm_arch_userfault_zapped(struct kvm *kvm);

/**
 * kvm_arch_userfault_recover - let a memslot have huge mappings again
 * @kvm:  the VM
 * @slot: the memslot, whose userfault has been disabled
 *
 * Called with slots_lock held.  Optional: without it, small mappings stay until
 * a fault replaces them.
 */
void kvm_arch_userfault_recover(struct kvm *kvm, const struct kvm_memory_slot *slot);

#else /* !CONFIG_KVM_USERFAULT: no memslot has the flag */

static inline bool kvm_userfault_region_valid(const struct kvm_userspace_memory_region2 *mem)
{
	return true;
}

static inline int kvm_userfault_update_gmem(struct kvm *kvm,
					    struct kvm_memory_slot *slot,
					    const struct kvm_userspace_memory_region2 *mem)
{
	return -EINVAL;
}

static inline void kvm_userfault_commit(struct kvm *kvm,
					const struct kvm_memory_slot *old,
					const struct kvm_memory_slot *new,
					enum kvm_mr_change change)
{
}

#endif /* CONFIG_KVM_USERFAULT */

#endif /* __KVM_USERFAULT_H */
