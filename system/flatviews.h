/*
 * The FlatViews there are, and which parts of them have to be rendered again
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSTEM_FLATVIEWS_H
#define SYSTEM_FLATVIEWS_H

#include "exec/memory.h"
#include "flatview-render.h"

/*
 * All of this is called with the BQL held.
 *
 * Whoever changes what is seen of a MemoryRegion touches it, before the change
 * if that takes it away from where it is, and after the change if that brings
 * it to where it then is.
 */

/**
 * flatviews_touch: something about a region changes
 * @mr: the region, all of which may be seen differently wherever it is seen
 *
 * It is rendered at the end of the next memory transaction with a change that
 * can be seen.  Costs a step for each container and alias through which @mr may
 * be seen.
 */
void flatviews_touch(MemoryRegion *mr);

/**
 * flatviews_touch_all: anything may be seen differently
 */
void flatviews_touch_all(void);

/**
 * flatviews_forget: a region ends
 * @mr: the region; if there is still a view of which it is the root, then the
 *      address spaces that have it get another one with the next transaction
 */
void flatviews_forget(MemoryRegion *mr);

/**
 * flatviews_get: the view of a root
 * @root: from memory_region_get_flatview_root(); NULL for that of nothing
 *
 * Returns: the view, rendered now if there was none; the table has a reference.
 */
FlatView *flatviews_get(MemoryRegion *root);

/**
 * flatviews_for_each: do something with each view there is
 * @func: what to do
 */
void flatviews_for_each(void (*func)(FlatView *view));

/**
 * flatviews_update_begin: bring the views up to date
 *
 * Then flatviews_update_root() for each root there is, and
 * flatviews_update_end().
 */
void flatviews_update_begin(void);

/**
 * flatviews_update_root: there is an address space with this root
 * @root: from memory_region_get_flatview_root(); more than once is no harm
 *
 * Keeps the view that there is if nothing in it has been touched; else makes
 * another one, of which only windows with what has been touched are rendered.
 */
void flatviews_update_root(MemoryRegion *root);

/**
 * flatviews_update_end: nothing is touched any more
 *
 * Drops the views of roots that flatviews_update_root() was not told of.
 */
void flatviews_update_end(void);

/**
 * flatview_changes: where two views may differ
 * @old: a view, NULL for none
 * @new: the view that follows it
 *
 * Returns: an array of AddrWindow, in the order of their addresses; outside of
 * them the views are the same.  All there is if @new was not made from @old.
 * To be freed with g_array_unref().
 */
GArray *flatview_changes(const FlatView *old, const FlatView *new);

#endif
