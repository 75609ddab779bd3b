/*
 * The FlatViews there are, and which parts of them have to be rendered again
 *
 * What is touched is noted at once, as windows of the views in which it is seen
 * at that time.  So a region that moves twice in a transaction needs no memory
 * of where it was.
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
#include "flat-ranges.h"
#include "flatview-dispatch.h"
#include "flatview-render.h"
#include "flatviews.h"
#include "region-aliases.h"

/*
 * Rendering a window takes a walk from the root, so with more than one window
 * for so many ranges it is cheaper to render all that is between them.
 */
#define RANGES_PER_WINDOW 4

/*
 * What is touched without a change that can be seen waits for the next
 * transaction that has one, and a guest can make as much of it as it likes.
 */
#define WINDOWS_MAX 4096

/* root, or NULL for the view of nothing -> FlatView, a reference to each */
static GHashTable *flat_views;
/* While they are brought up to date: the next flat_views */
static GHashTable *next_flat_views;

/* What is touched of a view is in its root's flatview_windows, in no order */
static bool all_touched;

static GHashTable *table_new(void)
{
    return g_hash_table_new_full(NULL, NULL, NULL,
                                 (GDestroyNotify)flatview_unref);
}

/* From now on it is noted what is touched of the view of @root */
static void root_begin(MemoryRegion *root)
{
    if (root && !root->flatview_windows) {
        root->flatview_windows = g_array_new(false, false, sizeof(AddrWindow));
        region_aliases_use(root);
    }
}

static void root_end(MemoryRegion *root)
{
    if (root && root->flatview_windows) {
        g_clear_pointer(&root->flatview_windows, g_array_unref);
        region_aliases_unuse(root);
    }
}

/* One window for all that is touched, and what is between */
static void windows_collapse(GArray *windows)
{
    AddrWindow *all = &g_array_index(windows, AddrWindow, 0);

    for (guint i = 1; i < windows->len; i++) {
        AddrWindow *window = &g_array_index(windows, AddrWindow, i);

        all->start = int128_min(all->start, window->start);
        all->end = int128_max(all->end, window->end);
    }
    g_array_set_size(windows, 1);
}

static void touch_root(MemoryRegion *root, AddrWindow window)
{
    GArray *windows = root->flatview_windows;

    window.end = int128_min(window.end, int128_2_64());
    if (int128_ge(window.start, window.end)) {
        return;
    }
    g_array_append_val(windows, window);
    if (windows->len > WINDOWS_MAX) {
        windows_collapse(windows);
    }
}

static AddrWindow window_shift(AddrWindow window, Int128 by)
{
    return (AddrWindow) {
        int128_add(window.start, by), int128_add(window.end, by),
    };
}

static void touch_window(MemoryRegion *mr, AddrWindow window)
{
    AddrWindow outside;
    RegionAlias *alias;

    window.start = int128_max(window.start, int128_zero());
    window.end = int128_min(window.end, mr->size);
    if (int128_ge(window.start, window.end)) {
        return;
    }

    outside = window_shift(window, int128_make64(mr->addr));
    if (mr->flatview_windows) {
        touch_root(mr, outside);
    }
    if (mr->container) {
        touch_window(mr->container, outside);
    }
    for (alias = region_aliases_first(mr); alias;
         alias = QLIST_NEXT(alias, next)) {
        touch_window(alias->mr, window_shift(window,
                     int128_neg(int128_make64(alias->mr->alias_offset))));
    }
}

void flatviews_touch(MemoryRegion *mr)
{
    assert(bql_locked());
    if (!all_touched) {
        touch_window(mr, (AddrWindow) { int128_zero(), mr->size });
    }
}

void flatviews_touch_all(void)
{
    assert(bql_locked());
    all_touched = true;
}

static int compare_windows(gconstpointer a, gconstpointer b)
{
    Int128 x = ((const AddrWindow *)a)->start;
    Int128 y = ((const AddrWindow *)b)->start;

    return int128_lt(x, y) ? -1 : int128_gt(x, y);
}

/*
 * Make the edges of @window those of ranges in @old, including what ends or
 * begins right at them: it may be joined to what comes.
 */
static AddrWindow window_widen(AddrWindow window, const FlatRanges *old)
{
    hwaddr before = int128_nz(window.start) ?
                    int128_getlo(window.start) - 1 : 0;
    const FlatRange *fr = flat_ranges_find(old, before);

    if (fr) {
        window.start = fr->addr.start;
    }
    if (int128_lt(window.end, int128_2_64())) {
        fr = flat_ranges_find(old, int128_getlo(window.end));
        if (fr) {
            window.end = int128_add(fr->addr.start, fr->addr.size);
        }
    }
    return window;
}

