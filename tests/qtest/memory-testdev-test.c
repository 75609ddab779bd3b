/*
 * QTest testcases for the memory API, by way of memory-testdev
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qobject/qdict.h"
#include "libqtest.h"
#include "postern/testdev.h"

#define BASE TESTDEV_BASE
#define STRIDE TESTDEV_STRIDE
#define PAGE TESTDEV_SIZE
/* What KVM allows in one address space, less some for the machine */
#define MANY 32000

static void run_fails(QTestState *qts, const char *steps, const char *message)
{
    QDict *response = testdev_try(qts, steps, true);
    QDict *error;

    g_assert(qdict_haskey(response, "error"));
    error = qdict_get_qdict(response, "error");
    g_assert_cmpstr(qdict_get_str(error, "class"), ==, "GenericError");
    g_assert_cmpstr(qdict_get_str(error, "desc"), ==, message);
    qobject_unref(response);
}

static void test_refused(const void *options)
{
    g_autofree char *device = g_strconcat("memory-testdev", options, NULL);
    const char *argv[] = {
        getenv("QTEST_QEMU_BINARY"), "-machine", "none", "-display", "none",
        "-accel", "qtest",
        "-device", device, NULL,
    };
    g_autofree char *err = NULL;
    const char *message;
    int status;

    g_assert(g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_STDOUT_TO_DEV_NULL,
                          NULL, NULL, NULL, &err, &status, NULL));
    g_assert(WIFEXITED(status));
    g_assert_cmpint(WEXITSTATUS(status), ==, 1);
    /* The last line is about this device; sanitizers have one of their own */
    message = strstr(err, ": -device memory-testdev");
    g_assert_nonnull(message);
    g_assert(strchr(message, '\n') == message + strlen(message) - 1);
}

static void test_bad_steps(void)
{
    static const struct {
        const char *steps, *message;
    } bad[] = {
        { "[{'action': 'map', 'first': 10}]",
          "there are 10 regions, not 11" },
        { "[{'action': 'map', 'first': 4294967295, 'count': 4294967295}]",
          "there are 10 regions, not 8589934590" },
        { "[{'action': 'unmap', 'first': 3}]",
          "region 3 is not mapped" },
        { "[{'action': 'disable', 'first': 3}]",
          "region 3 is not mapped" },
        { "[{'action': 'map', 'first': 0}, {'action': 'map', 'first': 0}]",
          "region 0 is mapped already" },
        /* The first step is possible, and not done either */
        { "[{'action': 'map', 'first': 0, 'count': 10},"
          " {'action': 'unmap', 'first': 0, 'offset': 4096}]",
          "'offset' is for 'map' and 'move'" },
        { "[{'action': 'map', 'first': 0, 'offset': 17}]",
          "'offset' is not a multiple of the size of a region" },
        { "[{'action': 'map', 'first': 9, 'offset': 18446744073709547520}]",
          "'offset' leads outside of the address space" },
    };
    QTestState *qts = testdev_start(10, "");
    QDict *response;

    for (int i = 0; i < ARRAY_SIZE(bad); i++) {
        run_fails(qts, bad[i].steps, bad[i].message);
    }
    response = qtest_qmp(qts, "{ 'execute': 'x-memory-testdev-run',"
                              " 'arguments': { 'id': 'nothing', 'steps': [] }"
                              "}");
    g_assert(qdict_haskey(response, "error"));
    qobject_unref(response);

    testdev_run(qts, 20, false, "[{'action': 'map', 'first': 0, 'count': 10},"
                                " {'action': 'unmap', 'first': 0, 'count': 10}"
                                "]");
    qtest_quit(qts);
}

static void assert_none(QTestState *qts, uint64_t addr, uint32_t value)
{
    g_assert_cmphex(qtest_readl(qts, addr), !=, value);
}

/* What is written to a region stays in it, wherever it is */
static void test_changes(const void *transaction)
{
    bool one = transaction;
    QTestState *qts = testdev_start(3, "");

    testdev_run(qts, 3, one, "[{'action': 'map', 'first': 0, 'count': 3}]");
    for (int i = 0; i < 3; i++) {
        qtest_writel(qts, BASE + i * STRIDE, 0xabcd0000 + i);
        qtest_writel(qts, BASE + i * STRIDE + PAGE - 4, 0xdcba0000 + i);
    }
    for (int i = 0; i < 3; i++) {
        g_assert_cmphex(qtest_readl(qts, BASE + i * STRIDE), ==,
                        0xabcd0000 + i);
        g_assert_cmphex(qtest_readl(qts, BASE + i * STRIDE + PAGE - 4), ==,
                        0xdcba0000 + i);
        assert_none(qts, BASE + i * STRIDE + PAGE, 0xabcd0000 + i);
    }

    testdev_run(qts, 1, one, "[{'action': 'move', 'first': 1,"
                             "  'offset': 4096}]");
    g_assert_cmphex(qtest_readl(qts, BASE + STRIDE + PAGE), ==, 0xabcd0001);
    assert_none(qts, BASE + STRIDE, 0xabcd0001);

    testdev_run(qts, 1, one, "[{'action': 'disable', 'first': 2}]");
    assert_none(qts, BASE + 2 * STRIDE, 0xabcd0002);
    testdev_run(qts, 1, one, "[{'action': 'enable', 'first': 2}]");
    g_assert_cmphex(qtest_readl(qts, BASE + 2 * STRIDE), ==, 0xabcd0002);

    testdev_run(qts, 3, one, "[{'action': 'unmap', 'first': 0, 'count': 3}]");
    assert_none(qts, BASE, 0xabcd0000);
    testdev_run(qts, 1, one, "[{'action': 'map', 'first': 0}]");
    g_assert_cmphex(qtest_readl(qts, BASE), ==, 0xabcd0000);
    qtest_quit(qts);
}

