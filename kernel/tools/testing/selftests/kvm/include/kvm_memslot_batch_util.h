/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Lists of changes of memslots, for the tests of KVM_SET_USER_MEMORY_REGIONS.
 */
#ifndef SELFTEST_KVM_MEMSLOT_BATCH_UTIL_H
#define SELFTEST_KVM_MEMSLOT_BATCH_UTIL_H

#include <fcntl.h>
#include <sys/stat.h>

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

/* Write a file that is short, of sysfs for example. */
static inline bool mb_write(const char *path, const char *s)
{
	int fd = open(path, O_WRONLY);
	bool done;

	if (fd < 0)
		return false;
	done = write(fd, s, strlen(s)) == strlen(s);
	close(fd);
	return done;
}

/* How many warnings the kernel has given since it booted, if it counts them. */
static inline int mb_warnings(void)
{
	FILE *file = fopen("/sys/kernel/warn_count", "r");
	int nr = 0;

	if (file) {
		TEST_ASSERT(fscanf(file, "%d", &nr) == 1, "how many warnings?");
		fclose(file);
	}
	return nr;
}

/* The caller's errno stays; what is in the list stays, too. */
static inline int __mb_set(struct kvm_vm *vm, const struct mb_list *list, uint32_t flags,
			   uint32_t *failed)
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

/* Make all changes, and empty the list. */
static inline void mb_set(struct kvm_vm *vm, struct mb_list *list, uint32_t flags)
{
	uint32_t failed;
	int r = __mb_set(vm, list, flags, &failed);

	TEST_ASSERT(!r, "KVM_SET_USER_MEMORY_REGIONS failed at %u of %u: errno %d (%s)",
		    failed, list->nr, errno, strerror(errno));
	list->nr = 0;
}

/* The same by as many ioctls. */
static inline void mb_set_one_by_one(struct kvm_vm *vm, struct mb_list *list)
{
	for (uint32_t i = 0; i < list->nr; i++)
		vm_ioctl(vm, KVM_SET_USER_MEMORY_REGION2, &list->regions[i]);
	list->nr = 0;
}

#endif /* SELFTEST_KVM_MEMSLOT_BATCH_UTIL_H */
