/*
 * Postern's benchmark of memory regions: the time to map, move and unmap one or
 * all of many regions
 *
 * Compares upstream's QEMU with only our memory-testdev added, our QEMU, and
 * our QEMU without lists of changes.  Prints a line of JSON for each figure;
 * scripts/bench/bench.py makes tables of them.
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "qemu/cutils.h"
#include "postern/program.h"
#include "postern/testdev.h"

#define STEP_TIMEOUT_S 900

/* Limits for upstream, which is slow with many regions */
#define UPSTREAM_SINGLES 20
#define UPSTREAM_MAX_ONE_BY_ONE 509

typedef struct Side {
    const char *name;
    const char *binary;         /* environment variable */
    const char *accel;
    int singles;                /* changes of one region for a figure */
    int max_slots;
    int max_one_by_one;
} Side;

static struct {
    char *slots;                /* a list, with commas between */
    int upstream_max;
    gboolean run;
    gboolean reverse;
} arguments = { .upstream_max = 1900 };

static char *directory;

/*
 * Firmware that only counts.  A guest that boots would mostly wait for the BQL
 * while memory changes.
 */
#define COUNTER 0x7e00
#define POLL_US 10000
#define POLLS_MAX 1000

static char *write_firmware(void)
{
    const uint8_t code[] = {
        /* 00 */ 0x31, 0xc0,                    /* xor %ax, %ax */
        /* 02 */ 0x8e, 0xd8,                    /* mov %ax, %ds */
        /* 04 */ 0xff, 0x06, 0x00, 0x7e,        /* incw COUNTER */
        /* 08 */ 0xeb, 0xfa,                    /* jmp 0x04 */
    };
    g_autofree uint8_t *image = g_malloc0(64 * KiB);
    char *path = g_strdup_printf("%s/count", directory);

    memcpy(image + 64 * KiB - 16, code, sizeof(code));
    g_assert(g_file_set_contents(path, (char *)image, 64 * KiB, NULL));
    return path;
}

static void wait_for_guest(QTestState *qts)
{
    for (int i = 0; !qtest_readw(qts, COUNTER); i++) {
        g_assert_cmpint(i, <, POLLS_MAX);
        g_usleep(POLL_US);
    }
}

static QTestState *start(const Side *side, unsigned int slots)
{
    g_autofree char *path = arguments.run ? write_firmware() : NULL;
    g_autofree char *guest = path ? g_strdup_printf("-bios %s", path) :
                                    g_strdup("-S");
    QTestState *qts;
    /* With SMM, KVM would have a second address space with as many memslots */
    g_autofree char *options = g_strdup_printf(
        "-machine q35,smm=off -accel %s -nodefaults -m 64 %s"
        " -device memory-testdev,id=dev,x-allow=on,regions=%u",
        side->accel, guest, slots);

    qts = qtest_init_with_env(side->binary, options, true);
    if (path) {
        wait_for_guest(qts);
    }
    return qts;
}

static void print(const Side *side, const char *op, unsigned int slots,
                  uint64_t ns)
{
    printf("{\"level\": \"%s\", \"vcpu\": %s, \"slots\": %u, \"op\": \"%s\","
           " \"ns\": %" PRIu64 "}\n", side->name,
           arguments.run ? "true" : "false", slots, op, ns);
    fflush(stdout);
}

/* Do @action to @count regions from @first on; returns its time */
static uint64_t change(QTestState *qts, bool transaction, const char *action,
                       unsigned int first, unsigned int count, uint64_t offset)
{
    g_autofree char *steps = g_strdup_printf(
        "[{'action': '%s', 'first': %u, 'count': %u, 'offset': %" PRIu64 "}]",
        action, first, count, offset);

    return testdev_run(qts, count, transaction, steps);
}

/*
 * After an idle time, the kernel's next grace period waits for a tick of the
 * clock.  A few changes before a measurement keep that out of it.
 */
static void wake(QTestState *qts)
{
    for (int i = 0; i < 2; i++) {
        change(qts, false, "map", 0, 1, 0);
        change(qts, false, "unmap", 0, 1, 0);
    }
}

/* Do two changes in turn, one by one; returns the mean time of one */
static uint64_t single(const Side *side, QTestState *qts, const char *there,
                       const char *back)
{
    g_autoptr(GString) steps = g_string_new("[");

    wake(qts);
    for (int i = 0; i < side->singles; i++) {
        g_string_append_printf(steps, "%s%s", i ? "," : "",
                               i % 2 ? back : there);
    }
    g_string_append_c(steps, ']');
    return testdev_run(qts, side->singles, false, steps->str) / side->singles;
}

