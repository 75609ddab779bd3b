/*
 * postern-test: many memslots, refused memslots, and how QEMU reports them
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "libqtest.h"
#include "qobject/qnum.h"
#include "migration/migration-util.h"
#include "q35.h"
#include "test-util.h"
#include "testdev.h"
#include "walker.h"
#include "word-guest.h"

/* KVM's limit for each of its address spaces, and their number */
#ifdef __aarch64__
#define LIMIT 32767
#define ADDRESS_SPACES 1
/* What KVM says of an address that the guest cannot have */
#define REFUSED "Bad address"
/* KVM's counter of accesses that QEMU emulates */
#define MMIO_EXITS "mmio_exit_user"
#else
#define LIMIT 32764
#define ADDRESS_SPACES 2
#define REFUSED "Invalid argument"
#define MMIO_EXITS "mmio_exits"
#endif
/* Memslots that devices do not get */
#define RESERVED 64

/* Query the first address space; on x86, the other one is for SMM */
static QDict *query_address_space(QTestState *qts, QDict **response)
{
    QDict *info;

    *response = qtest_qmp(qts, "{ 'execute': 'query-memslots',"
                               " 'arguments': { 'address-space': 0 } }");
    g_assert(qdict_haskey(*response, "return"));
    info = qdict_get_qdict(*response, "return");
    g_assert_cmpint(qdict_get_int(info, "limit"), ==, LIMIT);
    return qobject_to(QDict, qlist_peek(qdict_get_qlist(info,
                                                        "address-spaces")));
}

static uint64_t get_uint(QDict *dict, const char *member)
{
    return qnum_get_uint(qobject_to(QNum, qdict_get(dict, member)));
}

/* Returns the entry of a list for a guest address, or NULL */
static QDict *find(QDict *as, const char *list, uint64_t addr)
{
    const QListEntry *entry;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(as, list), entry) {
        QDict *dict = qobject_to(QDict, qlist_entry_obj(entry));

        if (get_uint(dict, "guest-address") == addr) {
            return dict;
        }
    }
    return NULL;
}

/* Compare the numbers with each other; returns the number of used memslots */
static int64_t check_numbers(QDict *as)
{
    int64_t used = qdict_get_int(as, "used");

    g_assert_cmpint(used, ==, qlist_size(qdict_get_qlist(as, "memslots")));
    g_assert_cmpint(qdict_get_int(as, "free"), ==, LIMIT - used);
    return used;
}

static size_t nr_unbacked(QDict *as)
{
    return qlist_size(qdict_get_qlist(as, "unbacked"));
}

static int64_t query_used(QTestState *qts)
{
    QDict *response;
    int64_t used = check_numbers(query_address_space(qts, &response));

    qobject_unref(response);
    return used;
}

static void test_query(void)
{
    QTestState *qts = testdev_start(3, "-accel kvm -S");
    int64_t before = query_used(qts);
    g_autofree char *text = NULL;
    g_autofree char *unknown = g_strdup_printf("KVM has no address space %d",
                                               ADDRESS_SPACES);
    QDict *as, *slot, *response;

    testdev_run(qts, 2, true, "[{'action': 'map', 'first': 0},"
                              " {'action': 'map', 'first': 2}]");
    as = query_address_space(qts, &response);
    g_assert_cmpint(check_numbers(as), ==, before + 2);
    g_assert_null(find(as, "memslots", TESTDEV_BASE + TESTDEV_STRIDE));
    slot = find(as, "memslots", TESTDEV_BASE + 2 * TESTDEV_STRIDE);
    g_assert_cmpint(qdict_get_int(slot, "size"), ==, TESTDEV_SIZE);
    g_assert_cmpstr(qdict_get_str(slot, "ram-block"), ==, "ram");
    g_assert_cmpint(qdict_get_int(slot, "offset"), ==, 2 * TESTDEV_SIZE);
    g_assert_cmpint(qdict_get_int(slot, "host-address"), !=, 0);
    g_assert_false(qdict_get_bool(slot, "readonly"));
    g_assert_false(qdict_get_bool(slot, "dirty-log"));
    g_assert_false(qdict_get_bool(slot, "userfault"));
    g_assert_false(qdict_get_bool(slot, "guest-memfd"));
    g_assert_cmpint(nr_unbacked(as), ==, 0);
    qobject_unref(response);

    response = qtest_qmp(qts, "{ 'execute': 'query-memslots' }");
    g_assert_cmpint(qlist_size(qdict_get_qlist(qdict_get_qdict(response,
                                                               "return"),
                                               "address-spaces")), ==,
                    ADDRESS_SPACES);
    qobject_unref(response);
    response = qtest_qmp_assert_failure_ref(
        qts, "{ 'execute': 'query-memslots',"
             " 'arguments': { 'address-space': %d } }", ADDRESS_SPACES);
    g_assert_cmpstr(qdict_get_str(response, "desc"), ==, unknown);
    qobject_unref(response);

    text = qtest_hmp(qts, "info memslots");
    g_assert_nonnull(strstr(text, "address space 0, "));
    g_assert_nonnull(strstr(text, ": 0000001000004000-0000001000004fff ram"
                                  " @0000000000002000 host "));

    testdev_run(qts, 1, true, "[{'action': 'unmap', 'first': 0}]");
    g_assert_cmpint(query_used(qts), ==, before + 1);
    qtest_quit(qts);
}

