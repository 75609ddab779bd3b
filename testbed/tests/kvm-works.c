/*
 * Exits with 0 if this machine's KVM runs a guest, another one whose pending
 * interrupt waits for a write to CR8 and then comes once, knows the TSC of a
 * third, and runs a fourth while another CPU loads its FPU's state
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/kvm.h>

#include "probe.h"

#define PAGE 4096
#define VECTOR 0x40

/* Layout of the guest's only page of memory, at address 0 */
enum {
    PAGE_TABLE = 0, GDT = 0x10, CODE = 0x20, HANDLER = 0x80, IDT = 0x100,
    STACK_END = PAGE,
};

/* The ports to which the guest writes, to say how far it has come */
enum { MASKED = 0x80, INTERRUPTED = 0x81, INTERRUPTED_TWICE = 0x82 };

static const uint8_t masks[] = {
    0x31, 0xc0,                 /* xor %eax, %eax */
    0x44, 0x0f, 0x22, 0xc0,     /* mov %rax, %cr8: interrupts are off */
    0xb0, VECTOR >> 4,          /* mov $VECTOR >> 4, %al */
    0x44, 0x0f, 0x22, 0xc0,     /* mov %rax, %cr8: masks the interrupt */
    0xfb, 0x90,                 /* sti; nop */
    0xe6, MASKED,               /* out %al, $MASKED */
    0x31, 0xc0,                 /* xor %eax, %eax */
    0x44, 0x0f, 0x22, 0xc0,     /* mov %rax, %cr8: lets it through */
    0xeb, 0xfe,                 /* jmp . */
};

/*
 * It has interrupts off for 20 million instructions, longer than the time between
 * two timer interrupts of its host.  If it interrupts itself, IF is clear in the
 * RFLAGS on its stack.
 */
static const uint8_t handler[] = {
    0xf6, 0x44, 0x24, 0x11, 0x02, /* testb $2, 17(%rsp): IF */
    0x74, 0x0b,                 /* jz the last instruction */
    0xb9, 0x80, 0x96, 0x98, 0,  /* mov $10000000, %ecx */
    0xff, 0xc9,                 /* dec %ecx */
    0x75, 0xfc,                 /* jnz the dec */
    0xe6, INTERRUPTED,          /* out %al, $INTERRUPTED */
    0xe6, INTERRUPTED_TWICE,    /* out %al, $INTERRUPTED_TWICE */
};

static const uint8_t exits[] = {
    0xe6, MASKED,               /* out %al, $MASKED */
    0xeb, 0xfc,                 /* jmp the out */
};

static void fill_memory(uint8_t *memory, const uint8_t *code, size_t size)
{
    /* The page is its own table, on all levels: entry 0 maps page 0 */
    const uint64_t page_table = 0x3;
    const uint64_t gdt[] = { 0, 0x00209b0000000000 };
    const uint64_t gate[] = { 0x8e0000080000 | HANDLER, 0 };

    memcpy(memory + PAGE_TABLE, &page_table, sizeof(page_table));
    memcpy(memory + GDT, gdt, sizeof(gdt));
    memcpy(memory + CODE, code, size);
    memcpy(memory + HANDLER, handler, sizeof(handler));
    memcpy(memory + IDT + VECTOR * sizeof(gate), gate, sizeof(gate));
}

static bool enter_long_mode(int vcpu)
{
    const struct kvm_segment cs = {
        .selector = 8, .limit = -1, .type = 11, .present = 1, .s = 1, .l = 1,
        .g = 1,
    };
    const struct kvm_segment data = {
        .limit = -1, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1,
    };
    struct kvm_regs regs = { .rip = CODE, .rsp = STACK_END, .rflags = 2 };
    struct kvm_sregs sregs;

    if (ioctl(vcpu, KVM_GET_SREGS, &sregs)) {
        return false;
    }
    sregs.cs = cs;
    sregs.ds = sregs.es = sregs.ss = data;
    sregs.gdt.base = GDT;
    sregs.gdt.limit = 15;
    sregs.idt.base = IDT;
    sregs.idt.limit = 16 * (VECTOR + 1) - 1;
    sregs.cr0 = 0x80000001;     /* PG, PE */
    sregs.cr3 = PAGE_TABLE;
    sregs.cr4 = 0x20;           /* PAE */
    sregs.efer = 0x500;         /* LME, LMA */
    return !ioctl(vcpu, KVM_SET_SREGS, &sregs) &&
           !ioctl(vcpu, KVM_SET_REGS, &regs);
}

static bool enable_apic(int vcpu)
{
    struct kvm_lapic_state lapic;

    if (ioctl(vcpu, KVM_GET_LAPIC, &lapic)) {
        return false;
    }
    lapic.regs[0xf1] |= 1;      /* the spurious interrupt vector register */
    return !ioctl(vcpu, KVM_SET_LAPIC, &lapic);
}

