/*
 * Start a QEMU with a memory-testdev, and change its regions
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "testdev.h"

#ifdef __aarch64__
#define MACHINE_ARGS "-machine virt,gic-version=3 -cpu host"
#else
#define MACHINE_ARGS "-machine q35"
#endif

QTestState *testdev_start(unsigned int regions, const char *options)
{
    return qtest_initf(MACHINE_ARGS " -nodefaults -m 64"
                       " -device memory-testdev,id=dev,x-allow=on,regions=%u %s",
                       regions, options);
}

QDict *testdev_try(QTestState *qts, const char *steps, bool transaction)
{
    g_autofree char *command = g_strdup_printf(
        "{ 'execute': 'x-memory-testdev-run', 'arguments': { 'id': 'dev',"
        " 'transaction': %s, 'steps': %s } }",
        transaction ? "true" : "false", steps);

    return qtest_qmp(qts, "%p", qobject_from_json(command, &error_abort));
}

uint64_t testdev_run(QTestState *qts, uint64_t changes, bool transaction,
                     const char *steps)
{
    QDict *response = testdev_try(qts, steps, transaction);
    QDict *result;
    uint64_t ns;

    g_assert(qdict_haskey(response, "return"));
    result = qdict_get_qdict(response, "return");
    g_assert_cmpint(qdict_get_int(result, "changes"), ==, changes);
    ns = qdict_get_int(result, "ns");
    g_assert_cmpint(ns, >, 0);
    qobject_unref(response);
    return ns;
}
