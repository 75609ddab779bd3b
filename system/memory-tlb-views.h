/*
 * The FlatViews that a vCPU's TLB refers to
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSTEM_MEMORY_TLB_VIEWS_H
#define SYSTEM_MEMORY_TLB_VIEWS_H

#include "exec/memory.h"

/*
 * A vCPU flushes its TLB some time after the memory map has changed.  Until
 * then it accesses what is in the TLB, through sections of the old FlatView,
 * and not all of that in one RCU critical section.  So it holds a reference to
 * each FlatView that it has filled its TLB from: tlb_views.
 */

/**
 * tlb_views_dispatch: get the current dispatch tree, and hold its FlatView
 * @views: the held FlatViews; points to NULL if there are none
 * @as: the address space
 *
 * Context: the vCPU's thread.
 */
AddressSpaceDispatch *tlb_views_dispatch(GPtrArray **views, AddressSpace *as);

/**
 * tlb_views_clear: drop the held FlatViews, as the TLB was flushed
 * @views: the held FlatViews
 *
 * Context: the vCPU's thread, or after it has ended.
 */
void tlb_views_clear(GPtrArray **views);

#endif
