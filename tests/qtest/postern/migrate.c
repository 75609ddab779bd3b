/*
 * One post-copy migration, for Postern's demo and tests
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "migrate.h"
#include "qemu/units.h"
#include "qobject/qdict.h"

/* Each query costs the host CPU time that the guest would use. */
#define POLL_INTERVAL_US 50000

/* QEMU's default; a VM that has migrated before may have another value */
#define MAX_BANDWIDTH (128 * MiB)

static bool set_capability(PosternVM *vm, const char *name, bool on,
                           Error **errp)
{
    return postern_vm_run(vm, errp,
                          "{ 'execute': 'migrate-set-capabilities',"
                          "  'arguments': { 'capabilities': ["
                          "    { 'capability': %s, 'state': %i } ] } }",
                          name, on);
}

/*
 * Only the destination uses the mechanism, and a source needs no support of its
 * kernel.  So the capability is not set there.
 */
static bool prepare_destination(PosternVM *dst, const char *uri,
                                const PosternMigrateOptions *options,
                                Error **errp)
{
    if (!set_capability(dst, "postcopy-ram", true, errp) ||
        !set_capability(dst, "postcopy-preempt", options->preempt, errp)) {
        return false;
    }
    if (options->kvm_userfault != ON_OFF_AUTO_AUTO &&
        !set_capability(dst, "postcopy-kvm-userfault",
                        options->kvm_userfault == ON_OFF_AUTO_ON, errp)) {
        return false;
    }
    if (options->no_async_pf &&
        !set_capability(dst, "postcopy-async-pf", false, errp)) {
        return false;
    }
    return postern_vm_run(dst, errp,
                          "{ 'execute': 'migrate-incoming',"
                          "  'arguments': { 'uri': %s,"
                          "                 'exit-on-error': false } }", uri);
}

static bool start_source(PosternVM *src, const char *uri,
                         const PosternMigrateOptions *options, Error **errp)
{
    return set_capability(src, "postcopy-ram", true, errp) &&
           set_capability(src, "postcopy-preempt", options->preempt, errp) &&
           postern_vm_run(src, errp,
                          "{ 'execute': 'migrate-set-parameters',"
                          "  'arguments': {"
                          "    'max-bandwidth': %" PRId64 ","
                          "    'max-postcopy-bandwidth': %" PRId64 " } }",
                          (int64_t)(options->max_bandwidth ?: MAX_BANDWIDTH),
                          (int64_t)options->postcopy_bandwidth) &&
           postern_vm_run(src, errp,
                          "{ 'execute': 'migrate',"
                          "  'arguments': { 'uri': %s } }", uri);
}

/* Returns the answer to query-migrate, or NULL if migration has failed */
static QDict *query_migrate(PosternVM *vm, Error **errp)
{
    static const char * const failures[] = {
        "failed", "cancelling", "cancelled", "postcopy-paused",
    };
    QDict *info = postern_vm_qmp(vm, errp, "{ 'execute': 'query-migrate' }");
    const char *status = info ? qdict_get_try_str(info, "status") : NULL;

    for (unsigned i = 0; status && i < ARRAY_SIZE(failures); i++) {
        if (g_str_equal(status, failures[i])) {
            const char *desc = qdict_get_try_str(info, "error-desc");

            error_setg(errp, "%s: migration status '%s': %s", vm->name, status,
                       desc ?: "no reason given");
            qobject_unref(info);
            return NULL;
        }
    }
    return info;
}

static bool has_status(const QDict *info, const char *wanted)
{
    return !g_strcmp0(qdict_get_try_str(info, "status"), wanted);
}

/* The result of one query-migrate */
typedef enum Finding {
    NOT_YET,
    REACHED,
    MISSED,                     /* and will not be reached any more */
} Finding;

static Finding find_sent(const QDict *info, uint64_t bytes)
{
    QDict *ram = qdict_get_qdict(info, "ram");

    if (has_status(info, "completed")) {
        return MISSED;
    }
    return has_status(info, "active") && ram &&
           qdict_get_int(ram, "transferred") >= bytes ? REACHED : NOT_YET;
}

static Finding find_postcopy(const QDict *info, uint64_t unused)
{
    return has_status(info, "postcopy-active") || has_status(info, "completed")
           ? REACHED : NOT_YET;
}

static Finding find_completed(const QDict *info, uint64_t unused)
{
    return has_status(info, "completed") ? REACHED : NOT_YET;
}

static bool wait_until(PosternVM *vm, int64_t deadline, const char *what,
                       Finding (*find)(const QDict *info, uint64_t arg),
                       uint64_t arg, Error **errp)
{
    for (;;) {
        g_autofree char *status = NULL;
        QDict *info = query_migrate(vm, errp);
        Finding found;

        if (!info) {
            return false;
        }
        found = find(info, arg);
        status = g_strdup(qdict_get_try_str(info, "status"));
        qobject_unref(info);

        if (found == REACHED) {
            return true;
        }
        if (found == MISSED || g_get_monotonic_time() >= deadline) {
            error_setg(errp, "%s: no %s %s, migration status is '%s'",
                       vm->name, what, found == MISSED ? "seen" : "in time",
                       status ?: "none");
            return false;
        }
        g_usleep(POLL_INTERVAL_US);
    }
}

