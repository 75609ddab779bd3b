/*
 * FlatViews: one for each root, rendered again where it is dirty
 *
 * The next FlatView of a root keeps the ranges outside the dirty ranges.
 * Before that, a dirty range is widened: at each end to the edge of the old
 * range that it overlaps or touches there.
 *
 * So the ranges rendered in it never have to be merged with the ranges outside.
 * The addresses that widening added are not dirty: what they show is unchanged.
 * If no range ends right below the dirty range, there is nothing to merge with.
 * Otherwise the widened range begins with an old range.  That was not merged
 * with the old range below it, because it does not continue it.  The range
 * rendered in its place begins with the same part of the same region and the
 * same attributes, so it does not continue the range below either.  The same
 * holds at the end.
 *
 * FlatView::made_from is the FlatView that a FlatView was made from.  It holds
 * no reference and is never dereferenced, but compared with the current
 * FlatView of an address space, which is alive.  It cannot be mistaken for
 * another FlatView at the same address: it is compared in the transaction that
 * made it, while the address spaces still hold the old FlatView.  In a later
 * transaction, a FlatView that is kept loses it first; and a new address space
 * has no current FlatView.
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qemu/log.h"
#include "qemu/main-loop.h"
#include "exec/memory.h"
#include "exec/memory-internal.h"
#include "memory-flatviews.h"
#include "trace.h"

/*
 * Each dirty range is rendered by a walk from the root.  If there is more than
 * one for so many ranges, one walk for everything between them is cheaper.
 */
#define RANGES_PER_DIRTY_RANGE 4

/* With more dirty ranges, collecting all ioeventfds again is cheaper */
#define IOEVENTFD_DIRTY_RANGES 16

GHashTable *flat_views;
/* The FlatViews before flatviews_reset_begin(), until flatviews_reset_end() */
static GHashTable *old_flat_views;

/* Whether the FlatViews were rendered with global_dirty_tracking */
static bool rendered_dirty_tracking;

static int compare_start(gconstpointer a, gconstpointer b)
{
    Int128 x = ((const DirtyRange *)a)->start;
    Int128 y = ((const DirtyRange *)b)->start;

    return int128_lt(x, y) ? -1 : int128_gt(x, y);
}

static DirtyRange dirty_range_widen(DirtyRange range, const FlatRanges *old)
{
    hwaddr before = int128_nz(range.start) ?
                    int128_getlo(range.start) - 1 : 0;
    const FlatRange *fr = flat_ranges_find(old, before);

    if (fr) {
        range.start = fr->addr.start;
    }
    if (int128_lt(range.end, int128_2_64())) {
        fr = flat_ranges_find(old, int128_getlo(range.end));
        if (fr) {
            range.end = int128_add(fr->addr.start, fr->addr.size);
        }
    }
    return range;
}

/* Returns widened ranges in order, which neither overlap nor touch */
static GArray *dirty_ranges_join(GArray *ranges, const FlatRanges *old)
{
    GArray *joined = g_array_new(false, false, sizeof(DirtyRange));
    DirtyRange *last = NULL;

    if (ranges->len > 1 &&
        ranges->len > flat_ranges_nr(old) / RANGES_PER_DIRTY_RANGE) {
        dirty_ranges_collapse(ranges);
    }
    g_array_sort(ranges, compare_start);

    for (guint i = 0; i < ranges->len; i++) {
        DirtyRange range = dirty_range_widen(g_array_index(ranges, DirtyRange,
                                                           i), old);

        if (last && int128_le(range.start, last->end)) {
            last->end = int128_max(last->end, range.end);
            continue;
        }
        g_array_append_val(joined, range);
        last = &g_array_index(joined, DirtyRange, joined->len - 1);
    }
    return joined;
}

static FlatView *view_from_ranges(MemoryRegion *root, FlatRanges *ranges)
{
    FlatView *view = g_new(FlatView, 1);

    *view = (FlatView) {
        .ref = 1,
        .ranges = ranges,
        .nr = flat_ranges_nr(ranges),
        .root = root,
        .root_addr = root ? root->addr : 0,
    };
    memory_region_ref(root);
    trace_flatview_new(view, root);
    flatview_add_dispatch(view);
    return view;
}

