/*
 * The guest's disk, used all the time
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef GUEST_DISK_H
#define GUEST_DISK_H

#include <stdint.h>

/*
 * disk_start: fill the start of /dev/vda, and begin to use it in a thread of
 * its own
 *
 * Return: 0, or -1
 */
int disk_start(void);

/* disk_ops, disk_bad: requests made since, and pages that were wrong */
uint64_t disk_ops(void);
uint64_t disk_bad(void);

#endif
