/*
 * L1: L0's command line, and the scripts and files that both exchange
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define _GNU_SOURCE
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <glib/gstdio.h>

#include "l1.h"

/* Other variables describe this machine, and are often wrong in L1. */
gboolean l1_passes_env(const char *name)
{
    static const char *const names[] = {
        "PATH", "HOME", "TERM", "LANG", "PYTHON"
    };
    static const char *const prefixes[] = {
        "POSTERN_", "QTEST_", "G_", "MALLOC_", "ASAN_", "UBSAN_"
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        if (!strcmp(name, names[i])) {
            return TRUE;
        }
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(prefixes); i++) {
        if (g_str_has_prefix(name, prefixes[i])) {
            return TRUE;
        }
    }
    return FALSE;
}

static gboolean l1_write(const L1 *l1, const char *name, GString *text,
                         GError **errp)
{
    g_autofree char *path = g_build_filename(l1->exchange, name, NULL);
    gboolean done = g_file_set_contents_full(path, text->str, text->len,
                                             G_FILE_SET_CONTENTS_NONE, 0755,
                                             errp);

    g_string_free(text, TRUE);
    return done;
}

static void append_quoted(GString *text, const char *word)
{
    g_autofree char *quoted = g_shell_quote(word);

    g_string_append_c(text, ' ');
    g_string_append(text, quoted);
}

static void append_cd(GString *text)
{
    g_autofree char *here = g_get_current_dir();

    g_string_append(text, "cd");
    append_quoted(text, here);
    g_string_append(text, " || exit 126\n");
}

static GString *l1_config(const L1 *l1, const Options *opts,
                          int rows, int columns)
{
    GString *text = g_string_new(NULL);

    g_string_printf(text, "mark=%s\n", l1->mark);
    if (opts->arch->sysroot) {
        g_autofree char *sysroot = g_shell_quote(opts->arch->sysroot);

        g_string_append_printf(text, "sysroot=%s\n", sysroot);
    }
    if (opts->shell) {
        g_string_append(text, "tty=y\n");
    }
    if (opts->shell && rows && columns) {
        g_string_append_printf(text, "rows=%d columns=%d\n", rows, columns);
    }
    return text;
}

/*
 * The shell stays the command's parent: its status for a command that a signal
 * ended is 128+N, as wanted, and a child of PID 1 would look orphaned.
 */
static GString *l1_script(const Options *opts)
{
    g_auto(GStrv) names = g_listenv();
    GString *text = g_string_new(NULL);

    g_string_printf(text, "#!%s\n", opts->arch->shell);
    for (char **name = names; *name; name++) {
        if (l1_passes_env(*name)) {
            g_autofree char *value = g_shell_quote(g_getenv(*name));

            g_string_append_printf(text, "export %s=%s\n", *name, value);
        }
    }
    append_cd(text);
    for (char **word = opts->command; *word; word++) {
        append_quoted(text, *word);
    }
    g_string_append(text, "\nexit\n");
    return text;
}

static GString *l1_fetch_script(const L1 *l1, const Options *opts)
{
    GString *text = g_string_new(NULL);

    append_cd(text);
    for (int i = 0; opts->fetch && opts->fetch[i]; i++) {
        const char *host;
        g_autofree char *path = options_split_fetch(opts->fetch[i], &host);

        g_string_append(text, "cp -rL --");
        append_quoted(text, path);
        g_string_append_printf(text, " /run/postern/fetched/%d\n", i);
    }
    return text;
}

gboolean l1_prepare(L1 *l1, const Options *opts, int rows, int columns,
                    GError **errp)
{
    g_autofree char *fetched = NULL;

    memset(l1, 0, sizeof(*l1));
    l1->dir = g_dir_make_tmp("postern-testbed-XXXXXX", errp);
    if (!l1->dir) {
        return FALSE;
    }
    l1->mark = g_uuid_string_random();
    l1->log = opts->log ? g_strdup(opts->log) :
              g_build_filename(l1->dir, "console.log", NULL);
    l1->exchange = g_build_filename(l1->dir, "exchange", NULL);
    fetched = g_build_filename(l1->exchange, "fetched", NULL);
    if (g_mkdir_with_parents(fetched, 0755)) {
        g_set_error(errp, G_FILE_ERROR, G_FILE_ERROR_FAILED,
                    "%s cannot be made", fetched);
        return FALSE;
    }
    return l1_write(l1, "config", l1_config(l1, opts, rows, columns), errp) &&
           l1_write(l1, "command", l1_script(opts), errp) &&
           l1_write(l1, "fetch", l1_fetch_script(l1, opts), errp);
}

