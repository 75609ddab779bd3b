/*
 * KVM userfault for builds without KVM
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "system/kvm-userfault.h"

bool kvm_userfault_supported(Error **errp)
{
    error_setg(errp, "QEMU was built without KVM");
    return false;
}

bool kvm_userfault_async_supported(Error **errp)
{
    return kvm_userfault_supported(errp);
}

bool kvm_userfault_start(const GPtrArray *blocks, const KVMUserfaultOps *ops,
                         bool async, Error **errp)
{
    return kvm_userfault_supported(errp);
}

void kvm_userfault_page_ready(const KVMUserfaultAccepted *accepted)
{
}

void kvm_userfault_async_stats(CPUState *cpu, KVMUserfaultAsyncStats *stats)
{
    memset(stats, 0, sizeof(*stats));
}

void kvm_userfault_page_placed(RAMBlock *rb, ram_addr_t offset, size_t length)
{
}

bool kvm_userfault_guarded(RAMBlock *rb, ram_addr_t offset)
{
    return false;
}

bool kvm_userfault_stop(void)
{
    return true;
}
