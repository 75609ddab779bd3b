/*
 * The guest's memory program, controlled through its console
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "guest.h"
#include "qemu/cutils.h"

static uint64_t field(const char *line, const char *name)
{
    g_autofree char *key = g_strdup_printf(" %s=", name);
    const char *found = strstr(line, key);
    uint64_t value;

    if (!found || qemu_strtou64(found + strlen(key), &found, 10, &value)) {
        fprintf(stderr, "no '%s' in the guest's line '%s'\n", name, line);
        abort();
    }
    return value;
}

static bool line_is_fatal(const char *line)
{
    return g_str_has_prefix(line, "POSTERN failed") ||
           strstr(line, "Kernel panic");
}

/* Wrong words, and messages of a kernel that was started with "quiet" */
static bool line_is_remarkable(const char *line)
{
    return g_str_has_prefix(line, "POSTERN bad") ||
           g_str_has_prefix(line, "[");
}

static void show_if_remarkable(PosternVM *vm, const char *line)
{
    if (line_is_remarkable(line)) {
        fprintf(stderr, "%s: the guest says '%s'\n", vm->name, line);
    }
}

/* Discard lines that are already there: they may be outdated */
static void skip_old_lines(PosternVM *vm)
{
    char *line;

    while ((line = postern_vm_read_line(vm, 0))) {
        show_if_remarkable(vm, line);
        g_free(line);
    }
}

/*
 * Returns the next line that begins with "POSTERN @word".  After a migration,
 * the first line on the destination may be the rest of a line that began on
 * the source.  It has no such beginning, and is skipped.
 */
static char *wait_for(PosternVM *vm, const char *word, int64_t deadline,
                      Error **errp)
{
    g_autofree char *prefix = g_strdup_printf("POSTERN %s ", word);
    g_autofree char *last = g_strdup("nothing");

    do {
        char *line = postern_vm_read_line(vm, 1000);

        if (!line) {
            if (!postern_vm_is_running(vm, errp)) {
                return NULL;
            }
            continue;
        }
        if (g_str_has_prefix(line, prefix)) {
            return line;
        }
        show_if_remarkable(vm, line);
        g_free(last);
        last = line;
        if (line_is_fatal(line)) {
            error_setg(errp, "%s: the guest says '%s'", vm->name, line);
            return NULL;
        }
    } while (g_get_monotonic_time() < deadline);

    error_setg(errp, "%s: the guest did not say '%s' in time; it last said "
               "'%s'", vm->name, prefix, last);
    return NULL;
}

static int64_t in_seconds(unsigned timeout_s)
{
    return g_get_monotonic_time() + timeout_s * G_TIME_SPAN_SECOND;
}

bool postern_guest_wait_ready(PosternVM *vm, unsigned timeout_s,
                              uint64_t *words, Error **errp)
{
    g_autofree char *line = wait_for(vm, "ready", in_seconds(timeout_s), errp);

    if (line && words) {
        *words = field(line, "words");
    }
    return line != NULL;
}

bool postern_guest_wait_alive(PosternVM *vm, uint64_t ops, unsigned timeout_s,
                              Error **errp)
{
    int64_t deadline = in_seconds(timeout_s);
    uint64_t first = 0, least;

    skip_old_lines(vm);
    do {
        g_autofree char *line = wait_for(vm, "alive", deadline, errp);

        if (!line) {
            return false;
        }
        least = field(line, "least");
        first = first ?: least;
        if (least >= first + ops) {
            return true;
        }
    } while (g_get_monotonic_time() < deadline);

    error_setg(errp, "%s: a vCPU did only %" PRIu64 " of %" PRIu64
               " operations in %u s", vm->name, least - first, ops, timeout_s);
    return false;
}

