/*
 * Threads that wait in the userfaultfd of a post-copy destination
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef POSTERN_UFFD_H
#define POSTERN_UFFD_H

#include "libqtest.h"

/* A thread of the test that reads a byte of QEMU's memory */
typedef struct UffdReader UffdReader;

/**
 * uffd_watch_stack: register a page outside guest memory with userfaultfd
 * @who: QEMU, in post-copy
 *
 * It is the unused end of a thread's stack.
 *
 * Returns: its host address
 */
uint64_t uffd_watch_stack(QTestState *who);

/**
 * uffd_reader_new: read a byte in a thread, which waits if the page is missing
 * @who: QEMU
 * @address: host address of the byte
 *
 * Returns: the reader
 */
UffdReader *uffd_reader_new(QTestState *who, uint64_t address);

/** uffd_reader_sleeps: does the reader wait in the kernel? */
bool uffd_reader_sleeps(UffdReader *reader);

/** uffd_reader_done: has the reader read the byte? */
bool uffd_reader_done(UffdReader *reader);

/** uffd_reader_free: wait until the reader is done, and free it */
void uffd_reader_free(UffdReader *reader);

#endif
