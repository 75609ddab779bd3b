/*
 * postern-test: the capabilities postcopy-kvm-userfault and postcopy-async-pf,
 * and what the host allows
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "libqtest.h"
#include "migration/migration-qmp.h"
#include "migration/migration-util.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "test-util.h"

#define ASYNC_PF "postcopy-async-pf"

static bool get_named(QTestState *who, const char *name)
{
    QDict *rsp = qtest_qmp(who, "{ 'execute': 'query-migrate-capabilities' }");
    const QListEntry *entry;
    int state = -1;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(rsp, "return"), entry) {
        QDict *cap = qobject_to(QDict, qlist_entry_obj(entry));

        if (g_str_equal(qdict_get_str(cap, "capability"), name)) {
            state = qdict_get_bool(cap, "state");
        }
    }
    qobject_unref(rsp);
    g_assert_cmpint(state, !=, -1);
    return state;
}

static bool get_capability(QTestState *who)
{
    return get_named(who, CAPABILITY);
}

static char *read_text(const char *path)
{
    g_autoptr(GError) error = NULL;
    char *text;

    g_file_get_contents(path, &text, NULL, &error);
    g_assert_no_error(error);
    return text;
}

static QTestState *start_incoming(const char *args)
{
    g_autofree char *cmd = g_strdup_printf("-accel kvm -machine q35 -m 64M"
                                           " -incoming defer %s", args);

    return qtest_init(cmd);
}

/* How often QEMU has probed the host */
static unsigned count_lines(const char *path)
{
    g_autofree char *text = read_text(path);
    unsigned lines = 0;

    for (const char *c = text; *c; c++) {
        lines += *c == '\n';
    }
    return lines;
}

static QTestState *start_traced(const char *log)
{
    g_autofree char *args = g_strdup_printf(
        "-trace kvm_userfault_supported -D %s", log);

    return start_incoming(args);
}

/*
 * QEMU makes no scratch VM when it starts, but when it first needs the result
 */
