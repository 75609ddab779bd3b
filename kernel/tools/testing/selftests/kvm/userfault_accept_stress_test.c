// SPDX-License-Identifier: GPL-2.0-only
/*
 * Async page faults over KVM userfault: vCPUs read pages in a random order.  For each
 * exit, userspace brings the page, accepts and brings it, or accepts and lets another
 * thread bring it later.
 *
 * The guest reads what userspace put into a page.  On x86 it may be told that a page is
 * missing, and goes on without it.  In the end it has got exactly one "page ready" event
 * for each page that it was told about.
 */
#include <sched.h>

#include "kvm_userfault_apf.h"

#define STRESS_PAGES	100	/* of each vCPU: more than can be pending */

static struct uf_vm uf;
static int nr_rounds = 300;

/* Protected by the lock. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool pending[UF_NPAGES];
static int queue[UF_NPAGES];
static int queued;

static bool stop;

struct vcpu_count {
	uint64_t accepted, early, refused;
};

static struct vcpu_count counts[UF_MAX_VCPUS];

/* Drop the page, so that the vCPU's next access faults. */
static void miss_page(int page)
{
	__atomic_fetch_or(&uf.bitmap[page / UF_BITS_PER_WORD],
			  1ul << (page % UF_BITS_PER_WORD), __ATOMIC_SEQ_CST);
	TEST_ASSERT(!madvise(uf_page_hva(&uf, page), PAGE_SIZE, MADV_DONTNEED),
		    "madvise() failed: errno %d", errno);
}

static void bring_page(int page)
{
	uf_fill_page(&uf, page, uf_content(page));
	uf_clear_bit(&uf, page);
}

static bool is_pending(int page)
{
	bool is;

	pthread_mutex_lock(&lock);
	is = pending[page];
	pthread_mutex_unlock(&lock);
	return is;
}

static bool serve_one(unsigned int *seed)
{
	int page = -1, id, i, r;

	pthread_mutex_lock(&lock);
	if (queued) {
		i = rand_r(seed) % queued;
		page = queue[i];
		queue[i] = queue[--queued];
	}
	pthread_mutex_unlock(&lock);
	if (page < 0)
		return false;

	id = page / UF_VCPU_PAGES;
	bring_page(page);
	r = apf_ready(&uf, id, page);
	TEST_ASSERT(!r, "READY of page %d: errno %d", page, r);
	r = apf_ready(&uf, id, page);
	TEST_ASSERT(r == EALREADY || r == ENOENT, "READY again: errno %d", r);
	TEST_ASSERT_EQ(apf_ready(&uf, id, uf_page(id, STRESS_PAGES)), ENOENT);

	pthread_mutex_lock(&lock);
	pending[page] = false;
	pthread_mutex_unlock(&lock);
	return true;
}

static void *server_thread(void *arg)
{
	unsigned int seed = 1;

	/* Let many pages wait now and then. */
	while (!READ_ONCE(stop))
		if (!serve_one(&seed) || rand_r(&seed) % 8 == 0)
			usleep(2000);
	while (serve_one(&seed))
		;
	return NULL;
}

static void handle_exit(int id, unsigned int *seed)
{
	struct kvm_run *run = uf.vcpus[id]->run;
	int page = (run->memory_fault.gpa - uf.gpa) / PAGE_SIZE;
	int how = rand_r(seed) % 8;

	TEST_ASSERT_EQ(run->exit_reason, KVM_EXIT_MEMORY_FAULT);

	/*
	 * The server has a page that was accepted before.  It may be ready by now,
	 * so that this exit, which came before, can be accepted as well.
	 */
	while (is_pending(page))
		sched_yield();

	if (!(run->memory_fault.flags & KVM_MEMORY_EXIT_FLAG_APF)) {
		counts[id].refused++;
		bring_page(page);
		return;
	}

	if (!how) {
		bring_page(page);
		return;
	}

	TEST_ASSERT_EQ(apf_accept(&uf, id, page), 0);
	counts[id].accepted++;
	if (how == 1) {
		counts[id].early++;
		bring_page(page);
		TEST_ASSERT_EQ(apf_ready(&uf, id, page), 0);
		return;
	}

	pthread_mutex_lock(&lock);
	pending[page] = true;
	queue[queued++] = page;
	pthread_mutex_unlock(&lock);
}

#ifdef __x86_64__

