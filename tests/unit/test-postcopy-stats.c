/*
 * Unit tests of post-copy's statistics: faults, latencies, blocktime
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/host-utils.h"
#include "qapi/qapi-types-migration.h"
#include "../migration/postcopy/blocktime.h"
#include "../migration/postcopy/fault-stats.h"

#define MAX_CPUS 4
#define MS 1000000ll

static PostcopyFaultInfo *query(void)
{
    PostcopyFaultInfo *info = postcopy_fault_stats_query();

    g_assert(info);
    return info;
}

/* Before the first post-copy there are no statistics */
static void test_none(void)
{
    g_assert(!postcopy_fault_stats_query());
}

static void test_count(void)
{
    PostcopyFaultInfo *info;

    postcopy_fault_stats_reset(POSTCOPY_FAULT_MECHANISM_KVM_USERFAULT);
    postcopy_fault_stats_count(0, POSTCOPY_FAULT_KVM);
    postcopy_fault_stats_count(0, POSTCOPY_FAULT_KVM);
    postcopy_fault_stats_count(0, POSTCOPY_FAULT_KVM_PRESENT);
    postcopy_fault_stats_count(3, POSTCOPY_FAULT_UFFD_VCPU);
    postcopy_fault_stats_count(3, POSTCOPY_FAULT_UFFD_VCPU_HOST);
    postcopy_fault_stats_count(-1, POSTCOPY_FAULT_UFFD_ASYNC);
    postcopy_fault_stats_count(-1, POSTCOPY_FAULT_UFFD_OTHER);
    postcopy_fault_stats_requested();
    postcopy_fault_stats_served(0, POSTCOPY_FAULT_KVM, 100);
    postcopy_fault_stats_interrupted(0, POSTCOPY_FAULT_KVM, 20);
    postcopy_fault_stats_served(3, POSTCOPY_FAULT_UFFD_VCPU, 3);
    postcopy_fault_stats_served(3, POSTCOPY_FAULT_UFFD_VCPU_HOST, 1000);
    postcopy_fault_stats_served(-1, POSTCOPY_FAULT_UFFD_ASYNC, 4000);
    postcopy_fault_stats_served(-1, POSTCOPY_FAULT_UFFD_OTHER, 1000);

    info = query();
    g_assert_cmpint(info->mechanism, ==,
                    POSTCOPY_FAULT_MECHANISM_KVM_USERFAULT);
    g_assert_cmpint(info->kvm_exits, ==, 3);
    g_assert_cmpint(info->kvm_exits_present, ==, 1);
    g_assert_cmpint(info->userfaultfd_vcpu, ==, 1);
    g_assert_cmpint(info->userfaultfd_async, ==, 1);
    g_assert_cmpint(info->userfaultfd_vcpu_host, ==, 1);
    g_assert_cmpint(info->userfaultfd_other, ==, 1);
    g_assert_cmpint(info->requested, ==, 1);
    g_assert_cmpint(info->vcpu_blocked_ns, ==, 1123);
    g_assert_cmpint(info->guest_wait_ns, ==, 4123);

    g_assert(info->vcpus && info->vcpus->next && !info->vcpus->next->next);
    g_assert_cmpint(info->vcpus->value->cpu_index, ==, 0);
    g_assert_cmpint(info->vcpus->value->faults, ==, 2);
    g_assert_cmpint(info->vcpus->value->blocked_ns, ==, 120);
    g_assert_cmpint(info->vcpus->next->value->cpu_index, ==, 3);
    g_assert_cmpint(info->vcpus->next->value->faults, ==, 2);
    g_assert_cmpint(info->vcpus->next->value->blocked_ns, ==, 1003);
    qapi_free_PostcopyFaultInfo(info);

    /* A vCPU that goes on is held up only until then */
    postcopy_fault_stats_reset(POSTCOPY_FAULT_MECHANISM_KVM_USERFAULT);
    postcopy_fault_stats_count(1, POSTCOPY_FAULT_KVM);
    postcopy_fault_stats_accepted(1, 30);
    postcopy_fault_stats_served(1, POSTCOPY_FAULT_KVM_ACCEPTED, 5000);
    info = query();
    g_assert_cmpint(info->kvm_exits, ==, 1);
    g_assert_cmpint(info->kvm_exits_accepted, ==, 1);
    g_assert_cmpint(info->vcpu_blocked_ns, ==, 30);
    g_assert_cmpint(info->guest_wait_ns, ==, 5000);
    g_assert_cmpint(info->latency_p50_ns, >=, 4096);
    /* KVM has halted it.  The other one has other faults of a vCPU before. */
    postcopy_fault_stats_async(info, 1, &(KVMUserfaultAsyncStats) {
        .told = 2, .halts = 3, .halt_ns = 400 });
    postcopy_fault_stats_async(info, 2, &(KVMUserfaultAsyncStats) {
        .told = 5, .halts = 1, .halt_ns = 1000 });
    g_assert_cmpint(info->async_told, ==, 7);
    g_assert_cmpint(info->async_halts, ==, 4);
    g_assert_cmpint(info->vcpu_blocked_ns, ==, 430);
    g_assert_cmpint(info->vcpus->value->blocked_ns, ==, 430);
    qapi_free_PostcopyFaultInfo(info);

    /* The next post-copy begins at 0 */
    postcopy_fault_stats_reset(POSTCOPY_FAULT_MECHANISM_USERFAULTFD);
    info = query();
    g_assert_cmpint(info->kvm_exits, ==, 0);
    g_assert_cmpint(info->guest_wait_ns, ==, 0);
    g_assert_cmpint(info->latency_p99_ns, ==, 0);
    g_assert(!info->vcpus && !info->latency);
    qapi_free_PostcopyFaultInfo(info);
}

