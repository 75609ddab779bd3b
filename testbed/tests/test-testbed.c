/*
 * Tests of the harness with a real L1: test-testbed TESTBED ARCH [KVM-WORKS]
 *
 * Without KVM-WORKS, L1 does not run this machine's programs. Cases that are
 * about the harness alone, whatever its L1, are left out then.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <gio/gio.h>
#include <glib/gstdio.h>

static const char *testbed, *arch, *kvm_works;

typedef struct Run {
    GSubprocess *process;
    char *output, *errors;
    int status;
} Run;

/* Much less than our own timeout: L0 must not outlive a failed test. */
#define TIMEOUT "--timeout=120"

/* --smp requires L1, even if this machine has KVM userfault itself. */
static void run_start(Run *run, const char *const *args)
{
    g_autoptr(GPtrArray) argv = g_ptr_array_new();
    g_autofree char *arch_option = g_strconcat("--arch=", arch, NULL);
    GError *err = NULL;

    g_ptr_array_add(argv, (char *)testbed);
    g_ptr_array_add(argv, arch_option);
    g_ptr_array_add(argv, (char *)"--smp=1");
    g_ptr_array_add(argv, (char *)TIMEOUT);
    for (; *args; args++) {
        g_ptr_array_add(argv, (char *)*args);
    }
    g_ptr_array_add(argv, NULL);
    run->process = g_subprocess_newv((const char *const *)argv->pdata,
                                     G_SUBPROCESS_FLAGS_STDIN_PIPE |
                                     G_SUBPROCESS_FLAGS_STDOUT_PIPE |
                                     G_SUBPROCESS_FLAGS_STDERR_PIPE, &err);
    g_assert_no_error(err);
}

static void run_end(Run *run, const char *input)
{
    GError *err = NULL;

    g_subprocess_communicate_utf8(run->process, input, NULL, &run->output,
                                  &run->errors, &err);
    g_assert_no_error(err);
    g_assert_true(g_subprocess_get_if_exited(run->process));
    run->status = g_subprocess_get_exit_status(run->process);
    g_test_message("status %d", run->status);
    g_test_message("%.2000s%s", run->output, run->errors);
}

static void run_clear(Run *run)
{
    g_object_unref(run->process);
    g_free(run->output);
    g_free(run->errors);
}

#define START(run, ...) \
    run_start(run, (const char *const []) { __VA_ARGS__, NULL })

/* The process ID of the harness's child, L0; 0 if there is none. */
static pid_t run_l0(Run *run)
{
    const char *harness = g_subprocess_get_identifier(run->process);
    g_autoptr(GDir) proc = g_dir_open("/proc", 0, NULL);
    const char *pid;

    while ((pid = g_dir_read_name(proc))) {
        g_autofree char *path = g_strdup_printf("/proc/%s/stat", pid);
        g_autofree char *stat = NULL;
        int parent;

        /* The name, in brackets, may contain anything: begin after it. */
        if (g_ascii_isdigit(*pid) &&
            g_file_get_contents(path, &stat, NULL, NULL) &&
            sscanf(strrchr(stat, ')'), ") %*c %d", &parent) == 1 &&
            parent == atoi(harness)) {
            return atoi(pid);
        }
    }
    return 0;
}

/* Returns once the command in L1 has written something. */
static void run_wait_output(Run *run)
{
    GInputStream *output = g_subprocess_get_stdout_pipe(run->process);
    char byte;

    g_assert_cmpint(g_input_stream_read(output, &byte, 1, NULL, NULL), ==, 1);
}

static void test_status(void)
{
    Run run;

    START(&run, "--", "sh", "-c", "echo out; echo err >&2; exit 7");
    run_end(&run, NULL);
    g_assert_cmpint(run.status, ==, 7);
    g_assert_cmpstr(run.output, ==, "out\nerr\n");
    run_clear(&run);
}

static void test_signalled(void)
{
    Run run;

    START(&run, "sh", "-c", "kill -SEGV $$");
    run_end(&run, NULL);
    g_assert_cmpint(run.status, ==, 128 + SIGSEGV);
    run_clear(&run);
}

