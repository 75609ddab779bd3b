/*
 * KVM userfault: vCPUs that go on while their page is brought
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_KVM_USERFAULT_ASYNC_H
#define ACCEL_KVM_USERFAULT_ASYNC_H

#include "system/kvm-userfault.h"

/**
 * kvm_userfault_async_start: let exits of all vCPUs be accepted, or none
 * @async: whether to
 *
 * Where the host does not support it, none are.  vCPUs that are plugged later
 * follow at their first exit.
 *
 * Context: BQL held, no vCPU running.
 */
void kvm_userfault_async_start(bool async);

/**
 * kvm_userfault_async_accept: accept the last exit of a vCPU, if possible
 * @cpu: the vCPU, in its own thread, after an exit with the USERFAULT flag
 * @accepted: what kvm_userfault_page_ready() needs
 *
 * Returns: true if the vCPU may run without its page.
 */
bool kvm_userfault_async_accept(CPUState *cpu, KVMUserfaultAccepted *accepted);

#endif
