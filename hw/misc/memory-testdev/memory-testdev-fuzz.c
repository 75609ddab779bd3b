/*
 * Memory regions at random, and what should be seen of them
 *
 * Some regions of each kind are put into each other, aliased, moved, resized
 * and so on.  A model says what is seen at each page, by looking for it from
 * the root down, and from that which ranges there are and what listeners are to
 * hear of.
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/rcu.h"
#include "qapi/error.h"
#include "exec/memory.h"
#include "memory-testdev.h"

#define PAGE 4096ULL
#define NR_PAGES 96
#define NR_REGIONS 20
/* What a region by itself may have: where it is, and its size */
#define NR_PAGES_MAX (NR_PAGES + NR_PAGES / 2)

typedef struct Fuzz Fuzz;

/* What is seen at a page; @mr is NULL where there is nothing */
typedef struct Seen {
    MemoryRegion *mr;
    hwaddr offset;
    bool readonly;
    bool nonvolatile;
    bool unmergeable;
    uint32_t path;              /* through which containers and aliases */
} Seen;

typedef struct SeenRange {
    Seen seen;                  /* at its first page */
    unsigned int page;
    unsigned int nr;
    uint8_t dirty_log_mask;
    bool romd_mode;
} SeenRange;

typedef struct SeenRanges {
    SeenRange range[NR_PAGES_MAX];
    unsigned int nr;
} SeenRanges;

typedef enum EventType {
    REGION_ADD, REGION_DEL, REGION_NOP, LOG_START, LOG_STOP,
} EventType;

typedef struct Event {
    EventType type;
    MemoryRegion *mr;
    hwaddr offset;
    unsigned int page;
    unsigned int nr;
    bool readonly;
    bool nonvolatile;
    bool unmergeable;
} Event;

typedef struct Space {
    Fuzz *fuzz;
    int root;                   /* which region; 0 stands for Fuzz::root */
    hwaddr base;                /* of the first page that is looked at */
    AddressSpace as;
    MemoryListener listener;
    bool nop;                   /* it is told of what stays the same */
    GArray *events;
    bool committed;
    SeenRanges ranges;          /* when it was told of them last */
} Space;

typedef struct Region {
    MemoryRegion mr;
    bool exists;
    bool is_ram;
    bool is_rom_device;
    bool logs;
    /* The model's */
    int alias;                  /* of which region, or -1 */
    uint64_t serial;            /* when it was put into its container */
} Region;

struct Fuzz {
    GRand *rand;
    hwaddr base;                /* of region 0 in @root */
    MemoryRegion root;
    /* A region contains, and is an alias of, those after it only; 0 is @root */
    Region region[NR_REGIONS];
    uint64_t serial;
    /* Some have a root that is seen in others, too, and moves there */
    Space space[5];
    unsigned int depth;
};

static uint64_t fuzz_io_read(void *opaque, hwaddr addr, unsigned int size)
{
    return 0;
}

static void fuzz_io_write(void *opaque, hwaddr addr, uint64_t data,
                          unsigned int size)
{
}

static const MemoryRegionOps fuzz_io_ops = {
    .read = fuzz_io_read,
    .write = fuzz_io_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
};

static uint32_t below(Fuzz *fuzz, uint32_t n)
{
    return g_rand_int_range(fuzz->rand, 0, n);
}

/*
 * The model
 */

static bool is_in(const Fuzz *fuzz, const Region *region, const Region *in)
{
    return region->exists && region->mr.container == &in->mr;
}

/* Is @a rendered before @b, with the same container? */
static bool is_before(const Region *a, const Region *b)
{
    return a->mr.priority != b->mr.priority ?
           a->mr.priority > b->mr.priority : a->serial > b->serial;
}

