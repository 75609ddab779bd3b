/*
 * Randomized changes of memory regions: compare address spaces with the model
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/rcu.h"
#include "qapi/error.h"
#include "fuzz.h"

typedef struct Walk {
    const Space *space;
    const SeenRanges *ranges;
    unsigned int nr;
    bool differs;
} Walk;

static bool walk_range(Int128 start, Int128 len, const MemoryRegion *mr,
                       hwaddr offset, void *opaque)
{
    Walk *walk = opaque;
    const SeenRange *range = &walk->ranges->range[walk->nr];
    hwaddr unit = walk->space->fuzz->unit;

    walk->differs = walk->nr == walk->ranges->nr || range->seen.mr != mr ||
        range->seen.offset != offset ||
        int128_getlo(start) != walk->space->base + range->unit * unit ||
        int128_get64(len) != range->nr * unit;
    walk->nr++;
    return walk->differs;
}

static bool check_view(const Space *space, const SeenRanges *ranges,
                       Error **errp)
{
    Walk walk = { .space = space, .ranges = ranges };

    flatview_for_each_range(address_space_to_flatview(space->as), walk_range,
                            &walk);
    if (walk.differs || walk.nr != ranges->nr) {
        error_setg(errp, "range %u of the FlatView is not that of the model",
                   walk.nr - walk.differs);
        return false;
    }
    return true;
}

/* Check that memory_region_find() finds a unit */
static bool check_find(const Space *space, unsigned int unit,
                       MemoryRegion *expected, hwaddr offset, Error **errp)
{
    hwaddr addr = space->base + unit * space->fuzz->unit;
    MemoryRegionSection section = memory_region_find(&space->fuzz->root, addr,
                                                     space->fuzz->unit);

    if (section.mr) {
        memory_region_unref(section.mr);
    }
    if (section.mr != expected ||
        (expected && section.offset_within_region != offset)) {
        error_setg(errp, "memory_region_find() is wrong about unit %u", unit);
        return false;
    }
    return true;
}

/* Check that an access finds a unit, and its translation by an IOMMU */
static bool check_translate(const Space *space, unsigned int unit,
                            MemoryRegion *expected, hwaddr offset, Error **errp)
{
    Fuzz *fuzz = space->fuzz;
    hwaddr addr = space->base + unit * fuzz->unit, xlat, len = fuzz->unit;
    MemoryRegion *mr = address_space_translate(space->as, addr, &xlat, &len,
                                               false, MEMTXATTRS_UNSPECIFIED);

    if (expected && memory_region_get_iommu(expected)) {
        const Region *region = container_of(expected, Region, mr);

        expected = fuzz_iommu_target(region, offset, &offset) ? &fuzz->target :
                                                                NULL;
    }
    if (expected ? mr != expected || xlat != offset || len != fuzz->unit :
                   memory_region_owner(mr) != NULL) {
        error_setg(errp, "address_space_translate() is wrong about unit %u",
                   unit);
        return false;
    }
    return true;
}

static bool check_unit(const Space *space, const SeenRanges *ranges,
                       unsigned int unit, Error **errp)
{
    const SeenRange *range = fuzz_model_find(ranges, unit);
    MemoryRegion *expected = range ? range->seen.mr : NULL;
    hwaddr offset = 0;

    if (range) {
        offset = range->seen.offset + (unit - range->unit) * space->fuzz->unit;
    }
    return (space->root || check_find(space, unit, expected, offset, errp)) &&
           check_translate(space, unit, expected, offset, errp);
}

static bool check_space(Space *space, Error **errp)
{
    SeenRanges ranges;

    /*
     * A region is not visible in a disabled container, so a change of it causes
     * no commit.  An address space with that region as its root shows the old
     * state until the next commit.
     */
    if (space->root && !space->committed) {
        ranges = space->ranges;
    } else {
        fuzz_model_ranges(space, &ranges);
    }
    return check_view(space, &ranges, errp) &&
           check_unit(space, &ranges, fuzz_below(space->fuzz, NR_UNITS),
                      errp) &&
           fuzz_told_check(space, &ranges, errp) &&
           fuzz_told_check_sets(space, &ranges, errp);
}

bool fuzz_check(Fuzz *fuzz, Error **errp)
{
    RCU_READ_LOCK_GUARD();
    for (int i = 0; i < NR_SPACES; i++) {
        Space *space = &fuzz->space[i];

        if (space->as && !check_space(space, errp)) {
            error_prepend(errp, "address space %d, root %d: ", i, space->root);
            return false;
        }
    }
    return true;
}
