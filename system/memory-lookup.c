/*
 * Lookup: the range at an address of a FlatView
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "exec/memory.h"
#include "memory-flatviews.h"

static const FlatRange *find(FlatView *fv, hwaddr addr)
{
    const FlatRange *fr = qatomic_read(&fv->mru);

    if (fr && addr >= flat_range_first(fr) && addr <= flat_range_last(fr)) {
        return fr;
    }
    fr = flat_ranges_find(fv->ranges, addr);
    if (fr) {
        /* Racy on purpose: any thread's result is a valid hint */
        qatomic_set(&fv->mru, fr);
    }
    return fr;
}

MemoryRegionSection *flatview_find_section(FlatView *fv, hwaddr addr,
                                           MemoryRegion *unassigned,
                                           hwaddr *xlat, hwaddr *plen,
                                           MemoryRegionSection *section)
{
    const FlatRange *fr = find(fv, addr);
    hwaddr last;

    if (!fr) {
        *xlat = addr;
        *section = (MemoryRegionSection) {
            .mr = unassigned,
            .fv = fv,
            .size = int128_2_64(),
        };
        return section;
    }

    *xlat = addr - flat_range_first(fr) + fr->offset_in_region;
    if (*plen && memory_region_is_ram(fr->mr)) {
        last = flat_range_last(fr);
        *plen = MIN(*plen - 1, last - addr) + 1;
    }
    *section = section_from_flat_range(fr, fv);
    return section;
}

FlatRange *flatview_lookup(FlatView *view, AddrRange addr)
{
    FlatRangesIter iter;
    Int128 end = int128_add(addr.start, addr.size);

    flat_ranges_iter_init(&iter, view->ranges, int128_getlo(addr.start));
    return (FlatRange *)flat_ranges_iter_get_below(&iter, end);
}

FlatRange *flatview_copy_ranges(const FlatView *view)
{
    FlatRange *copy = g_new(FlatRange, view->nr);
    FlatRange *fr, *to = copy;

    FOR_EACH_FLAT_RANGE(fr, view) {
        *to++ = *fr;
    }
    return copy;
}
