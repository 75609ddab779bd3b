/*
 * The FlatViews that a vCPU's TLB refers to
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/rcu.h"
#include "exec/memory.h"
#include "exec/memory-internal.h"
#include "memory-tlb-views.h"

AddressSpaceDispatch *tlb_views_dispatch(GPtrArray **views, AddressSpace *as)
{
    FlatView *view;

    if (!*views) {
        *views = g_ptr_array_new_with_free_func((GDestroyNotify)
                                                flatview_unref);
    }
    RCU_READ_LOCK_GUARD();
    view = address_space_to_flatview(as);
    if (!g_ptr_array_find(*views, view, NULL)) {
        view = address_space_get_flatview(as);
        g_ptr_array_add(*views, view);
    }
    return flatview_to_dispatch(view);
}

void tlb_views_clear(GPtrArray **views)
{
    g_clear_pointer(views, g_ptr_array_unref);
}
