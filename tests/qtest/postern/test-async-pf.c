/*
 * postern-test: asynchronous page faults over KVM userfault
 *
 * The guest runs Linux.  By default KVM tells it about missing pages, and it
 * runs other tasks; with "no-kvmapf", KVM halts its vCPU.
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "libqtest.h"
#include "migration/migration-qmp.h"
#include "migration/migration-util.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "test-util.h"
#include "trip.h"

#define TOLD "postern.percent=40"
#define HALTED TOLD " no-kvmapf"

/* ------------------------------------------------------------------------- */
/* Machine types */

/* Does the first vCPU have kvm-asyncpf-int? */
static bool has_asyncpf_int(const char *machine)
{
    QTestState *qts = qtest_initf("-accel kvm -cpu qemu64 -m 64M -S"
                                  " -machine %s", machine);
    QDict *cpus = qtest_qmp(qts, "{ 'execute': 'query-cpus-fast' }");
    QDict *cpu = qobject_to(QDict, qlist_peek(qdict_get_qlist(cpus, "return")));
    QDict *rsp = qtest_qmp(qts, "{ 'execute': 'qom-get', 'arguments': {"
                           " 'path': %s, 'property': 'kvm-asyncpf-int' } }",
                           qdict_get_str(cpu, "qom-path"));
    bool has = qdict_get_bool(rsp, "return");

    qobject_unref(rsp);
    qobject_unref(cpus);
    qtest_quit(qts);
    return has;
}

/* The type that an alias stands for, to be freed */
static char *machine_of(QTestState *qts, const char *alias)
{
    QDict *rsp = qtest_qmp(qts, "{ 'execute': 'query-machines' }");
    const QListEntry *entry;
    char *name = NULL;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(rsp, "return"), entry) {
        QDict *machine = qobject_to(QDict, qlist_entry_obj(entry));

        if (!g_strcmp0(qdict_get_try_str(machine, "alias"), alias)) {
            name = g_strdup(qdict_get_str(machine, "name"));
        }
    }
    qobject_unref(rsp);
    return name;
}

static void test_machines(void)
{
    QTestState *qts = qtest_init("-accel tcg -accel kvm -machine none");
    g_autofree char *q35 = machine_of(qts, "q35");
    g_autofree char *pc = machine_of(qts, "pc");

    qtest_quit(qts);
    g_assert_cmpstr(q35, ==, "pc-q35-10.0-postern1");
    g_assert_true(has_asyncpf_int("q35"));
    g_assert_true(has_asyncpf_int("q35,kernel-irqchip=split"));
    /* The interrupt comes from KVM's local APIC */
    g_assert_false(has_asyncpf_int("q35,kernel-irqchip=off"
                                   " -cpu qemu64,apic=off"));
    g_assert_false(has_asyncpf_int("pc-q35-10.0"));
    if (pc) {
        g_assert_cmpstr(pc, ==, "pc-i440fx-10.0-postern1");
        g_assert_true(has_asyncpf_int("pc"));
        g_assert_false(has_asyncpf_int("pc-i440fx-10.0"));
    }
}

/* Upstream's machine type is the beginning of ours, and not the same */
static void test_other_machine(void)
{
    g_autofree char *uri = g_strdup_printf("unix:%s/migsocket",
                                           migration_get_env()->tmpfs);
    QTestState *to = qtest_init("-accel kvm -machine pc-q35-10.0-postern1"
                                " -m 64M -incoming defer");
    QTestState *from = qtest_init("-accel kvm -machine pc-q35-10.0 -m 64M");

    migrate_incoming_qmp(to, uri, NULL, "{ 'exit-on-error': false }");
    migrate_qmp(from, to, uri, NULL, "{}");
    wait_for_migration_status(to, "failed",
                              (const char * []) { "completed", NULL });
    qtest_quit(to);
    qtest_quit(from);
    unlink(uri + strlen("unix:"));
}

/* ------------------------------------------------------------------------- */
/* Migrations */

static uint64_t accepted(PosternVM *vm)
{
    return faults_get(vm->qts, "kvm-exits-accepted");
}

/* Begin post-copy with a guest that accesses missing pages */
static void begin_trip(Trip *trip, const char *append, const char *arguments)
{
    trip_boot(trip, g_strdup(arguments), g_strdup(arguments), append);
    trip_switch(trip);
}

/*
 * Wait until KVM does what the guest's command line makes it do.  The first
 * faults may come at a time when a guest cannot be told.
 */
static void check_async(PosternVM *vm, const char *append)
{
    if (g_str_equal(append, TOLD)) {
        POLL_UNTIL(faults_get(vm->qts, "async-told") > 0);
    } else {
        POLL_UNTIL(faults_get(vm->qts, "async-halts") > 0);
        g_assert_cmpuint(faults_get(vm->qts, "async-told"), ==, 0);
    }
}

static void test_accepted(const void *append)
{
    Trip trip = { 0 };
    g_autofree char *hmp = NULL;

    begin_trip(&trip, append, "");
    POLL_UNTIL(accepted(trip.vms[DESTINATION]) >= 20);
    check_async(trip.vms[DESTINATION], append);
    hmp = qtest_hmp(trip.vms[DESTINATION]->qts, "info migrate");
    g_assert_nonnull(strstr(hmp, "postcopy async faults: guest told "));
    trip_end(&trip);
}

