/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory whose pages are missing until a test places them: a test can make any
 * reader wait, KVM included.
 */
#ifndef SELFTEST_KVM_USERFAULT_MISSING_H
#define SELFTEST_KVM_USERFAULT_MISSING_H

#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "kvm_userfault_util.h"
#include "kvm_util.h"
#include "processor.h"
#include "test_util.h"

/* Drop all pages of a range.  Returns a userfaultfd for it, or -1 without support. */
static inline int missing_register(void *hva, size_t len)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range.start = (unsigned long)hva,
		.range.len = len,
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	int uffd = syscall(__NR_userfaultfd, O_CLOEXEC);

	if (uffd < 0)
		return -1;

	TEST_ASSERT(!madvise(hva, len, MADV_DONTNEED),
		    "madvise() failed: errno %d", errno);
	TEST_ASSERT(!ioctl(uffd, UFFDIO_API, &api),
		    "UFFDIO_API failed: errno %d", errno);
	TEST_ASSERT(!ioctl(uffd, UFFDIO_REGISTER, &reg),
		    "UFFDIO_REGISTER failed: errno %d", errno);
	return uffd;
}

/* Wait until somebody reads the page at @hva, and has to wait for it. */
static inline void missing_wait(int uffd, void *hva)
{
	struct pollfd pollfd = { .fd = uffd, .events = POLLIN };
	struct uffd_msg msg;

	TEST_ASSERT(poll(&pollfd, 1, 10000) == 1, "nobody waits for the page");
	test_read(uffd, &msg, sizeof(msg));
	TEST_ASSERT_EQ(msg.event, UFFD_EVENT_PAGEFAULT);
	TEST_ASSERT_EQ(msg.arg.pagefault.address & ~(PAGE_SIZE - 1ull), (unsigned long)hva);
}

static inline void missing_place(int uffd, void *hva, const void *content)
{
	struct uffdio_copy copy = {
		.dst = (unsigned long)hva,
		.src = (unsigned long)content,
		.len = PAGE_SIZE,
	};

	TEST_ASSERT(!ioctl(uffd, UFFDIO_COPY, &copy), "UFFDIO_COPY failed: errno %d", errno);
}

#endif /* SELFTEST_KVM_USERFAULT_MISSING_H */
