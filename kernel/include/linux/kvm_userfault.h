/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * KVM userfault: let userspace bring a page of guest memory before a vCPU may
 * have it.
 *
 * A memslot with KVM_MEM_USERFAULT comes with a bitmap in userspace memory,
 * one bit a page.  A vCPU that faults on a page whose bit is set leaves
 * KVM_RUN with KVM_EXIT_MEMORY_FAULT instead of getting the page mapped.
 * See Documentation/virt/kvm/userfault.rst for the contract with userspace.
 */
#ifndef __KVM_USERFAULT_H
#define __KVM_USERFAULT_H

#include <linux/kvm_host.h>

#ifdef CONFIG_KVM_USERFAULT

/**
 * kvm_slot_userfault_enabled - does userspace want to see faults on this slot?
 * @slot: the memslot
 *
 * While this is true, KVM must not map any page of @slot that went through
 * neither kvm_userfault_test() nor kvm_userfault_range_clear(): no prefetch of
 * neighbours.
 *
 * Return: true if @slot has KVM_MEM_USERFAULT.
 */
static inline bool kvm_slot_userfault_enabled(const struct kvm_memory_slot *slot)
{
	/* Pairs with kvm_userfault_update_gmem(): the bitmap is there, too. */
	return smp_load_acquire(&slot->flags) & KVM_MEM_USERFAULT;
}

/**
 * kvm_userfault_valid_flags - memslot flags that this feature adds
 *
 * Return: KVM_MEM_USERFAULT where there is such a thing, 0 where there isn't.
 */
static inline u32 kvm_userfault_valid_flags(void)
{
	return KVM_MEM_USERFAULT;
}

/**
 * kvm_userfault_check_region - validate the bitmap pointer of a region
 * @mem: the region that userspace wants to create, move or change
 *
 * Only the pointer is looked at.  Whether there is memory behind it turns out
 * when the bitmap is read.
 *
 * Return: 0, or -EINVAL if @mem has KVM_MEM_USERFAULT and its bitmap is not in
 * userspace's half of the address space, or has a tag.
 */
int kvm_userfault_check_region(const struct kvm_userspace_memory_region2 *mem);

/**
 * kvm_userfault_init_slot - take the bitmap of a region over into its memslot
 * @slot: the memslot under construction, its flags are already set
 * @mem:  the region, seen by kvm_userfault_check_region()
 */
void kvm_userfault_init_slot(struct kvm_memory_slot *slot,
			     const struct kvm_userspace_memory_region2 *mem);

/**
 * kvm_userfault_copy_slot - copy what this feature keeps in a memslot
 * @dest: the copy
 * @src:  the original
 */
static inline void kvm_userfault_copy_slot(struct kvm_memory_slot *dest,
					   const struct kvm_memory_slot *src)
{
	dest->userfault_bitmap = src->userfault_bitmap;
}

/**
 * kvm_userfault_region_changed - does an update change userfault of a memslot?
 * @slot: the existing memslot
 * @mem:  what userspace wants it to be
 *
 * Return: true if KVM_MEM_USERFAULT goes on, goes off, or stays on with
 * another bitmap.
 */
bool kvm_userfault_region_changed(const struct kvm_memory_slot *slot,
				  const struct kvm_userspace_memory_region2 *mem);

/**
 * kvm_userfault_slot_changed - has an update changed userfault of a memslot?
 * @old: the memslot before
 * @new: the memslot after
 *
 * Return: true as for kvm_userfault_region_changed().
 */
static inline bool kvm_userfault_slot_changed(const struct kvm_memory_slot *old,
					      const struct kvm_memory_slot *new)
{
	return (old->flags ^ new->flags) & KVM_MEM_USERFAULT ||
	       old->userfault_bitmap != new->userfault_bitmap;
}

/**
 * kvm_userfault_only_changed - is userfault all that an update must look after?
 * @old: the memslot before
 * @new: the memslot after
 *
 * Return: true if userfault of the memslot changed, and dirty logging did not.
 */
static inline bool kvm_userfault_only_changed(const struct kvm_memory_slot *old,
					      const struct kvm_memory_slot *new)
{
	return kvm_userfault_slot_changed(old, new) &&
	       !((old->flags ^ new->flags) & KVM_MEM_LOG_DIRTY_PAGES);
}

#ifdef CONFIG_KVM_PRIVATE_MEM
/**
 * kvm_userfault_update_gmem - change userfault of a memslot with guest_memfd
 * @kvm:  the VM
 * @slot: the existing memslot
 * @mem:  what userspace wants it to be, seen by kvm_userfault_check_region()
 *
 * Such memslots are immutable but for this.  The memslot stays bound to its
 * file, which may be closed by now: the file descriptor and the offset in @mem,
 * which the caller has validated, are ignored.  The new state is in effect when
 * this returns.  Called with slots_lock held.
 *
 * Return: 0, or -EINVAL if something else than userfault is to change, or if
 * @slot has no userfault and isn't to have it.
 */
int kvm_userfault_update_gmem(struct kvm *kvm, struct kvm_memory_slot *slot,
			      const struct kvm_userspace_memory_region2 *mem);
#else
static inline int kvm_userfault_update_gmem(struct kvm *kvm,
					    struct kvm_memory_slot *slot,
					    const struct kvm_userspace_memory_region2 *mem)
{
	return -EINVAL;
}
#endif

/**
 * kvm_userfault_commit - bring second-stage mappings in line with a new memslot
 * @kvm:    the VM
 * @old:    the memslot before, NULL if it is being created
 * @new:    the memslot after, NULL if it has been deleted
 * @change: what happened to it
 *
 * Called with slots_lock held, once @new is active and every vCPU has left the
 * SRCU sections in which it could have used @old.
 */
