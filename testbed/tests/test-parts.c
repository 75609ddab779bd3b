/*
 * Tests of the parts of the harness that need no L1
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <signal.h>
#include <string.h>

#include "l1.h"
#include "outcome.h"
#include "options.h"
#include "stream.h"

static gboolean parse(Options *opts, GError **errp, const char *const *args)
{
    g_autoptr(GPtrArray) argv = g_ptr_array_new();

    g_ptr_array_add(argv, (char *)"testbed");
    for (; *args; args++) {
        g_ptr_array_add(argv, (char *)*args);
    }
    g_ptr_array_add(argv, NULL);
    return options_parse(opts, (char **)argv->pdata, errp);
}

#define PARSE(opts, errp, ...) \
    parse(opts, errp, (const char *const []) { __VA_ARGS__, NULL })

static void test_options(void)
{
    g_autoptr(GError) err = NULL;
    Options opts;

    g_assert_true(PARSE(&opts, &err, "--smp=2", "--memory=512", "--icount",
                        "--timeout=7", "--kernel=k", "--initramfs=i",
                        "--append=a b",
                        "--log=l", "--fetch=a=b", "--fetch=c=d=e",
                        "true", "--smp=3"));
    g_assert_no_error(err);
    g_assert_cmpint(opts.smp, ==, 2);
    g_assert_cmpint(opts.memory, ==, 512);
    g_assert_cmpint(opts.timeout, ==, 7);
    g_assert_true(opts.icount);
    g_assert_false(opts.shell);
    g_assert_cmpstr(opts.kernel, ==, "k");
    g_assert_cmpstr(opts.initramfs, ==, "i");
    g_assert_cmpstr(opts.append, ==, "a b");
    g_assert_cmpstr(opts.log, ==, "l");
    g_assert_cmpuint(g_strv_length(opts.fetch), ==, 2);
    /* Options after the command belong to it. */
    g_assert_cmpuint(g_strv_length(opts.command), ==, 2);
    g_assert_cmpstr(opts.command[0], ==, "true");
    g_assert_cmpstr(opts.command[1], ==, "--smp=3");
    g_assert_true(options_need_l1(&opts));
    options_clear(&opts);
}

static void test_options_defaults(void)
{
    g_autoptr(GError) err = NULL;
    Options opts;

    g_assert_true(PARSE(&opts, &err, "--", "--odd", "--", "x"));
    g_assert_no_error(err);
    g_assert_cmpint(opts.timeout, ==, 600);
    g_assert_cmpstr(opts.arch->name, ==, "x86_64");
    g_assert_cmpint(options_need_l1(&opts), ==, !opts.arch->native);
    g_assert_cmpuint(g_strv_length(opts.command), ==, 3);
    g_assert_cmpstr(opts.command[0], ==, "--odd");
    g_assert_cmpstr(opts.command[1], ==, "--");
    options_clear(&opts);

    g_assert_true(PARSE(&opts, &err, "--shell"));
    g_assert_no_error(err);
    g_assert_null(opts.command);
    options_clear(&opts);

    /* This machine's own kernel does not do for another architecture. */
    g_assert_true(PARSE(&opts, &err, "--arch=aarch64", "true"));
    g_assert_no_error(err);
    g_assert_cmpstr(opts.arch->name, ==, "aarch64");
    g_assert_cmpint(options_need_l1(&opts), ==, !opts.arch->native);
    options_clear(&opts);
}

static void assert_refused(const char *option)
{
    g_autoptr(GError) err = NULL;
    Options opts;

    g_assert_false(PARSE(&opts, &err, option, "true"));
    g_assert_nonnull(err);
    options_clear(&opts);
}

static void test_options_refused(void)
{
    g_autoptr(GError) err = NULL;
    Options opts;

    assert_refused("--smp=-1");
    assert_refused("--smp=two");
    assert_refused("--timeout=-3");
    assert_refused("--fetch=nowhere");
    assert_refused("--fetch==b");
    assert_refused("--fetch=a=");
    assert_refused("--unknown");
    assert_refused("--arch=aarch");

    g_assert_false(PARSE(&opts, &err, "--icount"));
    g_assert_error(err, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE);
    options_clear(&opts);
}

static void test_fetch_split(void)
{
    const char *host;
    g_autofree char *l1 = options_split_fetch("c=d=e", &host);

    g_assert_cmpstr(l1, ==, "c");
    g_assert_cmpstr(host, ==, "d=e");
}

static void assert_outcome(Outcome o, int status, const char *why_part)
{
    g_autofree char *why = NULL;

    g_assert_cmpint(outcome_status(&o, &why), ==, status);
    if (why_part) {
        g_assert_nonnull(strstr(why, why_part));
    } else {
        g_assert_null(why);
    }
}

