/*
 * Unit tests of system/memory-flat-ranges.c: randomized, against an array
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "../system/memory-flat-ranges.h"

#define PAGE 4096

/* The only region, and the number of references to it */
static MemoryRegion region;
static int64_t references;

void memory_region_ref(MemoryRegion *mr)
{
    g_assert_true(mr == &region);
    references++;
}

void memory_region_unref(MemoryRegion *mr)
{
    g_assert_true(mr == &region);
    references--;
}

/* Ranges, and an array that must equal them */
typedef struct Version {
    FlatRanges *ranges;
    GArray *model;
} Version;

static FlatRange make_range(hwaddr start, hwaddr size)
{
    static hwaddr serial;

    return (FlatRange) {
        .mr = &region,
        .offset_in_region = serial++,
        .addr = { int128_make64(start), int128_make64(size) },
    };
}

static FlatRange *model_range(const Version *version, guint i)
{
    return &g_array_index(version->model, FlatRange, i);
}

static void assert_same(const FlatRange *a, const FlatRange *b)
{
    g_assert_cmphex(flat_range_first(a), ==, flat_range_first(b));
    g_assert_cmphex(flat_range_last(a), ==, flat_range_last(b));
    g_assert_cmpuint(a->offset_in_region, ==, b->offset_in_region);
}

/* Like flat_ranges_iter_init(), in the array */
static guint model_seek(const Version *version, hwaddr addr)
{
    guint i = 0;

    while (i < version->model->len &&
           flat_range_last(model_range(version, i)) < addr) {
        i++;
    }
    return i;
}

static void check(const Version *version)
{
    FlatRangesIter iter;
    const FlatRange *fr;
    guint i = 0;

    FLAT_RANGES_FOREACH(fr, &iter, version->ranges) {
        g_assert_cmpuint(i, <, version->model->len);
        assert_same(fr, model_range(version, i++));
    }
    g_assert_cmpuint(i, ==, version->model->len);
    g_assert_cmpuint(flat_ranges_nr(version->ranges), ==, i);
}

static void check_at(const Version *version, hwaddr addr)
{
    FlatRangesIter iter;
    const FlatRange *fr = flat_ranges_iter_init(&iter, version->ranges, addr);
    const FlatRange *found = flat_ranges_find(version->ranges, addr);
    guint i = model_seek(version, addr);

    if (i == version->model->len) {
        g_assert_null(fr);
        g_assert_null(found);
        return;
    }
    assert_same(fr, model_range(version, i));
    g_assert_true(found == (flat_range_first(fr) <= addr ? fr : NULL));
    g_assert_true(flat_ranges_iter_get(&iter) == fr);
    fr = flat_ranges_iter_next(&iter);
    if (i + 1 == version->model->len) {
        g_assert_null(fr);
    } else {
        assert_same(fr, model_range(version, i + 1));
    }
}

static void version_free(Version *version)
{
    flat_ranges_free(version->ranges);
    g_array_free(version->model, true);
}

/* Replace pages from @first up by some ranges, @times times */
static Version version_next(const Version *old, unsigned pages, unsigned times)
{
    Version new = { .model = g_array_new(false, false, sizeof(FlatRange)) };
    FlatRangesBuilder builder;
    hwaddr addr = 0;
    guint i = 0;

    flat_ranges_builder_init(&builder, old->ranges);
    while (times--) {
        hwaddr begin = addr + (hwaddr)g_test_rand_int_range(0, pages) * PAGE;
        /* Mostly few pages, sometimes many */
        unsigned most = g_test_rand_int_range(0, 20) ? 4 : pages;
        hwaddr end = begin + (hwaddr)g_test_rand_int_range(1, most + 1) * PAGE;

        flat_ranges_builder_keep(&builder, int128_make64(begin));
        for (; i < old->model->len &&
             flat_range_first(model_range(old, i)) < begin; i++) {
            g_array_append_val(new.model, *model_range(old, i));
        }
        flat_ranges_builder_skip(&builder, int128_make64(end));
        while (i < old->model->len &&
               flat_range_first(model_range(old, i)) < end) {
            i++;
        }
        for (addr = begin; addr < end; addr += PAGE) {
            if (g_test_rand_int_range(0, 4)) {
                FlatRange fr = make_range(addr, PAGE);

                flat_ranges_builder_add(&builder, &fr);
                g_array_append_val(new.model, fr);
            }
        }
    }
    flat_ranges_builder_keep(&builder, int128_2_64());
    for (; i < old->model->len; i++) {
        g_array_append_val(new.model, *model_range(old, i));
    }
    new.ranges = flat_ranges_builder_end(&builder);
    return new;
}

