/*
 * The dispatch trees of FlatViews: sections for TCG's TLB
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "exec/memory.h"
#include "exec/memory-internal.h"
#include "flat-ranges.h"
#include "flatview-dispatch.h"
#include "flatview-lookup.h"
#include "flatviews.h"

static bool dispatch_wanted;

void flatview_add_dispatch(FlatView *view)
{
    const FlatRange *fr;
    FlatRangesIter iter;

    if (!dispatch_wanted) {
        return;
    }
    view->dispatch = address_space_dispatch_new(view);
    FLAT_RANGES_FOREACH(fr, &iter, view->ranges) {
        MemoryRegionSection section = flat_range_section(fr, view);

        flatview_add_to_dispatch(view, &section);
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
