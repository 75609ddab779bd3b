/*
 * Post-copy destination: lines of the HMP command "info migrate"
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "monitor/monitor.h"
#include "qapi/qapi-types-migration.h"
#include "faults.h"

void postcopy_faults_print(Monitor *mon, const PostcopyFaultInfo *info)
{
    if (!info) {
        return;
    }
    monitor_printf(mon, "postcopy faults served by: %s\n",
                   PostcopyFaultMechanism_str(info->mechanism));
    monitor_printf(mon, "postcopy kvm exits: %" PRIu64 " (present: %" PRIu64
                   ", accepted: %" PRIu64 ")\n", info->kvm_exits,
                   info->kvm_exits_present, info->kvm_exits_accepted);
    monitor_printf(mon, "postcopy async faults: guest told %" PRIu64
                   ", halts %" PRIu64 "\n", info->async_told,
                   info->async_halts);
    monitor_printf(mon, "postcopy userfaultfd faults: vcpu %" PRIu64
                   ", async %" PRIu64 ", vcpu host %" PRIu64 ", other %" PRIu64
                   "\n", info->userfaultfd_vcpu, info->userfaultfd_async,
                   info->userfaultfd_vcpu_host, info->userfaultfd_other);
    monitor_printf(mon, "postcopy pages requested: %" PRIu64 "\n",
                   info->requested);
    monitor_printf(mon, "postcopy vcpus blocked: %" PRIu64 " us, guest waited:"
                   " %" PRIu64 " us\n", info->vcpu_blocked_ns / 1000,
                   info->guest_wait_ns / 1000);
    for (PostcopyFaultVCPUList *v = info->vcpus; v; v = v->next) {
        monitor_printf(mon, "  vcpu %" PRIi64 ": %" PRIu64 " faults, blocked %"
                       PRIu64 " us\n", v->value->cpu_index, v->value->faults,
                       v->value->blocked_ns / 1000);
    }
    monitor_printf(mon, "postcopy fault latency: p50 %" PRIu64 " us, p99 %"
                   PRIu64 " us\n", info->latency_p50_ns / 1000,
                   info->latency_p99_ns / 1000);
    for (PostcopyFaultLatencyList *l = info->latency; l; l = l->next) {
        monitor_printf(mon, "  up to %" PRIu64 " us: %" PRIu64 " faults\n",
                       DIV_ROUND_UP(l->value->max_ns, 1000), l->value->count);
    }
}
