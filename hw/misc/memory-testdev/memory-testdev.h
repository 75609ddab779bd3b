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
 * memory_fuzz: make randomized changes of memory regions, and compare with a
 * model
 * @owner: owner of the regions
 * @seed: seed of the random numbers
 * @operations: number of changes
 * @errp: set to the first difference
 *
 * Compares after each memory transaction, for each of several address spaces:
 * which region is visible where, in the FlatView and for an access, also
 * through an IOMMU; each callback of a listener about a section; and the
 * ioeventfds and coalesced ranges that the listener knows.  Regions may begin
 * and end within a page.  Address spaces and regions end, and new ones begin.
 *
 * Context: BQL held, in no memory transaction.
 * Returns: false if there is a difference.
 */
bool memory_fuzz(Object *owner, uint32_t seed, uint32_t operations,
                 Error **errp);

#endif