static void check_percentile(uint64_t value, uint64_t expected)
{
    /* In the same step, which is a quarter of a power of two */
    uint64_t size = MAX(pow2floor(expected) / 4, 1);
    uint64_t least = ROUND_DOWN(expected, size);

    g_assert_cmpuint(value, >=, least);
    g_assert_cmpuint(value, <, least + size);
}

static void test_percentiles(void)
{
    PostcopyFaultInfo *info;

    for (int64_t unit = 1; unit < INT64_MAX / 2000; unit *= 7) {
        postcopy_fault_stats_reset(POSTCOPY_FAULT_MECHANISM_KVM_USERFAULT);
        for (int i = 1000; i > 0; i--) {
            postcopy_fault_stats_served(i % MAX_CPUS, POSTCOPY_FAULT_KVM,
                                        i * unit);
        }
        info = query();
        check_percentile(info->latency_p50_ns, 500 * unit);
        check_percentile(info->latency_p99_ns, 990 * unit);
        qapi_free_PostcopyFaultInfo(info);
    }

    /* With evenly spread latencies, interpolation is exact */
    postcopy_fault_stats_reset(POSTCOPY_FAULT_MECHANISM_KVM_USERFAULT);
    for (int i = 1; i < 1 << 14; i++) {
        postcopy_fault_stats_served(i % MAX_CPUS, POSTCOPY_FAULT_KVM, i);
    }
    info = query();
    g_assert_cmpint(llabs(info->latency_p50_ns - (1 << 13)), <=, 1);
    g_assert_cmpint(llabs(info->latency_p99_ns - (1 << 14) * 99 / 100), <=, 1);
    qapi_free_PostcopyFaultInfo(info);
}

