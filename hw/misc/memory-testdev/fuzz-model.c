/*
 * Randomized changes of memory regions: the model of an address space
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "fuzz.h"

static bool is_in(const Region *region, const Region *in)
{
    return region->mr.container == &in->mr;
}

/* Is @a rendered before @b, with the same container? */
static bool is_before(const Region *a, const Region *b)
{
    return a->mr.priority != b->mr.priority ?
           a->mr.priority > b->mr.priority : a->serial > b->serial;
}

/* Returns what a region shows at @offset, which may be outside of it */
static Seen seen_at(const Fuzz *fuzz, const Region *region, int64_t offset,
                    Seen inherited)
{
    const MemoryRegion *mr = &region->mr;
    const Region *before = NULL;
    Seen none = { };

    if (!mr->enabled || offset < 0 || offset >= int128_get64(mr->size)) {
        return none;
    }
    inherited.readonly |= mr->readonly;
    inherited.nonvolatile |= mr->nonvolatile;
    inherited.unmergeable |= mr->unmergeable;
    inherited.path = inherited.path * 31 + (region - fuzz->region) + 1;

    if (region->alias >= 0) {
        return seen_at(fuzz, &fuzz->region[region->alias],
                       offset + mr->alias_offset, inherited);
    }

    /* The first subregion in rendering order that shows something */
    while (true) {
        const Region *next = NULL;
        Seen seen;

        for (const Region *r = region + 1;
             r < fuzz->region + NR_REGIONS; r++) {
            if (is_in(r, region) && (!before || is_before(before, r)) &&
                (!next || is_before(r, next))) {
                next = r;
            }
        }
        if (!next) {
            break;
        }
        seen = seen_at(fuzz, next, offset - (int64_t)next->mr.addr, inherited);
        if (seen.mr) {
            return seen;
        }
        before = next;
    }

    if (!mr->terminates) {
        return none;
    }
    inherited.mr = (MemoryRegion *)mr;
    inherited.offset = offset;
    return inherited;
}

static bool continues(const SeenRange *range, const Seen *seen, hwaddr unit)
{
    const Seen *s = &range->seen;

    return s->mr == seen->mr && s->offset + range->nr * unit == seen->offset &&
           s->readonly == seen->readonly &&
           s->nonvolatile == seen->nonvolatile &&
           s->unmergeable == seen->unmergeable &&
           (!s->unmergeable || s->path == seen->path);
}

/*
 * Returns the region that is rendered for an address space with this root.  If
 * a region shows nothing but all of another one, the other one is rendered, so
 * that address spaces can share FlatViews.
 */
static const Region *rendered_root(const Fuzz *fuzz, const Region *region)
{
    while (region->mr.enabled) {
        const MemoryRegion *mr = &region->mr;
        const Region *only = NULL;
        int nr_enabled = 0;

        if (region->alias >= 0) {
            const Region *alias = &fuzz->region[region->alias];

            if (mr->alias_offset || int128_lt(mr->size, alias->mr.size)) {
                return region;
            }
            region = alias;
            continue;
        }
        if (mr->terminates) {
            return region;
        }
        for (const Region *r = region + 1; r < fuzz->region + NR_REGIONS; r++) {
            if (is_in(r, region) && r->mr.enabled) {
                nr_enabled++;
                only = r;
            }
        }
        if (!nr_enabled) {
            return NULL;
        }
        if (nr_enabled > 1 || only->mr.addr ||
            int128_lt(mr->size, only->mr.size)) {
            return region;
        }
        region = only;
    }
    return NULL;
}

static Seen seen_in_space(const Space *space, const Region *root,
                          unsigned int unit)
{
    const Fuzz *fuzz = space->fuzz;
    int64_t offset = unit * fuzz->unit;

    if (!space->root) {
        return seen_at(fuzz, &fuzz->region[0], offset, (Seen) { });
    }
    if (!root) {
        return (Seen) { };
    }
    return seen_at(fuzz, root, offset - (int64_t)root->mr.addr, (Seen) { });
}

void fuzz_model_ranges(const Space *space, SeenRanges *ranges)
{
    const Fuzz *fuzz = space->fuzz;
    const Region *root = rendered_root(fuzz, &fuzz->region[space->root]);
    SeenRange *last = NULL;

    ranges->nr = 0;
    for (unsigned int unit = 0; unit < NR_UNITS_MAX; unit++) {
        Seen seen = seen_in_space(space, root, unit);

        if (!seen.mr) {
            last = NULL;
        } else if (last && continues(last, &seen, fuzz->unit)) {
            last->nr++;
        } else {
            last = &ranges->range[ranges->nr++];
            *last = (SeenRange) {
                .seen = seen,
                .unit = unit,
                .nr = 1,
                .dirty_log_mask = memory_region_get_dirty_log_mask(seen.mr),
                .romd_mode = seen.mr->romd_mode,
            };
        }
    }
}

const SeenRange *fuzz_model_find(const SeenRanges *ranges, unsigned int unit)
{
    for (unsigned int i = 0; i < ranges->nr; i++) {
        const SeenRange *range = &ranges->range[i];

        if (unit >= range->unit && unit < range->unit + range->nr) {
            return range;
        }
    }
    return NULL;
}

GArray *fuzz_model_ioeventfds(const Space *space, const SeenRanges *ranges)
{
    GArray *found = g_array_new(false, false, sizeof(IoEventFd));

    for (unsigned int i = 0; i < ranges->nr; i++) {
        const SeenRange *range = &ranges->range[i];
        const Region *region = container_of(range->seen.mr, Region, mr);
        hwaddr start = space->base + range->unit * space->fuzz->unit;

        for (unsigned int j = 0; j < region->nr_ioeventfds; j++) {
            IoEventFd fd = region->ioeventfds[j];

            /* Each is within one unit */
            if (fd.addr >= range->seen.offset &&
                fd.addr - range->seen.offset < range->nr * space->fuzz->unit) {
                fd.addr = fd.addr - range->seen.offset + start;
                g_array_append_val(found, fd);
            }
        }
    }
    return found;
}

GArray *fuzz_model_coalesced(const Space *space, const SeenRanges *ranges)
{
    GArray *found = g_array_new(false, false, sizeof(Coalesced));

    for (unsigned int i = 0; i < ranges->nr; i++) {
        const SeenRange *range = &ranges->range[i];
        const Region *region = container_of(range->seen.mr, Region, mr);
        hwaddr start = space->base + range->unit * space->fuzz->unit;
        hwaddr end = range->seen.offset + range->nr * space->fuzz->unit;

        for (unsigned int j = 0; j < region->nr_coalesced; j++) {
            const Coalesced *whole = &region->coalesced[j];
            hwaddr from = MAX(whole->addr, range->seen.offset);
            hwaddr to = MIN(whole->addr + whole->size, end);
            Coalesced part = {
                .addr = from - range->seen.offset + start,
                .size = to - from,
            };

            if (from < to) {
                g_array_append_val(found, part);
            }
        }
    }
    return found;
}