#ifndef __aarch64__
static void test_query_tcg(void)
{
    QTestState *qts = testdev_start(1, "-accel tcg");
    QDict *error = qtest_qmp_assert_failure_ref(
        qts, "{ 'execute': 'query-memslots' }");

    g_assert_cmpstr(qdict_get_str(error, "desc"), ==, "KVM is not in use");
    qobject_unref(error);
    qtest_quit(qts);
}

#endif

#ifdef __aarch64__
/* The first flash of two */
#define FLASH_SIZE (64 * MiB)
#define FLASH_BASE 0
#define FLASH_MEMSLOTS 1
#else
#define FLASH_SIZE (256 * KiB)
#define FLASH_BASE (4 * GiB - FLASH_SIZE)
/* One for the flash, one for its end below 1 MiB */
#define FLASH_MEMSLOTS 2
#endif

static char *make_flash(void)
{
    char *path = g_strdup_printf("%s/flash", migration_get_env()->tmpfs);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, FLASH_SIZE), ==, 0);
    close(fd);
    return path;
}

/* The first command removes the memslots of the flash, the second adds them */
static void use_flash(QTestState *qts)
{
    qtest_writeb(qts, FLASH_BASE, 0x70);    /* read the status */
    qtest_writeb(qts, FLASH_BASE, 0xff);    /* read the array */
}

/* There are @used memslots, also for the flash, and @unbacked ranges */
static void check_flash(QTestState *qts, int64_t used, int64_t unbacked)
{
    QDict *response, *as = query_address_space(qts, &response);

    g_assert_cmpint(check_numbers(as), ==, used);
    g_assert_cmpint(nr_unbacked(as), ==, unbacked);
    g_assert_nonnull(find(as, "memslots", FLASH_BASE));
    qobject_unref(response);
}

/* Map one region more than KVM has memslots */
static void map_all(QTestState *qts)
{
    g_autofree char *steps = g_strdup_printf(
        "[{'action': 'map', 'first': 0, 'count': %d}]", LIMIT + 1);

    testdev_run(qts, LIMIT + 1, true, steps);
}

