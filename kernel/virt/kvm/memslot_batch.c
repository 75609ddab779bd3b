// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_SET_USER_MEMORY_REGIONS: many changes of memslots in one step.
 *
 * The changes are made one after the other in the inactive set of memslots.  Each
 * is validated against the result of those before it.  If one fails, all are
 * undone there, and nobody has seen any of them.  Otherwise the sets are swapped
 * once, and one grace period of kvm->srcu later the old set is unused.
 *
 * The mappings of a memslot that is deleted or moved must be gone before the
 * swap: afterwards KVM no longer finds the memslot that they belong to.  And they
 * must not come back before the grace period has ended: until then, a fault may
 * be in flight that has found the old memslot.  A single change marks the memslot
 * invalid instead, which takes a swap and a grace period of its own.  A list
 * refuses faults on these memslots, as they are refused while the primary MMU
 * invalidates memory.  The vCPU retries.  So:
 *
 *  - once the guest has accessed something that only the new set maps, it accesses
 *    nothing that only the old set maps;
 *  - the guest sees no hole where both sets have memory;
 *  - KVM's own accesses use one set or the other, and never fail because a memslot
 *    is invalid.
 *
 * Refusing faults is not enough where KVM shadows page tables, see
 * kvm_arch_memslot_batch_has_shadow().  There, memslots are first replaced by
 * invalid copies, as for a single change, but all at once.  That takes two swaps
 * and two grace periods, however many changes there are.  KVM's own accesses to
 * these memslots fail meanwhile.
 *
 * Lock order: slots_lock, slots_arch_lock, mmu_lock.  The list is copied from
 * userspace with slots_lock held, so mmap_lock comes after slots_lock, too.
 *
 * Copyright 2026 Postern developers
 */
#include <linux/bitmap.h>
#include <linux/kvm_host.h>
#include <linux/kvm.h>
#include <linux/lockdep.h>
#include <linux/rcuwait.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "kvm_mm.h"
#include "memslot_batch.h"

/* The same for 32-bit and 64-bit userspace: no implicit padding. */
static_assert(sizeof(struct kvm_user_memory_regions) == 64);

struct memslot_change {
	struct kvm_memory_slot *old;	/* NULL if created */
	struct kvm_memory_slot *new;	/* NULL if deleted; both NULL: no change */
	enum kvm_mr_change change;
	/* With shadowed page tables: @invalid is active in place of @valid. */
	struct kvm_memory_slot *invalid;
	struct kvm_memory_slot *valid;
};

struct memslot_batch {
	struct kvm_userspace_memory_region2 *regions;
	struct memslot_change *changes;
	unsigned long *made;	/* ids of memslots that the list has created or changed */
	struct kvm_memory_slot **by_id;	/* of the inactive set; NULL for short lists */
	u32 nr;
	u32 nr_done;	/* how many are made in the inactive set */
	u32 failed;	/* index of the change that failed, or nr */
	u16 as_id;
	bool atomic;	/* KVM_MEMORY_REGIONS_ATOMIC: vCPUs run */
	bool indexed;	/* @by_id is filled */
	bool changed;	/* at least one of those made changes something */
	bool zaps;	/* at least one memslot is deleted or moved */
	bool shadow;	/* page tables are shadowed: invalid copies are active */
};

/*
 * A list of this length or more builds an index of all memslots once.  With many
 * memslots, that is cheaper than as many look-ups of an id in 128 hash buckets.
 */
#define MEMSLOT_BATCH_INDEXED	256

static bool memslot_change_zaps(const struct memslot_change *c)
{
	return c->old && (c->change == KVM_MR_DELETE || c->change == KVM_MR_MOVE);
}

