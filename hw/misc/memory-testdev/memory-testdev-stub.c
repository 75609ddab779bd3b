/*
 * QMP commands of memory-testdev in a QEMU without the device
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-memory-testdev.h"

MemoryTestResult *qmp_x_memory_testdev_run(const char *id,
                                           MemoryTestStepList *steps,
                                           bool has_transaction,
                                           bool transaction, Error **errp)
{
    error_setg(errp, "there is no memory-testdev in this QEMU");
    return NULL;
}

MemoryTestResult *qmp_x_memory_testdev_fuzz(const char *id, uint32_t seed,
                                            uint32_t operations, Error **errp)
{
    error_setg(errp, "there is no memory-testdev in this QEMU");
    return NULL;
}
