/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What KVM's queue of async page faults needs from arm64.
 *
 * The guest is never told about a page.  Only pages of KVM userfault use the queue;
 * see arch/arm64/kvm/userfault_async.c.
 */
#ifndef __ARM64_KVM_ASYNC_PF_H
#define __ARM64_KVM_ASYNC_PF_H

#include <linux/kvm_types.h>

/* As on the other architectures. */
#define ASYNC_PF_PER_VCPU	64

struct kvm_async_pf;

struct kvm_arch_async_pf {
	gfn_t gfn;
};

bool kvm_arch_async_page_not_present(struct kvm_vcpu *vcpu, struct kvm_async_pf *work);
void kvm_arch_async_page_present(struct kvm_vcpu *vcpu, struct kvm_async_pf *work);
void kvm_arch_async_page_ready(struct kvm_vcpu *vcpu, struct kvm_async_pf *work);
void kvm_arch_async_page_present_queued(struct kvm_vcpu *vcpu);
bool kvm_arch_can_dequeue_async_page_present(struct kvm_vcpu *vcpu);

#endif /* __ARM64_KVM_ASYNC_PF_H */
