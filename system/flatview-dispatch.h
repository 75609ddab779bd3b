/*
 * The dispatch trees of FlatViews: sections for TCG's TLB
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSTEM_FLATVIEW_DISPATCH_H
#define SYSTEM_FLATVIEW_DISPATCH_H

#include "exec/memory.h"

/**
 * flatviews_want_dispatch: from now on each FlatView has a dispatch tree
 *
 * For TCG, before a vCPU runs.  Until then no view has one: an accelerator that
 * fails to start and gives way to TCG leaves nothing behind.
 *
 * Context: BQL held.
 */
void flatviews_want_dispatch(void);

/**
 * flatview_add_dispatch: give a FlatView its dispatch tree, if it needs one
 * @view: the view, with all its ranges
 *
 * Context: BQL held.
 */
void flatview_add_dispatch(FlatView *view);

#endif
