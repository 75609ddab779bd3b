/*
 * Rendering: from a tree of MemoryRegions to the ranges of a FlatView
 *
 * The tree is walked in rendering order.  A region gets the addresses that the
 * regions before it have left.
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/interval-tree.h"
#include "exec/memory.h"
#include "memory-flatviews.h"

typedef struct RenderedRange {
    IntervalTreeNode node;
    FlatRange fr;
} RenderedRange;

/* RenderedRanges are allocated in chunks and freed together at the end */
#define CHUNK_RANGES 128

typedef struct Render {
    IntervalTreeRoot ranges;
    GPtrArray *chunks;          /* each of CHUNK_RANGES */
    unsigned int nr_in_chunk;   /* how many of the last chunk are in use */
    bool whole;                 /* the whole FlatView is rendered */
} Render;

/* Attributes that a container passes on to its subregions */
typedef struct Inherited {
    bool readonly;
    bool nonvolatile;
    bool unmergeable;
} Inherited;

static void render_region(Render *render, MemoryRegion *mr, Int128 base,
                          DirtyRange clip, Inherited inherited);

static RenderedRange *range_new(Render *render)
{
    RenderedRange *chunk;

    if (!render->chunks->len || render->nr_in_chunk == CHUNK_RANGES) {
        g_ptr_array_add(render->chunks, g_new(RenderedRange, CHUNK_RANGES));
        render->nr_in_chunk = 0;
    }
    chunk = g_ptr_array_index(render->chunks, render->chunks->len - 1);
    return &chunk[render->nr_in_chunk++];
}

static void add_range(Render *render, FlatRange *fr, Int128 base,
                      uint64_t first, uint64_t last)
{
    RenderedRange *range = range_new(render);
    Int128 start = int128_make64(first);

    range->fr = *fr;
    range->fr.offset_in_region = int128_getlo(int128_sub(start, base));
    range->fr.addr.start = start;
    range->fr.addr.size = int128_sub(int128_add(int128_make64(last),
                                                int128_one()), start);
    range->node.start = first;
    range->node.last = last;
    interval_tree_insert(&range->node, &render->ranges);
}

/* Render @mr itself, which begins at @base, into the gaps in @clip */
static void render_terminating(Render *render, MemoryRegion *mr, Int128 base,
                               DirtyRange clip, Inherited inherited)
{
    uint64_t first = int128_getlo(clip.start);
    uint64_t last = int128_getlo(int128_sub(clip.end, int128_one()));
    FlatRange fr = {
        .mr = mr,
        .dirty_log_mask = memory_region_get_dirty_log_mask(mr),
        .romd_mode = mr->romd_mode,
        .readonly = inherited.readonly,
        .nonvolatile = inherited.nonvolatile,
        .unmergeable = inherited.unmergeable,
    };
    IntervalTreeNode *node, *next;

    for (node = interval_tree_iter_first(&render->ranges, first, last); node;
         node = next) {
        /* The range inserted below is in front of @next */
        next = interval_tree_iter_next(node, first, last);
        if (first < node->start) {
            add_range(render, &fr, base, first, node->start - 1);
        }
        if (node->last >= last) {
            return;
        }
        first = node->last + 1;
    }
    add_range(render, &fr, base, first, last);
}

static void render_subregions(Render *render, MemoryRegion *mr, Int128 base,
                              DirtyRange clip, Inherited inherited)
{
    MemoryRegion *subregion;

    if (render->whole) {
        QTAILQ_FOREACH(subregion, &mr->subregions, subregions_link) {
            render_region(render, subregion, base, clip, inherited);
        }
    } else if (!QTAILQ_EMPTY(&mr->subregions)) {
        Int128 last = int128_sub(clip.end, int128_one());
        g_autoptr(GPtrArray) found =
            subregions_find(mr, int128_getlo(int128_sub(clip.start, base)),
                            int128_getlo(int128_sub(last, base)));

        for (guint i = 0; i < found->len; i++) {
            render_region(render, g_ptr_array_index(found, i), base, clip,
                          inherited);
        }
    }
}

/* @base: the address that @mr->addr is relative to; below 0 for some aliases */
static void render_region(Render *render, MemoryRegion *mr, Int128 base,
                          DirtyRange clip, Inherited inherited)
{
    if (!mr->enabled) {
        return;
    }

    base = int128_add(base, int128_make64(mr->addr));
    clip.start = int128_max(clip.start, base);
    clip.end = int128_min(clip.end, int128_add(base, mr->size));
    if (int128_ge(clip.start, clip.end)) {
        return;
    }

    inherited.readonly |= mr->readonly;
    inherited.nonvolatile |= mr->nonvolatile;
    inherited.unmergeable |= mr->unmergeable;

    if (mr->alias) {
        base = int128_sub(base, int128_make64(mr->alias_offset));
        base = int128_sub(base, int128_make64(mr->alias->addr));
        render_region(render, mr->alias, base, clip, inherited);
        return;
    }

    render_subregions(render, mr, base, clip, inherited);
    if (mr->terminates) {
        render_terminating(render, mr, base, clip, inherited);
    }
}

static bool continues(const FlatRange *a, const FlatRange *b)
{
    return !a->unmergeable && !b->unmergeable && a->mr == b->mr &&
           int128_eq(int128_add(a->addr.start, a->addr.size), b->addr.start) &&
           int128_eq(int128_add(int128_make64(a->offset_in_region),
                                a->addr.size),
                     int128_make64(b->offset_in_region)) &&
           a->dirty_log_mask == b->dirty_log_mask &&
           a->romd_mode == b->romd_mode &&
           a->readonly == b->readonly &&
           a->nonvolatile == b->nonvolatile;
}

/* Add the rendered ranges to @builder, and free them */
static void render_end(Render *render, FlatRangesBuilder *builder)
{
    IntervalTreeNode *node;
    FlatRange last = { };

    for (node = interval_tree_iter_first(&render->ranges, 0, UINT64_MAX); node;
         node = interval_tree_iter_next(node, 0, UINT64_MAX)) {
        RenderedRange *range = container_of(node, RenderedRange, node);

        if (last.mr && continues(&last, &range->fr)) {
            last.addr.size = int128_add(last.addr.size, range->fr.addr.size);
        } else {
            if (last.mr) {
                flat_ranges_builder_add(builder, &last);
            }
            last = range->fr;
        }
    }
    if (last.mr) {
        flat_ranges_builder_add(builder, &last);
    }
    g_ptr_array_unref(render->chunks);
}

static void render_to(FlatRangesBuilder *builder, MemoryRegion *root,
                      DirtyRange clip, bool whole)
{
    Render render = {
        .whole = whole,
        .chunks = g_ptr_array_new_with_free_func(g_free),
    };

    if (root) {
        render_region(&render, root, int128_zero(), clip, (Inherited) { });
    }
    render_end(&render, builder);
}

void flatview_render_range(FlatRangesBuilder *builder, MemoryRegion *root,
                           DirtyRange range)
{
    render_to(builder, root, range, false);
}

FlatRanges *flatview_render(MemoryRegion *root)
{
    DirtyRange all = { int128_zero(), int128_2_64() };
    FlatRangesBuilder builder;

    flat_ranges_builder_init(&builder, NULL);
    render_to(&builder, root, all, true);
    return flat_ranges_builder_end(&builder);
}
