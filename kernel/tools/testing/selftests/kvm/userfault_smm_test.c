// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM userfault in the address space of SMM.  A memslot there and the memslot with
 * the same addresses outside of SMM each have their own flag and bitmap.
 */
#include "kvm_test_harness.h"
#include "kvm_userfault_util.h"

#define SMM_SLOT		((1 << 16) | UF_SLOT)

/* SMRAM is in a part of the slot that tests use for nothing else. */
#define SMBASE			(UF_GPA + uf_page(1, 0) * PAGE_SIZE)
#define HANDLER_OFFSET		0x8000
#define HANDLER_PAGE		uf_page(1, HANDLER_OFFSET / PAGE_SIZE)
#define STATE_OFFSET		0xfe00
#define STATE_PAGE		uf_page(1, STATE_OFFSET / PAGE_SIZE)
#define STATE_REVISION_OFFSET	0xfefc
#define STATE_REVISION		0x20064

#define SYNC_PORT		0xe
/* Where a page has code for SMM, which runs in real mode. */
#define SMM_CODE_OFFSET		0xc00

FIXTURE(smm) {
	struct uf_vm uf;	/* the memory outside of SMM */
	struct uf_vm smm;	/* the memory in SMM */
};

FIXTURE_VARIANT(smm) {
	enum vm_mem_backing_src_type src;
	bool same_mem;
};

FIXTURE_VARIANT_ADD(smm, own_memory) { .src = VM_MEM_SRC_ANONYMOUS };
FIXTURE_VARIANT_ADD(smm, own_memory_huge) { .src = VM_MEM_SRC_ANONYMOUS_THP };
FIXTURE_VARIANT_ADD(smm, same_memory) {
	.src = VM_MEM_SRC_ANONYMOUS,
	.same_mem = true,
};

static void smm_set_slot(struct uf_vm *smm, uint32_t flags)
{
	struct kvm_userspace_memory_region2 region = {
		.slot = SMM_SLOT,
		.flags = flags,
		.guest_phys_addr = UF_GPA,
		.memory_size = UF_SIZE,
		.userspace_addr = (unsigned long)smm->mem,
		.userfault_bitmap = (unsigned long)smm->bitmap,
	};

	uf_set_region(smm, &region);
}

/* Mark all pages except those that entering SMM needs. */
static void smm_set_all(struct uf_vm *smm)
{
	uf_set_all(smm);
	uf_clear_bit(smm, HANDLER_PAGE);
	uf_clear_bit(smm, STATE_PAGE);
}