/* Of all that was touched: sorted windows that neither overlap nor touch */
static GArray *windows_join(GArray *windows, const FlatRanges *old)
{
    GArray *joined = g_array_new(false, false, sizeof(AddrWindow));
    AddrWindow *last = NULL;

    if (windows->len > 1 &&
        windows->len > flat_ranges_nr(old) / RANGES_PER_WINDOW) {
        windows_collapse(windows);
    }
    g_array_sort(windows, compare_windows);

    for (guint i = 0; i < windows->len; i++) {
        AddrWindow window = window_widen(g_array_index(windows, AddrWindow, i),
                                         old);

        if (last && int128_le(window.start, last->end)) {
            last->end = int128_max(last->end, window.end);
            continue;
        }
        g_array_append_val(joined, window);
        last = &g_array_index(joined, AddrWindow, joined->len - 1);
    }
    return joined;
}

static FlatView *view_next(FlatView *old, MemoryRegion *root, GArray *windows)
{
    FlatView *view = flatview_new(root);
    FlatRangesBuilder builder;

    view->changes = windows_join(windows, old->ranges);
    view->made_from = old;

    flat_ranges_builder_init(&builder, old->ranges);
    for (guint i = 0; i < view->changes->len; i++) {
        AddrWindow window = g_array_index(view->changes, AddrWindow, i);

        flat_ranges_builder_keep(&builder, window.start);
        flat_ranges_builder_skip(&builder, window.end);
        flatview_render_window(&builder, root, window);
    }
    flat_ranges_builder_keep(&builder, int128_2_64());
    view->ranges = flat_ranges_builder_end(&builder);
    flatview_add_dispatch(view);
    return view;
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

/* -d flatview_check: stop at the first difference from a full rendering */
static void view_check(const FlatView *view, MemoryRegion *root)
{
    FlatRanges *expected = flatview_render(root);
    const FlatRange *x, *y;
    FlatRangesIter i, j;

    x = flat_ranges_iter_init(&i, expected, 0);
    y = flat_ranges_iter_init(&j, view->ranges, 0);
    while (x || y) {
        if (!x || !y || !flat_range_equal(x, y) ||
            x->dirty_log_mask != y->dirty_log_mask) {
            error_report("The FlatView of %s is not what it should be",
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

static FlatView *view_new(MemoryRegion *root)
{
    FlatView *view = flatview_new(root);

    view->ranges = flatview_render(root);
    flatview_add_dispatch(view);
    return view;
}

void flatviews_forget(MemoryRegion *mr)
{
    if (mr->flatview_windows) {
        assert(bql_locked() && !next_flat_views);
        root_end(mr);
        g_hash_table_remove(flat_views, mr);
    }
}

FlatView *flatviews_get(MemoryRegion *root)
{
    FlatView *view;

    assert(bql_locked());
    if (!flat_views) {
        flat_views = table_new();
    }
    view = g_hash_table_lookup(flat_views, root);
    if (!view) {
        view = view_new(root);
        g_hash_table_insert(flat_views, root, view);
        root_begin(root);
    }
    return view;
}

void flatviews_for_each(void (*func)(FlatView *view))
{
    GHashTableIter iter;
    gpointer view;

    assert(bql_locked());
    if (!flat_views) {
        return;
    }
    g_hash_table_iter_init(&iter, flat_views);
    while (g_hash_table_iter_next(&iter, NULL, &view)) {
        func(view);
    }
}

void flatviews_update_begin(void)
{
    assert(bql_locked() && !next_flat_views);
    next_flat_views = table_new();
}

void flatviews_update_root(MemoryRegion *root)
{
    FlatView *old, *view;
    GArray *windows;

    if (g_hash_table_contains(next_flat_views, root)) {
        return;
    }
    old = flat_views ? g_hash_table_lookup(flat_views, root) : NULL;
    windows = root ? root->flatview_windows : NULL;

    if (!old || all_touched) {
        view = view_new(root);
    } else if (windows && windows->len) {
        view = view_next(old, root, windows);
    } else {
        view = old;
        flatview_ref(view);
        /* All address spaces have it; and what it was made from may be freed */
        view->made_from = NULL;
        g_clear_pointer(&view->changes, g_array_unref);
    }
    if (qemu_loglevel_mask(LOG_FLATVIEW_CHECK)) {
        view_check(view, root);
    }
    g_hash_table_insert(next_flat_views, root, view);
}

void flatviews_update_end(void)
{
    GHashTableIter iter;
    gpointer root;

    /* They all exist, see flatviews_forget() */
    if (flat_views) {
        g_hash_table_iter_init(&iter, flat_views);
        while (g_hash_table_iter_next(&iter, &root, NULL)) {
            root_end(root);
        }
        g_hash_table_unref(flat_views);
    }
    flat_views = g_steal_pointer(&next_flat_views);
    g_hash_table_iter_init(&iter, flat_views);
    while (g_hash_table_iter_next(&iter, &root, NULL)) {
        root_begin(root);
    }
    all_touched = false;
}

GArray *flatview_changes(const FlatView *old, const FlatView *new)
{
    AddrWindow all = { int128_zero(), int128_2_64() };
    GArray *changes;

    if (old && old == new->made_from) {
        return g_array_ref(new->changes);
    }
    changes = g_array_new(false, false, sizeof(AddrWindow));
    g_array_append_val(changes, all);
    return changes;
}
