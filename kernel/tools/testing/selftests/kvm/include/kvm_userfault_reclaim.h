/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory reclaim at will, for tests: swap, and a cgroup that gives up memory.
 */
#ifndef SELFTEST_KVM_USERFAULT_RECLAIM_H
#define SELFTEST_KVM_USERFAULT_RECLAIM_H

#include <fcntl.h>
#include <linux/loop.h>
#include <linux/sizes.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/swap.h>

#include "kvm_util.h"
#include "processor.h"
#include "test_util.h"

/* Swap, in memory: a loop device over a memfd. */
#define SWAP_SIZE	(64ul * SZ_1M)

static char swap_path[64];
static int swap_loop;

/* What mkswap(8) writes. */
static inline void make_swap(int fd)
{
	const uint32_t header[] = { 1 /* version */, SWAP_SIZE / PAGE_SIZE - 1 };

	TEST_ASSERT(!ftruncate(fd, SWAP_SIZE), "ftruncate() failed: errno %d", errno);
	TEST_ASSERT(pwrite(fd, header, sizeof(header), 1024) == sizeof(header) &&
		    pwrite(fd, "SWAPSPACE2", 10, PAGE_SIZE - 10) == 10,
		    "pwrite() failed: errno %d", errno);
}

static inline bool swap_on(void)
{
	int control, nr, fd;

	control = open("/dev/loop-control", O_RDWR);
	if (control < 0)
		return false;
	nr = ioctl(control, LOOP_CTL_GET_FREE);
	close(control);
	if (nr < 0)
		return false;

	snprintf(swap_path, sizeof(swap_path), "/dev/loop%d", nr);
	swap_loop = open(swap_path, O_RDWR);
	if (swap_loop < 0)
		return false;

	fd = memfd_create("swap", 0);
	make_swap(fd);
	if (ioctl(swap_loop, LOOP_SET_FD, fd))
		return false;
	close(fd);

	if (!swapon(swap_path, 0))
		return true;
	ioctl(swap_loop, LOOP_CLR_FD);
	return false;
}

static inline void swap_off(void)
{
	swapoff(swap_path);
	ioctl(swap_loop, LOOP_CLR_FD);
}

static inline bool write_file(const char *path, const char *s)
{
	int fd = open(path, O_WRONLY);
	bool done;

	if (fd < 0)
		return false;
	done = write(fd, s, strlen(s)) == strlen(s);
	close(fd);
	return done;
}

/* How much is read from swap at a time: 2 to the power of this, in pages. */
#define PAGE_CLUSTER	"/proc/sys/vm/page-cluster"

static char page_cluster[16];

/* Only what is asked for shall come back. */
static inline bool readahead_off(void)
{
	int fd = open(PAGE_CLUSTER, O_RDONLY);
	bool done;

	if (fd < 0)
		return false;
	done = read(fd, page_cluster, sizeof(page_cluster) - 1) > 0;
	close(fd);
	return done && write_file(PAGE_CLUSTER, "0");
}

/* A cgroup for the test and all its memory, which can be told to shrink. */
#define CGROUP_ROOT	"/sys/fs/cgroup"
#define CGROUP		CGROUP_ROOT "/userfault_reclaim_test"

static inline bool cgroup_enter(void)
{
	write_file(CGROUP_ROOT "/cgroup.subtree_control", "+memory");
	mkdir(CGROUP, 0755);
	return !access(CGROUP "/memory.reclaim", W_OK) &&
	       write_file(CGROUP "/cgroup.procs", "0");
}

static inline void cgroup_leave(void)
{
	write_file(CGROUP_ROOT "/cgroup.procs", "0");
	rmdir(CGROUP);
}

static pid_t reclaim_owner;

/* Each test of a harness is a process of its own, and some end with exit(). */
static inline void reclaim_clean_up(void)
{
	if (getpid() == reclaim_owner) {
		cgroup_leave();
		write_file(PAGE_CLUSTER, page_cluster);
		swap_off();
	}
}

/* Before the test has any memory that is to be reclaimed. */
static inline void reclaim_set_up(void)
{
	__TEST_REQUIRE(swap_on(), "no swap can be made");
	reclaim_owner = getpid();
	atexit(reclaim_clean_up);
	__TEST_REQUIRE(readahead_off(), "swap readahead can't be switched off");
	__TEST_REQUIRE(cgroup_enter(), "no cgroup whose memory can be reclaimed");
}

/* What has been written to swap goes, and then whatever is used least. */
static inline void reclaim_some(void)
{
	/* It may not find as much. */
	write_file(CGROUP "/memory.reclaim", "256K");
}

#endif /* SELFTEST_KVM_USERFAULT_RECLAIM_H */
