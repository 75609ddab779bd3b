// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM userfault: randomized updates of a memslot, its bitmap and its memory, while
 * vCPUs make randomized accesses.
 *
 * Pages are poisoned once they are marked as missing, and get their content back
 * before their bits are cleared.  A guest that reads anything but a page's content
 * has accessed a page without an exit, or before the page was ready.
 *
 * The seed determines the sequence of random numbers of each thread, but not how
 * the threads interleave.
 */
#include <pthread.h>
#include <sys/wait.h>
#include <time.h>

#include "kvm_userfault_util.h"

#define POISON		0xdead0000dead0000ull
#define WRITE_OFFSET	0x700

#ifndef MADV_COLD
#define MADV_COLD	20
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

static struct uf_vm uf;
static uint32_t seed;
static bool stop;
static uint64_t guest_ops[UF_MAX_VCPUS];

/*
 * Held for writing to change the memslot or its memory, for reading to serve a page:
 * its bit must be cleared in the bitmap that KVM uses.
 */
static pthread_rwlock_t lock;
static uint64_t nr_exits[UF_MAX_VCPUS];

/* Odd while the bitmap can't be read, so that KVM_RUN may fail. */
static unsigned int unreadable_seq;

enum action {
	MARK,
	MARK_AND_DIRTY_LOG,
	DIRTY_LOG,
	OFF_AND_ON,
	HIDE_BITMAP,
	COPY_ON_WRITE,
	DROP,
	COLLAPSE,
	COLD,
	ARRIVE,
	NR_ACTIONS
};

static const char * const action_names[] = {
	[MARK]			= "marked",
	[MARK_AND_DIRTY_LOG]	= "marked with dirty logging changed",
	[DIRTY_LOG]		= "dirty logging changed",
	[OFF_AND_ON]		= "off and on",
	[HIDE_BITMAP]		= "bitmap unreadable",
	[COPY_ON_WRITE]		= "made copy-on-write",
	[DROP]			= "dropped",
	[COLLAPSE]		= "collapsed",
	[COLD]			= "made cold",
	[ARRIVE]		= "arrived completely",
};

static uint64_t nr_actions[NR_ACTIONS];

static uint64_t page_word(int page)
{
	return 0xc0de000000000000ull + page;
}

static void fuzz_guest_code(int id)
{
	struct guest_random_state rng = new_guest_random_state(seed + id + 1);
	uint64_t gva;
	int page;

	while (!READ_ONCE(stop)) {
		page = guest_random_u32(&rng) % UF_NPAGES;
		gva = guest_random_bool(&rng) ? UF_GVA_4K : UF_GVA_2M;
		gva += page * PAGE_SIZE;

		if (guest_random_bool(&rng))
			GUEST_ASSERT_EQ(READ_ONCE(*(uint64_t *)gva), page_word(page));
		else
			WRITE_ONCE(*(uint64_t *)(gva + WRITE_OFFSET), id);
		WRITE_ONCE(guest_ops[id], guest_ops[id] + 1);
	}

	GUEST_DONE();
}

static void set_page(int page, uint64_t value)
{
	WRITE_ONCE(*(uint64_t *)uf_page_hva(&uf, page), value);
}

static void serve_locked(int page)
{
	if (uf_test_bit(&uf, page)) {
		set_page(page, page_word(page));
		uf_clear_bit(&uf, page);
	}
}

/* Serve the page of an exit, or not yet, or its neighbours as well. */
static void serve(struct guest_random_state *rng, int page)
{
	int i, end = page + 1;

	switch (guest_random_u32(rng) % 8) {
	case 0:
		return;
	case 1:
		end = page + 1 + guest_random_u32(rng) % 64;
		break;
	case 2:
		/* All of the huge page, so that it can be mapped huge. */
		page -= page % UF_VCPU_PAGES;
		end = page + UF_VCPU_PAGES;
		break;
	}

	pthread_rwlock_rdlock(&lock);
	for (i = page; i < end && i < UF_NPAGES; i++)
		serve_locked(i);
	pthread_rwlock_unlock(&lock);
}

