/*
 * The guest of migration-test, watched through its memory
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include <sys/uio.h>
#include "test-util.h"
#include "walker.h"

/* No RAM block begins or ends inside such a part of memory */
#define PART_BYTES (2 * MiB)
#define PART_PAGES (PART_BYTES / TEST_MEM_PAGE_SIZE)
#define PAGES ((WALKER_END - WALKER_START) / TEST_MEM_PAGE_SIZE)

#define SHOWN_MAX 10

/* Where "info registers" has the address that the guest uses */
#ifdef __aarch64__
#define ADDRESS_REGISTER "X04="
#else
#define ADDRESS_REGISTER "EAX="
#endif

#ifdef __aarch64__
/* A CPU begins at the start of the flash, and the program runs anywhere */
#define FIRMWARE_BYTES (64 * KiB)
#define ARCH "aarch64"

static void make_firmware(uint8_t *image, const char *program, size_t len)
{
    g_assert_cmpint(len, <=, FIRMWARE_BYTES);
    memcpy(image, program, len);
}
#else
/* The boot sector is at the beginning of the firmware's segment, 0xf000 */
#define FIRMWARE_BYTES (64 * KiB)
#define FIRMWARE_START 0xff00
#define FIRMWARE_RESET 0xfff0
#define ARCH "x86_64"

static void make_firmware(uint8_t *image, const char *program, size_t len)
{
    static const uint8_t start[] = {
        0xfc,                               /* cld */
        0xb8, 0x00, 0xf0,                   /* mov $0xf000, %ax */
        0x8e, 0xd8,                         /* mov %ax, %ds */
        0x31, 0xf6,                         /* xor %si, %si */
        0x31, 0xc0,                         /* xor %ax, %ax */
        0x8e, 0xc0,                         /* mov %ax, %es */
        0xbf, 0x00, 0x7c,                   /* mov $0x7c00, %di */
        0xb9, 0x00, 0x01,                   /* mov $256, %cx */
        0xf3, 0xa5,                         /* rep movsw */
        0x8e, 0xd8,                         /* mov %ax, %ds */
        0xea, 0x00, 0x7c, 0x00, 0x00,       /* ljmp $0, $0x7c00 */
    };
    static const uint8_t reset[] = {
        0xea, 0x00, 0xff, 0x00, 0xf0,       /* ljmp $0xf000, $start */
    };

    g_assert_cmpint(len, ==, 512);
    memcpy(image, program, len);
    memcpy(image + FIRMWARE_START, start, sizeof(start));
    memcpy(image + FIRMWARE_RESET, reset, sizeof(reset));
}
#endif

char *walker_write_firmware(const char *directory)
{
    g_autofree uint8_t *image = g_malloc0(FIRMWARE_BYTES);
    g_autofree char *program = NULL;
    char *path = g_strdup_printf("%s/firmware", directory);
    size_t len;

    g_assert(g_file_get_contents(bootfile_create(ARCH, directory, false),
                                 &program, &len, NULL));
    make_firmware(image, program, len);
    g_assert(g_file_set_contents(path, (char *)image, FIRMWARE_BYTES, NULL));
    return path;
}

void walker_wait_for_round(QTestState *who)
{
    POLL_UNTIL(qtest_readb(who, WALKER_END - TEST_MEM_PAGE_SIZE));
}

uint64_t walker_host_address(QTestState *who, uint64_t address)
{
    g_autofree char *said = qtest_hmp(who, "gpa2hva 0x%" PRIx64, address);
    const char *found = strstr(said, ") is 0x");

    g_assert(found);
    return g_ascii_strtoull(found + strlen(") is "), NULL, 16);
}

uint64_t walker_position(QTestState *who)
{
    g_autofree char *registers = qtest_hmp(who, "info registers");
    const char *found = strstr(registers, ADDRESS_REGISTER);
    uint64_t address;

    g_assert(found);
    address = g_ascii_strtoull(found + strlen(ADDRESS_REGISTER), NULL, 16);
    if (address == WALKER_END) {
        /* At the end of a round */
        return WALKER_START;
    }
    g_assert_cmphex(address, >=, WALKER_START);
    g_assert_cmphex(address, <, WALKER_END);
    return address;
}

void walker_set(QTestState *who, uint8_t byte)
{
    uint64_t position;

    for (int i = 0; ; i++) {
        qtest_qmp_assert_success(who, "{ 'execute': 'stop' }");
        position = walker_position(who);
        /* Not at the first page, which is compared below */
        if (position > WALKER_START &&
            position < WALKER_START + (WALKER_END - WALKER_START) / 2) {
            break;
        }
        g_assert_cmpint(i, <, POLLS_MAX);
        qtest_qmp_assert_success(who, "{ 'execute': 'cont' }");
        g_usleep(POLL_US);
    }
    /* Has it incremented this page, as it has the first one? */
    if (qtest_readb(who, position) == qtest_readb(who, WALKER_START)) {
        position += TEST_MEM_PAGE_SIZE;
    }
    qtest_memset(who, WALKER_START, byte, position - WALKER_START);
    qtest_memset(who, position, byte - 1, WALKER_END - position);
}

/*
 * Reads the first byte of each page of the test memory.  With a command of
 * QEMU for each, this would take seconds on an emulated host.
 */
static void read_bytes(QTestState *who, uint8_t *bytes)
{
    uint64_t address = WALKER_START;

    while (address < WALKER_END) {
        uint64_t end = MIN(ROUND_UP(address + 1, PART_BYTES), WALKER_END);
        size_t count = (end - address) / TEST_MEM_PAGE_SIZE;
        char *host = (char *)(uintptr_t)walker_host_address(who, address);
        struct iovec local = { .iov_base = bytes, .iov_len = count };
        struct iovec remote[PART_PAGES];

        for (size_t i = 0; i < count; i++) {
            remote[i].iov_base = host + i * TEST_MEM_PAGE_SIZE;
            remote[i].iov_len = 1;
        }
        g_assert_cmpint(process_vm_readv(qtest_pid(who), &local, 1, remote,
                                         count, 0), ==, count);
        bytes += count;
        address = end;
    }
}

/*
 * All pages have the same byte up to the page where the guest was stopped.
 * From there on, the byte is one less.
 */
static unsigned count_wrong(const uint8_t *bytes)
{
    uint8_t expected = bytes[0];
    bool passed_guest = false;
    unsigned wrong = 0;

    for (unsigned i = 1; i < PAGES; i++) {
        if (bytes[i] == expected) {
            continue;
        }
        if (bytes[i] == (uint8_t)(expected - 1) && !passed_guest) {
            passed_guest = true;
            expected--;
            continue;
        }
        if (wrong++ < SHOWN_MAX) {
            g_test_message("page at 0x%x: %u, expected %u",
                           WALKER_START + i * TEST_MEM_PAGE_SIZE,
                           bytes[i], expected);
        }
    }
    return wrong;
}

void walker_check(QTestState *who)
{
    g_autofree uint8_t *bytes = g_malloc(PAGES);
    g_autofree uint8_t *later = g_malloc(PAGES);
    uint8_t before = qtest_readb(who, WALKER_START);

    POLL_UNTIL(qtest_readb(who, WALKER_START) != before);
    qtest_qmp_assert_success(who, "{ 'execute': 'stop' }");
    read_bytes(who, bytes);
    g_assert_cmpuint(count_wrong(bytes), ==, 0);
    read_bytes(who, later);
    g_assert_cmpmem(bytes, PAGES, later, PAGES);
}
