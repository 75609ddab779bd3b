// SPDX-License-Identifier: GPL-2.0-only
/*
 * Async page faults over KVM userfault: the part that all architectures share.
 *
 * The life of a page: an exit offers it; KVM_APF_OP_ACCEPT makes it ua->fresh; the
 * next KVM_RUN tells the guest and puts it on ua->accepted; KVM_APF_OP_READY moves
 * it to vcpu->async_pf.done, from where kvm_check_async_pf_completion() tells the
 * guest again.  KVM_APF_OP_READY runs on any thread, everything else on the
 * vCPU's, or while the VM is destroyed.
 *
 * Lock order: vcpu->mutex, vcpu->async_pf.lock.
 *
 * Copyright 2026 Postern developers
 */
#include <linux/kvm_host.h>
#include <linux/kvm.h>
#include <linux/kvm_userfault_async.h>
#include <linux/ktime.h>
#include <linux/lockdep.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include <trace/events/kvm_userfault.h>

#include "async_pf.h"

static_assert(sizeof(struct kvm_async_pf_req) == 32);

/* KVM flushes the work of a page before it frees the page; ours never runs. */
static void no_work(struct work_struct *work)
{
}

static struct kvm_async_pf *find_page(struct list_head *pages, gfn_t gfn)
{
	struct kvm_async_pf *work;

	list_for_each_entry(work, pages, link)
		if (work->work.func == no_work && work->arch.gfn == gfn)
			return work;
	return NULL;
}

static void free_page_unseen(struct kvm_vcpu *vcpu, struct kvm_async_pf *work)
{
	kmem_cache_free(async_pf_cache, work);
	vcpu->async_pf.queued--;
}

int kvm_userfault_async_enable(struct kvm_vcpu *vcpu, const struct kvm_enable_cap *cap)
{
	struct kvm_userfault_async *ua = vcpu->userfault_async;

	lockdep_assert_held(&vcpu->mutex);

	if (cap->flags || cap->args[0] > 1 || cap->args[1] || cap->args[2] || cap->args[3])
		return -EINVAL;

	if (!ua && cap->args[0]) {
		ua = kzalloc(sizeof(*ua), GFP_KERNEL_ACCOUNT);
		if (!ua)
			return -ENOMEM;

		INIT_LIST_HEAD(&ua->accepted);
		/* KVM_APF_OP_READY may see it at any time from now on. */
		smp_store_release(&vcpu->userfault_async, ua);
	}

	if (ua)
		ua->enabled = cap->args[0];
	return 0;
}

void kvm_userfault_async_destroy(struct kvm_vcpu *vcpu)
{
	struct kvm_userfault_async *ua = vcpu->userfault_async;

	WARN_ON_ONCE(ua && (ua->fresh || !list_empty(&ua->accepted)));
	kfree(ua);
}

bool kvm_userfault_async_enabled(const struct kvm_vcpu *vcpu)
{
	return vcpu->userfault_async && vcpu->userfault_async->enabled;
}

void kvm_userfault_async_offer(struct kvm_vcpu *vcpu, gpa_t cr2_or_gpa,
			       const struct kvm_arch_async_pf *arch)
{
	struct kvm_userfault_async *ua = vcpu->userfault_async;

	if (vcpu->async_pf.queued >= ASYNC_PF_PER_VCPU) {
		trace_kvm_userfault_refuse(vcpu->vcpu_id, gfn_to_gpa(arch->gfn),
					   KVM_USERFAULT_REFUSE_LIMIT);
		return;
	}

	ua->offered = true;
	ua->cr2_or_gpa = cr2_or_gpa;
	ua->arch = *arch;
	vcpu->run->memory_fault.flags |= KVM_MEMORY_EXIT_FLAG_APF;
}

static int userfault_accept(struct kvm_vcpu *vcpu, gfn_t gfn)
{
	struct kvm_userfault_async *ua = vcpu->userfault_async;
	struct kvm_async_pf *work;

	lockdep_assert_held(&vcpu->mutex);

	if (!ua || !ua->offered || ua->arch.gfn != gfn)
		return -ENOENT;

	work = kmem_cache_zalloc(async_pf_cache, GFP_KERNEL_ACCOUNT);
	if (!work)
		return -ENOMEM;

	work->vcpu = vcpu;
	work->cr2_or_gpa = ua->cr2_or_gpa;
	work->arch = ua->arch;
	INIT_WORK(&work->work, no_work);
	/* KVM takes each finished page off vcpu->async_pf.queue, where it isn't. */
	INIT_LIST_HEAD(&work->queue);
	vcpu->async_pf.queued++;

	/* Only KVM_RUN offers, and it has taken the last fresh page before. */
	ua->offered = false;
	spin_lock(&vcpu->async_pf.lock);
	ua->fresh = work;
	ua->fresh_ready = false;
	spin_unlock(&vcpu->async_pf.lock);

	trace_kvm_userfault_accept(vcpu->vcpu_id, gfn_to_gpa(gfn));
	return 0;
}

