/*
 * Postern's benchmark of post-copy: upstream's QEMU against ours, without KVM
 * userfault and with it, on the same host, with the same guest
 *
 * Prints a line of JSON for each migration; scripts/bench/bench.py makes
 * tables of them.  Each side has its own guest, which migrates from VM to VM.
 * While one migrates, the other is stopped.
 *
 * With --walk, the guest does a fixed work: it uses each page once.  The
 * result is the processor time of the destination for that.  Otherwise the
 * guest uses pages at random, and the result is how long its accesses waited.
 *
 * With --bulk, the guest does nothing, so that nearly all pages are sent unasked.
 * The result is how long that takes.
 *
 * With --async, the sides are what a guest can get from asynchronous page
 * faults, with either QEMU.  Without --walk, other threads of the guest count
 * meanwhile.
 *
 * With --redis, the guest's threads read from a Redis server in the guest
 * instead, for whose memory they wait.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "qemu/units.h"
#include "postern/guest.h"
#include "postern/migrate.h"
#include "postern/program.h"
#include "qobject/qdict.h"

enum {
    TIMEOUT_S = 600,            /* long, as counting instructions is slow */
    STEP_TIMEOUT_S = 900,
    FIRST_PORT = 30000,
    WALK_PAGES_PER_S = 1,       /* not requested; or as few as QEMU can send */
};

#define ALIVE_OPS 500
#define REDIS_CLIENTS "16"

/* What is compared */
typedef struct Side {
    const char *name;
    bool ours;                  /* our QEMU, not upstream's */
    bool off;                   /* without KVM userfault */
    const char *cpu;
    const char *append;         /* for the guest's kernel */
    const char *extra_args;
} Side;

enum { SIDES_MAX = 5 };

static const Side qemu_sides[] = {
    { .name = "upstream" },
    { .name = "postern-off", .ours = true, .off = true,
      .extra_args = "-global migration.x-postcopy-kvm-userfault=off" },
    { .name = "postern", .ours = true },
};

static const Side async_sides[] = {
    { .name = "upstream" },
    { .name = "upstream-no-apf",
      .cpu = "host,kvm-asyncpf=off,kvm-asyncpf-int=off" },
    { .name = "exits", .ours = true,
      .extra_args = "-global migration.x-postcopy-async-pf=off" },
    { .name = "halt", .ours = true, .append = "no-kvmapf" },
    { .name = "full", .ours = true },
};

static const Side *sides[SIDES_MAX];
static unsigned nr_sides;

/* In any migration, by index of @async_sides: what KVM did */
static struct {
    bool accepted;              /* a vCPU went on without its page */
    bool told;                  /* the guest was told so */
} did[SIDES_MAX];

static struct {
    char *upstream;
    char *postern;
    char *vcpus;                /* lists, with commas between */
    char *delays;
    char *limits;
    char *sides;
    int memory_mib;
    int percent;
    int round;
    int wait_us;
    int redis_keys;
    gboolean walk;
    gboolean bulk;
    gboolean async;
} arguments;

static PosternVMConfig config;   /* what all sides share */
static char *directory;
static unsigned migrations;     /* made so far */

/* The result of one migration; see print_result() */
typedef struct Result {
    PosternGuestWaits waits;
    int64_t postcopy_us;
    uint64_t dst_cpu_ns;
    uint64_t requested;         /* pages, by the destination */
    uint64_t pages;
    /* Of our QEMU; @accepted may be 0 where the guest ran with interrupts off */
    uint64_t exits;
    uint64_t accepted;
    uint64_t told;
    uint64_t blocked_ns;        /* of all vCPUs */
} Result;

/* The guest uses memory at random, and times that */
static bool guest_is_busy(void)
{
    return !arguments.walk && !arguments.bulk;
}

static void on_failure(const char *reason)
{
    postern_program_show_log(config.log);
    g_unlink(config.log);
    g_rmdir(directory);
}

static void set_delay(unsigned delay_us)
{
    g_autofree char *command =
        g_strdup_printf(delay_us ? "tc qdisc replace dev lo root netem "
                                   "limit 100000 delay %uus"
                                 : "tc qdisc del dev lo root 2>/dev/null; :",
                        delay_us);

    if (system(command) != 0) {
        postern_program_fail("tc (iproute2) cannot set a delay");
    }
}

