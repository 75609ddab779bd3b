/*
 * The demo's report, as a table and as JSON
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "report.h"
#include "qobject/qlist.h"

typedef enum Unit {
    COUNT,
    MILLISECONDS,
    NANOSECONDS,
} Unit;

/* All figures; @name ends in the unit, as in QMP */
static const struct Figure {
    const char *name;
    const char *label;
    size_t offset;
    Unit unit;
} figures[] = {
#define FIGURE(name, label, field, unit) \
    { name, label, offsetof(PosternRun, field), unit }
    FIGURE("total-time-ms", "total time", stats.total_time_ms, MILLISECONDS),
    FIGURE("downtime-ms", "downtime", stats.downtime_ms, MILLISECONDS),
    FIGURE("page-requests", "page requests, received by the source",
           stats.page_requests, COUNT),
    FIGURE("requested", "page requests, sent by the destination",
           stats.requested, COUNT),
    FIGURE("userfaultfd-vcpu", "faults through userfaultfd: vCPUs",
           stats.userfaultfd_vcpu, COUNT),
    FIGURE("userfaultfd-async", "  vCPUs, asynchronous",
           stats.userfaultfd_async, COUNT),
    FIGURE("userfaultfd-vcpu-host", "  KVM and devices, in vCPU threads",
           stats.userfaultfd_vcpu_host, COUNT),
    FIGURE("userfaultfd-other", "  others", stats.userfaultfd_other,
           COUNT),
    FIGURE("kvm-exits", "faults through KVM exits", stats.kvm_exits, COUNT),
    FIGURE("kvm-exits-present", "  page had arrived meanwhile",
           stats.kvm_exits_present, COUNT),
    FIGURE("kvm-exits-accepted", "  vCPU went on without its page",
           stats.kvm_exits_accepted, COUNT),
    FIGURE("async-told", "  guest told to run another task",
           stats.async_told, COUNT),
    FIGURE("async-halts", "  vCPU halted until page or interrupt",
           stats.async_halts, COUNT),
    FIGURE("vcpu-blocked-ns", "time that vCPUs were blocked",
           stats.vcpu_blocked_ns, NANOSECONDS),
    FIGURE("guest-wait-ns", "time that guest accesses waited",
           stats.guest_wait_ns, NANOSECONDS),
    FIGURE("latency-p50-ns", "fault latency, p50", stats.latency_p50_ns,
           NANOSECONDS),
    FIGURE("latency-p99-ns", "fault latency, p99", stats.latency_p99_ns,
           NANOSECONDS),
    FIGURE("words-checked", "words checked at the end", words_checked, COUNT),
    FIGURE("words-corrupted", "corrupted words", words_corrupted, COUNT),
#undef FIGURE
};

static uint64_t value_of(const PosternRun *run, const struct Figure *figure)
{
    return *(const uint64_t *)((const char *)run + figure->offset);
}

static char *readable(uint64_t value, Unit unit)
{
    double seconds = unit == MILLISECONDS ? value / 1e3 : value / 1e9;

    if (unit == COUNT) {
        return g_strdup_printf("%" PRIu64 "   ", value);
    } else if (seconds >= 1) {
        return g_strdup_printf("%.2f s ", seconds);
    }
    return g_strdup_printf("%.2f ms", seconds * 1e3);
}

static int compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

    return left < right ? -1 : left > right;
}

/* One mechanism's figure: of one run, or the median of several */
static char *summary(const PosternRun *runs, unsigned count,
                     const char *mechanism, const struct Figure *figure)
{
    g_autofree uint64_t *values = g_new(uint64_t, count);
    g_autofree char *median = NULL, *least = NULL, *most = NULL;
    unsigned n = 0;

    for (unsigned i = 0; i < count; i++) {
        if (g_str_equal(runs[i].mechanism, mechanism)) {
            values[n++] = value_of(&runs[i], figure);
        }
    }
    qsort(values, n, sizeof(*values), compare);
    median = readable(values[n / 2], figure->unit);
    if (n == 1) {
        return g_steal_pointer(&median);
    }
    least = readable(values[0], figure->unit);
    most = readable(values[n - 1], figure->unit);
    return g_strdup_printf("%s (%s .. %s)", g_strchomp(median),
                           g_strchomp(least), g_strchomp(most));
}

void postern_report_table(FILE *out, const PosternRun *runs, unsigned count)
{
    const char *mechanisms[] = { "userfaultfd", "kvm-userfault" };
    int width = count > ARRAY_SIZE(mechanisms) ? 36 : 17;

    fprintf(out, "%-40s", "");
    for (unsigned n = 0; n < ARRAY_SIZE(mechanisms); n++) {
        fprintf(out, "%*s", width, mechanisms[n]);
    }
    fputc('\n', out);

    for (unsigned i = 0; i < ARRAY_SIZE(figures); i++) {
        fprintf(out, "%-40s", figures[i].label);
        for (unsigned n = 0; n < ARRAY_SIZE(mechanisms); n++) {
            g_autofree char *text = summary(runs, count, mechanisms[n],
                                            &figures[i]);

            fprintf(out, "%*s", width, text);
        }
        fputc('\n', out);
    }
}

static QDict *run_object(const PosternRun *run)
{
    QDict *object = qdict_new();

    qdict_put_str(object, "mechanism", run->mechanism);
    for (unsigned i = 0; i < ARRAY_SIZE(figures); i++) {
        qdict_put_int(object, figures[i].name, value_of(run, &figures[i]));
    }
    return object;
}

QDict *postern_report_object(const PosternVMConfig *config,
                             const PosternRun *runs, unsigned count,
                             const char *failure)
{
    QDict *object = qdict_new();
    QDict *guest = qdict_new();
    QList *list = qlist_new();

    qdict_put_int(guest, "memory-mib", config->memory_mib);
    qdict_put_int(guest, "vcpus", config->vcpus);
    for (unsigned n = 0; n < count; n++) {
        if (runs[n].done) {
            qlist_append(list, run_object(&runs[n]));
        }
    }

    qdict_put(object, "guest", guest);
    qdict_put(object, "runs", list);
    qdict_put_bool(object, "passed", !failure);
    if (failure) {
        qdict_put_str(object, "failure", failure);
    }
    return object;
}