/* How the guest goes on if it is told about its next page. */
static void choose_mode(int id, unsigned int *seed)
{
	static const int modes[] = { APF_WAIT, APF_SKIP, APF_SKIP, APF_SKIP, APF_AGAIN };

	WRITE_ONCE(apf_guest(&uf, id)->mode, modes[rand_r(seed) % ARRAY_SIZE(modes)]);
}

/* The guest reports @value.  Has it read @page, or gone on without it? */
static bool is_done(int page, uint64_t value)
{
	if (value == APF_TOLD)
		return false;
	if (value != APF_SKIPPED)
		TEST_ASSERT_EQ(value, uf_content(page));
	return true;
}

static bool events_left(int id)
{
	struct apf_guest *g = apf_guest(&uf, id);

	return READ_ONCE(g->nr_ready) < READ_ONCE(g->nr_told);
}

static void check_events(int id, bool events)
{
	uint64_t told = apf_stat(id, "userfault_told");

	pr_info("vCPU %d: told %lu\n", id, told);
	TEST_ASSERT(told || !events, "the guest was never told");
	TEST_ASSERT(told <= counts[id].accepted - counts[id].early,
		    "told about pages that were not accepted");
	apf_check_tokens(&uf, id, told);
}

#else

static void choose_mode(int id, unsigned int *seed)
{
}

static bool is_done(int page, uint64_t value)
{
	TEST_ASSERT_EQ(value, uf_content(page));
	return true;
}

static bool events_left(int id)
{
	return false;
}

static void check_events(int id, bool events)
{
}

#endif

/* Run until the guest has read @page, or has gone on without it. */
static void read_page(int id, int page, unsigned int *seed)
{
	struct kvm_vcpu *vcpu = uf.vcpus[id];
	struct ucall uc;

	uf_prepare(&uf, id, UF_READ, page);
	for (;;) {
		if (__vcpu_run(vcpu)) {
			TEST_ASSERT_EQ(errno, EFAULT);
			handle_exit(id, seed);
			continue;
		}
		if (get_ucall(vcpu, &uc) == UCALL_ABORT)
			REPORT_GUEST_ASSERT(uc);
		TEST_ASSERT_EQ(uc.cmd, UCALL_SYNC);
		if (is_done(page, uc.args[1]))
			return;
	}
}

static void *vcpu_thread(void *arg)
{
	int id = (unsigned long)arg;
	unsigned int seed = 100 + id;
	int i, page;

	for (i = 0; i < nr_rounds; i++) {
		page = uf_page(id, rand_r(&seed) % STRESS_PAGES);
		if (!is_pending(page) && rand_r(&seed) % 4)
			miss_page(page);
		choose_mode(id, &seed);
		read_page(id, page, &seed);
	}

	/* Take the events that are left. */
	page = uf_page(id, STRESS_PAGES);
	while (events_left(id))
		read_page(id, page, &seed);
	return NULL;
}

static void run_stress(int nr_vcpus, bool events)
{
	pthread_t threads[UF_MAX_VCPUS], server;
	unsigned long id;
	uint64_t halts;

	memset(counts, 0, sizeof(counts));
	stop = false;
	apf_vm_init(&uf, nr_vcpus, events);
	uf_start_thread(&server, server_thread, NULL);
	for (id = 0; id < nr_vcpus; id++)
		uf_start_thread(&threads[id], vcpu_thread, (void *)id);
	for (id = 0; id < nr_vcpus; id++)
		pthread_join(threads[id], NULL);
	WRITE_ONCE(stop, true);
	pthread_join(server, NULL);

	for (id = 0; id < nr_vcpus; id++) {
		halts = apf_stat(id, "userfault_halts");
		pr_info("vCPU %lu: accepted %lu, %lu of them early; refused %lu; halted %lu\n",
			id, counts[id].accepted, counts[id].early, counts[id].refused,
			halts);
		TEST_ASSERT(counts[id].accepted > nr_rounds / 10 && counts[id].early &&
			    (events || halts), "too little happened");
		check_events(id, events);
	}
	apf_vm_free(&uf);
}

int main(int argc, char *argv[])
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_USERFAULT));
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_ASYNC_PF_USERFAULT));

	if (argc > 1)
		nr_rounds = atoi_positive("Number of rounds", argv[1]);

	run_stress(1, false);
	run_stress(4, false);
#ifdef __x86_64__
	TEST_ASSERT(nr_rounds < APF_MAX_EVENTS, "at most %d rounds", APF_MAX_EVENTS);
	run_stress(1, true);
	run_stress(4, true);
#endif

	return 0;
}
