/*
 * The aliases of a MemoryRegion
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSTEM_MEMORY_ALIASES_H
#define SYSTEM_MEMORY_ALIASES_H

#include "exec/memory.h"
#include "qemu/queue.h"

/*
 * All functions are called with the BQL held.
 *
 * An alias is linked to its original while it may show it: while the alias is
 * in a container, is the root of a FlatView, or is itself the original of a
 * linked alias.
 *
 * The links are not in the regions.  A device may initialize a region a second
 * time in place, without finalizing it, and that clears all that is in it.
 */
typedef struct RegionAlias {
    MemoryRegion *mr;
    MemoryRegion *original;
    unsigned int uses;
    QLIST_ENTRY(RegionAlias) next;      /* of the same original */
} RegionAlias;

/**
 * region_aliases_use: link a region to its original, or count one more use
 * @mr: the region; nothing is done if it is not an alias
 *
 * Costs O(1).  Undo with region_aliases_unuse().
 */
void region_aliases_use(MemoryRegion *mr);

/**
 * region_aliases_unuse: count one use less, and unlink after the last one
 * @mr: the region
 */
void region_aliases_unuse(MemoryRegion *mr);

/**
 * region_aliases_renew: a region was initialized, maybe a second time
 * @mr: the region; if it is linked, it is linked to its new original
 */
void region_aliases_renew(MemoryRegion *mr);

/**
 * region_aliases_destroy: unlink a region, as an alias and as an original
 * @mr: the region; its aliases and its original may end before or after it
 */
void region_aliases_destroy(MemoryRegion *mr);

/**
 * region_aliases_first: get the first linked alias
 * @original: of this region
 *
 * Returns: the alias, or NULL; the others follow with QLIST_NEXT(, next).
 */
RegionAlias *region_aliases_first(const MemoryRegion *original);

#endif
