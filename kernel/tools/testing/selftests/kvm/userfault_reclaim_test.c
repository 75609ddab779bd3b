// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM userfault while the host reclaims guest memory: pages are swapped out, marked
 * idle, or dropped.  Pages whose bits are set stay inaccessible; other pages come
 * back with their content.
 */
#include <linux/falloc.h>
#include <pthread.h>
#include <time.h>

#include "kvm_test_harness.h"
#include "kvm_userfault_reclaim.h"
#include "kvm_userfault_util.h"

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT	21
#endif

static uint64_t pagemap_entry(void *hva)
{
	uint64_t entry;
	int fd;

	fd = open("/proc/self/pagemap", O_RDONLY);
	TEST_ASSERT(fd >= 0, "no pagemap: errno %d", errno);
	TEST_ASSERT(pread(fd, &entry, 8, (unsigned long)hva / PAGE_SIZE * 8) == 8,
		    "can't read pagemap: errno %d", errno);
	close(fd);
	return entry;
}

/* Is the page in no memory, neither mapped nor in the swap cache? */
static bool is_out(struct uf_vm *uf, int page)
{
	unsigned char vec;

	TEST_ASSERT(!mincore(uf_page_hva(uf, page), PAGE_SIZE, &vec),
		    "mincore() failed: errno %d", errno);
	return !(vec & 1);
}

static void page_out(struct uf_vm *uf, int page, int npages)
{
	TEST_ASSERT(!madvise(uf_page_hva(uf, page), npages * PAGE_SIZE, MADV_PAGEOUT),
		    "MADV_PAGEOUT failed: errno %d", errno);
}

/* Drop the memory, as if freed by the guest or migrated away. */
static void drop(struct uf_vm *uf, int page)
{
	struct userspace_mem_region *region = memslot2region(uf->vm, UF_SLOT);

	if (region->fd < 0)
		TEST_ASSERT(!madvise(uf_page_hva(uf, page), PAGE_SIZE, MADV_DONTNEED),
			    "MADV_DONTNEED failed: errno %d", errno);
	else
		TEST_ASSERT(!fallocate(region->fd,
				       FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				       page * PAGE_SIZE, PAGE_SIZE),
			    "fallocate() failed: errno %d", errno);
}

/*
 * Clear the accessed bits of the page's mappings, KVM's included.  Returns false for
 * a page that is not in memory, is not the first of its huge page, or that the host
 * doesn't count as in use yet.
 */
static bool mark_idle(struct uf_vm *uf, int page)
{
	uint64_t entry = pagemap_entry(uf_page_hva(uf, page));
	uint64_t pfn = entry & (BIT(55) - 1), bit = BIT(pfn % 64), idle;
	int fd;

	if (!(entry & BIT(63)))
		return false;

	fd = open("/sys/kernel/mm/page_idle/bitmap", O_RDWR);
	TEST_ASSERT(fd >= 0, "no idle page tracking: errno %d", errno);
	TEST_ASSERT(pwrite(fd, &bit, 8, pfn / 64 * 8) == 8,
		    "can't mark a page idle: errno %d", errno);
	TEST_ASSERT(pread(fd, &idle, 8, pfn / 64 * 8) == 8,
		    "can't read the idle bits: errno %d", errno);
	close(fd);
	return idle & bit;
}

FIXTURE(reclaim) {
	struct uf_vm uf;
};

FIXTURE_VARIANT(reclaim) {
	enum vm_mem_backing_src_type src;
};

FIXTURE_VARIANT_ADD(reclaim, anonymous) { .src = VM_MEM_SRC_ANONYMOUS };
FIXTURE_VARIANT_ADD(reclaim, huge) { .src = VM_MEM_SRC_ANONYMOUS_THP };
FIXTURE_VARIANT_ADD(reclaim, shmem) { .src = VM_MEM_SRC_SHMEM };

/* With interrupts enabled, a guest can wait for pages that the host has swapped out. */
static void reclaim_guest_code(int id)
{
	asm volatile("sti");
	uf_guest_code(id);
}

#define NR_PAGES	32

/* Map all pages, with a huge page if there is one, then mark every other one. */
FIXTURE_SETUP(reclaim)
{
	struct uf_vm *uf = &self->uf;
	int page;

	uf_vm_init(uf, 1, reclaim_guest_code, variant->src);
	uf->gva = UF_GVA_2M;
	for (page = 0; page < NR_PAGES; page++)
		uf_access(uf, 0, UF_READ, page);
	TEST_ASSERT_EQ(uf_huge_mappings(uf), variant->src == VM_MEM_SRC_ANONYMOUS_THP);
	for (page = 0; page < NR_PAGES; page += 2)
		uf_set_bit(uf, page);
	uf_enable(uf);
}

FIXTURE_TEARDOWN(reclaim)
{
	uf_vm_free(&self->uf);
}

static void page_out_for_sure(struct uf_vm *uf, int page)
{
	time_t end = time(NULL) + 20;

	page_out(uf, page, 1);
	/* Writing to swap takes time. */
	while (!is_out(uf, page) && time(NULL) < end) {
		usleep(1000);
		page_out(uf, page, 1);
		reclaim_some();
	}
	TEST_ASSERT(is_out(uf, page), "page %d is still in memory", page);
}