/* More ranges than KVM has memslots: an unbacked range gets one later */
static void test_full(void)
{
    g_autofree char *file = watch_messages();
    g_autofree char *flash = make_flash();
    g_autofree char *options = g_strdup_printf(
        "-accel kvm -S -drive if=pflash,format=raw,file=%s 2>>%s", flash, file);
    QTestState *qts = testdev_start(LIMIT + 1, options);
    int64_t before = query_used(qts);
    int64_t unbacked = before + 1 + RESERVED;
    uint64_t last = TESTDEV_BASE + LIMIT * TESTDEV_STRIDE;
    g_autofree char *unmap_two = g_strdup_printf(
        "[{'action': 'unmap', 'first': %d}, {'action': 'unmap', 'first': 0}]",
        LIMIT);
    g_autofree char *unmap = g_strdup_printf(
        "[{'action': 'unmap', 'first': 1, 'count': %d}]", LIMIT - 1);
    g_autofree char *messages = NULL, *warning = NULL;
    QDict *as, *range, *response;

    map_all(qts);
    as = query_address_space(qts, &response);
    g_assert_cmpint(check_numbers(as), ==, LIMIT - RESERVED);
    g_assert_cmpint(nr_unbacked(as), ==, unbacked);
    g_assert_null(find(as, "memslots", last));
    range = find(as, "unbacked", last);
    g_assert_cmpint(qdict_get_int(range, "size"), ==, TESTDEV_SIZE);
    g_assert_cmpstr(qdict_get_str(range, "region"), ==, "ram");
    qobject_unref(response);

    /* One warning for all of them */
    g_assert(g_file_get_contents(file, &messages, NULL, NULL));
    warning = g_strdup_printf("warning: memory: KVM has no memslot for %" PRId64
                              " more ranges of devices' memory, of %d:"
                              " 'ram' at 0x", unbacked, LIMIT);
    g_assert_nonnull(strstr(messages, warning));

    /* Devices got the flash's memslots, and the flash got reserved ones */
    use_flash(qts);
    check_flash(qts, LIMIT - RESERVED + FLASH_MEMSLOTS,
                unbacked - FLASH_MEMSLOTS);

    /* An unbacked range, and one whose memslot becomes a reserved one */
    testdev_run(qts, 2, false, unmap_two);
    check_flash(qts, LIMIT - RESERVED + FLASH_MEMSLOTS - 1,
                unbacked - FLASH_MEMSLOTS - 1);

    testdev_run(qts, LIMIT - 1, true, unmap);
    as = query_address_space(qts, &response);
    g_assert_cmpint(check_numbers(as), ==, before);
    g_assert_cmpint(nr_unbacked(as), ==, 0);
    qobject_unref(response);
    qtest_quit(qts);
    unlink(flash);
    unlink(file);
}

#ifndef __aarch64__
/* ivshmem-plain: its BAR 2 has 64 bits and the memory of a memory backend */
#define IVSHMEM 4
#define COMMAND 0x04
#define COMMAND_MEMORY 2
#define BAR2 0x18
#define BAR2_GOOD (8 * GiB)

static void set_bar(QTestState *qts, uint64_t addr)
{
    postern_pci_write(qts, IVSHMEM, BAR2, addr);
    postern_pci_write(qts, IVSHMEM, BAR2 + 4, addr >> 32);
}

#endif

/* KVM has refused the device's memory at this address */
static void check_refused(QTestState *qts, uint64_t addr)
{
    QDict *response, *as = query_address_space(qts, &response);
    QDict *range = find(as, "unbacked", addr);

    g_assert_nonnull(range);
    g_assert_cmpstr(qdict_get_str(range, "refused"), ==, REFUSED);
    g_assert_null(find(as, "memslots", addr));
    qobject_unref(response);
}

static void check_backed(QTestState *qts, uint64_t addr)
{
    QDict *response, *as = query_address_space(qts, &response);

    g_assert_null(find(as, "unbacked", addr));
    g_assert_nonnull(find(as, "memslots", addr));
    qobject_unref(response);
}

#ifndef __aarch64__
static const uint64_t bad_bars[] = {
    0x8508000000000000, 0xffff800000000000, 0x7fffffffff000000,
    /* Beyond the physical addresses of the CPU */
    0x0000800000000000,
    /* Only the lower half is written yet */
    0xfffffffff0000000,
};

/* A guest can put a device's memory where KVM refuses a memslot */
static void test_refused_bar(QTestState *qts)
{
    postern_pci_write(qts, IVSHMEM, COMMAND, COMMAND_MEMORY);
    for (int i = 0; i < ARRAY_SIZE(bad_bars); i++) {
        set_bar(qts, bad_bars[i]);
        check_refused(qts, bad_bars[i]);
        g_assert_cmphex(qtest_readl(qts, bad_bars[i] + 64), ==, i);
        qtest_writel(qts, bad_bars[i] + 64, i + 1);
    }
    set_bar(qts, BAR2_GOOD);
    check_backed(qts, BAR2_GOOD);
    g_assert_cmphex(qtest_readl(qts, BAR2_GOOD + 64), ==, ARRAY_SIZE(bad_bars));
}