static int remove_one(const char *path, const struct stat *st, int type,
                      struct FTW *ftw)
{
    return remove(path);
}

void l1_clear(L1 *l1, gboolean keep)
{
    if (l1->dir && !keep) {
        nftw(l1->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    } else if (l1->exchange) {
        nftw(l1->exchange, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    }
    g_free(l1->dir);
    g_free(l1->exchange);
    g_free(l1->log);
    g_free(l1->mark);
}

/* A comma ends an option's value, unless it is doubled. */
static char *qemu_value(const char *value)
{
    g_auto(GStrv) parts = g_strsplit(value, ",", -1);

    return g_strjoinv(",,", parts);
}

char **l1_qemu(const L1 *l1, const Options *opts, int stream_fd, gboolean kvm)
{
    g_autofree char *exchange = qemu_value(l1->exchange);
    g_autofree char *log = qemu_value(l1->log);
    GPtrArray *args = g_ptr_array_new();
    const Arch *arch = opts->arch;
    int smp = opts->smp ?: 1;

#define ADD(...) g_ptr_array_add(args, g_strdup_printf(__VA_ARGS__))
    ADD("%s", g_getenv("POSTERN_L0_QEMU") ?: arch->qemu);
    ADD("-nodefaults");
    ADD("-no-user-config");
    ADD("-no-reboot"); /* L0 ends when L1 panics or resets */
    ADD("-display");
    ADD("none");
    ADD("-M");
    ADD("%s", arch->machine);
    ADD("-smp");
    ADD("%d", smp);
    ADD("-m");
    ADD("%d", opts->memory ?: 2560);

    ADD("-accel");
    if (kvm) {
        ADD("kvm");
    } else if (smp > 1 && !opts->icount) {
        ADD("tcg,thread=multi");
    } else {
        ADD("tcg,thread=single");
    }
    ADD("-cpu");
    ADD("%s", kvm ? "host" : arch->cpu);
    if (opts->icount) {
        ADD("-icount");
        ADD("shift=0,sleep=off");
    }

    ADD("-kernel");
    ADD("%s", opts->kernel ?: arch->kernel);
    ADD("-initrd");
    ADD("%s", opts->initramfs ?: arch->initramfs);
    ADD("-append");
    ADD("console=%s panic=-1 oops=panic %s %s", arch->console, arch->append,
        opts->append ?: "");

    ADD("-chardev");
    ADD("file,id=console,append=on,path=%s", log);
    ADD("-serial");
    ADD("chardev:console");
    ADD("-chardev");
    ADD("socket,id=stream,fd=%d", stream_fd);
    ADD("-device");
    ADD("virtio-serial-pci");
    ADD("-device");
    ADD("%s,chardev=stream", opts->shell ? "virtconsole" :
                             "virtserialport,nr=1,name=postern.stream");

    /* With several file systems below /, inode numbers may clash: remap. */
    ADD("-fsdev");
    ADD("local,id=root,path=/,security_model=none,readonly=on,"
        "multidevs=remap");
    ADD("-device");
    ADD("virtio-9p-pci,fsdev=root,mount_tag=root");
    ADD("-fsdev");
    ADD("local,id=exchange,path=%s,security_model=none", exchange);
    ADD("-device");
    ADD("virtio-9p-pci,fsdev=exchange,mount_tag=exchange");
#undef ADD

    g_ptr_array_add(args, NULL);
    return (char **)g_ptr_array_free(args, FALSE);
}

gboolean l1_fetch(const L1 *l1, const Options *opts, GError **errp)
{
    gboolean all = TRUE;

    for (int i = 0; opts->fetch && opts->fetch[i]; i++) {
        const char *host;
        g_autofree char *path = options_split_fetch(opts->fetch[i], &host);
        g_autofree char *from = l1 ?
            g_strdup_printf("%s/fetched/%d", l1->exchange, i) :
            g_strdup(path);
        const char *const cp[] = { "cp", "-rTL", "--", from, host, NULL };
        g_autoptr(GError) err = NULL;
        int status;

        if (!g_spawn_sync(NULL, (char **)cp, NULL, G_SPAWN_SEARCH_PATH, NULL,
                          NULL, NULL, NULL, &status, &err) ||
            !g_spawn_check_wait_status(status, &err)) {
            g_clear_error(errp);
            g_set_error(errp, G_FILE_ERROR, G_FILE_ERROR_FAILED,
                        "%s was not fetched: %s", path, err->message);
            all = FALSE;
        }
    }
    return all;
}
