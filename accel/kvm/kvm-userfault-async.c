/*
 * KVM userfault: vCPUs that go on while their page is brought
 *
 * Where an exit can be accepted, KVM tells the guest that the page is missing,
 * or halts the vCPU, and the vCPU's thread need not wait.
 *
 * Follows the interface of KVM_ASYNC_PF as it has been published; the kernel's
 * Documentation/virt/kvm/userfault-async.rst describes it.
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/ioctl.h>
#include <linux/kvm.h>
#include "qapi/error.h"
#include "hw/boards.h"
#include "hw/core/cpu.h"
#include "system/kvm.h"
#include "system/kvm_int.h"
#include "system/kvm-userfault.h"
#include "kvm-userfault-async.h"
#include "trace.h"

/*
 * By cpu_index: the file descriptor for which KVM was asked last, or -1.  A
 * vCPU that is plugged later has another one.  NULL: exits are not accepted.
 * Each element is used only by the vCPU's thread, or while the vCPU is stopped.
 */
static int *asked_fds;

bool kvm_userfault_async_supported(Error **errp)
{
    if (!kvm_enabled()) {
        error_setg(errp, "it needs the KVM accelerator");
        return false;
    }
    if (kvm_check_extension(kvm_state, KVM_CAP_ASYNC_PF_USERFAULT) <= 0) {
        error_setg(errp, "the host kernel does not support asynchronous page"
                   " faults over KVM userfault (KVM_CAP_ASYNC_PF_USERFAULT)");
        return false;
    }
    return true;
}

/* A vCPU for which this fails has exits that cannot be accepted, no more */
static void enable_vcpu(CPUState *cpu)
{
    int ret = 0;

    if (asked_fds[cpu->cpu_index] != cpu->kvm_fd) {
        asked_fds[cpu->cpu_index] = cpu->kvm_fd;
        ret = kvm_vcpu_enable_cap(cpu, KVM_CAP_ASYNC_PF_USERFAULT, 0, 1);
        trace_kvm_userfault_async_enable(cpu->cpu_index, ret);
    }
}

void kvm_userfault_async_start(bool async)
{
    unsigned max_cpus = MACHINE(qdev_get_machine())->smp.max_cpus;
    CPUState *cpu;

    if (!async || !kvm_userfault_async_supported(NULL)) {
        CPU_FOREACH(cpu) {
            if (asked_fds && asked_fds[cpu->cpu_index] == cpu->kvm_fd) {
                kvm_vcpu_enable_cap(cpu, KVM_CAP_ASYNC_PF_USERFAULT, 0, 0);
            }
        }
        g_clear_pointer(&asked_fds, g_free);
        return;
    }
    if (!asked_fds) {
        asked_fds = g_new(int, max_cpus);
        memset(asked_fds, -1, max_cpus * sizeof(*asked_fds));
    }
    CPU_FOREACH(cpu) {
        enable_vcpu(cpu);
    }
}

static int async_pf(int vcpu_fd, hwaddr gpa, uint32_t op)
{
    struct kvm_async_pf_req req = {
        .gpa = gpa,
        .op = op,
    };
    int ret;

    do {
        ret = ioctl(vcpu_fd, KVM_ASYNC_PF, &req);
    } while (ret < 0 && errno == EINTR);
    return ret < 0 ? -errno : 0;
}

bool kvm_userfault_async_accept(CPUState *cpu, KVMUserfaultAccepted *accepted)
{
    const struct kvm_run *run = cpu->kvm_run;
    int ret;

    if (!asked_fds) {
        return false;
    }
    if (!(run->memory_fault.flags & KVM_MEMORY_EXIT_FLAG_APF)) {
        enable_vcpu(cpu);
        return false;
    }
    accepted->vcpu_fd = cpu->kvm_fd;
    accepted->gpa = run->memory_fault.gpa;
    ret = async_pf(cpu->kvm_fd, accepted->gpa, KVM_APF_OP_ACCEPT);
    trace_kvm_userfault_async_accept(cpu->cpu_index, accepted->gpa, ret);
    return ret == 0;
}

void kvm_userfault_page_ready(const KVMUserfaultAccepted *accepted)
{
    /*
     * Any error means that nobody waits: the vCPU was reset, for example, or
     * the guest has disabled its asynchronous page faults.
     */
    int ret = async_pf(accepted->vcpu_fd, accepted->gpa, KVM_APF_OP_READY);

    trace_kvm_userfault_async_ready(accepted->vcpu_fd, accepted->gpa, ret);
}

/* The descriptors of a vCPU's statistics; the same for all vCPUs */
typedef struct VCPUStats {
    struct kvm_stats_header header;
    char *descs;
} VCPUStats;

static const VCPUStats *vcpu_stats_layout(int fd)
{
    static VCPUStats stats;
    size_t size;

    if (stats.descs) {
        return &stats;
    }
    if (pread(fd, &stats.header, sizeof(stats.header), 0) !=
        sizeof(stats.header)) {
        return NULL;
    }
    size = stats.header.num_desc *
           (sizeof(struct kvm_stats_desc) + stats.header.name_size);
    stats.descs = g_malloc(size);
    if (pread(fd, stats.descs, size, stats.header.desc_offset) != size) {
        g_clear_pointer(&stats.descs, g_free);
        return NULL;
    }
    return &stats;
}

/* Returns 0 if there is no such statistic */
static uint64_t vcpu_stat(int fd, const VCPUStats *stats, const char *name)
{
    size_t step = sizeof(struct kvm_stats_desc) + stats->header.name_size;
    uint64_t value = 0;

    for (unsigned i = 0; i < stats->header.num_desc; i++) {
        const struct kvm_stats_desc *desc = (void *)(stats->descs + i * step);

        if (g_str_equal(desc->name, name) &&
            pread(fd, &value, sizeof(value),
                  stats->header.data_offset + desc->offset) != sizeof(value)) {
            return 0;
        }
    }
    return value;
}

void kvm_userfault_async_stats(CPUState *cpu, KVMUserfaultAsyncStats *of)
{
    int fd = cpu->kvm_vcpu_stats_fd;
    const VCPUStats *stats;

    memset(of, 0, sizeof(*of));
    if (!kvm_enabled() || !asked_fds || fd < 0) {
        return;
    }
    stats = vcpu_stats_layout(fd);
    if (stats) {
        of->told = vcpu_stat(fd, stats, "userfault_told");
        of->halts = vcpu_stat(fd, stats, "userfault_halts");
        of->halt_ns = vcpu_stat(fd, stats, "userfault_halt_ns");
    }
}