TEST_F_TIMEOUT(reclaim, swapped_out, UF_TIMEOUT)
{
	struct uf_vm *uf = &self->uf;
	int page;

	page_out(uf, 0, NR_PAGES);
	for (page = 0; page < NR_PAGES; page++)
		page_out_for_sure(uf, page);

	for (page = 0; page < NR_PAGES; page++) {
		if (page % 2) {
			uf_access(uf, 0, UF_READ, page);
			continue;
		}
		/* A missing page is not swapped in. */
		page_out_for_sure(uf, page);
		uf_prepare(uf, 0, UF_READ, page);
		uf_run_exits(uf, 0, page);
		TEST_ASSERT(is_out(uf, page), "page %d was swapped in", page);
		/* A page that was served and swapped out again is. */
		uf_fill_page(uf, page, 4242);
		page_out_for_sure(uf, page);
		uf_run_exits(uf, 0, page);
		uf_clear_bit(uf, page);
		uf_run_done(uf, 0, 4242);
	}
}

TEST_F(reclaim, idle)
{
	struct uf_vm *uf = &self->uf;
	int page, nr_idle = 0;

	/* Only the first page of a huge page can be idle. */
	for (page = 0; page < NR_PAGES; page++)
		nr_idle += mark_idle(uf, page);
	TEST_ASSERT_EQ(nr_idle, variant->src == VM_MEM_SRC_ANONYMOUS_THP ? 1 : NR_PAGES);
	for (page = 0; page < NR_PAGES; page++) {
		if (page % 2)
			uf_access(uf, 0, UF_READ, page);
		else
			uf_access_exits(uf, 0, UF_READ, page);
	}
}

TEST_F(reclaim, dropped)
{
	struct uf_vm *uf = &self->uf;
	int page;

	for (page = 0; page < NR_PAGES; page++)
		drop(uf, page);
	for (page = 0; page < NR_PAGES; page++) {
		uf_prepare(uf, 0, UF_READ, page);
		if (page % 2) {
			uf_run_done(uf, 0, 0);
			continue;
		}
		uf_run_exits(uf, 0, page);
		TEST_ASSERT(is_out(uf, page), "page %d got memory", page);
		uf_fill_page(uf, page, 4242);
		uf_clear_bit(uf, page);
		uf_run_done(uf, 0, 4242);
	}
}

/*
 * vCPUs count in words of their own.  Meanwhile pages are moved to a store, come back
 * when a vCPU exits for them, and are reclaimed in all ways.
 */
#define STRESS_PAGES	(2 * UF_VCPU_PAGES)
#define STRESS_SECONDS	6
#define COUNT_OFFSET	0x400
#define POISON		0xdead0000dead0000ull

static struct uf_vm stress;
static bool stop;
static uint64_t counts[UF_MAX_VCPUS][STRESS_PAGES];
static uint64_t guest_ops[UF_MAX_VCPUS];

/* Held for moving pages to and from the store, and for changing the bitmap. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint8_t (*store)[SZ_4K];
static uint64_t nr_exits, nr_swapped, nr_idle;

static void stress_guest_code(int id)
{
	struct guest_random_state rng = new_guest_random_state(id + 1);
	uint64_t *count;
	int page;

	asm volatile("sti");
	while (!READ_ONCE(stop)) {
		page = guest_random_u32(&rng) % STRESS_PAGES;
		count = (uint64_t *)(UF_GVA_2M + page * PAGE_SIZE + COUNT_OFFSET) + id;
		GUEST_ASSERT_EQ(READ_ONCE(*count), counts[id][page]);
		if (guest_random_bool(&rng))
			WRITE_ONCE(*count, ++counts[id][page]);
		WRITE_ONCE(guest_ops[id], guest_ops[id] + 1);
	}

	GUEST_DONE();
}

static void bring_page(int page)
{
	pthread_mutex_lock(&lock);
	/* Another vCPU's exit may have brought it already. */
	if (uf_test_bit(&stress, page)) {
		memcpy(uf_page_hva(&stress, page), store[page], PAGE_SIZE);
		uf_clear_bit(&stress, page);
	}
	nr_exits++;
	pthread_mutex_unlock(&lock);
}

static void *stress_vcpu(void *arg)
{
	const struct sched_param param = {};
	int id = (unsigned long)arg;
	int r;

	/* The writer to swap has priority: otherwise vCPUs swap all pages in again. */
	TEST_ASSERT(!sched_setscheduler(0, SCHED_IDLE, &param),
		    "sched_setscheduler() failed: errno %d", errno);

	while ((r = _vcpu_run(stress.vcpus[id])))
		bring_page(uf_assert_exit(&stress, id, r));
	uf_guest_done(&stress, id);

	return NULL;
}