static int userfault_ready(struct kvm_vcpu *vcpu, gfn_t gfn)
{
	/* Pairs with kvm_userfault_async_enable(). */
	struct kvm_userfault_async *ua = smp_load_acquire(&vcpu->userfault_async);
	struct kvm_async_pf *work;
	bool first = false, wake = false;
	int r = 0;

	if (!ua)
		return -ENOENT;

	spin_lock(&vcpu->async_pf.lock);
	work = find_page(&ua->accepted, gfn);
	if (work) {
		first = list_empty(&vcpu->async_pf.done);
		list_move_tail(&work->link, &vcpu->async_pf.done);
		wake = true;
	} else if (ua->fresh && ua->fresh->arch.gfn == gfn) {
		/* The next KVM_RUN looks at it. */
		r = ua->fresh_ready ? -EALREADY : 0;
		ua->fresh_ready = true;
	} else {
		r = find_page(&vcpu->async_pf.done, gfn) ? -EALREADY : -ENOENT;
	}
	spin_unlock(&vcpu->async_pf.lock);

	/* From here on, the vCPU's thread may have freed the page. */
	if (first)
		kvm_arch_async_page_present_queued(vcpu);
	if (wake)
		__kvm_vcpu_wake_up(vcpu);
	if (!r)
		trace_kvm_userfault_ready(vcpu->vcpu_id, gfn_to_gpa(gfn));
	return r;
}

long kvm_userfault_async_ioctl(struct kvm_vcpu *vcpu, unsigned int ioctl,
			       unsigned long arg)
{
	struct kvm_async_pf_req req;
	int r;

	if (ioctl != KVM_ASYNC_PF)
		return -ENOIOCTLCMD;

	if (copy_from_user(&req, (void __user *)arg, sizeof(req)))
		return -EFAULT;

	if (req.flags || req.reserved[0] || req.reserved[1] || !PAGE_ALIGNED(req.gpa))
		return -EINVAL;

	switch (req.op) {
	case KVM_APF_OP_ACCEPT:
		if (mutex_lock_killable(&vcpu->mutex))
			return -EINTR;
		r = userfault_accept(vcpu, gpa_to_gfn(req.gpa));
		mutex_unlock(&vcpu->mutex);
		return r;
	case KVM_APF_OP_READY:
		/* Not under vcpu->mutex, which KVM_RUN holds. */
		return userfault_ready(vcpu, gpa_to_gfn(req.gpa));
	default:
		return -EINVAL;
	}
}

bool kvm_userfault_async_pending(struct kvm_vcpu *vcpu, gfn_t gfn)
{
	struct kvm_userfault_async *ua = vcpu->userfault_async;
	bool pending;

	if (!ua || list_empty_careful(&ua->accepted))
		return false;

	spin_lock(&vcpu->async_pf.lock);
	pending = find_page(&ua->accepted, gfn);
	spin_unlock(&vcpu->async_pf.lock);
	return pending;
}

void __kvm_userfault_async_run(struct kvm_vcpu *vcpu)
{
	struct kvm_userfault_async *ua = vcpu->userfault_async;
	/* Only this thread makes a page fresh. */
	struct kvm_async_pf *work = ua->fresh;
	bool halted = kvm_arch_userfault_async_halted(vcpu);
	bool start;

	ua->offered = false;
	if (likely(!work && !halted))
		return;

	/*
	 * Userspace may have changed the vCPU's state since the last run, as it does
	 * for a reset.  If a fault can no longer be sat out, the guest's next access
	 * exits again.
	 */
	start = kvm_arch_userfault_async_possible(vcpu);

	if (halted && start)
		ua->halted_since = ktime_get();
	else if (halted)
		kvm_arch_userfault_async_wake(vcpu);

	if (!work)
		return;

	spin_lock(&vcpu->async_pf.lock);
	ua->fresh = NULL;
	start &= !ua->fresh_ready;
	if (start)
		list_add_tail(&work->link, &ua->accepted);
	spin_unlock(&vcpu->async_pf.lock);

	if (!start) {
		free_page_unseen(vcpu, work);
		return;
	}

	/*
	 * KVM_APF_OP_READY may come before this has told the guest.  The page is
	 * then finished after that, by this thread.
	 */
	kvm_arch_userfault_async_start(vcpu, work);
}

void kvm_userfault_async_halting(struct kvm_vcpu *vcpu, gfn_t gfn)
{
	trace_kvm_userfault_halt(vcpu->vcpu_id, gfn_to_gpa(gfn));
	vcpu->userfault_async->halted_since = ktime_get();
	++vcpu->stat.userfault_halts;
}

void __kvm_userfault_async_woken(struct kvm_vcpu *vcpu)
{
	struct kvm_userfault_async *ua = vcpu->userfault_async;

	if (!ua->halted_since)
		return;

	vcpu->stat.userfault_halt_ns += ktime_to_ns(ktime_sub(ktime_get(), ua->halted_since));
	ua->halted_since = 0;
}

void kvm_userfault_async_clear(struct kvm_vcpu *vcpu)
{
	struct kvm_userfault_async *ua = vcpu->userfault_async;

	if (!ua)
		return;

	spin_lock(&vcpu->async_pf.lock);
	list_splice_init(&ua->accepted, &vcpu->async_pf.done);
	if (ua->fresh)
		list_add_tail(&ua->fresh->link, &vcpu->async_pf.done);
	ua->fresh = NULL;
	spin_unlock(&vcpu->async_pf.lock);

	/* Nobody would wake a vCPU that is halted for one of these pages. */
	ua->offered = false;
	kvm_arch_userfault_async_wake(vcpu);
	kvm_userfault_async_woken(vcpu);
}
