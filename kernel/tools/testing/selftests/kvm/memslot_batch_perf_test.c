// SPDX-License-Identifier: GPL-2.0-only
/*
 * The cost of changing many memslots, in one list and one by one.
 *
 * Prints one JSON object for each operation and each way, with the median of its
 * times.  Each operation changes all memslots, except for "one", which moves a
 * single one among all the others.
 */
#include <pthread.h>
#include <sys/mman.h>
#include <time.h>

#include "kvm_memslot_batch_util.h"
#include "kvm_median.h"
#include "processor.h"
#include "ucall_common.h"

#define FIRST_SLOT	10
#define BASE_GPA	(1ull << 32)
#define SETTLE_NS	20000000

static int nr_slots = 509;
static int nr_iterations = 5;
static uint64_t page_size;
static uint8_t *mem;

/* Each memslot has room for a page after it, to which it can move. */
static void add_slot(struct mb_list *list, int i, uint64_t place)
{
	mb_add(list, FIRST_SLOT + i, 0, BASE_GPA + (2 * i + place) * page_size, page_size,
	       mem + i * page_size);
}

static void add_setup(struct mb_list *list)
{
	for (int i = 0; i < nr_slots; i++)
		add_slot(list, i, 0);
}

static void add_move(struct mb_list *list)
{
	for (int i = 0; i < nr_slots; i++)
		add_slot(list, i, 1);
}

static void add_one(struct mb_list *list)
{
	add_slot(list, nr_slots / 2, 0);
}

static void add_delete(struct mb_list *list)
{
	for (int i = 0; i < nr_slots; i++)
		mb_add(list, FIRST_SLOT + i, 0, 0, 0, NULL);
}

/* Each operation starts with the result of those above it. */
static const struct {
	const char *name;
	void (*add)(struct mb_list *list);
} ops[] = {
	{ "setup", add_setup },
	{ "move", add_move },
	{ "one", add_one },
	{ "delete", add_delete },
};

/*
 * Let the kernel finish deferred work of the previous operation.  Don't sleep: a
 * clock that counts instructions jumps meanwhile.  Then wake up SRCU, whose first
 * grace period after a pause waits for a clock tick.
 */
static void settle(struct kvm_vm *vm)
{
	struct timespec begin;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	while (timespec_to_ns(timespec_elapsed(begin)) < SETTLE_NS)
		sched_yield();

	for (int i = 0; i < 4; i++)
		vm_set_user_memory_region(vm, FIRST_SLOT - 1, 0, BASE_GPA - page_size,
					  i % 2 ? 0 : page_size, mem);
}

static bool guest_stop;

static void guest_code(void)
{
	while (!READ_ONCE(guest_stop))
		;
	GUEST_DONE();
}

static void *run_vcpu(void *vcpu)
{
	vcpu_run(vcpu);
	return NULL;
}

int main(int argc, char *argv[])
{
	int64_t *ns[ARRAY_SIZE(ops)][2];
	struct timespec begin;
	struct kvm_vcpu *vcpu;
	struct mb_list list;
	pthread_t thread;
	bool run = false;
	struct kvm_vm *vm;
	int i, j, batch, opt;

	while ((opt = getopt(argc, argv, "hrs:i:")) != -1) {
		switch (opt) {
		case 'r':
			run = true;
			break;
		case 's':
			nr_slots = atoi_positive("Number of slots", optarg);
			break;
		case 'i':
			nr_iterations = atoi_positive("Number of iterations", optarg);
			break;
		default:
			printf("usage: %s [-r] [-s SLOTS] [-i ITERATIONS]\n"
			       "-r runs a vCPU at the same time\n", argv[0]);
			exit(opt == 'h' ? 0 : 1);
		}
	}
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_MEMORY_REGIONS));
	TEST_ASSERT(nr_slots <= kvm_check_cap(KVM_CAP_NR_MEMSLOTS) - FIRST_SLOT,
		    "KVM doesn't have %d slots", nr_slots);

	page_size = getpagesize();
	mem = mmap(NULL, nr_slots * page_size, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	TEST_ASSERT(mem != MAP_FAILED, "mmap() failed: errno %d", errno);

	for (j = 0; j < ARRAY_SIZE(ops); j++) {
		for (batch = 0; batch < 2; batch++) {
			ns[j][batch] = calloc(nr_iterations, sizeof(*ns[j][batch]));
			TEST_ASSERT(ns[j][batch], "no memory for the times");
		}
	}

	vm = vm_create_with_one_vcpu(&vcpu, guest_code);
	mb_list_init(&list, nr_slots);
	if (run)
		pthread_create(&thread, NULL, run_vcpu, vcpu);

	/* Alternate, so that a disturbance slows both ways. */
	for (i = 0; i < 2 * nr_iterations; i++) {
		batch = i % 2;
		for (j = 0; j < ARRAY_SIZE(ops); j++) {
			ops[j].add(&list);
			settle(vm);
			clock_gettime(CLOCK_MONOTONIC, &begin);
			if (batch)
				mb_set(vm, &list, 0);
			else
				mb_set_one_by_one(vm, &list);
			ns[j][batch][i / 2] = timespec_to_ns(timespec_elapsed(begin));
		}
	}

	if (run) {
		guest_stop = true;
		sync_global_to_guest(vm, guest_stop);
		pthread_join(thread, NULL);
	}

	for (j = 0; j < ARRAY_SIZE(ops); j++) {
		for (batch = 0; batch < 2; batch++)
			printf("{\"op\": \"%s\", \"slots\": %d, \"batch\": %s, \"vcpu\": %s, \"count\": %d, \"median_ns\": %ld}\n",
			       ops[j].name, nr_slots, batch ? "true" : "false",
			       run ? "true" : "false", nr_iterations,
			       kvm_median(ns[j][batch], nr_iterations));
	}
	kvm_vm_free(vm);
	return 0;
}
