/*
 * KVM userfault: try it on a scratch VM
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/ioctl.h>
#include <linux/kvm.h>
#include "qapi/error.h"
#include "kvm-userfault.h"

#if defined(TARGET_I386)
/* The page of the reset vector: a new vCPU fetches its first instruction */
#define PROBE_GPA 0xfffff000ull
#endif

#ifdef PROBE_GPA

/* What a signal may interrupt is tried again, but not forever */
#define PROBE_ATTEMPTS 100

static bool probe_run(int vcpu_fd, const struct kvm_run *run, Error **errp)
{
    int ret, attempts = 0;

    do {
        ret = ioctl(vcpu_fd, KVM_RUN, 0);
    } while (ret < 0 && errno == EINTR && ++attempts < PROBE_ATTEMPTS);

    if (ret == 0 || errno != EFAULT ||
        run->exit_reason != KVM_EXIT_MEMORY_FAULT ||
        !(run->memory_fault.flags & KVM_MEMORY_EXIT_FLAG_USERFAULT) ||
        run->memory_fault.gpa != PROBE_GPA) {
        error_setg(errp, "KVM userfault is announced by the host kernel, but a"
                   " vCPU that touches a missing page does not exit for it"
                   " (exit reason %u)", run->exit_reason);
        return false;
    }
    return true;
}

static bool probe_vcpu(int kvm_fd, int vm_fd, Error **errp)
{
    int run_size = ioctl(kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
    int vcpu_fd = ioctl(vm_fd, KVM_CREATE_VCPU, 0);
    struct kvm_run *run = MAP_FAILED;
    bool ok = false;

    if (vcpu_fd >= 0 && run_size > 0) {
        run = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED,
                   vcpu_fd, 0);
    }
    if (run == MAP_FAILED) {
        error_setg_errno(errp, errno, "no vCPU to try KVM userfault with");
    } else {
        ok = probe_run(vcpu_fd, run, errp);
        munmap(run, run_size);
    }
    if (vcpu_fd >= 0) {
        close(vcpu_fd);
    }
    return ok;
}

bool kvm_userfault_probe(int kvm_fd, Error **errp)
{
    size_t page_size = qemu_real_host_page_size();
    unsigned long bitmap = 1;
    struct kvm_userspace_memory_region2 region = {
        .flags = KVM_MEM_USERFAULT,
        .guest_phys_addr = PROBE_GPA,
        .memory_size = page_size,
        .userfault_bitmap = (uintptr_t)&bitmap,
    };
    void *page = mmap(NULL, page_size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int vm_fd = -1;
    bool ok = false;

    if (page == MAP_FAILED) {
        error_setg_errno(errp, errno, "no memory to try KVM userfault with");
        return false;
    }
    region.userspace_addr = (uintptr_t)page;

    do {
        vm_fd = ioctl(kvm_fd, KVM_CREATE_VM, 0);
    } while (vm_fd < 0 && errno == EINTR);

    if (vm_fd < 0) {
        error_setg_errno(errp, errno, "no VM to try KVM userfault with");
    } else if (ioctl(vm_fd, KVM_SET_USER_MEMORY_REGION2, &region) < 0) {
        error_setg_errno(errp, errno, "the host kernel refuses"
                         " KVM_MEM_USERFAULT");
    } else {
        ok = probe_vcpu(kvm_fd, vm_fd, errp);
    }

    if (vm_fd >= 0) {
        close(vm_fd);
    }
    munmap(page, page_size);
    return ok;
}

#else /* !PROBE_GPA */

bool kvm_userfault_probe(int kvm_fd, Error **errp)
{
    error_setg(errp, "KVM userfault is not supported for this target yet");
    return false;
}

#endif