/* Free the new memslot, and what kvm_prepare_memory_region() gave to it. */
static void memslot_change_unprepare(struct kvm *kvm, const struct memslot_change *c)
{
	if (!c->new)
		return;

	if (!c->old || c->new->dirty_bitmap != c->old->dirty_bitmap)
		kvm_destroy_dirty_bitmap(c->new);

	/* If only flags change, the arch data belongs to the old memslot. */
	if (c->change != KVM_MR_FLAGS_ONLY)
		kvm_arch_free_memslot(kvm, c->new);

	kfree(c->new);
}

static int memslot_batch_check_region(const struct memslot_batch *batch,
				      const struct kvm_userspace_memory_region2 *mem)
{
	/* The sets of two address spaces can't be swapped at the same time. */
	if (mem->slot >> 16 != batch->as_id)
		return -EINVAL;

	/* Higher ids are KVM's own. */
	if ((u16)mem->slot >= KVM_USER_MEM_SLOTS)
		return -EINVAL;

	/* Neither binding to a file nor changing in place can be undone. */
	if (mem->memory_size && mem->flags & KVM_MEM_GUEST_MEMFD)
		return -EINVAL;

	return 0;
}

static int memslot_batch_make_one(struct kvm *kvm, struct memslot_batch *batch,
				  const struct kvm_userspace_memory_region2 *mem,
				  struct memslot_change *c)
{
	int r;

	r = memslot_batch_check_region(batch, mem);
	if (r)
		return r;

	r = kvm_memory_region_change(kvm, batch, mem, &c->old, &c->new, &c->change);
	if (r || (!c->old && !c->new))
		return r;

	/*
	 * A memslot that never becomes active can't be committed: architectures
	 * look for it in the active set, or expect its new->arch to have been
	 * updated along with those there.
	 */
	if (c->old && test_bit(c->old->id, batch->made)) {
		kfree(c->new);
		return -EINVAL;
	}

	/*
	 * vCPUs write to a memslot until it is deleted, and nobody could collect
	 * the log of these writes.  A moved memslot keeps its log, but gfns that
	 * a vCPU flushes late from its buffer (PML) would miss it.
	 */
	if (batch->atomic && memslot_change_zaps(c) &&
	    c->old->flags & KVM_MEM_LOG_DIRTY_PAGES) {
		kfree(c->new);
		return -EBUSY;
	}

	r = kvm_prepare_memory_region(kvm, c->old, c->new, c->change);
	if (r) {
		kfree(c->new);
		return r;
	}

	kvm_replace_memslot(kvm, c->old, c->new);
	if (batch->by_id)
		batch->by_id[(u16)mem->slot] = c->new;
	if (c->new)
		__set_bit(c->new->id, batch->made);
	batch->changed = true;
	batch->zaps |= memslot_change_zaps(c);
	return 0;
}

/* Undo the changes that have been made, the last one first. */
static void memslot_batch_undo(struct kvm *kvm, struct memslot_batch *batch)
{
	struct memslot_change *c;

	lockdep_assert_held(&kvm->slots_arch_lock);

	while (batch->nr_done) {
		c = &batch->changes[--batch->nr_done];
		if (!c->old && !c->new)
			continue;

		kvm_replace_memslot(kvm, c->new, c->old);
		memslot_change_unprepare(kvm, c);
		cond_resched();
	}
}

static void memslot_batch_index(struct memslot_batch *batch, struct kvm_memslots *slots)
{
	struct kvm_memory_slot *slot;
	int bkt;

	memset(batch->by_id, 0, KVM_MEM_SLOTS_NUM * sizeof(*batch->by_id));
	kvm_for_each_memslot(slot, bkt, slots)
		batch->by_id[slot->id] = slot;
	batch->indexed = true;
}

struct kvm_memory_slot *memslot_batch_find(struct memslot_batch *batch,
					   struct kvm_memslots *slots, int id)
{
	if (!batch->by_id)
		return id_to_memslot(slots, id);

	if (!batch->indexed)
		memslot_batch_index(batch, slots);
	return batch->by_id[id];
}