/* Mark a range, and move its pages to the store. */
static void send_pages(int begin, int end, bool drop_memory)
{
	unsigned long *old = stress.bitmap;
	uint64_t *p;
	int page, i;

	stress.bitmap = uf_bitmap_alloc();
	memcpy(stress.bitmap, old, UF_BITMAP_SIZE);
	for (page = begin; page < end; page++)
		uf_set_bit(&stress, page);
	uf_enable(&stress);

	for (page = begin; page < end; page++) {
		if (old[page / UF_BITS_PER_WORD] >> (page % UF_BITS_PER_WORD) & 1)
			continue;
		p = uf_page_hva(&stress, page);
		memcpy(store[page], p, PAGE_SIZE);
		if (drop_memory)
			drop(&stress, page);
		else
			for (i = 0; i < PAGE_SIZE / sizeof(*p); i++)
				WRITE_ONCE(p[i], POISON);
	}
	uf_bitmap_free(old);
}

static void reclaim_at_random(struct guest_random_state *rng)
{
	int begin = guest_random_u32(rng) % STRESS_PAGES;
	int end = begin + 1 + guest_random_u32(rng) % 64;
	int page;

	if (end > STRESS_PAGES)
		end = STRESS_PAGES;

	switch (guest_random_u32(rng) % 4) {
	case 0:
		for (page = begin; page < end; page++)
			nr_idle += mark_idle(&stress, page);
		return;
	case 1:
		page_out(&stress, begin, end - begin);
		return;
	case 2:
		page_out(&stress, begin, end - begin);
		/* Wait until some are written, which not all vCPUs have accessed yet. */
		usleep(500);
		reclaim_some();
		for (page = begin; page < end; page++)
			nr_swapped += is_out(&stress, page);
		/* Let vCPUs begin to swap them in. */
		usleep(guest_random_u32(rng) % 1000);
		break;
	}
	pthread_mutex_lock(&lock);
	send_pages(begin, end, guest_random_bool(rng));
	pthread_mutex_unlock(&lock);
}

static uint64_t total_ops(void)
{
	uint64_t *ops = addr_gva2hva(stress.vm, (vm_vaddr_t)guest_ops);
	uint64_t sum = 0;
	int id;

	for (id = 0; id < UF_MAX_VCPUS; id++)
		sum += READ_ONCE(ops[id]);
	return sum;
}

/* On a slow kernel, vCPUs may access each page before it is swapped out. */
static bool all_has_happened(void)
{
	return READ_ONCE(nr_exits) && nr_swapped && nr_idle;
}

static void run_stress(enum vm_mem_backing_src_type src)
{
	struct guest_random_state rng = new_guest_random_state(1);
	bool huge = src == VM_MEM_SRC_ANONYMOUS_THP;
	pthread_t threads[UF_MAX_VCPUS];
	unsigned long id;
	time_t begin;

	uf_vm_init(&stress, UF_MAX_VCPUS, stress_guest_code, src);
	memset(stress.mem, 0, UF_SIZE);
	/* Not a static array: the guest would get a copy. */
	store = malloc(STRESS_PAGES * SZ_4K);
	TEST_ASSERT(store, "no memory");
	for (id = 0; id < UF_MAX_VCPUS; id++)
		uf_start_thread(&threads[id], stress_vcpu, (void *)id);
	while (!total_ops())
		usleep(1000);
	TEST_ASSERT(!huge || uf_huge_mappings(&stress), "no huge mapping");

	begin = time(NULL);
	while (time(NULL) < begin + STRESS_SECONDS ||
	       (!all_has_happened() && time(NULL) < begin + 20 * STRESS_SECONDS)) {
		reclaim_at_random(&rng);
		usleep(guest_random_u32(&rng) % 5000);
	}

	stop = true;
	sync_global_to_guest(stress.vm, stop);
	for (id = 0; id < UF_MAX_VCPUS; id++)
		pthread_join(threads[id], NULL);

	TEST_ASSERT(nr_exits, "no exit: userfault wasn't on");
	TEST_ASSERT(nr_swapped, "nothing was swapped out");
	TEST_ASSERT(nr_idle, "no page was idle");
	pr_info("%lu accesses, %lu exits, %lu pages swapped out, %lu idle\n",
		total_ops(), nr_exits, nr_swapped, nr_idle);
	free(store);
	uf_vm_free(&stress);
}

FIXTURE(race) {};

FIXTURE_VARIANT(race) {
	enum vm_mem_backing_src_type src;
};

FIXTURE_VARIANT_ADD(race, anonymous) { .src = VM_MEM_SRC_ANONYMOUS };
FIXTURE_VARIANT_ADD(race, huge) { .src = VM_MEM_SRC_ANONYMOUS_THP };
FIXTURE_VARIANT_ADD(race, shmem) { .src = VM_MEM_SRC_SHMEM };

FIXTURE_SETUP(race) {}
FIXTURE_TEARDOWN(race) {}

TEST_F_TIMEOUT(race, vcpus_and_reclaim, UF_TIMEOUT)
{
	run_stress(variant->src);
}

int main(int argc, char *argv[])
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_USERFAULT));
	TEST_REQUIRE(thp_configured());
	TEST_REQUIRE(!access("/sys/kernel/mm/page_idle/bitmap", W_OK));
	reclaim_set_up();

	return test_harness_run(argc, argv);
}
