/*
 * The guest of migration-test, watched through its memory
 *
 * It is a boot sector, or on aarch64 a kernel, that increments a byte in each
 * page of its test memory, in order, again and again.
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef POSTERN_WALKER_H
#define POSTERN_WALKER_H

#include "libqtest.h"
#include "migration/bootfile.h"

/* The test memory, and where RAM begins */
#ifdef __aarch64__
#define RAM_START 0x40000000
#define WALKER_START ARM_TEST_MEM_START
#define WALKER_END ARM_TEST_MEM_END
#else
#define RAM_START 0
#define WALKER_START X86_TEST_MEM_START
#define WALKER_END X86_TEST_MEM_END
#endif

/**
 * walker_write_firmware: write firmware that starts the guest at once
 * @directory: of the file
 *
 * On an emulated host, SeaBIOS takes longer than the rest of a test.  This
 * firmware leaves the host bridge and all devices in their state after a
 * reset.  On aarch64, the guest stays in the firmware's flash, and QEMU plugs
 * memory only where there is firmware.
 *
 * Returns: its path, for -bios, to be freed
 */
char *walker_write_firmware(const char *directory);

/**
 * walker_wait_for_round: wait until the guest has incremented all pages once
 * @who: where it runs
 *
 * The guest prints nothing on its serial line before 64 rounds.
 */
void walker_wait_for_round(QTestState *who);

/**
 * walker_host_address: QEMU's host address of guest memory
 * @who: where it runs
 * @address: guest address
 */
uint64_t walker_host_address(QTestState *who, uint64_t address);

/**
 * walker_position: the address that the guest accesses now or next
 * @who: where it runs, after its first round
 */
uint64_t walker_position(QTestState *who);

/**
 * walker_set: stop the guest in the first half of its test memory, and write
 * that memory as if it had come there in another round
 * @who: where it runs, after its first round
 * @byte: of the pages that it has incremented in this round; the others have
 *        one less
 */
void walker_set(QTestState *who, uint8_t byte);

/**
 * walker_check: check that the guest runs, stop it, and check that it is
 * stopped and that no page of its test memory is lost or stale
 * @who: where it runs, with all of its memory
 */
void walker_check(QTestState *who);

#endif
