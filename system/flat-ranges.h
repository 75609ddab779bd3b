/*
 * The ranges of a FlatView: sorted, never changed, mostly shared with the next
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSTEM_FLAT_RANGES_H
#define SYSTEM_FLAT_RANGES_H

#include "exec/hwaddr.h"
#include "exec/memory.h"
#include "qemu/int128.h"

typedef struct AddrRange {
    Int128 start;
    Int128 size;
} AddrRange;

/* A part of a MemoryRegion that is seen at a part of an address space */
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

/* The end may be 2^64, the last address may not */
static inline hwaddr flat_range_last(const FlatRange *fr)
{
    return int128_getlo(fr->addr.start) + int128_getlo(fr->addr.size) - 1;
}

/**
 * flat_range_equal: are two ranges the same for listeners?
 * @a: a range
 * @b: another one, which may differ in its dirty log only
 */
bool flat_range_equal(const FlatRange *a, const FlatRange *b);

/**
 * struct FlatRanges - disjoint ranges in the order of their addresses
 *
 * Never changes.  The next one is built from this one, and shares with it what
 * stays the same, in chunks of a few hundred ranges: that costs what changed,
 * and a pointer for each chunk.  Both hold a reference to the MemoryRegion of
 * each of their ranges.
 */
struct FlatRanges;

/**
 * flat_ranges_nr: how many ranges?
 * @ranges: the ranges, or NULL for none
 */
unsigned int flat_ranges_nr(const FlatRanges *ranges);

/**
 * flat_ranges_free: give up the ranges
 * @ranges: nobody uses them any more; or NULL
 *
 * Context: any thread; what another FlatRanges shares stays.
 */
void flat_ranges_free(FlatRanges *ranges);

/**
 * flat_ranges_find: the range of an address
 * @ranges: where to look, in O(log n)
 * @addr: the address
 *
 * Returns: the range that has @addr, or NULL.
 */
const FlatRange *flat_ranges_find(const FlatRanges *ranges, hwaddr addr);

/* A place among ranges */
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
 * flat_ranges_iter_get: the range at a place
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
 * flat_ranges_iter_get_below: the range at a place, up to an address
 * @iter: from flat_ranges_iter_init()
 * @end: the address
 *
 * Returns: the range, or NULL if it does not begin below @end, or at the end.
 */
const FlatRange *flat_ranges_iter_get_below(const FlatRangesIter *iter,
                                            Int128 end);

#define FLAT_RANGES_FOREACH(fr, iter, ranges)                   \
    for ((fr) = flat_ranges_iter_init((iter), (ranges), 0); (fr); \
         (fr) = flat_ranges_iter_next(iter))

/**
 * struct FlatRangesBuilder - new ranges, from old ones and others
 *
 * From the lowest address up: flat_ranges_builder_keep() takes what is old,
 * flat_ranges_builder_skip() leaves it out, flat_ranges_builder_add() puts in
 * what is new.
 */
typedef struct FlatRangesBuilder {
    FlatRangesIter old;
    GArray *index;
    FlatRange *pending;         /* become a chunk */
    unsigned int nr_pending;
    unsigned int nr;
} FlatRangesBuilder;

/**
 * flat_ranges_builder_init: begin
 * @builder: to be initialized
 * @old: where ranges may be taken from; must stay until the end; NULL for none
 */
void flat_ranges_builder_init(FlatRangesBuilder *builder, const FlatRanges *old);

/**
 * flat_ranges_builder_keep: take the old ranges below an address
 * @builder: the builder
 * @end: the address; ranges that begin below it are taken
 */
void flat_ranges_builder_keep(FlatRangesBuilder *builder, Int128 end);

/**
 * flat_ranges_builder_skip: leave out the old ranges below an address
 * @builder: the builder
 * @end: the address; ranges that begin below it are left out
 */
void flat_ranges_builder_skip(FlatRangesBuilder *builder, Int128 end);

/**
 * flat_ranges_builder_add: put in a range
 * @builder: the builder
 * @fr: the range, above all that are in
 */
void flat_ranges_builder_add(FlatRangesBuilder *builder, const FlatRange *fr);

/**
 * flat_ranges_builder_end: done
 * @builder: the builder; what is left of the old ranges is left out
 *
 * Returns: the ranges, for flat_ranges_free().
 */
FlatRanges *flat_ranges_builder_end(FlatRangesBuilder *builder);

#endif
