/*
 * postern-test: post-copy with each kind of memory backend
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "libqtest.h"
#include "migration/migration-qmp.h"
#include "test-util.h"

/* All of the guest's memory from one backend */
#define MAIN(backend) \
    "-m %s -object memory-backend-" backend ",id=m0,size=150M" \
    " -machine memory-backend=m0"

typedef struct Memory {
    const char *name;
    const char *options;        /* one %s, for the size */
    unsigned huge_kib;          /* size of its huge pages, or 0 */
} Memory;

static const Memory memories[] = {
    /* First, before L1's memory is fragmented */
    { "hugetlb-shared",
      MAIN("memfd,hugetlb=on,hugetlbsize=2M,share=on"), 2048 },
    { "hugetlb-private",
      MAIN("memfd,hugetlb=on,hugetlbsize=2M,share=off"), 2048 },
#ifdef __aarch64__
    /* 16 adjacent pages */
    { "hugetlb-64k", MAIN("memfd,hugetlb=on,hugetlbsize=64K,share=on"), 64 },
#endif
    { "ram-shared", MAIN("ram,share=on") },
    { "memfd-shared", MAIN("memfd,share=on") },
    { "memfd-private", MAIN("memfd,share=off") },
    { "file-shared", MAIN("file,mem-path=/dev/shm,share=on") },
    { "file-private", MAIN("file,mem-path=/dev/shm,share=off") },
    /* Two blocks of different kinds; the guest uses both */
    { "numa", "-m %s -object memory-backend-ram,id=m0,size=64M"
      " -object memory-backend-memfd,id=m1,size=86M,share=on"
      " -numa node,memdev=m0 -numa node,memdev=m1" },
    { "dimm", "-m %s,slots=2,maxmem=1G"
      " -object memory-backend-ram,id=d0,size=64M -device pc-dimm,memdev=d0" },
    /* This guest has no driver, so this memory stays discarded */
    { "virtio-mem", "-m %s,maxmem=1G"
      " -object memory-backend-ram,id=v0,size=128M"
      " -device virtio-mem-pci,memdev=v0,requested-size=64M" },
};

/* For two guests of 150 MiB; until L1 ends */
static void reserve_huge_pages(unsigned kib)
{
    g_autofree char *path = g_strdup_printf(
        "/sys/kernel/mm/hugepages/hugepages-%ukB/nr_hugepages", kib);
    unsigned pages = 2 * 150 * KiB / kib;
    g_autofree char *wanted = g_strdup_printf("%u", pages);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    char text[16] = "";

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(write(fd, wanted, strlen(wanted)), ==, strlen(wanted));
    g_assert_cmpint(pread(fd, text, sizeof(text) - 1, 0), >, 0);
    g_assert_cmpint(atoi(text), >=, pages);
    close(fd);
}

static void test_memory(const void *opaque)
{
    const Memory *memory = opaque;
    MigrateStart start = {
        .memory_backend = memory->options,
    };
    QTestState *from, *to;

    if (memory->huge_kib) {
        reserve_huge_pages(memory->huge_kib);
    }
    if (begin_with(&start, &from, &to, memory->huge_kib > 64 ? 3 : 20, ON,
                   NULL)) {
        finish(from, to, true);
    }
}

/*
 * The stream breaks inside a 2 MiB page: the recovery sends the whole page
 * again
 */
static void test_huge_recovery(const void *opaque)
{
    const Memory *memory = opaque;
    MigrateStart start = { .memory_backend = memory->options, .oob = true };
    QTestState *from, *to;

    reserve_huge_pages(memory->huge_kib);
    if (!begin_with(&start, &from, &to, 3, ON, NULL)) {
        return;
    }
    /* Almost certainly inside a page: the source does little but send pages */
    kill(qtest_pid(from), SIGSTOP);
    migrate_pause(to);
    wait_for_paused(to);
    kill(qtest_pid(from), SIGCONT);
    wait_for_paused(from);
    resume(from, to);
    finish(from, to, true);
}

void add_memory_backends_cases(void)
{
    if (!host_has_userfault()) {
        return;
    }
    for (int i = 0; i < ARRAY_SIZE(memories); i++) {
        g_autofree char *path = g_strdup_printf("/postern/memory-backends/%s",
                                                memories[i].name);

        qtest_add_data_func(path, &memories[i], test_memory);
    }
    qtest_add_data_func("/postern/memory-backends/hugetlb-recovery",
                        &memories[0], test_huge_recovery);
}
