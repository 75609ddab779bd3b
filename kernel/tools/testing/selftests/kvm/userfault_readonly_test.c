// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM userfault on a memslot with KVM_MEM_READONLY, while dirty logging and
 * userfault are switched on and off.  Reads exit for the page; writes exit for the
 * page first, and then as MMIO.
 */
#include <pthread.h>

#include "kvm_test_harness.h"
#include "kvm_userfault_util.h"

#define NR_PAGES	8

static void make_readonly(struct uf_vm *uf)
{
	uf_delete_slot(uf);
	uf_set_slot(uf, KVM_MEM_READONLY);
}

FIXTURE(readonly) {
	struct uf_vm uf;
};

/* Userfault is switched on, or was on before and gets a new bitmap. */
FIXTURE_VARIANT(readonly) {
	bool on;
};

FIXTURE_VARIANT_ADD(readonly, switched_on) { .on = false };
FIXTURE_VARIANT_ADD(readonly, other_bitmap) { .on = true };

FIXTURE_SETUP(readonly)
{
	uf_vm_init(&self->uf, 1, uf_guest_code, VM_MEM_SRC_ANONYMOUS);
	make_readonly(&self->uf);
}

FIXTURE_TEARDOWN(readonly)
{
	uf_vm_free(&self->uf);
}

static void write_is_mmio(struct uf_vm *uf, int page)
{
	struct kvm_run *run = uf->vcpus[0]->run;

	vcpu_run(uf->vcpus[0]);
	TEST_ASSERT_EQ(run->exit_reason, KVM_EXIT_MMIO);
	TEST_ASSERT(run->mmio.is_write, "the guest wrote");
	TEST_ASSERT_EQ(run->mmio.phys_addr, UF_GPA + page * PAGE_SIZE + UF_DATA_OFFSET);
	uf_run_done(uf, 0, 0);
}

/* @from and @to are the flag for dirty logging before and after. */
static void test_exits(struct uf_vm *uf, bool on, uint32_t from, uint32_t to)
{
	unsigned long *first = uf->bitmap;
	int page;

	uf_clear_all(uf);
	uf_set_slot(uf, KVM_MEM_READONLY | from | (on ? KVM_MEM_USERFAULT : 0));
	for (page = 0; page < NR_PAGES; page++)
		uf_access(uf, 0, UF_READ, page);

	uf->bitmap = uf_bitmap_alloc();
	uf_set_all(uf);
	uf_set_slot(uf, KVM_MEM_READONLY | to | KVM_MEM_USERFAULT);
	uf_bitmap_free(first);
	for (page = 0; page < NR_PAGES; page++) {
		if (page % 2) {
			uf_access_exits(uf, 0, UF_READ, page);
			continue;
		}
		uf_prepare(uf, 0, UF_WRITE, page);
		uf_run_exits(uf, 0, page);
		uf_clear_bit(uf, page);
		write_is_mmio(uf, page);
		uf_access(uf, 0, UF_READ, page);
	}

	uf_prepare(uf, 0, UF_WRITE, NR_PAGES);
	uf_run_exits(uf, 0, NR_PAGES);
	uf_set_slot(uf, KVM_MEM_READONLY | from);
	write_is_mmio(uf, NR_PAGES);
	for (page = NR_PAGES; page < 2 * NR_PAGES; page++)
		uf_access(uf, 0, UF_READ, page);
}

TEST_F(readonly, exits)
{
	test_exits(&self->uf, variant->on, 0, 0);
	test_exits(&self->uf, variant->on, 0, KVM_MEM_LOG_DIRTY_PAGES);
	test_exits(&self->uf, variant->on, KVM_MEM_LOG_DIRTY_PAGES, KVM_MEM_LOG_DIRTY_PAGES);
	test_exits(&self->uf, variant->on, KVM_MEM_LOG_DIRTY_PAGES, 0);
}

/*
 * vCPUs read and write all pages while the flags and the bitmap change.  Pages are
 * poisoned from when they are marked until they are served.
 */
#define STRESS_PAGES	64
#define POISON		0xdead0000dead0000ull

static struct uf_vm stress;
static bool stop;