static int memslot_batch_make(struct kvm *kvm, struct memslot_batch *batch)
{
	int r;

	lockdep_assert_held(&kvm->slots_arch_lock);

	batch->changed = batch->zaps = batch->indexed = false;
	bitmap_zero(batch->made, KVM_USER_MEM_SLOTS);
	for (batch->nr_done = 0; batch->nr_done < batch->nr; batch->nr_done++) {
		if (fatal_signal_pending(current))
			return -EINTR;

		r = memslot_batch_make_one(kvm, batch, &batch->regions[batch->nr_done],
					   &batch->changes[batch->nr_done]);
		if (r) {
			batch->failed = batch->nr_done;
			return r;
		}
		cond_resched();
	}
	return 0;
}

/*
 * The sets can't be swapped while the primary MMU invalidates memory of the VM's
 * process, which can take long.  Wait for that before refusing faults: otherwise
 * vCPUs would spin until kvm_swap_active_memslots() has waited for it.  That
 * function still waits for invalidations that begin after this.
 *
 * Not inlined: tests look for its name in /proc/PID/wchan while it waits.
 */
static noinline void memslot_batch_drain(struct kvm *kvm)
{
	/* slots_lock is held: nobody else waits. */
	rcuwait_wait_event(&kvm->mn_memslots_update_rcuwait,
			   !READ_ONCE(kvm->mn_active_invalidate_count),
			   TASK_UNINTERRUPTIBLE);
}

/*
 * Refuse faults on memslots that are deleted or moved.  A fault holds kvm->srcu
 * from looking up its memslot on, and checks this with mmu_lock held.
 */
static void memslot_batch_block(struct kvm *kvm, const struct memslot_batch *batch)
{
	const struct kvm_memory_slot *old;
	gfn_t start = ~0ull, end = 0;
	u32 i;

	for (i = 0; i < batch->nr; i++) {
		old = batch->changes[i].old;
		if (!memslot_change_zaps(&batch->changes[i]))
			continue;
		start = min(start, old->base_gfn);
		end = max(end, old->base_gfn + old->npages);
	}

	KVM_MMU_LOCK(kvm);
	kvm_mmu_invalidate_begin(kvm);
	kvm_mmu_invalidate_range_add(kvm, start, end);
	WRITE_ONCE(kvm->memslot_batch_refuses, true);
	KVM_MMU_UNLOCK(kvm);
}

static void memslot_batch_unblock(struct kvm *kvm)
{
	KVM_MMU_LOCK(kvm);
	WRITE_ONCE(kvm->memslot_batch_refuses, false);
	kvm_mmu_invalidate_end(kvm);
	KVM_MMU_UNLOCK(kvm);
}

static void memslot_batch_zap(struct kvm *kvm, const struct memslot_batch *batch)
{
	u32 i;

	if (!kvm_arch_memslot_batch_zap_all(kvm)) {
		for (i = 0; i < batch->nr; i++) {
			if (memslot_change_zaps(&batch->changes[i]))
				kvm_arch_flush_shadow_memslot(kvm, batch->changes[i].old);
			cond_resched();
		}
	}
	kvm_arch_guest_memory_reclaimed(kvm);
}

static void memslot_batch_free_invalid(struct memslot_batch *batch)
{
	u32 i;

	for (i = 0; i < batch->nr; i++) {
		kfree(batch->changes[i].invalid);
		batch->changes[i].invalid = NULL;
	}
}

/* Allocate a copy of each memslot that is deleted or moved; all are made already. */
static int memslot_batch_alloc_invalid(struct memslot_batch *batch)
{
	struct memslot_change *c;
	u32 i;

	for (i = 0; i < batch->nr; i++) {
		c = &batch->changes[i];
		if (!memslot_change_zaps(c))
			continue;

		c->invalid = kzalloc(sizeof(*c->invalid), GFP_KERNEL_ACCOUNT);
		if (!c->invalid) {
			memslot_batch_free_invalid(batch);
			return -ENOMEM;
		}
		c->valid = c->old;
	}
	return 0;
}