static void test_capability_default(void)
{
    g_autofree char *log = g_strdup_printf("%s/probes",
                                           migration_get_env()->tmpfs);
    QTestState *from, *to = start_traced(log);

    migrate_set_capability(to, "events", true);
    g_assert_cmpuint(count_lines(log), ==, 0);
    g_assert(get_capability(to) == host_has_userfault());
    g_assert_cmpuint(count_lines(log), ==, 1);
    migrate_set_capability(to, "postcopy-ram", true);
    g_assert(get_capability(to) == host_has_userfault());
    g_assert_cmpuint(count_lines(log), ==, 1);
    qtest_quit(to);
    unlink(log);

    /* postcopy-ram needs it on a destination: later would be in the downtime */
    to = start_traced(log);
    migrate_set_capability(to, "postcopy-ram", true);
    g_assert_cmpuint(count_lines(log), ==, 1);
    qtest_quit(to);
    unlink(log);

    /* A source does not need the result */
    from = qtest_initf("-accel kvm -machine q35 -m 64M"
                       " -trace kvm_userfault_supported -D %s", log);
    migrate_set_capability(from, "postcopy-ram", true);
    g_assert_cmpuint(count_lines(log), ==, 0);
    qtest_quit(from);
    unlink(log);

    /* A setting that was made before the probe is kept */
    to = start_incoming("");
    migrate_set_capability(to, CAPABILITY, false);
    migrate_set_capability(to, "postcopy-ram", true);
    g_assert_false(get_capability(to));
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

/* postcopy-async-pf has its own property, and the same defaults */
static void test_capability_async_pf(void)
{
    QTestState *to = start_incoming("");

    g_assert(get_named(to, ASYNC_PF) == host_has_async_pf());
    migrate_set_capability(to, ASYNC_PF, false);
    g_assert_false(get_named(to, ASYNC_PF));
    g_assert_true(get_capability(to));
    qtest_quit(to);

    to = start_incoming("-global migration.x-" ASYNC_PF "=off");
    g_assert_false(get_named(to, ASYNC_PF));
    g_assert_true(get_capability(to));
    qtest_quit(to);
}

/* Check that a capability cannot be set to @state, and that QEMU says why */
static void assert_refused(QTestState *who, const char *name, bool state,
                           const char *reason)
{
    QDict *rsp = qtest_qmp(who, "{ 'execute': 'migrate-set-capabilities',"
                           "  'arguments': { 'capabilities': ["
                           "    { 'capability': %s, 'state': %i } ] } }",
                           name, state);
    const char *desc;

    g_assert_true(qdict_haskey(rsp, "error"));
    desc = qdict_get_str(qdict_get_qdict(rsp, "error"), "desc");
    g_test_message("%s", desc);
    g_assert_nonnull(strstr(desc, reason));
    qobject_unref(rsp);
    g_assert(get_named(who, name) == !state);
}

static void test_capability_refused_kernel(void)
{
    QTestState *to = start_incoming("");

    g_assert_false(get_capability(to));
    g_assert_false(get_named(to, ASYNC_PF));
    assert_refused(to, CAPABILITY, true,
                   "the host kernel does not support KVM userfault");
    assert_refused(to, ASYNC_PF, true,
                   "the host kernel does not support asynchronous page faults");
    qtest_quit(to);
}

static void test_capability_refused_tcg(void)
{
    QTestState *to = qtest_init("-accel tcg -machine none");

    assert_refused(to, CAPABILITY, true, "needs the KVM accelerator");
    assert_refused(to, ASYNC_PF, true, "needs the KVM accelerator");
    qtest_quit(to);
}

/* In post-copy, the capabilities cannot be changed any more */
static void test_capability_too_late(void)
{
    QTestState *from, *to;

    if (!begin(&from, &to, ON, NULL)) {
        return;
    }
    migrate_set_capability(to, CAPABILITY, true);
    assert_refused(to, CAPABILITY, false, "once post-copy has begun");
    assert_refused(to, ASYNC_PF, !get_named(to, ASYNC_PF),
                   "once post-copy has begun");
    finish(from, to, true);
}

/* ------------------------------------------------------------------------- */
/* A destination that may not use userfaultfd */

#define UFFD_DEVICE "/dev/userfaultfd"
#define UFFD_SYSCTL "/proc/sys/vm/unprivileged_userfaultfd"

static char *read_line(const char *path)
{
    return g_strchomp(read_text(path));
}

/* Not g_file_set_contents(), which makes a new file and renames it */
static void write_line(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(write(fd, text, strlen(text)), ==, strlen(text));
    close(fd);
}

/*
 * Can QEMU use post-copy without the capabilities @dropped?  If not, sets @why
 */
static bool postcopy_allowed(const char *dropped, char **why)
{
    g_autofree char *qemu = g_strdup_printf("setpriv --bounding-set %s -- %s",
                                            dropped,
                                            getenv("QTEST_QEMU_BINARY"));
    QTestState *to;
    QDict *rsp;
    bool allowed;

    g_setenv("QTEST_QEMU_BINARY_DROPPED", qemu, true);
    to = qtest_init_with_env("QTEST_QEMU_BINARY_DROPPED", "-accel kvm"
                             " -machine q35 -m 64M -incoming defer", true);
    rsp = qtest_qmp(to, "{ 'execute': 'migrate-set-capabilities',"
                    "  'arguments': { 'capabilities': ["
                    "    { 'capability': 'postcopy-ram', 'state': true } ] } }");
    allowed = !qdict_haskey(rsp, "error");
    if (!allowed) {
        *why = g_strdup(qdict_get_str(qdict_get_qdict(rsp, "error"), "desc"));
        g_test_message("%s", *why);
    }
    qobject_unref(rsp);
    qtest_quit(to);
    return allowed;
}

/* The error names three permissions, each of which is enough */
static void test_userfaultfd_forbidden(void)
{
    const char *neither = "-sys_ptrace,-dac_override,-dac_read_search";
    const char *ptrace = "-dac_override,-dac_read_search";
    g_autofree char *sysctl = read_line(UFFD_SYSCTL);
    g_autofree char *why = NULL;
    struct stat device;

    g_assert_cmpint(stat(UFFD_DEVICE, &device), ==, 0);
    g_assert_cmpint(chmod(UFFD_DEVICE, 0), ==, 0);
    write_line(UFFD_SYSCTL, "0");

    g_assert_false(postcopy_allowed(neither, &why));
    g_assert(strstr(why, "Userfaultfd not available: Operation not permitted"));
    g_assert(strstr(why, "access to " UFFD_DEVICE " (now: Permission denied)"));
    g_assert(strstr(why, "CAP_SYS_PTRACE"));
    g_assert(strstr(why, "vm.unprivileged_userfaultfd=1"));

    g_assert_true(postcopy_allowed(ptrace, NULL));

    write_line(UFFD_SYSCTL, "1");
    g_assert_true(postcopy_allowed(neither, NULL));
    write_line(UFFD_SYSCTL, "0");

    g_assert_cmpint(chmod(UFFD_DEVICE, 0600), ==, 0);
    g_assert_true(postcopy_allowed(neither, NULL));
    g_assert_cmpint(chmod(UFFD_DEVICE, device.st_mode), ==, 0);
    write_line(UFFD_SYSCTL, sysctl);
}

void add_capability_cases(MigrationTestEnv *env)
{
    migration_test_add("/postern/capability/default", test_capability_default);
    migration_test_add("/postern/capability/userfaultfd-forbidden",
                       test_userfaultfd_forbidden);
    if (env->has_tcg) {
        migration_test_add("/postern/capability/refused-tcg",
                           test_capability_refused_tcg);
    }
    /* If a selected group is empty, the test fails */
    if (!host_has_userfault()) {
        migration_test_add("/postern/stock-kernel/capability-refused",
                           test_capability_refused_kernel);
    } else {
        migration_test_add("/postern/capability/on", test_capability_on);
        migration_test_add("/postern/capability/off", test_capability_off);
        migration_test_add("/postern/capability/async-pf",
                           test_capability_async_pf);
        migration_test_add("/postern/capability/too-late",
                           test_capability_too_late);
    }
}
