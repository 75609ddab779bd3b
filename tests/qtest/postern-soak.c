/*
 * Postern's soak: randomized migrations of guests that check each word of their
 * memory, with failures of the network
 *
 * Each tour, a guest and a few migrations, has its own process, so that a tour
 * that dies or hangs counts as failed, and the others continue.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include <sys/wait.h>
#include "qemu/cutils.h"
#include "postern/program.h"
#include "postern/soak.h"

/* More than the sum of all timeouts of a leg */
#define LEG_LIMIT_S 400

/* For guests of 256 MiB on both sides */
#define HUGE_PAGES 260

static PosternVMConfig config;
static char *backend, *trouble;
static gboolean no_preempt;
static PosternSoakCounts *counts;

/* QEMU has died: end this tour */
static void on_abort(int signum)
{
    _exit(EXIT_FAILURE);
}

static void G_NORETURN tour_main(const PosternTour *tour,
                                 const char *directory)
{
    Error *err = NULL;
    bool ok;

    postern_program_take_abort(on_abort);
    signal(SIGPIPE, SIG_IGN);
    ok = postern_soak_run(tour, &config, directory, counts, &err);
    fflush(stdout);
    if (!ok) {
        fprintf(stderr, "postern-soak: %s\n", error_get_pretty(err));
    }
    /* QEMUs that still run die with this process */
    _exit(ok ? EXIT_SUCCESS : EXIT_FAILURE);
}

/* Returns true if the tour succeeded within its time */
static bool tour_wait(pid_t child, unsigned limit_s, bool *hung)
{
    int64_t deadline = g_get_monotonic_time() + limit_s * G_TIME_SPAN_SECOND;
    int status = 0;

    while (waitpid(child, &status, WNOHANG) == 0) {
        if (g_get_monotonic_time() >= deadline) {
            *hung = true;
            kill(child, SIGKILL);
            waitpid(child, &status, 0);
            break;
        }
        g_usleep(50000);
    }
    return !*hung && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS;
}

static void remove_directory(const char *directory)
{
    g_autoptr(GDir) dir = g_dir_open(directory, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(directory, name, NULL);

        g_unlink(path);
    }
    g_rmdir(directory);
}

static bool tour_make(uint32_t seed, unsigned number, unsigned limit)
{
    g_autofree char *directory = g_dir_make_tmp("postern-soak-XXXXXX", NULL);
    g_autofree char *log = g_strdup_printf("%s/qemu.log", directory);
    g_autofree char *text = NULL;
    PosternTour tour;
    bool ok, hung = false;
    pid_t child;

    postern_soak_plan(&tour, seed, number);
    postern_soak_narrow(&tour, backend, trouble, no_preempt);
    tour.nlegs = MIN(tour.nlegs, limit);
    text = postern_soak_describe(&tour);
    printf("tour %u: %s\n", number, text);
    fflush(stdout);

    if (!directory) {
        fprintf(stderr, "postern-soak: no folder for temporary files\n");
        exit(EXIT_FAILURE);
    }
    config.log = log;
    child = fork();
    if (child == 0) {
        tour_main(&tour, directory);
    }
    if (child < 0) {
        fprintf(stderr, "postern-soak: fork: %s\n", strerror(errno));
        exit(EXIT_FAILURE);
    }
    ok = tour_wait(child, LEG_LIMIT_S * (tour.nlegs + 1), &hung);
    if (!ok) {
        fprintf(stderr, "postern-soak: FAILED: --seed=%u --tour=%u "
                "--migrations=%u%s%s%s%s%s%s (%s)\n", seed, number, tour.nlegs,
                backend ? " --backend=" : "", backend ?: "",
                trouble ? " --trouble=" : "", trouble ?: "",
                no_preempt ? " --no-preempt" : "",
                hung ? ", hung" : "", counts->step);
        postern_program_show_log(log);
    }
    remove_directory(directory);
    return ok;
}

#define HUGE_PAGES_PATH "/sys/kernel/mm/hugepages/hugepages-2048kB/"

static int huge_pages(const char *name)
{
    g_autofree char *path = g_strconcat(HUGE_PAGES_PATH, name, NULL);
    g_autofree char *text = NULL;

    return g_file_get_contents(path, &text, NULL, NULL) ? atoi(text) : 0;
}

/* Without these, tours with huge pages would fail */
static void reserve_huge_pages(void)
{
    FILE *file = fopen(HUGE_PAGES_PATH "nr_hugepages", "r+");

    if (file) {
        fprintf(file, "%d", HUGE_PAGES);
        fclose(file);
    }
    if (huge_pages("nr_hugepages") < HUGE_PAGES) {
        fprintf(stderr, "postern-soak: cannot reserve %d huge pages\n",
                HUGE_PAGES);
        exit(EXIT_FAILURE);
    }
}