static void *alloc_memory(enum vm_mem_backing_src_type src)
{
	void *p;

	p = mmap(NULL, UF_SIZE + SZ_2M, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	TEST_ASSERT(p != MAP_FAILED, "mmap() failed: errno %d", errno);
	p = (void *)align_up((unsigned long)p, SZ_2M);
	madvise(p, UF_SIZE,
		src == VM_MEM_SRC_ANONYMOUS_THP ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);

	return p;
}

static uint64_t *page_data(struct uf_vm *uf, int page)
{
	return uf_page_hva(uf, page) + UF_DATA_OFFSET;
}

FIXTURE_SETUP(smm)
{
	struct uf_vm *uf = &self->uf, *smm = &self->smm;
	int page;

	if (variant->src == VM_MEM_SRC_ANONYMOUS_THP && !thp_configured())
		SKIP(return, "no transparent huge pages");

	uf_vm_init(uf, 1, uf_guest_code, variant->src);
	uf->gva = UF_GVA_2M;
	*smm = *uf;
	smm->bitmap = uf_bitmap_alloc();
	if (!variant->same_mem) {
		smm->mem = alloc_memory(variant->src);
		for (page = 0; page < UF_NPAGES; page++)
			*page_data(smm, page) = ~uf_content(page);
	}
	smm_set_slot(smm, 0);
	vcpu_set_msr(uf->vcpus[0], MSR_IA32_SMBASE, SMBASE);
}

FIXTURE_TEARDOWN(smm)
{
	if (!self->uf.vm)
		return;
	uf_vm_free(&self->uf);
	uf_bitmap_free(self->smm.bitmap);
}

static uint8_t *emit(uint8_t *code, const char *opcode, int len, uint32_t imm)
{
	memcpy(code, opcode, len);
	memcpy(code + len, &imm, sizeof(imm));
	return code + len + sizeof(imm);
}

static void emit_sync_and_rsm(uint8_t *code)
{
	code[0] = 0xe4;		/* in $SYNC_PORT, %al */
	code[1] = SYNC_PORT;
	code[2] = 0x0f;		/* rsm */
	code[3] = 0xaa;
}

/*
 * The handler makes one access, exits with the value in eax, and leaves SMM.  Its
 * segments have 4GiB; the code segment begins at SMBASE.
 */
static void write_handler(struct uf_vm *smm, enum uf_op op, int page)
{
	uint8_t *code = uf_page_hva(smm, HANDLER_PAGE);
	uint32_t gpa = smm->gpa + page * PAGE_SIZE;
	uint32_t value = *page_data(smm, page);
	uint8_t *target;

	switch (op) {
	case UF_READ:		/* mov gpa, %eax */
		code = emit(code, "\x66\x67\xa1", 3, gpa + UF_DATA_OFFSET);
		break;
	case UF_WRITE:		/* mov $value, %eax; mov %eax, gpa */
		*page_data(smm, page) = 0;
		code = emit(code, "\x66\xb8", 2, value);
		code = emit(code, "\x66\x67\xa3", 3, gpa + UF_DATA_OFFSET);
		break;
	case UF_EXEC:		/* jmp gpa; there: mov $value, %eax */
		target = uf_page_hva(smm, page) + SMM_CODE_OFFSET;
		emit_sync_and_rsm(emit(target, "\x66\xb8", 2, value));
		code = emit(code, "\x66\xe9", 2,
			    gpa + SMM_CODE_OFFSET - (SMBASE + HANDLER_OFFSET + 6));
		break;
	}
	emit_sync_and_rsm(code);
}

/* The vCPU's next KVM_RUN begins in SMM. */
static void smi(struct uf_vm *smm)
{
	struct kvm_vcpu_events events;

	vcpu_events_get(smm->vcpus[0], &events);
	events.smi.pending = 1;
	events.flags |= KVM_VCPUEVENT_VALID_SMM;
	vcpu_events_set(smm->vcpus[0], &events);
}

static void assert_in_smm(struct uf_vm *smm)
{
	TEST_ASSERT(smm->vcpus[0]->run->flags & KVM_RUN_X86_SMM,
		    "the vCPU should be in SMM");
}

/* The access in SMM exits for @page. */
static void smm_run_exits(struct uf_vm *smm, int page)
{
	uf_run_exits(smm, 0, page);
	assert_in_smm(smm);
	/* The page was not served: the same exit again. */
	uf_run_exits(smm, 0, page);
	assert_in_smm(smm);
}

/* The handler gets to its end; the next KVM_RUN leaves SMM. */
static void smm_run_done(struct uf_vm *smm, int page)
{
	struct kvm_vcpu *vcpu = smm->vcpus[0];
	struct kvm_regs regs;

	vcpu_run(vcpu);
	TEST_ASSERT_KVM_EXIT_REASON(vcpu, KVM_EXIT_IO);
	TEST_ASSERT_EQ(vcpu->run->io.port, SYNC_PORT);
	assert_in_smm(smm);
	vcpu_regs_get(vcpu, &regs);
	TEST_ASSERT_EQ((uint32_t)regs.rax, (uint32_t)*page_data(smm, page));
}

static void smm_access(struct uf_vm *smm, enum uf_op op, int page)
{
	write_handler(smm, op, page);
	smi(smm);
	smm_run_done(smm, page);
}

static void smm_access_exits(struct uf_vm *smm, enum uf_op op, int page)
{
	write_handler(smm, op, page);
	smi(smm);
	smm_run_exits(smm, page);
	uf_clear_bit(smm, page);
	smm_run_done(smm, page);
}

TEST_F(smm, exits)
{
	struct uf_vm *uf = &self->uf, *smm = &self->smm;
	int op, page;

	smm_set_all(smm);
	smm_set_slot(smm, KVM_MEM_USERFAULT);
	for (op = UF_READ; op <= UF_EXEC; op++) {
		page = uf_page(0, 20 + op);
		uf_prepare(uf, 0, UF_READ, page);
		smm_access_exits(smm, op, page);
		/* Outside of SMM, userfault is off. */
		uf_run_done(uf, 0, uf_content(page));
		smm_access(smm, op, page);
		uf_access(uf, 0, UF_READ, page);
	}
}

TEST_F(smm, exits_outside)
{
	struct uf_vm *uf = &self->uf, *smm = &self->smm;
	int op, page;

	uf_set_all(uf);
	uf_enable(uf);
	for (op = UF_READ; op <= UF_EXEC; op++) {
		page = uf_page(0, 20 + op);
		uf_prepare(uf, 0, op, page);
		smm_access(smm, UF_READ, page);
		uf_run_exits(uf, 0, page);
		smm_access(smm, UF_READ, page);
		uf_run_exits(uf, 0, page);
		uf_clear_bit(uf, page);
		uf_run_done(uf, 0, uf_expected(op, page));
	}
}

/* Clearing a bit in one bitmap does not affect the other one. */
TEST_F(smm, separate_bits)
{
	struct uf_vm *uf = &self->uf, *smm = &self->smm;
	int page = uf_page(0, 20);

	uf_set_all(uf);
	uf_enable(uf);
	smm_set_all(smm);
	smm_set_slot(smm, KVM_MEM_USERFAULT);

	uf_prepare(uf, 0, UF_READ, page);
	smm_access_exits(smm, UF_READ, page);
	uf_run_exits(uf, 0, page);
	smm_access(smm, UF_READ, page);
	uf_run_exits(uf, 0, page);
	uf_clear_bit(uf, page);
	uf_run_done(uf, 0, uf_content(page));

	page++;
	uf_access_exits(uf, 0, UF_READ, page);
	uf_prepare(uf, 0, UF_READ, page);
	smm_access_exits(smm, UF_READ, page);
	uf_run_done(uf, 0, uf_content(page));
}

/* Switching one flag does not affect the other one, nor its mappings. */
TEST_F(smm, separate_flags)
{
	struct uf_vm *uf = &self->uf, *smm = &self->smm;
	int n;

	for (n = 20; n < 30; n++) {
		uf_prepare(uf, 0, UF_READ, uf_page(0, n));
		smm_access(smm, UF_READ, uf_page(0, n));
		uf_run_done(uf, 0, uf_content(uf_page(0, n)));
	}
	/* The same part in both address spaces, and the part with SMM's handler. */
	TEST_ASSERT_EQ(uf_huge_mappings(uf),
		       variant->src == VM_MEM_SRC_ANONYMOUS_THP ? 3 : 0);

	/* Mappings in SMM are gone, mappings outside of it are not. */
	smm_set_all(smm);
	smm_set_slot(smm, KVM_MEM_USERFAULT);
	for (n = 20; n < 23; n++) {
		uf_access(uf, 0, UF_READ, uf_page(0, n));
		smm_access_exits(smm, UF_READ, uf_page(0, n));
	}
	uf_access(uf, 0, UF_READ, uf_page(0, 20));

	uf_set_all(uf);
	uf_enable(uf);
	uf_access_exits(uf, 0, UF_READ, uf_page(0, 23));
	smm_access_exits(smm, UF_READ, uf_page(0, 23));

	uf_disable(uf);
	uf_access(uf, 0, UF_READ, uf_page(0, 24));
	smm_access_exits(smm, UF_READ, uf_page(0, 24));

	uf_set_all(uf);
	uf_enable(uf);
	smm_set_slot(smm, 0);
	uf_prepare(uf, 0, UF_READ, uf_page(0, 25));
	smm_access(smm, UF_READ, uf_page(0, 25));
	uf_run_exits(uf, 0, uf_page(0, 25));
	uf_clear_bit(uf, uf_page(0, 25));
	uf_run_done(uf, 0, uf_content(uf_page(0, 25)));
}

/* The page with the handler's first instruction is missing. */
TEST_F(smm, handler_missing)
{
	struct uf_vm *uf = &self->uf, *smm = &self->smm;
	int page = uf_page(0, 20);

	memset(uf_page_hva(smm, HANDLER_PAGE), 0xcc /* int3 */, PAGE_SIZE);
	uf_set_bit(smm, HANDLER_PAGE);
	smm_set_slot(smm, KVM_MEM_USERFAULT);

	uf_prepare(uf, 0, UF_READ, page);
	smi(smm);
	smm_run_exits(smm, HANDLER_PAGE);
	write_handler(smm, UF_READ, page);
	uf_clear_bit(smm, HANDLER_PAGE);
	smm_run_done(smm, page);
	uf_run_done(uf, 0, uf_content(page));
}

/*
 * The page with the saved state is missing.  KVM itself saves and restores it, does
 * not exit for that, and does not change the bit.  An access from SMM exits.
 */
TEST_F(smm, state_missing)
{
	struct uf_vm *uf = &self->uf, *smm = &self->smm;
	uint32_t *revision = smm->mem + (SMBASE - UF_GPA) + STATE_REVISION_OFFSET;
	int page = uf_page(0, 20);
	struct kvm_regs regs;

	memset(uf_page_hva(smm, STATE_PAGE), 0, PAGE_SIZE);
	*page_data(smm, STATE_PAGE) = 4242;
	uf_set_bit(smm, STATE_PAGE);
	smm_set_slot(smm, KVM_MEM_USERFAULT);

	uf_prepare(uf, 0, UF_READ, page);
	smm_access(smm, UF_READ, page);
	TEST_ASSERT_EQ(*revision, STATE_REVISION);
	uf_run_done(uf, 0, uf_content(page));
	TEST_ASSERT(uf_test_bit(smm, STATE_PAGE), "only userspace may clear the bit");

	*revision = 0;
	uf_prepare(uf, 0, UF_READ, page);
	write_handler(smm, UF_READ, STATE_PAGE);
	smi(smm);
	smm_run_exits(smm, STATE_PAGE);
	TEST_ASSERT_EQ(*revision, STATE_REVISION);
	vcpu_regs_get(smm->vcpus[0], &regs);
	TEST_ASSERT_EQ(regs.rip, HANDLER_OFFSET);
	uf_clear_bit(smm, STATE_PAGE);
	smm_run_done(smm, STATE_PAGE);
	uf_run_done(uf, 0, uf_content(page));
}

int main(int argc, char *argv[])
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_USERFAULT));
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_X86_SMM));
	TEST_REQUIRE(kvm_check_cap(KVM_CAP_MULTI_ADDRESS_SPACE) > 1);

	return test_harness_run(argc, argv);
}
