/*
 * postern-test: memslots that change during post-copy
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "libqtest.h"
#include "migration/migration-util.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "q35.h"
#include "test-util.h"
#include "testdev.h"
#include "walker.h"

/*
 * Wait for requests of new pages: the vCPU runs.  finish() checks that they
 * come through KVM.
 */
static void wait_for_more_faults(QTestState *who)
{
    wait_for_requests(who, 3);
}

#ifndef __aarch64__
/* Returns where the slot with most of the guest's 150 MiB begins */
static uint64_t main_memory_begin(QTestState *who)
{
    g_autofree char *tree = qtest_hmp(who, "info mtree -f");
    const char *end = strstr(tree, "-00000000095fffff (prio 0, ram): ");

    g_assert(end && end - tree >= 16);
    return g_ascii_strtoull(end - 16, NULL, 16);
}

/*
 * The slot of main memory is removed and added with another first page while
 * the vCPU runs.
 */
static void test_pam(void)
{
    QTestState *from, *to;

    boot_with_seabios();
    if (!begin(&from, &to, ON, NULL)) {
        return;
    }
    for (int i = 0; i < 10; i++) {
        g_assert_cmpint(main_memory_begin(to), ==, 1 << 20);
        postern_bios_writable(to, true);
        g_assert_cmpint(main_memory_begin(to), <, 1 << 20);
        wait_for_more_faults(to);
        postern_bios_writable(to, false);
        wait_for_more_faults(to);
    }
    finish(from, to, true);
}
#endif

/* Check the memslot that begins at @address */
static void check_slot(QTestState *who, uint64_t address, uint64_t end,
                       bool userfault)
{
    QDict *response = qtest_qmp(who, "{ 'execute': 'query-memslots',"
                                " 'arguments': { 'address-space': 0 } }");
    QList *spaces = qdict_get_qlist(qdict_get_qdict(response, "return"),
                                    "address-spaces");
    QDict *space = qobject_to(QDict, qlist_peek(spaces));
    const QListEntry *entry;
    bool found = false;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(space, "memslots"), entry) {
        QDict *slot = qobject_to(QDict, qlist_entry_obj(entry));

        if (qdict_get_int(slot, "guest-address") == address) {
            found = true;
            g_assert_cmphex(address + qdict_get_int(slot, "size"), ==, end);
            g_assert(qdict_get_bool(slot, "userfault") == userfault);
        }
    }
    g_assert_true(found);
    qobject_unref(response);
}

/* What a word of a bitmap has bits for */
#define WORD_BYTES (64 * 4096)
/* Two pages that are overlaid, before and after the test memory */
#ifdef __aarch64__
#define FIRST_PAGE (RAM_START + 0x73000)
#else
#define FIRST_PAGE 0xf3000
#endif
#define SECOND_PAGE (RAM_START + 101 * MiB + 0x51000)

/*
 * Overlay pages over guest memory, as the Hyper-V SynIC has them.  The guest
 * memory after such a page begins in the middle of a word of its bitmap.  All
 * of it but its first pages still has a bitmap.
 */
static void test_overlay(void)
{
    const uint64_t main_end = RAM_START + 150 * MiB;
    const uint64_t first_cut = ROUND_UP(FIRST_PAGE, WORD_BYTES);
    const uint64_t second_cut = ROUND_UP(SECOND_PAGE, WORD_BYTES);
    g_autofree char *device = g_strdup_printf(
        "-device memory-testdev,id=dev,x-allow=on,regions=2,"
        "base=0x%" PRIx64 ",stride=0x%" PRIx64,
        (uint64_t)FIRST_PAGE, (uint64_t)(SECOND_PAGE - FIRST_PAGE));
    MigrateStart start = {
        .oob = true,
        .opts_target = device,
    };
    QTestState *from, *to;

    if (!begin_with(&start, &from, &to, 20, ON, NULL)) {
        return;
    }
#ifdef __aarch64__
    check_slot(to, RAM_START, main_end, true);
#else
    postern_bios_writable(to, true);
    check_slot(to, 1 * MiB, main_end, true);
#endif
    testdev_run(to, 1, true, "[{'action': 'map', 'first': 0}]");
    check_slot(to, FIRST_PAGE + TESTDEV_SIZE, first_cut, false);
    check_slot(to, first_cut, main_end, true);
    wait_for_more_faults(to);
    testdev_run(to, 1, true, "[{'action': 'map', 'first': 1}]");
    check_slot(to, first_cut, SECOND_PAGE, true);
    check_slot(to, SECOND_PAGE + TESTDEV_SIZE, second_cut, false);
    check_slot(to, second_cut, main_end, true);
    wait_for_more_faults(to);
    testdev_run(to, 2, true, "[{'action': 'unmap', 'first': 0, 'count': 2}]");
    wait_for_more_faults(to);
    finish(from, to, true);
}

