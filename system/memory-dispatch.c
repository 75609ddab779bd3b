/*
 * Dispatch trees: the sections of a FlatView that TCG's TLB refers to
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "qemu/qemu-print.h"
#include "exec/memory.h"
#include "exec/memory-internal.h"
#include "memory-flatviews.h"

static bool dispatch_wanted;

void flatview_add_dispatch(FlatView *view)
{
    FlatRange *fr;

    if (!dispatch_wanted || view->dispatch) {
        return;
    }
    view->dispatch = address_space_dispatch_new(view);
    FOR_EACH_FLAT_RANGE(fr, view) {
        MemoryRegionSection section = section_from_flat_range(fr, view);

        flatview_add_to_dispatch(view, &section);
    }
    address_space_dispatch_compact(view->dispatch);
}

void flatviews_want_dispatch(void)
{
    GHashTableIter iter;
    gpointer view;

    assert(bql_locked());
    if (dispatch_wanted) {
        return;
    }
    dispatch_wanted = true;
    if (!flat_views) {
        return;
    }
    g_hash_table_iter_init(&iter, flat_views);
    while (g_hash_table_iter_next(&iter, NULL, &view)) {
        flatview_add_dispatch(view);
    }
}

void flatview_print_dispatch(FlatView *view)
{
    if (view->dispatch) {
        mtree_print_dispatch(view->dispatch, view->root);
    } else {
        qemu_printf("  No dispatch tree: only TCG needs one\n");
    }
}
