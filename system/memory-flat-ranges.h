/*
 * The ranges of a FlatView: sorted, immutable, and shared between FlatViews
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSTEM_MEMORY_FLAT_RANGES_H
#define SYSTEM_MEMORY_FLAT_RANGES_H

#include "exec/hwaddr.h"
#include "exec/memory.h"
#include "qemu/int128.h"

/* Signed: an alias with a large offset has a negative base */
typedef struct AddrRange {
    Int128 start;
    Int128 size;
} AddrRange;

/* A part of a MemoryRegion, and the addresses of a FlatView that show it */
struct FlatRange {
    MemoryRegion *mr;
    hwaddr offset_in_region;
    AddrRange addr;
    uint8_t dirty_log_mask;
    bool romd_mode;
    bool readonly;
    bool nonvolatile;
    bool unmergeable;
};

static inline hwaddr flat_range_first(const FlatRange *fr)
{
    return int128_getlo(fr->addr.start);
}

/* The last address; a range may end at 2^64 */
static inline hwaddr flat_range_last(const FlatRange *fr)
{
    return int128_getlo(fr->addr.start) + int128_getlo(fr->addr.size) - 1;
}

/**
 * flatrange_equal: compare two ranges, except for their dirty_log_mask
 * @a: a range
 * @b: another range
 *
 * Returns: true if listeners keep the range, and hear of its log at most.
 */
bool flatrange_equal(const FlatRange *a, const FlatRange *b);

/**
 * struct FlatRanges - disjoint ranges in the order of their addresses
 *
 * Immutable.  The next FlatRanges is built from this one and shares the
 * unchanged ranges with it, in chunks of a few hundred ranges.  So building it
 * costs what changed, plus one pointer for each chunk.  Both hold a reference
 * to the MemoryRegion of each of their ranges.
 */
typedef struct FlatRanges FlatRanges;

/**
 * flat_ranges_nr: count ranges
 * @ranges: the ranges, or NULL for none
 */
unsigned int flat_ranges_nr(const FlatRanges *ranges);

/**
 * flat_ranges_free: free ranges
 * @ranges: the ranges, or NULL; chunks that another FlatRanges shares stay
 *
 * Context: any thread.
 */
void flat_ranges_free(FlatRanges *ranges);

/**
 * flat_ranges_find: find the range that contains an address
 * @ranges: where to look, in O(log n)
 * @addr: the address
 *
 * Returns: the range, or NULL.
 */
const FlatRange *flat_ranges_find(const FlatRanges *ranges, hwaddr addr);

/* A position in FlatRanges */
typedef struct FlatRangesIter {
    const FlatRanges *ranges;
    unsigned int chunk;
    unsigned int pos;
} FlatRangesIter;

/**
 * flat_ranges_iter_init: go to an address
 * @iter: to be initialized, in O(log n)
 * @ranges: where to look; NULL for none
 * @addr: the address
 *
 * Returns: the first range that ends at @addr or above, or NULL.
 */
const FlatRange *flat_ranges_iter_init(FlatRangesIter *iter,
                                       const FlatRanges *ranges, hwaddr addr);

/**
 * flat_ranges_iter_get: get the range at a position
 * @iter: from flat_ranges_iter_init()
 *
 * Returns: the range, or NULL at the end.
 */
const FlatRange *flat_ranges_iter_get(const FlatRangesIter *iter);

/**
 * flat_ranges_iter_next: go to the next range
 * @iter: not at the end
 *
 * Returns: the range, or NULL at the end.
 */
const FlatRange *flat_ranges_iter_next(FlatRangesIter *iter);

/**
 * flat_ranges_iter_step: get the range at a position, and go to the next one
 * @iter: from flat_ranges_iter_init(), or zeros except for @ranges
 *
 * Returns: the range, or NULL at the end.
 */
const FlatRange *flat_ranges_iter_step(FlatRangesIter *iter);

/**
 * flat_ranges_iter_get_below: get the range at a position, up to an address
 * @iter: from flat_ranges_iter_init()
 * @end: the address
 *
 * Returns: the range if it begins below @end; otherwise, or at the end, NULL.
 */
const FlatRange *flat_ranges_iter_get_below(const FlatRangesIter *iter,
                                            Int128 end);

#define FLAT_RANGES_FOREACH(fr, iter, ranges)                   \
    for ((fr) = flat_ranges_iter_init((iter), (ranges), 0); (fr); \
         (fr) = flat_ranges_iter_next(iter))

/**
 * struct FlatRangesBuilder - builds FlatRanges from old ranges and new ones
 *
 * It goes from the lowest address up.  flat_ranges_builder_keep() copies old
 * ranges, flat_ranges_builder_skip() leaves some out, and
 * flat_ranges_builder_add() adds a new one.
 */
typedef struct FlatRangesBuilder {
    FlatRangesIter old;
    GArray *index;
    FlatRange *pending;         /* not yet in a chunk */
    unsigned int nr_pending;
    unsigned int nr;
} FlatRangesBuilder;

/**
 * flat_ranges_builder_init: begin to build
 * @builder: to be initialized
 * @old: the old ranges, or NULL for none; they must stay until the end
 */
void flat_ranges_builder_init(FlatRangesBuilder *builder,
                              const FlatRanges *old);

/**
 * flat_ranges_builder_keep: copy the next old ranges
 * @builder: the builder
 * @end: all that begin below this address
 */
void flat_ranges_builder_keep(FlatRangesBuilder *builder, Int128 end);

/**
 * flat_ranges_builder_skip: leave the next old ranges out
 * @builder: the builder
 * @end: all that begin below this address
 */
void flat_ranges_builder_skip(FlatRangesBuilder *builder, Int128 end);

/**
 * flat_ranges_builder_add: add a new range
 * @builder: the builder
 * @fr: the range, above all that the builder has
 */
void flat_ranges_builder_add(FlatRangesBuilder *builder, const FlatRange *fr);

/**
 * flat_ranges_builder_end: finish, without the remaining old ranges
 * @builder: the builder, which is freed
 *
 * Returns: the ranges; free with flat_ranges_free().
 */
FlatRanges *flat_ranges_builder_end(FlatRangesBuilder *builder);

#endif
