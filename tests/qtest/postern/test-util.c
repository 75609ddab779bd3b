/*
 * What the groups of cases of postern-test share
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include <sys/ioctl.h>
#include <linux/kvm.h>
#include "libqtest.h"
#include "migration/migration-qmp.h"
#include "migration/migration-util.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "qobject/qlist.h"
#include "q35.h"
#include "test-util.h"
#include "vcpus.h"
#include "walker.h"

static bool host_has(int capability)
{
    int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    bool has = fd >= 0 && ioctl(fd, KVM_CHECK_EXTENSION, capability) > 0;

    if (fd >= 0) {
        close(fd);
    }
    return has;
}

bool host_has_userfault(void)
{
    return host_has(KVM_CAP_USERFAULT);
}

bool host_has_memory_regions(void)
{
    return host_has(KVM_CAP_MEMORY_REGIONS);
}

QDict *query_faults(QTestState *who)
{
    QDict *info = migrate_query(who);
    QDict *faults = qdict_get_qdict(info, "postcopy-faults");

    if (faults) {
        qobject_ref(faults);
    }
    qobject_unref(info);
    return faults;
}

uint64_t faults_get(QTestState *who, const char *member)
{
    QDict *faults = query_faults(who);
    uint64_t value;

    g_assert(faults);
    value = qdict_get_int(faults, member);
    qobject_unref(faults);
    return value;
}

/* What is told of each vCPU, and of each step of latency, adds up */
static void check_fault_lists(QDict *faults)
{
    const QListEntry *entry;
    int64_t blocked_ns = 0, vcpu_faults = 0, served = 0, below = -1;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(faults, "vcpus"), entry) {
        QDict *vcpu = qobject_to(QDict, qlist_entry_obj(entry));

        /* The guest has one */
        g_assert_cmpint(qdict_get_int(vcpu, "cpu-index"), ==, 0);
        vcpu_faults += qdict_get_int(vcpu, "faults");
        blocked_ns += qdict_get_int(vcpu, "blocked-ns");
    }
    g_assert_cmpint(blocked_ns, ==, qdict_get_int(faults, "vcpu-blocked-ns"));
    g_assert_cmpint(vcpu_faults, ==,
                    qdict_get_int(faults, "kvm-exits") -
                    qdict_get_int(faults, "kvm-exits-present") +
                    qdict_get_int(faults, "userfaultfd-vcpu") +
                    qdict_get_int(faults, "userfaultfd-vcpu-host"));

    QLIST_FOREACH_ENTRY(qdict_get_qlist(faults, "latency"), entry) {
        QDict *step = qobject_to(QDict, qlist_entry_obj(entry));

        g_assert_cmpint(qdict_get_int(step, "max-ns"), >, below);
        below = qdict_get_int(step, "max-ns");
        served += qdict_get_int(step, "count");
    }
    g_assert_cmpint(served, >, 0);
    g_assert_cmpint(qdict_get_int(faults, "latency-p99-ns"), <=, below);
}

void check_faults(QTestState *to, bool kvm)
{
    g_autofree char *hmp = qtest_hmp(to, "info migrate");
    g_autoptr(GString) json = NULL;
    QDict *faults = query_faults(to);

    g_assert(faults);
    json = qobject_to_json(QOBJECT(faults));
    g_test_message("%s", json->str);
    g_assert_cmpstr(qdict_get_str(faults, "mechanism"), ==,
                    kvm ? "kvm-userfault" : "userfaultfd");
    if (kvm) {
        g_assert_cmpint(qdict_get_int(faults, "kvm-exits"), >, 0);
        g_assert_cmpint(qdict_get_int(faults, "userfaultfd-vcpu"), ==, 0);
        g_assert_cmpint(qdict_get_int(faults, "userfaultfd-async"), ==, 0);
        /* This guest has nothing that KVM or a device would access */
        g_assert_cmpint(qdict_get_int(faults, "userfaultfd-vcpu-host"), ==, 0);
    } else {
        g_assert_cmpint(qdict_get_int(faults, "kvm-exits"), ==, 0);
        g_assert_cmpint(qdict_get_int(faults, "userfaultfd-vcpu") +
                        qdict_get_int(faults, "userfaultfd-async"), >, 0);
    }
    g_assert_cmpint(qdict_get_int(faults, "requested"), >, 0);
    g_assert_cmpint(qdict_get_int(faults, "vcpu-blocked-ns"), >, 0);
    g_assert_cmpint(qdict_get_int(faults, "latency-p50-ns"), >, 0);
    g_assert_cmpint(qdict_get_int(faults, "latency-p99-ns"), >=,
                    qdict_get_int(faults, "latency-p50-ns"));
    check_fault_lists(faults);
    qobject_unref(faults);

    g_assert(strstr(hmp, kvm ? "postcopy faults served by: kvm-userfault"
                             : "postcopy faults served by: userfaultfd"));
}

uint64_t guest_faults(QTestState *who)
{
    return faults_get(who, "kvm-exits") +
           faults_get(who, "userfaultfd-vcpu") +
           faults_get(who, "userfaultfd-async");
}

