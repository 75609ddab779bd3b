/*
 * info memslots
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "monitor/hmp.h"
#include "monitor/monitor.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-memslots.h"

static void print_memslot(Monitor *mon, const Memslot *slot)
{
    monitor_printf(mon, "  %5u: %016" PRIx64 "-%016" PRIx64 " %s @%016" PRIx64
                   " host %016" PRIx64 "%s%s%s%s\n", slot->id,
                   slot->guest_address, slot->guest_address + slot->size - 1,
                   slot->ram_block, slot->offset, slot->host_address,
                   slot->readonly ? " readonly" : "",
                   slot->dirty_log ? " dirty-log" : "",
                   slot->userfault ? " userfault" : "",
                   slot->guest_memfd ? " guest-memfd" : "");
}

void hmp_info_memslots(Monitor *mon, const QDict *qdict)
{
    Error *err = NULL;
    g_autoptr(MemslotInfo) info = qmp_query_memslots(false, 0, &err);

    if (hmp_handle_error(mon, err)) {
        return;
    }
    for (MemslotAddressSpaceList *as = info->address_spaces; as;
         as = as->next) {
        monitor_printf(mon, "address space %u, %s: %u memslots, %u free\n",
                       as->value->id, as->value->name, as->value->used,
                       as->value->free);
        for (MemslotList *slot = as->value->memslots; slot;
             slot = slot->next) {
            print_memslot(mon, slot->value);
        }
        for (MemslotRangeList *range = as->value->unbacked; range;
             range = range->next) {
            const char *refused = range->value->refused;

            monitor_printf(mon, "   none: %016" PRIx64 "-%016" PRIx64
                           " %s%s%s\n",
                           range->value->guest_address,
                           range->value->guest_address + range->value->size - 1,
                           range->value->region,
                           refused ? " refused: " : "", refused ?: "");
        }
    }
}