static void test_histogram(void)
{
    static const int64_t latencies[] = {
        -5, 0, 1, 15, 16, 31, 32, 1000, 1023, 1024, 5 * MS, INT64_MAX
    };
    static const uint64_t steps[] = {
        0, 1, 15, 19, 31, 39, 1023, 1279, 5242879, INT64_MAX
    };
    PostcopyFaultInfo *info;
    uint64_t total = 0, below = 0;
    unsigned step = 0;
    bool first = true;

    postcopy_fault_stats_reset(POSTCOPY_FAULT_MECHANISM_KVM_USERFAULT);
    for (int i = 0; i < ARRAY_SIZE(latencies); i++) {
        postcopy_fault_stats_served(0, POSTCOPY_FAULT_KVM, latencies[i]);
    }
    info = query();
    for (PostcopyFaultLatencyList *l = info->latency; l; l = l->next) {
        unsigned count = 0;

        for (int i = 0; i < ARRAY_SIZE(latencies); i++) {
            uint64_t ns = MAX(latencies[i], 0);

            count += (first || ns > below) && ns <= l->value->max_ns;
        }
        g_assert_cmpint(l->value->count, >, 0);
        g_assert_cmpint(l->value->count, ==, count);
        /* Four steps for each power of two */
        g_assert_cmpuint(step, <, ARRAY_SIZE(steps));
        g_assert_cmpuint(l->value->max_ns, ==, steps[step++]);
        total += count;
        below = l->value->max_ns;
        first = false;
    }
    g_assert_cmpint(total, ==, ARRAY_SIZE(latencies));
    g_assert_cmpuint(step, ==, ARRAY_SIZE(steps));
    qapi_free_PostcopyFaultInfo(info);
}

/* ------------------------------------------------------------------------- */

static void assert_blocktime(uint32_t all, uint32_t cpu0, uint32_t cpu1)
{
    g_autoptr(MigrationInfo) info = g_new0(MigrationInfo, 1);

    postcopy_blocktime_fill_info(info);
    g_assert_true(info->has_postcopy_blocktime);
    g_assert_cmpint(info->postcopy_blocktime, ==, all);
    g_assert_true(info->has_postcopy_vcpu_blocktime);
    g_assert_cmpint(info->postcopy_vcpu_blocktime->value, ==, cpu0);
    g_assert_cmpint(info->postcopy_vcpu_blocktime->next->value, ==, cpu1);
    g_assert(!info->postcopy_vcpu_blocktime->next->next);
}

static void test_blocktime_off(void)
{
    g_autoptr(MigrationInfo) info = g_new0(MigrationInfo, 1);

    postcopy_blocktime_reset(0, 0);
    postcopy_blocktime_begin(0, (void *)1, MS);
    postcopy_blocktime_end(0, (void *)1, 2 * MS);
    postcopy_blocktime_fill_info(info);
    g_assert_false(info->has_postcopy_blocktime);
    g_assert_false(info->has_postcopy_vcpu_blocktime);
}

/*
 *      10        20        30        40        50        60
 * cpu0 ***********************                 ***********
 * cpu1           **********************                  ....
 * all            *************
 */
static void test_blocktime_overlap(void)
{
    void *a = (void *)1, *b = (void *)2, *c = (void *)3;

    postcopy_blocktime_reset(2, 2);
    postcopy_blocktime_begin(0, a, 10 * MS);
    postcopy_blocktime_begin(1, b, 20 * MS);
    postcopy_blocktime_end(0, a, 33 * MS);
    postcopy_blocktime_end(1, b, 42 * MS);
    assert_blocktime(13, 23, 22);
    postcopy_blocktime_begin(0, c, 50 * MS);
    postcopy_blocktime_end(0, c, 60 * MS);
    assert_blocktime(13, 33, 22);
    /* A wait counts only when it has ended */
    postcopy_blocktime_begin(1, a, 60 * MS);
    assert_blocktime(13, 33, 22);
    postcopy_blocktime_reset(2, 2);
    assert_blocktime(0, 0, 0);
}