/* vCPUs wait for the same pages, and for each other */
static void test_two_vcpus(const void *append)
{
    Trip trip = { .vcpus = 2 };

    begin_trip(&trip, append, "");
    POLL_UNTIL(accepted(trip.vms[DESTINATION]) >= 40);
    check_async(trip.vms[DESTINATION], append);
    trip_end(&trip);
}

/* Without the capability, vCPUs wait for their pages */
static void test_off(void)
{
    Trip trip = { 0 };
    PosternVM *dst;

    begin_trip(&trip, TOLD, "-global migration.x-postcopy-async-pf=off");
    dst = trip.vms[DESTINATION];
    wait_for_guest_faults(dst->qts, guest_faults(dst->qts) + 20);
    g_assert_cmpuint(accepted(dst), ==, 0);
    trip_end(&trip);
}

/*
 * The guest is stopped while it waits for pages, which come meanwhile.  It then
 * goes on with others.
 */
static void test_stop(const void *append)
{
    Trip trip = { 0 };
    PosternVM *dst;
    pid_t source;
    uint64_t before;

    begin_trip(&trip, append, "");
    dst = trip.vms[DESTINATION];
    source = qtest_pid(trip.vms[SOURCE]->qts);
    for (int i = 0; i < 3; i++) {
        kill(source, SIGSTOP);
        wait_for_last_request(dst->qts);
        postern_vm_run(dst, &error_abort, "{ 'execute': 'stop' }");
        before = guest_faults(dst->qts);
        kill(source, SIGCONT);
        g_usleep(10 * POLL_US);
        g_assert_cmpuint(guest_faults(dst->qts), ==, before);
        postern_vm_run(dst, &error_abort, "{ 'execute': 'cont' }");
        wait_for_guest_faults(dst->qts, before + 1);
    }
    check_async(dst, append);
    trip_end(&trip);
}

/* Connect a paused migration again */
static void recover(Trip *trip)
{
    QTestState *to = trip->vms[DESTINATION]->qts;
    QTestState *from = trip->vms[SOURCE]->qts;

    wait_for_paused(from);
    wait_for_paused(to);
    resume(from, to);
    wait_for_migration_status(to, "postcopy-active",
                              (const char * []) { "completed", NULL });
}

/* The network breaks while accepted pages are missing */
static void test_recover(const void *append)
{
    Trip trip = { 0 };
    PosternVM *dst;
    uint64_t before;

    begin_trip(&trip, append, "");
    dst = trip.vms[DESTINATION];
    migrate_pause(dst->qts);
    wait_for_paused(dst->qts);
    /* The guest goes on until it waits for pages that do not come */
    POLL_UNTIL_STILL(guest_faults(dst->qts));
    recover(&trip);
    before = accepted(dst);
    POLL_UNTIL(accepted(dst) > before);
    check_async(dst, append);
    trip_end(&trip);
}

/* The guest is reset while accepted pages are missing, and boots again */
static void reset_and_end(Trip *trip)
{
    PosternVM *dst = trip->vms[DESTINATION];

    postern_vm_run(dst, &error_abort, "{ 'execute': 'system_reset' }");
    wait_for_guest_faults(dst->qts, guest_faults(dst->qts) + 20);
    trip_end(trip);
}

static void test_reset(const void *append)
{
    Trip trip = { .resets = true };
    PosternVM *dst;

    begin_trip(&trip, append, "-action reboot=reset");
    dst = trip.vms[DESTINATION];
    POLL_UNTIL(accepted(dst) >= 20);
    check_async(dst, append);
    reset_and_end(&trip);
}

/* Of a guest that cannot know of KVM, QEMU's reset writes no MSR of KVM's */
static void test_reset_hidden(void)
{
    Trip trip = { .cpu = "host,kvm=off", .resets = true };
    PosternVM *dst;

    begin_trip(&trip, TOLD, "-action reboot=reset");
    dst = trip.vms[DESTINATION];
    POLL_UNTIL(faults_get(dst->qts, "async-halts") > 0);
    g_assert_cmpuint(faults_get(dst->qts, "async-told"), ==, 0);
    reset_and_end(&trip);
}

/*
 * All pages come while the guest is stopped.  It has not been told that they
 * are ready when it is migrated once more.  Returns where it runs then.
 */
static PosternVM *migrate_again(Trip *trip)
{
    PosternVM *dst = trip->vms[DESTINATION], *third;
    g_autofree char *socket = NULL;
    PosternMigrateOptions options;

    postern_vm_run(dst, &error_abort, "{ 'execute': 'stop' }");
    trip_let_go(trip);
    wait_for_migration_complete(trip->vms[SOURCE]->qts);
    wait_for_migration_complete(dst->qts);

    socket = g_strdup_printf("%s-third", trip->socket);
    options = (PosternMigrateOptions) {
        .socket = socket,
        .timeout_s = TIMEOUT_S,
    };
    third = postern_vm_start("third", &trip->configs[DESTINATION], true,
                             &error_abort);
    postern_migrate_begin(dst, third, &options, &error_abort);
    postern_migrate_wait(dst, third, &options, &error_abort);
    postern_vm_run(third, &error_abort, "{ 'execute': 'cont' }");
    unlink(socket);
    return third;
}