/* A long output is complete, even if a process still holds it open. */
static void test_output(void)
{
    Run run;

    START(&run, "sh", "-c", "sleep 1000 & seq 200000; printf end");
    run_end(&run, NULL);
    g_assert_cmpint(run.status, ==, 0);
    g_assert_cmpuint(strlen(run.output), ==, 1288895 + 3);
    g_assert_true(g_str_has_suffix(run.output, "\n200000\nend"));
    run_clear(&run);
}

static void test_place(void)
{
    g_autofree char *here = g_get_current_dir();
    g_autofree char *expected = g_strdup_printf("%s 0 it's\n", here);
    Run run;

    START(&run, "sh", "-c", "echo $PWD $(id -u) \"$POSTERN_TEST\"");
    run_end(&run, NULL);
    g_assert_cmpstr(run.output, ==, expected);
    run_clear(&run);
}

/*
 * With --icount, L0 leaves its loop of instructions in the middle of L2's interrupt
 * handler.  With two CPUs, one of them uses KVM, the other one its FPU.
 */
static void test_kvm(const void *option)
{
    Run run;

    START(&run, option, kvm_works);
    run_end(&run, NULL);
    g_assert_cmpint(run.status, ==, 0);
    run_clear(&run);
}

/* The device exists only if the CPU has what KVM needs. */
static void test_kvm_device(void)
{
    Run run;

    START(&run, "test", "-c", "/dev/kvm");
    run_end(&run, NULL);
    g_assert_cmpint(run.status, ==, 0);
    run_clear(&run);
}

/* Waits until L1 has measured its TSC again, and prints the result */
#define MEASURE_TSC \
    "while grep -q early" \
    "  /sys/devices/system/clocksource/clocksource0/current_clocksource;" \
    "do sleep 1; done;" \
    "dmesg | grep -o 'Refined TSC.*'"

/*
 * L1 first takes its TSC for faster or slower than it later measures it to be,
 * as on a busy machine
 */
static void test_tsc(void)
{
    double mhz;
    Run run;

    START(&run, "--", "sh", "-c", MEASURE_TSC);
    run_end(&run, NULL);
    if (sscanf(run.output, "Refined TSC clocksource calibration: %lf MHz",
               &mhz) != 1) {
        run_clear(&run);
        g_test_skip("L1 does not use a second measurement of its TSC");
        return;
    }
    run_clear(&run);

    for (int khz_per_mhz = 995; khz_per_mhz <= 1005; khz_per_mhz += 10) {
        g_autofree char *append = g_strdup_printf("--append=tsc_early_khz=%.0f",
                                                  mhz * khz_per_mhz);

        START(&run, append, "--", "sh", "-c", MEASURE_TSC " && exec \"$0\"",
              kvm_works);
        run_end(&run, NULL);
        g_assert_cmpint(run.status, ==, 0);
        run_clear(&run);
    }
}

static void test_smp(void)
{
    Run run;

    START(&run, "--smp=2", "nproc");
    run_end(&run, NULL);
    g_assert_cmpint(run.status, ==, 0);
    g_assert_cmpstr(run.output, ==, "2\n");
    run_clear(&run);
}

/*
 * The timeout includes the boot.  If a busy machine takes all of it for that,
 * try again with enough.
 */
static void test_timeout(void)
{
    int seconds = 30;
    bool too_short;

    do {
        g_autofree char *timeout = g_strdup_printf("--timeout=%d", seconds);
        gint64 began = g_get_monotonic_time();
        Run run;

        START(&run, timeout, "sleep", "1000");
        run_end(&run, NULL);
        too_short = seconds == 30 && run.status == 125 &&
                    strstr(run.errors, "did not come as far as the command");
        if (!too_short) {
            g_assert_cmpint(run.status, ==, 124);
        }
        g_assert_cmpint(g_get_monotonic_time() - began, <,
                        (seconds + 5) * G_TIME_SPAN_SECOND);
        run_clear(&run);
        seconds = 120;
    } while (too_short);
}

