/*
 * What is at an address of a FlatView
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "exec/memory.h"
#include "flatview-lookup.h"

static const FlatRange *find(FlatView *fv, hwaddr addr)
{
    const FlatRange *fr = qatomic_read(&fv->mru);

    if (fr && addr >= flat_range_first(fr) && addr <= flat_range_last(fr)) {
        return fr;
    }
    fr = flat_ranges_find(fv->ranges, addr);
    if (fr) {
        /* Whichever of several threads is the last: it is a hint */
        qatomic_set(&fv->mru, fr);
    }
    return fr;
}

MemoryRegionSection flatview_lookup(FlatView *fv, hwaddr addr,
                                    MemoryRegion *unassigned, hwaddr *xlat,
                                    hwaddr *plen)
{
    const FlatRange *fr = find(fv, addr);
    hwaddr last;

    if (!fr) {
        *xlat = addr;
        return (MemoryRegionSection) {
            .mr = unassigned,
            .fv = fv,
            .size = int128_2_64(),
        };
    }

    *xlat = addr - flat_range_first(fr) + fr->offset_in_region;
    if (*plen && memory_region_is_ram(fr->mr)) {
        last = flat_range_last(fr);
        *plen = MIN(*plen - 1, last - addr) + 1;
    }
    return flat_range_section(fr, fv);
}
