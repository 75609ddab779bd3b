/*
 * Postern's demo: migrate a running guest by post-copy, first with userfaultfd
 * and then with KVM userfault, and compare the two; with --rounds, several
 * times in alternating order
 *
 * It reports figures, and ends on the first error with a one-line reason.  All
 * its waits have a limit.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "qemu/units.h"
#include "postern/guest.h"
#include "postern/migrate.h"
#include "postern/program.h"
#include "postern/report.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"

/* Each takes a few seconds on an idle emulated host with one CPU */
enum {
    BOOT_TIMEOUT_S = 120,
    MIGRATE_TIMEOUT_S = 120,
    ALIVE_TIMEOUT_S = 60,
    SWEEP_TIMEOUT_S = 120,
    STEP_TIMEOUT_S = 200,       /* longer than the timeouts within a step */
};

/* A vCPU that has done so many operations is not stuck in a fault */
#define ALIVE_OPS 2000

/* Fewer KVM exits would not prove that vCPU faults come as exits */
#define MIN_KVM_EXITS 100

/*
 * KVM itself writes a vCPU's clock page and a few others, through userfaultfd.
 * If more than one in so many faults came that way, some would be the guest's.
 */
#define MAX_HOST_RATIO 20

static PosternVMConfig config = { .memory_mib = 512, .vcpus = 2 };
static char *json_file;
static char *directory;         /* for the migration sockets */

static PosternRun *runs;
static unsigned nruns;

static bool write_json(const char *failure)
{
    g_autoptr(GString) text = NULL;
    g_autoptr(GError) err = NULL;
    QDict *object;

    if (!json_file) {
        return true;
    }
    object = postern_report_object(&config, runs, nruns, failure);
    text = qobject_to_json_pretty(QOBJECT(object), true);
    qobject_unref(object);
    g_string_append_c(text, '\n');
    if (!g_file_set_contents(json_file, text->str, text->len, &err)) {
        fprintf(stderr, "postern-demo: %s\n", err->message);
        return false;
    }
    return true;
}

static char *socket_path(const PosternRun *run)
{
    return g_strdup_printf("%s/%td", directory, run - runs);
}

static void remove_directory(void)
{
    g_unlink(config.log);
    for (unsigned n = 0; n < nruns; n++) {
        g_autofree char *path = socket_path(&runs[n]);

        g_unlink(path);
    }
    g_rmdir(directory);
}

static void on_failure(const char *reason)
{
    postern_program_show_log(config.log);
    write_json(reason);
    remove_directory();
}

static bool is_kvm(const PosternRun *run)
{
    return g_str_equal(run->mechanism, "kvm-userfault");
}

/* Migrates the guest from @src to a new VM, and stops @src */
static PosternVM *migrate(PosternVM *src, PosternRun *run)
{
    g_autofree char *socket = socket_path(run);
    g_autofree char *dst_name =
        g_strdup_printf("destination %td", run - runs + 1);
    bool kvm_userfault = is_kvm(run);
    PosternMigrateOptions options = {
        .socket = socket,
        .kvm_userfault = kvm_userfault ? ON_OFF_AUTO_ON : ON_OFF_AUTO_OFF,
        .precopy_bytes = config.memory_mib * MiB / 8,
        .timeout_s = MIGRATE_TIMEOUT_S,
    };
    PosternVM *dst;
    Error *err = NULL;

    postern_program_step("%s: precopy", run->mechanism);
    dst = postern_vm_start(g_intern_string(dst_name), &config, true, &err);
    postern_program_fail_if(err);
    postern_migrate_to_postcopy(src, dst, &options, &err);
    postern_program_fail_if(err);

    postern_program_step("%s: post-copy, the guest runs on the destination",
                         run->mechanism);
    postern_migrate_complete(src, dst, &options, &run->stats, &err);
    postern_program_fail_if(err);
    postern_vm_stop(src);
    return dst;
}

static void examine(PosternVM *vm, PosternRun *run, uint64_t words,
                    uint64_t *bad_before)
{
    Error *err = NULL;
    uint64_t bad;

    postern_program_step("%s: migrated; does the guest live?", run->mechanism);
    postern_guest_wait_alive(vm, ALIVE_OPS, ALIVE_TIMEOUT_S, &err);
    postern_program_fail_if(err);

    postern_program_step("%s: it does; checking all its words", run->mechanism);
    postern_guest_sweep(vm, SWEEP_TIMEOUT_S, &bad, &err);
    postern_program_fail_if(err);

    run->words_checked = words;
    run->words_corrupted = bad - *bad_before;
    run->done = true;
    *bad_before = bad;
}