/* Replace half of the regions by the other half */
static uint64_t replace_half(QTestState *qts, unsigned int half)
{
    g_autofree char *steps = g_strdup_printf(
        "[{'action': 'unmap', 'first': %u, 'count': %u},"
        " {'action': 'map', 'first': 0, 'count': %u, 'offset': %" PRIu64 "}]",
        half, half, half, (uint64_t)half * TESTDEV_STRIDE);

    change(qts, true, "map", half, half, 0);
    wake(qts);
    return testdev_run(qts, 2 * half, true, steps);
}

static void bench_one_by_one(const Side *side, QTestState *qts,
                             unsigned int slots)
{
    /* The first one is for wake() */
    change(qts, true, "map", 1, slots - 1, 0);
    print(side, "delete and add one", slots,
          single(side, qts, "{'action': 'unmap', 'first': 1}",
                 "{'action': 'map', 'first': 1}"));
    print(side, "move one", slots,
          single(side, qts, "{'action': 'move', 'first': 1, 'offset': 4096}",
                 "{'action': 'move', 'first': 1}"));
    change(qts, true, "unmap", 1, slots - 1, 0);

    if (slots <= side->max_one_by_one) {
        wake(qts);
        print(side, "setup, one by one", slots,
              change(qts, false, "map", 0, slots, 0));
        print(side, "move all, one by one", slots,
              change(qts, false, "move", 0, slots, TESTDEV_SIZE));
        print(side, "delete all, one by one", slots,
              change(qts, false, "unmap", 0, slots, 0));
    }
}

static void bench_batched(const Side *side, QTestState *qts, unsigned int slots)
{
    wake(qts);
    print(side, "setup, batched", slots,
          change(qts, true, "map", 0, slots, 0));
    print(side, "move all, batched", slots,
          change(qts, true, "move", 0, slots, TESTDEV_SIZE));
    print(side, "delete all, batched", slots,
          change(qts, true, "unmap", 0, slots, 0));
    print(side, "replace half, batched", slots, replace_half(qts, slots / 2));
}

static void bench_side(const Side *side, unsigned int slots)
{
    QTestState *qts;

    if (slots > side->max_slots) {
        return;
    }
    postern_program_step("%s, %u regions", side->name, slots);
    qts = start(side, slots);
    bench_one_by_one(side, qts, slots);
    bench_batched(side, qts, slots);
    qtest_quit(qts);
}

static void cleanup(const char *reason)
{
    g_autofree char *path = directory ? g_strdup_printf("%s/count", directory)
                                      : NULL;

    if (path) {
        unlink(path);
        rmdir(directory);
    }
}

static void parse_arguments(int argc, char **argv)
{
    static const GOptionEntry entries[] = {
        { "slots", 0, 0, G_OPTION_ARG_STRING, &arguments.slots,
          "numbers of regions", "N,..." },
        { "upstream-max", 0, 0, G_OPTION_ARG_INT, &arguments.upstream_max,
          "the most regions for upstream (1900)", "N" },
        { "run", 0, 0, G_OPTION_ARG_NONE, &arguments.run,
          "run a vCPU meanwhile", NULL },
        { "reverse", 0, 0, G_OPTION_ARG_NONE, &arguments.reverse,
          "measure in reverse order", NULL },
        { NULL }
    };
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_autoptr(GError) error = NULL;

    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error) || argc > 1 ||
        !arguments.slots) {
        fprintf(stderr, "%s: %s\n", g_get_prgname(),
                error ? error->message : "see --help");
        exit(1);
    }
}

int main(int argc, char **argv)
{
    Side sides[] = {
        { "upstream", "POSTERN_QEMU_UPSTREAM", "kvm", UPSTREAM_SINGLES },
        { "postern", "QTEST_QEMU_BINARY", "kvm", 200, INT_MAX, INT_MAX },
        { "postern, no lists", "QTEST_QEMU_BINARY", "kvm,x-memslot-batch=off",
          200, INT_MAX, INT_MAX },
    };
    g_auto(GStrv) slots = NULL;

    parse_arguments(argc, argv);
    sides[0].max_slots = arguments.upstream_max;
    sides[0].max_one_by_one = UPSTREAM_MAX_ONE_BY_ONE;
    postern_program_init("postern-bench-memslots", STEP_TIMEOUT_S, cleanup);
    directory = g_dir_make_tmp("postern-bench-XXXXXX", NULL);
    g_assert(directory);

    slots = g_strsplit(arguments.slots, ",", 0);
    for (int i = 0; slots[i]; i++) {
        unsigned int nr;

        if (qemu_strtoui(slots[i], NULL, 10, &nr) < 0 || nr < 2) {
            postern_program_fail("--slots: a list of numbers above 1");
        }
        for (int n = 0; n < ARRAY_SIZE(sides); n++) {
            bench_side(&sides[arguments.reverse ? ARRAY_SIZE(sides) - 1 - n : n],
                       nr);
        }
    }
    cleanup(NULL);
    printf("all runs made\n");
    return 0;
}
