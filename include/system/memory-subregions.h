/*
 * The subregions of a MemoryRegion: in rendering order and by address
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSTEM_MEMORY_SUBREGIONS_H
#define SYSTEM_MEMORY_SUBREGIONS_H

#include "exec/hwaddr.h"
#include "qemu/int128.h"
#include "qemu/interval-tree.h"
#include "qemu/queue.h"

/*
 * All functions are called with the BQL held.
 *
 * MemoryRegion::subregions stays the list that others iterate over.  Its order
 * is the rendering order: the highest priority first, and of equal priorities
 * the subregion that was inserted last.
 */

/* What a MemoryRegion has for these functions: MemoryRegion::index */
typedef struct MemoryRegionIndex {
    /* As a container: its subregions */
    IntervalTreeRoot tree;              /* by address */
    GArray *priorities;                 /* of PriorityStart, highest first */
    QLIST_HEAD(, MemoryRegion) enabled;
    /* As a subregion: its place in the container's index */
    IntervalTreeNode node;
    bool in_tree;                       /* false if its size is 0 */
    uint64_t serial;                    /* of its insertion */
    QLIST_ENTRY(MemoryRegion) enabled_link;
    /* As the root of a FlatView, else NULL: see memory-dirty-ranges.h */
    GArray *dirty_ranges;
} MemoryRegionIndex;

/**
 * subregions_insert: insert a subregion and mark it dirty
 * @mr: its container
 * @subregion: with its address, size and priority
 *
 * Costs O(log n), plus O(p) for p different priorities.
 */
void subregions_insert(MemoryRegion *mr, MemoryRegion *subregion);

/**
 * subregions_remove: remove a subregion and mark its place dirty
 * @mr: its container
 * @subregion: the region, with the address that it has, or that it gets next
 *
 * If its address has changed, the caller has marked its former place dirty.
 *
 * Costs as much as subregions_insert().
 */
void subregions_remove(MemoryRegion *mr, MemoryRegion *subregion);

/**
 * subregions_set_size: set the size of a region and mark it dirty
 * @subregion: the region; it may be in no container
 * @size: the new size
 */
void subregions_set_size(MemoryRegion *subregion, Int128 size);

/**
 * subregions_set_enabled: enable or disable a region and mark it dirty
 * @subregion: the region; it may be in no container
 * @enabled: different from what it is
 */
void subregions_set_enabled(MemoryRegion *subregion, bool enabled);

/**
 * subregions_set_alias: make a region an alias
 * @mr: the region, newly initialized
 * @original: of which it is an alias
 */
void subregions_set_alias(MemoryRegion *mr, MemoryRegion *original);

/**
 * subregions_find: find the subregions that overlap a range of addresses
 * @mr: their container
 * @first: first address, relative to @mr
 * @last: last address, relative to @mr
 *
 * Costs O(log n), plus O(k log k) for k subregions found.
 *
 * Returns: the subregions, enabled or not, in rendering order; free with
 * g_ptr_array_unref().
 */
GPtrArray *subregions_find(MemoryRegion *mr, hwaddr first, hwaddr last);

/**
 * subregions_destroy: free what a region has as a container and as an alias
 * @mr: the region, without subregions
 */
void subregions_destroy(MemoryRegion *mr);

/**
 * dirty_ranges_add: mark a region dirty wherever it is visible
 * @mr: the region; see memory-dirty-ranges.h
 *
 * A change that takes the region away from where it is marks before the change;
 * one that brings it somewhere marks after it.
 *
 * Costs one step for each container and alias that may show @mr.
 */
void dirty_ranges_add(MemoryRegion *mr);

#endif
