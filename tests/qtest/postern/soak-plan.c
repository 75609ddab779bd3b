/*
 * Soak: the plan of a tour, generated from a seed
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/units.h"
#include "soak.h"

/* Each %u is the size of one part of memory, in MiB */
static const struct {
    const char *name;
    const char *arguments;
    unsigned parts;
} backends[] = {
    { "anonymous", "", 1 },
    { "ram-shared", "-object memory-backend-ram,id=m0,size=%uM,share=on"
      " -machine memory-backend=m0", 1 },
    { "memfd-shared", "-object memory-backend-memfd,id=m0,size=%uM,share=on"
      " -machine memory-backend=m0", 1 },
    { "memfd-private", "-object memory-backend-memfd,id=m0,size=%uM,share=off"
      " -machine memory-backend=m0", 1 },
    { "file-shared", "-object memory-backend-file,id=m0,size=%uM,share=on,"
      "mem-path=/dev/shm -machine memory-backend=m0", 1 },
    { "hugetlb", "-object memory-backend-memfd,id=m0,size=%uM,share=on,"
      "hugetlb=on,hugetlbsize=2M -machine memory-backend=m0", 1 },
    { "numa", "-object memory-backend-ram,id=m0,size=%uM"
      " -object memory-backend-memfd,id=m1,size=%uM,share=on"
      " -numa node,memdev=m0 -numa node,memdev=m1", 2 },
};

/* The emulated host has their features; on aarch64, KVM has its own model only */
#ifdef __aarch64__
static const char * const cpus[] = { NULL };
#else
static const char * const cpus[] = { NULL, NULL, "qemu64", "kvm64" };
#endif

static const char * const trouble_names[] = {
    [TROUBLE_CUT] = "cut",
    [TROUBLE_CUT_PREEMPT] = "cut-preempt",
    [TROUBLE_STALL] = "stall",
    [TROUBLE_STALL_CUT] = "stall-cut",
    [TROUBLE_PAUSE_SOURCE] = "pause-source",
    [TROUBLE_PAUSE_DESTINATION] = "pause-destination",
    [TROUBLE_STOP_CONT] = "stop-cont",
    [TROUBLE_SLOTS] = "slots",
    [TROUBLE_DIRTY_LOG] = "dirty-log",
};

/* Returns true with a probability of 1 / @n */
static bool one_in(GRand *rand, unsigned n)
{
    return g_rand_int_range(rand, 0, n) == 0;
}

static void plan_leg(PosternLeg *leg, GRand *rand)
{
    /* 0 means no limit; then most migrations end before their troubles */
    static const unsigned limits_mib[] = { 0, 0, 8, 16, 32 };
    unsigned ntroubles;

    leg->kvm_userfault = !one_in(rand, 6);
    leg->preempt = one_in(rand, 2);
    leg->cut_precopy = one_in(rand, 12);
    leg->precopy_percent = g_rand_int_range(rand, 0, 60);
    leg->max_bandwidth =
        limits_mib[g_rand_int_range(rand, 0, ARRAY_SIZE(limits_mib))] * MiB;
    leg->postcopy_bandwidth =
        limits_mib[g_rand_int_range(rand, 0, ARRAY_SIZE(limits_mib))] * MiB;

    ntroubles = g_rand_int_range(rand, 0, POSTERN_SOAK_TROUBLES_MAX + 1);
    for (unsigned i = 0; i < ntroubles; i++) {
        PosternTrouble what = g_rand_int_range(rand, 1, TROUBLE__MAX);

        if (what == TROUBLE_CUT_PREEMPT && !leg->preempt) {
            what = TROUBLE_CUT;
        }
        leg->troubles[i].what = what;
        leg->troubles[i].after_ms = g_rand_int_range(rand, 0, 1500);
        leg->troubles[i].lasts_ms = g_rand_int_range(rand, 50, 1500);
    }
}

