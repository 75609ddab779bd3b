/*
 * postern-test: successful migrations
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "libqtest.h"
#include "migration/migration-qmp.h"
#include "migration/migration-util.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "qobject/qnum.h"
#include "test-util.h"
#include "walker.h"

static void test_postcopy(Setting capability, const char *other, bool kvm)
{
    QTestState *from, *to;

    if (begin(&from, &to, capability, other)) {
        finish(from, to, kvm);
    }
}

/* postcopy-blocktime agrees with postcopy-faults, with either mechanism */
static void test_blocktime(Setting capability, bool kvm)
{
    QTestState *from, *to;
    const QListEntry *entry;
    QDict *info, *faults;
    QList *vcpus;
    int64_t vcpu_ms, blocked_ms;

    if (!begin(&from, &to, capability, "postcopy-blocktime")) {
        return;
    }
    migrate_set_parameter_int(from, "max-postcopy-bandwidth", 0);
    wait_for_migration_complete(from);
    wait_for_migration_complete(to);

    info = migrate_query(to);
    faults = qdict_get_qdict(info, "postcopy-faults");
    vcpus = qdict_get_qlist(info, "postcopy-vcpu-blocktime");
    entry = qlist_first(vcpus);
    g_assert(entry && !qlist_next(entry));
    vcpu_ms = qnum_get_int(qobject_to(QNum, qlist_entry_obj(entry)));
    g_assert_cmpint(vcpu_ms, >, 0);
    /* There is one vCPU, so all vCPUs wait whenever it does */
    g_assert_cmpint(qdict_get_int(info, "postcopy-blocktime"), ==, vcpu_ms);
    /* KVM and devices do not access the memory of this guest */
    g_assert_cmpint(qdict_get_int(faults, "userfaultfd-vcpu-host"), ==, 0);
    blocked_ms = qdict_get_int(faults, "vcpu-blocked-ns") / 1000000;
    if (kvm) {
        g_assert_cmpint(blocked_ms, ==, vcpu_ms);
    } else {
        /* The vCPU may fault again before the previous page counts as placed */
        g_assert_cmpint(blocked_ms / 2, <, vcpu_ms);
    }
    qobject_unref(info);
    finish(from, to, kvm);
}

static uint64_t resident_bytes(QTestState *who)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/statm", qtest_pid(who));
    g_autofree char *text = NULL;
    uint64_t pages;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_cmpint(sscanf(text, "%*u %" SCNu64, &pages), ==, 1);
    return pages * qemu_real_host_page_size();
}

/* The source frees what it has sent */
static void test_release_ram(void)
{
    QTestState *from, *to;
    uint64_t before;

    if (!begin(&from, &to, ON, "release-ram")) {
        return;
    }
    before = resident_bytes(from);
    migrate_set_parameter_int(from, "max-postcopy-bandwidth", 0);
    wait_for_migration_complete(from);
    /* The guest uses 100 MiB */
    g_assert_cmpuint(resident_bytes(from) + 64 * MiB, <, before);
    finish(from, to, true);
}

/*
 * Half of the pages are zero.  The guest finds them missing although the stream
 * has 9 bytes for each; then the source finds that they are zero.
 */
static void test_zero_pages(void)
{
    MigrateStart start = {};
    QTestState *from, *to;
    int64_t zero;

    if (!begin_precopy(&start, &from, &to, ON, NULL)) {
        return;
    }
    walker_set(from, 1);
    switch_over(from, to);
    zero = read_ram_property_int(from, "duplicate");
    wait_for_guest_faults(to, 20);
    g_assert_cmpint(read_ram_property_int(from, "duplicate"), ==, zero);
    migrate_set_parameter_str(from, "zero-page-detection", "multifd");
    migrate_set_parameter_int(from, "max-postcopy-bandwidth", 0);
    wait_for_migration_complete(from);
    /* Half of 99 MiB, without what the guest has had */
    g_assert_cmpint(read_ram_property_int(from, "duplicate"), >, zero + 4096);
    finish(from, to, true);
}

/* Of what no requested page has to wait behind */
#define SHORT_QUEUE (6 * MiB)

/*
 * The network takes everything.  The source sends a part of the guest's 100 MiB
 * and waits until the destination has placed pages of it.
 */
static void test_short_queue(const char *other)
{
    MigrateStart start = {};
    QTestState *from, *to;
    PosternRelay *relay;
    uint64_t kept;

    if (!begin_precopy_relayed(&start, &from, &to, other, &relay)) {
        return;
    }
    begin_postcopy(from, to, 20);
    postern_relay_keep_one(relay, 0, false, true);
    migrate_set_parameter_int(from, "max-postcopy-bandwidth", 0);
    POLL_UNTIL(postern_relay_kept(relay, 0, false) > 0);
    POLL_UNTIL_STILL(postern_relay_kept(relay, 0, false));
    kept = postern_relay_kept(relay, 0, false);
    g_test_message("%" PRIu64 " bytes were on their way", kept);
    /* A round at least, if it was not starved */
    g_assert_cmpuint(kept, >=, 64 * 4096);
    g_assert_cmpuint(kept, <, SHORT_QUEUE);

    postern_relay_keep_one(relay, 0, false, false);
    finish(from, to, true);
    postern_relay_end(relay);
}

static void test_short_queue_plain(void)
{
    test_short_queue(NULL);
}

static void test_short_queue_preempt(void)
{
    test_short_queue("postcopy-preempt");
}

static void test_postcopy_on(void)
{
    test_postcopy(ON, NULL, true);
}

static void test_postcopy_off(void)
{
    test_blocktime(OFF, false);
}

static void test_postcopy_blocktime(void)
{
    test_blocktime(ON, true);
}

/* If the host does not support KVM userfault, the default is userfaultfd */
static void test_postcopy_default(void)
{
    test_postcopy(DEFAULT, NULL, false);
}

static void test_postcopy_preempt(void)
{
    test_postcopy(ON, "postcopy-preempt", true);
}

void add_postcopy_cases(void)
{
    if (!host_has_userfault()) {
        migration_test_add("/postern/stock-kernel/postcopy",
                           test_postcopy_default);
    } else {
        migration_test_add("/postern/postcopy/on", test_postcopy_on);
        migration_test_add("/postern/postcopy/off", test_postcopy_off);
        migration_test_add("/postern/postcopy/preempt", test_postcopy_preempt);
        migration_test_add("/postern/postcopy/blocktime",
                           test_postcopy_blocktime);
        migration_test_add("/postern/postcopy/release-ram", test_release_ram);
        migration_test_add("/postern/postcopy/zero-pages", test_zero_pages);
        migration_test_add("/postern/postcopy/short-queue",
                           test_short_queue_plain);
        migration_test_add("/postern/postcopy/short-queue-preempt",
                           test_short_queue_preempt);
    }
}
