/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Short files of the host's kernel, in sysfs, procfs and the like.
 */
#ifndef SELFTEST_KVM_HOST_FILES_H
#define SELFTEST_KVM_HOST_FILES_H

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "test_util.h"

/* Returns false if the file is not there, or refuses @s. */
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

/* Read the file into @s.  Returns false if it is not there, or is empty. */
static inline bool read_file(const char *path, char *s, size_t size)
{
	int fd = open(path, O_RDONLY);
	ssize_t len;

	if (fd < 0)
		return false;
	len = read(fd, s, size - 1);
	close(fd);
	s[len > 0 ? len : 0] = 0;
	return len > 0;
}

/* The number of warnings (WARN_ON() and the like) since the kernel booted. */
static inline int kernel_warnings(void)
{
	char s[16];

	TEST_ASSERT(read_file("/sys/kernel/warn_count", s, sizeof(s)),
		    "can't read /sys/kernel/warn_count: errno %d", errno);
	return atoi(s);
}

#endif /* SELFTEST_KVM_HOST_FILES_H */