static void test_panic(void)
{
    Run run;

    START(&run, "sh", "-c", "echo c >/proc/sysrq-trigger");
    run_end(&run, NULL);
    g_assert_cmpint(run.status, ==, 125);
    g_assert_nonnull(strstr(run.errors, "Kernel panic"));
    run_clear(&run);
}

static void test_reset(void)
{
    Run run;

    START(&run, "sh", "-c", "echo b >/proc/sysrq-trigger");
    run_end(&run, NULL);
    g_assert_cmpint(run.status, ==, 125);
    g_assert_nonnull(strstr(run.errors, "reset or powered off"));
    run_clear(&run);
}

static void test_no_boot(void)
{
    Run run;

    START(&run, "--append=rdinit=/nothing", "true");
    run_end(&run, NULL);
    g_assert_cmpint(run.status, ==, 125);
    g_assert_nonnull(strstr(run.errors, "before the command started"));
    run_clear(&run);
}

static void test_l0_killed(void)
{
    Run run;

    START(&run, "sh", "-c", "echo x; exec sleep 1000");
    run_wait_output(&run);
    kill(run_l0(&run), SIGKILL);
    run_end(&run, NULL);
    g_assert_cmpint(run.status, ==, 125);
    g_assert_nonnull(strstr(run.errors, "died by signal 9"));
    run_clear(&run);
}

static void test_harness_killed(void)
{
    pid_t l0;
    Run run;

    START(&run, "sh", "-c", "echo x; exec sleep 1000");
    run_wait_output(&run);
    l0 = run_l0(&run);
    g_assert_cmpint(l0, >, 0);
    g_subprocess_force_exit(run.process);
    g_subprocess_wait(run.process, NULL, NULL);
    for (int i = 0; i < 50 && !kill(l0, 0); i++) {
        g_usleep(100000);
    }
    g_assert_cmpint(kill(l0, 0), ==, -1);
    g_object_unref(run.process);
}

static void test_interrupted(void)
{
    pid_t l0;
    Run run;

    START(&run, "sh", "-c", "echo x; exec sleep 1000");
    run_wait_output(&run);
    l0 = run_l0(&run);
    g_subprocess_send_signal(run.process, SIGTERM);
    run_end(&run, NULL);
    g_assert_cmpint(run.status, ==, 128 + SIGTERM);
    g_assert_cmpint(kill(l0, 0), ==, -1);
    run_clear(&run);
}

static void test_fetch(void)
{
    g_autofree char *dir = g_dir_make_tmp("postern-test-XXXXXX", NULL);
    g_autofree char *file = g_build_filename(dir, "file", NULL);
    g_autofree char *tree = g_build_filename(dir, "tree", NULL);
    g_autofree char *in_tree = g_build_filename(tree, "a", NULL);
    g_autofree char *want_file = g_strdup_printf("--fetch=/made=%s", file);
    g_autofree char *want_tree = g_strdup_printf("--fetch=/run/tree=%s", tree);
    g_autofree char *text = NULL, *text_in_tree = NULL;
    Run run;

    /* Files are fetched after a failed command, too: logs matter then. */
    START(&run, want_file, want_tree, "sh", "-c",
          "echo 1 >/made; mkdir /run/tree; echo 2 >/run/tree/a; exit 3");
    run_end(&run, NULL);
    g_assert_cmpint(run.status, ==, 3);
    g_file_get_contents(file, &text, NULL, NULL);
    g_assert_cmpstr(text, ==, "1\n");
    g_file_get_contents(in_tree, &text_in_tree, NULL, NULL);
    g_assert_cmpstr(text_in_tree, ==, "2\n");
    /* L1's writes stay in L1. */
    g_assert_false(g_file_test("/made", G_FILE_TEST_EXISTS));
    run_clear(&run);

    g_unlink(in_tree);
    g_rmdir(tree);
    g_unlink(file);
    g_rmdir(dir);
}

static void test_fetch_missing(void)
{
    Run run;

    START(&run, "--fetch=/nothing=/dev/null", "true");
    run_end(&run, NULL);
    g_assert_cmpint(run.status, ==, 125);
    g_assert_nonnull(strstr(run.errors, "/nothing was not fetched"));
    run_clear(&run);
}

