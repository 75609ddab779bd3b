/*
 * Set up the host bridge of q35 as a guest's firmware does
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "q35.h"

enum {
    CONFIG_ADDRESS = 0xcf8,
    CONFIG_DATA = 0xcfc,
    ENABLE = 1u << 31,
    DEVICE_SHIFT = 11,

    HOST_BRIDGE = 0,
    PAM0 = 0x90,                /* attributes of 0xf0000..0xfffff */
    WRITE_TO_RAM = 1 << 5,
    PAM4 = 0x94,                /* attributes of 0xd8000..0xdffff */
    PAM_BITS = 0x00ffffff,      /* up to PAM6, 0xe8000..0xeffff */
};

uint32_t postern_pci_read(QTestState *who, unsigned device, unsigned reg)
{
    qtest_outl(who, CONFIG_ADDRESS, ENABLE | device << DEVICE_SHIFT | reg);
    return qtest_inl(who, CONFIG_DATA);
}

void postern_pci_write(QTestState *who, unsigned device, unsigned reg,
                       uint32_t value)
{
    qtest_outl(who, CONFIG_ADDRESS, ENABLE | device << DEVICE_SHIFT | reg);
    qtest_outl(who, CONFIG_DATA, value);
}

void postern_bios_writable(QTestState *who, bool writable)
{
    uint32_t value = postern_pci_read(who, HOST_BRIDGE, PAM0);

    postern_pci_write(who, HOST_BRIDGE, PAM0,
                      writable ? value | WRITE_TO_RAM : value & ~WRITE_TO_RAM);
}

void postern_bios_shadow(QTestState *who)
{
    uint32_t other = postern_pci_read(who, HOST_BRIDGE, PAM4) & ~PAM_BITS;

    /* Read from RAM, and only 0xe0000..0xeffff writable */
    postern_pci_write(who, HOST_BRIDGE, PAM0, 0x11111110);
    postern_pci_write(who, HOST_BRIDGE, PAM4, other | 0x333311);
}