/* The previous tour's QEMUs may still be exiting with their huge pages */
static void wait_for_huge_pages(void)
{
    for (int i = 0; i < 600 && huge_pages("free_hugepages") < HUGE_PAGES;
         i++) {
        g_usleep(50000);
    }
}

static bool summary(unsigned tours, unsigned failed)
{
    printf("%u tours, %u failed; %u migrations, %u of them completed in "
           "post-copy, %u kept by the source as planned, %u not confirmed; "
           "%u troubles, %u recoveries; %" PRIu64 " faults by KVM exits, "
           "%" PRIu64 " accepted, guests told %" PRIu64 " times, vCPUs halted %"
           PRIu64 "; %" PRIu64 " words checked, %" PRIu64 " corrupted\n",
           tours, failed, counts->migrations, counts->postcopies,
           counts->kept, counts->unconfirmed, counts->troubles,
           counts->recoveries, counts->kvm_exits, counts->accepted,
           counts->told, counts->halts, counts->words, counts->corrupted);
    if (!counts->postcopies) {
        fprintf(stderr, "postern-soak: no post-copy at all\n");
    }
    if (trouble && !counts->troubles) {
        fprintf(stderr, "postern-soak: every post-copy was over before its "
                "trouble\n");
    }
    return !failed && !counts->corrupted && counts->postcopies &&
           (!trouble || counts->troubles);
}

int main(int argc, char **argv)
{
    char *qemu = NULL;
    int migrations = 20, seed = 1, first = 0;
    unsigned done = 0, tours = 0, failed = 0;
    const GOptionEntry entries[] = {
        { "kernel", 0, 0, G_OPTION_ARG_FILENAME, &config.kernel,
          "the guests' kernel", "FILE" },
        { "initrd", 0, 0, G_OPTION_ARG_FILENAME, &config.initrd,
          "the guests' initramfs", "FILE" },
        { "migrations", 0, 0, G_OPTION_ARG_INT, &migrations,
          "how many (20)", "N" },
        { "seed", 0, 0, G_OPTION_ARG_INT, &seed,
          "of the random tours (1)", "N" },
        { "tour", 0, 0, G_OPTION_ARG_INT, &first,
          "the first tour's number (0)", "N" },
        { "backend", 0, 0, G_OPTION_ARG_STRING, &backend,
          "kind of all guests' memory, see postern/soak-plan.c", "NAME" },
        { "trouble", 0, 0, G_OPTION_ARG_STRING, &trouble,
          "kind of all troubles, see postern/soak-plan.c", "NAME" },
        { "no-preempt", 0, 0, G_OPTION_ARG_NONE, &no_preempt,
          "do not use postcopy-preempt", NULL },
        { "qemu", 0, 0, G_OPTION_ARG_FILENAME, &qemu,
          "QEMU to use (QTEST_QEMU_BINARY)", "FILE" },
        { NULL }
    };
    g_autoptr(GOptionContext) context =
        g_option_context_new("- randomized migrations of guests, with failures");
    g_autoptr(GError) err = NULL;

    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &err)) {
        fprintf(stderr, "postern-soak: %s\n", err->message);
        return EXIT_FAILURE;
    }
    if (!config.kernel || !config.initrd || migrations <= 0 || seed < 0 ||
        first < 0) {
        fprintf(stderr, "postern-soak: needs --kernel and --initrd, "
                "--migrations above 0, --seed and --tour not below 0\n");
        return EXIT_FAILURE;
    }
    if (!postern_soak_narrow(&(PosternTour) { 0 }, backend, trouble,
                             no_preempt)) {
        fprintf(stderr, "postern-soak: no such back end, or trouble\n");
        return EXIT_FAILURE;
    }
    if (qemu) {
        g_setenv("QTEST_QEMU_BINARY", qemu, true);
    }
    counts = mmap(NULL, sizeof(*counts), PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (counts == MAP_FAILED) {
        fprintf(stderr, "postern-soak: no memory\n");
        return EXIT_FAILURE;
    }
    reserve_huge_pages();

    while (done < migrations) {
        PosternTour tour;
        unsigned number = first + tours++;

        postern_soak_plan(&tour, seed, number);
        wait_for_huge_pages();
        failed += !tour_make(seed, number, migrations - done);
        done += tour.nlegs;
        printf("-- %u of %d migrations, %u failed\n", MIN(done, migrations),
               migrations, failed);
        fflush(stdout);
    }
    return summary(tours, failed) ? EXIT_SUCCESS : EXIT_FAILURE;
}