/* Processor time so far of a QEMU with all its threads and its guest */
static uint64_t cpu_ns(PosternVM *vm)
{
    struct timespec ts;
    clockid_t clock;

    if (clock_getcpuclockid(qtest_pid(vm->qts), &clock) ||
        clock_gettime(clock, &ts)) {
        postern_program_fail("no processor time of a QEMU");
    }
    return ts.tv_sec * UINT64_C(1000000000) + ts.tv_nsec;
}

static int64_t event_us(const QDict *event)
{
    QDict *timestamp = qdict_get_qdict(event, "timestamp");

    return qdict_get_int(timestamp, "seconds") * G_TIME_SPAN_SECOND +
           qdict_get_int(timestamp, "microseconds");
}

/* When the guest began to run on the destination */
static int64_t wait_resumed(PosternVM *dst)
{
    QDict *event = qtest_qmp_eventwait_ref(dst->qts, "RESUME");
    int64_t us = event_us(event);

    qobject_unref(event);
    return us;
}

/* When its last page had arrived */
static int64_t wait_completed(PosternVM *dst)
{
    int64_t us;
    bool completed;

    do {
        QDict *event = qtest_qmp_eventwait_ref(dst->qts, "MIGRATION");
        const char *status = qdict_get_str(qdict_get_qdict(event, "data"),
                                           "status");

        completed = g_str_equal(status, "completed");
        if (!completed && !g_str_has_prefix(status, "postcopy-active") &&
            !g_str_equal(status, "active") && !g_str_equal(status, "setup")) {
            postern_program_fail(status);
        }
        us = event_us(event);
        qobject_unref(event);
    } while (!completed);
    return us;
}

static void events_on(PosternVM *vm, Error **errp)
{
    postern_vm_run(vm, errp,
                   "{ 'execute': 'migrate-set-capabilities',"
                   "  'arguments': { 'capabilities': ["
                   "    { 'capability': 'events', 'state': true } ] } }");
}

/* The source's number of page requests */
static uint64_t page_requests(PosternVM *src)
{
    Error *err = NULL;
    uint64_t requests;
    QDict *info = postern_vm_qmp(src, &err, "{ 'execute': 'query-migrate' }");

    postern_program_fail_if(err);
    requests = qdict_get_int(qdict_get_qdict(info, "ram"),
                             "postcopy-requests");
    qobject_unref(info);
    return requests;
}

/* Measure the destination's processor time for a walk */
static void walk(PosternVM *src, PosternVM *dst, Result *result, Error **errp)
{
    uint64_t dst_ns = cpu_ns(dst), requested = page_requests(src);

    if (postern_guest_walk(dst, TIMEOUT_S, &result->pages, errp)) {
        result->dst_cpu_ns = cpu_ns(dst) - dst_ns;
        result->requested = page_requests(src) - requested;
        /* Send the rest at full speed */
        postern_vm_run(src, errp,
                       "{ 'execute': 'migrate-set-parameters', 'arguments': {"
                       "    'max-postcopy-bandwidth': 0 } }");
    }
}

/* Wait for both VMs, and check that the right mechanism was measured */
static void complete(PosternVM *src, PosternVM *dst, const Side *side,
                     const PosternMigrateOptions *options, Result *result)
{
    PosternMigrateStats stats;
    Error *err = NULL;
    QDict *info;
    int64_t bytes;

    if (side->ours) {
        postern_migrate_complete(src, dst, options, &stats, &err);
        postern_program_fail_if(err);
        if (stats.mechanism_is_kvm == side->off ||
            !stats.kvm_exits != side->off) {
            postern_program_fail("not the mechanism that is to be measured");
        }
        if ((side->extra_args && stats.kvm_exits_accepted) ||
            (side->append && stats.async_told)) {
            postern_program_fail("KVM did not do what is to be measured");
        }
        result->exits = stats.kvm_exits;
        result->accepted = stats.kvm_exits_accepted;
        result->told = stats.async_told;
        if (arguments.async) {
            did[side - async_sides].accepted |= stats.kvm_exits_accepted != 0;
            did[side - async_sides].told |= stats.async_told != 0;
        }
        result->blocked_ns = stats.vcpu_blocked_ns;
    } else {
        postern_migrate_wait(src, dst, options, &err);
        postern_program_fail_if(err);
    }
    info = postern_vm_qmp(src, &err, "{ 'execute': 'query-migrate' }");
    postern_program_fail_if(err);
    bytes = qdict_get_try_int(qdict_get_qdict(info, "ram"), "postcopy-bytes",
                              0);
    if (!bytes) {
        postern_program_fail("it ended before post-copy");
    }
    if (arguments.bulk) {
        result->pages = bytes / qdict_get_int(qdict_get_qdict(info, "ram"),
                                              "page-size");
    }
    qobject_unref(info);
}