static FlatView *view_next(FlatView *old, MemoryRegion *root)
{
    GArray *dirty = dirty_ranges_join(root->index.dirty_ranges, old->ranges);
    FlatRangesBuilder builder;
    FlatView *view;

    flat_ranges_builder_init(&builder, old->ranges);
    for (guint i = 0; i < dirty->len; i++) {
        DirtyRange range = g_array_index(dirty, DirtyRange, i);

        flat_ranges_builder_keep(&builder, range.start);
        flat_ranges_builder_skip(&builder, range.end);
        flatview_render_range(&builder, root, range);
    }
    flat_ranges_builder_keep(&builder, int128_2_64());

    view = view_from_ranges(root, flat_ranges_builder_end(&builder));
    view->dirty_ranges = dirty;
    view->made_from = old;
    return view;
}

static void view_clear_made_from(FlatView *view)
{
    view->made_from = NULL;
    g_clear_pointer(&view->dirty_ranges, g_array_unref);
}

void flatview_free_ranges(FlatView *view)
{
    view_clear_made_from(view);
    flat_ranges_free(view->ranges);
}

static void report_range(const char *what, const FlatRange *fr)
{
    if (!fr) {
        error_printf("  %s: no more ranges\n", what);
        return;
    }
    error_printf("  %s: 0x%" HWADDR_PRIx "-0x%" HWADDR_PRIx " %s @0x%"
                 HWADDR_PRIx " log 0x%x%s%s%s%s\n", what,
                 flat_range_first(fr), flat_range_last(fr),
                 memory_region_name(fr->mr), fr->offset_in_region,
                 fr->dirty_log_mask, fr->romd_mode ? " romd" : "",
                 fr->readonly ? " readonly" : "",
                 fr->nonvolatile ? " nonvolatile" : "",
                 fr->unmergeable ? " unmergeable" : "");
}

/* -d flatview_check: abort at the first difference from a full rendering */
static void view_check(const FlatView *view, MemoryRegion *root)
{
    FlatRanges *expected = flatview_render(root);
    const FlatRange *x, *y;
    FlatRangesIter i, j;

    x = flat_ranges_iter_init(&i, expected, 0);
    y = flat_ranges_iter_init(&j, view->ranges, 0);
    while (x || y) {
        if (!x || !y || !flatrange_equal(x, y) ||
            x->dirty_log_mask != y->dirty_log_mask) {
            error_report("The FlatView of %s is wrong",
                         root ? memory_region_name(root) : "nothing");
            report_range("should be", x);
            report_range("is", y);
            abort();
        }
        x = flat_ranges_iter_next(&i);
        y = flat_ranges_iter_next(&j);
    }
    flat_ranges_free(expected);
}

/* Returns true if something changed that dirty ranges do not tell */
static bool must_render_all(const FlatView *old, const MemoryRegion *root)
{
    /* The first one is for a root that was initialized again in place */
    return !root->index.dirty_ranges || root->addr != old->root_addr ||
           rendered_dirty_tracking != !!global_dirty_tracking;
}

FlatView *generate_memory_topology(MemoryRegion *mr)
{
    FlatView *old = old_flat_views ? g_hash_table_lookup(old_flat_views, mr) :
                                     NULL;
    FlatView *view;

    assert(bql_locked());
    if (!old || !mr || must_render_all(old, mr)) {
        view = view_from_ranges(mr, flatview_render(mr));
    } else if (mr->index.dirty_ranges->len) {
        view = view_next(old, mr);
    } else {
        view = old;
        view_clear_made_from(view);
        g_hash_table_steal(old_flat_views, mr);
    }
    if (qemu_loglevel_mask(LOG_FLATVIEW_CHECK)) {
        view_check(view, mr);
    }
    if (old && mr && !mr->index.dirty_ranges) {
        /* It was initialized again in place: end what began before that */
        dirty_ranges_end(mr);
    }
    dirty_ranges_begin(mr);
    g_hash_table_insert(flat_views, mr, view);
    return view;
}

void flatviews_reset_begin(void)
{
    assert(bql_locked() && !old_flat_views);
    old_flat_views = g_steal_pointer(&flat_views);
}

void flatviews_reset_end(void)
{
    GHashTableIter iter;
    gpointer root;

    rendered_dirty_tracking = global_dirty_tracking;
    if (!old_flat_views) {
        return;
    }
    /* The roots all exist, see flatviews_remove_root() */
    g_hash_table_iter_init(&iter, old_flat_views);
    while (g_hash_table_iter_next(&iter, &root, NULL)) {
        if (!g_hash_table_contains(flat_views, root)) {
            dirty_ranges_end(root);
        }
    }
    g_clear_pointer(&old_flat_views, g_hash_table_unref);
}

void flatviews_remove_root(MemoryRegion *mr)
{
    if (flat_views && g_hash_table_contains(flat_views, mr)) {
        assert(bql_locked() && !old_flat_views);
        dirty_ranges_end(mr);
        g_hash_table_remove(flat_views, mr);
    }
}