/* Old versions are freed in any order, and do not change until then */
static void test_random(gconstpointer opaque)
{
    unsigned pages = GPOINTER_TO_UINT(opaque);
    Version version[5] = { };
    int newest = 0;

    for (int i = 0; i < ARRAY_SIZE(version); i++) {
        version[i].model = g_array_new(false, false, sizeof(FlatRange));
    }

    for (int turn = 0; turn < 4000; turn++) {
        int other = g_test_rand_int_range(0, ARRAY_SIZE(version));

        if (other != newest) {
            version_free(&version[other]);
            version[other] = version_next(&version[newest], pages,
                                          g_test_rand_int_range(1, 4));
            newest = other;
        }
        for (int i = 0; i < 20; i++) {
            check_at(&version[g_test_rand_int_range(0, ARRAY_SIZE(version))],
                     (hwaddr)g_test_rand_int_range(0, pages * PAGE));
        }
        if (turn % 100 == 0) {
            for (int i = 0; i < ARRAY_SIZE(version); i++) {
                check(&version[i]);
            }
        }
    }

    for (int i = 0; i < ARRAY_SIZE(version); i++) {
        check(&version[i]);
        version_free(&version[i]);
    }
    g_assert_cmpint(references, ==, 0);
}

/*
 * Add one range at a time at the end.  Shared chunks must stay large, so each
 * addition takes few references.
 */
static void test_append(void)
{
    FlatRanges *ranges = NULL;

    for (int i = 0; i < 20000; i++) {
        FlatRange fr = make_range((hwaddr)i * PAGE, PAGE);
        int64_t before = references;
        FlatRangesBuilder builder;
        FlatRanges *next;

        flat_ranges_builder_init(&builder, ranges);
        flat_ranges_builder_keep(&builder, int128_2_64());
        flat_ranges_builder_add(&builder, &fr);
        next = flat_ranges_builder_end(&builder);
        g_assert_cmpint(references - before, <=, 512);
        flat_ranges_free(ranges);
        ranges = next;
        g_assert_cmpint(references, ==, i + 1);
    }
    flat_ranges_free(ranges);
    g_assert_cmpint(references, ==, 0);
}

/* A range up to the last address, and a range of all addresses */
static void test_edges(void)
{
    FlatRange all = {
        .mr = &region,
        .addr = { int128_zero(), int128_2_64() },
    };
    FlatRange last = make_range(-(hwaddr)PAGE, PAGE);
    FlatRangesBuilder builder;
    FlatRanges *ranges;

    g_assert_null(flat_ranges_find(NULL, 0));
    g_assert_cmpuint(flat_ranges_nr(NULL), ==, 0);

    flat_ranges_builder_init(&builder, NULL);
    flat_ranges_builder_add(&builder, &last);
    ranges = flat_ranges_builder_end(&builder);
    g_assert_null(flat_ranges_find(ranges, -(hwaddr)PAGE - 1));
    assert_same(flat_ranges_find(ranges, -(hwaddr)PAGE), &last);
    assert_same(flat_ranges_find(ranges, HWADDR_MAX), &last);
    flat_ranges_free(ranges);

    flat_ranges_builder_init(&builder, NULL);
    flat_ranges_builder_add(&builder, &all);
    ranges = flat_ranges_builder_end(&builder);
    assert_same(flat_ranges_find(ranges, 0), &all);
    assert_same(flat_ranges_find(ranges, HWADDR_MAX), &all);
    flat_ranges_free(ranges);

    flat_ranges_builder_init(&builder, NULL);
    ranges = flat_ranges_builder_end(&builder);
    g_assert_null(flat_ranges_find(ranges, 0));
    flat_ranges_free(ranges);
    g_assert_cmpint(references, ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/flat-ranges/random/small", GUINT_TO_POINTER(300),
                         test_random);
    g_test_add_data_func("/flat-ranges/random/large", GUINT_TO_POINTER(5000),
                         test_random);
    g_test_add_func("/flat-ranges/append", test_append);
    g_test_add_func("/flat-ranges/edges", test_edges);
    return g_test_run();
}