/* Was each side once what it is called? */
static void check_async(void)
{
    for (unsigned i = 0; i < nr_sides; i++) {
        const Side *side = sides[i];

        if (side->ours && !side->extra_args &&
            (!did[side - async_sides].accepted ||
             (!side->append && !did[side - async_sides].told))) {
            postern_program_fail("no vCPU went on without its page");
        }
    }
}

static PosternVM *start(const Side *side, const char *name, bool incoming)
{
    g_autofree char *append = g_strdup_printf("%s %s", config.append,
                                              side->append ?: "");
    PosternVMConfig own = config;
    Error *err = NULL;
    PosternVM *vm;

    g_setenv("QTEST_QEMU_BINARY",
             side->ours ? arguments.postern : arguments.upstream, true);
    own.append = append;
    own.cpu = side->cpu;
    own.extra_args = side->extra_args;
    vm = postern_vm_start(g_intern_string(name), &own, incoming, &err);
    postern_program_fail_if(err);
    return vm;
}

static PosternVM *migrate(PosternVM *src, const Side *side, bool preempt,
                          unsigned limit_mib, Result *result)
{
    PosternMigrateOptions options = {
        .port = FIRST_PORT + migrations,
        .preempt = preempt,
        .precopy_bytes = config.memory_mib * MiB / 8,
        .postcopy_bandwidth = arguments.walk ? WALK_PAGES_PER_S * 4 * KiB
                                             : limit_mib * MiB,
        .timeout_s = TIMEOUT_S,
    };
    g_autofree char *name = g_strdup_printf("VM %u", ++migrations);
    Error *err = NULL;
    PosternVM *dst;
    int64_t resumed, completed;
    uint64_t stop;

    dst = start(side, name, true);
    events_on(dst, &err);
    postern_program_fail_if(err);
    if (!postern_migrate_begin(src, dst, &options, &err) ||
        !postern_migrate_precopy(src, &options, &err) ||
        (guest_is_busy() &&
         !postern_guest_mark(src, TIMEOUT_S, &stop, &err))) {
        postern_program_fail_if(err);
    }
    postern_migrate_switch(src, &options, &err);
    postern_program_fail_if(err);
    resumed = wait_resumed(dst);
    if (arguments.walk) {
        walk(src, dst, result, &err);
        postern_program_fail_if(err);
    }
    completed = wait_completed(dst);
    result->postcopy_us = completed - resumed;
    if (guest_is_busy()) {
        postern_guest_stop(dst, stop);
        postern_guest_tell(dst, TIMEOUT_S, stop, &result->waits, &err);
        postern_program_fail_if(err);
    }
    complete(src, dst, side, &options, result);
    postern_vm_stop(src);
    return dst;
}

/*
 * From just before the switch to just after the last page: the number of
 * accesses that waited, the sum, median and 99th percentile of their times,
 * the number of the guest's operations, and the time on its clock.  Then the
 * time from when the guest runs on the destination to the last page.
 *
 * Without work: the pages that were sent, and that time.
 *
 * Of a walk: its pages, the destination's processor time, including the guest,
 * and the number of requests.
 *
 * Then what our QEMU says: exits, after how many a vCPU went on, how often the
 * guest was told, and how long vCPUs blocked.
 */
