/*
 * A device for tests and benchmarks of the memory API
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_MISC_MEMORY_TESTDEV_H
#define HW_MISC_MEMORY_TESTDEV_H

#include "qom/object.h"

/**
 * memory_fuzz: change memory regions at random, and compare with a model
 * @owner: owner of the regions
 * @seed: for the random numbers
 * @operations: how many changes to make
 * @errp: the first difference
 *
 * What is compared, after each memory transaction: which region is seen at each
 * page, as the FlatView has it and as an access finds it, and each callback of
 * two listeners.
 *
 * Context: BQL held, in no memory transaction.
 * Returns: false if there was a difference.
 */
bool memory_fuzz(Object *owner, uint32_t seed, uint32_t operations,
                 Error **errp);

#endif