static void pre_fault(struct guest_random_state *rng, struct kvm_vcpu *vcpu)
{
	int page = guest_random_u32(rng) % UF_NPAGES;
	struct kvm_pre_fault_memory range = {
		.gpa = UF_GPA + page * PAGE_SIZE,
		.size = (1 + guest_random_u32(rng) % (UF_NPAGES - page)) * PAGE_SIZE,
	};

	/* Whatever it returns, it must not map a page that is missing. */
	__vcpu_ioctl(vcpu, KVM_PRE_FAULT_MEMORY, &range);
}

static void *vcpu_thread(void *arg)
{
	int id = (unsigned long)arg;
	struct guest_random_state rng = new_guest_random_state(seed + 100 + id);
	struct kvm_vcpu *vcpu = uf.vcpus[id];
	unsigned int seq;

	for (;;) {
		seq = __atomic_load_n(&unreadable_seq, __ATOMIC_ACQUIRE);
		if (!_vcpu_run(vcpu))
			break;
		TEST_ASSERT_EQ(errno, EFAULT);
		if (vcpu->run->exit_reason != KVM_EXIT_MEMORY_FAULT &&
		    (seq & 1 || seq != __atomic_load_n(&unreadable_seq, __ATOMIC_ACQUIRE)))
			continue;
		TEST_ASSERT_EQ(vcpu->run->exit_reason, KVM_EXIT_MEMORY_FAULT);
		TEST_ASSERT_EQ(vcpu->run->memory_fault.flags, KVM_MEMORY_EXIT_FLAG_USERFAULT);
		serve(&rng, (vcpu->run->memory_fault.gpa - UF_GPA) / PAGE_SIZE);
		if (guest_random_u32(&rng) % 16 == 0)
			pre_fault(&rng, vcpu);
		WRITE_ONCE(nr_exits[id], nr_exits[id] + 1);
	}

	uf_guest_done(&uf, id);

	return NULL;
}

struct range {
	int first;
	int end;
};

/*
 * Usually a single page, often the first or last of a huge page: the more pages are
 * marked, the longer it takes until there is a huge mapping again.
 */
static struct range random_range(struct guest_random_state *rng)
{
	int page = guest_random_u32(rng) % UF_NPAGES;
	int huge = page - page % UF_VCPU_PAGES;

	switch (guest_random_u32(rng) % 16) {
	case 0:
		return (struct range){ 0, UF_NPAGES };
	case 1:
		return (struct range){ huge, huge + UF_VCPU_PAGES };
	case 2:
		return (struct range){ page, page + 1 +
			guest_random_u32(rng) % (UF_NPAGES - page) };
	case 3 ... 5:
		return (struct range){ huge, huge + 1 };
	case 6 ... 8:
		huge += UF_VCPU_PAGES - 1;
		return (struct range){ huge, huge + 1 };
	default:
		return (struct range){ page, page + 1 };
	}
}

/* As documented: copy the bitmap, set bits in the copy, pass the copy. */
static void mark(struct range range, uint32_t flags)
{
	unsigned long *old = uf.bitmap;
	int page;

	uf.bitmap = uf_bitmap_alloc();
	memcpy(uf.bitmap, old, UF_BITMAP_SIZE);
	for (page = range.first; page < range.end; page++)
		uf_set_bit(&uf, page);
	uf_set_slot(&uf, flags);

	for (page = range.first; page < range.end; page++)
		set_page(page, POISON);
	uf_bitmap_free(old);
}

