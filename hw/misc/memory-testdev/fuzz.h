/*
 * Randomized changes of memory regions, compared with a model
 *
 * fuzz.c         address spaces, and the main loop
 * fuzz-regions.c the regions and their changes
 * fuzz-model.c   the model: what an address space should show
 * fuzz-told.c    compares the callbacks of a listener with the model
 * fuzz-check.c   compares address spaces with the model
 *
 * The model does not use FlatViews.  For each unit of an address space, it
 * searches from the root down.
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_MISC_MEMORY_TESTDEV_FUZZ_H
#define HW_MISC_MEMORY_TESTDEV_FUZZ_H

#include "exec/memory.h"
#include "qemu/event_notifier.h"

/* All addresses and sizes are multiples of a unit: a page, or part of one */
#define NR_UNITS 96
/* A region that is a root ends below this: its address plus its size */
#define NR_UNITS_MAX (NR_UNITS + NR_UNITS / 2)
#define NR_REGIONS 24
#define NR_SPACES 6
/* Largest number in a region */
#define NR_IOEVENTFDS 3
#define NR_COALESCED 3

typedef struct Fuzz Fuzz;

typedef enum Kind {
    CONTAINER, RAM, IO, ROM_DEVICE, ALIAS, IOMMU, NR_KINDS,
} Kind;

typedef struct IoEventFd {
    hwaddr addr;
    unsigned int size;
    bool match_data;
    uint64_t data;
    EventNotifier *e;           /* only its address matters */
} IoEventFd;

typedef struct Coalesced {
    hwaddr addr;
    hwaddr size;
} Coalesced;

typedef struct Region {
    union {
        MemoryRegion mr;
        IOMMUMemoryRegion iommu;
    };
    Fuzz *fuzz;
    Kind kind;
    bool logs;
    EventNotifier notifiers[NR_IOEVENTFDS];
    /* For the model */
    int alias;                  /* index of its original, or -1 */
    uint64_t serial;            /* of its insertion into its container */
    IoEventFd ioeventfds[NR_IOEVENTFDS];
    unsigned int nr_ioeventfds;
    Coalesced coalesced[NR_COALESCED];
    unsigned int nr_coalesced;
} Region;

/* What a unit shows; @mr is NULL if it shows nothing */
typedef struct Seen {
    MemoryRegion *mr;
    hwaddr offset;
    bool readonly;
    bool nonvolatile;
    bool unmergeable;
    uint32_t path;              /* hash of the containers and aliases above */
} Seen;

typedef struct SeenRange {
    Seen seen;                  /* at its first unit */
    unsigned int unit;
    unsigned int nr;
    uint8_t dirty_log_mask;
    bool romd_mode;
} SeenRange;

typedef struct SeenRanges {
    SeenRange range[NR_UNITS_MAX];
    unsigned int nr;
} SeenRanges;

typedef struct Space {
    Fuzz *fuzz;
    int root;                   /* index of a region; 0 stands for Fuzz::root */
    hwaddr base;                /* address of the first compared unit */
    AddressSpace *as;
    MemoryListener listener;
    /* Callbacks since the last check: Event */
    GArray *events;
    bool committed;
    /* What exists according to the callbacks: IoEventFd, Coalesced */
    GArray *ioeventfds;
    GArray *coalesced;
    char *wrong;                /* the first wrong callback */
    SeenRanges ranges;          /* as of the last check */
} Space;

struct Fuzz {
    GRand *rand;
    Object *owner;
    hwaddr unit;
    hwaddr base;                /* address of region 0 in @root */
    MemoryRegion root;
    /* A region contains, and is an alias of, only regions after it */
    Region region[NR_REGIONS];
    uint64_t serial;
    /* The root of some is visible in others, too, and moves there */
    Space space[NR_SPACES];
    /* The RAM behind the IOMMUs */
    MemoryRegion target;
    AddressSpace *target_as;
    MemoryRegion unseen;        /* changed to cause a commit */
    unsigned int depth;         /* of nested transactions */
};

static inline uint32_t fuzz_below(Fuzz *fuzz, uint32_t n)
{
    return g_rand_int_range(fuzz->rand, 0, n);
}

static inline hwaddr fuzz_units(Fuzz *fuzz, uint32_t n)
{
    return fuzz_below(fuzz, n) * fuzz->unit;
}

