/*
 * The state of a VM's vCPUs, for the log of a failed test
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "vcpus.h"

#define KVM_COUNTERS "/sys/kernel/debug/kvm"

/* Each vCPU and its program counter, from "info registers -a" */
static void append_places(GString *text, QTestState *who)
{
    g_autofree char *registers = qtest_hmp(who, "info registers -a");
    g_auto(GStrv) lines = g_strsplit(registers, "\n", -1);

    for (char **line = lines; *line; line++) {
        if (g_str_has_prefix(*line, "CPU#") || strstr(*line, "IP=") ||
            strstr(*line, "PC=")) {
            g_string_append_printf(text, "%s\n", g_strchomp(*line));
        }
    }
}

/* Endless exits say more than a program counter that does not change */
static void append_counters(GString *text)
{
    static const char * const names[] = {
        "exits", "halt_exits", "irq_exits", "signal_exits", "mmio_exits",
        "pf_taken", "pf_fixed", "pf_spurious", "nmi_window_exits",
    };

    for (int i = 0; i < ARRAY_SIZE(names); i++) {
        g_autofree char *path = g_strdup_printf(KVM_COUNTERS "/%s", names[i]);
        g_autofree char *number = NULL;

        if (g_file_get_contents(path, &number, NULL, NULL)) {
            g_string_append_printf(text, "%s %s, ", names[i],
                                   g_strchomp(number));
        }
    }
    g_string_append_c(text, '\n');
}

char *postern_vcpus_describe(QTestState *who)
{
    g_autofree char *status = qtest_hmp(who, "info status");
    GString *text = g_string_new(status);

    for (int i = 0; i < 2; i++) {
        if (i) {
            g_usleep(G_USEC_PER_SEC);
        }
        append_places(text, who);
        append_counters(text);
    }
    return g_string_free(text, false);
}
