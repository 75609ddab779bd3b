/*
 * FlatViews: rendering, lookup, and what changes from one to the next
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSTEM_MEMORY_FLATVIEWS_H
#define SYSTEM_MEMORY_FLATVIEWS_H

#include "exec/memory.h"
#include "memory-dirty-ranges.h"
#include "memory-flat-ranges.h"

/*
 * Upstream's names, with which its functions work as they are.  They take a
 * FlatRange without const, but none of them changes it.
 */
#define FOR_EACH_FLAT_RANGE(var, view)                                  \
    for (FlatRangesIter iter_ = { .ranges = (view)->ranges };           \
         ((var) = (FlatRange *)flat_ranges_iter_step(&iter_));)

static inline MemoryRegionSection
section_from_flat_range(const FlatRange *fr, FlatView *fv)
{
    return (MemoryRegionSection) {
        .mr = fr->mr,
        .fv = fv,
        .offset_within_region = fr->offset_in_region,
        .size = fr->addr.size,
        .offset_within_address_space = flat_range_first(fr),
        .readonly = fr->readonly,
        .nonvolatile = fr->nonvolatile,
        .unmergeable = fr->unmergeable,
    };
}

/* The FlatView of each root, with a reference to it */
extern GHashTable *flat_views;

/* In memory.c */
AddrRange address_space_ioeventfd_addr(AddressSpace *as, unsigned int i);

/**
 * flatview_lookup: find a range that overlaps a range of addresses
 * @view: where to look, in O(log n)
 * @addr: the addresses
 *
 * Returns: the lowest of these ranges, or NULL.
 */
FlatRange *flatview_lookup(FlatView *view, AddrRange addr);

/**
 * generate_memory_topology: get the FlatView of a root up to date
 * @mr: from memory_region_get_flatview_root(), NULL for the empty FlatView
 *
 * Between flatviews_reset_begin() and flatviews_reset_end(), the root keeps its
 * FlatView if nothing in it is dirty.  Otherwise it gets a new one, and of that
 * only the dirty ranges are rendered, or all of it after a change that dirty
 * ranges do not tell.
 *
 * Context: BQL held.
 * Returns: the FlatView, now in flat_views.
 */
FlatView *generate_memory_topology(MemoryRegion *mr);

/**
 * flatviews_reset_begin: begin to bring all FlatViews up to date
 *
 * Empties flat_views, and keeps the old FlatViews until flatviews_reset_end().
 *
 * Context: BQL held.
 */
void flatviews_reset_begin(void);

/**
 * flatviews_reset_end: drop the FlatViews that are not in flat_views any more
 *
 * Context: BQL held.
 */
void flatviews_reset_end(void);

/**
 * flatviews_remove_root: a region ends that may be the root of a FlatView
 * @mr: the region
 *
 * Address spaces with this FlatView get another one in the next transaction.
 *
 * Context: BQL held.
 */
void flatviews_remove_root(MemoryRegion *mr);

/**
 * flatview_free_ranges: free what these files have in a FlatView
 * @view: not in use any more
 *
 * Context: any thread.
 */
void flatview_free_ranges(FlatView *view);

/**
 * address_space_view_changes: must listeners compare two FlatViews?
 * @as: the address space
 * @old_view: its FlatView, NULL if it is new
 * @new_view: the next one
 *
 * Also notes whether the ioeventfds of @as may change.
 *
 * Context: BQL held.
 * Returns: true if the FlatViews differ, or if a listener wants to hear of
 * unchanged ranges (region_nop).
 */
bool address_space_view_changes(AddressSpace *as, FlatView *old_view,
                                FlatView *new_view);

/**
 * address_space_ioeventfds_test: must ioeventfds be collected again?
 * @as: the address space
 * @pending: ioeventfds were added or removed somewhere
 *
 * Context: BQL held.
 * Returns: true if a listener wants them, and they may have changed.
 */
bool address_space_ioeventfds_test(AddressSpace *as, bool pending);

