/*
 * Soak: tours of one guest through many migrations
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "qemu/units.h"
#include "guest.h"
#include "migrate.h"
#include "qobject/qdict.h"
#include "q35.h"
#include "relay.h"
#include "soak.h"
#include "vcpus.h"

/* Limits for a busy emulated host; what takes longer counts as hung */
enum {
    BOOT_TIMEOUT_S = 120,
    ALIVE_TIMEOUT_S = 60,
    SWEEP_TIMEOUT_S = 120,
    LEG_TIMEOUT_S = 120,
    POLL_US = 20000,
};

#define ALIVE_OPS 500

/* The first flash of the machine virt, and commands of it */
enum {
    VIRT_FLASH = 0,
    FLASH_READ_STATUS = 0x70,
    FLASH_READ_ARRAY = 0xff,
};

/* The state of one migration */
typedef struct Journey {
    const PosternLeg *leg;
    PosternVM *src, *dst;
    const char *directory;
    unsigned number;            /* of the leg */
    unsigned recoveries;
    unsigned pauses;            /* troubles so far that may pause migration */
    PosternRelay *relay;
    PosternSoakCounts *counts;
    uint64_t precopy_bytes;
    bool started;               /* post-copy was requested */
    bool switched;              /* post-copy began before precopy completed */
    bool cut_precopy;           /* the network has been cut in precopy */
    unsigned troubles;          /* troubles of the leg that have begun */
    int64_t trouble_us;         /* when the next one begins, 0: not yet known */
    int64_t over_us;            /* when the current one ends, 0: none */
} Journey;

typedef enum Verdict {
    GOES_ON,
    COMPLETED,
    KEPT,                       /* the source has the guest */
    UNCONFIRMED,                /* the destination has it, the source paused */
    LOST,
} Verdict;

static void G_GNUC_PRINTF(2, 3) step(PosternSoakCounts *counts,
                                     const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(counts->step, sizeof(counts->step), fmt, ap);
    va_end(ap);
}

/* Each stream has its own sockets, as a path can be listened at only once */
static char *socket_path(Journey *j, const char *end)
{
    return g_strdup_printf("%s/%s-%u-%u", j->directory, end, j->number,
                           j->recoveries);
}

static bool relay_start(Journey *j, Error **errp)
{
    g_autofree char *from = socket_path(j, "src");
    g_autofree char *to = socket_path(j, "dst");

    postern_relay_end(j->relay);
    j->relay = postern_relay_start(from, to, errp);
    return j->relay != NULL;
}

/* Returns the status of "query-migrate", and the bytes sent so far */
static char *status(PosternVM *vm, uint64_t *transferred, Error **errp)
{
    QDict *info = postern_vm_qmp(vm, errp, "{ 'execute': 'query-migrate' }");
    char *text = NULL;

    if (info) {
        QDict *ram = qdict_get_qdict(info, "ram");

        text = g_strdup(qdict_get_try_str(info, "status") ?: "none");
        if (transferred) {
            *transferred = ram ? qdict_get_int(ram, "transferred") : 0;
        }
        qobject_unref(info);
    }
    return text;
}

static bool recover(Journey *j, Error **errp)
{
    g_autofree char *from = NULL, *to = NULL;
    g_autofree char *from_uri = NULL, *to_uri = NULL;
    QDict *answer;

    j->recoveries++;
    from = socket_path(j, "src");
    to = socket_path(j, "dst");
    from_uri = g_strdup_printf("unix:%s", from);
    to_uri = g_strdup_printf("unix:%s", to);
    if (!relay_start(j, errp)) {
        return false;
    }
    answer = postern_vm_qmp(j->dst, errp,
                            "{ 'exec-oob': 'migrate-recover', 'id': 'recover',"
                            "  'arguments': { 'uri': %s } }", to_uri);
    qobject_unref(answer);
    if (!answer ||
        !postern_vm_run(j->src, errp,
                        "{ 'execute': 'migrate',"
                        "  'arguments': { 'uri': %s, 'resume': true } }",
                        from_uri)) {
        return false;
    }
    j->counts->recoveries++;
    return true;
}

/* Ignores errors: the migration may be over or paused already */
static void migrate_pause(PosternVM *vm)
{
    qobject_unref(postern_vm_qmp(vm, NULL,
                                 "{ 'exec-oob': 'migrate-pause',"
                                 "  'id': 'pause' }"));
}

/*
 * Takes a memslot from the guest, or gives it back: with q35, another one for
 * some of its memory; with virt, only that of a flash.
 */
