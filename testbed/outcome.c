/*
 * How a run in L1 ended, and what the testbed says about it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>
#include <sys/wait.h>

#include "outcome.h"

#define PANIC "Kernel panic"

static char *outcome_l0(const Outcome *o)
{
    int status = o->l0_wait_status;

    if (WIFSIGNALED(status)) {
        return g_strdup_printf("L0's QEMU died by signal %d",
                               WTERMSIG(status));
    }
    if (WEXITSTATUS(status)) {
        return g_strdup_printf("L0's QEMU exited with status %d (%s)",
                               WEXITSTATUS(status), o->last_words ?: "");
    }
    if (o->last_words && g_str_has_prefix(o->last_words, PANIC)) {
        return g_strdup_printf("L1's kernel panicked (%s)", o->last_words);
    }
    if (o->last_words && strstr(o->last_words, "terminating on signal")) {
        return g_strdup_printf("L0's QEMU was killed (%s)", o->last_words);
    }
    /* L0 only exits on its own if L1 resets or powers off. */
    return g_strdup("L1 reset or powered off");
}

int outcome_status(const Outcome *o, char **why)
{
    g_autofree char *l0 = NULL;

    *why = NULL;
    if (o->signal) {
        *why = g_strdup_printf("interrupted by signal %d", o->signal);
        return 128 + o->signal;
    }
    if (o->status >= 0) {
        return o->status;
    }
    if (o->timed_out && o->started) {
        *why = g_strdup_printf("timed out after %d s", o->timeout);
        return OUTCOME_TIMED_OUT;
    }
    if (o->timed_out) {
        *why = g_strdup_printf("L1 did not come as far as the command "
                               "within %d s", o->timeout);
        return OUTCOME_TESTBED_FAILED;
    }
    l0 = o->l0_ended ? outcome_l0(o) : g_strdup("L1's output broke off");
    *why = g_strdup_printf("%s %s", l0, o->started ?
                           "while the command ran" :
                           "before the command started");
    return OUTCOME_TESTBED_FAILED;
}

char *outcome_last_words(const char *console)
{
    const char *panic = strstr(console, PANIC);
    g_autofree char *tidy = NULL;
    const char *line;

    if (panic) {
        return g_strndup(panic, strcspn(panic, "\r\n"));
    }
    tidy = g_strchomp(g_strdup(console));
    line = strrchr(tidy, '\n');
    line = line ? line + 1 : tidy;
    return *line ? g_strdup(line) : NULL;
}