/*
 * What both QEMUs say on stderr, for when something goes wrong.  Much of it is
 * expected, and TAP has no place for it.
 */
static int messages = -1;

static void show_lines(const char *text)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

    for (char **line = lines; *line; line++) {
        g_test_message("%s", g_strchomp(*line));
    }
}

/* The end of them, to be freed */
static char *last_messages(void)
{
    char *text = g_malloc0(16 * KiB);
    off_t size = lseek(messages, 0, SEEK_END);

    if (pread(messages, text, 16 * KiB - 1, MAX(0, size - 16 * KiB + 1)) < 0) {
        text[0] = '\0';
    }
    return text;
}

bool has_said(const char *what)
{
    g_autofree char *text = last_messages();

    return strstr(text, what);
}

/* When a test fails, or one of the two died */
static void show_messages(void *unused)
{
    if (messages >= 0) {
        g_autofree char *text = last_messages();

        show_lines(text);
        close(messages);
        messages = -1;
    }
}

/* Of a VM that does not do what it should: what it does do, into the log */
static void show_state(QTestState *who)
{
    g_autofree char *migration = NULL, *vcpus = NULL;

    /* Its monitor may hang, too: one after the other */
    show_messages(NULL);
    migration = qtest_hmp(who, "info migrate");
    show_lines(migration);
    vcpus = postern_vcpus_describe(who);
    show_lines(vcpus);
}

void wait_for_guest_faults(QTestState *who, uint64_t goal)
{
    for (int i = 0; guest_faults(who) < goal; i++) {
        if (i >= POLLS_MAX) {
            show_state(who);
            g_assert_cmpuint(guest_faults(who), >=, goal);
        }
        g_usleep(POLL_US);
    }
}

void wait_for_requests(QTestState *who, unsigned more)
{
    uint64_t goal = faults_get(who, "requested") + more;

    for (int i = 0; faults_get(who, "requested") < goal; i++) {
        if (i >= POLLS_MAX) {
            show_state(who);
            g_assert_cmpuint(faults_get(who, "requested"), >=, goal);
        }
        g_usleep(POLL_US);
    }
}

char *watch_messages(void)
{
    char *path = g_strdup_printf("%s/messages", migration_get_env()->tmpfs);
    static bool watched;

    if (!watched) {
        qtest_add_abrt_handler(show_messages, NULL);
        watched = true;
    }
    if (messages >= 0) {
        close(messages);
    }
    messages = open(path, O_RDONLY | O_CREAT | O_CLOEXEC, 0600);
    g_assert_cmpint(messages, >=, 0);
    return path;
}

/* The next guest does, or the one that was started last. */
static bool boots_with_seabios;

void boot_with_seabios(void)
{
    boots_with_seabios = true;
}

/* As migrate_start(), with a new file for their messages */
static bool start_both(MigrateStart *start, QTestState **from, QTestState **to)
{
    g_autofree char *path = watch_messages();
    g_autofree char *firmware =
        walker_write_firmware(migration_get_env()->tmpfs);
    g_autofree char *options =
        g_strdup_printf("%s %s -d flatview_check 2>>%s",
                        boots_with_seabios ? "" : "-bios",
                        boots_with_seabios ? "" : firmware, path);
    const char *source = start->opts_source, *target = start->opts_target;
    g_autofree char *opts_source = g_strdup_printf("%s %s", source ?: "",
                                                   options);
    g_autofree char *opts_target = g_strdup_printf("%s %s", target ?: "",
                                                   options);
    bool skipped;

    start->opts_source = opts_source;
    start->opts_target = opts_target;
    skipped = migrate_start(from, to, "defer", start);
    start->opts_source = source;
    start->opts_target = target;
    unlink(path);
    unlink(firmware);
    return !skipped;
}

/* Connect the two, through a relay if @relay is not NULL, and begin to migrate */
static void migrate_from_to(QTestState *from, QTestState *to,
                            PosternRelay **relay)
{
    const char *tmpfs = migration_get_env()->tmpfs;
    g_autofree char *there = g_strdup_printf("%s/migsocket-to", tmpfs);
    g_autofree char *here = g_strdup_printf("%s/migsocket-from", tmpfs);
    g_autofree char *there_uri = g_strdup_printf("unix:%s", there);
    g_autofree char *here_uri = g_strdup_printf("unix:%s", here);

    migrate_incoming_qmp(to, relay ? there_uri : "tcp:127.0.0.1:0", NULL, "{}");
    if (relay) {
        *relay = postern_relay_start(here, there, &error_abort);
    }
    walker_wait_for_round(from);
    if (!boots_with_seabios) {
        postern_bios_shadow(from);
    }
    boots_with_seabios = false;
    migrate_qmp(from, to, relay ? here_uri : NULL, NULL, "{}");
}

