// SPDX-License-Identifier: GPL-2.0-only
/*
 * Many changes of memslots in one step: the part of the x86 MMU.
 *
 * Copyright 2026 Postern developers
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kvm_host.h>
#include <linux/kvm_memslot_batch.h>
#include <linux/lockdep.h>

#include "mmu.h"
#include "mmu_internal.h"

bool kvm_arch_memslot_batch_has_shadow(struct kvm *kvm)
{
	lockdep_assert_held(&kvm->slots_arch_lock);

	/* Set with slots_arch_lock held, and never cleared. */
	return kvm_shadow_root_allocated(kvm);
}

bool kvm_arch_memslot_batch_zap_all(struct kvm *kvm)
{
	lockdep_assert_held(&kvm->slots_lock);

	/* The quirk can be disabled at any time: check it once for the list. */
	if (!kvm_memslot_flush_zap_all(kvm))
		return false;

	kvm_mmu_zap_all_fast(kvm);
	return true;
}