static void print_result(const Side *side, bool preempt, unsigned limit_mib,
                         unsigned delay_us, const Result *result)
{
    printf("{\"round\": %d, \"vcpus\": %u, \"mode\": \"%s\", "
           "\"limit_mib_s\": %u, \"delay_us\": %u, \"side\": \"%s\", ",
           arguments.round, config.vcpus, preempt ? "preempt" : "plain",
           limit_mib, delay_us, side->name);
    if (arguments.walk) {
        printf("\"pages\": %" PRIu64 ", \"dst_ns\": %" PRIu64 ", "
               "\"requested\": %" PRIu64, result->pages,
               result->dst_cpu_ns, result->requested);
    } else if (arguments.bulk) {
        printf("\"pages\": %" PRIu64 ", \"postcopy_us\": %" PRId64,
               result->pages, result->postcopy_us);
    } else {
        printf("\"waits\": %" PRIu64 ", \"wait_us\": %" PRIu64 ", "
               "\"p50_us\": %" PRIu64 ", \"p99_us\": %" PRIu64 ", "
               "\"ops\": %" PRIu64 ", \"guest_us\": %" PRIu64 ", "
               "\"work\": %" PRIu64 ", \"postcopy_us\": %" PRId64,
               result->waits.waits, result->waits.wait_us,
               result->waits.p50_us, result->waits.p99_us, result->waits.ops,
               result->waits.us, result->waits.work, result->postcopy_us);
    }
    if (side->ours) {
        printf(", \"exits\": %" PRIu64 ", \"accepted\": %" PRIu64 ", "
               "\"told\": %" PRIu64 ", \"blocked_us\": %" PRIu64,
               result->exits, result->accepted, result->told,
               result->blocked_ns / 1000);
    }
    printf("}\n");
    fflush(stdout);
}

static void check_words(PosternVM *vm)
{
    Error *err = NULL;
    uint64_t bad;

    postern_guest_sweep(vm, TIMEOUT_S, &bad, &err);
    postern_program_fail_if(err);
    if (bad) {
        postern_program_fail("words are corrupted");
    }
}

static PosternVM *boot(const Side *side)
{
    g_autofree char *name = g_strdup_printf("first VM of %s", side->name);
    Error *err = NULL;
    PosternVM *vm;

    vm = start(side, name, false);
    postern_guest_wait_ready(vm, TIMEOUT_S, NULL, &err);
    postern_program_fail_if(err);
    if (!guest_is_busy()) {
        postern_guest_pause(vm, &err);
    } else {
        postern_guest_wait_alive(vm, ALIVE_OPS, TIMEOUT_S, &err);
    }
    postern_program_fail_if(err);
    postern_vm_run(vm, &err, "{ 'execute': 'stop' }");
    postern_program_fail_if(err);
    return vm;
}

/*
 * For a walk, the source is always ours.  Upstream's source does not send
 * requested pages beyond the limit for other pages, but spins until the next
 * period, and that would be all that is measured.
 */
static PosternVM *come_home(PosternVM *vm, const Side *side)
{
    const Side home = { .ours = true, .cpu = side->cpu };
    Error *err = NULL;
    PosternVM *dst;
    PosternMigrateOptions options = {
        .port = FIRST_PORT + migrations,
        .timeout_s = TIMEOUT_S,
    };

    migrations++;
    dst = start(&home, "VM of ours", true);
    postern_migrate_to_postcopy(vm, dst, &options, &err);
    postern_program_fail_if(err);
    postern_migrate_wait(vm, dst, &options, &err);
    postern_program_fail_if(err);
    postern_vm_stop(vm);
    return dst;
}

static PosternVM *measure(PosternVM *vm, const Side *side, bool preempt,
                          unsigned limit_mib, unsigned delay_us)
{
    Result result = { 0 };
    Error *err = NULL;

    postern_vm_run(vm, &err, "{ 'execute': 'cont' }");
    postern_program_fail_if(err);
    if (arguments.walk) {
        vm = come_home(vm, side);
    }
    vm = migrate(vm, side, preempt, limit_mib, &result);
    if (guest_is_busy()) {
        postern_guest_wait_alive(vm, ALIVE_OPS, TIMEOUT_S, &err);
        postern_program_fail_if(err);
    }
    postern_vm_run(vm, &err, "{ 'execute': 'stop' }");
    postern_program_fail_if(err);
    print_result(side, preempt, limit_mib, delay_us, &result);
    return vm;
}

