/*
 * The testbed's command line
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>

#include "options.h"

char *options_split_fetch(const char *fetch, const char **host)
{
    const char *equals = strchr(fetch, '=');

    if (!equals || equals == fetch || !equals[1]) {
        return NULL;
    }
    *host = equals + 1;
    return g_strndup(fetch, equals - fetch);
}

static gboolean options_check(Options *opts, GError **errp)
{
    const char *wrong = NULL;

    if (!opts->arch) {
        wrong = "--arch takes x86_64 or aarch64";
    } else if (opts->smp < 0 || opts->memory < 0) {
        wrong = "--smp and --memory take a number above 0";
    } else if (opts->timeout < 0) {
        wrong = "--timeout takes a number of seconds above 0";
    } else if (!opts->command && !opts->shell) {
        wrong = "no command given";
    }
    for (char **f = opts->fetch; !wrong && f && *f; f++) {
        const char *host;
        g_autofree char *l1 = options_split_fetch(*f, &host);

        if (!l1) {
            wrong = "--fetch takes L1PATH=HOSTPATH";
        }
    }
    if (wrong) {
        g_set_error_literal(errp, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                            wrong);
    }
    return !wrong;
}

gboolean options_parse(Options *opts, char **argv, GError **errp)
{
    g_autofree char *arch = NULL;
    const GOptionEntry entries[] = {
        { "arch", 0, 0, G_OPTION_ARG_STRING, &arch,
          "L1's architecture: x86_64 (default) or aarch64", "ARCH" },
        { "kernel", 0, 0, G_OPTION_ARG_FILENAME, &opts->kernel,
          "L1's kernel (default: the one built here)", "FILE" },
        { "initramfs", 0, 0, G_OPTION_ARG_FILENAME, &opts->initramfs,
          "L1's initramfs (likewise), for a kernel that needs modules", "FILE" },
        { "smp", 0, 0, G_OPTION_ARG_INT, &opts->smp,
          "CPUs of L1 (default: 1)", "N" },
        { "memory", 0, 0, G_OPTION_ARG_INT, &opts->memory,
          "memory of L1 (default: 2560)", "MIB" },
        { "icount", 0, 0, G_OPTION_ARG_NONE, &opts->icount,
          "L1's clock counts instructions, and no other program of this machine", NULL },
        { "timeout", 0, 0, G_OPTION_ARG_INT, &opts->timeout,
          "end after so long, whatever happens "
          "(default: 600; 24 hours for a shell)", "SECONDS" },
        { "append", 0, 0, G_OPTION_ARG_STRING, &opts->append,
          "more arguments for L1's kernel", "ARGS" },
        { "log", 0, 0, G_OPTION_ARG_FILENAME, &opts->log,
          "L1's console (default: a temporary file, kept on failure)",
          "FILE" },
        { "fetch", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &opts->fetch,
          "bring this file or folder back after the command",
          "L1PATH=HOSTPATH" },
        { "shell", 0, 0, G_OPTION_ARG_NONE, &opts->shell,
          "run COMMAND (default: a shell) on a terminal", NULL },
        { .long_name = NULL }
    };
    g_autoptr(GOptionContext) context =
        g_option_context_new("[--] COMMAND [ARG]...");
    g_auto(GStrv) rest = g_strdupv(argv);
    char **command = rest + 1;

    memset(opts, 0, sizeof(*opts));

    g_option_context_set_summary(context,
        "Runs COMMAND as root on L1, an emulated host with a real KVM, in this"
        " folder and\nwith this machine's programs, and ends with its status."
        " 124: it took too long;\n125: the testbed failed, not COMMAND."
        " On another architecture than this machine's,\nL1 has the commands"
        " of busybox, and COMMAND may be one of them or a program of\nthat"
        " architecture.");
    g_option_context_add_main_entries(context, entries, NULL);
    g_option_context_set_strict_posix(context, TRUE);
    if (!g_option_context_parse_strv(context, &rest, errp)) {
        return FALSE;
    }
    command = rest + 1;
    if (*command && !strcmp(*command, "--")) {
        command++;
    }
    opts->arch = arch_find(arch ?: "x86_64");
    opts->command = *command ? g_strdupv(command) : NULL;
    if (!opts->timeout) {
        opts->timeout = opts->shell ? 24 * 60 * 60 : 600;
    }
    return options_check(opts, errp);
}

void options_clear(Options *opts)
{
    g_free(opts->kernel);
    g_free(opts->initramfs);
    g_free(opts->append);
    g_free(opts->log);
    g_strfreev(opts->fetch);
    g_strfreev(opts->command);
    memset(opts, 0, sizeof(*opts));
}

gboolean options_need_l1(const Options *opts)
{
    return !opts->arch->native || opts->kernel || opts->initramfs ||
           opts->append || opts->icount || opts->smp;
}
