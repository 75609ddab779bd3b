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
 * What is compared, after each memory transaction and for each of several
 * address spaces: which region is seen where, as the FlatView has it and as an
 * access finds it, also through an IOMMU; each callback of a listener about a
 * section; and which ioeventfds and coalesced ranges the listener knows of.
 * Regions may begin and end within a page.  Address spaces and regions end, and
 * others take their place.
 *
 * Context: BQL held, in no memory transaction.
 * Returns: false if there was a difference.
 */
bool memory_fuzz(Object *owner, uint32_t seed, uint32_t operations,
                 Error **errp);

#endif
