// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM userfault on a memslot with guest_memfd.  Such a memslot is changed in place,
 * while vCPUs use it: test what is guaranteed when an update returns.
 */
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>

#include "kvm_test_harness.h"
#include "kvm_userfault_gmem.h"
#include "kvm_userfault_missing.h"

static int nr_rounds = 400;

/*
 * A vCPU is made to wait while it reads the bitmap.  An update must wait for it: the
 * bitmap may be freed when the update returns.
 */
FIXTURE(update) {
	struct uf_vm uf;
	int uffd;
};

FIXTURE_VARIANT(update) {
	bool off;
};

FIXTURE_VARIANT_ADD(update, other_bitmap) { .off = false };
FIXTURE_VARIANT_ADD(update, off) { .off = true };

FIXTURE_SETUP(update)
{
	struct uf_vm *uf = &self->uf;

	gmem_init(uf, 1, uf_guest_code);
	uf_prepare(uf, 0, UF_WRITE, 0);
	uf_run_done(uf, 0, 0);

	uf_set_slot(uf, GMEM_FLAGS | KVM_MEM_USERFAULT);
	self->uffd = missing_register(uf_bitmap_page(uf), PAGE_SIZE);
	if (self->uffd < 0)
		SKIP(return, "no userfaultfd");
}

FIXTURE_TEARDOWN(update)
{
	close(self->uffd);
	uf_vm_free(&self->uf);
}

struct updater {
	struct uf_vm *uf;
	uint32_t flags;
	pid_t tid;
	bool done;
};

static void *update_slot(void *arg)
{
	struct updater *u = arg;

	__atomic_store_n(&u->tid, syscall(__NR_gettid), __ATOMIC_RELEASE);
	uf_set_slot(u->uf, u->flags);
	__atomic_store_n(&u->done, true, __ATOMIC_RELEASE);
	return NULL;
}

/* The system call that a thread sleeps in, or -1 if it doesn't sleep. */
static long sleeps_in(pid_t tid)
{
	char path[64];
	long nr = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", tid);
	f = fopen(path, "r");
	/* The thread may have ended. */
	if (f) {
		if (fscanf(f, "%ld", &nr) != 1)
			nr = -1;
		fclose(f);
	}
	return nr;
}

/* Wait until the update has begun and is waiting. */
static void wait_until_updating(struct updater *u)
{
	time_t end = time(NULL) + 10;
	pid_t tid;

	do {
		tid = __atomic_load_n(&u->tid, __ATOMIC_ACQUIRE);
		if (tid && sleeps_in(tid) == __NR_ioctl)
			return;
		usleep(1000);
	} while (time(NULL) < end);
	TEST_FAIL("the update doesn't wait for anything");
}

static void *read_in_guest(void *arg)
{
	/* The page has not been written yet. */
	uf_run_done(arg, 0, 0);
	return NULL;
}

TEST_F_TIMEOUT(update, waits_for_reader, UF_TIMEOUT)
{
	static const uint8_t zeroes[SZ_4K] __aligned(SZ_4K);
	struct uf_vm *uf = &self->uf;
	struct updater updater = { .uf = uf, .flags = GMEM_FLAGS };
	unsigned long *first = uf->bitmap;
	void *page = uf_bitmap_page(uf);
	pthread_t vcpu, thread;

	uf_prepare(uf, 0, UF_READ, 1);
	uf_start_thread(&vcpu, read_in_guest, uf);
	missing_wait(self->uffd, page);

	uf->bitmap = uf_bitmap_alloc();
	uf_set_all(uf);
	if (!variant->off)
		updater.flags |= KVM_MEM_USERFAULT;
	uf_start_thread(&thread, update_slot, &updater);
	wait_until_updating(&updater);
	/* No event says "still waiting".  An update that doesn't wait returns much earlier. */
	usleep(200000);
	TEST_ASSERT(!__atomic_load_n(&updater.done, __ATOMIC_ACQUIRE),
		    "the update has returned while a vCPU reads the old bitmap");

	missing_place(self->uffd, page, zeroes);
	pthread_join(vcpu, NULL);
	pthread_join(thread, NULL);
	uf_bitmap_free(first);

	/* Both pages were mapped, and only the new bitmap counts. */
	for (int i = 0; i < 2; i++) {
		uf_prepare(uf, 0, UF_READ, i);
		if (!variant->off) {
			uf_run_exits(uf, 0, i);
			uf_clear_bit(uf, i);
		}
		uf_run_done(uf, 0, i ? 0 : UF_WRITTEN);
	}
}