/* The region that KVM refuses first is in the BAR */
#define REFUSED_FIRST "m"
#define REFUSED_DEVICES \
    "-object memory-backend-memfd,id=m,size=16M,share=on" \
    " -device ivshmem-plain,memdev=m,addr=" stringify(IVSHMEM)
#else
/* The host bridge shows BARs in windows that the guest can always have */
#define REFUSED_FIRST "ram"
#define REFUSED_DEVICES ""
#endif

#define FAR (UINT64_C(1) << 63)
#define FAR_STEP "{'action': 'map', 'first': %d, 'count': %d," \
                 " 'offset': 9223372036854775808}"

/* KVM refuses @nr changes of a transaction; QEMU makes the others */
static void test_refused_among(QTestState *qts, int nr)
{
    g_autofree char *map = g_strdup_printf(
        "[{'action': 'map', 'first': 0}, " FAR_STEP ","
        " {'action': 'map', 'first': 38, 'count': 2}]", 1, nr);
    g_autofree char *unmap = g_strdup_printf(
        "[{'action': 'unmap', 'first': 0, 'count': %d},"
        " {'action': 'unmap', 'first': 38, 'count': 2}]", nr + 1);
    QDict *response, *as;
    int64_t before = query_used(qts);

    testdev_run(qts, nr + 3, true, map);
    for (int i = 1; i <= nr; i++) {
        check_refused(qts, TESTDEV_BASE + FAR + i * TESTDEV_STRIDE);
    }
    check_backed(qts, TESTDEV_BASE);
    check_backed(qts, TESTDEV_BASE + 38 * TESTDEV_STRIDE);
    check_backed(qts, TESTDEV_BASE + 39 * TESTDEV_STRIDE);
    g_assert_cmpint(query_used(qts), ==, before + 3);

    testdev_run(qts, nr + 3, true, unmap);
    as = query_address_space(qts, &response);
    g_assert_cmpint(check_numbers(as), ==, before);
    g_assert_cmpint(nr_unbacked(as), ==, 0);
    qobject_unref(response);
}

static void test_refused_with(const char *accel)
{
    g_autofree char *file = watch_messages();
    g_autofree char *options = g_strdup_printf(
        "-S -accel %s " REFUSED_DEVICES " 2>>%s", accel, file);
    QTestState *qts = testdev_start(40, options);
    g_autofree char *messages = NULL;
    static const char first[] =
        "warning: memory: KVM has refused a memslot for 1 more ranges of"
        " devices' memory: '" REFUSED_FIRST "' at 0x";

#ifndef __aarch64__
    test_refused_bar(qts);
#endif
    test_refused_among(qts, 1);
    test_refused_among(qts, 30);
    qtest_quit(qts);

    g_assert(g_file_get_contents(file, &messages, NULL, NULL));
    /* One warning a second at most, and no other message */
    g_assert_nonnull(strstr(messages, first));
    g_assert_null(strstr(messages, "changes of memslots"));
    unlink(file);
}

static void test_refused_batch(void)
{
    test_refused_with("kvm");
}

static void test_refused_one_by_one(void)
{
    test_refused_with("kvm,x-memslot-batch=off");
}

#ifndef __aarch64__
/* If KVM refuses the guest's own memory, QEMU says so and ends */
static void test_refused_ram(void)
{
    const char *argv[] = {
        getenv("QTEST_QEMU_BINARY"), "-machine", "q35", "-nodefaults",
        "-display", "none", "-accel", "kvm", "-S",
        "-cpu", "host,host-phys-bits=off,phys-bits=52",
        "-m", "64,slots=1,maxmem=1024T",
        "-object", "memory-backend-ram,id=m,size=128M",
        "-device", "pc-dimm,memdev=m,addr=0x1000000000000", NULL,
    };
    g_autofree char *err = NULL;
    int status;

    g_assert(g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_STDOUT_TO_DEV_NULL,
                          NULL, NULL, NULL, &err, &status, NULL));
    g_assert(!WIFEXITED(status) || WEXITSTATUS(status));
    g_test_message("%s", err);
    g_assert_nonnull(strstr(err, "KVM has refused "));
    g_assert_nonnull(strstr(err, "start=0x1000000000000, size=0x8000000, "));
    g_assert_nonnull(strstr(err, "Invalid argument"));
}
#endif