typedef struct FlatViewCursor {
    FlatRangesIter iter;
    unsigned int pos;           /* count of ranges up to the current one */
    unsigned int dirty;         /* index of the current dirty range */
} FlatViewCursor;

/* The ranges of two FlatViews that are in dirty ranges, in order */
typedef struct FlatViewDiff {
    GArray *dirty;              /* NULL for one that has all addresses */
    unsigned int nr_dirty;
    FlatViewCursor old;
    FlatViewCursor new;
} FlatViewDiff;

/**
 * flatview_diff: compare two FlatViews
 * @as: the address space whose FlatView changes
 * @old_view: its current FlatView, or one without ranges
 * @new_view: the next one
 *
 * Only dirty ranges are compared if @new_view was made from @old_view; all
 * ranges if it was not, or if a listener wants to hear of unchanged ones.  The
 * dirty ranges are @new_view's: no transaction may end before the comparison.
 */
FlatViewDiff flatview_diff(AddressSpace *as, const FlatView *old_view,
                           const FlatView *new_view);

/**
 * flatview_diff_at: get the next range of each FlatView
 * @diff: from flatview_diff()
 * @iold: index of a range of the old FlatView: as in the last call, or the next
 * @inew: the same for the new FlatView
 * @frold: set to the range, or to NULL at the end
 * @frnew: the same for the new FlatView
 *
 * Returns: false at the end of both.
 */
bool flatview_diff_at(FlatViewDiff *diff, unsigned int iold, unsigned int inew,
                      FlatRange **frold, FlatRange **frnew);

/**
 * flatview_find_section: find the section at an address
 * @fv: where to look: in O(1) in the range found last, otherwise in O(log n)
 * @addr: the address
 * @unassigned: the region to return where there is none
 * @xlat: set to the offset in the region
 * @plen: number of bytes to access; for RAM, limited to the end of the section
 * @section: set to the section
 *
 * An access to I/O may go beyond the end of its section: devices expect to get
 * it in one piece.
 *
 * Context: RCU read section, which keeps the region alive.
 * Returns: @section.
 */
MemoryRegionSection *flatview_find_section(FlatView *fv, hwaddr addr,
                                           MemoryRegion *unassigned,
                                           hwaddr *xlat, hwaddr *plen,
                                           MemoryRegionSection *section);

/**
 * flatview_copy_ranges: copy the ranges into an array
 * @view: the FlatView
 *
 * Returns: an array of view->nr ranges, without references to their regions;
 * free with g_free().
 */
FlatRange *flatview_copy_ranges(const FlatView *view);

/**
 * flatviews_want_dispatch: give all FlatViews a dispatch tree from now on
 *
 * TCG calls this before a vCPU runs.  Until then no FlatView has one, even if
 * another accelerator was tried first and failed to start.
 *
 * Context: BQL held.
 */
void flatviews_want_dispatch(void);

/**
 * flatview_add_dispatch: give a FlatView its dispatch tree, if it needs one
 * @view: with all its ranges
 *
 * Context: BQL held.
 */
void flatview_add_dispatch(FlatView *view);

/**
 * flatview_print_dispatch: print the dispatch tree for "info mtree -d"
 * @view: the FlatView; it may have no dispatch tree
 */
void flatview_print_dispatch(FlatView *view);

/**
 * flatview_render_range: render a range of a FlatView
 * @builder: gets the FlatRanges
 * @root: of the FlatView; NULL renders nothing
 * @range: the addresses, within 0 and 2^64
 *
 * Of several regions at an address, the one with the highest priority in its
 * container is visible; a container shows what is below where it has nothing.
 * Adjacent FlatRanges are merged where they continue each other.  The cost
 * depends on the number of regions in @range.
 *
 * Context: BQL held.
 */
void flatview_render_range(FlatRangesBuilder *builder, MemoryRegion *root,
                           DirtyRange range);

/**
 * flatview_render: render a whole FlatView
 * @root: of the FlatView; NULL renders nothing
 *
 * Context: BQL held.
 * Returns: the ranges; free with flat_ranges_free().
 */
FlatRanges *flatview_render(MemoryRegion *root);

#endif