static void off_and_on(struct guest_random_state *rng, struct range range,
		       uint32_t dirty)
{
	int page;

	for (page = 0; page < UF_NPAGES; page++)
		serve_locked(page);
	uf_set_slot(&uf, dirty);
	usleep(guest_random_u32(rng) % 2000);

	for (page = range.first; page < range.end; page++)
		uf_set_bit(&uf, page);
	uf_set_slot(&uf, KVM_MEM_USERFAULT | dirty);
	for (page = range.first; page < range.end; page++)
		set_page(page, POISON);
}

/* Drop the memory of pages that are marked as missing. */
static void drop(struct range range)
{
	int page;

	for (page = range.first; page < range.end; page++) {
		if (uf_test_bit(&uf, page)) {
			madvise(uf_page_hva(&uf, page), PAGE_SIZE, MADV_DONTNEED);
			set_page(page, POISON);
		}
	}
}

static void hide_bitmap(struct guest_random_state *rng)
{
	__atomic_add_fetch(&unreadable_seq, 1, __ATOMIC_RELEASE);
	mprotect(uf_bitmap_page(&uf), PAGE_SIZE, PROT_NONE);
	usleep(guest_random_u32(rng) % 1000);
	mprotect(uf_bitmap_page(&uf), PAGE_SIZE, PROT_READ | PROT_WRITE);
	__atomic_add_fetch(&unreadable_seq, 1, __ATOMIC_RELEASE);
}

/* fork() makes all memory copy-on-write. */
static void share_by_fork(void)
{
	pid_t pid = fork();

	TEST_ASSERT(pid >= 0, "fork() failed, errno %d", errno);
	if (!pid)
		_exit(0);
	TEST_ASSERT_EQ(waitpid(pid, NULL, 0), pid);
}

/* All pages arrive: pages of @range lead to a huge mapping when they are accessed. */
static void arrive(struct range range, uint32_t flags)
{
	int page;

	mark(range, flags & ~KVM_MEM_LOG_DIRTY_PAGES);
	for (page = 0; page < UF_NPAGES; page++)
		serve_locked(page);
	/* This fails if the host has no free huge page. */
	madvise(uf.mem, UF_SIZE, MADV_COLLAPSE);
}

static uint64_t guest_ops_of(int id)
{
	return READ_ONCE(*(uint64_t *)addr_gva2hva(uf.vm, (vm_vaddr_t)&guest_ops[id]));
}

/* Wait until each vCPU has made accesses, however slow the machine is. */
static void wait_for_guest(void)
{
	uint64_t from[UF_MAX_VCPUS];
	int id;

	for (id = 0; id < uf.nr_vcpus; id++)
		from[id] = guest_ops_of(id);
	for (id = 0; id < uf.nr_vcpus; id++)
		while (guest_ops_of(id) < from[id] + 16)
			usleep(1000);
}

static void act(struct guest_random_state *rng)
{
	enum action action = guest_random_u32(rng) % NR_ACTIONS;
	struct range range = random_range(rng);
	size_t size = (range.end - range.first) * PAGE_SIZE;
	uint32_t flags = uf_region(&uf)->flags;

	pthread_rwlock_wrlock(&lock);
	switch (action) {
	case MARK:
		mark(range, flags);
		break;
	case MARK_AND_DIRTY_LOG:
		mark(range, flags ^ KVM_MEM_LOG_DIRTY_PAGES);
		break;
	case DIRTY_LOG:
		uf_set_slot(&uf, flags ^ KVM_MEM_LOG_DIRTY_PAGES);
		break;
	case OFF_AND_ON:
		off_and_on(rng, range, flags & KVM_MEM_LOG_DIRTY_PAGES);
		break;
	case HIDE_BITMAP:
		hide_bitmap(rng);
		break;
	case COPY_ON_WRITE:
		share_by_fork();
		break;
	case DROP:
		drop(range);
		break;
	case COLLAPSE:
		/* This fails if the host has no free huge page. */
		madvise(uf_page_hva(&uf, range.first), size, MADV_COLLAPSE);
		break;
	case COLD:
		madvise(uf_page_hva(&uf, range.first), size, MADV_COLD);
		break;
	case ARRIVE:
		arrive(range, flags);
		break;
	case NR_ACTIONS:
		break;
	}
	pthread_rwlock_unlock(&lock);
	nr_actions[action]++;

	if (action == ARRIVE)
		wait_for_guest();
}