/* Put the valid memslots back into the inactive set, as before the list. */
static void memslot_batch_replace_invalid(struct kvm *kvm, struct memslot_batch *batch)
{
	struct memslot_change *c;
	u32 i;

	for (i = 0; i < batch->nr; i++) {
		c = &batch->changes[i];
		if (c->invalid)
			kvm_replace_memslot(kvm, c->invalid, c->valid);
	}
}

/*
 * With shadowed page tables: once a memslot is to be deleted or moved, no further
 * page table in it may be shadowed.  slots_arch_lock can't be held throughout, so
 * the changes are undone and made a second time.  If that fails, all is as it was
 * before the list.
 */
static int memslot_batch_invalidate(struct kvm *kvm, struct memslot_batch *batch)
{
	struct memslot_change *c;
	u32 i;
	int r;

	r = memslot_batch_alloc_invalid(batch);
	if (r)
		return r;

	memslot_batch_undo(kvm, batch);
	for (i = 0; i < batch->nr; i++) {
		c = &batch->changes[i];
		if (!c->invalid)
			continue;
		kvm_copy_memslot(c->invalid, c->valid);
		c->invalid->flags |= KVM_MEMSLOT_INVALID;
		kvm_replace_memslot(kvm, c->valid, c->invalid);
	}

	kvm_swap_active_memslots(kvm, batch->as_id);
	mutex_lock(&kvm->slots_arch_lock);

	/* arch may have changed meanwhile, see kvm_invalidate_memslot(). */
	for (i = 0; i < batch->nr; i++) {
		c = &batch->changes[i];
		if (c->invalid)
			c->valid->arch = c->invalid->arch;
	}

	r = memslot_batch_make(kvm, batch);
	if (!r)
		return 0;

	memslot_batch_undo(kvm, batch);
	kvm_swap_active_memslots(kvm, batch->as_id);
	memslot_batch_replace_invalid(kvm, batch);
	memslot_batch_free_invalid(batch);
	mutex_lock(&kvm->slots_arch_lock);
	return r;
}

/* All changes are made in the inactive set: nothing can fail from here on. */
static void memslot_batch_commit(struct kvm *kvm, struct memslot_batch *batch)
{
	struct memslot_change *c;
	u32 i;

	if (batch->zaps) {
		/* Faults on invalid copies are refused already. */
		if (!batch->shadow)
			memslot_batch_drain(kvm);
		memslot_batch_block(kvm, batch);
		memslot_batch_zap(kvm, batch);
	}

	/* Releases slots_arch_lock, then waits for a grace period. */
	kvm_swap_active_memslots(kvm, batch->as_id);

	if (batch->zaps)
		memslot_batch_unblock(kvm);

	/* Make the same changes in the other set, before any memslot is freed. */
	for (i = 0; i < batch->nr; i++) {
		c = &batch->changes[i];
		if (c->old || c->new)
			kvm_replace_memslot(kvm, c->invalid ?: c->old, c->new);
		cond_resched();
	}

	/*
	 * Commit deletions last.  Otherwise architectures would see a VM with
	 * little memory in between.
	 */
	for (i = 0; i < batch->nr; i++) {
		c = &batch->changes[i];
		if (c->new)
			kvm_commit_memory_region(kvm, c->old, c->new, c->change);
		cond_resched();
	}
	if (!batch->zaps)
		return;

	memslot_batch_free_invalid(batch);
	for (i = 0; i < batch->nr; i++) {
		c = &batch->changes[i];
		if (c->old && c->change == KVM_MR_DELETE)
			kvm_commit_memory_region(kvm, c->old, NULL, KVM_MR_DELETE);
		cond_resched();
	}
}