static void change_slots(PosternVM *vm, bool begin)
{
#ifdef __aarch64__
    /* A flash that is asked for its status cannot be read as memory */
    qtest_writeb(vm->qts, VIRT_FLASH, begin ? FLASH_READ_STATUS
                                            : FLASH_READ_ARRAY);
#else
    postern_bios_writable(vm->qts, begin);
#endif
}

static bool may_pause(PosternTrouble what)
{
    switch (what) {
    case TROUBLE_CUT:
    case TROUBLE_CUT_PREEMPT:
    case TROUBLE_STALL_CUT:
    case TROUBLE_PAUSE_SOURCE:
    case TROUBLE_PAUSE_DESTINATION:
        return true;
    default:
        return false;
    }
}

/* Returns false if the trouble is not possible yet */
static bool trouble_begin(Journey *j, PosternTrouble what, unsigned lasts_ms)
{
    bool paused = j->pauses > j->recoveries;

    switch (what) {
    case TROUBLE_CUT:
        return postern_relay_cut(j->relay, -1);
    case TROUBLE_CUT_PREEMPT:
        return postern_relay_cut(j->relay, 1);
    case TROUBLE_STALL:
    case TROUBLE_STALL_CUT:
        postern_relay_hold(j->relay, true);
        return true;
    case TROUBLE_PAUSE_SOURCE:
        migrate_pause(j->src);
        return true;
    case TROUBLE_PAUSE_DESTINATION:
        migrate_pause(j->dst);
        return true;
    case TROUBLE_STOP_CONT:
        postern_vm_run(j->dst, NULL, "{ 'execute': 'stop' }");
        return true;
    /*
     * To change slots, QEMU waits until all vCPUs have left KVM, and one of
     * them may wait for a page there.  So this needs a stream.
     */
    case TROUBLE_SLOTS:
        if (paused) {
            return false;
        }
        change_slots(j->dst, true);
        return true;
    case TROUBLE_DIRTY_LOG:
        if (paused) {
            return false;
        }
        /* Fails while the measurement of an earlier trouble goes on */
        return postern_vm_run(j->dst, NULL, "{ 'execute': 'calc-dirty-rate',"
                              "  'arguments': { 'mode': 'dirty-bitmap',"
                              "    'calc-time-unit': 'millisecond',"
                              "    'calc-time': %u } }", lasts_ms);
    default:
        g_assert_not_reached();
    }
}

static bool trouble_end(Journey *j, PosternTrouble what, Error **errp)
{
    switch (what) {
    case TROUBLE_STALL_CUT:
        postern_relay_cut(j->relay, -1);
        /* fall through */
    case TROUBLE_STALL:
        postern_relay_hold(j->relay, false);
        return true;
    case TROUBLE_STOP_CONT:
        return postern_vm_run(j->dst, errp, "{ 'execute': 'cont' }");
    case TROUBLE_SLOTS:
        change_slots(j->dst, false);
        return true;
    default:
        return true;
    }
}

/* Called while both sides are in post-copy */
static bool make_trouble(Journey *j, Error **errp)
{
    int64_t now = g_get_monotonic_time();
    unsigned n = j->troubles;

    if (j->over_us) {
        if (now < j->over_us) {
            return true;
        }
        j->over_us = 0;
        return trouble_end(j, j->leg->troubles[n - 1].what, errp);
    }
    if (n == POSTERN_SOAK_TROUBLES_MAX || !j->leg->troubles[n].what) {
        return true;
    }
    if (!j->trouble_us) {
        j->trouble_us = now + j->leg->troubles[n].after_ms * 1000LL;
    }
    if (now >= j->trouble_us && trouble_begin(j, j->leg->troubles[n].what,
                                              j->leg->troubles[n].lasts_ms)) {
        j->trouble_us = 0;
        j->over_us = now + j->leg->troubles[n].lasts_ms * 1000LL;
        j->pauses += may_pause(j->leg->troubles[n].what);
        j->troubles++;
        j->counts->troubles++;
    }
    return true;
}

static bool is(const char *status, const char *wanted)
{
    return g_str_equal(status, wanted);
}

