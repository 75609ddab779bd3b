/*
 * What Postern's programs share: steps with a time limit, and failure with a
 * reason
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "libqtest.h"
#include "program.h"
#include "qemu/atomic.h"

static const char *program_name;
static int64_t started;
static int step_limit_s;
static void (*program_cleanup)(const char *reason);

/* The current step and its deadline, for the watchdog */
static const char *step = "start";
static int step_deadline_s;

static double elapsed_s(void)
{
    return (g_get_monotonic_time() - started) / 1e6;
}

void postern_program_step(const char *fmt, ...)
{
    g_autofree char *text = NULL;
    va_list ap;

    va_start(ap, fmt);
    text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    qatomic_set(&step, g_intern_string(text));
    qatomic_set(&step_deadline_s, elapsed_s() + step_limit_s);
    printf("[%6.1f s] %s\n", elapsed_s(), step);
    fflush(stdout);
}

void postern_program_fail(const char *reason)
{
    fflush(stdout);
    program_cleanup(reason);
    fprintf(stderr, "%s: FAILED: %s\n", program_name, reason);
    _exit(EXIT_FAILURE);
}

void postern_program_fail_if(Error *err)
{
    if (err) {
        postern_program_fail(error_get_pretty(err));
    }
}

static void on_abort(int signum)
{
    g_autofree char *reason =
        g_strdup_printf("a QEMU died during: %s", step);

    postern_program_fail(reason);
}

static void do_nothing(void *unused)
{
}

/* libqtest logs each command line with g_print(), for TAP */
static void print_nothing(const char *text)
{
}

/*
 * libqtest aborts if QEMU dies, and its handler then waits for each QEMU to
 * exit.  A permanent hook keeps libqtest from replacing our handler with that
 * one.
 */
void postern_program_take_abort(void (*handler)(int signum))
{
    struct sigaction action = {
        .sa_handler = handler,
        .sa_flags = SA_RESETHAND,
    };

    g_set_print_handler(print_nothing);
    qtest_add_abrt_handler(do_nothing, NULL);
    sigaction(SIGABRT, &action, NULL);
}

void postern_program_show_log(const char *path)
{
    g_autofree char *text = NULL;

    if (g_file_get_contents(path, &text, NULL, NULL)) {
        fputs(text, stderr);
    }
}

/* libqtest waits for ever for the answer of a QEMU that hangs */
static void *watch_over(void *unused)
{
    g_autofree char *reason = NULL;

    while (elapsed_s() < qatomic_read(&step_deadline_s)) {
        g_usleep(G_USEC_PER_SEC);
    }
    reason = g_strdup_printf("a QEMU does not answer, stuck in: %s",
                             qatomic_read(&step));
    postern_program_fail(reason);
}

void postern_program_init(const char *name, unsigned limit_s,
                          void (*cleanup)(const char *reason))
{
    program_name = name;
    program_cleanup = cleanup;
    step_limit_s = limit_s;
    step_deadline_s = limit_s;
    started = g_get_monotonic_time();
    postern_program_take_abort(on_abort);
    g_thread_unref(g_thread_new("watchdog", watch_over, NULL));
}
