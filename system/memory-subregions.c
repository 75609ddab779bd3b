/*
 * The subregions of a MemoryRegion: in rendering order and by address
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "exec/memory.h"
#include "memory-aliases.h"
#include "memory-dirty-ranges.h"

/* The first subregion with a priority, in MemoryRegion::subregions */
typedef struct PriorityStart {
    int32_t priority;
    MemoryRegion *first;
} PriorityStart;

static PriorityStart *priority_start(MemoryRegion *mr, guint i)
{
    return &g_array_index(mr->index.priorities, PriorityStart, i);
}

/* Index of the first entry with priority <= @priority (its insertion point) */
static guint priority_find(MemoryRegion *mr, int32_t priority)
{
    guint i = 0;

    while (i < mr->index.priorities->len &&
           priority_start(mr, i)->priority > priority) {
        i++;
    }
    return i;
}

static void list_insert(MemoryRegion *mr, MemoryRegion *subregion)
{
    PriorityStart start = { subregion->priority, subregion };
    PriorityStart *next;
    guint i;

    if (!mr->index.priorities) {
        mr->index.priorities = g_array_new(false, false, sizeof(start));
    }
    i = priority_find(mr, subregion->priority);
    if (i == mr->index.priorities->len) {
        QTAILQ_INSERT_TAIL(&mr->subregions, subregion, subregions_link);
        g_array_append_val(mr->index.priorities, start);
        return;
    }

    next = priority_start(mr, i);
    QTAILQ_INSERT_BEFORE(next->first, subregion, subregions_link);
    if (next->priority == subregion->priority) {
        next->first = subregion;
    } else {
        g_array_insert_val(mr->index.priorities, i, start);
    }
}

static void list_remove(MemoryRegion *mr, MemoryRegion *subregion)
{
    guint i = priority_find(mr, subregion->priority);
    PriorityStart *start = priority_start(mr, i);

    if (start->first == subregion) {
        MemoryRegion *next = QTAILQ_NEXT(subregion, subregions_link);

        if (next && next->priority == subregion->priority) {
            start->first = next;
        } else {
            g_array_remove_index(mr->index.priorities, i);
        }
    }
    QTAILQ_REMOVE(&mr->subregions, subregion, subregions_link);
}

/* A subregion may end above 2^64; the tree has the part below */
static void tree_insert(MemoryRegion *mr, MemoryRegion *subregion)
{
    IntervalTreeNode *node = &subregion->index.node;
    Int128 end = int128_add(int128_make64(subregion->addr), subregion->size);

    subregion->index.in_tree = int128_nz(subregion->size);
    if (!subregion->index.in_tree) {
        return;
    }
    node->start = subregion->addr;
    node->last = int128_getlo(int128_min(int128_sub(end, int128_one()),
                                         int128_make64(UINT64_MAX)));
    interval_tree_insert(node, &mr->index.tree);
}

static void tree_remove(MemoryRegion *mr, MemoryRegion *subregion)
{
    if (subregion->index.in_tree) {
        interval_tree_remove(&subregion->index.node, &mr->index.tree);
    }
}

void subregions_insert(MemoryRegion *mr, MemoryRegion *subregion)
{
    static uint64_t serial;

    assert(bql_locked());
    subregion->index.serial = serial++;
    list_insert(mr, subregion);
    tree_insert(mr, subregion);
    if (subregion->enabled) {
        QLIST_INSERT_HEAD(&mr->index.enabled, subregion, index.enabled_link);
    }
    region_aliases_use(subregion);
    dirty_ranges_add_subregion(mr, subregion);
}

void subregions_remove(MemoryRegion *mr, MemoryRegion *subregion)
{
    dirty_ranges_add_subregion(mr, subregion);
    region_aliases_unuse(subregion);
    QLIST_SAFE_REMOVE(subregion, index.enabled_link);
    list_remove(mr, subregion);
    tree_remove(mr, subregion);
}

void subregions_set_size(MemoryRegion *subregion, Int128 size)
{
    MemoryRegion *mr = subregion->container;

    dirty_ranges_add(subregion);
    if (mr) {
        tree_remove(mr, subregion);
    }
    subregion->size = size;
    if (mr) {
        tree_insert(mr, subregion);
    }
    dirty_ranges_add(subregion);
}

void subregions_set_enabled(MemoryRegion *subregion, bool enabled)
{
    MemoryRegion *mr = subregion->container;

    subregion->enabled = enabled;
    if (mr && enabled) {
        QLIST_INSERT_HEAD(&mr->index.enabled, subregion, index.enabled_link);
    } else if (mr) {
        QLIST_SAFE_REMOVE(subregion, index.enabled_link);
    }
    dirty_ranges_add(subregion);
}

void subregions_set_alias(MemoryRegion *mr, MemoryRegion *original)
{
    mr->alias = original;
    region_aliases_renew(mr);
}

static int compare_order(gconstpointer a, gconstpointer b)
{
    const MemoryRegion *x = *(MemoryRegion *const *)a;
    const MemoryRegion *y = *(MemoryRegion *const *)b;

    if (x->priority != y->priority) {
        return x->priority > y->priority ? -1 : 1;
    }
    return x->index.serial > y->index.serial ? -1 : 1;
}

GPtrArray *subregions_find(MemoryRegion *mr, hwaddr first, hwaddr last)
{
    GPtrArray *found = g_ptr_array_new();
    IntervalTreeNode *node;

    for (node = interval_tree_iter_first(&mr->index.tree, first, last);
         node; node = interval_tree_iter_next(node, first, last)) {
        g_ptr_array_add(found, container_of(node, MemoryRegion, index.node));
    }
    g_ptr_array_sort(found, compare_order);
    return found;
}

void subregions_destroy(MemoryRegion *mr)
{
    g_clear_pointer(&mr->index.priorities, g_array_unref);
    region_aliases_destroy(mr);
}
