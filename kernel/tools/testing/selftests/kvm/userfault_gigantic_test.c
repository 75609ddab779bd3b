// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM userfault and pages of 1 GiB: when KVM maps them as such, and when it must not.
 */
#include "kvm_userfault_util.h"

#define GIGANTIC_SLOT		11
#define GIGANTIC_GPA		0x80000000ull
#define GIGANTIC_GVA		0x100000000ull
#define GIGANTIC_PAGES		(SZ_1G / PAGE_SIZE)
#define HUGE_PAGES		(SZ_2M / PAGE_SIZE)

#ifndef MAP_HUGE_1GB
#define MAP_HUGE_1GB		(30 << 26)
#endif

/* The pages that the guest accesses; only these are in its page tables. */
static const int pages[] = {
	0, 1, HUGE_PAGES, 5 * HUGE_PAGES + 3, GIGANTIC_PAGES / 2 + 17, GIGANTIC_PAGES - 1,
};

static void set_slot(struct uf_vm *uf, uint32_t flags)
{
	struct kvm_userspace_memory_region2 region = {
		.slot = GIGANTIC_SLOT,
		.flags = flags,
		.guest_phys_addr = GIGANTIC_GPA,
		.memory_size = SZ_1G,
		.userspace_addr = (unsigned long)uf->mem,
		.userfault_bitmap = (unsigned long)uf->bitmap,
	};

	uf_set_region(uf, &region);
}

static void access_page(struct uf_vm *uf, int page)
{
	uf_prepare(uf, 0, UF_READ, page);
	uf_run_done(uf, 0, uf_content(page));
}

int main(int argc, char *argv[])
{
	unsigned long *own;
	struct uf_vm uf;
	int i, last = pages[ARRAY_SIZE(pages) - 1];
	void *mem;

	TEST_REQUIRE(kvm_has_cap(KVM_CAP_USERFAULT));
	mem = mmap(NULL, SZ_1G, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_HUGE_1GB, -1, 0);
	__TEST_REQUIRE(mem != MAP_FAILED, "no page of 1 GiB: boot with hugepagesz=1G hugepages=1");

	uf_vm_init(&uf, 1, uf_guest_code, VM_MEM_SRC_ANONYMOUS);
	own = uf.bitmap;
	uf.mem = mem;
	uf.gva = GIGANTIC_GVA;
	uf.gpa = GIGANTIC_GPA;
	uf.bitmap = calloc(GIGANTIC_PAGES / UF_BITS_PER_WORD, sizeof(unsigned long));
	for (i = 0; i < ARRAY_SIZE(pages); i++)
		virt_map(uf.vm, GIGANTIC_GVA + pages[i] * PAGE_SIZE,
			 GIGANTIC_GPA + pages[i] * PAGE_SIZE, 1);

	/*
	 * All pages are present, but this process has mapped nothing yet.  KVM can't
	 * see that there will be a page of 1 GiB, so it does not read all bits.
	 * With the next fault it does.
	 */
	set_slot(&uf, KVM_MEM_USERFAULT);
	uf_prepare(&uf, 0, UF_READ, pages[0]);
	uf_run_done(&uf, 0, 0);
	TEST_ASSERT_EQ(uf_gigantic_mappings(&uf), 0);
	TEST_ASSERT_EQ(uf_huge_mappings(&uf), 1);
	for (i = 0; i < ARRAY_SIZE(pages); i++)
		uf_fill_page(&uf, pages[i], uf_content(pages[i]));
	access_page(&uf, pages[2]);
	TEST_ASSERT_EQ(uf_gigantic_mappings(&uf), 1);

	/* With the last bit set, the 1 GiB mapping goes; other pages get 2 MiB mappings. */
	set_slot(&uf, 0);
	uf_set_bit(&uf, last);
	set_slot(&uf, KVM_MEM_USERFAULT);
	TEST_ASSERT_EQ(uf_gigantic_mappings(&uf), 0);
	for (i = 0; i < ARRAY_SIZE(pages) - 1; i++)
		access_page(&uf, pages[i]);
	TEST_ASSERT_EQ(uf_gigantic_mappings(&uf), 0);
	TEST_ASSERT_EQ(uf_huge_mappings(&uf), 4);

	/* When the last page has arrived, there is one mapping again. */
	uf_prepare(&uf, 0, UF_READ, last);
	uf_run_exits(&uf, 0, last);
	uf_clear_bit(&uf, last);
	uf_run_done(&uf, 0, uf_content(last));
	TEST_ASSERT_EQ(uf_gigantic_mappings(&uf), 1);

	/* Dirty logging needs small pages, with userfault or without. */
	set_slot(&uf, KVM_MEM_USERFAULT | KVM_MEM_LOG_DIRTY_PAGES);
	uf_prepare(&uf, 0, UF_WRITE, pages[1]);
	uf_run_done(&uf, 0, 0);
	TEST_ASSERT_EQ(uf_gigantic_mappings(&uf), 0);

	set_slot(&uf, 0);
	free(uf.bitmap);
	uf.bitmap = own;
	uf_vm_free(&uf);
	munmap(mem, SZ_1G);

	return 0;
}
