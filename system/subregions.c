/*
 * The subregions of a MemoryRegion: in the order in which they are rendered,
 * and by address
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/interval-tree.h"
#include "qemu/main-loop.h"
#include "exec/memory.h"
#include "region-aliases.h"
#include "subregions.h"

/* Where the subregions of a priority begin in MemoryRegion::subregions */
typedef struct PriorityStart {
    int32_t priority;
    MemoryRegion *first;
} PriorityStart;

static PriorityStart *priority_start(MemoryRegion *mr, guint i)
{
    return &g_array_index(mr->subregion_priorities, PriorityStart, i);
}

/* The first of mr's priorities that is @priority or lower, if only its place */
static guint priority_find(MemoryRegion *mr, int32_t priority)
{
    guint i = 0;

    while (i < mr->subregion_priorities->len &&
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

    if (!mr->subregion_priorities) {
        mr->subregion_priorities = g_array_new(false, false, sizeof(start));
    }
    i = priority_find(mr, subregion->priority);
    if (i == mr->subregion_priorities->len) {
        QTAILQ_INSERT_TAIL(&mr->subregions, subregion, subregions_link);
        g_array_append_val(mr->subregion_priorities, start);
        return;
    }

    next = priority_start(mr, i);
    QTAILQ_INSERT_BEFORE(next->first, subregion, subregions_link);
    if (next->priority == subregion->priority) {
        next->first = subregion;
    } else {
        g_array_insert_val(mr->subregion_priorities, i, start);
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
            g_array_remove_index(mr->subregion_priorities, i);
        }
    }
    QTAILQ_REMOVE(&mr->subregions, subregion, subregions_link);
}

/* What begins or ends above 2^64 is seen up to there only */
static void tree_insert(MemoryRegion *mr, MemoryRegion *subregion)
{
    IntervalTreeNode *node = &subregion->subregion_node;
    Int128 last = int128_add(int128_make64(subregion->addr), subregion->size);

    subregion->subregion_in_tree = int128_nz(subregion->size);
    if (!subregion->subregion_in_tree) {
        return;
    }
    node->start = subregion->addr;
    node->last = int128_getlo(int128_min(int128_sub(last, int128_one()),
                                         int128_make64(UINT64_MAX)));
    interval_tree_insert(node, &mr->subregion_tree);
}

static void tree_remove(MemoryRegion *mr, MemoryRegion *subregion)
{
    if (subregion->subregion_in_tree) {
        interval_tree_remove(&subregion->subregion_node, &mr->subregion_tree);
    }
}

void subregions_insert(MemoryRegion *mr, MemoryRegion *subregion)
{
    static uint64_t serial;

    assert(bql_locked());
    subregion->subregion_serial = serial++;
    list_insert(mr, subregion);
    tree_insert(mr, subregion);
    if (subregion->enabled) {
        QLIST_INSERT_HEAD(&mr->enabled_subregions, subregion, enabled_link);
    }
    region_aliases_use(subregion);
}

void subregions_remove(MemoryRegion *mr, MemoryRegion *subregion)
{
    region_aliases_unuse(subregion);
    QLIST_SAFE_REMOVE(subregion, enabled_link);
    list_remove(mr, subregion);
    tree_remove(mr, subregion);
}

void subregions_resize(MemoryRegion *mr, MemoryRegion *subregion)
{
    tree_remove(mr, subregion);
    tree_insert(mr, subregion);
}

void subregions_enable(MemoryRegion *mr, MemoryRegion *subregion)
{
    if (subregion->enabled) {
        QLIST_INSERT_HEAD(&mr->enabled_subregions, subregion, enabled_link);
    } else {
        QLIST_SAFE_REMOVE(subregion, enabled_link);
    }
}

static int compare_order(gconstpointer a, gconstpointer b)
{
    const MemoryRegion *x = *(MemoryRegion *const *)a;
    const MemoryRegion *y = *(MemoryRegion *const *)b;

    if (x->priority != y->priority) {
        return x->priority > y->priority ? -1 : 1;
    }
    return x->subregion_serial > y->subregion_serial ? -1 : 1;
}

GPtrArray *subregions_find(MemoryRegion *mr, hwaddr first, hwaddr last)
{
    GPtrArray *found = g_ptr_array_new();
    IntervalTreeNode *node;

    for (node = interval_tree_iter_first(&mr->subregion_tree, first, last);
         node; node = interval_tree_iter_next(node, first, last)) {
        g_ptr_array_add(found, container_of(node, MemoryRegion,
                                            subregion_node));
    }
    g_ptr_array_sort(found, compare_order);
    return found;
}

void subregions_destroy(MemoryRegion *mr)
{
    g_clear_pointer(&mr->subregion_priorities, g_array_unref);
    region_aliases_forget(mr);
}