static char *verdict(void)
{
    for (unsigned n = 0; n < nruns; n++) {
        const PosternMigrateStats *stats = &runs[n].stats;
        uint64_t through_userfaultfd = stats->userfaultfd_vcpu +
                                       stats->userfaultfd_async;
        bool kvm = is_kvm(&runs[n]);
        g_autofree char *reason = NULL;

        if (runs[n].words_corrupted) {
            reason = g_strdup_printf("%" PRIu64 " words are corrupted",
                                     runs[n].words_corrupted);
        } else if (stats->mechanism_is_kvm != kvm) {
            reason = g_strdup("QEMU used the other mechanism");
        } else if (kvm && through_userfaultfd) {
            reason = g_strdup_printf("%" PRIu64 " vCPU faults went through "
                                     "userfaultfd", through_userfaultfd);
        } else if (kvm && stats->kvm_exits <= MIN_KVM_EXITS) {
            reason = g_strdup_printf("only %" PRIu64 " faults came as KVM "
                                     "exits", stats->kvm_exits);
        }
        if (reason == NULL && kvm && stats->userfaultfd_vcpu_host *
                                     MAX_HOST_RATIO > stats->kvm_exits) {
            reason = g_strdup_printf("%" PRIu64 " faults of vCPU threads went "
                                     "through userfaultfd: too many for KVM's "
                                     "own", stats->userfaultfd_vcpu_host);
        }
        if (reason) {
            return g_strdup_printf("%s: %s", runs[n].mechanism, reason);
        }
    }
    return NULL;
}

/* Alternate, so that a drift over time does not look like a difference */
static void plan(unsigned rounds)
{
    nruns = 2 * rounds;
    runs = g_new0(PosternRun, nruns);
    for (unsigned n = 0; n < nruns; n++) {
        bool kvm = n % 2 != n / 2 % 2;

        runs[n].mechanism = kvm ? "kvm-userfault" : "userfaultfd";
    }
}

static void parse_arguments(int argc, char **argv)
{
    char *qemu = NULL;
    int memory = config.memory_mib, vcpus = config.vcpus, rounds = 1;
    const GOptionEntry entries[] = {
        { "kernel", 0, 0, G_OPTION_ARG_FILENAME, &config.kernel,
          "the guest's kernel", "FILE" },
        { "initrd", 0, 0, G_OPTION_ARG_FILENAME, &config.initrd,
          "the guest's initramfs", "FILE" },
        { "memory", 0, 0, G_OPTION_ARG_INT, &memory,
          "the guest's memory (512)", "MIB" },
        { "vcpus", 0, 0, G_OPTION_ARG_INT, &vcpus,
          "the guest's vCPUs (2)", "N" },
        { "rounds", 0, 0, G_OPTION_ARG_INT, &rounds,
          "number of rounds of two migrations (1)", "N" },
        { "json", 0, 0, G_OPTION_ARG_FILENAME, &json_file,
          "also write the figures to this file", "FILE" },
        { "qemu", 0, 0, G_OPTION_ARG_FILENAME, &qemu,
          "QEMU to use (QTEST_QEMU_BINARY)", "FILE" },
        { NULL }
    };
    g_autoptr(GOptionContext) context =
        g_option_context_new("- migrate a guest with userfaultfd and with "
                             "KVM userfault");
    g_autoptr(GError) err = NULL;

    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &err)) {
        fprintf(stderr, "postern-demo: %s\n", err->message);
        exit(EXIT_FAILURE);
    }
    if (!config.kernel || !config.initrd || memory <= 0 || vcpus <= 0 ||
        rounds <= 0) {
        fprintf(stderr, "postern-demo: needs --kernel and --initrd, and "
                "--memory, --vcpus and --rounds above 0\n");
        exit(EXIT_FAILURE);
    }
    config.memory_mib = memory;
    config.vcpus = vcpus;
    plan(rounds);
    if (qemu) {
        g_setenv("QTEST_QEMU_BINARY", qemu, true);
    }
}

int main(int argc, char **argv)
{
    g_autofree char *failure = NULL;
    uint64_t words, bad = 0;
    PosternVM *vm;
    Error *err = NULL;

    parse_arguments(argc, argv);
    directory = g_dir_make_tmp("postern-demo-XXXXXX", NULL);
    config.log = g_strdup_printf("%s/qemu.log", directory);
    postern_program_init("postern-demo", STEP_TIMEOUT_S, on_failure);

    postern_program_step("booting the guest: %u MiB, %u vCPUs",
                         config.memory_mib, config.vcpus);
    vm = postern_vm_start("source", &config, false, &err);
    postern_program_fail_if(err);
    postern_guest_wait_ready(vm, BOOT_TIMEOUT_S, &words, &err);
    postern_program_fail_if(err);
    postern_guest_wait_alive(vm, ALIVE_OPS, ALIVE_TIMEOUT_S, &err);
    postern_program_fail_if(err);

    for (unsigned n = 0; n < nruns; n++) {
        vm = migrate(vm, &runs[n]);
        examine(vm, &runs[n], words, &bad);
    }
    postern_vm_stop(vm);
    postern_program_step("done");

    putchar('\n');
    postern_report_table(stdout, runs, nruns);
    putchar('\n');
    failure = verdict();
    if (failure) {
        postern_program_fail(failure);
    }
    remove_directory();
    return write_json(NULL) ? EXIT_SUCCESS : EXIT_FAILURE;
}
