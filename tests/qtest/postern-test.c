/*
 * QTest testcases for post-copy with KVM userfault
 *
 * The guest is that of migration-test: a boot sector that walks through
 * 100 MiB and increments a byte in each page, so that a page lost or stale is
 * found.  KVM is needed: run it in the testbed.
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/ioctl.h>
#include <linux/kvm.h>
#include "libqtest.h"
#include "migration/framework.h"
#include "migration/migration-qmp.h"
#include "migration/migration-util.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "qobject/qlist.h"

#define CAPABILITY "postcopy-kvm-userfault"

/* One poll, and how many of them until a test gives up: a minute */
#define POLL_US 50000
#define POLLS_MAX 1200

static bool host_has_userfault(void)
{
    int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    bool has = fd >= 0 && ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_USERFAULT) > 0;

    if (fd >= 0) {
        close(fd);
    }
    return has;
}

static bool get_capability(QTestState *who)
{
    QDict *rsp = qtest_qmp(who, "{ 'execute': 'query-migrate-capabilities' }");
    const QListEntry *entry;
    int state = -1;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(rsp, "return"), entry) {
        QDict *cap = qobject_to(QDict, qlist_entry_obj(entry));

        if (g_str_equal(qdict_get_str(cap, "capability"), CAPABILITY)) {
            state = qdict_get_bool(cap, "state");
        }
    }
    qobject_unref(rsp);
    g_assert_cmpint(state, !=, -1);
    return state;
}

/* The member postcopy-faults of query-migrate; NULL if it is not there */
static QDict *query_faults(QTestState *who)
{
    QDict *info = migrate_query(who);
    QDict *faults = qdict_get_qdict(info, "postcopy-faults");

    if (faults) {
        qobject_ref(faults);
    }
    qobject_unref(info);
    return faults;
}

static uint64_t faults_get(QTestState *who, const char *member)
{
    QDict *faults = query_faults(who);
    uint64_t value;

    g_assert(faults);
    value = qdict_get_int(faults, member);
    qobject_unref(faults);
    return value;
}

/* ------------------------------------------------------------------------- */
/* The capability */

static QTestState *start_incoming(const char *args)
{
    g_autofree char *cmd = g_strdup_printf("-accel kvm -machine q35 -m 64M"
                                           " -incoming defer %s", args);

    return qtest_init(cmd);
}

static void test_capability_default(void)
{
    QTestState *to = start_incoming("");

    g_assert(get_capability(to) == host_has_userfault());
    qtest_quit(to);
}

static void test_capability_on(void)
{
    QTestState *to =
        start_incoming("-global migration.x-" CAPABILITY "=on");

    g_assert_true(get_capability(to));
    qtest_quit(to);
}

static void test_capability_off(void)
{
    QTestState *to =
        start_incoming("-global migration.x-" CAPABILITY "=off");

    g_assert_false(get_capability(to));
    migrate_set_capability(to, CAPABILITY, true);
    g_assert_true(get_capability(to));
    migrate_set_capability(to, CAPABILITY, false);
    g_assert_false(get_capability(to));
    qtest_quit(to);
}

/* Setting it where it cannot work is an error that says why */
static void assert_refused(QTestState *who, const char *reason)
{
    QDict *rsp = qtest_qmp(who, "{ 'execute': 'migrate-set-capabilities',"
                           "  'arguments': { 'capabilities': ["
                           "    { 'capability': '" CAPABILITY "',"
                           "      'state': true } ] } }");
    const char *desc;

    g_assert_true(qdict_haskey(rsp, "error"));
    desc = qdict_get_str(qdict_get_qdict(rsp, "error"), "desc");
    g_test_message("%s", desc);
    g_assert_nonnull(strstr(desc, reason));
    qobject_unref(rsp);
    g_assert_false(get_capability(who));
}

static void test_capability_refused_kernel(void)
{
    QTestState *to = start_incoming("");

    g_assert_false(get_capability(to));
    assert_refused(to, "the host kernel lacks KVM userfault");
    qtest_quit(to);
}

static void test_capability_refused_tcg(void)
{
    QTestState *to = qtest_init("-accel tcg -machine none");

    assert_refused(to, "needs the KVM accelerator");
    qtest_quit(to);
}

