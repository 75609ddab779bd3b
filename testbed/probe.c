/*
 * What this machine's own KVM can do
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/kvm.h>
#ifdef __x86_64__
#include <cpuid.h>
#endif

#include "probe.h"

/* KVM userfault's interface: the machine's headers may not have it. */
#define CAP_USERFAULT       0x50530001
#define MEM_USERFAULT       (1UL << 3)

struct memory_region2 {
    uint32_t slot;
    uint32_t flags;
    uint64_t guest_phys_addr;
    uint64_t memory_size;
    uint64_t userspace_addr;
    uint64_t guest_memfd_offset;
    uint32_t guest_memfd;
    uint32_t pad1;
    uint64_t userfault_bitmap;
    uint64_t pad2[13];
};
#define SET_MEMORY_REGION2  _IOW(KVMIO, 0x49, struct memory_region2)

#define PAGE 4096

typedef struct ScratchVM {
    int kvm, vm, vcpu;
    struct kvm_run *run;
    int run_size;
    uint8_t *memory;    /* one page, at guest address 0 */
} ScratchVM;

static void scratch_close(ScratchVM *s)
{
    if (s->run != MAP_FAILED) {
        munmap(s->run, s->run_size);
    }
    if (s->memory != MAP_FAILED) {
        munmap(s->memory, PAGE);
    }
    close(s->vcpu);
    close(s->vm);
    close(s->kvm);
}

static const char *scratch_open(ScratchVM *s)
{
    *s = (ScratchVM) { .vm = -1, .vcpu = -1,
                       .run = MAP_FAILED, .memory = MAP_FAILED };

    s->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (s->kvm < 0) {
        return "/dev/kvm cannot be opened";
    }
    s->vm = ioctl(s->kvm, KVM_CREATE_VM, 0);
    if (s->vm < 0) {
        return "KVM_CREATE_VM fails";
    }
    s->vcpu = ioctl(s->vm, KVM_CREATE_VCPU, 0);
    if (s->vcpu < 0) {
        return "KVM_CREATE_VCPU fails";
    }
    s->run_size = ioctl(s->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    s->run = mmap(NULL, s->run_size, PROT_READ | PROT_WRITE, MAP_SHARED,
                  s->vcpu, 0);
    s->memory = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (s->run == MAP_FAILED || s->memory == MAP_FAILED) {
        return "KVM's memory cannot be mapped";
    }
    return NULL;
}

#ifdef __x86_64__
static gboolean scratch_run(ScratchVM *s)
{
    struct kvm_userspace_memory_region region = {
        .memory_size = PAGE, .userspace_addr = (uintptr_t)s->memory,
    };
    struct kvm_regs regs = { .rflags = 2 };
    struct kvm_sregs sregs;

    s->memory[0] = 0xf4; /* hlt */
    if (ioctl(s->vm, KVM_SET_USER_MEMORY_REGION, &region) ||
        ioctl(s->vcpu, KVM_GET_SREGS, &sregs)) {
        return FALSE;
    }
    sregs.cs.base = sregs.cs.selector = 0;
    return !ioctl(s->vcpu, KVM_SET_SREGS, &sregs) &&
           !ioctl(s->vcpu, KVM_SET_REGS, &regs) &&
           !ioctl(s->vcpu, KVM_RUN, 0) &&
           s->run->exit_reason == KVM_EXIT_HLT;
}

static gboolean cpu_virtualizes(void)
{
    unsigned a, b, c, d;

    return (__get_cpuid(1, &a, &b, &c, &d) && c & (1 << 5)) ||        /* vmx */
           (__get_cpuid(0x80000001, &a, &b, &c, &d) && c & (1 << 2)); /* svm */
}

static gboolean module_nested(void)
{
    const char *const parameters[] = {
        "/sys/module/kvm_amd/parameters/nested",
        "/sys/module/kvm_intel/parameters/nested",
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(parameters); i++) {
        g_autofree char *value = NULL;

        if (g_file_get_contents(parameters[i], &value, NULL, NULL) &&
            (*value == '1' || *value == 'Y')) {
            return TRUE;
        }
    }
    return FALSE;
}
#else
/* There is no guest code for this architecture, so L1 is always emulated. */
static gboolean scratch_run(ScratchVM *s)
{
    return TRUE;
}

static gboolean cpu_virtualizes(void)
{
    return TRUE;
}

static gboolean module_nested(void)
{
    return FALSE;
}
#endif

gboolean probe_kvm(const char **why_not)
{
    ScratchVM s;

    *why_not = scratch_open(&s);
    if (!*why_not && !scratch_run(&s)) {
        *why_not = "a scratch VM does not run";
    }
    scratch_close(&s);
    return !*why_not;
}

gboolean probe_userfault(void)
{
    unsigned long bitmap = 0;
    gboolean works;
    ScratchVM s;

    works = !scratch_open(&s);
    if (works) {
        struct memory_region2 region = {
            .flags = MEM_USERFAULT,
            .memory_size = PAGE,
            .userspace_addr = (uintptr_t)s.memory,
            .userfault_bitmap = (uintptr_t)&bitmap,
        };

        works = ioctl(s.vm, KVM_CHECK_EXTENSION, CAP_USERFAULT) > 0 &&
                !ioctl(s.vm, SET_MEMORY_REGION2, &region);
    }
    scratch_close(&s);
    return works;
}

gboolean probe_nested(const char **why_not)
{
    if (!cpu_virtualizes()) {
        *why_not = "CPUID shows neither vmx nor svm";
        return FALSE;
    }
    if (!module_nested()) {
        *why_not = "KVM's module has nested virtualization off";
        return FALSE;
    }
    return probe_kvm(why_not);
}
