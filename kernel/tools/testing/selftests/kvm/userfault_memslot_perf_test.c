// SPDX-License-Identifier: GPL-2.0-only
/*
 * What do operations on a memslot cost, next to how many others?
 *
 * To be run on kernels with and without KVM userfault, which nothing here uses.
 * Prints one JSON object for each operation, with the median of its times.
 */
#include <sys/mman.h>
#include <time.h>

#include "kvm_median.h"
#include "kvm_util.h"
#include "test_util.h"

#define SLOT_PAGES	256

static int nr_others = 1;
static int nr_iterations = 500;
static uint64_t page_size;
static uint64_t slot_size;
static void *mem;

/* Memslots lie in pairs of their size, so that there is a place to move to. */
static uint64_t slot_gpa(int slot)
{
	return 2 * slot * slot_size;
}

static void set_slot(struct kvm_vm *vm, int slot, uint32_t flags, uint64_t gpa,
		     uint64_t size)
{
	vm_set_user_memory_region(vm, slot, flags, gpa, size, mem);
}

static void create_slot(struct kvm_vm *vm, int slot)
{
	set_slot(vm, slot, 0, slot_gpa(slot), slot_size);
}

static void delete_slot(struct kvm_vm *vm, int slot)
{
	set_slot(vm, slot, 0, slot_gpa(slot), 0);
}

static void move_slot(struct kvm_vm *vm, int slot)
{
	set_slot(vm, slot, 0, slot_gpa(slot) + slot_size, slot_size);
}

static void log_dirty_pages(struct kvm_vm *vm, int slot)
{
	set_slot(vm, slot, KVM_MEM_LOG_DIRTY_PAGES, slot_gpa(slot), slot_size);
}

/* Each starts with what those above it have left. */
static const struct {
	const char *name;
	void (*func)(struct kvm_vm *vm, int slot);
} ops[] = {
	{ "create", create_slot },
	{ "dirty-log-on", log_dirty_pages },
	{ "dirty-log-off", create_slot },
	{ "move", move_slot },
	{ "delete", delete_slot },
};

int main(int argc, char *argv[])
{
	int64_t *ns[ARRAY_SIZE(ops)];
	struct timespec begin;
	struct kvm_vm *vm;
	int i, j, opt;

	while ((opt = getopt(argc, argv, "hs:i:")) != -1) {
		switch (opt) {
		case 's':
			nr_others = atoi_positive("Number of other slots", optarg);
			break;
		case 'i':
			nr_iterations = atoi_positive("Number of iterations", optarg);
			break;
		default:
			printf("usage: %s [-s OTHER-SLOTS] [-i ITERATIONS]\n", argv[0]);
			exit(opt == 'h' ? 0 : 1);
		}
	}

	page_size = getpagesize();
	slot_size = SLOT_PAGES * page_size;
	mem = mmap(NULL, slot_size, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	TEST_ASSERT(mem != MAP_FAILED, "mmap() failed: errno %d", errno);

	for (j = 0; j < ARRAY_SIZE(ops); j++) {
		ns[j] = calloc(nr_iterations, sizeof(*ns[j]));
		TEST_ASSERT(ns[j], "no memory for the times");
	}

	vm = vm_create_barebones();
	for (i = 0; i < nr_others; i++)
		create_slot(vm, i);

	for (i = 0; i < nr_iterations; i++) {
		for (j = 0; j < ARRAY_SIZE(ops); j++) {
			clock_gettime(CLOCK_MONOTONIC, &begin);
			ops[j].func(vm, nr_others);
			ns[j][i] = timespec_to_ns(timespec_elapsed(begin));
		}
	}

	kvm_vm_free(vm);

	for (j = 0; j < ARRAY_SIZE(ops); j++) {
		printf("{\"op\": \"%s\", \"slots\": %d, \"count\": %d, \"median_ns\": %ld}\n",
		       ops[j].name, nr_others, nr_iterations, kvm_median(ns[j], nr_iterations));
		free(ns[j]);
	}
	return 0;
}
