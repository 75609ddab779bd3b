/*
 * The testbed: run a command on L1, an emulated host with a real KVM
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <gio/gio.h>
#include <glib-unix.h>

#include "l1.h"
#include "outcome.h"
#include "options.h"
#include "probe.h"
#include "stream.h"

#define STREAM_FD       3       /* L0's end of the stream, in L0 */
#define TERMINAL_END    0x1d    /* Ctrl-] ends L1, whatever runs there */

typedef struct Testbed {
    Options opts;
    L1 l1;
    Outcome outcome;
    GMainLoop *loop;
    GSubprocess *child;         /* L0, or the command itself */
    gboolean direct;            /* child is the command itself */
    pid_t group;                /* child's own process group, or 0 */
    gint64 deadline;
    int stream_fd;
    gboolean stream_ended;
    Stream stream;
    gboolean keep_log;
    gboolean raw;               /* our terminal is in raw mode */
    struct termios terminal;    /* its mode before that */
} Testbed;

static void say(const char *format, ...) G_GNUC_PRINTF(1, 2);

static void say(const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    fprintf(stderr, "testbed: %s\n", text);
}

static void terminal_raw(Testbed *t)
{
    struct termios raw;

    if (tcgetattr(STDIN_FILENO, &t->terminal)) {
        return;
    }
    raw = t->terminal;
    cfmakeraw(&raw);
    t->raw = !tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
}

static void terminal_restore(Testbed *t)
{
    if (t->raw) {
        tcsetattr(STDIN_FILENO, TCSADRAIN, &t->terminal);
        t->raw = FALSE;
    }
}

static void testbed_signal(Testbed *t, int signal)
{
    t->outcome.signal = signal;
    g_main_loop_quit(t->loop);
}

static gboolean on_sigint(void *opaque)
{
    testbed_signal(opaque, SIGINT);
    return G_SOURCE_CONTINUE;
}

static gboolean on_sigterm(void *opaque)
{
    testbed_signal(opaque, SIGTERM);
    return G_SOURCE_CONTINUE;
}

static gboolean on_sighup(void *opaque)
{
    testbed_signal(opaque, SIGHUP);
    return G_SOURCE_CONTINUE;
}

static gboolean on_timeout(void *opaque)
{
    Testbed *t = opaque;

    t->outcome.timed_out = TRUE;
    g_main_loop_quit(t->loop);
    return G_SOURCE_CONTINUE;
}

/* Ends in time even if the reader of our output is stuck. */
static void on_output(const char *data, gsize len, void *opaque)
{
    Testbed *t = opaque;

    while (len) {
        gint64 left = MAX(t->deadline - g_get_monotonic_time(), 0) / 1000;
        struct pollfd out = { .fd = STDOUT_FILENO, .events = POLLOUT };
        ssize_t n;

        if (!poll(&out, 1, left)) {
            return;
        }
        n = write(STDOUT_FILENO, data, MIN(len, PIPE_BUF));
        if (n < 0 && errno != EINTR && errno != EAGAIN) {
            testbed_signal(t, SIGPIPE);
            return;
        }
        data += MAX(n, 0);
        len -= MAX(n, 0);
    }
}

/*
 * A terminal's Ctrl-D ends a single read, and is lost if the terminal changes
 * its mode before that. Our end of input is final, so repeat it.
 */
static gboolean on_end_of_input(void *opaque)
{
    Testbed *t = opaque;
    struct pollfd stream = { .fd = t->stream_fd, .events = POLLOUT };

    if (poll(&stream, 1, 0) == 1 && write(t->stream_fd, "\4", 1) < 0) {
        return G_SOURCE_REMOVE;
    }
    return G_SOURCE_CONTINUE;
}

/* L1 may be slow in reading the stream, so write little at a time. */
static gboolean on_stdin(int fd, GIOCondition condition, void *opaque)
{
    Testbed *t = opaque;
    struct pollfd stream = { .fd = t->stream_fd, .events = POLLOUT };
    char data[256];
    ssize_t len;

    if (!poll(&stream, 1, 0)) {
        g_usleep(1000);
        return G_SOURCE_CONTINUE;
    }
    len = read(fd, data, sizeof(data));
    if (t->raw && len > 0 && memchr(data, TERMINAL_END, len)) {
        testbed_signal(t, SIGINT);
        return G_SOURCE_REMOVE;
    }
    if (len <= 0) {
        g_timeout_add(200, on_end_of_input, t);
        return G_SOURCE_REMOVE;
    }
    return write(t->stream_fd, data, len) == len;
}

