/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Lists of changes of memslots, for the tests of KVM_SET_USER_MEMORY_REGIONS.
 */
#ifndef SELFTEST_KVM_MEMSLOT_BATCH_UTIL_H
#define SELFTEST_KVM_MEMSLOT_BATCH_UTIL_H

#include <fcntl.h>
#include <sys/stat.h>

#include "kvm_host_files.h"
#include "kvm_util.h"
#include "test_util.h"

struct mb_list {
	struct kvm_userspace_memory_region2 *regions;
	uint32_t nr;
	uint32_t max;
};

static inline void mb_list_init(struct mb_list *list, uint32_t max)
{
	list->regions = calloc(max, sizeof(*list->regions));
	TEST_ASSERT(list->regions, "no memory for %u regions", max);
	list->max = max;
	list->nr = 0;
}

static inline void mb_list_free(struct mb_list *list)
{
	free(list->regions);
}

static inline struct kvm_userspace_memory_region2 *
mb_add(struct mb_list *list, uint32_t slot, uint32_t flags, uint64_t gpa, uint64_t size, void *hva)
{
	struct kvm_userspace_memory_region2 *region = &list->regions[list->nr++];

	TEST_ASSERT(list->nr <= list->max, "the list is full");
	*region = (struct kvm_userspace_memory_region2) {
		.slot = slot,
		.flags = flags,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (unsigned long)hva,
	};
	return region;
}

/* Try to make the changes once.  Leaves errno and the list to the caller. */
static inline int __mb_set_once(struct kvm_vm *vm, const struct mb_list *list,
				uint32_t flags, uint32_t *failed)
{
	struct kvm_user_memory_regions arg = {
		.nr = list->nr,
		.flags = flags,
		.regions = (unsigned long)list->regions,
		.failed = ~0u,
	};
	int r = __vm_ioctl(vm, KVM_SET_USER_MEMORY_REGIONS, &arg);

	if (failed)
		*failed = arg.failed;
	return r;
}

/*
 * Allocations that fail: each list is tried again and again.  In the n-th try, the
 * n-th of the kernel's allocations for it fails, until there are no more.  If a
 * list succeeds without one of them, the next list continues after that one.
 */
static void (*mb_failed_to_allocate)(void);	/* called after each failure; NULL: none fail */
static int mb_fail_nth_fd = -1;
static int mb_fail_nth_first = 1;

static inline void mb_fail_allocations(void (*failed)(void))
{
#define FAIL_ATTR(attr, value) __TEST_REQUIRE(write_file("/sys/kernel/debug/" attr, value), "no " attr)
	FAIL_ATTR("failslab/ignore-gfp-wait", "N");
	FAIL_ATTR("failslab/verbose", "0");
	FAIL_ATTR("fail_page_alloc/ignore-gfp-wait", "N");
	FAIL_ATTR("fail_page_alloc/min-order", "0");
	FAIL_ATTR("fail_page_alloc/verbose", "0");
#undef FAIL_ATTR
	mb_fail_nth_fd = open("/proc/thread-self/fail-nth", O_RDWR);
	__TEST_REQUIRE(mb_fail_nth_fd >= 0, "no /proc/thread-self/fail-nth");
	mb_failed_to_allocate = failed;
}

/*
 * Let the @n-th allocation from now on fail, or none if @n is 0.  Returns how many
 * were left of the last @n, which is 0 if that allocation has failed.
 */
static inline int mb_fail_nth(int n)
{
	char s[16] = "";
	int left;

	TEST_ASSERT(pread(mb_fail_nth_fd, s, sizeof(s) - 1, 0) > 0, "fail-nth: errno %d", errno);
	left = atoi(s);
	snprintf(s, sizeof(s), "%d", n);
	TEST_ASSERT(pwrite(mb_fail_nth_fd, s, strlen(s), 0) > 0, "fail-nth: errno %d", errno);
	return left;
}

static inline int __mb_set(struct kvm_vm *vm, const struct mb_list *list, uint32_t flags,
			   uint32_t *failed)
{
	int r, error, n;

	if (!mb_failed_to_allocate)
		return __mb_set_once(vm, list, flags, failed);

	for (n = mb_fail_nth_first; ; n++) {
		mb_fail_nth(n);
		r = __mb_set_once(vm, list, flags, failed);
		error = errno;
		if (mb_fail_nth(0)) {
			/* There are fewer than n allocations. */
			mb_fail_nth_first = 1;
			break;
		}
		if (!r || error != ENOMEM) {
			/*
			 * The kernel can do without that one: continue after it
			 * next time.  The caller handles any other error.
			 */
			mb_fail_nth_first = n + 1;
			break;
		}
		mb_failed_to_allocate();
	}
	errno = error;
	return r;
}

/* Make all changes in one step, and empty the list. */
static inline void mb_set(struct kvm_vm *vm, struct mb_list *list, uint32_t flags)
{
	uint32_t failed;
	int r = __mb_set(vm, list, flags, &failed);

	TEST_ASSERT(!r, "KVM_SET_USER_MEMORY_REGIONS failed at %u of %u: errno %d (%s)",
		    failed, list->nr, errno, strerror(errno));
	list->nr = 0;
}

/* Make all changes one by one, and empty the list. */
static inline void mb_set_one_by_one(struct kvm_vm *vm, struct mb_list *list)
{
	for (uint32_t i = 0; i < list->nr; i++)
		vm_ioctl(vm, KVM_SET_USER_MEMORY_REGION2, &list->regions[i]);
	list->nr = 0;
}

#endif /* SELFTEST_KVM_MEMSLOT_BATCH_UTIL_H */