static int64_t deadline_of(const PosternMigrateOptions *options)
{
    return g_get_monotonic_time() + options->timeout_s * G_TIME_SPAN_SECOND;
}

bool postern_migrate_begin(PosternVM *src, PosternVM *dst,
                           const PosternMigrateOptions *options, Error **errp)
{
    g_autofree char *uri = NULL, *to = NULL;

    if (options->port) {
        uri = g_strdup_printf("tcp:127.0.0.1:%u", options->port);
        to = g_strdup(uri);
    } else {
        uri = g_strdup_printf("unix:%s", options->socket);
        to = g_strdup_printf("unix:%s",
                             options->relay_socket ?: options->socket);
    }
    return prepare_destination(dst, uri, options, errp) &&
           start_source(src, to, options, errp);
}

bool postern_migrate_precopy(PosternVM *src,
                             const PosternMigrateOptions *options,
                             Error **errp)
{
    return wait_until(src, deadline_of(options), "precopy", find_sent,
                      options->precopy_bytes, errp);
}

bool postern_migrate_switch(PosternVM *src,
                            const PosternMigrateOptions *options,
                            Error **errp)
{
    return postern_vm_run(src, errp,
                          "{ 'execute': 'migrate-start-postcopy' }") &&
           wait_until(src, deadline_of(options), "post-copy", find_postcopy,
                      0, errp);
}

bool postern_migrate_to_postcopy(PosternVM *src, PosternVM *dst,
                                 const PosternMigrateOptions *options,
                                 Error **errp)
{
    return postern_migrate_begin(src, dst, options, errp) &&
           postern_migrate_precopy(src, options, errp) &&
           postern_migrate_switch(src, options, errp);
}

static uint64_t number(const QDict *from, const char *name)
{
    return qdict_get_try_int(from, name, 0);
}

static bool read_source(PosternVM *src, PosternMigrateStats *stats,
                        Error **errp)
{
    QDict *info = query_migrate(src, errp);

    if (!info) {
        return false;
    }
    stats->total_time_ms = number(info, "total-time");
    stats->downtime_ms = number(info, "downtime");
    stats->page_requests = number(qdict_get_qdict(info, "ram"),
                                  "postcopy-requests");
    qobject_unref(info);
    return true;
}

static bool read_destination(PosternVM *dst, PosternMigrateStats *stats,
                             Error **errp)
{
    QDict *info = query_migrate(dst, errp);
    QDict *faults;

    if (!info) {
        return false;
    }
    faults = qdict_get_qdict(info, "postcopy-faults");
    if (!faults) {
        error_setg(errp, "%s: query-migrate has no 'postcopy-faults'",
                   dst->name);
        qobject_unref(info);
        return false;
    }
    stats->mechanism_is_kvm =
        g_str_equal(qdict_get_str(faults, "mechanism"), "kvm-userfault");
    stats->kvm_exits = number(faults, "kvm-exits");
    stats->kvm_exits_present = number(faults, "kvm-exits-present");
    stats->kvm_exits_accepted = number(faults, "kvm-exits-accepted");
    stats->async_told = number(faults, "async-told");
    stats->async_halts = number(faults, "async-halts");
    stats->userfaultfd_vcpu = number(faults, "userfaultfd-vcpu");
    stats->userfaultfd_async = number(faults, "userfaultfd-async");
    stats->userfaultfd_vcpu_host = number(faults, "userfaultfd-vcpu-host");
    stats->userfaultfd_other = number(faults, "userfaultfd-other");
    stats->requested = number(faults, "requested");
    stats->vcpu_blocked_ns = number(faults, "vcpu-blocked-ns");
    stats->guest_wait_ns = number(faults, "guest-wait-ns");
    stats->latency_p50_ns = number(faults, "latency-p50-ns");
    stats->latency_p99_ns = number(faults, "latency-p99-ns");
    qobject_unref(info);
    return true;
}

/* If the destination died, the source only reports a lost connection */
static void blame_destination(PosternVM *dst, Error **errp)
{
    if (!qtest_probe_child(dst->qts)) {
        error_prepend(errp, "%s: QEMU has ended; ", dst->name);
    }
}

bool postern_migrate_wait(PosternVM *src, PosternVM *dst,
                          const PosternMigrateOptions *options, Error **errp)
{
    ERRP_GUARD();
    int64_t deadline = deadline_of(options);

    if (!wait_until(src, deadline, "completion", find_completed, 0, errp)) {
        blame_destination(dst, errp);
        return false;
    }
    return wait_until(dst, deadline, "completion", find_completed, 0, errp);
}

bool postern_migrate_complete(PosternVM *src, PosternVM *dst,
                              const PosternMigrateOptions *options,
                              PosternMigrateStats *stats, Error **errp)
{
    return postern_migrate_wait(src, dst, options, errp) &&
           read_source(src, stats, errp) &&
           read_destination(dst, stats, errp);
}
