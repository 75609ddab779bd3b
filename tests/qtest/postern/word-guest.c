/*
 * Guests that increment a word of memory forever
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "migration/framework.h"
#include "word-guest.h"

#ifdef __aarch64__
char *word_guest_write(uint32_t word)
{
    uint32_t kernel[] = {
        0x18000101,     /* 00:  ldr w1, 0x20 */
        0xb9400020,     /* 04:  ldr w0, [x1] */
        0x11000400,     /*      add w0, w0, #1 */
        0xb9000020,     /*      str w0, [x1] */
        /* The MMU is off, so w0 bypasses caches that QEMU reads through */
        0xd50b7e21,     /*      dc civac, x1 */
        0x17fffffc,     /*      b 0x04 */
        0, 0,
        word,           /* 20 */
    };
    char *path = g_strdup_printf("%s/incl", migration_get_env()->tmpfs);

    g_assert(g_file_set_contents(path, (char *)kernel, sizeof(kernel), NULL));
    return path;
}

#define VECTORS 0x800
/* Of an exception at EL1, whose stack pointer is SP_EL1 */
#define VECTOR_SYNC (VECTORS + 0x200)

char *word_guest_write_pair(uint32_t word, uint32_t log)
{
    const uint32_t start[] = {
        0x10004005,     /* 00:  adr x5, VECTORS */
        0xd518c005,     /*      msr vbar_el1, x5 */
        0xd5033fdf,     /*      isb */
        0x18000121,     /*      ldr w1, 0x30 */
        0x18000122,     /*      ldr w2, 0x34 */
        0x29401023,     /* 14:  ldp w3, w4, [x1] */
        0xb9400020,     /*      ldr w0, [x1] */
        0x11000400,     /*      add w0, w0, #1 */
        0xb9000020,     /*      str w0, [x1] */
        0xd50b7e21,     /*      dc civac, x1 */
        0x17fffffb,     /*      b 0x14 */
        0,
        word,           /* 30 */
        log,            /* 34 */
    };
    /* Skips the instruction */
    const uint32_t vector[] = {
        0xd5385207,     /*      mrs x7, esr_el1 */
        0xb9000447,     /*      str w7, [x2, #4] */
        0xd5386007,     /*      mrs x7, far_el1 */
        0xf9000447,     /*      str x7, [x2, #8] */
        0xb9400047,     /*      ldr w7, [x2] */
        0x110004e7,     /*      add w7, w7, #1 */
        0xb9000047,     /*      str w7, [x2] */
        0xd50b7e22,     /*      dc civac, x2 */
        0xd5384027,     /*      mrs x7, elr_el1 */
        0x910010e7,     /*      add x7, x7, #4 */
        0xd5184027,     /*      msr elr_el1, x7 */
        0xd69f03e0,     /*      eret */
    };
    uint8_t kernel[VECTOR_SYNC + sizeof(vector)] = { 0 };
    char *path = g_strdup_printf("%s/pair", migration_get_env()->tmpfs);

    memcpy(kernel, start, sizeof(start));
    memcpy(kernel + VECTOR_SYNC, vector, sizeof(vector));
    g_assert(g_file_set_contents(path, (char *)kernel, sizeof(kernel), NULL));
    return path;
}
#else
char *word_guest_write(uint32_t word)
{
    uint8_t sector[512] = {
        /* 00 */ 0xfa,                          /* cli */
        /* 01 */ 0x31, 0xc0,                    /* xor %ax, %ax */
        /* 03 */ 0x8e, 0xd8,                    /* mov %ax, %ds */
        /* 05 */ 0x0f, 0x01, 0x16, 0x30, 0x7c,  /* lgdt 0x7c30 */
        /* 0a */ 0x0f, 0x20, 0xc0,              /* mov %cr0, %eax */
        /* 0d */ 0x0c, 0x01,                    /* or $1, %al */
        /* 0f */ 0x0f, 0x22, 0xc0,              /* mov %eax, %cr0 */
        /* 12 */ 0xbb, 0x08, 0x00,              /* mov $8, %bx */
        /* 15 */ 0x8e, 0xdb,                    /* mov %bx, %ds */
        /* 17 */ 0x24, 0xfe,                    /* and $~1, %al */
        /* 19 */ 0x0f, 0x22, 0xc0,              /* mov %eax, %cr0 */
        /* 1c */ 0x67, 0x66, 0xff, 0x05,        /* incl @word */
        /* 20 */ 0, 0, 0, 0,
        /* 24 */ 0xeb, 0xf6,                    /* jmp 0x1c */
        [0x30] = 0x0f, 0x00, 0x38, 0x7c, 0x00, 0x00,
        /* 38: the descriptor 0 is not used, 8 is all of memory */
        [0x40] = 0xff, 0xff, 0x00, 0x00, 0x00, 0x92, 0xcf, 0x00,
        [510] = 0x55, 0xaa,
    };
    char *path = g_strdup_printf("%s/incl", migration_get_env()->tmpfs);

    stl_le_p(&sector[0x20], word);
    g_assert(g_file_set_contents(path, (char *)sector, sizeof(sector), NULL));
    return path;
}
#endif
