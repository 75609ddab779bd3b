/*
 * QTest testcases for the memory API, with memory-testdev
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qobject/qdict.h"
#include "libqtest.h"
#include "postern/testdev.h"

#define BASE TESTDEV_BASE
#define STRIDE TESTDEV_STRIDE
#define PAGE TESTDEV_SIZE
/* KVM's limit in one address space, minus some for the machine */
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
    /* The last line is about this device, but for messages of sanitizers */
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
        /* The first step is possible, but is not done either */
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

/* A region keeps its contents, wherever it is mapped */
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

/* More regions than a page has bytes, which was TCG's limit */
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

/*
 * Firmware that measures forever how long it takes to increment a word in low
 * memory and a word in high memory.  Before each round, it reads from the last
 * region and flushes the TLB.
 */
#define FIRMWARE_SIZE (64 * KiB)
#define TIMES 100000
#define LOW_WORD 0x8000
#define LOW_TICKS 0x8010
#define HIGH_TICKS 0x8014
#define ROUNDS 0x8018
/* The regions cover the RAM from 16 to 56 MiB, except between them */
#define NR_OVER_RAM 5000
#define BASE_OVER_RAM (16 * MiB)
#define LAST_OVER_RAM (BASE_OVER_RAM + (NR_OVER_RAM - 1) * STRIDE)
#define HIGH_WORD (60 * MiB)

/* A word to be filled in in a program */
typedef struct Operand {
    unsigned int offset;
    uint32_t value;
} Operand;

/* Offset of the body, which runs in real mode with data segments of 4 GiB */
#define BODY 0x1a
#define GDT 0x80

static char *make_firmware(const uint8_t *body, size_t size,
                           const Operand *operands)
{
    static const uint8_t begin[BODY] = {
        /* 00 */ 0xfa,                                  /* cli */
        /* 01 */ 0x2e, 0x66, 0x0f, 0x01, 0x16, GDT, 0,  /* lgdt %cs:GDT */
        /* 08 */ 0x0f, 0x20, 0xc0,                      /* mov %cr0, %eax */
        /* 0b */ 0x0c, 0x01,                            /* or $1, %al */
        /* 0d */ 0x0f, 0x22, 0xc0,                      /* mov %eax, %cr0 */
        /* 10 */ 0xbb, 0x08, 0x00,                      /* mov $8, %bx */
        /* 13 */ 0x8e, 0xdb,                            /* mov %bx, %ds */
        /* 15 */ 0x24, 0xfe,                            /* and $~1, %al */
        /* 17 */ 0x0f, 0x22, 0xc0,                      /* mov %eax, %cr0 */
    };
    static const uint8_t gdt[] = {
        0x0f, 0x00, GDT + 6, 0x00, 0x0f, 0x00,
        /* The descriptor 0 is not used, 8 is all of memory */
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0xff, 0xff, 0x00, 0x00, 0x00, 0x92, 0xcf, 0x00,
    };
    static const uint8_t reset[] = { 0xea, 0x00, 0x00, 0x00, 0xf0 };
    g_autofree uint8_t *firmware = g_malloc0(FIRMWARE_SIZE);
    char *path;
    int fd = g_file_open_tmp("firmware.XXXXXX", &path, NULL);

    g_assert_cmpint(fd, >=, 0);
    close(fd);
    g_assert_cmpuint(BODY + size, <=, GDT);
    memcpy(firmware, begin, sizeof(begin));
    memcpy(firmware + BODY, body, size);
    for (; operands->offset; operands++) {
        stl_le_p(firmware + operands->offset, operands->value);
    }
    memcpy(firmware + GDT, gdt, sizeof(gdt));
    memcpy(firmware + FIRMWARE_SIZE - 16, reset, sizeof(reset));
    g_assert(g_file_set_contents(path, (char *)firmware, FIRMWARE_SIZE, NULL));
    return path;
}