/* The guest's word, above everything that its firmware uses */
#define GUEST_BASE (RAM_START + 1 * GiB)
#define GUEST_WORD (GUEST_BASE + LIMIT * TESTDEV_STRIDE)

/* Check that the guest runs; with a memslot, the word wraps within seconds */
static void wait_for_increments_at(QTestState *qts, uint64_t word)
{
    uint32_t from = qtest_readl(qts, word);

    POLL_UNTIL(qtest_readl(qts, word) != from);
}

static void wait_for_increments(QTestState *qts)
{
    wait_for_increments_at(qts, GUEST_WORD);
}

/*
 * Start a VM with the guest in @path, and with @regions from @base.
 * QEMU's messages go to @file.
 */
static QTestState *start_guest_with(const char *accel, const char *path,
                                    const char *file, unsigned int regions,
                                    uint64_t base)
{
    g_autofree char *options = g_strdup_printf(
        "-accel %s -global memory-testdev.base=0x%" PRIx64
        " " WORD_GUEST_ARGS " 2>>%s",
        accel, base, path, file);

    return testdev_start(regions, options);
}

/* The guest runs the same with and without a memslot */
static void test_guest(void)
{
    g_autofree char *path = word_guest_write(GUEST_WORD);
    g_autofree char *file = watch_messages();
    QTestState *qts = start_guest_with("kvm", path, file, LIMIT + 1,
                                       GUEST_BASE);
    g_autofree char *map = g_strdup_printf(
        "[{'action': 'map', 'first': %d}]", LIMIT);
    g_autofree char *unmap = g_strdup_printf(
        "[{'action': 'unmap', 'first': %d}]", LIMIT);
    QDict *response;

    testdev_run(qts, 1, true, map);
    wait_for_increments(qts);
    testdev_run(qts, 1, true, unmap);
    map_all(qts);
    g_assert_nonnull(find(query_address_space(qts, &response), "unbacked",
                          GUEST_WORD));
    qobject_unref(response);
    wait_for_increments(qts);

    testdev_run(qts, 200, true,
                "[{'action': 'unmap', 'first': 0, 'count': 200}]");
    g_assert_nonnull(find(query_address_space(qts, &response), "memslots",
                          GUEST_WORD));
    qobject_unref(response);
    wait_for_increments(qts);
    qtest_quit(qts);
    unlink(path);
    unlink(file);
}

static int count(const char *text, const char *what)
{
    int nr = 0;

    for (text = strstr(text, what); text; text = strstr(text + 1, what)) {
        nr++;
    }
    return nr;
}

#ifdef __aarch64__
#define GUEST_LOG (RAM_START + 48 * MiB)

/*
 * Without a memslot, QEMU cannot emulate an instruction that the CPU does not
 * describe, such as the load of a pair of registers.  The guest gets an
 * external abort for it, and QEMU and the guest go on.
 */
