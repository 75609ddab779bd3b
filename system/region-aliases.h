/*
 * Which aliases there are of a MemoryRegion
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSTEM_REGION_ALIASES_H
#define SYSTEM_REGION_ALIASES_H

#include "exec/memory.h"
#include "qemu/queue.h"

/*
 * An alias is linked while something may be seen through it: while it is in a
 * container, is the root of a view, or is the original of another alias that is
 * linked.
 *
 * The links are not in the regions.  A device may initialize a region again in
 * place, without an end of it in between, and that clears all that is in it.
 *
 * All of this is called with the BQL held.
 */
typedef struct RegionAlias {
    MemoryRegion *mr;
    MemoryRegion *original;
    unsigned int uses;
    QLIST_ENTRY(RegionAlias) next;      /* of the same original */
} RegionAlias;

/**
 * region_aliases_use: something may be seen through a region
 * @mr: the region; nothing is done if it is not an alias
 *
 * Costs O(1).  To be undone by region_aliases_unuse().
 */
void region_aliases_use(MemoryRegion *mr);

/**
 * region_aliases_unuse: one thing less may be seen through a region
 * @mr: the region
 */
void region_aliases_unuse(MemoryRegion *mr);

/**
 * region_aliases_renew: a region has been initialized
 * @mr: the region; if it is in use, then as an alias of another region now
 */
void region_aliases_renew(MemoryRegion *mr);

/**
 * region_aliases_forget: a region ends
 * @mr: the region; its aliases, and what it is an alias of, may end before or
 *      after it
 */
void region_aliases_forget(MemoryRegion *mr);

/**
 * region_aliases_first: the first linked alias
 * @original: of this region
 *
 * Returns: the alias, or NULL; the others follow with QLIST_NEXT(, next).
 */
RegionAlias *region_aliases_first(const MemoryRegion *original);

#endif
