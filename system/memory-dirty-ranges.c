/*
 * Dirty ranges: the parts of FlatViews that must be rendered again
 *
 * They are recorded at the time of the change, as addresses of the FlatViews
 * that show the region at that time.  So nothing has to remember where a region
 * was, even if it moves twice in a transaction.
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "exec/memory.h"
#include "memory-aliases.h"
#include "memory-dirty-ranges.h"

/*
 * Changes that update no FlatView add dirty ranges until a transaction does,
 * and a guest can make any number of them.
 */
#define DIRTY_RANGES_MAX 4096

void dirty_ranges_begin(MemoryRegion *root)
{
    if (!root) {
        return;
    }
    if (root->index.dirty_ranges) {
        g_array_set_size(root->index.dirty_ranges, 0);
    } else {
        root->index.dirty_ranges = g_array_new(false, false,
                                               sizeof(DirtyRange));
        region_aliases_use(root);
    }
}

void dirty_ranges_end(MemoryRegion *root)
{
    if (root) {
        g_clear_pointer(&root->index.dirty_ranges, g_array_unref);
        region_aliases_unuse(root);
    }
}

void dirty_ranges_collapse(GArray *ranges)
{
    DirtyRange *all = &g_array_index(ranges, DirtyRange, 0);

    for (guint i = 1; i < ranges->len; i++) {
        DirtyRange *range = &g_array_index(ranges, DirtyRange, i);

        all->start = int128_min(all->start, range->start);
        all->end = int128_max(all->end, range->end);
    }
    g_array_set_size(ranges, 1);
}

static void add_to_root(MemoryRegion *root, DirtyRange range)
{
    GArray *ranges = root->index.dirty_ranges;

    range.end = int128_min(range.end, int128_2_64());
    if (int128_ge(range.start, range.end)) {
        return;
    }
    g_array_append_val(ranges, range);
    if (ranges->len > DIRTY_RANGES_MAX) {
        dirty_ranges_collapse(ranges);
    }
}

static DirtyRange shift(DirtyRange range, Int128 by)
{
    return (DirtyRange) {
        int128_add(range.start, by), int128_add(range.end, by),
    };
}

/* @range: relative to @mr */
static void add(MemoryRegion *mr, DirtyRange range)
{
    DirtyRange outside;
    RegionAlias *alias;

    range.start = int128_max(range.start, int128_zero());
    range.end = int128_min(range.end, mr->size);
    if (int128_ge(range.start, range.end)) {
        return;
    }

    /* The root of a FlatView is rendered at its address, too */
    outside = shift(range, int128_make64(mr->addr));
    if (mr->index.dirty_ranges) {
        add_to_root(mr, outside);
    }
    if (mr->container) {
        add(mr->container, outside);
    }
    for (alias = region_aliases_first(mr); alias;
         alias = QLIST_NEXT(alias, next)) {
        add(alias->mr,
            shift(range, int128_neg(int128_make64(alias->mr->alias_offset))));
    }
}

void dirty_ranges_add(MemoryRegion *mr)
{
    assert(bql_locked());
    add(mr, (DirtyRange) { int128_zero(), mr->size });
}

void dirty_ranges_add_subregion(MemoryRegion *mr,
                                const MemoryRegion *subregion)
{
    DirtyRange range = { int128_zero(), subregion->size };

    assert(bql_locked());
    add(mr, shift(range, int128_make64(subregion->addr)));
}
