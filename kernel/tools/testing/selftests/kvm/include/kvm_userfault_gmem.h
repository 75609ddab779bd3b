/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A VM whose memslot under test has guest_memfd and is private.
 */
#ifndef SELFTEST_KVM_USERFAULT_GMEM_H
#define SELFTEST_KVM_USERFAULT_GMEM_H

#include "kvm_userfault_util.h"

#define GMEM_FLAGS	KVM_MEM_GUEST_MEMFD
#define PRIVATE_EXIT	(KVM_MEMORY_EXIT_FLAG_USERFAULT | \
			 KVM_MEMORY_EXIT_FLAG_PRIVATE)

static inline void gmem_init(struct uf_vm *uf, int nr_vcpus, void *guest_code)
{
	struct vm_shape shape = {
		.mode = VM_MODE_DEFAULT,
		.type = KVM_X86_SW_PROTECTED_VM,
	};

	__uf_vm_init(uf, nr_vcpus, guest_code, VM_MEM_SRC_ANONYMOUS, shape,
		     GMEM_FLAGS);
	vm_mem_set_private(uf->vm, UF_GPA, UF_SIZE);
	uf->exit_flags = PRIVATE_EXIT;
}

#endif /* SELFTEST_KVM_USERFAULT_GMEM_H */
