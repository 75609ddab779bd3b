/*
 * Guests that increment a word of memory forever
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef POSTERN_WORD_GUEST_H
#define POSTERN_WORD_GUEST_H

/* QEMU's arguments for such a guest; one %s, for its file */
#ifdef __aarch64__
#define WORD_GUEST_ARGS "-kernel %s"
#else
#define WORD_GUEST_ARGS \
    "-drive if=none,id=d0,file=%s,format=raw" \
    " -device ide-hd,drive=d0,secs=1,cyls=1,heads=1"
#endif

/**
 * word_guest_write: write a boot sector, or on aarch64 a kernel
 * @word: guest address of the word
 *
 * Returns: its path, to be freed
 */
char *word_guest_write(uint32_t word);

#ifdef __aarch64__
/**
 * word_guest_write_pair: likewise, but the guest also loads a pair of registers
 * from the word
 * @word: guest address of the word
 * @log: guest address where it counts the exceptions that this causes, in 32
 *       bits, and keeps registers of the last one: ESR_EL1 with 32 bits, and
 *       FAR_EL1 with 64
 *
 * Returns: its path, to be freed
 */
char *word_guest_write_pair(uint32_t word, uint32_t log);

#define WORD_GUEST_ESR 4
#define WORD_GUEST_FAR 8
#endif

#endif