/* All sides in turn */
static void measure_sides(PosternVM **vms, unsigned first, bool preempt,
                          unsigned limit_mib, unsigned delay_us)
{
    postern_program_step("%u vCPUs, %s, limit %u MiB/s, delay %u us",
                         config.vcpus, preempt ? "preempt" : "plain",
                         limit_mib, delay_us);
    for (unsigned n = 0; n < nr_sides; n++) {
        unsigned i = (first + n) % nr_sides;

        vms[i] = measure(vms[i], sides[i], preempt, limit_mib, delay_us);
    }
}

static void measure_all(char **delays, char **limits)
{
    static unsigned turns;      /* who is first alternates, also by rounds */
    PosternVM *vms[SIDES_MAX];

    postern_program_step("%u vCPUs: %u guests boot", config.vcpus, nr_sides);
    for (unsigned i = 0; i < nr_sides; i++) {
        vms[i] = boot(sides[i]);
    }
    for (char **delay = delays; *delay; delay++) {
        set_delay(atoi(*delay));
        for (char **limit = limits; *limit; limit++) {
            unsigned first = (turns++ + arguments.round) % nr_sides;

            measure_sides(vms, first, false, atoi(*limit), atoi(*delay));
            if (!arguments.async) {
                measure_sides(vms, first, true, atoi(*limit), atoi(*delay));
            }
        }
    }
    set_delay(0);
    for (unsigned i = 0; i < nr_sides; i++) {
        Error *err = NULL;

        postern_vm_run(vms[i], &err, "{ 'execute': 'cont' }");
        postern_program_fail_if(err);
        check_words(vms[i]);
        postern_vm_stop(vms[i]);
    }
}

/* Those of @all that --sides names, in their order; without it, all */
static void choose_sides(const Side *all, unsigned nr)
{
    g_auto(GStrv) names = g_strsplit(arguments.sides ?: "", ",", -1);

    for (unsigned i = 0; i < nr; i++) {
        if (!arguments.sides ||
            g_strv_contains((const char *const *)names, all[i].name)) {
            sides[nr_sides++] = &all[i];
        }
    }
    if (!nr_sides || (arguments.sides && nr_sides != g_strv_length(names))) {
        fprintf(stderr, "postern-bench: --sides=%s: unknown\n", arguments.sides);
        exit(EXIT_FAILURE);
    }
}

