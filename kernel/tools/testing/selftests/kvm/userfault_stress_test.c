// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM userfault: vCPUs read all of a memslot in parallel, while userfault is switched
 * on again and again.
 *
 * Once KVM_MEM_USERFAULT is on with all bits set, the pages are poisoned.  A vCPU
 * thread that handles an exit restores the page's content, then clears its bit.  So
 * a guest that reads poison has accessed a page without an exit, or before the page
 * was ready.
 */
#include <pthread.h>

#include "kvm_userfault_util.h"

#define STRESS_PAGES	64
#define POISON		0xdead0000dead0000ull

static struct uf_vm uf;
static bool stop;
static uint64_t guest_rounds[UF_MAX_VCPUS];

/* Held for clearing a page's bit, and for setting all bits. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t nr_exits[UF_MAX_VCPUS];

static uint64_t stress_word(int page, int i)
{
	return ((uint64_t)page << 32) + i;
}

static void stress_guest_code(int id)
{
	const int nr_words = PAGE_SIZE / sizeof(uint64_t);
	uint64_t *words;
	int i, n, page;

	while (!READ_ONCE(stop)) {
		for (n = 0; n < STRESS_PAGES; n++) {
			/* Each vCPU has its own order, so that they often meet. */
			page = (n * (2 * id + 1) + id) % STRESS_PAGES;
			words = (uint64_t *)(UF_GVA_4K + page * PAGE_SIZE);
			for (i = 0; i < nr_words; i += 73)
				GUEST_ASSERT_EQ(READ_ONCE(words[i]), stress_word(page, i));
		}
		WRITE_ONCE(guest_rounds[id], guest_rounds[id] + 1);
	}

	GUEST_DONE();
}

static void fill_page(int page)
{
	uint64_t *p = uf_page_hva(&uf, page);
	int i;

	for (i = 0; i < PAGE_SIZE / sizeof(uint64_t); i++)
		WRITE_ONCE(p[i], stress_word(page, i));
}

static void poison_page(int page)
{
	uint64_t *p = uf_page_hva(&uf, page);
	int i;

	for (i = 0; i < PAGE_SIZE / sizeof(uint64_t); i++)
		WRITE_ONCE(p[i], POISON);
}

/* Another vCPU thread may have served the page meanwhile. */
static void serve_page(int page)
{
	pthread_mutex_lock(&lock);
	if (uf_test_bit(&uf, page)) {
		fill_page(page);
		uf_clear_bit(&uf, page);
	}
	pthread_mutex_unlock(&lock);
}

static void *vcpu_thread(void *arg)
{
	int id = (unsigned long)arg;
	int r;

	while ((r = _vcpu_run(uf.vcpus[id]))) {
		serve_page(uf_assert_exit(&uf, id, r));
		WRITE_ONCE(nr_exits[id], nr_exits[id] + 1);
	}

	uf_guest_done(&uf, id);

	return NULL;
}

/* Wait until every vCPU has read all pages, from beginning to end. */
static void wait_for_guest(void)
{
	uint64_t from, *rounds;
	int id;

	for (id = 0; id < uf.nr_vcpus; id++) {
		rounds = addr_gva2hva(uf.vm, (vm_vaddr_t)&guest_rounds[id]);
		from = READ_ONCE(*rounds);
		while (READ_ONCE(*rounds) < from + 2)
			usleep(1000);
	}
}

/* Mark and poison all pages.  @round selects the kind of memslot update that zaps. */
static void rearm(int round)
{
	uint32_t dirty = round & 1 ? KVM_MEM_LOG_DIRTY_PAGES : 0;
	unsigned long *old = NULL;
	int page;

	pthread_mutex_lock(&lock);
	if (round & 2) {
		old = uf.bitmap;
		uf.bitmap = uf_bitmap_alloc();
	} else {
		uf_set_slot(&uf, dirty);
	}
	uf_set_all(&uf);
	uf_set_slot(&uf, KVM_MEM_USERFAULT | dirty);
	for (page = 0; page < STRESS_PAGES; page++)
		poison_page(page);
	pthread_mutex_unlock(&lock);

	if (old)
		uf_bitmap_free(old);
}

static void run_stress(int nr_vcpus, int nr_rounds)
{
	pthread_t threads[UF_MAX_VCPUS];
	uint64_t total = 0;
	unsigned long id;
	int round, page;

	memset(guest_rounds, 0, sizeof(guest_rounds));
	memset(nr_exits, 0, sizeof(nr_exits));
	stop = false;

	uf_vm_init(&uf, nr_vcpus, stress_guest_code, VM_MEM_SRC_ANONYMOUS);
	for (page = 0; page < STRESS_PAGES; page++)
		fill_page(page);

	for (id = 0; id < nr_vcpus; id++)
		uf_start_thread(&threads[id], vcpu_thread, (void *)id);

	for (round = 0; round < nr_rounds; round++) {
		rearm(round);
		wait_for_guest();
	}

	stop = true;
	sync_global_to_guest(uf.vm, stop);
	for (id = 0; id < nr_vcpus; id++) {
		pthread_join(threads[id], NULL);
		total += nr_exits[id];
	}

	/* At least one exit per page and round, or userfault wasn't on. */
	TEST_ASSERT(total >= (uint64_t)nr_rounds * STRESS_PAGES,
		    "%lu exits in %d rounds", total, nr_rounds);
	pr_info("%d vCPU(s): %d rounds, %lu exits\n", nr_vcpus, nr_rounds, total);
	uf_vm_free(&uf);
}

int main(int argc, char *argv[])
{
	int nr_rounds = 40;

	TEST_REQUIRE(kvm_has_cap(KVM_CAP_USERFAULT));

	if (argc > 1)
		nr_rounds = atoi_positive("Number of rounds", argv[1]);

	run_stress(1, nr_rounds);
	run_stress(4, nr_rounds);

	return 0;
}
