// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM userfault: the part that all architectures share.
 *
 * Lock order: slots_lock, mmap_lock (to read the bitmap), mmu_lock.
 *
 * A fault reads the bitmap with kvm->srcu held and without any of these.  An
 * update reads it with slots_lock held, and must not hold mmu_lock then: reading
 * may sleep, and mmu notifiers take mmu_lock under mmap_lock.
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

/* The bitmap pointer took over padding, old and new userspace must agree. */
static_assert(sizeof(struct kvm_userspace_memory_region2) == 160);
static_assert(offsetof(struct kvm_userspace_memory_region2, userfault_bitmap) == 48);

/* How much of a bitmap is copied from userspace at a time, on the stack. */
#define CHUNK_WORDS	32
#define CHUNK_BITS	(CHUNK_WORDS * BITS_PER_LONG)

/* In how many ranges a memslot is zapped at most, give or take one. */
#define MAX_ZAPS	1024

static unsigned long __user *
userfault_region_bitmap(const struct kvm_userspace_memory_region2 *mem)
{
	if (!(mem->flags & KVM_MEM_USERFAULT))
		return NULL;

	return u64_to_user_ptr(mem->userfault_bitmap);
}

int kvm_userfault_check_region(const struct kvm_userspace_memory_region2 *mem)
{
	unsigned long __user *bitmap = userfault_region_bitmap(mem);
	unsigned long npages = mem->memory_size >> PAGE_SHIFT;

	if (!(mem->flags & KVM_MEM_USERFAULT))
		return 0;

	if (mem->userfault_bitmap != (unsigned long)bitmap ||
	    mem->userfault_bitmap != untagged_addr(mem->userfault_bitmap) ||
	    !access_ok(bitmap, BITS_TO_LONGS(npages) * sizeof(*bitmap)))
		return -EINVAL;

	return 0;
}

void kvm_userfault_init_slot(struct kvm_memory_slot *slot,
			     const struct kvm_userspace_memory_region2 *mem)
{
	slot->userfault_bitmap = userfault_region_bitmap(mem);
}

bool kvm_userfault_region_changed(const struct kvm_memory_slot *slot,
				  const struct kvm_userspace_memory_region2 *mem)
{
	/* A slot without the flag has NULL, which can also be a bitmap's address. */
	return (slot->flags ^ mem->flags) & KVM_MEM_USERFAULT ||
	       slot->userfault_bitmap != userfault_region_bitmap(mem);
}

/* It changes in place where the memslot has guest_memfd. */
static unsigned long __user *userfault_bitmap(const struct kvm_memory_slot *slot)
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
 * The flag went on.  Zap pages whose bits are clear, too: userspace may set these
 * after the ioctl, before vCPUs run.
 */
static void userfault_zap_all(struct kvm *kvm, const struct kvm_memory_slot *slot)
{
	userfault_zap(kvm, slot, 0, slot->npages);
	kvm_arch_userfault_zapped(kvm);
}

/*
 * Another bitmap replaced the old one.  Zap what it marks, one run of pages after
 * the other.  A part of the bitmap that can't be read marks all of its pages:
 * their faults tell.
 *
 * Each zap takes mmu_lock, and flushes TLBs if it has found something.  So take
 * runs with little between them for one: the fragments of a bitmap cost no more
 * than MAX_ZAPS, however large the memslot is.
 */
