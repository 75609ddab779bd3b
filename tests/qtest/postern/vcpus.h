/*
 * The state of a VM's vCPUs, for the log of a failed test
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef POSTERN_VCPUS_H
#define POSTERN_VCPUS_H

#include "libqtest.h"

/**
 * postern_vcpus_describe() - read the state of the vCPUs twice, a second apart
 * @who: the VM, whose monitor must answer
 *
 * Return: lines with the VM's status, each vCPU's program counter, and KVM's
 * counters of all VMs; to be freed
 */
char *postern_vcpus_describe(QTestState *who);

#endif