static bool begin_precopy_via(MigrateStart *start, QTestState **from,
                              QTestState **to, Setting capability,
                              const char *other, PosternRelay **relay)
{
    if (!start_both(start, from, to)) {
        return false;
    }
    migrate_set_capability(*from, "postcopy-ram", true);
    migrate_set_capability(*to, "postcopy-ram", true);
    if (other) {
        migrate_set_capability(*to, other, true);
    }
    if (other && (g_str_equal(other, "postcopy-preempt") ||
                  g_str_equal(other, "pause-before-switchover") ||
                  g_str_equal(other, "release-ram"))) {
        migrate_set_capability(*from, other, true);
    }
    if (capability != DEFAULT) {
        migrate_set_capability(*to, CAPABILITY, capability == ON);
    }
    migrate_set_parameter_int(*from, "max-postcopy-bandwidth", 4096);
    migrate_ensure_non_converge(*from);
    migrate_prepare_for_dirty_mem(*from);
    migrate_from_to(*from, *to, relay);
    migrate_wait_for_dirty_mem(*from, *to);
    return true;
}

bool begin_precopy(MigrateStart *start, QTestState **from, QTestState **to,
                   Setting capability, const char *other)
{
    return begin_precopy_via(start, from, to, capability, other, NULL);
}

bool begin_precopy_relayed(MigrateStart *start, QTestState **from,
                           QTestState **to, const char *other,
                           PosternRelay **relay)
{
    return begin_precopy_via(start, from, to, ON, other, relay);
}

void begin_postcopy(QTestState *from, QTestState *to, unsigned faults)
{
    migrate_postcopy_start(from, to, get_src());
    wait_for_guest_faults(to, faults);
}

bool begin_with(MigrateStart *start, QTestState **from, QTestState **to,
                unsigned faults, Setting capability, const char *other)
{
    if (!begin_precopy(start, from, to, capability, other)) {
        return false;
    }
    begin_postcopy(*from, *to, faults);
    return true;
}

bool begin(QTestState **from, QTestState **to, Setting capability,
           const char *other)
{
    /* migrate-pause and migrate-recover are out-of-band commands */
    MigrateStart start = { .oob = true };

    return begin_with(&start, from, to, 20, capability, other);
}

void wait_for_last_request(QTestState *to)
{
    /* Pages on their way still come; the first that does not is the last */
    POLL_UNTIL_STILL(faults_get(to, "requested"));
}

bool begin_and_hold_with(MigrateStart *start, QTestState **from,
                         QTestState **to)
{
    if (!begin_with(start, from, to, 20, ON, NULL)) {
        return false;
    }
    kill(qtest_pid(*from), SIGSTOP);
    wait_for_last_request(*to);
    return true;
}

bool begin_and_hold(QTestState **from, QTestState **to)
{
    MigrateStart start = { .oob = true };

    return begin_and_hold_with(&start, from, to);
}

void end_and_check(QTestState *from, QTestState *to)
{
    walker_check(to);
    migrate_end(from, to, false);
}

void finish(QTestState *from, QTestState *to, bool kvm)
{
    g_autofree char *said = NULL;

    migrate_set_parameter_int(from, "max-postcopy-bandwidth", 0);
    wait_for_migration_complete(from);
    wait_for_migration_complete(to);
    check_faults(to, kvm);
    said = last_messages();
    /* Nobody else hears of it when the end leaves something behind */
    g_assert_null(strstr(said, "unregister"));
    end_and_check(from, to);
}

void wait_for_paused(QTestState *who)
{
    wait_for_migration_status(who, "postcopy-paused",
                              (const char * []) { "failed", "completed",
                                                 NULL });
}

bool is_running(QTestState *who)
{
    QDict *status = qtest_qmp_assert_success_ref(who,
                                        "{ 'execute': 'query-status' }");
    bool running = qdict_get_bool(status, "running");

    qobject_unref(status);
    return running;
}

void assert_not_running(QTestState *who)
{
    g_assert_false(is_running(who));
}

void resume(QTestState *from, QTestState *to)
{
    g_autofree char *uri = g_strdup_printf("unix:%s/migsocket",
                                           migration_get_env()->tmpfs);

    migrate_recover(to, uri);
    migrate_qmp(from, to, uri, NULL, "{ 'resume': true }");
}

void kill_hard(QTestState *who)
{
    kill(qtest_pid(who), SIGKILL);
    g_assert_cmpint(waitpid(qtest_pid(who), NULL, 0), ==, qtest_pid(who));
}

void clean_up(void)
{
    const char *files[] = { "src_serial", "dest_serial", "migsocket-to" };

    for (int i = 0; i < ARRAY_SIZE(files); i++) {
        g_autofree char *path = g_build_filename(migration_get_env()->tmpfs,
                                                 files[i], NULL);
        unlink(path);
    }
}

void finish_alone(QTestState *from, QTestState *to)
{
    qtest_wait_qemu(to);
    kill(qtest_pid(from), SIGCONT);
    wait_for_paused(from);
    assert_not_running(from);
    qtest_quit(from);
    qtest_quit(to);
    clean_up();
}

static bool dirty_rate_measured(QTestState *who)
{
    QDict *rate = qtest_qmp_assert_success_ref(who,
                                        "{ 'execute': 'query-dirty-rate' }");
    bool measured = g_str_equal(qdict_get_str(rate, "status"), "measured");

    qobject_unref(rate);
    return measured;
}

void wait_for_dirty_rate(QTestState *who)
{
    POLL_UNTIL(dirty_rate_measured(who));
}