static void on_news(const char *text, void *opaque)
{
    Testbed *t = opaque;

    if (!strcmp(text, "run")) {
        t->outcome.started = TRUE;
        if (t->opts.shell) {
            terminal_raw(t);
            g_unix_fd_add(STDIN_FILENO, G_IO_IN | G_IO_HUP, on_stdin, t);
        }
    } else if (sscanf(text, "exit %d", &t->outcome.status) == 1) {
        g_main_loop_quit(t->loop);
    }
}

static void testbed_check_ended(Testbed *t)
{
    if (t->outcome.l0_ended && t->stream_ended) {
        g_main_loop_quit(t->loop);
    }
}

static gboolean on_stream(int fd, GIOCondition condition, void *opaque)
{
    Testbed *t = opaque;
    char data[65536];
    ssize_t len = read(fd, data, sizeof(data));

    if (len > 0) {
        stream_feed(&t->stream, data, len);
        return G_SOURCE_CONTINUE;
    }
    if (len < 0 && (errno == EINTR || errno == EAGAIN)) {
        return G_SOURCE_CONTINUE;
    }
    t->stream_ended = TRUE;
    testbed_check_ended(t);
    return G_SOURCE_REMOVE;
}

static void on_child_end(GObject *child, GAsyncResult *result, void *opaque)
{
    Testbed *t = opaque;

    if (!g_subprocess_wait_finish(t->child, result, NULL)) {
        return;
    }
    t->outcome.l0_wait_status = g_subprocess_get_status(t->child);
    t->outcome.l0_ended = TRUE;
    testbed_check_ended(t);
}

/* Runs in the child, which ends with us, however we end. */
static void child_setup(void *opaque)
{
    Testbed *t = opaque;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_DFL);
    /* L0 must not receive the terminal's Ctrl-C, which is for the harness. */
    if (!t->direct || !t->opts.shell) {
        setpgid(0, 0);
    }
}

static gboolean testbed_spawn_l0(Testbed *t, gboolean kvm, GError **errp)
{
    g_autoptr(GSubprocessLauncher) launcher =
        g_subprocess_launcher_new(G_SUBPROCESS_FLAGS_NONE);
    g_auto(GStrv) argv = l1_qemu(&t->l1, &t->opts, STREAM_FD, kvm);
    int fds[2], log;

    log = open(t->l1.log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC,
               0644);
    if (log < 0) {
        g_set_error(errp, G_FILE_ERROR, G_FILE_ERROR_FAILED, "%s: %s",
                    t->l1.log, g_strerror(errno));
        return FALSE;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds)) {
        g_error("socketpair: %s", g_strerror(errno));
    }
    t->stream_fd = fds[0];
    g_subprocess_launcher_take_fd(launcher, fds[1], STREAM_FD);
    g_subprocess_launcher_take_stdout_fd(launcher, dup(log));
    g_subprocess_launcher_take_stderr_fd(launcher, log);
    g_subprocess_launcher_set_child_setup(launcher, child_setup, t, NULL);
    t->child = g_subprocess_launcher_spawnv(launcher,
                                            (const char *const *)argv, errp);
    if (!t->child) {
        return FALSE;
    }
    stream_init(&t->stream, t->l1.mark);
    t->stream.output = on_output;
    t->stream.news = on_news;
    t->stream.opaque = t;
    g_unix_fd_add(t->stream_fd, G_IO_IN | G_IO_HUP, on_stream, t);
    return TRUE;
}

static gboolean testbed_spawn_direct(Testbed *t, GError **errp)
{
    g_autoptr(GSubprocessLauncher) launcher =
        g_subprocess_launcher_new(t->opts.shell ?
                                  G_SUBPROCESS_FLAGS_STDIN_INHERIT :
                                  G_SUBPROCESS_FLAGS_NONE);

    g_subprocess_launcher_set_child_setup(launcher, child_setup, t, NULL);
    if (!t->opts.shell) {
        g_subprocess_launcher_take_stderr_fd(launcher, dup(STDOUT_FILENO));
    }
    t->child = g_subprocess_launcher_spawnv(
        launcher, (const char *const *)t->opts.command, errp);
    t->outcome.started = t->stream_ended = TRUE;
    if (t->child && !t->opts.shell) {
        t->group = atoi(g_subprocess_get_identifier(t->child));
    }
    return t->child != NULL;
}

