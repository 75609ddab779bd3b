// SPDX-License-Identifier: GPL-2.0-only
/*
 * Async page faults over KVM userfault for x86: the events that a guest with KVM's
 * async page faults gets, or a halt.
 *
 * Copyright 2026 Postern developers
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kvm_host.h>
#include <linux/kvm_userfault_async.h>

#include <trace/events/kvm_userfault.h>

#include "mmu.h"
#include "smm.h"
#include "userfault.h"

long kvm_arch_vcpu_async_ioctl(struct file *filp, unsigned int ioctl, unsigned long arg)
{
	return kvm_userfault_async_ioctl(filp->private_data, ioctl, arg);
}

/*
 * The guest's handler of SMIs can't be told, and pages are told apart by their
 * address only: SMM may have other memory at that address.
 */
bool kvm_arch_userfault_async_possible(struct kvm_vcpu *vcpu)
{
	return !is_smm(vcpu) && kvm_can_do_async_pf(vcpu);
}

bool kvm_mmu_userfault_token_pending(struct kvm_vcpu *vcpu, u32 token)
{
	struct kvm_userfault_async *ua = vcpu->userfault_async;
	struct kvm_async_pf *work;
	bool pending = false;

	if (!ua)
		return false;

	spin_lock(&vcpu->async_pf.lock);
	list_for_each_entry(work, &ua->accepted, link)
		pending |= work->arch.token == token;
	spin_unlock(&vcpu->async_pf.lock);
	return pending;
}

void kvm_arch_userfault_async_start(struct kvm_vcpu *vcpu, struct kvm_async_pf *work)
{
	work->arch.token = kvm_mmu_apf_token(vcpu);
	work->notpresent_injected = kvm_arch_async_page_not_present(vcpu, work);

	if (work->notpresent_injected)
		++vcpu->stat.userfault_told;
	else
		kvm_userfault_async_halting(vcpu, work->arch.gfn);
}

bool kvm_arch_userfault_async_halted(struct kvm_vcpu *vcpu)
{
	return vcpu->arch.apf.halted || kvm_test_request(KVM_REQ_APF_HALT, vcpu);
}

void kvm_arch_userfault_async_wake(struct kvm_vcpu *vcpu)
{
	kvm_clear_request(KVM_REQ_APF_HALT, vcpu);
	vcpu->arch.apf.halted = false;
}

bool kvm_mmu_userfault_halt(struct kvm_vcpu *vcpu, const struct kvm_page_fault *fault)
{
	if (fault->is_private || !kvm_userfault_async_pending(vcpu, fault->gfn) ||
	    !kvm_arch_userfault_async_possible(vcpu))
		return false;

	kvm_userfault_async_halting(vcpu, fault->gfn);
	kvm_make_request(KVM_REQ_APF_HALT, vcpu);
	return true;
}

void kvm_mmu_userfault_offer(struct kvm_vcpu *vcpu, const struct kvm_page_fault *fault)
{
	struct kvm_arch_async_pf arch = {
		.gfn = fault->gfn,
		.error_code = fault->error_code,
		.direct_map = vcpu->arch.mmu->root_role.direct,
	};
	enum kvm_userfault_refuse reason;

	if (!kvm_userfault_async_enabled(vcpu))
		return;

	if (fault->is_private) {
		reason = KVM_USERFAULT_REFUSE_PRIVATE;
	} else if (is_smm(vcpu)) {
		reason = KVM_USERFAULT_REFUSE_SMM;
	} else if (!kvm_can_do_async_pf(vcpu)) {
		reason = KVM_USERFAULT_REFUSE_EVENT;
	} else {
		/* As for KVM's own: a guest that switches page tables gets no prefetch. */
		arch.cr3 = vcpu->arch.mmu->get_guest_pgd(vcpu);
		kvm_userfault_async_offer(vcpu, fault->addr, &arch);
		return;
	}
	trace_kvm_userfault_refuse(vcpu->vcpu_id, gfn_to_gpa(fault->gfn), reason);
}
