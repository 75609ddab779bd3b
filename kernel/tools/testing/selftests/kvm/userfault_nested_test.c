// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM userfault: accesses of a nested guest, with and without nested paging.  They
 * exit with the page's address in the nested guest's hypervisor, which is the VM
 * under test.
 */
#include "kvm_userfault_nested.h"

TEST_F(nested, exits)
{
	struct uf_vm *uf = &self->uf;
	int op;

	uf_set_all(uf);
	uf_enable(uf);
	for (op = UF_READ; op <= UF_EXEC; op++) {
		uf_access_exits(uf, 0, op, uf_page(1, op));
		/* The second access does not exit, and no neighbour was mapped. */
		uf_access(uf, 0, op, uf_page(1, op));
	}
	uf_access_exits(uf, 0, UF_READ, uf_page(0, 0));
	uf_access_exits(uf, 0, UF_READ, uf_page(3, UF_VCPU_PAGES - 1));
}

/* Among the first 16 pages, those with even numbers are missing. */
static void access_odd_only(struct uf_vm *uf)
{
	int n;

	for (n = 0; n < 16; n++) {
		if (n % 2)
			uf_access(uf, 0, UF_READ, uf_page(1, n));
		else
			uf_access_exits(uf, 0, UF_READ, uf_page(1, n));
	}
}

/* Setting the flag also drops the nested guest's mappings. */
TEST_F(nested, enable_zaps)
{
	struct uf_vm *uf = &self->uf;
	int n;

	for (n = 0; n < 16; n++)
		uf_access(uf, 0, UF_READ, uf_page(1, n));

	/* It drops all mappings, as bits may be set later. */
	uf_enable(uf);
	for (n = 0; n < 16; n += 2)
		uf_set_bit(uf, uf_page(1, n));

	access_odd_only(uf);
}

TEST_F(nested, other_bitmap_zaps)
{
	struct uf_vm *uf = &self->uf;
	unsigned long *first = uf->bitmap;
	int n;

	uf_enable(uf);
	for (n = 0; n < 16; n++)
		uf_access(uf, 0, UF_READ, uf_page(1, n));

	uf->bitmap = uf_bitmap_alloc();
	for (n = 0; n < 16; n += 2)
		uf_set_bit(uf, uf_page(1, n));
	uf_enable(uf);
	uf_bitmap_free(first);

	access_odd_only(uf);
}

TEST_F(nested, disable)
{
	struct uf_vm *uf = &self->uf;
	int n;

	uf_set_all(uf);
	uf_enable(uf);
	uf_prepare(uf, 0, UF_READ, uf_page(1, 0));
	uf_run_exits(uf, 0, uf_page(1, 0));

	uf_disable(uf);
	uf_run_done(uf, 0, uf_content(uf_page(1, 0)));
	for (n = 1; n < 8; n++)
		uf_access(uf, 0, UF_EXEC, uf_page(1, n));
}

int main(int argc, char *argv[])
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_USERFAULT));

	return test_harness_run(argc, argv);
}