typedef struct Guest {
    int vm, vcpu;
    struct kvm_run *run;
} Guest;

/* A guest with interrupts off, and one page of memory with @code */
static bool create_guest(Guest *guest, const uint8_t *code, size_t size)
{
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    int vm = ioctl(kvm, KVM_CREATE_VM, 0);
    int no_irqchip = ioctl(vm, KVM_CREATE_IRQCHIP, 0);
    int vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
    int run_size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    uint8_t *memory = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct kvm_userspace_memory_region region = {
        .memory_size = PAGE, .userspace_addr = (uintptr_t)memory,
    };
    struct kvm_run *run = mmap(NULL, run_size, PROT_READ | PROT_WRITE,
                               MAP_SHARED, vcpu, 0);

    if (no_irqchip || memory == MAP_FAILED || run == MAP_FAILED ||
        ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region)) {
        puts("no virtual machine with an interrupt controller");
        return false;
    }
    fill_memory(memory, code, size);
    *guest = (Guest) { vm, vcpu, run };
    if (!enter_long_mode(vcpu) || !enable_apic(vcpu)) {
        puts("no vCPU with an APIC");
        return false;
    }
    return true;
}

/* Does the guest leave KVM by this write to a port? */
static bool runs_to(const Guest *guest, int port)
{
    const struct kvm_run *run = guest->run;

    if (ioctl(guest->vcpu, KVM_RUN, 0) || run->exit_reason != KVM_EXIT_IO ||
        run->io.port != port) {
        printf("no write to port 0x%x: exit reason %u, port 0x%x\n", port,
               run->exit_reason,
               run->exit_reason == KVM_EXIT_IO ? run->io.port : 0);
        return false;
    }
    return true;
}

/*
 * A virtual interrupt is pending, by which KVM waits until the guest enables
 * interrupts; meanwhile the guest writes CR8.  Its interrupt comes once.
 */
static bool interrupt_waits_for_cr8(void)
{
    const struct kvm_msi msi = { .address_lo = 0xfee00000, .data = VECTOR };
    Guest guest;

    if (!create_guest(&guest, masks, sizeof(masks))) {
        return false;
    }
    if (ioctl(guest.vm, KVM_SIGNAL_MSI, &msi) <= 0) {
        puts("no interrupt to be sent");
        return false;
    }
    return runs_to(&guest, MASKED) && runs_to(&guest, INTERRUPTED);
}

static void *load_fpu(void *stop)
{
    char environment[28];

    asm volatile("fnstenv %0" : "=m"(environment));
    while (!__atomic_load_n((bool *)stop, __ATOMIC_RELAXED)) {
        for (int i = 0; i < 1000; i++) {
            asm volatile("fldenv %0" : : "m"(environment));
        }
    }
    return NULL;
}

static bool use_cpu(pthread_t thread, int cpu)
{
    cpu_set_t cpus;

    CPU_ZERO(&cpus);
    CPU_SET(cpu, &cpus);
    return !pthread_setaffinity_np(thread, sizeof(cpus), &cpus);
}

/*
 * Does the first CPU enter and leave a guest for 10 seconds, whatever the second
 * CPU does?
 */
static bool runs_beside_fpu(void)
{
    const time_t end = time(NULL) + 10;
    bool stop = false, runs;
    pthread_t other;
    Guest guest;

    if (!create_guest(&guest, exits, sizeof(exits))) {
        return false;
    }
    if (pthread_create(&other, NULL, load_fpu, &stop)) {
        puts("no second thread");
        return false;
    }
    runs = use_cpu(pthread_self(), 0) && use_cpu(other, 1);
    if (!runs) {
        puts("no two CPUs to run on");
    }
    while (runs && time(NULL) < end) {
        runs = runs_to(&guest, MASKED);
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    pthread_join(other, NULL);
    return runs;
}

/*
 * A new vCPU has a TSC of about 0, so its offset from the host's TSC cannot be
 * 0.  KVM times the guest's APIC by it.
 */
static bool tsc_has_offset(void)
{
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    int vm = ioctl(kvm, KVM_CREATE_VM, 0);
    int vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
    uint64_t offset = 0;
    const struct kvm_device_attr attr = {
        .group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET,
        .addr = (uintptr_t)&offset,
    };

    if (ioctl(vcpu, KVM_GET_DEVICE_ATTR, &attr)) {
        puts("no vCPU with a TSC");
        return false;
    }
    if (!offset) {
        puts("the TSC of a guest has no offset");
        return false;
    }
    return true;
}

int main(void)
{
    const char *why_not;

    if (!probe_kvm(&why_not)) {
        puts(why_not);
        return 1;
    }
    return !interrupt_waits_for_cr8() || !tsc_has_offset() ||
           (sysconf(_SC_NPROCESSORS_ONLN) > 1 && !runs_beside_fpu());
}
