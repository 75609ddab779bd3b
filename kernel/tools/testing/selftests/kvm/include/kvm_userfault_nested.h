/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * For the tests of KVM userfault with a nested guest: the nested guest makes one access
 * at a time to the memslot under test, which is memory of its hypervisor.
 */
#ifndef SELFTEST_KVM_USERFAULT_NESTED_H
#define SELFTEST_KVM_USERFAULT_NESTED_H

#include "kvm_test_harness.h"
#include "kvm_userfault_util.h"
#include "svm_util.h"

/* The slot's second address in the nested guest, different from the hypervisor's. */
#define NESTED_GPA	0xc0000000ull
#define NESTED_GVA	0xc0000000ull

#define PTE_FLAGS	0x7ull	/* present, writable, user */
#define PTE_HUGE	(PTE_FLAGS | BIT(7))

/* Guest-physical address of the nested page tables; 0: shadow paging. */
static uint64_t nested_cr3;

static void nested_guest_code(void)
{
	/* Its interrupts are not intercepted, and none comes. */
	asm volatile("sti");
	uf_guest_code(0);
}

static void hypervisor_code(struct svm_test_data *svm)
{
	unsigned long stack[256];

	generic_svm_setup(svm, nested_guest_code, &stack[ARRAY_SIZE(stack)]);
	if (nested_cr3) {
		svm->vmcb->control.nested_ctl = SVM_NESTED_CTL_NP_ENABLE;
		svm->vmcb->control.nested_cr3 = nested_cr3;
	}
	run_guest(svm->vmcb, svm->vmcb_gpa);
	GUEST_FAIL("unexpected exit 0x%x", svm->vmcb->control.exit_code);
}

static uint64_t *alloc_table(struct kvm_vm *vm, uint64_t *gpa)
{
	vm_vaddr_t gva = vm_vaddr_alloc_page(vm);

	*gpa = addr_gva2gpa(vm, gva);
	return addr_gva2hva(vm, gva);
}

/*
 * An identity mapping of the first 3GiB in pages of 1GiB, then the slot again in
 * pages of 2MiB.
 */
static uint64_t make_nested_tables(struct kvm_vm *vm)
{
	uint64_t pgd_gpa, pud_gpa, pmd_gpa, i;
	uint64_t *pgd = alloc_table(vm, &pgd_gpa);
	uint64_t *pud = alloc_table(vm, &pud_gpa);
	uint64_t *pmd = alloc_table(vm, &pmd_gpa);

	pgd[0] = pud_gpa | PTE_FLAGS;
	for (i = 0; i < 3; i++)
		pud[i] = i * SZ_1G | PTE_HUGE;
	pud[NESTED_GPA / SZ_1G] = pmd_gpa | PTE_FLAGS;
	for (i = 0; i < UF_SIZE / SZ_2M; i++)
		pmd[i] = (UF_GPA + i * SZ_2M) | PTE_HUGE;

	return pgd_gpa;
}

FIXTURE(nested) {
	struct uf_vm uf;
};

FIXTURE_VARIANT(nested) {
	bool npt;
	uint64_t gva;
};

FIXTURE_VARIANT_ADD(nested, shadow) { .gva = UF_GVA_4K };
FIXTURE_VARIANT_ADD(nested, shadow_2m) { .gva = UF_GVA_2M };
FIXTURE_VARIANT_ADD(nested, npt_same_gpa) { .npt = true, .gva = UF_GVA_4K };
FIXTURE_VARIANT_ADD(nested, npt_other_gpa) { .npt = true, .gva = NESTED_GVA };

FIXTURE_SETUP(nested)
{
	struct uf_vm *uf = &self->uf;
	vm_vaddr_t svm_gva;

	if (!kvm_cpu_has(X86_FEATURE_SVM))
		SKIP(return, "no nested SVM");
	if (variant->npt && !kvm_cpu_has(X86_FEATURE_NPT))
		SKIP(return, "no nested paging for nested guests");

	uf_vm_init(uf, 1, hypervisor_code, VM_MEM_SRC_ANONYMOUS_THP);
	virt_map(uf->vm, NESTED_GVA, NESTED_GPA, UF_NPAGES);
	nested_cr3 = variant->npt ? make_nested_tables(uf->vm) : 0;
	sync_global_to_guest(uf->vm, nested_cr3);
	vcpu_alloc_svm(uf->vm, &svm_gva);
	vcpu_args_set(uf->vcpus[0], 1, svm_gva);
	uf->gva = variant->gva;
}

FIXTURE_TEARDOWN(nested)
{
	if (self->uf.vm)
		uf_vm_free(&self->uf);
}

#endif /* SELFTEST_KVM_USERFAULT_NESTED_H */
