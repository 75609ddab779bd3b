/*
 * What is at an address of a FlatView
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSTEM_FLATVIEW_LOOKUP_H
#define SYSTEM_FLATVIEW_LOOKUP_H

#include "exec/memory.h"
#include "flat-ranges.h"

/**
 * flat_range_section: a range, as it is shown to others
 * @fr: the range
 * @fv: the FlatView that has it
 */
static inline MemoryRegionSection flat_range_section(const FlatRange *fr,
                                                     FlatView *fv)
{
    return (MemoryRegionSection) {
        .mr = fr->mr,
        .fv = fv,
        .offset_within_region = fr->offset_in_region,
        .size = fr->addr.size,
        .offset_within_address_space = flat_range_first(fr),
        .readonly = fr->readonly,
        .nonvolatile = fr->nonvolatile,
        .unmergeable = fr->unmergeable,
    };
}

/**
 * flatview_lookup: what is at an address?
 * @fv: where to look, in O(log n), and in O(1) where it was the last time
 * @addr: the address
 * @unassigned: the region that is seen where there is none
 * @xlat: set to the offset in the region
 * @plen: bytes that are wanted from there; if it is RAM, limited to those that
 *        are seen of it there
 *
 * An access to I/O may go beyond the end of what is seen of its region: devices
 * expect it whole.
 *
 * Context: RCU read section, which keeps the region.
 * Returns: the section that has @addr.
 */
MemoryRegionSection flatview_lookup(FlatView *fv, hwaddr addr,
                                    MemoryRegion *unassigned, hwaddr *xlat,
                                    hwaddr *plen);

#endif
