/*
 * What a VM's vCPUs do, for when they do not do what they should
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef POSTERN_VCPUS_H
#define POSTERN_VCPUS_H

#include "libqtest.h"

/**
 * postern_vcpus_describe() - look at the vCPUs twice, a second apart
 * @who: the VM, whose monitor must answer
 *
 * Return: lines with the VM's status, where each vCPU is, and KVM's counters
 * of all VMs; to be freed
 */
char *postern_vcpus_describe(QTestState *who);

#endif