/* ------------------------------------------------------------------------- */
/* Whole migrations */

static void check_faults(QTestState *to, bool kvm)
{
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
    qobject_unref(faults);
}

typedef enum Setting { DEFAULT, ON, OFF } Setting;

static uint64_t guest_faults(QTestState *who)
{
    return faults_get(who, "kvm-exits") +
           faults_get(who, "userfaultfd-vcpu") +
           faults_get(who, "userfaultfd-async");
}

static void wait_for_guest_faults(QTestState *who, uint64_t goal)
{
    for (int i = 0; guest_faults(who) < goal; i++) {
        g_assert_cmpint(i, <, POLLS_MAX);
        g_usleep(POLL_US);
    }
}

/*
 * Begin post-copy, and return in the middle of it, when the guest has asked
 * for some pages.  What nobody asks for comes slowly, so the middle lasts
 * until finish(), or whatever else the test does.
 */
static bool begin(QTestState **from, QTestState **to, Setting capability,
                  bool preempt)
{
    /* migrate-pause and migrate-recover are out-of-band commands */
    MigrateStart start = { .hide_stderr = true, .oob = true };

    if (migrate_start(from, to, "defer", &start)) {
        return false;
    }
    migrate_set_capability(*from, "postcopy-ram", true);
    migrate_set_capability(*to, "postcopy-ram", true);
    if (preempt) {
        migrate_set_capability(*from, "postcopy-preempt", true);
        migrate_set_capability(*to, "postcopy-preempt", true);
    }
    if (capability != DEFAULT) {
        migrate_set_capability(*to, CAPABILITY, capability == ON);
    }
    migrate_set_parameter_int(*from, "max-postcopy-bandwidth", 4096);
    migrate_ensure_non_converge(*from);
    migrate_prepare_for_dirty_mem(*from);
    migrate_incoming_qmp(*to, "tcp:127.0.0.1:0", NULL, "{}");
    wait_for_serial("src_serial");
    migrate_qmp(*from, *to, NULL, NULL, "{}");
    migrate_wait_for_dirty_mem(*from, *to);
    migrate_postcopy_start(*from, *to, get_src());
    wait_for_guest_faults(*to, 20);
    return true;
}

static void finish(QTestState *from, QTestState *to, bool kvm)
{
    migrate_set_parameter_int(from, "max-postcopy-bandwidth", 0);
    wait_for_migration_complete(from);
    wait_for_migration_complete(to);
    check_faults(to, kvm);
    migrate_end(from, to, true);
}

static void test_postcopy(Setting capability, bool preempt, bool kvm)
{
    QTestState *from, *to;

    if (begin(&from, &to, capability, preempt)) {
        finish(from, to, kvm);
    }
}

static void test_postcopy_on(void)
{
    test_postcopy(ON, false, true);
}

static void test_postcopy_off(void)
{
    test_postcopy(OFF, false, false);
}

/* Where the host cannot do it, the default is what upstream does */
static void test_postcopy_default(void)
{
    test_postcopy(DEFAULT, false, false);
}

static void test_postcopy_preempt(void)
{
    test_postcopy(ON, true, true);
}

/* ------------------------------------------------------------------------- */
/* Trouble in the middle */

/*
 * Begin post-copy, and return when the destination's vCPU waits for a page
 * that does not come, because the source's process is stopped.  The source
 * must be continued, or killed, by the caller.
 */
static bool begin_and_hold(QTestState **from, QTestState **to)
{
    if (!begin(from, to, ON, false)) {
        return false;
    }
    kill(qtest_pid(*from), SIGSTOP);
    /* Pages on their way still come; the first that does not is the last */
    for (int i = 0, same = 0; same < 10; i++) {
        uint64_t before = faults_get(*to, "requested");

        g_assert_cmpint(i, <, POLLS_MAX);
        g_usleep(POLL_US);
        same = faults_get(*to, "requested") == before ? same + 1 : 0;
    }
    return true;
}