static gboolean testbed_start(Testbed *t, GError **errp)
{
    struct winsize size = { 0 };
    const char *why_not;
    gboolean kvm;

    t->direct = !options_need_l1(&t->opts) && probe_userfault() &&
                probe_kvm(&why_not);
    if (t->direct) {
        say("no L1: this machine's own kernel has KVM userfault");
        return testbed_spawn_direct(t, errp);
    }
    if (t->opts.icount) {
        kvm = FALSE;
        why_not = "instructions are counted";
    } else if (!t->opts.arch->native) {
        kvm = FALSE;
        why_not = "this machine is of another architecture";
    } else {
        kvm = probe_nested(&why_not);
    }
    if (kvm) {
        say("L1 on KVM");
    } else {
        say("L1 on TCG, since %s", why_not);
    }
    if (t->opts.shell) {
        say("Ctrl-] ends L1");
    }
    ioctl(STDIN_FILENO, TIOCGWINSZ, &size);
    return l1_prepare(&t->l1, &t->opts, size.ws_row, size.ws_col, errp) &&
           testbed_spawn_l0(t, kvm, errp);
}

/* Ends only what we started: L0, or the command with its children. */
static void testbed_end_child(Testbed *t)
{
    /* The command's children may outlive it. */
    if (t->group) {
        kill(-t->group, SIGKILL);
    }
    g_subprocess_force_exit(t->child);
    g_subprocess_wait(t->child, NULL, NULL);
}

static int testbed_run(Testbed *t)
{
    g_autofree char *console = NULL, *words = NULL, *why = NULL;
    g_autoptr(GError) err = NULL;
    int status;

    if (!testbed_start(t, &err)) {
        say("%s", err->message);
        return OUTCOME_TESTBED_FAILED;
    }
    t->deadline = g_get_monotonic_time() +
                  t->opts.timeout * G_TIME_SPAN_SECOND;
    g_timeout_add_seconds(t->opts.timeout, on_timeout, t);
    g_subprocess_wait_async(t->child, NULL, on_child_end, t);
    g_main_loop_run(t->loop);
    testbed_end_child(t);
    terminal_restore(t);

    if (t->direct && t->outcome.l0_ended) {
        int ended = t->outcome.l0_wait_status;

        t->outcome.status = WIFSIGNALED(ended) ? 128 + WTERMSIG(ended) :
                            WEXITSTATUS(ended);
    } else if (!t->direct &&
               g_file_get_contents(t->l1.log, &console, NULL, NULL)) {
        t->outcome.last_words = words = outcome_last_words(console);
    }
    status = outcome_status(&t->outcome, &why);
    if (why) {
        t->keep_log = !t->direct && !t->outcome.signal;
        say("%s%s%s", why, t->keep_log ? "; L1's console: " : "",
            t->keep_log ? t->l1.log : "");
    } else if (!l1_fetch(t->direct ? NULL : &t->l1, &t->opts, &err)) {
        say("%s", err->message);
        status = status ?: OUTCOME_TESTBED_FAILED;
    }
    return status;
}

/* With input from a pipe, bash would change the terminal's mode. */
static char **default_shell(const Options *opts)
{
    g_autofree char *bash = g_find_program_in_path("bash");
    const char *const shell[] = {
        bash && opts->arch->native && isatty(STDIN_FILENO) ? bash : "sh", NULL
    };

    return g_strdupv((char **)shell);
}

int main(int argc, char **argv)
{
    Testbed t = { .outcome.status = -1 };
    g_autoptr(GError) err = NULL;
    int status;

    if (!options_parse(&t.opts, argv, &err)) {
        say("%s", err->message);
        return OUTCOME_TESTBED_FAILED;
    }
    if (!t.opts.command) {
        t.opts.command = default_shell(&t.opts);
    }
    t.outcome.timeout = t.opts.timeout;
    signal(SIGPIPE, SIG_IGN);
    t.loop = g_main_loop_new(NULL, FALSE);
    g_unix_signal_add(SIGINT, on_sigint, &t);
    g_unix_signal_add(SIGTERM, on_sigterm, &t);
    g_unix_signal_add(SIGHUP, on_sighup, &t);

    status = testbed_run(&t);

    l1_clear(&t.l1, t.keep_log && !t.opts.log);
    stream_clear(&t.stream);
    options_clear(&t.opts);
    g_clear_object(&t.child);
    g_main_loop_unref(t.loop);
    return status;
}
