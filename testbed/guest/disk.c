/*
 * Uses the guest's disk all the time
 *
 * Each page of the disk has a copy in memory, at a place of its own, and each
 * copy has a version.  At random, a page is changed in memory, written to the
 * disk, or read from it.  So the disk's back end accesses pages that the guest
 * itself has not touched for long.  A page that is read must be the one that
 * was last written.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define _GNU_SOURCE
#include "disk.h"
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    PAGE_BYTES = 4096,
    PAGE_WORDS = PAGE_BYTES / sizeof(uint64_t),
    PAGES = 2048,
};

static int disk;
static uint64_t (*memory)[PAGE_WORDS];
static uint32_t in_memory[PAGES];       /* versions */
static uint32_t on_disk[PAGES];
static atomic_uint_fast64_t ops, bad;

uint64_t disk_ops(void)
{
    return atomic_load(&ops);
}

uint64_t disk_bad(void)
{
    return atomic_load(&bad);
}

static uint64_t disk_word(unsigned page, uint32_t version, unsigned i)
{
    return ((uint64_t)version << 32 | page << 9 | i) * 0x9e3779b97f4a7c15 + 1;
}

static void change(unsigned page, uint32_t version)
{
    for (unsigned i = 0; i < PAGE_WORDS; i++) {
        memory[page][i] = disk_word(page, version, i);
    }
    in_memory[page] = version;
}

static void check(unsigned page, uint32_t version)
{
    for (unsigned i = 0; i < PAGE_WORDS; i++) {
        if (memory[page][i] != disk_word(page, version, i)) {
            atomic_fetch_add(&bad, 1);
            return;
        }
    }
}

static void use_page(unsigned page, unsigned how)
{
    off_t offset = (off_t)page * PAGE_BYTES;

    switch (how) {
    case 0:
        change(page, in_memory[page] + 1);
        return;
    case 1:
        if (pwrite(disk, memory[page], PAGE_BYTES, offset) != PAGE_BYTES) {
            atomic_fetch_add(&bad, 1);
            return;
        }
        on_disk[page] = in_memory[page];
        break;
    default:
        if (pread(disk, memory[page], PAGE_BYTES, offset) != PAGE_BYTES) {
            atomic_fetch_add(&bad, 1);
            return;
        }
        in_memory[page] = on_disk[page];
        check(page, on_disk[page]);
    }
    atomic_fetch_add(&ops, 1);
}

static void *disk_main(void *unused)
{
    unsigned seed = 1;

    for (;;) {
        int page = rand_r(&seed) % PAGES;

        use_page(page, rand_r(&seed) % 3);
    }
    return NULL;
}

int disk_start(void)
{
    size_t bytes = PAGES * PAGE_BYTES;
    pthread_t thread;

    /* Bypass the guest's page cache: each request goes to the disk itself */
    disk = open("/dev/vda", O_RDWR | O_DIRECT | O_CLOEXEC);
    if (disk < 0) {
        return -1;
    }
    memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return -1;
    }
    for (unsigned page = 0; page < PAGES; page++) {
        change(page, 1);
        on_disk[page] = 1;
    }
    if (pwrite(disk, memory, bytes, 0) != (ssize_t)bytes ||
        pthread_create(&thread, NULL, disk_main, NULL)) {
        return -1;
    }
    return 0;
}