bool postern_guest_sweep(PosternVM *vm, unsigned timeout_s, uint64_t *bad,
                         Error **errp)
{
    int64_t deadline = in_seconds(timeout_s);
    g_autofree char *swept = NULL;
    g_autofree char *alive = NULL;

    if (!postern_vm_write_line(vm, "check", errp)) {
        return false;
    }
    swept = wait_for(vm, "sweep", deadline, errp);
    if (!swept) {
        return false;
    }
    /* The total, which includes this sweep */
    alive = wait_for(vm, "alive", deadline, errp);
    if (!alive) {
        return false;
    }
    *bad = field(alive, "bad");
    return true;
}

/* Send @command; returns the answer that begins with @word, to be freed */
static char *ask(PosternVM *vm, const char *command, const char *word,
                 unsigned timeout_s, Error **errp)
{
    if (!postern_vm_write_line(vm, command, errp)) {
        return NULL;
    }
    return wait_for(vm, word, in_seconds(timeout_s), errp);
}

bool postern_guest_pause(PosternVM *vm, Error **errp)
{
    return postern_vm_write_line(vm, "pause", errp);
}

bool postern_guest_walk(PosternVM *vm, unsigned timeout_s, uint64_t *pages,
                        Error **errp)
{
    g_autofree char *line = ask(vm, "walk", "walked", timeout_s, errp);

    if (!line) {
        return false;
    }
    *pages = field(line, "pages");
    return true;
}

bool postern_guest_mark(PosternVM *vm, unsigned timeout_s, uint64_t *stop,
                        Error **errp)
{
    g_autofree char *line = ask(vm, "mark", "marked", timeout_s, errp);

    if (!line) {
        return false;
    }
    *stop = field(line, "stop");
    return true;
}

void postern_guest_stop(PosternVM *vm, uint64_t stop)
{
    qtest_writel(vm->qts, stop, 1);
}

bool postern_guest_tell(PosternVM *vm, unsigned timeout_s, uint64_t stop,
                        PosternGuestWaits *waits, Error **errp)
{
    g_autofree char *line = ask(vm, "tell", "waits", timeout_s, errp);

    if (!line) {
        return false;
    }
    if (!field(line, "stopped")) {
        error_setg(errp, "%s: the guest was told to stop, but did not",
                   vm->name);
        return false;
    }
    waits->us = field(line, "us");
    waits->ops = field(line, "ops");
    waits->waits = field(line, "waits");
    waits->wait_us = field(line, "wait_us");
    waits->p50_us = field(line, "p50_us");
    waits->p99_us = field(line, "p99_us");
    waits->work = field(line, "work");
    qtest_writel(vm->qts, stop, 0);
    return true;
}

bool postern_guest_disk(PosternVM *vm, unsigned timeout_s, uint64_t *ops,
                        uint64_t *bad, Error **errp)
{
    g_autofree char *line = ask(vm, "disk", "disk", timeout_s, errp);

    if (!line) {
        return false;
    }
    *ops = field(line, "ops");
    *bad = field(line, "bad");
    return true;
}

bool postern_guest_use_more(PosternVM *vm, unsigned timeout_s, uint64_t *bad,
                            Error **errp)
{
    g_autofree char *line = ask(vm, "more", "more", timeout_s, errp);

    if (!line) {
        return false;
    }
    *bad = field(line, "bad");
    return true;
}

bool postern_guest_apf(PosternVM *vm, unsigned timeout_s, PosternGuestApf *apf,
                       Error **errp)
{
    g_autofree char *line = ask(vm, "apf", "apf", timeout_s, errp);

    if (!line) {
        return false;
    }
    apf->en = field(line, "en");
    apf->interrupt = field(line, "int");
    return true;
}

bool postern_guest_load(PosternVM *vm, unsigned timeout_s, Error **errp)
{
    g_autofree char *line = ask(vm, "load", "loaded", timeout_s, errp);

    return line != NULL;
}

bool postern_guest_kexec(PosternVM *vm, unsigned timeout_s, Error **errp)
{
    g_autofree char *line = ask(vm, "kexec", "ready", timeout_s, errp);

    return line != NULL;
}
