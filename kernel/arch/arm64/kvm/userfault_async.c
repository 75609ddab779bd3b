// SPDX-License-Identifier: GPL-2.0-only
/*
 * Async page faults over KVM userfault for arm64: a vCPU is halted for its page, as
 * by WFI.  There is no event with which the guest could be told.
 *
 * KVM_REQ_USERFAULT_HALT halts the vCPU.  KVM_REQ_USERFAULT_READY ends that, and
 * frees the pages that are there.
 *
 * Copyright 2026 Postern developers
 */
#include <linux/kvm_host.h>
#include <linux/kvm_userfault_async.h>
#include <linux/uaccess.h>

#include <asm/kvm_emulate.h>

#include <trace/events/kvm_userfault.h>

#include "userfault.h"

long kvm_arch_vcpu_async_ioctl(struct file *filp, unsigned int ioctl, unsigned long arg)
{
	return kvm_userfault_async_ioctl(filp->private_data, ioctl, arg);
}

int kvm_arm_vcpu_enable_cap(struct kvm_vcpu *vcpu, const void __user *arg)
{
	struct kvm_enable_cap cap;

	if (copy_from_user(&cap, arg, sizeof(cap)))
		return -EFAULT;

	if (cap.cap != KVM_CAP_ASYNC_PF_USERFAULT)
		return -EINVAL;

	return kvm_userfault_async_enable(vcpu, &cap);
}

/*
 * A guest that masks interrupts could not take the one that ends the halt, and would
 * access the page over and over.  So does one that gets an interrupt while it handles a
 * more urgent one, but not for long.
 *
 * A vCPU that userspace has stopped or suspended waits for other reasons.
 */
bool kvm_arch_userfault_async_possible(struct kvm_vcpu *vcpu)
{
	return !(*vcpu_cpsr(vcpu) & PSR_I_BIT) &&
	       READ_ONCE(vcpu->arch.mp_state.mp_state) == KVM_MP_STATE_RUNNABLE;
}

static void halt(struct kvm_vcpu *vcpu, gfn_t gfn)
{
	kvm_userfault_async_halting(vcpu, gfn);
	kvm_make_request(KVM_REQ_USERFAULT_HALT, vcpu);
}

void kvm_arch_userfault_async_start(struct kvm_vcpu *vcpu, struct kvm_async_pf *work)
{
	work->notpresent_injected = false;
	halt(vcpu, work->arch.gfn);
}

bool kvm_arch_userfault_async_halted(struct kvm_vcpu *vcpu)
{
	return kvm_test_request(KVM_REQ_USERFAULT_HALT, vcpu);
}

void kvm_arch_userfault_async_wake(struct kvm_vcpu *vcpu)
{
	kvm_clear_request(KVM_REQ_USERFAULT_HALT, vcpu);
}

bool kvm_arm_userfault_halt(struct kvm_vcpu *vcpu, gfn_t gfn)
{
	if (!kvm_userfault_async_pending(vcpu, gfn) ||
	    !kvm_arch_userfault_async_possible(vcpu))
		return false;

	halt(vcpu, gfn);
	return true;
}

void kvm_arm_userfault_offer(struct kvm_vcpu *vcpu, gfn_t gfn)
{
	struct kvm_arch_async_pf arch = { .gfn = gfn };

	if (!kvm_userfault_async_enabled(vcpu))
		return;

	if (kvm_arch_userfault_async_possible(vcpu))
		kvm_userfault_async_offer(vcpu, gfn_to_gpa(gfn), &arch);
	else
		trace_kvm_userfault_refuse(vcpu->vcpu_id, gfn_to_gpa(gfn),
					   KVM_USERFAULT_REFUSE_EVENT);
}

void kvm_arm_userfault_requests(struct kvm_vcpu *vcpu)
{
	/*
	 * Halt before looking at READY: the vCPU may be halted for a page that is
	 * ready by now, and only the request would end that.
	 */
	if (kvm_check_request(KVM_REQ_USERFAULT_HALT, vcpu)) {
		kvm_vcpu_wfi(vcpu);
		kvm_userfault_async_woken(vcpu);
	}

	if (kvm_check_request(KVM_REQ_USERFAULT_READY, vcpu))
		kvm_check_async_pf_completion(vcpu);
}

/* KVM_APF_OP_READY wakes the vCPU after this.  A vCPU that runs need not be kicked. */
void kvm_arch_async_page_present_queued(struct kvm_vcpu *vcpu)
{
	kvm_make_request(KVM_REQ_USERFAULT_READY, vcpu);
}

bool kvm_arch_can_dequeue_async_page_present(struct kvm_vcpu *vcpu)
{
	return true;
}

/* The guest repeats the access, which maps the page. */
void kvm_arch_async_page_ready(struct kvm_vcpu *vcpu, struct kvm_async_pf *work)
{
}

void kvm_arch_async_page_present(struct kvm_vcpu *vcpu, struct kvm_async_pf *work)
{
}

/* For kvm_setup_async_pf(), which arm64 does not call. */
bool kvm_arch_async_page_not_present(struct kvm_vcpu *vcpu, struct kvm_async_pf *work)
{
	return false;
}