static void test_two_at_once(void)
{
    Run one, two;

    START(&one, "sh", "-c", "sleep 1; echo one; exit 1");
    START(&two, "sh", "-c", "sleep 1; echo two; exit 2");
    run_end(&one, NULL);
    run_end(&two, NULL);
    g_assert_cmpint(one.status, ==, 1);
    g_assert_cmpint(two.status, ==, 2);
    g_assert_cmpstr(one.output, ==, "one\n");
    g_assert_cmpstr(two.output, ==, "two\n");
    run_clear(&one);
    run_clear(&two);
}

static void test_shell(void)
{
    Run run;

    START(&run, "--shell");
    run_end(&run, "tty\necho $((6 * 7))\nexit 5\n");
    g_assert_cmpint(run.status, ==, 5);
    g_assert_nonnull(strstr(run.output, "/dev/hvc0\r\n"));
    g_assert_nonnull(strstr(run.output, "42\r\n"));
    run_clear(&run);
}

static void test_shell_end_of_input(void)
{
    Run run;

    START(&run, "--shell");
    run_end(&run, "false\n");
    g_assert_cmpint(run.status, ==, 1);
    run_clear(&run);
}

/* bash sets the terminal's mode again for each line. */
static void test_shell_bash(void)
{
    Run run;

    START(&run, "--shell", "--", "bash", "--norc");
    run_end(&run, "sleep 1\nfalse\n");
    g_assert_cmpint(run.status, ==, 1);
    run_clear(&run);
}

static void test_icount(void)
{
    Run run;

    START(&run, "--icount", "true");
    run_end(&run, NULL);
    g_assert_cmpint(run.status, ==, 0);
    run_clear(&run);
}

int main(int argc, char **argv)
{
    g_autofree char *dir = g_dir_make_tmp("postern-test-XXXXXX", NULL);
    const char *const remove[] = { "rm", "-rf", dir, NULL };
    int status;

    /* For the harness's temporary files, of which it leaves the logs. */
    g_setenv("TMPDIR", dir, TRUE);
    g_setenv("POSTERN_TEST", "it's", TRUE);
    g_test_init(&argc, &argv, NULL);
    g_assert_cmpint(argc, >=, 3);
    testbed = argv[1];
    arch = argv[2];
    kvm_works = argv[3];

    g_test_add_func("/testbed/status", test_status);
    g_test_add_func("/testbed/signalled", test_signalled);
    g_test_add_func("/testbed/output", test_output);
    g_test_add_func("/testbed/place", test_place);
    g_test_add_func("/testbed/timeout", test_timeout);
    g_test_add_func("/testbed/panic", test_panic);
    g_test_add_func("/testbed/reset", test_reset);
    g_test_add_func("/testbed/fetch", test_fetch);
    g_test_add_func("/testbed/smp", test_smp);
    g_test_add_func("/testbed/shell", test_shell);
    g_test_add_func("/testbed/icount", test_icount);
    if (kvm_works) {
        g_test_add_data_func("/testbed/kvm", "--smp=1", test_kvm);
        g_test_add_data_func("/testbed/kvm-icount", "--icount", test_kvm);
        g_test_add_data_func("/testbed/kvm-smp", "--smp=2", test_kvm);
        g_test_add_func("/testbed/tsc", test_tsc);
        g_test_add_func("/testbed/no-boot", test_no_boot);
        g_test_add_func("/testbed/l0-killed", test_l0_killed);
        g_test_add_func("/testbed/harness-killed", test_harness_killed);
        g_test_add_func("/testbed/interrupted", test_interrupted);
        g_test_add_func("/testbed/fetch-missing", test_fetch_missing);
        g_test_add_func("/testbed/two-at-once", test_two_at_once);
        g_test_add_func("/testbed/shell-end-of-input",
                        test_shell_end_of_input);
        g_test_add_func("/testbed/shell-bash", test_shell_bash);
    } else {
        g_test_add_func("/testbed/kvm-device", test_kvm_device);
    }
    status = g_test_run();

    g_spawn_sync(NULL, (char **)remove, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL,
                 NULL, NULL, NULL, NULL);
    return status;
}
