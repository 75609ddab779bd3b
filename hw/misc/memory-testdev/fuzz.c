/*
 * Randomized changes of memory regions: address spaces, and the loop
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/rcu.h"
#include "qapi/error.h"
#include "fuzz.h"
#include "memory-testdev.h"

/* Number of transactions for each begin or end of an address space or region */
#define TRANSACTIONS_PER_LIFE 20

static bool space_init(Fuzz *fuzz, int i, int root, Error **errp)
{
    Space *space = &fuzz->space[i];
    MemoryRegion *mr = root ? &fuzz->region[root].mr : &fuzz->root;

    space->fuzz = fuzz;
    space->root = root;
    space->base = root ? 0 : fuzz->base;
    space->as = g_new0(AddressSpace, 1);
    address_space_init(space->as, mr, "fuzz");
    return fuzz_told_register(space, i % 2 == 0, errp);
}

static bool space_destroy(Space *space, Error **errp)
{
    bool ok = fuzz_told_unregister(space, errp);

    address_space_destroy_free(g_steal_pointer(&space->as));
    return ok;
}

/* The first one stays: memory_region_find() uses it */
static bool space_comes_or_goes(Fuzz *fuzz, Error **errp)
{
    int i = 1 + fuzz_below(fuzz, NR_SPACES - 1);

    if (fuzz->space[i].as) {
        return space_destroy(&fuzz->space[i], errp);
    }
    return space_init(fuzz, i, fuzz_below(fuzz, NR_REGIONS), errp);
}

static bool life(Fuzz *fuzz, Error **errp)
{
    /* Otherwise a new address space may share a FlatView that is out of date */
    fuzz_commit_all(fuzz);
    if (!fuzz_check(fuzz, errp)) {
        return false;
    }
    if (!fuzz_below(fuzz, 3)) {
        return space_comes_or_goes(fuzz, errp);
    }
    fuzz_init_again(fuzz);
    return true;
}

/* Some changes in a transaction, which may have nested ones */
static void transaction(Fuzz *fuzz, uint32_t *operations)
{
    uint32_t nr = 1 + fuzz_below(fuzz, 4);

    memory_region_transaction_begin();
    fuzz->depth++;
    for (uint32_t i = 0; i < nr && *operations; i++) {
        if (fuzz->depth < 3 && !fuzz_below(fuzz, 8)) {
            transaction(fuzz, operations);
        } else {
            fuzz_change(fuzz);
            --*operations;
        }
    }
    fuzz->depth--;
    memory_region_transaction_commit();
}

static Fuzz *fuzz_new(Object *owner, uint32_t seed, Error **errp)
{
    /* Two containers, twice each, and an alias */
    static const int roots[] = { 0, 0, 6, 6, 10 };
    Fuzz *fuzz = g_new0(Fuzz, 1);
    bool ok = true;

    fuzz->rand = g_rand_new_with_seed(seed);
    fuzz->owner = owner;
    fuzz->unit = seed / 2 % 2 ? 1024 : 4096;
    /* At 4 GiB, or right below the end of the address space */
    fuzz->base = seed % 2 ? 0x100000000 : -NR_UNITS * fuzz->unit;
    fuzz_regions_init(fuzz);
    for (int i = 0; ok && i < ARRAY_SIZE(roots); i++) {
        ok = space_init(fuzz, i, roots[i], errp);
    }
    return fuzz;
}

static void fuzz_free(Fuzz *fuzz)
{
    for (int i = 0; i < NR_SPACES; i++) {
        if (fuzz->space[i].as) {
            /* After an error, what the listener is told does not matter */
            space_destroy(&fuzz->space[i], NULL);
        }
    }
    fuzz_regions_destroy(fuzz);
    g_rand_free(fuzz->rand);
    g_free(fuzz);
}

bool memory_fuzz(Object *owner, uint32_t seed, uint32_t operations,
                 Error **errp)
{
    uint32_t left = operations;
    Error *err = NULL;
    Fuzz *fuzz = fuzz_new(owner, seed, &err);

    while (!err && fuzz_check(fuzz, &err) && left) {
        if (fuzz_below(fuzz, TRANSACTIONS_PER_LIFE) || life(fuzz, &err)) {
            transaction(fuzz, &left);
        }
    }
    fuzz_free(fuzz);
    if (err) {
        error_propagate_prepend(errp, err, "seed %" PRIu32 ", %" PRIu32
                                " operations: ", seed, operations - left);
    }
    return !err;
}