void kvm_userfault_commit(struct kvm *kvm, const struct kvm_memory_slot *old,
			  const struct kvm_memory_slot *new,
			  enum kvm_mr_change change);

/**
 * kvm_userfault_test - must a fault on this page go to userspace?
 * @slot: a memslot with kvm_slot_userfault_enabled()
 * @gfn:  a page of @slot
 *
 * Reads userspace memory, hence may sleep: call it in the context of the VM's
 * process, with kvm->srcu held for reading, before the page's pfn is looked up.
 * Has acquire semantics: what userspace wrote to the page before it cleared
 * the page's bit with release semantics is visible after a return of 0.
 *
 * Return: 0 if the page may be mapped, 1 if its bit is set, -EFAULT if the
 * bitmap can't be read.
 */
int kvm_userfault_test(const struct kvm_memory_slot *slot, gfn_t gfn);

/**
 * kvm_userfault_range_clear - may all of these pages be mapped?
 * @slot:   a memslot with kvm_slot_userfault_enabled()
 * @gfn:    the first page, of @slot as all the others
 * @npages: how many
 *
 * For huge mappings; called as kvm_userfault_test() is, and has acquire
 * semantics likewise.
 *
 * Return: true if the bits of all pages are clear, false if one is set or if
 * the bitmap can't be read.
 */
bool kvm_userfault_range_clear(const struct kvm_memory_slot *slot, gfn_t gfn,
			       unsigned long npages);

/**
 * kvm_userfault_prepare_exit - tell userspace which page a vCPU needs
 * @vcpu:       the vCPU that faulted
 * @gfn:        the page
 * @is_write:   the access was a write
 * @is_exec:    the access was an instruction fetch
 * @is_private: the access was to private memory
 *
 * Fills kvm_run.  The caller makes KVM_RUN return -EFAULT.
 */
void kvm_userfault_prepare_exit(struct kvm_vcpu *vcpu, gfn_t gfn, bool is_write,
				bool is_exec, bool is_private);

void __kvm_userfault_resolved(struct kvm_vcpu *vcpu, gfn_t gfn);

/**
 * kvm_userfault_resolved - trace the end of what a vCPU exited for
 * @vcpu: the vCPU that accesses a page
 * @gfn:  the page, whose bit is clear
 */
static inline void kvm_userfault_resolved(struct kvm_vcpu *vcpu, gfn_t gfn)
{
	if (unlikely(vcpu->userfault_pending))
		__kvm_userfault_resolved(vcpu, gfn);
}

/**
 * kvm_arch_userfault_zap - drop the second-stage mappings of some pages
 * @kvm:   the VM
 * @slot:  the memslot
 * @start: the first page, of @slot as all the others
 * @end:   the page after the last one
 *
 * Once kvm_arch_userfault_zapped() has returned, too, no second-stage mapping of
 * these pages is left that was made before the bitmap of @slot was in effect,
 * nor one of a huge page with one of them in it.  Faults in flight need not be
 * tried again: they go by that bitmap.  Called with slots_lock held; takes
 * mmu_lock.
 */
void kvm_arch_userfault_zap(struct kvm *kvm, const struct kvm_memory_slot *slot,
			    gfn_t start, gfn_t end);

/**
 * kvm_arch_userfault_zapped - finish what kvm_arch_userfault_zap() began
 * @kvm: the VM
 *
 * Called once for any number of zaps, with slots_lock held: here is what costs
 * the same however many pages are concerned.
 */
void kvm_arch_userfault_zapped(struct kvm *kvm);

/**
 * kvm_arch_userfault_recover - let a memslot have huge mappings again
 * @kvm:  the VM
 * @slot: the memslot, userfault no longer enabled
 *
 * Called with slots_lock held.
 */
void kvm_arch_userfault_recover(struct kvm *kvm, const struct kvm_memory_slot *slot);

#else /* !CONFIG_KVM_USERFAULT */

static inline bool kvm_slot_userfault_enabled(const struct kvm_memory_slot *slot)
{
	return false;
}

static inline u32 kvm_userfault_valid_flags(void)
{
	return 0;
}

static inline int kvm_userfault_update_gmem(struct kvm *kvm,
					    struct kvm_memory_slot *slot,
					    const struct kvm_userspace_memory_region2 *mem)
{
	return -EINVAL;
}

static inline int kvm_userfault_check_region(const struct kvm_userspace_memory_region2 *mem)
{
	return 0;
}

static inline void kvm_userfault_init_slot(struct kvm_memory_slot *slot,
					   const struct kvm_userspace_memory_region2 *mem)
{
}

static inline void kvm_userfault_copy_slot(struct kvm_memory_slot *dest,
					   const struct kvm_memory_slot *src)
{
}

static inline bool kvm_userfault_region_changed(const struct kvm_memory_slot *slot,
						const struct kvm_userspace_memory_region2 *mem)
{
	return false;
}

static inline bool kvm_userfault_slot_changed(const struct kvm_memory_slot *old,
					      const struct kvm_memory_slot *new)
{
	return false;
}

static inline bool kvm_userfault_only_changed(const struct kvm_memory_slot *old,
					      const struct kvm_memory_slot *new)
{
	return false;
}

static inline void kvm_userfault_commit(struct kvm *kvm,
					const struct kvm_memory_slot *old,
					const struct kvm_memory_slot *new,
					enum kvm_mr_change change)
{
}

#endif /* CONFIG_KVM_USERFAULT */

#endif /* __KVM_USERFAULT_H */