static char *make_firmware_for_speed(void)
{
    static const uint8_t body[] = {
        /* 1a */ 0x67, 0x66, 0xa1, 0, 0, 0, 0,          /* mov LAST, %eax */
        /* 21 */ 0x0f, 0x20, 0xc0,                      /* mov %cr0, %eax */
        /* 24 */ 0x0c, 0x01,                            /* or $1, %al */
        /* 26 */ 0x0f, 0x22, 0xc0,                      /* mov %eax, %cr0 */
        /* 29 */ 0x24, 0xfe,                            /* and $~1, %al */
        /* 2b */ 0x0f, 0x22, 0xc0,                      /* mov %eax, %cr0 */
        /* 2e */ 0x0f, 0x31,                            /* rdtsc */
        /* 30 */ 0x66, 0x89, 0xc6,                      /* mov %eax, %esi */
        /* 33 */ 0x66, 0xb9, 0, 0, 0, 0,                /* mov $TIMES, %ecx */
        /* 39 */ 0x67, 0x66, 0xff, 0x05, 0, 0, 0, 0,    /* incl LOW_WORD */
        /* 41 */ 0x66, 0x49,                            /* dec %ecx */
        /* 43 */ 0x75, 0xf4,                            /* jnz 0x39 */
        /* 45 */ 0x0f, 0x31,                            /* rdtsc */
        /* 47 */ 0x66, 0x89, 0xc7,                      /* mov %eax, %edi */
        /* 4a */ 0x66, 0x29, 0xf0,                      /* sub %esi, %eax */
        /* 4d */ 0x67, 0x66, 0xa3, 0, 0, 0, 0,          /* mov %eax, LOW_TICKS */
        /* 54 */ 0x66, 0xb9, 0, 0, 0, 0,                /* mov $TIMES, %ecx */
        /* 5a */ 0x67, 0x66, 0xff, 0x05, 0, 0, 0, 0,    /* incl HIGH_WORD */
        /* 62 */ 0x66, 0x49,                            /* dec %ecx */
        /* 64 */ 0x75, 0xf4,                            /* jnz 0x5a */
        /* 66 */ 0x0f, 0x31,                            /* rdtsc */
        /* 68 */ 0x66, 0x29, 0xf8,                      /* sub %edi, %eax */
        /* 6b */ 0x67, 0x66, 0xa3, 0, 0, 0, 0,          /* mov %eax, HIGH_TICKS */
        /* 72 */ 0x67, 0x66, 0xff, 0x05, 0, 0, 0, 0,    /* incl ROUNDS */
        /* 7a */ 0xeb, 0x9e,                            /* jmp 0x1a */
    };
    static const Operand operands[] = {
        { 0x1d, LAST_OVER_RAM },
        { 0x35, TIMES },
        { 0x3d, LOW_WORD },
        { 0x50, LOW_TICKS },
        { 0x56, TIMES },
        { 0x5e, HIGH_WORD },
        { 0x6e, HIGH_TICKS },
        { 0x76, ROUNDS },
        { },
    };

    return make_firmware(body, sizeof(body), operands);
}

/* Take the fastest of some rounds: the others had to share the processor */
static void measure(QTestState *qts, uint32_t *low, uint32_t *high)
{
    uint32_t round = qtest_readl(qts, ROUNDS);

    *low = *high = UINT32_MAX;
    /* The first round may have begun before */
    for (int i = 0; i < 12; i++) {
        for (int polls = 0; qtest_readl(qts, ROUNDS) == round; polls++) {
            g_assert_cmpint(polls, <, 60000);
            g_usleep(1000);
        }
        round = qtest_readl(qts, ROUNDS);
        if (i > 1) {
            *low = MIN(*low, qtest_readl(qts, LOW_TICKS));
            *high = MIN(*high, qtest_readl(qts, HIGH_TICKS));
        }
    }
}

/*
 * Memory is as fast beside thousands of regions as without them, even after an
 * access to the last region.
 */
static void test_speed(void)
{
    g_autofree char *firmware = make_firmware_for_speed();
    g_autofree char *options = g_strdup_printf(
        "-accel tcg -global memory-testdev.base=%" PRIu64 " -bios %s",
        (uint64_t)BASE_OVER_RAM, firmware);
    QTestState *qts = testdev_start(NR_OVER_RAM, options);
    uint32_t low_before, high_before, low, high;

    measure(qts, &low_before, &high_before);
    testdev_run(qts, NR_OVER_RAM, true,
                "[{'action': 'map', 'first': 0, 'count': 5000}]");
    measure(qts, &low, &high);
    g_test_message("ticks for %d: low %u, then %u; high %u, then %u", TIMES,
                   low_before, low, high_before, high);
    g_assert_cmpuint(low / 8, <, low_before);
    g_assert_cmpuint(high / 8, <, high_before);
    qtest_quit(qts);
    unlink(firmware);
}

/* A register of the local APIC, and regions at lower addresses */
#define APIC_VERSION 0xfee00030
#define NR_BELOW 8
#define PAUSE 20000
#define WRONG 0x8010

/*
 * Firmware that reads a device's register from time to time, and counts how
 * often the value differs from the first one.  Between two reads, it does
 * nothing that waits for the lock of a transaction.
 */
static char *make_firmware_for_io(void)
{
    static const uint8_t body[] = {
        /* 1a */ 0x67, 0x66, 0xa1, 0, 0, 0, 0,          /* mov REG, %eax */
        /* 21 */ 0x66, 0x89, 0xc6,                      /* mov %eax, %esi */
        /* 24 */ 0x66, 0xb9, 0, 0, 0, 0,                /* mov $PAUSE, %ecx */
        /* 2a */ 0x66, 0x49,                            /* dec %ecx */
        /* 2c */ 0x75, 0xfc,                            /* jnz 0x2a */
        /* 2e */ 0x67, 0x66, 0xa1, 0, 0, 0, 0,          /* mov REG, %eax */
        /* 35 */ 0x66, 0x39, 0xc6,                      /* cmp %eax, %esi */
        /* 38 */ 0x74, 0x08,                            /* je 0x42 */
        /* 3a */ 0x67, 0x66, 0xff, 0x05, 0, 0, 0, 0,    /* incl WRONG */
        /* 42 */ 0x67, 0x66, 0xff, 0x05, 0, 0, 0, 0,    /* incl ROUNDS */
        /* 4a */ 0xeb, 0xd8,                            /* jmp 0x24 */
    };
    static const Operand operands[] = {
        { 0x1d, APIC_VERSION },
        { 0x26, PAUSE },
        { 0x31, APIC_VERSION },
        { 0x3e, WRONG },
        { 0x46, ROUNDS },
        { },
    };

    return make_firmware(body, sizeof(body), operands);
}

