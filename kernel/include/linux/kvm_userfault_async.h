/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Async page faults over KVM userfault: a vCPU goes on while userspace brings the
 * page of its userfault exit.
 *
 * Userspace accepts an exit that has KVM_MEMORY_EXIT_FLAG_APF.  When the vCPU runs
 * again, the guest is told that the page is missing, or the vCPU is halted.  Once
 * the page is there, userspace says so, from any thread.  The contract with
 * userspace is in Documentation/virt/kvm/userfault-async.rst.
 *
 * An accepted page is a struct kvm_async_pf, like a page that KVM's own async page
 * faults bring, but no worker brings it.  Both kinds share the queue of finished
 * pages and the limit.
 */
#ifndef __KVM_USERFAULT_ASYNC_H
#define __KVM_USERFAULT_ASYNC_H

#include <linux/kvm_host.h>

#ifdef CONFIG_KVM_USERFAULT_ASYNC

/* Of a vCPU for which the capability has been enabled. */
struct kvm_userfault_async {
	/* Accessed by the vCPU's thread only, that is, with vcpu->mutex held. */

	/* May an exit be offered? */
	bool enabled;

	/* The last exit can be accepted, for the page that @arch describes. */
	bool offered;
	gpa_t cr2_or_gpa;
	struct kvm_arch_async_pf arch;

	/* In KVM_RUN: since when the vCPU is halted for a page, or 0. */
	ktime_t halted_since;

	/* Protected by vcpu->async_pf.lock. */

	/* The page that was accepted since the last KVM_RUN, or NULL. */
	struct kvm_async_pf *fresh;
	/* Is @fresh there already? */
	bool fresh_ready;

	/* Accepted pages that are not there yet, without @fresh; by their @link. */
	struct list_head accepted;
};

/**
 * kvm_userfault_async_enable - KVM_ENABLE_CAP of KVM_CAP_ASYNC_PF_USERFAULT
 * @vcpu: the vCPU, whose mutex is held
 * @cap:  the capability; args[0] is 1 to enable it, 0 to disable it
 *
 * To disable it has no effect on pages that have been accepted.
 *
 * Return: 0, -EINVAL for other arguments, or -ENOMEM.
 */
int kvm_userfault_async_enable(struct kvm_vcpu *vcpu, const struct kvm_enable_cap *cap);

/**
 * kvm_userfault_async_destroy - free what kvm_userfault_async_enable() allocated
 * @vcpu: the vCPU, which is being destroyed and has no pages left
 */
void kvm_userfault_async_destroy(struct kvm_vcpu *vcpu);

/**
 * kvm_userfault_async_ioctl - the ioctl KVM_ASYNC_PF
 * @vcpu:  the vCPU; its mutex is not held
 * @ioctl: the ioctl's number
 * @arg:   its argument
 *
 * Return: 0, a negative errno, or -ENOIOCTLCMD if @ioctl is another ioctl.
 */
long kvm_userfault_async_ioctl(struct kvm_vcpu *vcpu, unsigned int ioctl,
			       unsigned long arg);

/**
 * kvm_userfault_async_enabled - is the capability enabled for a vCPU?
 * @vcpu: the vCPU, whose mutex is held
 */
bool kvm_userfault_async_enabled(const struct kvm_vcpu *vcpu);

/**
 * kvm_userfault_async_pending - does a vCPU wait for a page that it has accepted?
 * @vcpu: the vCPU, which runs
 * @gfn:  the page
 */
bool kvm_userfault_async_pending(struct kvm_vcpu *vcpu, gfn_t gfn);

/**
 * kvm_userfault_async_offer - let userspace accept the exit that is being prepared
 * @vcpu:       the vCPU, with kvm_userfault_async_enabled()
 * @cr2_or_gpa: the faulting address
 * @arch:       the page, and what the architecture needs to map it later
 *
 * Does nothing if too many pages are pending.
 */
void kvm_userfault_async_offer(struct kvm_vcpu *vcpu, gpa_t cr2_or_gpa,
			       const struct kvm_arch_async_pf *arch);

/**
 * kvm_userfault_async_halting - the vCPU is about to be halted for a page
 * @vcpu: the vCPU
 * @gfn:  the page
 */
void kvm_userfault_async_halting(struct kvm_vcpu *vcpu, gfn_t gfn);

/**
 * kvm_userfault_async_clear - hand all pages over, for KVM to free them
 * @vcpu: the vCPU
 *
 * For kvm_clear_async_pf_completion_queue().  Puts them on vcpu->async_pf.done, and
 * ends a halt.  Called by the vCPU's thread, or while the VM is destroyed.
 */
void kvm_userfault_async_clear(struct kvm_vcpu *vcpu);

void __kvm_userfault_async_run(struct kvm_vcpu *vcpu);
void __kvm_userfault_async_woken(struct kvm_vcpu *vcpu);

/**
 * kvm_userfault_async_run - KVM_RUN begins to run a vCPU
 * @vcpu: the vCPU
 *
 * Tells the guest about the page that was accepted, or halts the vCPU.  Without
 * such a page, forgets the offer.  Ends an earlier halt if the vCPU can't be halted
 * any more.
 */
static inline void kvm_userfault_async_run(struct kvm_vcpu *vcpu)
{
	if (vcpu->userfault_async)
		__kvm_userfault_async_run(vcpu);
}

/**
 * kvm_userfault_async_woken - the vCPU is no longer halted, or leaves KVM_RUN
 * @vcpu: the vCPU
 */
static inline void kvm_userfault_async_woken(struct kvm_vcpu *vcpu)
{
	if (vcpu->userfault_async)
		__kvm_userfault_async_woken(vcpu);
}

/**
 * kvm_arch_userfault_async_possible - can this fault be sat out?
 * @vcpu: the vCPU
 *
 * Return: true if the guest can be told, or the vCPU can be halted.
 */
bool kvm_arch_userfault_async_possible(struct kvm_vcpu *vcpu);

/**
 * kvm_arch_userfault_async_start - tell the guest that a page is missing
 * @vcpu: the vCPU, with kvm_arch_userfault_async_possible()
 * @work: the accepted page; its notpresent_injected is set
 *
 * Halts the vCPU if the guest can't be told.
 */
void kvm_arch_userfault_async_start(struct kvm_vcpu *vcpu, struct kvm_async_pf *work);

/**
 * kvm_arch_userfault_async_halted - is a vCPU halted for a page, or about to be?
 * @vcpu: the vCPU
 */
bool kvm_arch_userfault_async_halted(struct kvm_vcpu *vcpu);

/**
 * kvm_arch_userfault_async_wake - end the halt for a page, if there is one
 * @vcpu: the vCPU
 */
void kvm_arch_userfault_async_wake(struct kvm_vcpu *vcpu);

#else /* !CONFIG_KVM_USERFAULT_ASYNC */

static inline int kvm_userfault_async_enable(struct kvm_vcpu *vcpu,
					     const struct kvm_enable_cap *cap)
{
	return -EINVAL;
}

static inline void kvm_userfault_async_destroy(struct kvm_vcpu *vcpu)
{
}

static inline void kvm_userfault_async_clear(struct kvm_vcpu *vcpu)
{
}

static inline void kvm_userfault_async_run(struct kvm_vcpu *vcpu)
{
}

static inline void kvm_userfault_async_woken(struct kvm_vcpu *vcpu)
{
}

#endif /* CONFIG_KVM_USERFAULT_ASYNC */

#endif /* __KVM_USERFAULT_ASYNC_H */
