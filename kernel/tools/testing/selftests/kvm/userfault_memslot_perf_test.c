// SPDX-License-Identifier: GPL-2.0-only
/*
 * The cost of operations on a memslot, depending on the number of other memslots.
 *
 * Runs on kernels with and without KVM userfault.  Only -f uses userfault: it
 * measures switching it on for a large memslot, and then passing a new bitmap that
 * is as fragmented as possible, with one bit set in each word.
 *
 * Prints one JSON object for each operation, with the median of its times.
 */
#include <linux/sizes.h>
#include <sys/mman.h>
#include <time.h>

#include "kvm_median.h"
#include "kvm_util.h"
#include "processor.h"
#include "test_util.h"

#define SLOT_PAGES	256

static int nr_others = 1;
static int nr_iterations = 500;
static uint64_t page_size;
static uint64_t slot_size;
static void *mem;

/* Each memslot has room for another one after it, to which it can move. */
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

/* Each operation starts with the result of those above it. */
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

#define FRAGMENTED_SLOT	10
#define FRAGMENTED_GPA	SZ_4G

/* Let KVM map the first @size bytes of the memslot, all with the zero page. */
static void map_memory(struct kvm_vcpu *vcpu, uint64_t size)
{
	struct kvm_pre_fault_memory range = { .gpa = FRAGMENTED_GPA, .size = size };
	int r;

	while (range.size) {
		r = __vcpu_ioctl(vcpu, KVM_PRE_FAULT_MEMORY, &range);
		TEST_ASSERT(!r || errno == EINTR || errno == EAGAIN,
			    "KVM_PRE_FAULT_MEMORY failed: errno %d", errno);
	}
}

/* Make the change.  Returns the time it took, and the number of TLB flushes. */
static int64_t timed_set(struct kvm_vm *vm,
			 const struct kvm_userspace_memory_region2 *region,
			 uint64_t *flushes)
{
	uint64_t before = vm_get_stat(vm, "remote_tlb_flush_requests");
	struct timespec begin;
	int64_t ns;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	vm_ioctl(vm, KVM_SET_USER_MEMORY_REGION2, region);
	ns = timespec_to_ns(timespec_elapsed(begin));
	*flushes = vm_get_stat(vm, "remote_tlb_flush_requests") - before;
	return ns;
}

static void measure_fragmented(uint64_t size, uint64_t mapped)
{
	struct kvm_userspace_memory_region2 region = {
		.slot = FRAGMENTED_SLOT,
		.guest_phys_addr = FRAGMENTED_GPA,
		.memory_size = size,
	};
	static const char * const names[] = { "userfault-on", "userfault-other-bitmap" };
	unsigned long *bitmaps[2], i, nr_words = size / getpagesize() / (8 * sizeof(long));
	uint64_t flushes[2] = {};
	struct kvm_vcpu *vcpu;
	int64_t *ns[2];
	int j;
	struct kvm_vm *vm;

	TEST_REQUIRE(kvm_has_cap(KVM_CAP_USERFAULT));
	TEST_REQUIRE(!mapped || kvm_has_cap(KVM_CAP_PRE_FAULT_MEMORY));

	for (j = 0; j < 2; j++) {
		bitmaps[j] = calloc(nr_words, sizeof(*bitmaps[j]));
		ns[j] = calloc(nr_iterations, sizeof(*ns[j]));
		TEST_ASSERT(bitmaps[j] && ns[j], "no memory");
	}
	mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	TEST_ASSERT(mem != MAP_FAILED, "no memory: errno %d", errno);
	madvise(mem, size, MADV_NOHUGEPAGE);
	for (i = 0; i < nr_words; i++)
		bitmaps[1][i] = 1;

	vm = vm_create_with_one_vcpu(&vcpu, NULL);
	region.userspace_addr = (unsigned long)mem;
	vm_ioctl(vm, KVM_SET_USER_MEMORY_REGION2, &region);

	for (i = 0; i < nr_iterations; i++) {
		for (j = 0; j < 2; j++) {
			map_memory(vcpu, mapped);
			region.flags = KVM_MEM_USERFAULT;
			region.userfault_bitmap = (unsigned long)bitmaps[j];
			ns[j][i] = timed_set(vm, &region, &flushes[j]);
		}
		region.flags = 0;
		vm_ioctl(vm, KVM_SET_USER_MEMORY_REGION2, &region);
	}

	kvm_vm_free(vm);
	for (j = 0; j < 2; j++) {
		printf("{\"op\": \"%s\", \"gib\": %lu, \"mapped_mib\": %lu, \"count\": %d, \"median_ns\": %ld, \"flushes\": %lu}\n",
		       names[j], size / SZ_1G, mapped / SZ_1M, nr_iterations,
		       kvm_median(ns[j], nr_iterations), flushes[j]);
		free(bitmaps[j]);
		free(ns[j]);
	}
	munmap(mem, size);
}

int main(int argc, char *argv[])
{
	int64_t *ns[ARRAY_SIZE(ops)];
	struct timespec begin;
	struct kvm_vm *vm;
	uint64_t fragmented = 0, mapped = 0;
	int i, j, opt;

	while ((opt = getopt(argc, argv, "hf:i:m:s:")) != -1) {
		switch (opt) {
		case 's':
			nr_others = atoi_positive("Number of other slots", optarg);
			break;
		case 'i':
			nr_iterations = atoi_positive("Number of iterations", optarg);
			break;
		case 'f':
			fragmented = atoi_positive("GiB of the memslot", optarg) * (uint64_t)SZ_1G;
			break;
		case 'm':
			mapped = atoi_positive("MiB that are mapped", optarg) * (uint64_t)SZ_1M;
			break;
		default:
			printf("usage: %s [-s OTHER-SLOTS] [-i ITERATIONS]\n"
			       "       %s -f GIB [-m MAPPED-MIB] [-i ITERATIONS]\n",
			       argv[0], argv[0]);
			exit(opt == 'h' ? 0 : 1);
		}
	}

	if (fragmented) {
		measure_fragmented(fragmented, mapped);
		return 0;
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
