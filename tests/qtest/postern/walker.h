/*
 * The guest of migration-test, seen through its memory
 *
 * It is a boot sector that increments a byte in each page of its test memory,
 * in order, again and again.
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef POSTERN_WALKER_H
#define POSTERN_WALKER_H

#include "libqtest.h"

/**
 * walker_write_firmware: write firmware that starts the guest at once, where
 * SeaBIOS takes longer than all the rest of a test on an emulated host
 * @directory: where to
 *
 * It leaves the host bridge and all devices as they are after a reset.
 *
 * Returns: its path, for -bios, to be freed
 */
char *walker_write_firmware(const char *directory);

/**
 * walker_wait_for_round: wait until the guest has been through all of its test
 * memory once since it booted
 * @who: where it runs
 *
 * Its first words on the serial line would come after 64 rounds.
 */
void walker_wait_for_round(QTestState *who);

/**
 * walker_host_address: where QEMU's own memory has the guest's
 * @who: where it runs
 * @address: guest address
 */
uint64_t walker_host_address(QTestState *who, uint64_t address);

/**
 * walker_position: the guest address that the guest accesses now, or next
 * @who: where it runs, past its first round
 */
uint64_t walker_position(QTestState *who);

/**
 * walker_check: see that the guest runs, stop it, and see that it stands still
 * and that no page of its test memory was lost or is stale
 * @who: where it runs, and where all of its memory is
 */
void walker_check(QTestState *who);

#endif