/* Pages that the vCPU does not wait for any more, and vCPUs not measured */
static void test_blocktime_others(void)
{
    void *a = (void *)1, *b = (void *)2;

    postcopy_blocktime_reset(2, 2);
    postcopy_blocktime_begin(0, a, 10 * MS);
    postcopy_blocktime_end(0, b, 15 * MS);
    assert_blocktime(0, 0, 0);
    /* It waits for another page before the end of its first wait is reported */
    postcopy_blocktime_begin(0, b, 20 * MS);
    postcopy_blocktime_end(0, a, 25 * MS);
    assert_blocktime(0, 10, 0);
    postcopy_blocktime_end(0, b, 27 * MS);
    assert_blocktime(0, 17, 0);
    postcopy_blocktime_end(0, b, 30 * MS);
    assert_blocktime(0, 17, 0);
    postcopy_blocktime_begin(-1, a, 30 * MS);
    postcopy_blocktime_end(-1, a, 31 * MS);
    postcopy_blocktime_begin(2, a, 30 * MS);
    postcopy_blocktime_end(2, a, 31 * MS);
    assert_blocktime(0, 17, 0);
    /* None of these counts as waiting: now both vCPUs wait, for 4 ms */
    postcopy_blocktime_begin(1, a, 40 * MS);
    postcopy_blocktime_begin(0, a, 41 * MS);
    postcopy_blocktime_end(1, a, 45 * MS);
    postcopy_blocktime_end(0, a, 46 * MS);
    assert_blocktime(4, 22, 5);
    postcopy_blocktime_reset(0, 0);
}

/* With one vCPU, all vCPUs wait whenever it does */
static void test_blocktime_one(void)
{
    void *a = (void *)1, *b = (void *)2;

    postcopy_blocktime_reset(2, 1);
    postcopy_blocktime_begin(0, a, 10 * MS);
    postcopy_blocktime_begin(0, b, 30 * MS);
    assert_blocktime(20, 20, 0);
    postcopy_blocktime_end(0, a, 31 * MS);
    postcopy_blocktime_end(0, b, 60 * MS);
    assert_blocktime(50, 50, 0);
    /* It was interrupted, and waits for the same page again */
    postcopy_blocktime_begin(0, a, 70 * MS);
    postcopy_blocktime_begin(0, a, 80 * MS);
    postcopy_blocktime_end(0, a, 90 * MS);
    assert_blocktime(60, 60, 0);
    postcopy_blocktime_reset(0, 0);
}

/* Two of three indexes are in use, and both vCPUs wait for 5 ms */
static void test_blocktime_hole(void)
{
    g_autoptr(MigrationInfo) info = g_new0(MigrationInfo, 1);
    void *a = (void *)1;

    postcopy_blocktime_reset(3, 2);
    postcopy_blocktime_begin(0, a, 10 * MS);
    postcopy_blocktime_begin(2, a, 20 * MS);
    postcopy_blocktime_end(0, a, 25 * MS);
    postcopy_blocktime_end(2, a, 26 * MS);
    postcopy_blocktime_fill_info(info);
    g_assert_cmpint(info->postcopy_blocktime, ==, 5);
    postcopy_blocktime_reset(0, 0);
}

int main(int argc, char **argv)
{
    postcopy_fault_stats_init(MAX_CPUS);

    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/postcopy-stats/none", test_none);
    g_test_add_func("/postcopy-stats/count", test_count);
    g_test_add_func("/postcopy-stats/percentiles", test_percentiles);
    g_test_add_func("/postcopy-stats/histogram", test_histogram);
    g_test_add_func("/postcopy-stats/blocktime/off", test_blocktime_off);
    g_test_add_func("/postcopy-stats/blocktime/overlap",
                    test_blocktime_overlap);
    g_test_add_func("/postcopy-stats/blocktime/others",
                    test_blocktime_others);
    g_test_add_func("/postcopy-stats/blocktime/one", test_blocktime_one);
    g_test_add_func("/postcopy-stats/blocktime/hole", test_blocktime_hole);
    return g_test_run();
}
