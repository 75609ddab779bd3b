/*
 * Randomized changes of memory regions, and a model of what is seen of them
 *
 * fuzz.c         address spaces, and the loop
 * fuzz-regions.c the regions, and what is done to them
 * fuzz-model.c   what an address space should show
 * fuzz-told.c    what a listener was told, and should have been
 * fuzz-check.c   the model against what there is
 *
 * The model knows nothing of FlatViews.  It looks for each unit of an address
 * space from the root down.
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
/* How far a region reaches that is a root: its address, and its size */
#define NR_UNITS_MAX (NR_UNITS + NR_UNITS / 2)
#define NR_REGIONS 24
#define NR_SPACES 6
/* Of each kind, in a region */
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
    /* The model's */
    int alias;                  /* of which region, or -1 */
    uint64_t serial;            /* when it was put into its container */
    IoEventFd ioeventfds[NR_IOEVENTFDS];
    unsigned int nr_ioeventfds;
    Coalesced coalesced[NR_COALESCED];
    unsigned int nr_coalesced;
} Region;

/* What is seen at a unit; @mr is NULL where there is nothing */
typedef struct Seen {
    MemoryRegion *mr;
    hwaddr offset;
    bool readonly;
    bool nonvolatile;
    bool unmergeable;
    uint32_t path;              /* through which containers and aliases */
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
    int root;                   /* which region; 0 stands for Fuzz::root */
    hwaddr base;                /* of the first unit that is looked at */
    AddressSpace *as;
    MemoryListener listener;
    /* What it was told since the last check: Event */
    GArray *events;
    bool committed;
    /* What it was told of that still is: IoEventFd, Coalesced */
    GArray *ioeventfds;
    GArray *coalesced;
    char *wrong;                /* the first thing that it was told wrongly */
    SeenRanges ranges;          /* as of the last check */
} Space;

struct Fuzz {
    GRand *rand;
    Object *owner;
    hwaddr unit;
    hwaddr base;                /* of region 0 in @root */
    MemoryRegion root;
    /* A region contains, and is an alias of, those after it only; 0 is @root */
    Region region[NR_REGIONS];
    uint64_t serial;
    /* Some have a root that is seen in others, too, and moves there */
    Space space[NR_SPACES];
    /* What is behind the IOMMUs: RAM */
    MemoryRegion target;
    AddressSpace *target_as;
    MemoryRegion unseen;        /* to be changed for a commit */
    unsigned int depth;         /* of transactions */
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
 * fuzz_regions_init: make the regions, and what is behind the IOMMUs
 *
 * Context: BQL held.
 */
void fuzz_regions_init(Fuzz *fuzz);

/**
 * fuzz_regions_destroy: end them; nothing may refer to them any more
 *
 * Context: BQL held.
 */
void fuzz_regions_destroy(Fuzz *fuzz);

/**
 * fuzz_change: change a region, with what can be done in a transaction
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
 * fuzz_init_again: end a region to which nothing refers, and make it anew
 *
 * Context: BQL held, in no memory transaction, and all is up to date.
 */
void fuzz_init_again(Fuzz *fuzz);

/**
 * fuzz_iommu_target: where an IOMMU leads
 * @region: the IOMMU
 * @offset: in it, a multiple of a unit
 * @addr: set to the offset in Fuzz::target
 *
 * Returns: false if it leads nowhere.
 */
bool fuzz_iommu_target(const Region *region, hwaddr offset, hwaddr *addr);

/*
 * fuzz-model.c
 */

/**
 * fuzz_model_ranges: what is to be seen in an address space
 * @space: its root may be changed, but has to exist
 * @ranges: set to that, in the order of addresses
 */
void fuzz_model_ranges(const Space *space, SeenRanges *ranges);

/**
 * fuzz_model_find: the range that has a unit
 * @ranges: in the order of addresses
 * @unit: number of the unit
 *
 * Returns: NULL if nothing is seen there.
 */
const SeenRange *fuzz_model_find(const SeenRanges *ranges, unsigned int unit);

/**
 * fuzz_model_ioeventfds: the ioeventfds of what is seen
 * @space: where it is seen
 * @ranges: what is seen
 *
 * Returns: an array of IoEventFd, with addresses in the address space.
 */
GArray *fuzz_model_ioeventfds(const Space *space, const SeenRanges *ranges);

/**
 * fuzz_model_coalesced: the coalesced ranges of what is seen
 * @space: where it is seen
 * @ranges: what is seen
 *
 * Returns: an array of Coalesced, with addresses in the address space.
 */
GArray *fuzz_model_coalesced(const Space *space, const SeenRanges *ranges);

/*
 * fuzz-told.c
 */

/**
 * fuzz_told_register: add a listener to an address space
 * @space: the address space, which shows what the model says
 * @nop: it wants to hear of what stays the same
 * @errp: set if it is not told of all that there is
 *
 * Context: BQL held, in no memory transaction.
 * Returns: false if it was told something wrong.
 */
bool fuzz_told_register(Space *space, bool nop, Error **errp);

/**
 * fuzz_told_unregister: remove the listener
 * @space: the address space, as it was when it was last checked
 * @errp: set if it is not told that all is gone
 *
 * Context: BQL held, in no memory transaction.
 * Returns: false if it was told something wrong.
 */
bool fuzz_told_unregister(Space *space, Error **errp);

/**
 * fuzz_told_check: compare what the listener was told with the model
 * @space: its listener
 * @ranges: what is seen now; Space::ranges is what was seen before
 * @errp: set to the first difference
 *
 * Forgets the callbacks, and sets Space::ranges to @ranges.
 *
 * Returns: false if there is a difference.
 */
bool fuzz_told_check(Space *space, const SeenRanges *ranges, Error **errp);

/**
 * fuzz_told_check_sets: the same, for ioeventfds and coalesced ranges
 * @space: its listener
 * @ranges: what is seen now
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