/* Held for serving a page, and for changing the flags or the bitmap. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t nr_exits, nr_mmio;

static uint64_t *guest_data(int page)
{
	return (uint64_t *)(UF_GVA_4K + page * PAGE_SIZE + UF_DATA_OFFSET);
}

static void stress_guest_code(int id)
{
	int n, page;

	while (!READ_ONCE(stop)) {
		for (n = 0; n < STRESS_PAGES; n++) {
			/* Each vCPU has its own order, so that they often meet. */
			page = (n * (2 * id + 1) + id) % STRESS_PAGES;
			if (n % 8 == 0)
				WRITE_ONCE(*guest_data(page), n);
			GUEST_ASSERT_EQ(READ_ONCE(*guest_data(page)), uf_content(page));
		}
	}

	GUEST_DONE();
}

static void set_data(int page, uint64_t value)
{
	WRITE_ONCE(*(uint64_t *)(uf_page_hva(&stress, page) + UF_DATA_OFFSET), value);
}

static void serve(int page)
{
	if (uf_test_bit(&stress, page)) {
		set_data(page, uf_content(page));
		uf_clear_bit(&stress, page);
	}
}

static void *stress_vcpu(void *arg)
{
	int id = (unsigned long)arg;
	struct kvm_vcpu *vcpu = stress.vcpus[id];
	struct kvm_run *run = vcpu->run;
	int r, page = 0;

	for (;;) {
		r = _vcpu_run(vcpu);
		if (!r && run->exit_reason != KVM_EXIT_MMIO)
			break;
		if (r)
			page = uf_assert_exit(&stress, id, r);

		pthread_mutex_lock(&lock);
		if (!r) {
			TEST_ASSERT(run->mmio.is_write, "a read should not be MMIO");
			nr_mmio++;
		} else {
			serve(page);
			nr_exits++;
		}
		pthread_mutex_unlock(&lock);
	}
	uf_guest_done(&stress, id);

	return NULL;
}

static void change_at_random(struct guest_random_state *rng)
{
	uint32_t flags = KVM_MEM_READONLY;
	unsigned long *old = stress.bitmap;
	int page;

	if (guest_random_bool(rng))
		flags |= KVM_MEM_LOG_DIRTY_PAGES;

	if (guest_random_u32(rng) % 4 == 0) {
		for (page = 0; page < STRESS_PAGES; page++)
			serve(page);
		uf_set_slot(&stress, flags);
		return;
	}

	stress.bitmap = uf_bitmap_alloc();
	uf_set_all(&stress);
	uf_set_slot(&stress, flags | KVM_MEM_USERFAULT);
	for (page = 0; page < STRESS_PAGES; page++)
		set_data(page, POISON);
	uf_bitmap_free(old);
}

FIXTURE(race) {};
FIXTURE_SETUP(race) {}
FIXTURE_TEARDOWN(race) {}

TEST_F_TIMEOUT(race, vcpus_and_updates, UF_TIMEOUT)
{
	struct guest_random_state rng = new_guest_random_state(1);
	pthread_t threads[UF_MAX_VCPUS];
	unsigned long id;
	int round;

	uf_vm_init(&stress, UF_MAX_VCPUS, stress_guest_code, VM_MEM_SRC_ANONYMOUS);
	make_readonly(&stress);
	for (id = 0; id < UF_MAX_VCPUS; id++)
		uf_start_thread(&threads[id], stress_vcpu, (void *)id);

	for (round = 0; round < 200; round++) {
		pthread_mutex_lock(&lock);
		change_at_random(&rng);
		pthread_mutex_unlock(&lock);
		usleep(guest_random_u32(&rng) % 5000);
	}

	stop = true;
	sync_global_to_guest(stress.vm, stop);
	for (id = 0; id < UF_MAX_VCPUS; id++)
		pthread_join(threads[id], NULL);

	TEST_ASSERT(nr_exits, "no exit: userfault wasn't on");
	TEST_ASSERT(nr_mmio, "no MMIO: the memslot wasn't read-only");
	pr_info("%lu userfault exits, %lu MMIO exits\n", nr_exits, nr_mmio);
	uf_vm_free(&stress);
}

int main(int argc, char *argv[])
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_USERFAULT));
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_READONLY_MEM));

	return test_harness_run(argc, argv);
}