/* More than there are numbers for, with TCG */
static void test_many(const void *options)
{
    static const int some[] = { 0, 1, 255, 4000, 4095, 4096, MANY - 1 };
    QTestState *qts = testdev_start(MANY, options);

    testdev_run(qts, MANY, true,
                "[{'action': 'map', 'first': 0, 'count': 32000}]");
    for (int i = 0; i < ARRAY_SIZE(some); i++) {
        qtest_writel(qts, BASE + some[i] * STRIDE, some[i] + 1);
    }
    testdev_run(qts, 2, false,
                "[{'action': 'unmap', 'first': 4000},"
                " {'action': 'move', 'first': 255, 'offset': 4096}]");
    for (int i = 0; i < ARRAY_SIZE(some); i++) {
        uint64_t addr = BASE + some[i] * STRIDE;

        if (some[i] == 4000) {
            assert_none(qts, addr, 4001);
        } else {
            g_assert_cmpint(qtest_readl(qts, some[i] == 255 ? addr + PAGE :
                                                              addr), ==,
                            some[i] + 1);
        }
    }
    testdev_run(qts, 4000, true,
                "[{'action': 'unmap', 'first': 0, 'count': 4000}]");
    testdev_run(qts, 27999, true,
                "[{'action': 'unmap', 'first': 4001, 'count': 27999}]");
    assert_none(qts, BASE + (MANY - 1) * STRIDE, MANY);
    qtest_quit(qts);
}

typedef struct Fuzz {
    const char *options;
    unsigned int seed;
    unsigned int seeds;
    unsigned int operations;
} Fuzz;

/* Returns whether there was no difference from the model */
static bool fuzz_run(QTestState *qts, unsigned int seed,
                     unsigned int operations)
{
    QDict *response = qtest_qmp(qts,
        "{ 'execute': 'x-memory-testdev-fuzz', 'arguments': {"
        " 'id': 'dev', 'seed': %u, 'operations': %u } }", seed, operations);
    bool ok = qdict_haskey(response, "return");

    if (!ok) {
        QDict *error = qdict_get_qdict(response, "error");

        g_test_message("%s", qdict_get_str(error, "desc"));
        g_test_fail();
    }
    qobject_unref(response);
    return ok;
}

static void test_fuzz(const void *opaque)
{
    const Fuzz *fuzz = opaque;
    QTestState *qts = testdev_start(1, fuzz->options);

    for (unsigned int i = 0; i < fuzz->seeds; i++) {
        fuzz_run(qts, fuzz->seed + i, fuzz->operations);
    }
    qtest_quit(qts);
}

/* New seeds for an hour, of which a message tells the first */
static void test_fuzz_hour(void)
{
    static const char *const options[] = { "", "-d flatview_check" };
    unsigned int seed = g_random_int() / 2;
    gint64 end = g_get_monotonic_time() + 3600LL * G_USEC_PER_SEC;
    bool ok = true;

    g_test_message("first seed %u", seed);
    for (unsigned int i = 0; ok && g_get_monotonic_time() < end; i++) {
        QTestState *qts = testdev_start(1, options[i % 2]);

        for (unsigned int j = 0; ok && j < 20; j++) {
            ok = fuzz_run(qts, seed++, 50000);
        }
        qtest_quit(qts);
    }
    g_test_message("next seed %u", seed);
}

int main(int argc, char **argv)
{
    static const Fuzz plain = { "", 1, 12, 40000 };
    static const Fuzz checked = { "-d flatview_check", 101, 10, 20000 };

    g_test_init(&argc, &argv, NULL);

    qtest_add_data_func("/memory/refused/default", "", test_refused);
    qtest_add_data_func("/memory/refused/size", ",x-allow=on,size=17",
                        test_refused);
    qtest_add_data_func("/memory/refused/stride",
                        ",x-allow=on,size=8k,stride=4k", test_refused);
    qtest_add_data_func("/memory/refused/none", ",x-allow=on,regions=0",
                        test_refused);
    qtest_add_data_func("/memory/refused/end",
                        ",x-allow=on,base=0xfffffffffffff000,regions=2",
                        test_refused);
    qtest_add_func("/memory/bad-steps", test_bad_steps);
    qtest_add_data_func("/memory/changes/one-by-one", NULL, test_changes);
    qtest_add_data_func("/memory/changes/transaction", "", test_changes);
    qtest_add_data_func("/memory/many/plain", "", test_many);
    qtest_add_data_func("/memory/many/checked", "-d flatview_check", test_many);
    qtest_add_data_func("/memory/fuzz/plain", &plain, test_fuzz);
    qtest_add_data_func("/memory/fuzz/checked", &checked, test_fuzz);
    if (g_test_slow()) {
        qtest_add_func("/memory/fuzz-hour", test_fuzz_hour);
    }
    return g_test_run();
}
