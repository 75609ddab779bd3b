/*
 * KVM userfault: does this host support it?
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/ioctl.h>
#include <linux/kvm.h>
#include "qapi/error.h"
#include "system/kvm.h"
#include "system/kvm_int.h"
#include "system/kvm-userfault.h"
#include "trace.h"

/*
 * For each architecture: the page where a new vCPU begins, the type of the
 * scratch VM, and what a vCPU needs before it runs
 */
#if defined(TARGET_I386)
#define PROBE_GPA 0xfffff000ull

static int probe_vm_type(int kvm_fd)
{
    return 0;
}

static bool probe_init_vcpu(int vm_fd, int vcpu_fd)
{
    return true;
}
#elif defined(TARGET_AARCH64)
#define PROBE_GPA 0ull

/* A host may not have the default size of guest addresses */
static int probe_vm_type(int kvm_fd)
{
    int size = ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_ARM_VM_IPA_SIZE);

    return MAX(size, 0);
}

static bool probe_init_vcpu(int vm_fd, int vcpu_fd)
{
    struct kvm_vcpu_init init = {};

    return !ioctl(vm_fd, KVM_ARM_PREFERRED_TARGET, &init) &&
           !ioctl(vcpu_fd, KVM_ARM_VCPU_INIT, &init);
}
#endif

#ifdef PROBE_GPA

/* How often KVM_RUN is repeated after a signal */
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
        error_setg(errp, "the host kernel announces KVM userfault, but a vCPU"
                   " that accesses a missing page does not exit (exit reason"
                   " %u)", run->exit_reason);
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
    if (run == MAP_FAILED || !probe_init_vcpu(vm_fd, vcpu_fd)) {
        error_setg_errno(errp, errno,
                         "cannot create a vCPU to probe KVM userfault");
    } else {
        ok = probe_run(vcpu_fd, run, errp);
    }
    if (run != MAP_FAILED) {
        munmap(run, run_size);
    }
    if (vcpu_fd >= 0) {
        close(vcpu_fd);
    }
    return ok;
}

/*
 * Does the flag do what it promises?  Runs a vCPU of a scratch VM into a page
 * that is marked missing.
 */
static bool kvm_userfault_probe(int kvm_fd, Error **errp)
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
        error_setg_errno(errp, errno,
                         "cannot map memory to probe KVM userfault");
        return false;
    }
    region.userspace_addr = (uintptr_t)page;

    do {
        vm_fd = ioctl(kvm_fd, KVM_CREATE_VM, probe_vm_type(kvm_fd));
    } while (vm_fd < 0 && errno == EINTR);

    if (vm_fd < 0) {
        error_setg_errno(errp, errno,
                         "cannot create a VM to probe KVM userfault");
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

static bool kvm_userfault_probe(int kvm_fd, Error **errp)
{
    error_setg(errp, "KVM userfault is not supported for this target yet");
    return false;
}

#endif

bool kvm_userfault_supported(Error **errp)
{
    static bool supported;
    Error *reason = NULL;

    /*
     * A negative result is not cached: there may be no accelerator yet, or the
     * probe may have failed for a temporary reason.
     */
    if (supported) {
        return true;
    }
    if (!kvm_enabled()) {
        error_setg(errp, "it needs the KVM accelerator");
        return false;
    }
    if (!kvm_check_extension(kvm_state, KVM_CAP_USERFAULT)) {
        error_setg(&reason, "the host kernel does not support KVM userfault"
                   " (KVM_CAP_USERFAULT)");
    } else {
        kvm_userfault_probe(kvm_state->fd, &reason);
    }
    trace_kvm_userfault_supported(reason ? error_get_pretty(reason) : "yes");
    supported = !reason;
    error_propagate(errp, reason);
    return supported;
}
