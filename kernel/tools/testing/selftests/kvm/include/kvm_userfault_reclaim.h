/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory reclaim on demand: swap, and a cgroup that gives up memory.
 *
 * This changes the host for the time of the test.  Unless SIGKILL ends the test,
 * the changes are undone.
 */
#ifndef SELFTEST_KVM_USERFAULT_RECLAIM_H
#define SELFTEST_KVM_USERFAULT_RECLAIM_H

#include <fcntl.h>
#include <linux/loop.h>
#include <linux/sizes.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/swap.h>

#include "kvm_host_files.h"
#include "kvm_util.h"
#include "processor.h"
#include "test_util.h"

/* Swap in memory: a loop device over a memfd. */
#define SWAP_SIZE	(64ul * SZ_1M)

static char swap_path[64];
static int swap_loop = -1;
static bool swap_is_on;

/* Write a swap header, like mkswap(8), and lock the swap's own memory. */
static inline bool make_swap(int fd)
{
	const uint32_t header[] = { 1 /* version */, SWAP_SIZE / PAGE_SIZE - 1 };
	void *p;

	TEST_ASSERT(!ftruncate(fd, SWAP_SIZE), "ftruncate() failed: errno %d", errno);
	TEST_ASSERT(pwrite(fd, header, sizeof(header), 1024) == sizeof(header) &&
		    pwrite(fd, "SWAPSPACE2", 10, PAGE_SIZE - 10) == 10,
		    "pwrite() failed: errno %d", errno);

	p = mmap(NULL, SWAP_SIZE, PROT_READ, MAP_SHARED, fd, 0);
	TEST_ASSERT(p != MAP_FAILED, "mmap() of the swap failed: errno %d", errno);
	return !mlock(p, SWAP_SIZE);
}

static inline bool swap_on(void)
{
	/* The loop device goes away with the last file descriptor. */
	struct loop_config config = { .info.lo_flags = LO_FLAGS_AUTOCLEAR };
	int control, nr;
	bool done;

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

	config.fd = memfd_create("swap", 0);
	TEST_ASSERT(config.fd >= 0, "memfd_create() failed: errno %d", errno);
	done = make_swap(config.fd) && !ioctl(swap_loop, LOOP_CONFIGURE, &config);
	close(config.fd);

	swap_is_on = done && !swapon(swap_path, 0);
	return swap_is_on;
}

static inline void swap_off(void)
{
	if (swap_is_on)
		swapoff(swap_path);
	close(swap_loop);
}

/* The binary logarithm of the number of pages that are read from swap at a time. */
#define PAGE_CLUSTER	"/proc/sys/vm/page-cluster"

static char page_cluster[16];

/* Swap in nothing but the page that is needed. */
static inline bool readahead_off(void)
{
	return read_file(PAGE_CLUSTER, page_cluster, sizeof(page_cluster)) &&
	       write_file(PAGE_CLUSTER, "0");
}

static inline void readahead_restore(void)
{
	if (*page_cluster)
		write_file(PAGE_CLUSTER, page_cluster);
}

/* A cgroup for the test and all its memory, which can be reclaimed on demand. */
#define CGROUP_ROOT	"/sys/fs/cgroup"
#define CGROUP		CGROUP_ROOT "/userfault_reclaim_test"

/* cgroup.procs of the cgroup that the test came from. */
static char cgroup_before[PATH_MAX];
static bool cgroup_memory_was_off;

static inline bool cgroup_find(void)
{
	char line[PATH_MAX / 2];

	/* With cgroup v1 there are more lines, and the first one is different. */
	if (!read_file("/proc/self/cgroup", line, sizeof(line)) ||
	    strncmp(line, "0::/", 4))
		return false;
	line[strcspn(line, "\n")] = 0;
	snprintf(cgroup_before, sizeof(cgroup_before),
		 CGROUP_ROOT "%s/cgroup.procs", line + 3);
	return !access(cgroup_before, W_OK);
}

static inline bool cgroup_enter(void)
{
	char controllers[1000] = "";

	if (!cgroup_find())
		return false;
	read_file(CGROUP_ROOT "/cgroup.subtree_control", controllers,
		  sizeof(controllers));
	cgroup_memory_was_off = !strstr(controllers, "memory") &&
		write_file(CGROUP_ROOT "/cgroup.subtree_control", "+memory");
	mkdir(CGROUP, 0755);
	return !access(CGROUP "/memory.reclaim", W_OK) &&
	       write_file(CGROUP "/cgroup.procs", "0");
}

static inline void cgroup_leave(void)
{
	int tries = 1000;

	if (!*cgroup_before)
		return;
	write_file(cgroup_before, "0");
	/* A signal may have ended this process while a test was running. */
	write_file(CGROUP "/cgroup.kill", "1");
	while (rmdir(CGROUP) && errno == EBUSY && tries--)
		usleep(1000);
	if (cgroup_memory_was_off)
		write_file(CGROUP_ROOT "/cgroup.subtree_control", "-memory");
}

static pid_t reclaim_owner;

/* The harness runs each test in a child process, and some of them call exit(). */
static inline void reclaim_clean_up(void)
{
	if (getpid() == reclaim_owner) {
		cgroup_leave();
		readahead_restore();
		swap_off();
	}
}

static inline void reclaim_end(int sig)
{
	reclaim_clean_up();
	_exit(128 + sig);
}

/* Call this before allocating the memory that is to be reclaimed. */
static inline void reclaim_set_up(void)
{
	reclaim_owner = getpid();
	atexit(reclaim_clean_up);
	signal(SIGINT, reclaim_end);
	signal(SIGTERM, reclaim_end);
	__TEST_REQUIRE(swap_on(), "no swap can be made");
	__TEST_REQUIRE(readahead_off(), "swap readahead can't be switched off");
	__TEST_REQUIRE(cgroup_enter(), "no cgroup whose memory can be reclaimed");
}

/* Reclaim pages that have been written to swap, then those that are used least. */
static inline void reclaim_some(void)
{
	/* Fails if the cgroup has less to reclaim. */
	write_file(CGROUP "/memory.reclaim", "256K");
}

#endif /* SELFTEST_KVM_USERFAULT_RECLAIM_H */