static void test_no_syndrome(void)
{
    enum { DATA_ABORT_AT_SAME_EL = 0x25, EXTERNAL_ABORT = 0x10 };
    g_autofree char *path = word_guest_write_pair(GUEST_WORD, GUEST_LOG);
    g_autofree char *file = watch_messages();
    g_autofree char *map = g_strdup_printf(
        "[{'action': 'map', 'first': %d}]", LIMIT);
    g_autofree char *unmap = g_strdup_printf(
        "[{'action': 'unmap', 'first': %d}]", LIMIT);
    g_autofree char *messages = NULL;
    QTestState *qts = start_guest_with("kvm", path, file, LIMIT + 1,
                                       GUEST_BASE);
    QDict *response;
    uint32_t aborts, esr;

    qtest_qmp_assert_success(qts, "{ 'execute': 'stop' }");
    testdev_run(qts, 1, true, map);
    qtest_qmp_assert_success(qts, "{ 'execute': 'cont' }");
    wait_for_increments(qts);
    aborts = qtest_readl(qts, GUEST_LOG);

    qtest_qmp_assert_success(qts, "{ 'execute': 'stop' }");
    testdev_run(qts, 1, true, unmap);
    map_all(qts);
    g_assert_nonnull(find(query_address_space(qts, &response), "unbacked",
                          GUEST_WORD));
    qobject_unref(response);
    g_assert_cmpuint(qtest_readl(qts, GUEST_LOG), ==, aborts);
    qtest_qmp_assert_success(qts, "{ 'execute': 'cont' }");
    POLL_UNTIL(qtest_readl(qts, GUEST_LOG) > aborts + 10);
    esr = qtest_readl(qts, GUEST_LOG + WORD_GUEST_ESR);
    g_assert_cmphex(esr >> 26, ==, DATA_ABORT_AT_SAME_EL);
    g_assert_cmphex(esr & 0x3f, ==, EXTERNAL_ABORT);
    g_assert_cmphex(qtest_readq(qts, GUEST_LOG + WORD_GUEST_FAR), ==,
                    GUEST_WORD);
    wait_for_increments(qts);

    testdev_run(qts, 200, true,
                "[{'action': 'unmap', 'first': 0, 'count': 200}]");
    wait_for_increments(qts);
    aborts = qtest_readl(qts, GUEST_LOG);
    wait_for_increments(qts);
    g_assert_cmpuint(qtest_readl(qts, GUEST_LOG), ==, aborts);
    qtest_quit(qts);

    g_assert(g_file_get_contents(file, &messages, NULL, NULL));
    g_assert_cmpint(count(messages, "warning: "), ==, 1);
    g_assert_nonnull(strstr(messages, "warning: memory: KVM has no memslot"));
    unlink(path);
    unlink(file);
}
#endif

/* Query a counter that KVM has of the vCPU: MMIO_EXITS, for example */
static int64_t query_stat(QTestState *qts, const char *name)
{
    QDict *response = qtest_qmp(qts,
        "{ 'execute': 'query-stats', 'arguments': { 'target': 'vcpu',"
        " 'providers': [ { 'provider': 'kvm', 'names': [ %s ] } ] } }", name);
    QList *vcpus = qdict_get_qlist(response, "return");
    QDict *vcpu = qobject_to(QDict, qlist_peek(vcpus));
    QDict *stat = qobject_to(QDict, qlist_peek(qdict_get_qlist(vcpu,
                                                               "stats")));
    int64_t exits = qdict_get_int(stat, "value");

    g_assert_cmpint(qlist_size(vcpus), ==, 1);
    qobject_unref(response);
    return exits;
}

/* Two regions with memory of their own, which alternate at GUEST_WORD */
#define REPLACE_TIMES 100
#define REPLACE_STEPS \
    "[{'action': 'unmap', 'first': %d}," \
    " {'action': 'map', 'first': %d, 'offset': %" PRIu64 "}]"

static void replace(QTestState *qts, int from, int to)
{
    g_autofree char *steps = g_strdup_printf(
        REPLACE_STEPS, from, to,
        (uint64_t)(1 - to) * TESTDEV_STRIDE);

    testdev_run(qts, 2, true, steps);
}

/*
 * When one transaction replaces memory by other memory, the guest always has
 * memory there: KVM replaces it in one step, or vCPUs are stopped.
 */
static void test_replace(const char *accel, bool batch)
{
    const char *done = "kvm_set_user_memory_regions as 0 nr 2 flags 0x1 ret 0";
    const char *refused = "kvm_set_user_memory_regions as 0 nr 2 flags 0x1"
                          " ret -95";
    const char *stopped = "kvm_set_user_memory_regions as 0 nr 2 flags 0x0"
                          " ret 0";
    g_autofree char *path = word_guest_write(GUEST_WORD);
    g_autofree char *file = watch_messages();
    g_autofree char *with_trace = g_strdup_printf(
        "%s -trace kvm_set_user_memory_regions", accel);
    QTestState *qts = start_guest_with(with_trace, path, file, 2,
                                       GUEST_WORD - TESTDEV_STRIDE);
    g_autofree char *messages = NULL;
    int64_t mmio_exits;

    testdev_run(qts, 1, true, "[{'action': 'map', 'first': 1}]");
    wait_for_increments(qts);
    mmio_exits = query_stat(qts, MMIO_EXITS);
    for (int i = 0; i < REPLACE_TIMES; i++) {
        replace(qts, 1, 0);
        wait_for_increments(qts);
        replace(qts, 0, 1);
    }
    wait_for_increments(qts);
    g_assert_cmpint(query_stat(qts, MMIO_EXITS), ==, mmio_exits);
    qtest_quit(qts);

    g_assert(g_file_get_contents(file, &messages, NULL, NULL));
    if (!batch) {
        g_assert_null(strstr(messages, "kvm_set_user_memory_regions"));
    } else if (strstr(messages, refused)) {
        /* KVM shadows page tables, and QEMU tries only once */
        g_assert_cmpint(count(messages, refused), ==, 1);
        g_assert_cmpint(count(messages, stopped), ==, 2 * REPLACE_TIMES);
    } else {
        g_assert_cmpint(count(messages, done), ==, 2 * REPLACE_TIMES);
    }
    unlink(path);
    unlink(file);
}

