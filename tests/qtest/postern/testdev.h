/*
 * Start a QEMU with a memory-testdev, and change its regions
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef POSTERN_TESTDEV_H
#define POSTERN_TESTDEV_H

#include "libqtest.h"
#include "qemu/units.h"

/* Address of its first region, distance between regions, and their size */
#define TESTDEV_BASE (64 * GiB)
#define TESTDEV_STRIDE (8 * KiB)
#define TESTDEV_SIZE (4 * KiB)

/**
 * testdev_start: start a QEMU with a memory-testdev
 * @regions: number of regions
 * @options: more options of the command line
 */
QTestState *testdev_start(unsigned int regions, const char *options);

/**
 * testdev_try: run x-memory-testdev-run
 * @steps: a JSON array
 * @transaction: use one transaction for all, or one for each region?
 *
 * Returns: the response; free with qobject_unref().
 */
QDict *testdev_try(QTestState *qts, const char *steps, bool transaction);

/**
 * testdev_run: run x-memory-testdev-run, which must succeed
 * @changes: expected number of changes
 * @transaction: as above
 * @steps: as above
 *
 * Returns: how long it took, in ns.
 */
uint64_t testdev_run(QTestState *qts, uint64_t changes, bool transaction,
                     const char *steps);

#endif
