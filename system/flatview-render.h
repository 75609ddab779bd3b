/*
 * Rendering: from a tree of MemoryRegions to what is seen of them
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSTEM_FLATVIEW_RENDER_H
#define SYSTEM_FLATVIEW_RENDER_H

#include "flat-ranges.h"

/* Addresses from @start up to below @end */
typedef struct AddrWindow {
    Int128 start;
    Int128 end;
} AddrWindow;

/**
 * flatview_render_window: render a part of an address space
 * @builder: the ranges that are seen there are added to it
 * @root: of the tree, or NULL, of which nothing is seen
 * @window: the part, within 0 and 2^64
 *
 * Where several regions are at an address, the one is seen whose priority is
 * highest within their container; a container without anything at an address is
 * transparent.  Ranges that continue each other are joined.  The cost follows
 * what is in the window.
 *
 * Context: BQL held.
 */
void flatview_render_window(FlatRangesBuilder *builder, MemoryRegion *root,
                            AddrWindow window);

/**
 * flatview_render: render all of an address space
 * @root: of the tree, or NULL, of which nothing is seen
 *
 * Context: BQL held.
 * Returns: the ranges, for flat_ranges_free().
 */
FlatRanges *flatview_render(MemoryRegion *root);

#endif