/*
 * vCPUs read all pages over and over, while the flag and the bitmap change.
 *
 * There are two kinds of pages.  When an update has returned, an epoch begins, whose
 * value tells which kinds are marked.  Nobody clears a bit, so within an epoch all
 * accesses to marked pages exit, and no other accesses do.
 */
#define STRESS_PAGES	64
#define KIND(page)	((page) / 8 % 2)

#define EPOCH_MARKED(k)	(1ull << (k))
#define EPOCH_UPDATING	4ull
#define EPOCH_NEXT	8ull

static struct uf_vm stress;
static bool stop;
static uint64_t *host_epoch;
static uint64_t epoch;
/* The epoch before a vCPU's current access. */
static uint64_t seen[UF_MAX_VCPUS];
static uint64_t guest_rounds[UF_MAX_VCPUS];
/* Accesses during which no update began or ended, while a kind was marked. */
static uint64_t nr_steady[UF_MAX_VCPUS];
static uint64_t nr_exits[UF_MAX_VCPUS];

static uint64_t stress_word(int id, int page)
{
	return 0xc0de000000000000ull + ((uint64_t)id << 32) + page;
}

static uint64_t *guest_word(int id, int page)
{
	return (uint64_t *)(UF_GVA_4K + page * PAGE_SIZE) + id;
}

static void check_page(int id, int page)
{
	uint64_t from, value;

	from = READ_ONCE(epoch);
	WRITE_ONCE(seen[id], from);
	value = READ_ONCE(*guest_word(id, page));

	GUEST_ASSERT_EQ(value, stress_word(id, page));
	if (READ_ONCE(epoch) == from) {
		GUEST_ASSERT(!(from & EPOCH_MARKED(KIND(page))));
		if (from & (EPOCH_MARKED(0) | EPOCH_MARKED(1)))
			WRITE_ONCE(nr_steady[id], nr_steady[id] + 1);
	}
}

static void stress_guest_code(int id)
{
	int n, page;

	for (page = 0; page < STRESS_PAGES; page++)
		WRITE_ONCE(*guest_word(id, page), stress_word(id, page));

	while (!READ_ONCE(stop)) {
		for (n = 0; n < STRESS_PAGES; n++) {
			/* Each vCPU has its own order, so that they often meet. */
			page = (n * (2 * id + 1) + id) % STRESS_PAGES;
			/* Twice: the second access uses the mapping of the first one. */
			check_page(id, page);
			check_page(id, page);
		}
		WRITE_ONCE(guest_rounds[id], guest_rounds[id] + 1);
	}

	GUEST_DONE();
}

static uint64_t read_guest(uint64_t *gva)
{
	return READ_ONCE(*(uint64_t *)addr_gva2hva(stress.vm, (vm_vaddr_t)gva));
}

static void *stress_vcpu(void *arg)
{
	int id = (unsigned long)arg;
	uint64_t now;
	int r, page;

	while ((r = _vcpu_run(stress.vcpus[id]))) {
		now = READ_ONCE(*host_epoch);
		/* Otherwise, the vCPU has used an old bitmap. */
		page = uf_assert_exit(&stress, id, r);
		TEST_ASSERT(now & (EPOCH_UPDATING | EPOCH_MARKED(KIND(page))) ||
			    read_guest(&seen[id]) != now,
			    "vCPU %d, page %d, epoch 0x%lx: exit by an old bitmap",
			    id, page, now);
		nr_exits[id]++;
		sched_yield();
	}
	uf_guest_done(&stress, id);

	return NULL;
}