/* Stopped and continued while it waits, a vCPU carries on */
static void test_stop_cont(void)
{
    QTestState *from, *to;

    if (!begin_and_hold(&from, &to)) {
        return;
    }
    for (int i = 0; i < 3; i++) {
        uint64_t faults = guest_faults(to);

        qtest_qmp_assert_success(to, "{ 'execute': 'stop' }");
        qtest_qmp_assert_success(to, "{ 'execute': 'cont' }");
        /* It did wait, and does again */
        wait_for_guest_faults(to, faults + 1);
    }
    /* run_on_cpu() work gets done as well */
    g_free(qtest_hmp(to, "info registers"));
    kill(qtest_pid(from), SIGCONT);
    finish(from, to, true);
}

/* The page comes while the VM is stopped: nobody is there to be woken */
static void test_stop_placed_cont(void)
{
    QTestState *from, *to;

    if (!begin_and_hold(&from, &to)) {
        return;
    }
    qtest_qmp_assert_success(to, "{ 'execute': 'stop' }");
    kill(qtest_pid(from), SIGCONT);
    migrate_set_parameter_int(from, "max-postcopy-bandwidth", 0);
    wait_for_migration_complete(to);
    qtest_qmp_assert_success(to, "{ 'execute': 'cont' }");
    finish(from, to, true);
}

/*
 * libqtest takes a death by signal for a failure of the test, so it must not
 * look at this process again: the QTestState is left alone from here on.
 */
static void kill_hard(QTestState *who)
{
    kill(qtest_pid(who), SIGKILL);
    g_assert_cmpint(waitpid(qtest_pid(who), NULL, 0), ==, qtest_pid(who));
}

/* The end of a test in which one side is gone */
static void clean_up(void)
{
    const char *files[] = { "src_serial", "dest_serial" };

    for (int i = 0; i < ARRAY_SIZE(files); i++) {
        g_autofree char *path = g_build_filename(migration_get_env()->tmpfs,
                                                 files[i], NULL);
        unlink(path);
    }
}

static void wait_for_paused(QTestState *who)
{
    wait_for_migration_status(who, "postcopy-paused",
                              (const char * []) { "failed", "completed",
                                                 NULL });
}

/* How many more pages were requested than vCPUs came for and found missing */
static int64_t requests_ahead(QTestState *who)
{
    QDict *faults = query_faults(who);
    int64_t ahead = qdict_get_int(faults, "requested") -
                    (qdict_get_int(faults, "kvm-exits") -
                     qdict_get_int(faults, "kvm-exits-present"));

    qobject_unref(faults);
    return ahead;
}

/*
 * With the stream cut, a vCPU waiting, and the source's process stopped:
 * recover, see that the page is asked for, and the vCPU go on.  Without being
 * asked for it comes as well, but late, and then each page is requested when
 * the vCPU comes to it, but none for the one that it waits for now.
 */
static void recover(QTestState *from, QTestState *to)
{
    g_autofree char *uri = NULL;
    uint64_t faults;
    int64_t ahead;
    bool asked = false;

    kill(qtest_pid(from), SIGCONT);
    wait_for_paused(from);
    faults = guest_faults(to);
    ahead = requests_ahead(to);

    uri = g_strdup_printf("unix:%s/migsocket", migration_get_env()->tmpfs);
    migrate_recover(to, uri);
    migrate_qmp(from, to, uri, NULL, "{ 'resume': true }");
    for (int i = 0; guest_faults(to) < faults + 20; i++) {
        g_assert_cmpint(i, <, POLLS_MAX);
        asked |= requests_ahead(to) > ahead;
        g_usleep(POLL_US);
    }
    g_assert_true(asked);
    finish(from, to, true);
}

/* The stream is cut while a vCPU waits: the recovery asks for its page again */
static void test_recovery(void)
{
    QTestState *from, *to;

    if (!begin_and_hold(&from, &to)) {
        return;
    }
    migrate_pause(to);
    wait_for_paused(to);
    recover(from, to);
}

/*
 * A vCPU that comes to a page that nobody asked for while there is no stream:
 * the recovery asks for it.
 */
