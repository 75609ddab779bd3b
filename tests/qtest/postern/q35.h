/*
 * Set up the host bridge of q35 as a guest's firmware does
 *
 * The guest must not use PCI's configuration space at the same time.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef POSTERN_Q35_H
#define POSTERN_Q35_H

#include "libqtest.h"

/**
 * postern_pci_read() - read a device's configuration space
 * @who: the VM
 * @device: number on bus 0; its function 0
 * @reg: aligned to 4
 *
 * Return: four bytes
 */
uint32_t postern_pci_read(QTestState *who, unsigned device, unsigned reg);

/**
 * postern_pci_write() - write to a device's configuration space
 * @who: the VM
 * @device: number on bus 0; its function 0
 * @reg: aligned to 4
 * @value: four bytes
 */
void postern_pci_write(QTestState *who, unsigned device, unsigned reg,
                       uint32_t value);

/**
 * postern_bios_writable() - make the RAM just below 1 MiB writable or not
 * @who: the VM; its firmware has made it read-only
 * @writable: make it writable?
 *
 * The RAM from 1 MiB up gets another memslot by that: while the RAM below is
 * writable, one memslot covers both.
 */
void postern_bios_writable(QTestState *who, bool writable);

/**
 * postern_bios_shadow() - map RAM from 0xc0000 to 1 MiB, as firmware leaves it
 * @who: the VM
 *
 * Part of it is read-only, so main memory has several memslots.  Some of them
 * begin in the middle of a word of a bitmap of pages.
 */
void postern_bios_shadow(QTestState *who);

#endif
