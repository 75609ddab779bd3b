/*
 * Randomized changes of memory regions: the callbacks of a listener
 *
 * Callbacks about sections are compared with the model one by one, as their
 * order is defined.  The order of callbacks about ioeventfds and coalesced
 * ranges is not, so their result is compared.
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "fuzz.h"

typedef enum EventType {
    REGION_ADD, REGION_DEL, REGION_NOP, LOG_START, LOG_STOP,
} EventType;

typedef struct Event {
    EventType type;
    MemoryRegion *mr;
    hwaddr offset;
    unsigned int unit;
    unsigned int nr;
    bool readonly;
    bool nonvolatile;
    bool unmergeable;
} Event;

/*
 * The expected callbacks
 */

/* Compare, except for the dirty log */
static bool range_same(const SeenRange *a, const SeenRange *b)
{
    return a && b && a->unit == b->unit && a->nr == b->nr &&
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
        .unit = range->unit,
        .nr = range->nr,
        .readonly = range->seen.readonly,
        .nonvolatile = range->seen.nonvolatile,
        .unmergeable = range->seen.unmergeable,
    };

    g_array_append_val(events, event);
}

/* Returns the callbacks for a change from @old to @new */
static GArray *model_events(const SeenRanges *old, const SeenRanges *new,
                            bool nop)
{
    GArray *events = g_array_new(false, true, sizeof(Event));

    for (unsigned int i = 0; i < old->nr; i++) {
        const SeenRange *range = &old->range[i];

        if (!range_same(range, fuzz_model_find(new, range->unit))) {
            add_event(events, REGION_DEL, range);
        }
    }
    for (unsigned int i = 0; i < new->nr; i++) {
        const SeenRange *range = &new->range[i];
        const SeenRange *before = fuzz_model_find(old, range->unit);

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
 * Returns the callbacks for a listener that is added or removed: for each
 * range, and for its dirty log
 */
static GArray *model_events_of_all(const SeenRanges *ranges, bool added)
{
    GArray *events = g_array_new(false, true, sizeof(Event));

    for (unsigned int i = 0; i < ranges->nr; i++) {
        const SeenRange *range = &ranges->range[i];

        if (added) {
            add_event(events, REGION_ADD, range);
        }
        if (range->dirty_log_mask) {
            add_event(events, added ? LOG_START : LOG_STOP, range);
        }
        if (!added) {
            add_event(events, REGION_DEL, range);
        }
    }
    return events;
}

/*
 * The callbacks
 */

static void told(MemoryListener *listener, EventType type,
                 const MemoryRegionSection *section)
{
    Space *space = container_of(listener, Space, listener);
    hwaddr unit = space->fuzz->unit;
    Event event = {
        .type = type,
        .mr = section->mr,
        .offset = section->offset_within_region,
        .unit = (section->offset_within_address_space - space->base) / unit,
        .nr = int128_get64(section->size) / unit,
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

static void G_GNUC_PRINTF(2, 3) told_wrong(Space *space, const char *format,
                                           ...)
{
    va_list ap;

    if (!space->wrong) {
        va_start(ap, format);
        space->wrong = g_strdup_vprintf(format, ap);
        va_end(ap);
    }
}

static bool ioeventfd_same(const IoEventFd *a, const IoEventFd *b)
{
    return a->addr == b->addr && a->size == b->size &&
           a->match_data == b->match_data && a->data == b->data && a->e == b->e;
}

/* Remove an equal ioeventfd; returns false if there is none */
static bool remove_ioeventfd(GArray *ioeventfds, const IoEventFd *fd)
{
    for (guint i = 0; i < ioeventfds->len; i++) {
        if (ioeventfd_same(&g_array_index(ioeventfds, IoEventFd, i), fd)) {
            g_array_remove_index_fast(ioeventfds, i);
            return true;
        }
    }
    return false;
}

static bool remove_coalesced(GArray *coalesced, const Coalesced *range)
{
    for (guint i = 0; i < coalesced->len; i++) {
        const Coalesced *c = &g_array_index(coalesced, Coalesced, i);

        if (c->addr == range->addr && c->size == range->size) {
            g_array_remove_index_fast(coalesced, i);
            return true;
        }
    }
    return false;
}

static IoEventFd told_ioeventfd(const MemoryRegionSection *section,
                                bool match_data, uint64_t data,
                                EventNotifier *e)
{
    return (IoEventFd) {
        .addr = section->offset_within_address_space,
        .size = int128_get64(section->size),
        .match_data = match_data,
        .data = data,
        .e = e,
    };
}

static void fuzz_eventfd_add(MemoryListener *listener,
                             MemoryRegionSection *section, bool match_data,
                             uint64_t data, EventNotifier *e)
{
    Space *space = container_of(listener, Space, listener);
    IoEventFd fd = told_ioeventfd(section, match_data, data, e);

    g_array_append_val(space->ioeventfds, fd);
}

static void fuzz_eventfd_del(MemoryListener *listener,
                             MemoryRegionSection *section, bool match_data,
                             uint64_t data, EventNotifier *e)
{
    Space *space = container_of(listener, Space, listener);
    IoEventFd fd = told_ioeventfd(section, match_data, data, e);

    if (!remove_ioeventfd(space->ioeventfds, &fd)) {
        told_wrong(space, "no ioeventfd at 0x%" HWADDR_PRIx " to be deleted",
                   fd.addr);
    }
}

static void fuzz_coalesced_io_add(MemoryListener *listener,
                                  MemoryRegionSection *section,
                                  hwaddr addr, hwaddr size)
{
    Space *space = container_of(listener, Space, listener);
    Coalesced range = { addr, size };

    g_array_append_val(space->coalesced, range);
}

static void fuzz_coalesced_io_del(MemoryListener *listener,
                                  MemoryRegionSection *section,
                                  hwaddr addr, hwaddr size)
{
    Space *space = container_of(listener, Space, listener);
    Coalesced range = { addr, size };

    if (!remove_coalesced(space->coalesced, &range)) {
        told_wrong(space, "no coalesced range at 0x%" HWADDR_PRIx
                   " to be deleted", addr);
    }
}

/*
 * The comparison
 */

static bool event_same(const Event *a, const Event *b)
{
    return a->type == b->type && a->mr == b->mr && a->offset == b->offset &&
           a->unit == b->unit && a->nr == b->nr && a->readonly == b->readonly &&
           a->nonvolatile == b->nonvolatile && a->unmergeable == b->unmergeable;
}

static char *event_text(const Space *space, const GArray *events, guint i)
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
    return g_strdup_printf("%s of region %td+0x%" HWADDR_PRIx " at unit %u,"
                           " %u units, readonly %d nonvolatile %d"
                           " unmergeable %d", type[event->type],
                           container_of(event->mr, Region, mr) -
                           space->fuzz->region,
                           event->offset, event->unit, event->nr,
                           event->readonly, event->nonvolatile,
                           event->unmergeable);
}

static bool check_events(Space *space, GArray *expected, Error **errp)
{
    for (guint i = 0; i < MAX(expected->len, space->events->len); i++) {
        g_autofree char *is = NULL, *should = NULL;

        if (i < expected->len && i < space->events->len &&
            event_same(&g_array_index(expected, Event, i),
                       &g_array_index(space->events, Event, i))) {
            continue;
        }
        is = event_text(space, space->events, i);
        should = event_text(space, expected, i);
        error_setg(errp, "a listener's callback %u is %s, not %s", i, is,
                   should);
        return false;
    }
    g_array_set_size(space->events, 0);
    return true;
}

bool fuzz_told_check(Space *space, const SeenRanges *ranges, Error **errp)
{
    /* Without a commit, listeners do not hear of unchanged ranges */
    bool nop = space->listener.region_nop && space->committed;
    g_autoptr(GArray) expected = model_events(&space->ranges, ranges, nop);

    if (!check_events(space, expected, errp)) {
        return false;
    }
    space->committed = false;
    space->ranges = *ranges;
    return true;
}

static bool check_ioeventfds(Space *space, const SeenRanges *ranges,
                             Error **errp)
{
    g_autoptr(GArray) expected = fuzz_model_ioeventfds(space, ranges);

    for (guint i = 0; i < space->ioeventfds->len; i++) {
        const IoEventFd *fd = &g_array_index(space->ioeventfds, IoEventFd, i);

        if (!remove_ioeventfd(expected, fd)) {
            error_setg(errp, "a listener has an ioeventfd at 0x%" HWADDR_PRIx
                       " that should not be there", fd->addr);
            return false;
        }
    }
    if (expected->len) {
        error_setg(errp, "a listener has no ioeventfd at 0x%" HWADDR_PRIx,
                   g_array_index(expected, IoEventFd, 0).addr);
        return false;
    }
    return true;
}

static bool check_coalesced(Space *space, const SeenRanges *ranges,
                            Error **errp)
{
    g_autoptr(GArray) expected = fuzz_model_coalesced(space, ranges);

    for (guint i = 0; i < space->coalesced->len; i++) {
        const Coalesced *c = &g_array_index(space->coalesced, Coalesced, i);

        if (!remove_coalesced(expected, c)) {
            error_setg(errp, "a listener has a coalesced range at 0x%"
                       HWADDR_PRIx ", size 0x%" HWADDR_PRIx ", that should not"
                       " be there", c->addr, c->size);
            return false;
        }
    }
    if (expected->len) {
        error_setg(errp, "a listener has no coalesced range at 0x%" HWADDR_PRIx,
                   g_array_index(expected, Coalesced, 0).addr);
        return false;
    }
    return true;
}

bool fuzz_told_check_sets(Space *space, const SeenRanges *ranges, Error **errp)
{
    if (space->wrong) {
        error_setg(errp, "a listener was told wrongly: %s", space->wrong);
        return false;
    }
    return check_ioeventfds(space, ranges, errp) &&
           check_coalesced(space, ranges, errp);
}

bool fuzz_told_register(Space *space, bool nop, Error **errp)
{
    g_autoptr(GArray) expected = NULL;

    space->events = g_array_new(false, true, sizeof(Event));
    space->ioeventfds = g_array_new(false, false, sizeof(IoEventFd));
    space->coalesced = g_array_new(false, false, sizeof(Coalesced));
    space->listener = (MemoryListener) {
        .name = "fuzz",
        .commit = fuzz_commit,
        .region_add = fuzz_region_add,
        .region_del = fuzz_region_del,
        .region_nop = nop ? fuzz_region_nop : NULL,
        .log_start = fuzz_log_start,
        .log_stop = fuzz_log_stop,
        .eventfd_add = fuzz_eventfd_add,
        .eventfd_del = fuzz_eventfd_del,
        .coalesced_io_add = fuzz_coalesced_io_add,
        .coalesced_io_del = fuzz_coalesced_io_del,
    };
    memory_listener_register(&space->listener, space->as);
    /* The first listener hears of ioeventfds with the next transaction */
    memory_region_transaction_begin();
    memory_region_transaction_commit();

    fuzz_model_ranges(space, &space->ranges);
    expected = model_events_of_all(&space->ranges, true);
    space->committed = false;
    return check_events(space, expected, errp) &&
           fuzz_told_check_sets(space, &space->ranges, errp);
}

bool fuzz_told_unregister(Space *space, Error **errp)
{
    static const SeenRanges nothing;
    g_autoptr(GArray) expected = model_events_of_all(&space->ranges, false);
    bool ok;

    memory_listener_unregister(&space->listener);
    ok = check_events(space, expected, errp) &&
         fuzz_told_check_sets(space, &nothing, errp);
    g_clear_pointer(&space->events, g_array_unref);
    g_clear_pointer(&space->ioeventfds, g_array_unref);
    g_clear_pointer(&space->coalesced, g_array_unref);
    g_clear_pointer(&space->wrong, g_free);
    return ok;
}
