// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM userfault: the part that all architectures share.
 *
 * Lock order: slots_lock, mmap_lock (to read the bitmap), mmu_lock.
 *
 * A fault reads the bitmap with kvm->srcu held and none of these locks.  An
 * update reads it with slots_lock held.  Neither may hold mmu_lock then: reading
 * may sleep, and MMU notifiers take mmu_lock under mmap_lock.
 *
 * Copyright 2026 Postern developers
 */
#include <linux/bitmap.h>
#include <linux/kvm_host.h>
#include <linux/kvm.h>
#include <linux/kvm_userfault.h>
#include <linux/lockdep.h>
#include <linux/nospec.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>

#define CREATE_TRACE_POINTS
#include <trace/events/kvm_userfault.h>

/* The bitmap pointer replaces padding: old and new userspace must agree. */
static_assert(sizeof(struct kvm_userspace_memory_region2) == 160);
static_assert(offsetof(struct kvm_userspace_memory_region2, userfault_bitmap) == 48);

/* The bitmap is copied from userspace to the stack in chunks of this size. */
#define CHUNK_WORDS	32
#define CHUNK_BITS	(CHUNK_WORDS * BITS_PER_LONG)

/* A new bitmap zaps a memslot in about as many ranges at most. */
#define MAX_ZAPS	1024

bool kvm_userfault_region_valid(const struct kvm_userspace_memory_region2 *mem)
{
	unsigned long __user *bitmap = kvm_userfault_bitmap(mem);
	unsigned long npages = mem->memory_size >> PAGE_SHIFT;

	if (!(mem->flags & KVM_MEM_USERFAULT))
		return true;

	return mem->userfault_bitmap == (unsigned long)bitmap &&
	       mem->userfault_bitmap == untagged_addr(mem->userfault_bitmap) &&
	       access_ok(bitmap, BITS_TO_LONGS(npages) * sizeof(*bitmap));
}

/* With guest_memfd, the memslot in use changes in place. */
static unsigned long __user *slot_bitmap(const struct kvm_memory_slot *slot)
{
	return READ_ONCE(slot->userfault_bitmap);
}

static bool userfault_read_bitmap(unsigned long __user *bitmap,
				  unsigned long first_word,
				  unsigned long *words, unsigned long nwords)
{
	return !copy_from_user(words, bitmap + first_word, nwords * sizeof(*words));
}

static void userfault_zap(struct kvm *kvm, const struct kvm_memory_slot *slot,
			  unsigned long begin, unsigned long end)
{
	kvm_arch_userfault_zap(kvm, slot, slot->base_gfn + begin, slot->base_gfn + end);
}

/*
 * A new bitmap has replaced another one: zap the pages that it marks.  Where it
 * can't be read, zap all pages; their faults will report the error.
 *
 * Each zap takes mmu_lock, and flushes TLBs if it has found a mapping.  So runs
 * of marked pages are merged if the gap between them is small: a fragmented
 * bitmap costs about MAX_ZAPS zaps, however large the memslot is.
 *
 * Returns true if any page was zapped.
 */
static bool userfault_zap_marked(struct kvm *kvm, const struct kvm_memory_slot *slot)
{
	const unsigned long max_gap = slot->npages / MAX_ZAPS;
	unsigned long words[CHUNK_WORDS];
	unsigned long first, nbits, begin, end;
	unsigned long run_begin = 0, run_end = 0;

	for (first = 0; first < slot->npages; first += nbits) {
		nbits = min(slot->npages - first, CHUNK_BITS);

		/* A process that is being killed doesn't need the mappings. */
		if (fatal_signal_pending(current)) {
			run_end = slot->npages;
			break;
		}

		if (!userfault_read_bitmap(slot->userfault_bitmap, BIT_WORD(first),
					   words, BITS_TO_LONGS(nbits)))
			bitmap_fill(words, nbits);

		for_each_set_bitrange(begin, end, words, nbits) {
			if (!run_end) {
				run_begin = first + begin;
			} else if (first + begin > run_end + max_gap) {
				userfault_zap(kvm, slot, run_begin, run_end);
				run_begin = first + begin;
			}
			run_end = first + end;
		}
		cond_resched();
	}

	if (run_end)
		userfault_zap(kvm, slot, run_begin, run_end);
	return run_end;
}

static void userfault_zap_enabled(struct kvm *kvm, const struct kvm_memory_slot *slot,
				  bool was_enabled)
{
	if (!was_enabled) {
		/*
		 * Zap pages whose bits are clear, too: userspace may set these
		 * bits after the ioctl, before vCPUs run.
		 */
		userfault_zap(kvm, slot, 0, slot->npages);
	} else if (!userfault_zap_marked(kvm, slot)) {
		return;
	}
	kvm_arch_userfault_zapped(kvm);
}