static void test_outcome(void)
{
    assert_outcome((Outcome) { .status = 0, .started = TRUE }, 0, NULL);
    assert_outcome((Outcome) { .status = 139, .started = TRUE }, 139, NULL);
    assert_outcome((Outcome) { .status = -1, .signal = SIGINT },
                   128 + SIGINT, "signal 2");
    assert_outcome((Outcome) { .status = -1, .started = TRUE,
                               .timed_out = TRUE, .timeout = 5 },
                   124, "timed out after 5 s");
    assert_outcome((Outcome) { .status = -1, .timed_out = TRUE },
                   125, "as far as the command");
    assert_outcome((Outcome) { .status = -1, .started = TRUE,
                               .l0_ended = TRUE, .l0_wait_status = SIGKILL },
                   125, "died by signal 9 while");
    assert_outcome((Outcome) { .status = -1, .l0_ended = TRUE,
                               .l0_wait_status = 1 << 8,
                               .last_words = "no such file" },
                   125, "exited with status 1 (no such file) before");
    assert_outcome((Outcome) { .status = -1, .started = TRUE,
                               .l0_ended = TRUE,
                               .last_words = "Kernel panic: x" },
                   125, "panicked (Kernel panic: x)");
    assert_outcome((Outcome) { .status = -1, .started = TRUE,
                               .l0_ended = TRUE,
                               .last_words = "terminating on signal 15" },
                   125, "was killed (terminating on signal 15)");
    assert_outcome((Outcome) { .status = -1, .started = TRUE,
                               .l0_ended = TRUE },
                   125, "reset or powered off");
}

static void assert_last_words(const char *console, const char *expected)
{
    g_autofree char *words = outcome_last_words(console);

    g_assert_cmpstr(words, ==, expected);
}

static void test_last_words(void)
{
    assert_last_words("a\n[ 1.0] Kernel panic - not syncing: why\r\nb\n",
                      "Kernel panic - not syncing: why");
    assert_last_words("one\ntwo\r\n", "two");
    assert_last_words("one", "one");
    assert_last_words("\n", NULL);
}

static void collect_output(const char *data, gsize len, void *opaque)
{
    g_string_append_len(opaque, data, len);
}

static void collect_news(const char *text, void *opaque)
{
    g_string_append_printf(opaque, "{%s}", text);
}

/* The output must not depend on how the input is cut into pieces. */
static void test_stream(void)
{
    static const char input[] = "\0M-Mrun;one\0\0M-\0M-Mexit 3;two\0M";
    static const char output[] = "{run}one\0\0M-{exit 3}two";

    for (gsize piece = 1; piece < sizeof(input); piece++) {
        GString *seen = g_string_new(NULL);
        Stream s = { .output = collect_output, .news = collect_news,
                     .opaque = seen };

        stream_init(&s, "M-M");
        for (gsize at = 0; at < sizeof(input) - 1; at += piece) {
            stream_feed(&s, input + at, MIN(piece, sizeof(input) - 1 - at));
        }
        g_assert_cmpmem(seen->str, seen->len, output, sizeof(output) - 1);
        stream_clear(&s);
        g_string_free(seen, TRUE);
    }
}

static void test_qemu(void)
{
    const L1 l1 = { .exchange = (char *)"/t/a,b", .log = (char *)"log" };
    Options opts = { .arch = arch_find("x86_64"), .smp = 2 };
    g_auto(GStrv) two = l1_qemu(&l1, &opts, 3, FALSE);
    g_auto(GStrv) counted = NULL;
    g_auto(GStrv) arm = NULL;

    g_assert_true(g_strv_contains((const char *const *)two,
                                  "tcg,thread=multi"));
    g_assert_true(g_strv_contains((const char *const *)two,
        "local,id=exchange,path=/t/a,,b,security_model=none"));
    opts.icount = TRUE;
    counted = l1_qemu(&l1, &opts, 3, FALSE);
    g_assert_true(g_strv_contains((const char *const *)counted,
                                  "shift=0,sleep=off"));
    g_assert_false(g_strv_contains((const char *const *)counted,
                                   "tcg,thread=multi"));

    opts = (Options) { .arch = arch_find("aarch64"), .smp = 2 };
    arm = l1_qemu(&l1, &opts, 3, FALSE);
    g_assert_true(g_str_has_suffix(arm[0], "/qemu-system-aarch64"));
    g_assert_true(g_strv_contains((const char *const *)arm,
                                  "virt,virtualization=on,gic-version=3"));
    g_assert_true(g_strv_contains((const char *const *)arm,
                                  "tcg,thread=multi"));
}

static void test_env(void)
{
    g_assert_true(l1_passes_env("PATH"));
    g_assert_true(l1_passes_env("QTEST_QEMU_BINARY"));
    g_assert_true(l1_passes_env("UBSAN_OPTIONS"));
    g_assert_false(l1_passes_env("PATHOLOGICAL"));
    g_assert_false(l1_passes_env("SSH_AUTH_SOCK"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/options/all", test_options);
    g_test_add_func("/options/defaults", test_options_defaults);
    g_test_add_func("/options/refused", test_options_refused);
    g_test_add_func("/options/fetch", test_fetch_split);
    g_test_add_func("/outcome/status", test_outcome);
    g_test_add_func("/outcome/last-words", test_last_words);
    g_test_add_func("/stream/pieces", test_stream);
    g_test_add_func("/l1/qemu", test_qemu);
    g_test_add_func("/l1/env", test_env);
    return g_test_run();
}