/*
 * fuzz-regions.c
 */

/**
 * fuzz_regions_init: initialize the regions, and the RAM behind the IOMMUs
 *
 * Context: BQL held.
 */
void fuzz_regions_init(Fuzz *fuzz);

/**
 * fuzz_regions_destroy: finalize them; nothing may refer to them any more
 *
 * Context: BQL held.
 */
void fuzz_regions_destroy(Fuzz *fuzz);

/**
 * fuzz_change: make a random change that is possible in a transaction
 *
 * Context: BQL held.
 */
void fuzz_change(Fuzz *fuzz);

/**
 * fuzz_commit_all: bring all address spaces up to date
 *
 * Context: BQL held, in no memory transaction.
 */
void fuzz_commit_all(Fuzz *fuzz);

/**
 * fuzz_init_again: initialize a region again to which nothing refers
 *
 * Context: BQL held, in no memory transaction, after fuzz_commit_all().
 */
void fuzz_init_again(Fuzz *fuzz);

/**
 * fuzz_iommu_target: translate an address by an IOMMU
 * @region: the IOMMU
 * @offset: in the IOMMU, a multiple of a unit
 * @addr: set to the offset in Fuzz::target
 *
 * Returns: false if it has no translation.
 */
bool fuzz_iommu_target(const Region *region, hwaddr offset, hwaddr *addr);

/*
 * fuzz-model.c
 */

/**
 * fuzz_model_ranges: get the ranges that an address space should show
 * @space: the address space
 * @ranges: set to the ranges, in the order of addresses
 */
void fuzz_model_ranges(const Space *space, SeenRanges *ranges);

/**
 * fuzz_model_find: find the range that contains a unit
 * @ranges: in the order of addresses
 * @unit: number of the unit
 *
 * Returns: the range, or NULL.
 */
const SeenRange *fuzz_model_find(const SeenRanges *ranges, unsigned int unit);

/**
 * fuzz_model_ioeventfds: get the ioeventfds in ranges
 * @space: the address space
 * @ranges: its ranges
 *
 * Returns: an array of IoEventFd, with addresses in the address space.
 */
GArray *fuzz_model_ioeventfds(const Space *space, const SeenRanges *ranges);

/**
 * fuzz_model_coalesced: get the coalesced ranges in ranges
 * @space: the address space
 * @ranges: its ranges
 *
 * Returns: an array of Coalesced, with addresses in the address space.
 */
GArray *fuzz_model_coalesced(const Space *space, const SeenRanges *ranges);

/*
 * fuzz-told.c
 */

/**
 * fuzz_told_register: add a listener to an address space
 * @space: the address space, which shows the ranges of the model
 * @nop: it wants to hear of unchanged ranges
 * @errp: set if it is not told of everything that exists
 *
 * Context: BQL held, in no memory transaction.
 * Returns: false if a callback is wrong or missing.
 */
bool fuzz_told_register(Space *space, bool nop, Error **errp);

/**
 * fuzz_told_unregister: remove the listener
 * @space: the address space, unchanged since the last check
 * @errp: set if it is not told that everything ends
 *
 * Context: BQL held, in no memory transaction.
 * Returns: false if a callback is wrong or missing.
 */
bool fuzz_told_unregister(Space *space, Error **errp);

/**
 * fuzz_told_check: compare the callbacks with the model
 * @space: the address space
 * @ranges: what it shows now; Space::ranges is what it showed before
 * @errp: set to the first difference
 *
 * Clears the callbacks, and sets Space::ranges to @ranges.
 *
 * Returns: false if there is a difference.
 */
bool fuzz_told_check(Space *space, const SeenRanges *ranges, Error **errp);

/**
 * fuzz_told_check_sets: the same for ioeventfds and coalesced ranges
 * @space: the address space
 * @ranges: what it shows now
 * @errp: set to the first difference
 *
 * Returns: false if there is a difference.
 */
bool fuzz_told_check_sets(Space *space, const SeenRanges *ranges, Error **errp);

/*
 * fuzz-check.c
 */

/**
 * fuzz_check: compare all address spaces with the model
 * @errp: set to the first difference
 *
 * Context: BQL held, in no memory transaction.
 * Returns: false if there is a difference.
 */
bool fuzz_check(Fuzz *fuzz, Error **errp);

#endif