static int memslot_batch_run(struct kvm *kvm, struct memslot_batch *batch)
{
	int r;

	lockdep_assert_held(&kvm->slots_lock);

	/* Released by kvm_swap_active_memslots(); see kvm_set_memslot(). */
	mutex_lock(&kvm->slots_arch_lock);

	r = memslot_batch_make(kvm, batch);
	batch->shadow = !r && batch->zaps && kvm_arch_memslot_batch_has_shadow(kvm);
	if (batch->shadow)
		r = batch->atomic ? -EOPNOTSUPP : memslot_batch_invalidate(kvm, batch);

	if (!r && batch->changed) {
		memslot_batch_commit(kvm, batch);
	} else {
		memslot_batch_undo(kvm, batch);
		mutex_unlock(&kvm->slots_arch_lock);
	}

	return r;
}

/*
 * Copy the list, up to 10 MiB, which are charged to the caller.  slots_lock is
 * held, so there is one copy per VM, however many threads have lists.
 */
static int memslot_batch_copy(struct memslot_batch *batch, u64 user)
{
	batch->regions = kvmalloc_array(batch->nr, sizeof(*batch->regions),
					GFP_KERNEL_ACCOUNT);
	if (!batch->regions)
		return -ENOMEM;

	if (copy_from_user(batch->regions, u64_to_user_ptr(user),
			   batch->nr * sizeof(*batch->regions)))
		return -EFAULT;

	batch->as_id = batch->regions[0].slot >> 16;
	return 0;
}

static int memslot_batch_alloc(struct memslot_batch *batch)
{
	batch->changes = kvcalloc(batch->nr, sizeof(*batch->changes), GFP_KERNEL_ACCOUNT);
	batch->made = bitmap_zalloc(KVM_USER_MEM_SLOTS, GFP_KERNEL_ACCOUNT);
	if (!batch->changes || !batch->made)
		return -ENOMEM;

	if (batch->nr < MEMSLOT_BATCH_INDEXED)
		return 0;
	batch->by_id = kvmalloc_array(KVM_MEM_SLOTS_NUM, sizeof(*batch->by_id),
				      GFP_KERNEL_ACCOUNT);
	return batch->by_id ? 0 : -ENOMEM;
}

static void memslot_batch_free(struct memslot_batch *batch)
{
	kvfree(batch->by_id);
	bitmap_free(batch->made);
	kvfree(batch->changes);
	kvfree(batch->regions);
}

static int memslot_batch_set(struct kvm *kvm, const struct kvm_user_memory_regions *list,
			     u32 *failed)
{
	struct memslot_batch batch = {
		.nr = list->nr,
		.failed = list->nr,
		.atomic = list->flags & KVM_MEMORY_REGIONS_ATOMIC,
	};
	int r;

	if (list->flags & ~KVM_MEMORY_REGIONS_ATOMIC ||
	    memchr_inv(list->pad, 0, sizeof(list->pad)))
		return -EINVAL;
	if (list->nr > KVM_MEMSLOT_BATCH_MAX)
		return -E2BIG;
	if (!list->nr)
		return 0;

	mutex_lock(&kvm->slots_lock);
	r = memslot_batch_copy(&batch, list->regions);
	if (!r)
		r = memslot_batch_alloc(&batch);
	if (!r)
		r = memslot_batch_run(kvm, &batch);
	memslot_batch_free(&batch);
	mutex_unlock(&kvm->slots_lock);

	*failed = batch.failed;
	return r;
}

int kvm_vm_ioctl_set_memory_regions(struct kvm *kvm, void __user *arg)
{
	struct kvm_user_memory_regions __user *user = arg;
	struct kvm_user_memory_regions list;
	u32 failed;
	int r;

	if (copy_from_user(&list, user, sizeof(list)))
		return -EFAULT;

	/* An error that is about no region in particular. */
	failed = list.nr;
	r = memslot_batch_set(kvm, &list, &failed);
	if (r && put_user(failed, &user->failed))
		return -EFAULT;
	return r;
}

bool __weak kvm_arch_memslot_batch_has_shadow(struct kvm *kvm)
{
	return false;
}

bool __weak kvm_arch_memslot_batch_zap_all(struct kvm *kvm)
{
	return false;
}