static void parse_arguments(int argc, char **argv)
{
    const GOptionEntry entries[] = {
        { "kernel", 0, 0, G_OPTION_ARG_FILENAME, &config.kernel,
          "the guest's kernel", "FILE" },
        { "initrd", 0, 0, G_OPTION_ARG_FILENAME, &config.initrd,
          "the guest's initramfs", "FILE" },
        { "upstream", 0, 0, G_OPTION_ARG_FILENAME, &arguments.upstream,
          "upstream's QEMU", "FILE" },
        { "postern", 0, 0, G_OPTION_ARG_FILENAME, &arguments.postern,
          "our QEMU", "FILE" },
        { "vcpus", 0, 0, G_OPTION_ARG_STRING, &arguments.vcpus,
          "numbers of vCPUs (1,2,4,8)", "LIST" },
        { "delays", 0, 0, G_OPTION_ARG_STRING, &arguments.delays,
          "of the network, each way, in us (0,30,1000)", "LIST" },
        { "limits", 0, 0, G_OPTION_ARG_STRING, &arguments.limits,
          "for pages not requested, in MiB/s, 0: none (0,8)", "LIST" },
        { "sides", 0, 0, G_OPTION_ARG_STRING, &arguments.sides,
          "what to compare (upstream,postern-off,postern; with --async: "
          "upstream,upstream-no-apf,exits,halt,full)", "LIST" },
        { "memory", 0, 0, G_OPTION_ARG_INT, &arguments.memory_mib,
          "the guest's memory (256)", "MIB" },
        { "percent", 0, 0, G_OPTION_ARG_INT, &arguments.percent,
          "part of it that the guest uses (50)", "N" },
        { "round", 0, 0, G_OPTION_ARG_INT, &arguments.round,
          "number of this round (1)", "N" },
        { "wait", 0, 0, G_OPTION_ARG_INT, &arguments.wait_us,
          "an access of the guest that takes as long is taken for one that "
          "waited for a page (500)", "US" },
        { "walk", 0, 0, G_OPTION_ARG_NONE, &arguments.walk,
          "count processor time for each page", NULL },
        { "bulk", 0, 0, G_OPTION_ARG_NONE, &arguments.bulk,
          "the guest does nothing: time to send its memory", NULL },
        { "async", 0, 0, G_OPTION_ARG_NONE, &arguments.async,
          "compare what a guest gets from asynchronous page faults", NULL },
        { "redis", 0, 0, G_OPTION_ARG_INT, &arguments.redis_keys,
          "likewise, with a Redis server that has so many keys", "N" },
        { NULL }
    };
    g_autoptr(GOptionContext) context =
        g_option_context_new("- upstream's post-copy against Postern's");
    g_autoptr(GError) err = NULL;

    arguments.memory_mib = 256;
    arguments.percent = 50;
    arguments.round = 1;
    arguments.wait_us = 500;
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &err)) {
        fprintf(stderr, "postern-bench: %s\n", err->message);
        exit(EXIT_FAILURE);
    }
    arguments.async |= arguments.redis_keys != 0;
    if (!config.kernel || !config.initrd || !arguments.upstream ||
        !arguments.postern || (arguments.walk && arguments.redis_keys) ||
        (arguments.bulk && (arguments.walk || arguments.async)) ||
        arguments.memory_mib <= 0 ||
        arguments.percent <= 0 || arguments.round <= 0 ||
        arguments.redis_keys < 0 ||
        arguments.wait_us <= 0) {
        fprintf(stderr, "postern-bench: needs --kernel, --initrd, --upstream "
                "and --postern; and numbers above 0; --walk excludes "
                "--redis, and --bulk all others\n");
        exit(EXIT_FAILURE);
    }
    choose_sides(arguments.async ? async_sides : qemu_sides,
                 arguments.async ? ARRAY_SIZE(async_sides)
                                 : ARRAY_SIZE(qemu_sides));
}

int main(int argc, char **argv)
{
    g_auto(GStrv) vcpus = NULL, delays = NULL, limits = NULL;
    g_autofree char *append = NULL, *redis = NULL;

    parse_arguments(argc, argv);
    vcpus = g_strsplit(arguments.vcpus ?: "1,2,4,8", ",", -1);
    delays = g_strsplit(arguments.delays ?: "0,30,1000", ",", -1);
    limits = g_strsplit(arguments.limits ?: "0,8", ",", -1);
    directory = g_dir_make_tmp("postern-bench-XXXXXX", NULL);
    config.log = g_strdup_printf("%s/qemu.log", directory);
    config.memory_mib = arguments.memory_mib;
    /* One that both QEMUs have: guests migrate from one to the other */
#ifdef __aarch64__
    config.machine = "virt-10.0";
#else
    config.machine = "pc-q35-10.0";
#endif
    redis = g_strdup_printf(" postern.workers=" REDIS_CLIENTS
                            " postern.redis=%d", arguments.redis_keys);
    append = g_strdup_printf("postern.percent=%d postern.time=%d%s",
                             arguments.percent, arguments.wait_us,
                             arguments.redis_keys ? redis :
                             arguments.async && !arguments.walk ?
                             " postern.work=1" : "");
    config.append = append;
    postern_program_init("postern-bench", STEP_TIMEOUT_S, on_failure);

    for (char **n = vcpus; *n; n++) {
        config.vcpus = atoi(*n);
        measure_all(delays, limits);
    }
    if (arguments.async) {
        check_async();
    }
    postern_program_step("done");
    g_unlink(config.log);
    g_rmdir(directory);
    return EXIT_SUCCESS;
}