static uint64_t total(const uint64_t *counts, int n)
{
	uint64_t sum = 0;

	while (n--)
		sum += READ_ONCE(counts[n]);
	return sum;
}

static void run_fuzz(int nr_vcpus, int seconds)
{
	struct guest_random_state rng = new_guest_random_state(seed);
	pthread_t threads[UF_MAX_VCPUS];
	uint64_t huge_pages = 0;
	unsigned long id;
	time_t end;
	int page, i;

	memset(guest_ops, 0, sizeof(guest_ops));
	memset(nr_exits, 0, sizeof(nr_exits));
	memset(nr_actions, 0, sizeof(nr_actions));
	stop = false;

	uf_vm_init(&uf, nr_vcpus, fuzz_guest_code, VM_MEM_SRC_ANONYMOUS_THP);
	sync_global_to_guest(uf.vm, seed);
	for (page = 0; page < UF_NPAGES; page++)
		set_page(page, page_word(page));
	uf_enable(&uf);

	for (id = 0; id < nr_vcpus; id++)
		uf_start_thread(&threads[id], vcpu_thread, (void *)id);

	/* A slow machine may need more time until everything has been tested. */
	end = time(NULL) + seconds;
	while (time(NULL) < end ||
	       (!(huge_pages && total(nr_exits, nr_vcpus)) &&
		time(NULL) < end + 5 * seconds)) {
		act(&rng);
		usleep(guest_random_u32(&rng) % 3000);
		huge_pages = max(huge_pages, uf_huge_mappings(&uf));
	}
	wait_for_guest();

	stop = true;
	sync_global_to_guest(uf.vm, stop);
	for (id = 0; id < nr_vcpus; id++) {
		pthread_join(threads[id], NULL);
		guest_ops[id] = guest_ops_of(id);
	}

	TEST_ASSERT(total(nr_exits, nr_vcpus), "no exit: userfault wasn't on");
	TEST_ASSERT(huge_pages, "no huge mapping: half of this was not tested");
	pr_info("%d vCPU(s): %lu accesses, %lu exits, at most %lu huge mappings\n",
		nr_vcpus, total(guest_ops, nr_vcpus), total(nr_exits, nr_vcpus),
		huge_pages);
	for (i = 0; i < NR_ACTIONS; i++)
		pr_info("  %6lu times %s\n", nr_actions[i], action_names[i]);
	uf_vm_free(&uf);
}

static void help(const char *name)
{
	printf("usage: %s [-s SEED] [-t SECONDS]\n"
	       " -s: seed of the random numbers (default: the time)\n"
	       " -t: seconds for each number of vCPUs (default: 10)\n", name);
	exit(1);
}

int main(int argc, char *argv[])
{
	pthread_rwlockattr_t attr;
	int opt, seconds = 10;

	seed = time(NULL);
	while ((opt = getopt(argc, argv, "s:t:")) != -1) {
		switch (opt) {
		case 's':
			seed = atoi_non_negative("Seed", optarg);
			break;
		case 't':
			seconds = atoi_positive("Seconds", optarg);
			break;
		default:
			help(argv[0]);
		}
	}

	TEST_REQUIRE(kvm_has_cap(KVM_CAP_USERFAULT));
	TEST_REQUIRE(thp_configured());
	pr_info("seed %u\n", seed);

	/* Writers come first: otherwise vCPU threads would starve them. */
	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(&attr,
				      PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&lock, &attr);

	run_fuzz(1, seconds);
	run_fuzz(UF_MAX_VCPUS, seconds);

	return 0;
}