/* All slots change their flags twice in each round */
static void test_dirty_log(void)
{
    QTestState *from, *to;

    if (!begin(&from, &to, ON, NULL)) {
        return;
    }
    for (int i = 0; i < 3; i++) {
        qtest_qmp_assert_success(to, "{ 'execute': 'calc-dirty-rate',"
                                 "  'arguments': { 'calc-time': 300,"
                                 "    'calc-time-unit': 'millisecond',"
                                 "    'mode': 'dirty-bitmap' } }");
        wait_for_more_faults(to);
        wait_for_dirty_rate(to);
        wait_for_more_faults(to);
    }
    finish(from, to, true);
}

#ifndef __aarch64__
/* A BAR moves while pages of its memory are missing */
static void test_bar(void)
{
    enum { VGA = 1, BAR0 = 0x10, COMMAND = 4, MEMORY = 2, LENGTH = 96 * KiB };
    const uint32_t places[] = { 0xd0000000, 0xd4000000, 0xd8000000 };
    g_autofree uint8_t *sent = g_malloc(LENGTH), *found = g_malloc(LENGTH);
    QTestState *from, *to;
    uint32_t old, command;
    uint64_t faults;

    boot_with_seabios();
    if (!begin(&from, &to, ON, NULL)) {
        return;
    }
    old = postern_pci_read(to, VGA, BAR0) & ~15;
    command = postern_pci_read(to, VGA, COMMAND);
    g_assert_cmpint(command & MEMORY, !=, 0);
    g_assert_cmpint(postern_pci_read(from, VGA, BAR0) & ~15, ==, old);
    qtest_memread(from, old, sent, LENGTH);
    faults = faults_get(to, "userfaultfd-other");

    for (int i = 0; i < ARRAY_SIZE(places); i++) {
        uint32_t part = LENGTH / ARRAY_SIZE(places);

        postern_pci_write(to, VGA, COMMAND, command & ~MEMORY);
        postern_pci_write(to, VGA, BAR0, places[i]);
        postern_pci_write(to, VGA, COMMAND, command);
        /* Part of it has arrived before, the remainder arrives now */
        qtest_memread(to, places[i], found, part * (i + 1));
        g_assert_cmpmem(found, part * (i + 1), sent, part * (i + 1));
        /* After the first request, the source continues from there */
        g_assert_cmpint(faults_get(to, "userfaultfd-other"), >, faults);
        wait_for_more_faults(to);
    }
    finish(from, to, true);
}
#endif

/* Where the machine plugs memory */
#ifdef __aarch64__
#define PLUGGED_START (2 * GiB)
#else
#define PLUGGED_START (4 * GiB)
#endif

/* Plug module number @nr */
static void plug_dimm(QTestState *who, int nr)
{
    const uint64_t address = PLUGGED_START, length = 64 << 20;
    g_autofree char *memory = g_strdup_printf("memory%d", nr);
    g_autofree char *dimm = g_strdup_printf("dimm%d", nr);
    uint64_t last = address + (nr + 1) * length - 8;

    qtest_qmp_assert_success(who, "{ 'execute': 'object-add', 'arguments':"
                             "  { 'qom-type': 'memory-backend-ram',"
                             "    'id': %s, 'size': %" PRIu64 " } }",
                             memory, length);
    qtest_qmp_assert_success(who, "{ 'execute': 'device_add', 'arguments':"
                             "  { 'driver': 'pc-dimm', 'id': %s,"
                             "    'memdev': %s } }", dimm, memory);
    g_assert_cmpint(qtest_readq(who, last), ==, 0);
    qtest_writeq(who, last, address);
    g_assert_cmpint(qtest_readq(who, last), ==, address);
}

/*
 * New memory is not in the stream: it is never missing.  The first module is
 * plugged after the migration has begun and before post-copy begins.
 */
static void test_hotplug(void)
{
    MigrateStart start = { .memory_backend = "-m %s,slots=3,maxmem=1G" };
    QTestState *from, *to;

    if (!begin_precopy(&start, &from, &to, ON, NULL)) {
        return;
    }
    plug_dimm(to, 0);
    begin_postcopy(from, to, 20);
    for (int nr = 1; nr < 3; nr++) {
        plug_dimm(to, nr);
        wait_for_more_faults(to);
    }
    finish(from, to, true);
}

void add_slot_changes_cases(void)
{
    if (!host_has_userfault()) {
        return;
    }
    /* On aarch64, the machine has neither registers that map RAM nor VGA */
#ifndef __aarch64__
    migration_test_add("/postern/slot-changes/pam", test_pam);
    migration_test_add("/postern/slot-changes/bar", test_bar);
#endif
    migration_test_add("/postern/slot-changes/overlay", test_overlay);
    migration_test_add("/postern/slot-changes/dirty-log", test_dirty_log);
    migration_test_add("/postern/slot-changes/hotplug", test_hotplug);
}
