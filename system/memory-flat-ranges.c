/*
 * The ranges of a FlatView: sorted, immutable, and shared between FlatViews
 *
 * The ranges are in chunks, and an index says where each chunk begins.  A
 * change makes a new index, and new chunks for the ranges around it.  Each
 * index holds a reference to its chunks.  More levels than these two would copy
 * less of the index, but with 32,000 ranges it has only 300 entries.
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "memory-flat-ranges.h"

/*
 * All chunks of an index but the last have CHUNK_MIN ranges or more.  A chunk
 * that gets too large is split in half, so that the chunks after it can be
 * shared.  If it were filled up instead, the few remaining ranges would be too
 * few for a chunk and would move into the next one, and so on to the end.
 */
#define CHUNK_MAX 256
#define CHUNK_MIN (CHUNK_MAX / 4)

typedef struct FlatRangeChunk {
    unsigned int ref;
    unsigned int nr;
    FlatRange ranges[];
} FlatRangeChunk;

typedef struct ChunkIndex {
    hwaddr first;               /* address of the chunk */
    FlatRangeChunk *chunk;
} ChunkIndex;

struct FlatRanges {
    unsigned int nr;
    unsigned int nr_chunks;
    ChunkIndex index[];
};

static FlatRangeChunk *chunk_new(const FlatRange *ranges, unsigned int nr)
{
    FlatRangeChunk *chunk = g_malloc(sizeof(*chunk) + nr * sizeof(*ranges));

    chunk->ref = 1;
    chunk->nr = nr;
    memcpy(chunk->ranges, ranges, nr * sizeof(*ranges));
    for (unsigned int i = 0; i < nr; i++) {
        memory_region_ref(ranges[i].mr);
    }
    return chunk;
}

static void chunk_unref(FlatRangeChunk *chunk)
{
    if (qatomic_fetch_dec(&chunk->ref) > 1) {
        return;
    }
    for (unsigned int i = 0; i < chunk->nr; i++) {
        memory_region_unref(chunk->ranges[i].mr);
    }
    g_free(chunk);
}

bool flatrange_equal(const FlatRange *a, const FlatRange *b)
{
    return a->mr == b->mr &&
           int128_eq(a->addr.start, b->addr.start) &&
           int128_eq(a->addr.size, b->addr.size) &&
           a->offset_in_region == b->offset_in_region &&
           a->romd_mode == b->romd_mode &&
           a->readonly == b->readonly &&
           a->nonvolatile == b->nonvolatile &&
           a->unmergeable == b->unmergeable;
}

unsigned int flat_ranges_nr(const FlatRanges *ranges)
{
    return ranges ? ranges->nr : 0;
}

void flat_ranges_free(FlatRanges *ranges)
{
    for (unsigned int i = 0; ranges && i < ranges->nr_chunks; i++) {
        chunk_unref(ranges->index[i].chunk);
    }
    g_free(ranges);
}

