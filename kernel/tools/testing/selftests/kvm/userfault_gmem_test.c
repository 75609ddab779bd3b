// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM userfault on memslots with guest_memfd: private accesses exit, and nothing but
 * userfault can change about such a memslot.
 */
#include "kvm_test_harness.h"
#include "kvm_userfault_gmem.h"

/* The number of pages that each vCPU has written. */
#define NR_WRITTEN	8

FIXTURE(gmem) {
	struct uf_vm uf;
};

FIXTURE_VARIANT(gmem) {
	int nr_vcpus;
};

FIXTURE_VARIANT_ADD(gmem, vcpus_1) { .nr_vcpus = 1 };
FIXTURE_VARIANT_ADD(gmem, vcpus_4) { .nr_vcpus = 4 };

static void write_page(struct uf_vm *uf, int id, int page)
{
	uf_prepare(uf, id, UF_WRITE, page);
	uf_run_done(uf, id, 0);
}

/* The guest reads what it wrote, without an exit. */
static void read_page(struct uf_vm *uf, int id, int page)
{
	uf_prepare(uf, id, UF_READ, page);
	uf_run_done(uf, id, UF_WRITTEN);
}

/* The guest exits, and reads what it wrote once the page has been served. */
static void read_page_exits(struct uf_vm *uf, int id, int page)
{
	uf_prepare(uf, id, UF_READ, page);
	uf_run_exits(uf, id, page);
	/* The page was not served: the same exit again. */
	uf_run_exits(uf, id, page);
	uf_clear_bit(uf, page);
	uf_run_done(uf, id, UF_WRITTEN);
}

FIXTURE_SETUP(gmem)
{
	struct uf_vm *uf = &self->uf;
	int id, n;

	gmem_init(uf, variant->nr_vcpus, uf_guest_code);
	for (id = 0; id < uf->nr_vcpus; id++)
		for (n = 0; n < NR_WRITTEN; n++)
			write_page(uf, id, uf_page(id, n));
}

FIXTURE_TEARDOWN(gmem)
{
	uf_vm_free(&self->uf);
}

TEST_F(gmem, enable_zaps)
{
	struct uf_vm *uf = &self->uf;
	int id, n;

	uf_set_all(uf);
	for (id = 0; id < uf->nr_vcpus; id++)
		uf_clear_bit(uf, uf_page(id, 1));
	uf_set_slot(uf, GMEM_FLAGS | KVM_MEM_USERFAULT);

	for (id = 0; id < uf->nr_vcpus; id++) {
		read_page(uf, id, uf_page(id, 1));
		for (n = 0; n < NR_WRITTEN; n++)
			if (n != 1)
				read_page_exits(uf, id, uf_page(id, n));
	}
}

/* It drops the mappings of all pages: userspace may set the bits after the flag. */
TEST_F(gmem, enable_zaps_clear)
{
	struct uf_vm *uf = &self->uf;
	int id, n;

	uf_set_slot(uf, GMEM_FLAGS | KVM_MEM_USERFAULT);
	uf_set_all(uf);
	for (id = 0; id < uf->nr_vcpus; id++)
		for (n = 0; n < NR_WRITTEN; n++)
			read_page_exits(uf, id, uf_page(id, n));
}

TEST_F(gmem, disable)
{
	struct uf_vm *uf = &self->uf;
	int id, n;

	uf_set_all(uf);
	uf_set_slot(uf, GMEM_FLAGS | KVM_MEM_USERFAULT);
	for (id = 0; id < uf->nr_vcpus; id++) {
		uf_prepare(uf, id, UF_READ, uf_page(id, 0));
		uf_run_exits(uf, id, uf_page(id, 0));
	}

	uf_set_slot(uf, GMEM_FLAGS);
	/* KVM no longer reads the bitmap. */
	mprotect(uf_bitmap_page(uf), PAGE_SIZE, PROT_NONE);
	for (id = 0; id < uf->nr_vcpus; id++)
		for (n = 0; n < NR_WRITTEN; n++)
			read_page(uf, id, uf_page(id, n));
	mprotect(uf_bitmap_page(uf), PAGE_SIZE, PROT_READ | PROT_WRITE);
}

/* A new bitmap takes effect, also for pages mapped under the old one. */
TEST_F(gmem, change_bitmap)
{
	struct uf_vm *uf = &self->uf;
	unsigned long *first = uf->bitmap;
	int id;

	uf_set_slot(uf, GMEM_FLAGS | KVM_MEM_USERFAULT);
	for (id = 0; id < uf->nr_vcpus; id++)
		read_page(uf, id, uf_page(id, 0));

	/* Passing the current bitmap is no update: mapped pages stay mapped. */
	uf_set_all(uf);
	uf_set_slot(uf, GMEM_FLAGS | KVM_MEM_USERFAULT);
	for (id = 0; id < uf->nr_vcpus; id++)
		read_page(uf, id, uf_page(id, 0));

	uf->bitmap = uf_bitmap_alloc();
	uf_set_all(uf);
	uf_set_slot(uf, GMEM_FLAGS | KVM_MEM_USERFAULT);
	uf_bitmap_free(first);
	for (id = 0; id < uf->nr_vcpus; id++)
		read_page_exits(uf, id, uf_page(id, 0));
}

