// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM userfault and async page faults.
 *
 * A vCPU accesses a page whose bit is clear, but which is missing in the host and
 * registered with userfaultfd.  A worker of KVM fetches the page, and KVM maps it
 * when the worker is done, before the vCPU's next access.  If the bit was set
 * meanwhile, KVM must not map the page, and the vCPU has to exit.
 *
 * The exit also proves that there was an async page fault: a vCPU that waits for the
 * page itself has checked the bit before, and does not check it again.
 */
#include <pthread.h>

#include "kvm_test_harness.h"
#include "kvm_userfault_missing.h"
#include "kvm_userfault_util.h"

FIXTURE(async_pf) {
	struct uf_vm uf;
	int uffd;
};

FIXTURE_VARIANT(async_pf) {
	int nr_vcpus;
};

FIXTURE_VARIANT_ADD(async_pf, vcpus_1) { .nr_vcpus = 1 };
FIXTURE_VARIANT_ADD(async_pf, vcpus_4) { .nr_vcpus = 4 };

/* Enable interrupts: KVM does no async page faults without them. */
static void async_pf_guest_code(int id)
{
	asm volatile("sti");
	uf_guest_code(id);
}

FIXTURE_SETUP(async_pf)
{
	uf_vm_init(&self->uf, variant->nr_vcpus, async_pf_guest_code,
		   VM_MEM_SRC_ANONYMOUS);
	self->uffd = missing_register(self->uf.mem, UF_SIZE);
	if (self->uffd < 0)
		SKIP(return, "no userfaultfd");
}

FIXTURE_TEARDOWN(async_pf)
{
	close(self->uffd);
	uf_vm_free(&self->uf);
}

static void place_page(int uffd, void *hva, uint64_t value)
{
	static uint64_t content[SZ_4K / sizeof(uint64_t)] __aligned(SZ_4K);

	content[UF_DATA_OFFSET / sizeof(uint64_t)] = value;
	missing_place(uffd, hva, content);
}

struct waiter {
	struct uf_vm *uf;
	int id;
	int page;
};

static void *wait_in_guest(void *arg)
{
	struct waiter *w = arg;

	uf_run_exits(w->uf, w->id, w->page);
	return NULL;
}

TEST_F(async_pf, completes_over_set_bit)
{
	struct uf_vm *uf = &self->uf;
	struct waiter w = { .uf = uf };
	pthread_t thread;
	void *hva;

	uf_enable(uf);
	for (w.id = 0; w.id < uf->nr_vcpus; w.id++) {
		w.page = uf_page(w.id, 5);
		hva = uf_page_hva(uf, w.page);

		uf_prepare(uf, w.id, UF_READ, w.page);
		uf_start_thread(&thread, wait_in_guest, &w);
		missing_wait(self->uffd, hva);
		uf_set_bit(uf, w.page);
		place_page(self->uffd, hva, 77);
		pthread_join(thread, NULL);

		uf_clear_bit(uf, w.page);
		uf_run_done(uf, w.id, 77);
	}
}

int main(int argc, char *argv[])
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_USERFAULT));

	return test_harness_run(argc, argv);
}
