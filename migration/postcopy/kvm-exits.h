/*
 * Post-copy destination: vCPU faults that come as exits from KVM
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_POSTCOPY_KVM_EXITS_H
#define MIGRATION_POSTCOPY_KVM_EXITS_H

#include "system/kvm-userfault.h"

/* What KVM's side calls for a vCPU that accesses a missing page */
extern const KVMUserfaultOps postcopy_kvm_exits_ops;

/**
 * postcopy_kvm_exits_init: allocate the state of each vCPU
 * @max_cpus: vCPUs that the machine may get
 *
 * Context: once, before postcopy_kvm_exits_ops is used.
 */
void postcopy_kvm_exits_init(unsigned max_cpus);

#endif
