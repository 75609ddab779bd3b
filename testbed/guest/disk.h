/*
 * Uses the guest's disk all the time
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef GUEST_DISK_H
#define GUEST_DISK_H

#include <stdint.h>

/*
 * disk_start: fill the start of /dev/vda, and start a thread that uses it
 *
 * Return: 0, or -1 on error
 */
int disk_start(void);

/* disk_ops, disk_bad: number of requests since then, and of wrong pages */
uint64_t disk_ops(void);
uint64_t disk_bad(void);

#endif