static void userfault_zap_marked(struct kvm *kvm, const struct kvm_memory_slot *slot)
{
	const unsigned long max_gap = slot->npages / MAX_ZAPS;
	unsigned long words[CHUNK_WORDS];
	unsigned long first, nbits, begin, end;
	unsigned long run_begin = 0, run_end = 0;

	for (first = 0; first < slot->npages; first += nbits) {
		nbits = min(slot->npages - first, CHUNK_BITS);

		/* Whoever is being killed doesn't need the mappings. */
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

	if (run_end) {
		userfault_zap(kvm, slot, run_begin, run_end);
		kvm_arch_userfault_zapped(kvm);
	}
}

static void userfault_zap_enabled(struct kvm *kvm, const struct kvm_memory_slot *slot,
				  bool was_enabled)
{
	if (was_enabled)
		userfault_zap_marked(kvm, slot);
	else
		userfault_zap_all(kvm, slot);
}

#ifdef CONFIG_KVM_PRIVATE_MEM
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

	if (!kvm_userfault_region_changed(slot, mem))
		return 0;

	/*
	 * guest_memfd is bound to the memslot's address, so change the memslot
	 * in place.  Once the flag is off, or the bitmap is another one, no vCPU
	 * may read the old bitmap when this returns.
	 */
	if (mem->flags & KVM_MEM_USERFAULT)
		WRITE_ONCE(slot->userfault_bitmap, userfault_region_bitmap(mem));
	/* A vCPU that sees the flag must see the bitmap. */
	smp_store_release(&slot->flags, mem->flags);

	synchronize_srcu_expedited(&kvm->srcu);

	if (mem->flags & KVM_MEM_USERFAULT) {
		userfault_zap_enabled(kvm, slot, was_enabled);
	} else {
		/*
		 * Nothing to recover: guest_memfd has no huge pages, but KVM
		 * would take its mappings for some that could be huge.
		 */
		slot->userfault_bitmap = NULL;
	}
	return 0;
}
#endif

void kvm_userfault_commit(struct kvm *kvm, const struct kvm_memory_slot *old,
			  const struct kvm_memory_slot *new,
			  enum kvm_mr_change change)
{
	lockdep_assert_held(&kvm->slots_lock);

	/*
	 * A memslot that has just been created has no mappings yet, and the
	 * mappings of one that was moved or deleted went with its old place.
	 */
	if (change != KVM_MR_FLAGS_ONLY || !kvm_userfault_slot_changed(old, new))
		return;

	/*
	 * Faults hold kvm->srcu from looking up their memslot to installing
	 * the mapping, and SRCU has been synchronized since @new became
	 * active.  So every fault that began with @old is over: what it mapped
	 * is zapped here if need be, and what is mapped from now on has been
	 * checked against the bitmap of @new.
	 */
	if (kvm_slot_userfault_enabled(new))
		userfault_zap_enabled(kvm, new, kvm_slot_userfault_enabled(old));
	else if (!kvm_slot_dirty_track_enabled(new))
		/* With dirty tracking on, mappings stay small anyway. */
		kvm_arch_userfault_recover(kvm, new);
}

int kvm_userfault_test(const struct kvm_memory_slot *slot, gfn_t gfn)
{
	unsigned long __user *bitmap = userfault_bitmap(slot);
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
	unsigned long __user *bitmap = userfault_bitmap(slot);
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

void kvm_userfault_prepare_exit(struct kvm_vcpu *vcpu, gfn_t gfn, bool is_write,
				bool is_exec, bool is_private)
{
	gpa_t gpa = gfn_to_gpa(gfn);

	kvm_prepare_memory_fault_exit(vcpu, gpa, PAGE_SIZE, is_write, is_exec,
				      is_private);
	vcpu->run->memory_fault.flags |= KVM_MEMORY_EXIT_FLAG_USERFAULT;
	vcpu->userfault_pending = gpa | 1;

	trace_kvm_userfault_exit(vcpu->vcpu_id, gpa, PAGE_SIZE, is_write, is_exec);
}

void __kvm_userfault_resolved(struct kvm_vcpu *vcpu, gfn_t gfn)
{
	gpa_t gpa = gfn_to_gpa(gfn);

	/* Once it is through to another page, it may not come back to that one. */
	if (vcpu->userfault_pending == (gpa | 1))
		trace_kvm_userfault_resolved(vcpu->vcpu_id, gpa);
	vcpu->userfault_pending = 0;
}
