/*
 * query-memslots in a QEMU without KVM
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-memslots.h"

MemslotInfo *qmp_query_memslots(bool has_address_space,
                                uint8_t address_space, Error **errp)
{
    error_setg(errp, "KVM is not in use");
    return NULL;
}
