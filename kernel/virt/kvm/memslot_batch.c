// SPDX-License-Identifier: GPL-2.0-only
/*
 * Many changes of memslots in one step.
 *
 * The changes are made, one after the other, in the set of memslots that is not
 * active, where each of them is validated against what those before it have
 * left.  If one fails, they are taken back there, and nobody has seen anything.
 * Otherwise the sets are swapped, once, and one grace period of kvm->srcu later
 * no one uses the old set any more.
 *
 * What is mapped of a memslot that is deleted or moved must be gone before the
 * swap: from then on KVM doesn't find what belongs to the mapping.  And it must
 * not come back before the grace period has ended, for until then a fault may
 * be under way that has found the old memslot.  One by one, memslots are
 * marked invalid for that, which takes a swap and a grace period of its own.
 * Here, faults on them are refused in the way in which they are while the
 * primary MMU invalidates memory.  The vCPU tries again, so:
 *
 *  - the guest accesses nothing that the old set maps after it has accessed what
 *    only the new set does;
 *  - it sees no hole where both have memory;
 *  - KVM's own accesses use the one set or the other, and never fail for a
 *    memslot being invalid.
 *
 * Where KVM shadows page tables that is not enough, see
 * kvm_arch_memslot_batch_has_shadow().  There memslots are replaced by invalid
 * copies first, as they are one by one, but all at once: two swaps and two grace
 * periods, however many changes.  KVM's own accesses to them fail meanwhile.
 *
 * Lock order: slots_lock, slots_arch_lock, mmu_lock.  The list is copied from
 * userspace with slots_lock held, so mmap_lock comes after that, too.
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

/* As for userspace: 32 and 64 bits, with no padding of the compiler's. */
static_assert(sizeof(struct kvm_user_memory_regions) == 64);

struct memslot_change {
	struct kvm_memory_slot *old;	/* NULL if created */
	struct kvm_memory_slot *new;	/* NULL if deleted; both: no change */
	enum kvm_mr_change change;
	/* With shadowed page tables: what is active instead of @valid. */
	struct kvm_memory_slot *invalid;
	struct kvm_memory_slot *valid;
};

struct memslot_batch {
	struct kvm_userspace_memory_region2 *regions;
	struct memslot_change *changes;
	unsigned long *made;	/* ids of memslots that the list has made or changed */
	struct kvm_memory_slot **by_id;	/* of the inactive set; NULL for short lists */
	u32 nr;
	u32 nr_done;	/* so many are made in the inactive set */
	u32 failed;	/* the index of the one that could not be, or nr */
	u16 as_id;
	bool atomic;	/* KVM_MEMORY_REGIONS_ATOMIC: vCPUs run */
	bool indexed;	/* @by_id is filled */
	bool changed;	/* at least one of those is a change */
	bool zaps;	/* at least one is deleted or moved */
	bool shadow;	/* page tables are shadowed: invalid copies are active */
};

/*
 * From this length on, a list makes an index of all memslots once.  Where there
 * are many of them, that takes less than looking for that many ids in 128 buckets.
 */
#define MEMSLOT_BATCH_INDEXED	256

static bool memslot_change_zaps(const struct memslot_change *c)
{
	return c->old && (c->change == KVM_MR_DELETE || c->change == KVM_MR_MOVE);
}

/* Free what kvm_prepare_memory_region() gave to the new memslot, and that. */
static void memslot_change_unprepare(struct kvm *kvm, const struct memslot_change *c)
{
	if (!c->new)
		return;

	if (!c->old || c->new->dirty_bitmap != c->old->dirty_bitmap)
		kvm_destroy_dirty_bitmap(c->new);

	/* If only flags change, it has been lent by the old one. */
	if (c->change != KVM_MR_FLAGS_ONLY)
		kvm_arch_free_memslot(kvm, c->new);

	kfree(c->new);
}

static int memslot_batch_check_region(const struct memslot_batch *batch,
				      const struct kvm_userspace_memory_region2 *mem)
{
	/* Two sets would have to be swapped at the same time. */
	if (mem->slot >> 16 != batch->as_id)
		return -EINVAL;

	/* Those behind are KVM's own. */
	if ((u16)mem->slot >= KVM_USER_MEM_SLOTS)
		return -EINVAL;

	/* Binding to a file, and changing in place, can't be taken back. */
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
	 * One that would never be active can't be committed: architectures look
	 * for it in the active set, or find that what is in new->arch has not
	 * kept up with those that are there.
	 */
	if (c->old && test_bit(c->old->id, batch->made)) {
		kfree(c->new);
		return -EINVAL;
	}

	/*
	 * vCPUs write it until it is gone, and no one could collect that.  The
	 * log of one that is moved stays, but what a vCPU flushes late, out of
	 * a buffer of gfns (PML), would miss it.
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

/* Take back what has been made, the last one first. */
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
 * process, which can take long.  Wait for that before any fault is refused: else
 * vCPUs would spin until kvm_swap_active_memslots() has waited for it.  There is
 * a wait there still, for what begins to be invalidated after this.
 *
 * Not inlined: /proc/PID/wchan has its name while it waits, for tests.
 */
static noinline void memslot_batch_drain(struct kvm *kvm)
{
	/* slots_lock is held: no one else waits. */
	rcuwait_wait_event(&kvm->mn_memslots_update_rcuwait,
			   !READ_ONCE(kvm->mn_active_invalidate_count),
			   TASK_UNINTERRUPTIBLE);
}

/*
 * Refuse faults on what is deleted or moved.  They go on with kvm->srcu held
 * from looking up the memslot, and look at this with mmu_lock held.
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

/* A copy of each memslot that is deleted or moved, for which all is made. */
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

/* In the inactive set, which then is that of before. */
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
 * With shadowed page tables: no one may use a memslot that goes to shadow
 * another one.  The changes are made a second time, since slots_arch_lock can't
 * be held in between.  If that fails, all is as it was before the list.
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

	/* It may have changed meanwhile, see kvm_invalidate_memslot(). */
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

/* All is made in the inactive set: from here on nothing fails. */
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

	/* Releases slots_arch_lock, then waits for the one grace period. */
	kvm_swap_active_memslots(kvm, batch->as_id);

	if (batch->zaps)
		memslot_batch_unblock(kvm);

	/* The same in the other set, before any memslot is freed. */
	for (i = 0; i < batch->nr; i++) {
		c = &batch->changes[i];
		if (c->old || c->new)
			kvm_replace_memslot(kvm, c->invalid ?: c->old, c->new);
		cond_resched();
	}

	/*
	 * What is deleted comes last, or architectures would take this for a VM
	 * of little memory in between.
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
 * Up to 10 MiB, which count as the caller's memory.  With slots_lock held, so
 * that however many threads have lists for a VM, there is one copy.
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

	/* None of them in particular. */
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
