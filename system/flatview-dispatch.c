/*
 * The dispatch trees of FlatViews: numbers of sections for TCG's TLB
 *
 * There are as many numbers as a page has bytes.  What gets none is accessed as
 * I/O, and code there is translated again for each instruction.
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "exec/memory.h"
#include "exec/memory-internal.h"
#include "exec/target_page.h"
#include "flat-ranges.h"
#include "flatview-dispatch.h"
#include "flatview-lookup.h"
#include "flatviews.h"

/* Two pages that it shares with others, and what is between them */
#define NUMBERS_PER_RANGE 3
/* Those that the tree has for itself */
#define NUMBERS_RESERVED 4

static bool dispatch_wanted;

static bool is_direct(const FlatRange *fr)
{
    return memory_region_is_ram(fr->mr) || memory_region_is_romd(fr->mr);
}

/* Memory before I/O, and of each the largest first */
static int compare_ranges(gconstpointer a, gconstpointer b)
{
    const FlatRange *x = *(const FlatRange *const *)a;
    const FlatRange *y = *(const FlatRange *const *)b;

    if (is_direct(x) != is_direct(y)) {
        return is_direct(x) ? -1 : 1;
    }
    if (int128_ne(x->addr.size, y->addr.size)) {
        return int128_gt(x->addr.size, y->addr.size) ? -1 : 1;
    }
    return int128_lt(x->addr.start, y->addr.start) ? -1 : 1;
}

static void add_range(FlatView *view, const FlatRange *fr)
{
    MemoryRegionSection section = flat_range_section(fr, view);

    flatview_add_to_dispatch(view, &section);
}

/* There may not be enough numbers: those get one for whom it matters most */
static void add_sorted(FlatView *view)
{
    g_autoptr(GPtrArray) sorted = g_ptr_array_new();
    const FlatRange *fr;
    FlatRangesIter iter;

    FLAT_RANGES_FOREACH(fr, &iter, view->ranges) {
        g_ptr_array_add(sorted, (gpointer)fr);
    }
    g_ptr_array_sort(sorted, compare_ranges);
    for (guint i = 0; i < sorted->len; i++) {
        add_range(view, g_ptr_array_index(sorted, i));
    }
}

void flatview_add_dispatch(FlatView *view)
{
    const FlatRange *fr;
    FlatRangesIter iter;

    if (!dispatch_wanted) {
        return;
    }
    view->dispatch = address_space_dispatch_new(view);
    if (flat_ranges_nr(view->ranges) >
        (qemu_target_page_size() - NUMBERS_RESERVED) / NUMBERS_PER_RANGE) {
        add_sorted(view);
    } else {
        FLAT_RANGES_FOREACH(fr, &iter, view->ranges) {
            add_range(view, fr);
        }
    }
    address_space_dispatch_compact(view->dispatch);
}

static void add_missing(FlatView *view)
{
    if (!view->dispatch) {
        flatview_add_dispatch(view);
    }
}

void flatviews_want_dispatch(void)
{
    assert(bql_locked());
    if (!dispatch_wanted) {
        dispatch_wanted = true;
        flatviews_for_each(add_missing);
    }
}
