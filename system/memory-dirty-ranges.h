/*
 * Dirty ranges: the parts of FlatViews that must be rendered again
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSTEM_MEMORY_DIRTY_RANGES_H
#define SYSTEM_MEMORY_DIRTY_RANGES_H

#include "exec/memory.h"
#include "qemu/int128.h"

/*
 * All functions are called with the BQL held.
 *
 * A change of a MemoryRegion marks the addresses where the region is visible,
 * in each FlatView that shows it: dirty_ranges_add().  The next memory
 * transaction that updates the FlatViews renders the dirty ranges.
 */

/* Addresses of a FlatView: @start <= address < @end */
typedef struct DirtyRange {
    Int128 start;
    Int128 end;
} DirtyRange;

/**
 * dirty_ranges_add_subregion: mark the place of a subregion dirty
 * @mr: the container
 * @subregion: has an address in @mr, whether or not it is inserted
 */
void dirty_ranges_add_subregion(MemoryRegion *mr,
                                const MemoryRegion *subregion);

/**
 * dirty_ranges_begin: start to collect, or start anew with no dirty ranges
 * @root: the root of a FlatView; nothing is done if it is NULL
 */
void dirty_ranges_begin(MemoryRegion *root);

/**
 * dirty_ranges_end: stop collecting
 * @root: as for dirty_ranges_begin(), which has been called; if the region was
 *        initialized again after that, its dirty ranges are gone
 */
void dirty_ranges_end(MemoryRegion *root);

/**
 * dirty_ranges_collapse: replace dirty ranges by one that covers them all
 * @ranges: an array of DirtyRange, not empty
 */
void dirty_ranges_collapse(GArray *ranges);

#endif