/* Returns the last chunk that begins at or below @addr, else the first one */
static unsigned int find_chunk(const FlatRanges *ranges, hwaddr addr)
{
    unsigned int low = 0, high = ranges->nr_chunks;

    while (high - low > 1) {
        unsigned int middle = low + (high - low) / 2;

        if (ranges->index[middle].first <= addr) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

const FlatRange *flat_ranges_iter_init(FlatRangesIter *iter,
                                       const FlatRanges *ranges, hwaddr addr)
{
    const FlatRangeChunk *chunk;
    unsigned int low = 0, high;

    *iter = (FlatRangesIter) { .ranges = ranges };
    if (!flat_ranges_nr(ranges)) {
        return NULL;
    }

    iter->chunk = find_chunk(ranges, addr);
    chunk = ranges->index[iter->chunk].chunk;
    high = chunk->nr;
    while (low < high) {
        unsigned int middle = low + (high - low) / 2;

        if (flat_range_last(&chunk->ranges[middle]) < addr) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }

    iter->pos = low;
    if (low == chunk->nr) {
        iter->chunk++;
        iter->pos = 0;
    }
    return flat_ranges_iter_get(iter);
}

const FlatRange *flat_ranges_iter_get(const FlatRangesIter *iter)
{
    const FlatRanges *ranges = iter->ranges;

    return ranges && iter->chunk < ranges->nr_chunks ?
           &ranges->index[iter->chunk].chunk->ranges[iter->pos] : NULL;
}

const FlatRange *flat_ranges_iter_next(FlatRangesIter *iter)
{
    if (++iter->pos == iter->ranges->index[iter->chunk].chunk->nr) {
        iter->chunk++;
        iter->pos = 0;
    }
    return flat_ranges_iter_get(iter);
}

const FlatRange *flat_ranges_iter_step(FlatRangesIter *iter)
{
    const FlatRange *fr = flat_ranges_iter_get(iter);

    if (fr) {
        flat_ranges_iter_next(iter);
    }
    return fr;
}

const FlatRange *flat_ranges_iter_get_below(const FlatRangesIter *iter,
                                            Int128 end)
{
    const FlatRange *fr = flat_ranges_iter_get(iter);

    return fr && int128_lt(fr->addr.start, end) ? fr : NULL;
}

const FlatRange *flat_ranges_find(const FlatRanges *ranges, hwaddr addr)
{
    FlatRangesIter iter;
    const FlatRange *fr = flat_ranges_iter_init(&iter, ranges, addr);

    return fr && flat_range_first(fr) <= addr ? fr : NULL;
}

void flat_ranges_builder_init(FlatRangesBuilder *builder, const FlatRanges *old)
{
    *builder = (FlatRangesBuilder) {
        .index = g_array_new(false, false, sizeof(ChunkIndex)),
        .pending = g_new(FlatRange, CHUNK_MAX),
    };
    flat_ranges_iter_init(&builder->old, old, 0);
}

static void builder_add_chunk(FlatRangesBuilder *builder, FlatRangeChunk *chunk)
{
    ChunkIndex entry = {
        .first = flat_range_first(&chunk->ranges[0]),
        .chunk = chunk,
    };

    g_array_append_val(builder->index, entry);
    builder->nr += chunk->nr;
}

/* Make a chunk of the first @nr pending ranges */
static void builder_flush(FlatRangesBuilder *builder, unsigned int nr)
{
    if (!nr) {
        return;
    }
    builder_add_chunk(builder, chunk_new(builder->pending, nr));
    builder->nr_pending -= nr;
    memmove(builder->pending, builder->pending + nr,
            builder->nr_pending * sizeof(*builder->pending));
}

void flat_ranges_builder_add(FlatRangesBuilder *builder, const FlatRange *fr)
{
    if (builder->nr_pending == CHUNK_MAX) {
        builder_flush(builder, CHUNK_MAX / 2);
    }
    builder->pending[builder->nr_pending++] = *fr;
}

/*
 * Returns the next old chunk if it can be shared: it begins at the current
 * position, all its ranges begin below @end, and no chunk becomes too small.
 */
static FlatRangeChunk *builder_whole_chunk(FlatRangesBuilder *builder,
                                           Int128 end)
{
    const FlatRangesIter *old = &builder->old;
    FlatRangeChunk *chunk = old->ranges->index[old->chunk].chunk;

    if (old->pos || chunk->nr < CHUNK_MIN ||
        (builder->nr_pending && builder->nr_pending < CHUNK_MIN) ||
        int128_ge(chunk->ranges[chunk->nr - 1].addr.start, end)) {
        return NULL;
    }
    return chunk;
}

void flat_ranges_builder_keep(FlatRangesBuilder *builder, Int128 end)
{
    const FlatRange *fr;

    while ((fr = flat_ranges_iter_get(&builder->old)) &&
           int128_lt(fr->addr.start, end)) {
        FlatRangeChunk *chunk = builder_whole_chunk(builder, end);

        if (chunk) {
            builder_flush(builder, builder->nr_pending);
            qatomic_inc(&chunk->ref);
            builder_add_chunk(builder, chunk);
            builder->old.chunk++;
        } else {
            flat_ranges_builder_add(builder, fr);
            flat_ranges_iter_next(&builder->old);
        }
    }
}

void flat_ranges_builder_skip(FlatRangesBuilder *builder, Int128 end)
{
    const FlatRange *fr;

    while ((fr = flat_ranges_iter_get(&builder->old)) &&
           int128_lt(fr->addr.start, end)) {
        flat_ranges_iter_next(&builder->old);
    }
}

FlatRanges *flat_ranges_builder_end(FlatRangesBuilder *builder)
{
    FlatRanges *ranges;
    size_t size;

    builder_flush(builder, builder->nr_pending);
    size = builder->index->len * sizeof(ChunkIndex);
    ranges = g_malloc(sizeof(*ranges) + size);
    ranges->nr = builder->nr;
    ranges->nr_chunks = builder->index->len;
    if (size) {
        memcpy(ranges->index, builder->index->data, size);
    }

    g_array_free(builder->index, true);
    g_free(builder->pending);
    return ranges;
}
