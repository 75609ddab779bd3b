/*
 * The aliases of a MemoryRegion
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "exec/memory.h"
#include "memory-aliases.h"

typedef QLIST_HEAD(AliasList, RegionAlias) AliasList;

/* Linked alias -> its RegionAlias */
static GHashTable *aliases;
/* Region with linked aliases -> their AliasList */
static GHashTable *originals;

static RegionAlias *find(const MemoryRegion *mr)
{
    return aliases ? g_hash_table_lookup(aliases, mr) : NULL;
}

static AliasList *find_list(const MemoryRegion *original)
{
    return originals ? g_hash_table_lookup(originals, original) : NULL;
}

static void link_alias(MemoryRegion *mr)
{
    RegionAlias *alias = g_new0(RegionAlias, 1);
    AliasList *list = find_list(mr->alias);

    if (!aliases) {
        aliases = g_hash_table_new(NULL, NULL);
        originals = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    }
    if (!list) {
        list = g_new0(AliasList, 1);
        g_hash_table_insert(originals, mr->alias, list);
    }
    alias->mr = mr;
    alias->original = mr->alias;
    QLIST_INSERT_HEAD(list, alias, next);
    g_hash_table_insert(aliases, mr, alias);
    /* The original may be an alias as well */
    region_aliases_use(mr->alias);
}

static void unlink_alias(RegionAlias *alias)
{
    MemoryRegion *original = alias->original;

    QLIST_REMOVE(alias, next);
    g_hash_table_remove(aliases, alias->mr);
    g_free(alias);
    if (QLIST_EMPTY(find_list(original))) {
        g_hash_table_remove(originals, original);
    }
    region_aliases_unuse(original);
}

void region_aliases_renew(MemoryRegion *mr)
{
    RegionAlias *alias = find(mr);

    if (alias && alias->original != mr->alias) {
        unsigned int uses = alias->uses;

        unlink_alias(alias);
        if (mr->alias) {
            link_alias(mr);
            find(mr)->uses = uses;
        }
    }
}

void region_aliases_use(MemoryRegion *mr)
{
    region_aliases_renew(mr);
    if (!mr->alias) {
        return;
    }
    if (!find(mr)) {
        link_alias(mr);
    }
    find(mr)->uses++;
}

void region_aliases_unuse(MemoryRegion *mr)
{
    RegionAlias *alias = find(mr);

    if (alias && !--alias->uses) {
        unlink_alias(alias);
    }
}

void region_aliases_destroy(MemoryRegion *mr)
{
    RegionAlias *alias = find(mr);
    AliasList *list;

    if (alias) {
        unlink_alias(alias);
    }
    /* The region's remaining aliases show nothing any more */
    while ((list = find_list(mr))) {
        unlink_alias(QLIST_FIRST(list));
    }
}

RegionAlias *region_aliases_first(const MemoryRegion *original)
{
    AliasList *list = find_list(original);

    return list ? QLIST_FIRST(list) : NULL;
}