/* No task may sleep for ever */
static void test_again(const void *append)
{
    PosternVM *third;
    Trip trip = { 0 };

    begin_trip(&trip, append, "");
    POLL_UNTIL(accepted(trip.vms[DESTINATION]) >= 20);
    check_async(trip.vms[DESTINATION], append);
    third = migrate_again(&trip);
    trip_check(third);
    postern_vm_stop(third);
    trip_free(&trip);
}

/*
 * The source has just been stopped: run until all tasks wait, or the guest cannot
 * go on without a page.  Returns how many waits began meanwhile.  They last, but
 * for pages that were on their way without a request, a few of all pages.
 */
static uint64_t let_tasks_wait(PosternVM *dst)
{
    uint64_t told = faults_get(dst->qts, "async-told");

    POLL_UNTIL_STILL(guest_faults(dst->qts));
    return faults_get(dst->qts, "async-told") - told;
}

/*
 * Of 64 tasks, more than half wait when all pages come and the guest is migrated
 * once more.  None of them may sleep for ever, and the guest's MSRs are the same
 * on all sides.
 */
static void test_many_tasks(void)
{
    PosternGuestApf before, after;
    PosternVM *dst, *third;
    Trip trip = { 0 };
    uint64_t waits;
    pid_t source;

    trip_boot(&trip, g_strdup(""), g_strdup(""), TOLD " postern.workers=64");
    postern_guest_apf(trip.vms[SOURCE], TIMEOUT_S, &before, &error_abort);
    g_assert_cmpuint(before.en & 1, ==, 1);
    trip_switch(&trip);
    dst = trip.vms[DESTINATION];
    source = qtest_pid(trip.vms[SOURCE]->qts);
    for (int i = 0; i < 50; i++) {
        kill(source, SIGSTOP);
        waits = let_tasks_wait(dst);
        if (waits > 32) {
            break;
        }
        kill(source, SIGCONT);
        wait_for_guest_faults(dst->qts, guest_faults(dst->qts) + 20);
    }
    g_assert_cmpuint(waits, >, 32);
    postern_vm_run(dst, &error_abort, "{ 'execute': 'stop' }");
    kill(source, SIGCONT);

    third = migrate_again(&trip);
    trip_check(third);
    postern_guest_apf(third, TIMEOUT_S, &after, &error_abort);
    g_assert_cmpuint(after.en, ==, before.en);
    g_assert_cmpuint(after.interrupt, ==, before.interrupt);
    postern_vm_stop(third);
    trip_free(&trip);
}

/* The guest boots another kernel while accepted pages are missing */
static void test_kexec(const void *append)
{
    Trip trip = { .vcpus = 2, .may_complete = true };
    g_autofree char *disks = g_strdup_printf(
        "-drive if=none,id=kernel,format=raw,readonly=on,file=%s"
        " -device virtio-blk-pci,drive=kernel"
        " -drive if=none,id=initramfs,format=raw,readonly=on,file=%s"
        " -device virtio-blk-pci,drive=initramfs",
        trip_environment("POSTERN_KERNEL"), trip_environment("POSTERN_GUEST"));
    PosternVM *dst;

    trip_boot(&trip, g_strdup(disks), g_strdup(disks), append);
    postern_guest_load(trip.vms[SOURCE], TIMEOUT_S, &error_abort);
    trip_switch(&trip);
    dst = trip.vms[DESTINATION];
    POLL_UNTIL(accepted(dst) >= 40);
    check_async(dst, append);
    postern_guest_kexec(dst, TIMEOUT_S, &error_abort);
    trip_end(&trip);
}

void add_async_pf_cases(void)
{
    static const struct {
        const char *name;
        void (*run)(const void *append);
    } cases[] = {
        { "accepted", test_accepted },
        { "two-vcpus", test_two_vcpus },
        { "stop", test_stop },
        { "recover", test_recover },
        { "reset", test_reset },
        { "again", test_again },
        { "kexec", test_kexec },
    };

    if (!host_has_async_pf()) {
        return;
    }
    qtest_add_func("/postern/async-pf/machines", test_machines);
    qtest_add_func("/postern/async-pf/other-machine", test_other_machine);
    qtest_add_func("/postern/async-pf/off", test_off);
    qtest_add_func("/postern/async-pf/reset-hidden", test_reset_hidden);
    qtest_add_func("/postern/async-pf/many-tasks", test_many_tasks);
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autofree char *told = g_strdup_printf("/postern/async-pf/%s-told",
                                                cases[i].name);
        g_autofree char *halted = g_strdup_printf("/postern/async-pf/%s-halted",
                                                  cases[i].name);

        qtest_add_data_func(told, TOLD, cases[i].run);
        qtest_add_data_func(halted, HALTED, cases[i].run);
    }
}