void postern_soak_plan(PosternTour *tour, uint32_t seed, unsigned number)
{
    const guint32 seeds[] = { seed, number };
    GRand *rand = g_rand_new_with_seed_array(seeds, ARRAY_SIZE(seeds));

    memset(tour, 0, sizeof(*tour));
    /* An even number of huge pages, for backends with two parts */
    tour->memory_mib = g_rand_int_range(rand, 24, 65) * 4;
    tour->vcpus = g_rand_int_range(rand, 1, 5);
    tour->backend = g_rand_int_range(rand, 0, ARRAY_SIZE(backends));
    tour->percent = g_rand_int_range(rand, 30, 71);
    tour->rest_us = one_in(rand, 2) ? 0 : g_rand_int_range(rand, 1, 2000);
    tour->nlegs = g_rand_int_range(rand, 1, POSTERN_SOAK_LEGS_MAX + 1);
    for (unsigned i = 0; i < tour->nlegs; i++) {
        plan_leg(&tour->legs[i], rand);
    }
    /* Last, so that older seeds still plan the same tours */
    tour->cpu = cpus[g_rand_int_range(rand, 0, ARRAY_SIZE(cpus))];
    tour->no_kvmapf = one_in(rand, 3);
    for (unsigned i = 0; i < tour->nlegs; i++) {
        tour->legs[i].async_pf = !one_in(rand, 4);
    }
    g_rand_free(rand);
}

static int find_backend(const char *name)
{
    for (int i = 0; i < ARRAY_SIZE(backends); i++) {
        if (g_str_equal(backends[i].name, name)) {
            return i;
        }
    }
    return -1;
}

static int find_trouble(const char *name)
{
    for (int i = 1; i < TROUBLE__MAX; i++) {
        if (g_str_equal(trouble_names[i], name)) {
            return i;
        }
    }
    return -1;
}

bool postern_soak_narrow(PosternTour *tour, const char *backend,
                         const char *trouble, bool no_preempt)
{
    int n = backend ? find_backend(backend) : tour->backend;
    int what = trouble ? find_trouble(trouble) : TROUBLE_NONE;

    if (n < 0 || what < 0 || (no_preempt && what == TROUBLE_CUT_PREEMPT)) {
        return false;
    }
    tour->backend = n;
    for (unsigned i = 0; i < tour->nlegs; i++) {
        PosternLeg *leg = &tour->legs[i];

        leg->preempt |= what == TROUBLE_CUT_PREEMPT;
        leg->preempt &= !no_preempt;
        for (unsigned t = 0; t < POSTERN_SOAK_TROUBLES_MAX; t++) {
            PosternTrouble *planned = &leg->troubles[t].what;

            if (what && (t == 0 || *planned)) {
                *planned = what;
            } else if (no_preempt && *planned == TROUBLE_CUT_PREEMPT) {
                *planned = TROUBLE_CUT;
            }
        }
    }
    return true;
}

char *postern_soak_describe(const PosternTour *tour)
{
    return g_strdup_printf("%u MiB %s, %u vCPUs (%s)%s, %u%% used, rest %u us",
                           tour->memory_mib, backends[tour->backend].name,
                           tour->vcpus, tour->cpu ?: "host",
                           tour->no_kvmapf ? " no-kvmapf" : "",
                           tour->percent, tour->rest_us);
}

char *postern_soak_describe_leg(const PosternLeg *leg)
{
    GString *text = g_string_new(leg->kvm_userfault ? "kvm-userfault" :
                                                      "userfaultfd");

    if (leg->kvm_userfault && !leg->async_pf) {
        g_string_append(text, ", no async-pf");
    }
    if (leg->preempt) {
        g_string_append(text, ", preempt");
    }
    g_string_append_printf(text, ", post-copy after %u%%, %" PRIu64 " then %"
                           PRIu64 " MiB/s", leg->precopy_percent,
                           leg->max_bandwidth / MiB,
                           leg->postcopy_bandwidth / MiB);
    if (leg->cut_precopy) {
        g_string_append(text, ", cut before that");
    }
    for (unsigned i = 0; i < POSTERN_SOAK_TROUBLES_MAX; i++) {
        if (leg->troubles[i].what) {
            g_string_append_printf(text, ", %s after %u ms",
                                   trouble_names[leg->troubles[i].what],
                                   leg->troubles[i].after_ms);
        }
    }
    return g_string_free(text, false);
}

char *postern_soak_arguments(const PosternTour *tour)
{
    unsigned each = tour->memory_mib / backends[tour->backend].parts;

    return g_strdup_printf(backends[tour->backend].arguments, each, each);
}