static void test_replace_batch(void)
{
    if (!host_has_memory_regions()) {
        g_test_skip("the host's KVM makes no lists of changes");
        return;
    }
    test_replace("kvm", true);
}

static void test_replace_stop(void)
{
    test_replace("kvm,x-memslot-batch=off", false);
}

/* Count the memslots of address space 0 that log dirty pages */
static int query_logging(QTestState *qts)
{
    const QListEntry *entry;
    QDict *response, *as = query_address_space(qts, &response);
    int nr = 0;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(as, "memslots"), entry) {
        nr += qdict_get_bool(qobject_to(QDict, qlist_entry_obj(entry)),
                             "dirty-log");
    }
    qobject_unref(response);
    return nr;
}

/* Returns the messages in a file after the first @skip bytes */
static char *messages_since(const char *file, size_t skip)
{
    g_autofree char *messages = NULL;
    size_t length;

    g_assert(g_file_get_contents(file, &messages, &length, NULL));
    g_assert_cmpint(length, >=, skip);
    return g_strdup(messages + skip);
}

/*
 * All memory starts to log dirty pages, and stops, with one list each.  The
 * vCPU does not run before, because firmware changes memslots.
 */
static void test_log(const char *accel, bool batch)
{
    const char *a_list = "kvm_set_user_memory_regions as 0 ";
    g_autofree char *file = watch_messages();
    g_autofree char *options = g_strdup_printf(
        "-accel %s -S -trace kvm_set_user_memory_regions"
        " -trace kvm_set_user_memory 2>>%s", accel, file);
    QTestState *qts = testdev_start(1, options);
    g_autofree char *start = messages_since(file, 0);
    g_autofree char *on = NULL, *off = NULL, *list = NULL;
    const char *first;
    int nr;

    g_assert_cmpint(query_logging(qts), ==, 0);
    qtest_qmp_assert_success(qts, "{ 'execute': 'calc-dirty-rate',"
                             "  'arguments': { 'calc-time': 1,"
                             "    'mode': 'dirty-bitmap' } }");
    POLL_UNTIL((nr = query_logging(qts)) > 0);
    g_assert_cmpint(nr, >, 1);
    wait_for_dirty_rate(qts);

    /* They log as long as the VM is stopped */
    g_assert_cmpint(query_logging(qts), ==, nr);
    on = messages_since(file, strlen(start));
    g_assert_cmpint(count(on, "kvm_set_user_memory AddrSpace#0 "), ==, nr);
    qtest_qmp_assert_success(qts, "{ 'execute': 'cont' }");
    g_assert_cmpint(query_logging(qts), ==, 0);
    qtest_quit(qts);

    list = g_strdup_printf("%snr %d flags 0x0 ret 0", a_list, nr);
    g_assert_cmpint(count(on, a_list), ==, batch);
    g_assert_cmpint(count(on, list), ==, batch);
    off = messages_since(file, strlen(start) + strlen(on));
    first = strstr(off, a_list);
    g_assert(!!first == batch);
    g_assert(!first || g_str_has_prefix(first, list));
    unlink(file);
}

static void test_log_batch(void)
{
    if (!host_has_memory_regions()) {
        g_test_skip("the host's KVM makes no lists of changes");
        return;
    }
    test_log("kvm", true);
}