/* A vCPU accesses the same device while the memory map changes */
static void test_io(void)
{
    g_autofree char *firmware = make_firmware_for_io();
    g_autofree char *options = g_strdup_printf(
        "-accel tcg -global memory-testdev.base=%" PRIu64 " -bios %s",
        (uint64_t)BASE_OVER_RAM, firmware);
    QTestState *qts = testdev_start(NR_BELOW, options);
    uint32_t before;

    while (!qtest_readl(qts, ROUNDS)) {
        g_usleep(1000);
    }
    before = qtest_readl(qts, ROUNDS);
    for (int i = 0; i < 1000; i++) {
        testdev_run(qts, NR_BELOW, true,
                    "[{'action': 'map', 'first': 0, 'count': 8}]");
        testdev_run(qts, NR_BELOW, true,
                    "[{'action': 'unmap', 'first': 0, 'count': 8}]");
    }
    g_assert_cmpuint(qtest_readl(qts, ROUNDS), !=, before);
    g_assert_cmpuint(qtest_readl(qts, WRONG), ==, 0);
    qtest_quit(qts);
    unlink(firmware);
}

/* Returns the time of the fastest of some changes of one region, in ns */
static uint64_t measure_change(QTestState *qts)
{
    uint64_t fastest = UINT64_MAX;

    for (int i = 0; i < 20; i++) {
        fastest = MIN(fastest, testdev_run(qts, 2, false,
                                           "[{'action': 'disable', 'first': 0},"
                                           " {'action': 'enable', 'first': 0}]"));
    }
    return fastest;
}

/* Disabled regions do not make changes of other regions slower */
static void test_disabled(void)
{
    QTestState *qts = testdev_start(MANY, "");
    uint64_t before, after;

    testdev_run(qts, 1, true, "[{'action': 'map', 'first': 0}]");
    before = measure_change(qts);
    testdev_run(qts, 2 * (MANY - 1), true,
                "[{'action': 'map', 'first': 1, 'count': 31999},"
                " {'action': 'disable', 'first': 1, 'count': 31999}]");
    after = measure_change(qts);
    g_test_message("one change: %" PRIu64 " ns, then %" PRIu64 " ns", before,
                   after);
    g_assert_cmpuint(after / 8, <, before);
    qtest_quit(qts);
}

/* An alias is initialized again in place, as some PCI host bridges do */
static void test_init(void)
{
    QTestState *qts = testdev_start(2, "-d flatview_check");

    testdev_run(qts, 1, true, "[{'action': 'init', 'first': 0}]");
    for (int i = 0; i < 3; i++) {
        testdev_run(qts, 2, false, "[{'action': 'map', 'first': 0},"
                                   " {'action': 'map', 'first': 1}]");
        qtest_writel(qts, BASE, i + 1);
        g_assert_cmphex(qtest_readl(qts, BASE), ==, i + 1);
        testdev_run(qts, 3, false, "[{'action': 'disable', 'first': 0},"
                                   " {'action': 'unmap', 'first': 0},"
                                   " {'action': 'unmap', 'first': 1}]");
        testdev_run(qts, 2, false, "[{'action': 'init', 'first': 0},"
                                   " {'action': 'init', 'first': 1}]");
    }
    run_fails(qts, "[{'action': 'map', 'first': 0},"
                   " {'action': 'init', 'first': 0}]",
              "region 0 is mapped already");
    qtest_quit(qts);
}

typedef struct Fuzz {
    const char *options;
    unsigned int seed;
    unsigned int seeds;
    unsigned int operations;
} Fuzz;

/* Returns true if nothing differed from the model */
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

/* New seeds for an hour; messages tell the first and the next one */
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
    qtest_add_data_func("/memory/many/plain", "-accel tcg -S", test_many);
    qtest_add_data_func("/memory/many/checked", "-d flatview_check", test_many);
    qtest_add_func("/memory/speed", test_speed);
    qtest_add_func("/memory/io", test_io);
    qtest_add_func("/memory/disabled", test_disabled);
    qtest_add_func("/memory/init", test_init);
    qtest_add_data_func("/memory/fuzz/plain", &plain, test_fuzz);
    qtest_add_data_func("/memory/fuzz/checked", &checked, test_fuzz);
    if (g_test_slow()) {
        qtest_add_func("/memory/fuzz-hour", test_fuzz_hour);
    }
    return g_test_run();
}
