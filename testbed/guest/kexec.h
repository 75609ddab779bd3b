/*
 * Boots another kernel from this one
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef GUEST_KEXEC_H
#define GUEST_KEXEC_H

/*
 * kexec_load: load the kernel that is on /dev/vda, with the initramfs that is on
 * /dev/vdb and with this kernel's command line
 *
 * Return: NULL, or what failed
 */
const char *kexec_load(void);

/*
 * kexec_boot: boot the loaded kernel
 *
 * Return: only on error
 */
void kexec_boot(void);

#endif