static void mark_kinds(struct uf_vm *uf, uint64_t marked)
{
	int page;

	for (page = 0; page < STRESS_PAGES; page++)
		if (marked & EPOCH_MARKED(KIND(page)))
			uf_set_bit(uf, page);
}

static void protect_bitmap(struct uf_vm *uf, int prot)
{
	TEST_ASSERT(!mprotect(uf_bitmap_page(uf), PAGE_SIZE, prot),
		    "mprotect() failed: errno %d", errno);
}

/* Switch the flag off or on, or pass a new bitmap.  Returns the kinds that are marked. */
static uint64_t update_at_random(struct uf_vm *uf, struct guest_random_state *rng)
{
	bool on = uf_region(uf)->flags & KVM_MEM_USERFAULT;
	uint64_t marked = guest_random_u32(rng) % 4;
	unsigned long *old = NULL;

	if (on && guest_random_bool(rng)) {
		uf_set_slot(uf, GMEM_FLAGS);
		/* KVM no longer reads the bitmap. */
		protect_bitmap(uf, PROT_NONE);
		return 0;
	}

	/* The flag is switched on with its previous bitmap, or a new one. */
	if (!on)
		protect_bitmap(uf, PROT_READ | PROT_WRITE);
	if (on || guest_random_bool(rng)) {
		old = uf->bitmap;
		uf->bitmap = uf_bitmap_alloc();
	} else {
		uf_clear_all(uf);
	}
	mark_kinds(uf, marked);
	uf_set_slot(uf, GMEM_FLAGS | KVM_MEM_USERFAULT);
	if (old)
		uf_bitmap_free(old);

	return marked;
}

FIXTURE(race) {};
FIXTURE_SETUP(race) {}
FIXTURE_TEARDOWN(race) {}

TEST_F_TIMEOUT(race, vcpus_and_updates, UF_TIMEOUT)
{
	struct guest_random_state rng = new_guest_random_state(1);
	uint64_t next = 0, marked, total = 0, steady = 0;
	pthread_t threads[UF_MAX_VCPUS];
	unsigned long id;
	int round;

	gmem_init(&stress, UF_MAX_VCPUS, stress_guest_code);
	host_epoch = addr_gva2hva(stress.vm, (vm_vaddr_t)&epoch);

	for (id = 0; id < UF_MAX_VCPUS; id++)
		uf_start_thread(&threads[id], stress_vcpu, (void *)id);
	/* Wait until all vCPUs have written their words, and read them. */
	for (id = 0; id < UF_MAX_VCPUS; id++)
		while (!read_guest(&guest_rounds[id]))
			usleep(1000);

	for (round = 0; round < nr_rounds; round++) {
		next += EPOCH_NEXT;
		WRITE_ONCE(*host_epoch, next | EPOCH_UPDATING);
		marked = update_at_random(&stress, &rng);
		__atomic_store_n(host_epoch, next | marked, __ATOMIC_RELEASE);
		usleep(guest_random_u32(&rng) % 3000);
	}

	/* Let waiting vCPUs continue. */
	WRITE_ONCE(*host_epoch, next | EPOCH_UPDATING);
	if (uf_region(&stress)->flags & KVM_MEM_USERFAULT)
		uf_set_slot(&stress, GMEM_FLAGS);
	stop = true;
	sync_global_to_guest(stress.vm, stop);
	for (id = 0; id < UF_MAX_VCPUS; id++) {
		pthread_join(threads[id], NULL);
		total += nr_exits[id];
		steady += read_guest(&nr_steady[id]);
	}
	TEST_ASSERT(total, "no exit: userfault wasn't on");
	TEST_ASSERT(steady, "all accesses were at the time of an update");
	pr_info("%d updates, %lu exits, %lu accesses between updates\n", nr_rounds,
		total, steady);
	uf_vm_free(&stress);
}

int main(int argc, char *argv[])
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_USERFAULT));
	TEST_REQUIRE(kvm_check_cap(KVM_CAP_VM_TYPES) & BIT(KVM_X86_SW_PROTECTED_VM));

	return test_harness_run(argc, argv);
}