static void test_log_one_by_one(void)
{
    test_log("kvm,x-memslot-batch=off", false);
}

/* A page of RAM that is overlaid again and again, and the guest's word */
#define OVERLAY_BASE (RAM_START + 32 * MiB)
#define OVERLAY_WORD (RAM_START + 48 * MiB)
#define OVERLAY_TIMES 20

/* Returns how often the vCPU left KVM for a signal meanwhile */
static int64_t overlay(QTestState *qts)
{
    int64_t exits = query_stat(qts, "signal_exits");

    for (int i = 0; i < OVERLAY_TIMES; i++) {
        wait_for_increments_at(qts, OVERLAY_WORD);
        testdev_run(qts, 1, true, i % 2 ? "[{'action': 'unmap', 'first': 0}]" :
                                          "[{'action': 'map', 'first': 0}]");
    }
    return query_stat(qts, "signal_exits") - exits;
}

/*
 * RAM's memslot is removed and added while the guest writes to it.  A write
 * after the dirty bits were collected would be in no log.  So the vCPU is
 * stopped while dirty pages are logged, and the list has no
 * KVM_MEMORY_REGIONS_ATOMIC, which KVM would refuse.
 */
static void test_overlay_log(void)
{
    const char *running = "kvm_set_user_memory_regions as 0 nr 5 flags 0x1";
    const char *stopped = "kvm_set_user_memory_regions as 0 nr 5 flags 0x0"
                          " ret 0";
    g_autofree char *path = word_guest_write(OVERLAY_WORD);
    g_autofree char *file = watch_messages();
    g_autofree char *before = NULL, *after = NULL;
    QTestState *qts;

    if (!host_has_memory_regions()) {
        g_test_skip("the host's KVM makes no lists of changes");
        return;
    }
    qts = start_guest_with("kvm -trace kvm_set_user_memory_regions", path, file,
                           1, OVERLAY_BASE);
    wait_for_increments_at(qts, OVERLAY_WORD);
    overlay(qts);
    before = messages_since(file, 0);

    qtest_qmp_assert_success(qts, "{ 'execute': 'calc-dirty-rate',"
                             "  'arguments': { 'calc-time': 60,"
                             "    'mode': 'dirty-bitmap' } }");
    POLL_UNTIL(query_logging(qts) > 0);
    g_assert_cmpint(overlay(qts), >=, OVERLAY_TIMES);
    g_assert_cmpint(query_logging(qts), >, 0);
    qtest_quit(qts);

    after = messages_since(file, strlen(before));
    g_assert_cmpint(count(before, running), >=, 1);
    g_assert_cmpint(count(after, running), ==, 0);
    g_assert_cmpint(count(after, stopped), ==, OVERLAY_TIMES);
    unlink(path);
    unlink(file);
}

void add_memslot_limits_cases(void)
{
    migration_test_add("/postern/memslot-limits/log-batch", test_log_batch);
    migration_test_add("/postern/memslot-limits/log-one-by-one",
                       test_log_one_by_one);
    migration_test_add("/postern/memslot-limits/replace-batch",
                       test_replace_batch);
    migration_test_add("/postern/memslot-limits/replace-stop",
                       test_replace_stop);
    migration_test_add("/postern/memslot-limits/overlay-log", test_overlay_log);
    migration_test_add("/postern/memslot-limits/refused-batch",
                       test_refused_batch);
    migration_test_add("/postern/memslot-limits/refused-one-by-one",
                       test_refused_one_by_one);
    /*
     * On aarch64, the machine asks KVM for as many address bits as its memory
     * needs, and QEMU is built without TCG.
     */
#ifndef __aarch64__
    migration_test_add("/postern/memslot-limits/refused-ram", test_refused_ram);
    migration_test_add("/postern/memslot-limits/query-tcg", test_query_tcg);
#endif
    migration_test_add("/postern/memslot-limits/query", test_query);
    migration_test_add("/postern/memslot-limits/full", test_full);
    migration_test_add("/postern/memslot-limits/guest", test_guest);
#ifdef __aarch64__
    migration_test_add("/postern/memslot-limits/no-syndrome", test_no_syndrome);
#endif
}
