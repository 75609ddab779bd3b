/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Many changes of memslots in one step: the private interface between kvm_main.c
 * and memslot_batch.c.
 */
#ifndef __KVM_MEMSLOT_BATCH_INTERNAL_H
#define __KVM_MEMSLOT_BATCH_INTERNAL_H

#include <linux/kvm_host.h>
#include <linux/kvm_memslot_batch.h>

struct memslot_batch;

/*
 * Functions of kvm_main.c, described there.  All are called with slots_lock held;
 * those that read or change inactive memslots, with slots_arch_lock as well.
 */
int kvm_memory_region_change(struct kvm *kvm, struct memslot_batch *batch,
			     const struct kvm_userspace_memory_region2 *mem,
			     struct kvm_memory_slot **oldp,
			     struct kvm_memory_slot **newp,
			     enum kvm_mr_change *change);
int kvm_prepare_memory_region(struct kvm *kvm,
			      const struct kvm_memory_slot *old,
			      struct kvm_memory_slot *new,
			      enum kvm_mr_change change);
void kvm_replace_memslot(struct kvm *kvm, struct kvm_memory_slot *old,
			 struct kvm_memory_slot *new);
void kvm_copy_memslot(struct kvm_memory_slot *dest, const struct kvm_memory_slot *src);
void kvm_swap_active_memslots(struct kvm *kvm, int as_id);
void kvm_commit_memory_region(struct kvm *kvm, struct kvm_memory_slot *old,
			      const struct kvm_memory_slot *new,
			      enum kvm_mr_change change);
void kvm_destroy_dirty_bitmap(struct kvm_memory_slot *memslot);

#ifdef CONFIG_KVM_MEMSLOT_BATCH

/**
 * memslot_batch_find - look up a memslot by its id
 * @batch: the list whose changes are being made
 * @slots: the inactive set, in which they are made
 * @id:    the id, below KVM_MEM_SLOTS_NUM
 *
 * Called with slots_lock and slots_arch_lock held.
 *
 * Return: the memslot, or NULL if there is none.
 */
struct kvm_memory_slot *memslot_batch_find(struct memslot_batch *batch,
					   struct kvm_memslots *slots, int id);

/* The longest list: enough to delete all memslots and to create as many. */
#define KVM_MEMSLOT_BATCH_MAX	(2 * KVM_USER_MEM_SLOTS)

/**
 * kvm_vm_ioctl_set_memory_regions - KVM_SET_USER_MEMORY_REGIONS
 * @kvm: the VM
 * @arg: struct kvm_user_memory_regions in userspace
 *
 * Takes slots_lock.  See Documentation/virt/kvm/memslot-batch.rst.
 *
 * Return: 0, or a negative error with the index of the failed change in @arg.
 */
int kvm_vm_ioctl_set_memory_regions(struct kvm *kvm, void __user *arg);

#else /* !CONFIG_KVM_MEMSLOT_BATCH */

#define KVM_MEMSLOT_BATCH_MAX	0

static inline struct kvm_memory_slot *memslot_batch_find(struct memslot_batch *batch,
							 struct kvm_memslots *slots, int id)
{
	return NULL;
}

static inline int kvm_vm_ioctl_set_memory_regions(struct kvm *kvm, void __user *arg)
{
	return -ENOTTY;
}

#endif /* CONFIG_KVM_MEMSLOT_BATCH */

#endif /* __KVM_MEMSLOT_BATCH_INTERNAL_H */
