/*
 * postern-test: the messages of QEMUs, for the log of a failed test
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "migration/framework.h"
#include "messages.h"
#include "vcpus.h"

/*
 * The messages of both QEMUs.  Many of them are expected, so they are printed
 * only if the test fails.
 */
static int messages = -1;

static void show_lines(const char *text)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

    for (char **line = lines; *line; line++) {
        g_test_message("%s", g_strchomp(*line));
    }
}

/* Returns the end of the messages, to be freed */
static char *last_messages(void)
{
    char *text = g_malloc0(16 * KiB);
    off_t size = lseek(messages, 0, SEEK_END);

    if (pread(messages, text, 16 * KiB - 1, MAX(0, size - 16 * KiB + 1)) < 0) {
        text[0] = '\0';
    }
    return text;
}

bool has_said(const char *what)
{
    g_autofree char *text = last_messages();

    return strstr(text, what);
}

/* Called if a test fails or a QEMU dies */
static void show_messages(void *unused)
{
    if (messages >= 0) {
        g_autofree char *text = last_messages();

        show_lines(text);
        close(messages);
        messages = -1;
    }
}

void messages_show_state(QTestState *who)
{
    g_autofree char *migration = NULL, *vcpus = NULL;

    /* Its monitor may hang, so show each result at once */
    show_messages(NULL);
    migration = qtest_hmp(who, "info migrate");
    show_lines(migration);
    vcpus = postern_vcpus_describe(who);
    show_lines(vcpus);
}

char *watch_messages(void)
{
    char *path = g_strdup_printf("%s/messages", migration_get_env()->tmpfs);
    static bool watched;

    if (!watched) {
        qtest_add_abrt_handler(show_messages, NULL);
        watched = true;
    }
    if (messages >= 0) {
        close(messages);
    }
    messages = open(path, O_RDONLY | O_CREAT | O_CLOEXEC, 0600);
    g_assert_cmpint(messages, >=, 0);
    return path;
}