/* What is seen of a region at @offset of it, which may be outside? */
static Seen model_at(const Fuzz *fuzz, const Region *region, int64_t offset,
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
        return model_at(fuzz, &fuzz->region[region->alias],
                        offset + mr->alias_offset, inherited);
    }

    /* The first one, and if nothing is seen of that the next one, and so on */
    while (true) {
        const Region *next = NULL;
        Seen seen;

        for (const Region *r = region + 1;
             r < fuzz->region + NR_REGIONS; r++) {
            if (is_in(fuzz, r, region) && (!before || is_before(before, r)) &&
                (!next || is_before(r, next))) {
                next = r;
            }
        }
        if (!next) {
            break;
        }
        seen = model_at(fuzz, next, offset - (int64_t)next->mr.addr,
                        inherited);
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

static bool model_continues(const SeenRange *range, const Seen *seen)
{
    const Seen *s = &range->seen;

    return s->mr == seen->mr && s->offset + range->nr * PAGE == seen->offset &&
           s->readonly == seen->readonly &&
           s->nonvolatile == seen->nonvolatile &&
           s->unmergeable == seen->unmergeable &&
           (!s->unmergeable || s->path == seen->path);
}

/*
 * Which region is rendered for an address space with this root?  Address spaces
 * share what they show the same of, so that of a region that shows only another
 * one, that one is.
 */
static const Region *model_root(const Fuzz *fuzz, const Region *region)
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
            if (is_in(fuzz, r, region) && r->mr.enabled) {
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

/* What is seen at a page of an address space? */
static Seen model_page(const Space *space, const Region *root,
                       unsigned int page)
{
    const Fuzz *fuzz = space->fuzz;
    int64_t offset = page * PAGE;

    if (!space->root) {
        return model_at(fuzz, &fuzz->region[0], offset, (Seen) { });
    }
    if (!root) {
        return (Seen) { };
    }
    return model_at(fuzz, root, offset - (int64_t)root->mr.addr, (Seen) { });
}

static void model_ranges(const Space *space, SeenRanges *ranges)
{
    const Fuzz *fuzz = space->fuzz;
    const Region *root = model_root(fuzz, &fuzz->region[space->root]);
    SeenRange *last = NULL;

    ranges->nr = 0;
    for (unsigned int page = 0; page < NR_PAGES_MAX; page++) {
        Seen seen = model_page(space, root, page);

        if (!seen.mr) {
            last = NULL;
        } else if (last && model_continues(last, &seen)) {
            last->nr++;
        } else {
            last = &ranges->range[ranges->nr++];
            *last = (SeenRange) {
                .seen = seen,
                .page = page,
                .nr = 1,
                .dirty_log_mask = memory_region_get_dirty_log_mask(seen.mr),
                .romd_mode = seen.mr->romd_mode,
            };
        }
    }
}

static const SeenRange *model_find(const SeenRanges *ranges, unsigned int page)
{
    for (unsigned int i = 0; i < ranges->nr; i++) {
        const SeenRange *range = &ranges->range[i];

        if (page >= range->page && page < range->page + range->nr) {
            return range;
        }
    }
    return NULL;
}

/* The same but for who writes a log? */
static bool range_same(const SeenRange *a, const SeenRange *b)
{
    return a && b && a->page == b->page && a->nr == b->nr &&
           a->seen.mr == b->seen.mr && a->seen.offset == b->seen.offset &&
           a->romd_mode == b->romd_mode &&
           a->seen.readonly == b->seen.readonly &&
           a->seen.nonvolatile == b->seen.nonvolatile &&
           a->seen.unmergeable == b->seen.unmergeable;
}

static void add_event(GArray *events, EventType type, const SeenRange *range)
{
    Event event = {
        .type = type,
        .mr = range->seen.mr,
        .offset = range->seen.offset,
        .page = range->page,
        .nr = range->nr,
        .readonly = range->seen.readonly,
        .nonvolatile = range->seen.nonvolatile,
        .unmergeable = range->seen.unmergeable,
    };

    g_array_append_val(events, event);
}

/* What listeners are told when @old becomes @new */
static GArray *model_events(const SeenRanges *old, const SeenRanges *new,
                            bool nop)
{
    GArray *events = g_array_new(false, true, sizeof(Event));

    for (unsigned int i = 0; i < old->nr; i++) {
        const SeenRange *range = &old->range[i];

        if (!range_same(range, model_find(new, range->page))) {
            add_event(events, REGION_DEL, range);
        }
    }
    for (unsigned int i = 0; i < new->nr; i++) {
        const SeenRange *range = &new->range[i];
        const SeenRange *before = model_find(old, range->page);

        if (!range_same(range, before)) {
            add_event(events, REGION_ADD, range);
            continue;
        }
        if (nop) {
            add_event(events, REGION_NOP, range);
        }
        if (range->dirty_log_mask & ~before->dirty_log_mask) {
            add_event(events, LOG_START, range);
        }
        if (before->dirty_log_mask & ~range->dirty_log_mask) {
            add_event(events, LOG_STOP, range);
        }
    }
    return events;
}

/*
 * What there is
 */

static void told(MemoryListener *listener, EventType type,
                 const MemoryRegionSection *section)
{
    Space *space = container_of(listener, Space, listener);
    Event event = {
        .type = type,
        .mr = section->mr,
        .offset = section->offset_within_region,
        .page = (section->offset_within_address_space - space->base) / PAGE,
        .nr = int128_get64(section->size) / PAGE,
        .readonly = section->readonly,
        .nonvolatile = section->nonvolatile,
        .unmergeable = section->unmergeable,
    };

    g_array_append_val(space->events, event);
}

static void fuzz_region_add(MemoryListener *listener,
                            MemoryRegionSection *section)
{
    told(listener, REGION_ADD, section);
}

static void fuzz_region_del(MemoryListener *listener,
                            MemoryRegionSection *section)
{
    told(listener, REGION_DEL, section);
}

static void fuzz_region_nop(MemoryListener *listener,
                            MemoryRegionSection *section)
{
    told(listener, REGION_NOP, section);
}

static void fuzz_log_start(MemoryListener *listener,
                           MemoryRegionSection *section, int old, int new)
{
    told(listener, LOG_START, section);
}

static void fuzz_log_stop(MemoryListener *listener,
                          MemoryRegionSection *section, int old, int new)
{
    told(listener, LOG_STOP, section);
}

static void fuzz_commit(MemoryListener *listener)
{
    container_of(listener, Space, listener)->committed = true;
}

static bool event_same(const Event *a, const Event *b)
{
    return a->type == b->type && a->mr == b->mr && a->offset == b->offset &&
           a->page == b->page && a->nr == b->nr && a->readonly == b->readonly &&
           a->nonvolatile == b->nonvolatile && a->unmergeable == b->unmergeable;
}

static char *event_text(const GArray *events, guint i)
{
    static const char *const type[] = {
        [REGION_ADD] = "region_add", [REGION_DEL] = "region_del",
        [REGION_NOP] = "region_nop", [LOG_START] = "log_start",
        [LOG_STOP] = "log_stop",
    };
    const Event *event;

    if (i >= events->len) {
        return g_strdup("nothing");
    }
    event = &g_array_index(events, Event, i);
    return g_strdup_printf("%s of %s+0x%" HWADDR_PRIx " at page %u, %u pages,"
                           " readonly %d nonvolatile %d unmergeable %d",
                           type[event->type], memory_region_name(event->mr),
                           event->offset, event->page, event->nr,
                           event->readonly, event->nonvolatile,
                           event->unmergeable);
}

static bool check_events(Space *space, const SeenRanges *ranges, Error **errp)
{
    /* What can change nothing is no reason to tell listeners of anything */
    g_autoptr(GArray) expected = model_events(&space->ranges, ranges,
                                              space->nop && space->committed);

    for (guint i = 0; i < MAX(expected->len, space->events->len); i++) {
        g_autofree char *is = NULL, *should = NULL;

        if (i < expected->len && i < space->events->len &&
            event_same(&g_array_index(expected, Event, i),
                       &g_array_index(space->events, Event, i))) {
            continue;
        }
        is = event_text(space->events, i);
        should = event_text(expected, i);
        error_setg(errp, "a listener's callback %u is %s, not %s", i, is,
                   should);
        return false;
    }
    g_array_set_size(space->events, 0);
    space->committed = false;
    space->ranges = *ranges;
    return true;
}

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

    walk->differs = walk->nr == walk->ranges->nr || range->seen.mr != mr ||
        range->seen.offset != offset ||
        int128_getlo(start) != walk->space->base + range->page * PAGE ||
        int128_get64(len) != range->nr * PAGE;
    walk->nr++;
    return walk->differs;
}

static bool check_view(Space *space, const SeenRanges *ranges, Error **errp)
{
    Walk walk = { .space = space, .ranges = ranges };

    flatview_for_each_range(address_space_to_flatview(&space->as), walk_range,
                            &walk);
    if (walk.differs || walk.nr != ranges->nr) {
        error_setg(errp, "range %u of the FlatView is not that of the model",
                   walk.nr - walk.differs);
        return false;
    }
    return true;
}

/* How an access finds a page, and how memory_region_find() does */
static bool check_page(Space *space, const SeenRanges *ranges,
                       unsigned int page, Error **errp)
{
    const SeenRange *range = model_find(ranges, page);
    MemoryRegion *expected = range ? range->seen.mr : NULL, *mr;
    hwaddr addr = space->base + page * PAGE, offset = 0, xlat, len = PAGE;
    MemoryRegionSection section;

    if (range) {
        offset = range->seen.offset + (page - range->page) * PAGE;
    }

    if (!space->root) {
        section = memory_region_find(&space->fuzz->root, addr, PAGE);
        if (section.mr) {
            memory_region_unref(section.mr);
        }
        if (section.mr != expected ||
            (expected && section.offset_within_region != offset)) {
            error_setg(errp, "memory_region_find() is wrong about page %u",
                       page);
            return false;
        }
    }

    mr = address_space_translate(&space->as, addr, &xlat, &len, false,
                                 MEMTXATTRS_UNSPECIFIED);
    if (expected ? mr != expected || xlat != offset || len != PAGE :
                   memory_region_owner(mr) != NULL) {
        error_setg(errp, "address_space_translate() is wrong about page %u",
                   page);
        return false;
    }
    return true;
}

static bool check(Fuzz *fuzz, Error **errp)
{
    SeenRanges ranges;

    RCU_READ_LOCK_GUARD();
    for (int i = 0; i < ARRAY_SIZE(fuzz->space); i++) {
        Space *space = &fuzz->space[i];

        /*
         * A region whose container is disabled cannot be seen in there, so a
         * change of it is no reason for a commit; where it is a root it is
         * seen as it was until the next one.
         */
        if (space->root && !space->committed) {
            ranges = space->ranges;
        } else {
            model_ranges(space, &ranges);
        }
        if (!check_view(space, &ranges, errp) ||
            !check_page(space, &ranges, below(fuzz, NR_PAGES), errp) ||
            !check_events(space, &ranges, errp)) {
            error_prepend(errp, "root %d: ", space->root);
            return false;
        }
    }
    return true;
}

/*
 * What is done
 */

static void put_in(Fuzz *fuzz, Region *region)
{
    int i = region - fuzz->region;
    Region *container = &fuzz->region[below(fuzz, i)];

    if (!container->exists || container->alias >= 0) {
        container = &fuzz->region[0];
    }
    region->serial = ++fuzz->serial;
    memory_region_add_subregion_overlap(&container->mr,
                                        below(fuzz, NR_PAGES) * PAGE,
                                        &region->mr, (int)below(fuzz, 5) - 2);
}

static void region_init(Fuzz *fuzz, Object *owner, Region *region)
{
    int i = region - fuzz->region;
    uint64_t size = (1 + below(fuzz, NR_PAGES / 2)) * PAGE;
    g_autofree char *name = g_strdup_printf("fuzz-%d", i);
    MemoryRegion *mr = &region->mr;

    region->alias = -1;
    region->exists = true;
    switch (i ? i % 5 : -1) {
    case -1:
        memory_region_init(mr, owner, name, NR_PAGES * PAGE);
        break;
    case 0:
        memory_region_init(mr, owner, name, size);
        break;
    case 1:
        memory_region_init_ram_nomigrate(mr, owner, name, size, &error_abort);
        region->is_ram = true;
        break;
    case 2:
        memory_region_init_io(mr, owner, &fuzz_io_ops, NULL, name, size);
        break;
    case 3:
        memory_region_init_rom_device_nomigrate(mr, owner, &fuzz_io_ops, NULL,
                                                name, size, &error_abort);
        region->is_ram = true;
        region->is_rom_device = true;
        break;
    case 4:
        region->exists = i + 1 < NR_REGIONS;
        if (region->exists) {
            region->alias = i + 1 + below(fuzz, NR_REGIONS - i - 1);
            memory_region_init_alias(mr, owner, name,
                                     &fuzz->region[region->alias].mr,
                                     below(fuzz, NR_PAGES / 4) * PAGE, size);
        }
        break;
    }
}

static void change(Fuzz *fuzz)
{
    Region *region = &fuzz->region[1 + below(fuzz, NR_REGIONS - 1)];
    MemoryRegion *mr = &region->mr;

    if (!region->exists) {
        return;
    }
    if (!mr->container) {
        put_in(fuzz, region);
        return;
    }
    switch (below(fuzz, 12)) {
    case 0:
        memory_region_del_subregion(mr->container, mr);
        break;
    case 1:
    case 2:
    case 3: {
        hwaddr addr = below(fuzz, NR_PAGES) * PAGE;

        if (addr != mr->addr) {
            /* It becomes the last that has been put there */
            region->serial = ++fuzz->serial;
        }
        memory_region_set_address(mr, addr);
        break;
    }
    case 4:
    case 5:
        memory_region_set_enabled(mr, !mr->enabled);
        break;
    case 6:
        memory_region_set_readonly(mr, !mr->readonly);
        break;
    case 7:
        memory_region_set_nonvolatile(mr, !mr->nonvolatile);
        break;
    case 8:
        memory_region_set_unmergeable(mr, !mr->unmergeable);
        break;
    case 9:
        if (!region->is_ram) {
            memory_region_set_size(mr, (1 + below(fuzz, NR_PAGES / 2)) * PAGE);
        }
        break;
    case 10:
        if (region->is_rom_device && below(fuzz, 2)) {
            memory_region_rom_device_set_romd(mr, !mr->romd_mode);
        } else if (region->is_ram) {
            region->logs = !region->logs;
            memory_region_set_log(mr, region->logs, DIRTY_MEMORY_VGA);
        }
        break;
    case 11:
        if (region->alias >= 0) {
            memory_region_set_alias_offset(mr, below(fuzz, NR_PAGES / 4) *
                                               PAGE);
        }
        break;
    }
}

/* Some changes in a transaction, perhaps with transactions in it */
static void transaction(Fuzz *fuzz, uint32_t *operations)
{
    uint32_t nr = 1 + below(fuzz, 4);

    memory_region_transaction_begin();
    fuzz->depth++;
    for (uint32_t i = 0; i < nr && *operations; i++) {
        if (fuzz->depth < 3 && !below(fuzz, 8)) {
            transaction(fuzz, operations);
        } else {
            change(fuzz);
            --*operations;
        }
    }
    fuzz->depth--;
    memory_region_transaction_commit();
}

static void space_init(Fuzz *fuzz, int i)
{
    /* A container, one again, and an alias */
    static const int roots[ARRAY_SIZE(fuzz->space)] = { 0, 0, 5, 5, 9 };
    Space *space = &fuzz->space[i];
    MemoryRegion *root = roots[i] ? &fuzz->region[roots[i]].mr : &fuzz->root;

    space->fuzz = fuzz;
    space->root = roots[i];
    space->base = space->root ? 0 : fuzz->base;
    space->nop = i % 2 == 0;
    space->events = g_array_new(false, true, sizeof(Event));
    space->listener = (MemoryListener) {
        .name = "fuzz",
        .commit = fuzz_commit,
        .region_add = fuzz_region_add,
        .region_del = fuzz_region_del,
        .region_nop = space->nop ? fuzz_region_nop : NULL,
        .log_start = fuzz_log_start,
        .log_stop = fuzz_log_stop,
    };
    address_space_init(&space->as, root, "fuzz");
    memory_listener_register(&space->listener, &space->as);
    /* What is there already it has been told of as well */
    model_ranges(space, &space->ranges);
    g_array_set_size(space->events, 0);
    space->committed = false;
}

static Fuzz *fuzz_new(Object *owner, uint32_t seed)
{
    Fuzz *fuzz = g_new0(Fuzz, 1);

    fuzz->rand = g_rand_new_with_seed(seed);
    /* Somewhere, or right below the end of the address space */
    fuzz->base = seed % 2 ? 0x100000000 : -NR_PAGES * PAGE;
    memory_region_init(&fuzz->root, owner, "fuzz-root", UINT64_MAX);
    for (int i = NR_REGIONS - 1; i >= 0; i--) {
        region_init(fuzz, owner, &fuzz->region[i]);
    }
    memory_region_add_subregion(&fuzz->root, fuzz->base, &fuzz->region[0].mr);

    for (int i = 0; i < ARRAY_SIZE(fuzz->space); i++) {
        space_init(fuzz, i);
    }
    return fuzz;
}

static void fuzz_free(Fuzz *fuzz)
{
    for (int i = 0; i < ARRAY_SIZE(fuzz->space); i++) {
        memory_listener_unregister(&fuzz->space[i].listener);
        g_array_free(fuzz->space[i].events, true);
        address_space_destroy(&fuzz->space[i].as);
    }
    for (int i = 0; i < NR_REGIONS; i++) {
        MemoryRegion *mr = &fuzz->region[i].mr;

        if (fuzz->region[i].exists && mr->container) {
            memory_region_del_subregion(mr->container, mr);
        }
    }
    /* Address spaces end later, then their views, which refer to all of it */
    drain_call_rcu();
    drain_call_rcu();
    for (int i = 0; i < NR_REGIONS; i++) {
        if (fuzz->region[i].exists) {
            object_unparent(OBJECT(&fuzz->region[i].mr));
        }
    }
    object_unparent(OBJECT(&fuzz->root));
    g_rand_free(fuzz->rand);
    g_free(fuzz);
}

bool memory_fuzz(Object *owner, uint32_t seed, uint32_t operations,
                 Error **errp)
{
    Fuzz *fuzz = fuzz_new(owner, seed);
    uint32_t left = operations;
    Error *err = NULL;

    while (left && check(fuzz, &err)) {
        transaction(fuzz, &left);
    }
    if (!err) {
        check(fuzz, &err);
    }
    fuzz_free(fuzz);
    if (err) {
        error_propagate_prepend(errp, err, "seed %" PRIu32 ", %" PRIu32
                                " operations: ", seed, operations - left);
    }
    return !err;
}