static bool has_nop_listener(AddressSpace *as)
{
    MemoryListener *listener;

    QTAILQ_FOREACH(listener, &as->listeners, link_as) {
        if (listener->region_nop) {
            return true;
        }
    }
    return false;
}

static bool ioeventfd_is_dirty(AddrRange addr, const DirtyRange *range)
{
    Int128 end = int128_add(addr.start, addr.size);

    return int128_lt(addr.start, range->end) &&
           (int128_ge(addr.start, range->start) ||
            int128_gt(end, range->start));
}

static bool ioeventfds_may_change(AddressSpace *as, const FlatView *old_view,
                                  const FlatView *new_view)
{
    GArray *dirty = new_view->dirty_ranges;

    if (!old_view || old_view != new_view->made_from ||
        !as->ioeventfd_notifiers || dirty->len > IOEVENTFD_DIRTY_RANGES) {
        return true;
    }
    for (guint i = 0; i < dirty->len; i++) {
        DirtyRange *range = &g_array_index(dirty, DirtyRange, i);
        const FlatRange *fr;
        FlatRangesIter iter;

        for (unsigned int j = 0; j < as->ioeventfd_nb; j++) {
            if (ioeventfd_is_dirty(address_space_ioeventfd_addr(as, j),
                                   range)) {
                return true;
            }
        }
        flat_ranges_iter_init(&iter, new_view->ranges,
                              int128_getlo(range->start));
        while ((fr = flat_ranges_iter_get_below(&iter, range->end))) {
            if (fr->mr->ioeventfd_nb) {
                return true;
            }
            flat_ranges_iter_next(&iter);
        }
    }
    return false;
}

bool address_space_view_changes(AddressSpace *as, FlatView *old_view,
                                FlatView *new_view)
{
    if (old_view == new_view) {
        return has_nop_listener(as);
    }
    if (ioeventfds_may_change(as, old_view, new_view)) {
        as->ioeventfds_dirty = true;
    }
    return true;
}

bool address_space_ioeventfds_test(AddressSpace *as, bool pending)
{
    as->ioeventfds_dirty |= pending;
    if (!as->ioeventfd_notifiers || !as->ioeventfds_dirty) {
        return false;
    }
    as->ioeventfds_dirty = false;
    return true;
}

static void cursor_init(FlatViewCursor *cursor, const FlatRanges *ranges,
                        Int128 start)
{
    *cursor = (FlatViewCursor) { };
    flat_ranges_iter_init(&cursor->iter, ranges, int128_getlo(start));
}

static DirtyRange dirty_range_at(const FlatViewDiff *diff, unsigned int i)
{
    DirtyRange all = { int128_zero(), int128_2_64() };

    return diff->dirty ? g_array_index(diff->dirty, DirtyRange, i) : all;
}

FlatViewDiff flatview_diff(AddressSpace *as, const FlatView *old_view,
                           const FlatView *new_view)
{
    FlatViewDiff diff = { .nr_dirty = 1 };
    Int128 start;

    if (old_view == new_view->made_from && !has_nop_listener(as)) {
        diff.dirty = new_view->dirty_ranges;
        diff.nr_dirty = diff.dirty->len;
    }
    start = dirty_range_at(&diff, 0).start;
    cursor_init(&diff.old, old_view->ranges, start);
    cursor_init(&diff.new, new_view->ranges, start);
    return diff;
}

static FlatRange *cursor_get(const FlatViewDiff *diff, FlatViewCursor *cursor,
                             unsigned int pos)
{
    const FlatRange *fr;

    if (cursor->dirty == diff->nr_dirty) {
        return NULL;
    }
    if (pos != cursor->pos) {
        flat_ranges_iter_next(&cursor->iter);
        cursor->pos = pos;
    }
    while (true) {
        Int128 end = dirty_range_at(diff, cursor->dirty).end;

        fr = flat_ranges_iter_get_below(&cursor->iter, end);
        if (fr || ++cursor->dirty == diff->nr_dirty) {
            return (FlatRange *)fr;
        }
        flat_ranges_iter_init(&cursor->iter, cursor->iter.ranges,
                              int128_getlo(dirty_range_at(diff, cursor->dirty)
                                           .start));
    }
}

bool flatview_diff_at(FlatViewDiff *diff, unsigned int iold, unsigned int inew,
                      FlatRange **frold, FlatRange **frnew)
{
    *frold = cursor_get(diff, &diff->old, iold);
    *frnew = cursor_get(diff, &diff->new, inew);
    return *frold || *frnew;
}