/* Shared pages have the same bitmap. */
TEST_F(gmem, shared)
{
	struct uf_vm *uf = &self->uf;
	int id, page;

	uf_set_all(uf);
	uf_set_slot(uf, GMEM_FLAGS | KVM_MEM_USERFAULT);
	for (id = 0; id < uf->nr_vcpus; id++) {
		page = uf_page(id, 3);
		vm_mem_set_shared(uf->vm, UF_GPA + page * PAGE_SIZE, PAGE_SIZE);

		uf->exit_flags = KVM_MEMORY_EXIT_FLAG_USERFAULT;
		uf_access_exits(uf, id, UF_READ, page);
		uf->exit_flags = PRIVATE_EXIT;
		read_page_exits(uf, id, uf_page(id, 4));
	}
}

TEST_F(gmem, create_with_flag)
{
	struct uf_vm *uf = &self->uf;
	int id;

	uf_delete_slot(uf);
	uf_set_all(uf);
	uf_set_slot(uf, GMEM_FLAGS | KVM_MEM_USERFAULT);
	for (id = 0; id < uf->nr_vcpus; id++)
		read_page_exits(uf, id, uf_page(id, 0));
}

static void test_einval(struct uf_vm *uf,
			const struct kvm_userspace_memory_region2 *region)
{
	int r, id;

	r = __vm_ioctl(uf->vm, KVM_SET_USER_MEMORY_REGION2, region);
	TEST_ASSERT(r == -1 && errno == EINVAL,
		    "should give EINVAL, got %d, errno %d", r, errno);
	/* Nothing has changed. */
	for (id = 0; id < uf->nr_vcpus; id++)
		read_page(uf, id, uf_page(id, 0));
}

/* Only the flag and its bitmap can change. */
TEST_F(gmem, immutable)
{
	struct kvm_userspace_memory_region2 region, good;
	struct uf_vm *uf = &self->uf;

	good = *uf_region(uf);
	good.flags = GMEM_FLAGS | KVM_MEM_USERFAULT;
	good.userfault_bitmap = (unsigned long)uf->bitmap;
	uf_set_all(uf);

	/* Without userfault before and after, all updates are refused. */
	region = *uf_region(uf);
	test_einval(uf, &region);

	region = good;
	region.guest_phys_addr += UF_SIZE;
	test_einval(uf, &region);

	region = good;
	region.memory_size -= PAGE_SIZE;
	test_einval(uf, &region);

	region = good;
	region.userspace_addr += PAGE_SIZE;
	test_einval(uf, &region);

	region = good;
	region.flags &= ~KVM_MEM_GUEST_MEMFD;
	test_einval(uf, &region);

	/* The offset is ignored, but must be valid. */
	region = good;
	region.guest_memfd_offset = PAGE_SIZE / 2;
	test_einval(uf, &region);
	region.guest_memfd_offset = -(uint64_t)PAGE_SIZE;
	test_einval(uf, &region);

	/* The update without an error succeeds. */
	uf_set_region(uf, &good);
}

/* NULL is a valid address of a bitmap, where nothing can be read. */
TEST_F(gmem, null_bitmap)
{
	struct uf_vm *uf = &self->uf;
	unsigned long *own = uf->bitmap;
	int id;

	uf->bitmap = NULL;
	uf_set_slot(uf, GMEM_FLAGS | KVM_MEM_USERFAULT);
	for (id = 0; id < uf->nr_vcpus; id++) {
		uf_prepare(uf, id, UF_READ, uf_page(id, 0));
		uf_run_unreadable(uf, id);
	}

	uf_set_slot(uf, GMEM_FLAGS);
	for (id = 0; id < uf->nr_vcpus; id++)
		uf_run_done(uf, id, UF_WRITTEN);
	uf->bitmap = own;
}

/* The memslot stays bound to its file, whichever file the update names. */
TEST_F(gmem, other_file)
{
	struct uf_vm *uf = &self->uf;
	int id, own = uf_region(uf)->guest_memfd;

	uf_set_all(uf);
	uf_region(uf)->guest_memfd = vm_create_guest_memfd(uf->vm, UF_SIZE, 0);
	uf_region(uf)->guest_memfd_offset = PAGE_SIZE;
	uf_set_slot(uf, GMEM_FLAGS | KVM_MEM_USERFAULT);
	close(uf_region(uf)->guest_memfd);
	for (id = 0; id < uf->nr_vcpus; id++)
		read_page_exits(uf, id, uf_page(id, 0));
	uf_set_slot(uf, GMEM_FLAGS);
	for (id = 0; id < uf->nr_vcpus; id++)
		read_page(uf, id, uf_page(id, 1));

	uf_region(uf)->guest_memfd = own;
	uf_region(uf)->guest_memfd_offset = 0;
}

/* The flag can change although the file is closed and has no pages any more. */
TEST_F(gmem, closed_file)
{
	struct uf_vm *uf = &self->uf;
	int id;

	uf_set_all(uf);
	TEST_ASSERT(!close(uf_region(uf)->guest_memfd), "close() failed: errno %d", errno);
	uf_set_slot(uf, GMEM_FLAGS | KVM_MEM_USERFAULT);
	for (id = 0; id < uf->nr_vcpus; id++) {
		uf_prepare(uf, id, UF_READ, uf_page(id, 0));
		uf_run_exits(uf, id, uf_page(id, 0));
	}

	uf_set_slot(uf, GMEM_FLAGS);
	uf->exit_flags = KVM_MEMORY_EXIT_FLAG_PRIVATE;
	for (id = 0; id < uf->nr_vcpus; id++)
		uf_run_exits(uf, id, uf_page(id, 0));
}

int main(int argc, char *argv[])
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_USERFAULT));
	TEST_REQUIRE(kvm_check_cap(KVM_CAP_VM_TYPES) & BIT(KVM_X86_SW_PROTECTED_VM));

	return test_harness_run(argc, argv);
}