static void test_fault_while_paused(void)
{
    QTestState *from, *to;
    uint64_t faults, requested;

    if (!begin_and_hold(&from, &to)) {
        return;
    }
    /* Let the page come that the vCPU waits for now, and nothing run on it */
    qtest_qmp_assert_success(to, "{ 'execute': 'stop' }");
    requested = faults_get(to, "requested");
    kill(qtest_pid(from), SIGCONT);
    for (int i = 0;
         read_ram_property_int(from, "postcopy-requests") < requested; i++) {
        g_assert_cmpint(i, <, POLLS_MAX);
        g_usleep(POLL_US);
    }
    g_usleep(G_USEC_PER_SEC);
    kill(qtest_pid(from), SIGSTOP);
    migrate_pause(to);
    wait_for_paused(to);

    faults = guest_faults(to);
    requested = faults_get(to, "requested");
    qtest_qmp_assert_success(to, "{ 'execute': 'cont' }");
    wait_for_guest_faults(to, faults + 1);
    g_assert_cmpint(faults_get(to, "requested"), ==, requested);
    recover(from, to);
}

/* The destination quits at once although a vCPU waits */
static void test_quit(void)
{
    QTestState *from, *to;

    if (!begin_and_hold(&from, &to)) {
        return;
    }
    qtest_qmp_assert_success(to, "{ 'execute': 'quit' }");
    qtest_wait_qemu(to);
    kill(qtest_pid(from), SIGCONT);
    wait_for_paused(from);
    qtest_quit(from);
    qtest_quit(to);
    clean_up();
}

/* The source dies: the destination keeps what it has, and stays in reach */
static void test_kill_source(void)
{
    QTestState *from, *to;

    if (!begin_and_hold(&from, &to)) {
        return;
    }
    kill_hard(from);
    wait_for_paused(to);
    qtest_qmp_assert_success(to, "{ 'execute': 'stop' }");
    qtest_qmp_assert_success(to, "{ 'execute': 'cont' }");
    qtest_qmp_assert_success(to, "{ 'execute': 'quit' }");
    qtest_wait_qemu(to);
    qtest_quit(to);
    clean_up();
}

/* The destination dies: the source keeps the guest, paused */
static void test_kill_destination(void)
{
    QTestState *from, *to;
    QDict *status;

    if (!begin_and_hold(&from, &to)) {
        return;
    }
    kill_hard(to);
    kill(qtest_pid(from), SIGCONT);
    wait_for_paused(from);
    status = qtest_qmp_assert_success_ref(from,
                                          "{ 'execute': 'query-status' }");
    g_assert_false(qdict_get_bool(status, "running"));
    qobject_unref(status);
    qtest_quit(from);
    clean_up();
}

int main(int argc, char **argv)
{
    MigrationTestEnv *env;
    int ret;

    g_test_init(&argc, &argv, NULL);
    env = migration_get_env();
    if (!env->has_kvm || !env->has_uffd) {
        g_printerr("postern-test: needs KVM and userfaultfd;"
                   " run it in the testbed\n");
        return 1;
    }

    migration_test_add("/postern/capability/default", test_capability_default);
    if (env->has_tcg) {
        migration_test_add("/postern/capability/refused-tcg",
                           test_capability_refused_tcg);
    }
    /* A group that is asked for and turns out empty is a failed test. */
    if (!host_has_userfault()) {
        migration_test_add("/postern/stock-kernel/postcopy",
                           test_postcopy_default);
        migration_test_add("/postern/stock-kernel/capability-refused",
                           test_capability_refused_kernel);
    } else {
        migration_test_add("/postern/capability/on", test_capability_on);
        migration_test_add("/postern/capability/off", test_capability_off);
        migration_test_add("/postern/postcopy/on", test_postcopy_on);
        migration_test_add("/postern/postcopy/off", test_postcopy_off);
        migration_test_add("/postern/postcopy/preempt", test_postcopy_preempt);
        migration_test_add("/postern/trouble/stop-cont", test_stop_cont);
        migration_test_add("/postern/trouble/stop-placed-cont",
                           test_stop_placed_cont);
        migration_test_add("/postern/trouble/recovery", test_recovery);
        migration_test_add("/postern/trouble/fault-while-paused",
                           test_fault_while_paused);
        migration_test_add("/postern/trouble/quit", test_quit);
        migration_test_add("/postern/trouble/kill-source", test_kill_source);
        migration_test_add("/postern/trouble/kill-destination",
                           test_kill_destination);
    }

    ret = g_test_run();
    migration_env_clean(env);
    return ret;
}
