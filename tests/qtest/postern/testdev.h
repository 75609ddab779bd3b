/*
 * QEMU with a memory-testdev
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef POSTERN_TESTDEV_H
#define POSTERN_TESTDEV_H

#include "libqtest.h"
#include "qemu/units.h"

/* Where its regions belong, how far apart, and their size */
#define TESTDEV_BASE (64 * GiB)
#define TESTDEV_STRIDE (8 * KiB)
#define TESTDEV_SIZE (4 * KiB)

/**
 * testdev_start: start a QEMU that has one
 * @regions: how many regions it has
 * @options: more for the command line
 */
QTestState *testdev_start(unsigned int regions, const char *options);

/**
 * testdev_try: x-memory-testdev-run
 * @steps: a JSON array
 * @transaction: all in one, or one for each region?
 *
 * Returns: the response, to be unreferenced.
 */
QDict *testdev_try(QTestState *qts, const char *steps, bool transaction);

/**
 * testdev_run: x-memory-testdev-run, which must succeed
 * @changes: how many regions must have been dealt with
 * @transaction: as above
 * @steps: as above
 *
 * Returns: the nanoseconds it took.
 */
uint64_t testdev_run(QTestState *qts, uint64_t changes, bool transaction,
                     const char *steps);

#endif