static Verdict look(Journey *j, Error **errp)
{
    g_autofree char *src = NULL, *dst = NULL;
    uint64_t transferred;

    src = status(j->src, &transferred, errp);
    dst = src ? status(j->dst, NULL, errp) : NULL;
    if (!dst) {
        return LOST;
    }
    step(j->counts, "source %s, destination %s, %u troubles, %u recoveries",
         src, dst, j->troubles, j->recoveries);

    /* A trouble that has begun ends in any state */
    if (j->over_us || (is(src, "postcopy-active") &&
                       is(dst, "postcopy-active"))) {
        if (!make_trouble(j, errp)) {
            return LOST;
        }
        if (j->over_us) {
            return GOES_ON;
        }
    }

    if (is(src, "completed") && is(dst, "completed")) {
        return COMPLETED;
    }
    if (is(src, "failed")) {
        if (!j->cut_precopy || g_str_has_prefix(dst, "postcopy") ||
            is(dst, "completed")) {
            error_setg(errp, "the source has failed, the destination is %s",
                       dst);
            return LOST;
        }
        return KEPT;
    }
    if (is(src, "postcopy-paused") &&
        (is(dst, "postcopy-paused") || is(dst, "completed"))) {
        if (j->recoveries >= j->pauses) {
            error_setg(errp, "paused without a trouble that may pause it");
            return LOST;
        }
        if (is(dst, "completed")) {
            return UNCONFIRMED;
        }
        return recover(j, errp) ? GOES_ON : LOST;
    }
    if (is(src, "active") && !j->started && transferred >= j->precopy_bytes) {
        if (j->leg->cut_precopy && !j->cut_precopy) {
            j->cut_precopy = postern_relay_cut(j->relay, -1);
        } else if (!j->cut_precopy) {
            j->started = postern_vm_run(j->src, errp,
                                        "{ 'execute':"
                                        "  'migrate-start-postcopy' }");
            return j->started ? GOES_ON : LOST;
        }
    }
    return GOES_ON;
}

static Verdict travel(Journey *j, Error **errp)
{
    g_autofree char *from = socket_path(j, "src");
    g_autofree char *to = socket_path(j, "dst");
    PosternMigrateOptions options = {
        .socket = to,
        .relay_socket = from,
        .no_async_pf = !j->leg->async_pf,
        .kvm_userfault = j->leg->kvm_userfault ? ON_OFF_AUTO_ON
                                               : ON_OFF_AUTO_OFF,
        .preempt = j->leg->preempt,
        .max_bandwidth = j->leg->max_bandwidth,
        .postcopy_bandwidth = j->leg->postcopy_bandwidth,
    };
    int64_t deadline = g_get_monotonic_time() +
                       LEG_TIMEOUT_S * G_TIME_SPAN_SECOND;
    Verdict verdict;

    if (!relay_start(j, errp) ||
        !postern_migrate_begin(j->src, j->dst, &options, errp)) {
        return LOST;
    }
    while ((verdict = look(j, errp)) == GOES_ON) {
        if (g_get_monotonic_time() >= deadline) {
            error_setg(errp, "hung: %s", j->counts->step);
            return LOST;
        }
        g_usleep(POLL_US);
    }
    return verdict;
}

static void show_migration(PosternVM *vm)
{
    if (qtest_probe_child(vm->qts)) {
        g_autofree char *text = qtest_hmp(vm->qts, "info migrate");

        fprintf(stderr, "%s:\n%s", vm->name, text);
    }
}

/* For the log, if the guest does not behave as expected */
static void show_vcpus(PosternVM *vm, Error **errp)
{
    if (vm && qtest_probe_child(vm->qts)) {
        g_autofree char *text = NULL;

        /* First, as the monitor may hang, too */
        fprintf(stderr, "%s, see its vCPUs: %s\n", vm->name,
                errp && *errp ? error_get_pretty(*errp) : "?");
        text = postern_vcpus_describe(vm->qts);
        fprintf(stderr, "%s:\n%s", vm->name, text);
    }
}

/* Precopy may complete before post-copy begins: find out which it was */
static bool find_switch(Journey *j, Error **errp)
{
    QDict *info = postern_vm_qmp(j->src, errp,
                                 "{ 'execute': 'query-migrate' }");
    QDict *ram = info ? qdict_get_qdict(info, "ram") : NULL;

    j->switched = ram && qdict_get_int(ram, "postcopy-bytes");
    qobject_unref(info);
    return info != NULL;
}

/* Count the exits, and check that the leg's mechanism was used */
static bool count_exits(Journey *j, Error **errp)
{
    QDict *info = postern_vm_qmp(j->dst, errp,
                                 "{ 'execute': 'query-migrate' }");
    QDict *faults = info ? qdict_get_qdict(info, "postcopy-faults") : NULL;
    const char *wanted = j->leg->kvm_userfault ? "kvm-userfault"
                                               : "userfaultfd";
    uint64_t accepted = 0;
    bool ok = info != NULL;

    if (faults) {
        accepted = qdict_get_int(faults, "kvm-exits-accepted");
        j->counts->kvm_exits += qdict_get_int(faults, "kvm-exits");
        j->counts->accepted += accepted;
        j->counts->told += qdict_get_int(faults, "async-told");
        j->counts->halts += qdict_get_int(faults, "async-halts");
    }
    if (info && j->switched && !faults) {
        error_setg(errp, "QEMU reports no statistics of faults");
        ok = false;
    } else if (faults &&
               !g_str_equal(qdict_get_str(faults, "mechanism"), wanted)) {
        error_setg(errp, "QEMU used the other mechanism");
        ok = false;
    } else if (accepted && !j->leg->async_pf) {
        error_setg(errp, "vCPUs went on without their pages");
        ok = false;
    }
    qobject_unref(info);
    return ok;
}

