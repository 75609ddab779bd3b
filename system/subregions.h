/*
 * The subregions of a MemoryRegion: in the order in which they are rendered,
 * and by address
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSTEM_SUBREGIONS_H
#define SYSTEM_SUBREGIONS_H

#include "exec/memory.h"

/*
 * All of this is called with the BQL held.  MemoryRegion::subregions is what
 * is iterated over from outside; its order is that of priority, the highest
 * first, and among equals the one that was inserted last.
 */

/**
 * subregions_insert: a region becomes a subregion
 * @mr: its container
 * @subregion: with its address, size and priority
 *
 * Costs O(log n), and O(p) with p priorities that differ.
 */
void subregions_insert(MemoryRegion *mr, MemoryRegion *subregion);

/**
 * subregions_remove: a region stops being a subregion
 * @mr: its container
 * @subregion: the region; address and size may have changed
 *
 * Costs what subregions_insert() does.
 */
void subregions_remove(MemoryRegion *mr, MemoryRegion *subregion);

/**
 * subregions_resize: the size of a subregion has changed
 * @mr: its container
 * @subregion: the region, with its new size
 */
void subregions_resize(MemoryRegion *mr, MemoryRegion *subregion);

/**
 * subregions_enable: a subregion has been enabled or disabled
 * @mr: its container
 * @subregion: the region
 */
void subregions_enable(MemoryRegion *mr, MemoryRegion *subregion);

/**
 * subregions_find: which subregions are in a range of addresses?
 * @mr: their container
 * @first: first address, relative to @mr
 * @last: last address, relative to @mr
 *
 * Costs O(log n), and O(k log k) for k that are found.
 *
 * Returns: those that overlap the range, enabled or not, in the order of
 * MemoryRegion::subregions; to be freed with g_ptr_array_unref().
 */
GPtrArray *subregions_find(MemoryRegion *mr, hwaddr first, hwaddr last);

/**
 * subregions_destroy: a region ends, as a container and as an alias
 * @mr: the region, without subregions
 */
void subregions_destroy(MemoryRegion *mr);

#endif