int kvm_userfault_update_gmem(struct kvm *kvm, struct kvm_memory_slot *slot,
			      const struct kvm_userspace_memory_region2 *mem)
{
	bool was_enabled = kvm_slot_userfault_enabled(slot);

	lockdep_assert_held(&kvm->slots_lock);

	if (!((mem->flags | slot->flags) & KVM_MEM_USERFAULT) ||
	    (mem->flags ^ slot->flags) & ~KVM_MEM_USERFAULT ||
	    mem->guest_phys_addr != gfn_to_gpa(slot->base_gfn) ||
	    mem->memory_size != (u64)slot->npages << PAGE_SHIFT ||
	    mem->userspace_addr != slot->userspace_addr)
		return -EINVAL;

	if (mem->flags == slot->flags &&
	    kvm_userfault_bitmap(mem) == slot->userfault_bitmap)
		return 0;

	/*
	 * guest_memfd is bound to the memslot's address, so change the memslot
	 * in place.  If the flag was cleared or the bitmap replaced, no vCPU may
	 * still read the old bitmap when this returns.
	 */
	if (mem->flags & KVM_MEM_USERFAULT)
		WRITE_ONCE(slot->userfault_bitmap, kvm_userfault_bitmap(mem));
	/* A vCPU that sees the flag must see the bitmap. */
	smp_store_release(&slot->flags, mem->flags);

	synchronize_srcu_expedited(&kvm->srcu);

	if (mem->flags & KVM_MEM_USERFAULT) {
		userfault_zap_enabled(kvm, slot, was_enabled);
	} else {
		/*
		 * Don't call kvm_arch_userfault_recover(): guest_memfd has no
		 * huge pages, but KVM would zap mappings as if it had some.
		 */
		slot->userfault_bitmap = NULL;
	}
	return 0;
}

void kvm_userfault_commit(struct kvm *kvm, const struct kvm_memory_slot *old,
			  const struct kvm_memory_slot *new,
			  enum kvm_mr_change change)
{
	lockdep_assert_held(&kvm->slots_lock);

	/*
	 * A new memslot has no mappings yet, and a memslot that was moved or
	 * deleted has lost them already.
	 */
	if (change != KVM_MR_FLAGS_ONLY || !kvm_userfault_slot_changed(old, new))
		return;

	/*
	 * A fault holds kvm->srcu from looking up its memslot to installing the
	 * mapping, and SRCU has been synchronized since @new became active.  So
	 * every fault that began with @old is over, and its mappings are zapped
	 * here if need be.  Later mappings were checked against the bitmap of
	 * @new.
	 */
	if (kvm_slot_userfault_enabled(new))
		userfault_zap_enabled(kvm, new, kvm_slot_userfault_enabled(old));
	else if (!kvm_slot_dirty_track_enabled(new))
		/* With dirty tracking on, mappings stay small anyway. */
		kvm_arch_userfault_recover(kvm, new);
}

int kvm_userfault_test(const struct kvm_memory_slot *slot, gfn_t gfn)
{
	unsigned long __user *bitmap = slot_bitmap(slot);
	unsigned long index = gfn - slot->base_gfn;
	unsigned long word;

	might_fault();

	/* The guest chooses gfn: don't let it speculate beyond the bitmap. */
	index = array_index_nospec(index, slot->npages);

	if (get_user(word, bitmap + BIT_WORD(index)))
		return -EFAULT;

	if (word & BIT_MASK(index))
		return 1;

	/*
	 * Pairs with the release with which userspace clears the bit: neither
	 * the lookup of the pfn nor the guest's access may see the page as it
	 * was before userspace filled it.
	 */
	smp_acquire__after_ctrl_dep();
	return 0;
}

bool kvm_userfault_range_clear(const struct kvm_memory_slot *slot, gfn_t gfn,
			       unsigned long npages)
{
	unsigned long __user *bitmap = slot_bitmap(slot);
	unsigned long words[CHUNK_WORDS];
	unsigned long index = gfn - slot->base_gfn;
	unsigned long offset, end;

	might_fault();

	/* As in kvm_userfault_test(). */
	index = array_index_nospec(index, slot->npages);

	for (; npages; npages -= end - offset, index += end - offset) {
		offset = index % BITS_PER_LONG;
		end = min(offset + npages, CHUNK_BITS);

		if (!userfault_read_bitmap(bitmap, BIT_WORD(index), words,
					   BITS_TO_LONGS(end)))
			return false;

		if (find_next_bit(words, end, offset) < end)
			return false;
	}

	/* As in kvm_userfault_test(), for all of these pages. */
	smp_acquire__after_ctrl_dep();
	return true;
}

/*
 * The page of the last exit is accessed again, and may be mapped.  kvm_run still
 * has that exit, unless another one or userspace has overwritten it: good enough
 * for tracing, and free while nobody traces.
 */
static void userfault_trace_resolved(const struct kvm_vcpu *vcpu, gpa_t gpa)
{
	const struct kvm_run *run = vcpu->run;

	if (trace_kvm_userfault_resolved_enabled() &&
	    READ_ONCE(run->memory_fault.flags) & KVM_MEMORY_EXIT_FLAG_USERFAULT &&
	    READ_ONCE(run->memory_fault.gpa) == gpa)
		trace_kvm_userfault_resolved(vcpu->vcpu_id, gpa);
}

int kvm_userfault_check_access(struct kvm_vcpu *vcpu,
			       const struct kvm_memory_slot *slot, gfn_t gfn)
{
	int r = kvm_userfault_test(slot, gfn);

	if (!r)
		userfault_trace_resolved(vcpu, gfn_to_gpa(gfn));
	return r;
}

int kvm_userfault_exit(struct kvm_vcpu *vcpu, gfn_t gfn, bool is_write, bool is_exec,
		       bool is_private)
{
	gpa_t gpa = gfn_to_gpa(gfn);

	kvm_prepare_memory_fault_exit(vcpu, gpa, PAGE_SIZE, is_write, is_exec,
				      is_private);
	vcpu->run->memory_fault.flags |= KVM_MEMORY_EXIT_FLAG_USERFAULT;

	trace_kvm_userfault_exit(vcpu->vcpu_id, gpa, PAGE_SIZE, is_write, is_exec);
	return -EFAULT;
}

void __weak kvm_arch_userfault_recover(struct kvm *kvm, const struct kvm_memory_slot *slot)
{
}