/* Stops one side, and returns the one that has the guest; NULL on failure */
static PosternVM *migrate(PosternVM *src, const PosternVMConfig *config,
                          const PosternTour *tour, unsigned number,
                          const char *directory, PosternSoakCounts *counts,
                          Error **errp)
{
    const PosternLeg *leg = &tour->legs[number];
    Journey j = {
        .leg = leg,
        .number = number,
        .src = src,
        .directory = directory,
        .counts = counts,
        .precopy_bytes = tour->memory_mib * MiB / 100 * leg->precopy_percent,
    };
    PosternVM *gone = NULL;
    Verdict verdict;

    j.dst = postern_vm_start("destination", config, true, errp);
    if (!j.dst) {
        return NULL;
    }
    verdict = travel(&j, errp);
    postern_relay_end(j.relay);
    switch (verdict) {
    case COMPLETED:
    case UNCONFIRMED:
        if (!find_switch(&j, errp) || !count_exits(&j, errp)) {
            return NULL;
        }
        counts->postcopies += verdict == COMPLETED && j.switched;
        counts->unconfirmed += verdict == UNCONFIRMED;
        gone = j.src;
        j.src = NULL;
        j.dst->name = "source";
        break;
    case KEPT:
        counts->kept++;
        gone = j.dst;
        j.dst = NULL;
        break;
    default:
        show_migration(j.src);
        show_migration(j.dst);
        show_vcpus(j.dst, errp);
        return NULL;
    }
    postern_vm_stop(gone);
    return j.dst ?: j.src;
}

static bool examine(PosternVM *vm, uint64_t words, PosternSoakCounts *counts,
                    Error **errp)
{
    uint64_t bad;

    step(counts, "does the guest live?");
    if (!postern_guest_wait_alive(vm, ALIVE_OPS, ALIVE_TIMEOUT_S, errp)) {
        return false;
    }
    step(counts, "the guest checks its words");
    if (!postern_guest_sweep(vm, SWEEP_TIMEOUT_S, &bad, errp)) {
        return false;
    }
    counts->words += words;
    if (bad) {
        counts->corrupted += bad;
        error_setg(errp, "%" PRIu64 " words are corrupted", bad);
        return false;
    }
    return true;
}

bool postern_soak_run(const PosternTour *tour, const PosternVMConfig *config,
                      const char *directory, PosternSoakCounts *counts,
                      Error **errp)
{
    PosternVMConfig own = *config;
    g_autofree char *arguments = postern_soak_arguments(tour);
    g_autofree char *append =
        g_strdup_printf("postern.percent=%u postern.rest=%u%s", tour->percent,
                        tour->rest_us, tour->no_kvmapf ? " no-kvmapf" : "");
    PosternVM *vm;
    uint64_t words;

    own.memory_mib = tour->memory_mib;
    own.vcpus = tour->vcpus;
    own.cpu = tour->cpu;
    own.extra_args = arguments;
    own.append = append;

    step(counts, "the guest boots");
    vm = postern_vm_start("source", &own, false, errp);
    if (!vm || !postern_guest_wait_ready(vm, BOOT_TIMEOUT_S, &words, errp)) {
        show_vcpus(vm, errp);
        return false;
    }
    for (unsigned i = 0; i < tour->nlegs; i++) {
        int64_t begin = g_get_monotonic_time();
        g_autofree char *text = postern_soak_describe_leg(&tour->legs[i]);
        PosternSoakCounts before = *counts;

        printf("  %u: %s", i + 1, text);
        fflush(stdout);
        vm = migrate(vm, &own, tour, i, directory, counts, errp);
        if (!vm || !examine(vm, words, counts, errp)) {
            putchar('\n');
            show_vcpus(vm, errp);
            return false;
        }
        counts->migrations++;
        printf(": %s, %.1f s, %" PRIu64 " exits, %u of its troubles, "
               "%u recoveries\n",
               counts->kept > before.kept ? "kept by the source" :
               counts->unconfirmed > before.unconfirmed ? "not confirmed" :
               "completed", (g_get_monotonic_time() - begin) / 1e6,
               counts->kvm_exits - before.kvm_exits,
               counts->troubles - before.troubles,
               counts->recoveries - before.recoveries);
        fflush(stdout);
    }
    postern_vm_stop(vm);
    return true;
}
