/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * For the tests of async page faults over KVM userfault: KVM_ASYNC_PF, a vCPU's
 * statistics, and a guest that takes interrupts.
 */
#ifndef SELFTEST_KVM_USERFAULT_ACCEPT_H
#define SELFTEST_KVM_USERFAULT_ACCEPT_H

#include <pthread.h>
#include <signal.h>

#include "kvm_userfault_util.h"

#ifdef __x86_64__
#include "apic.h"
#elif defined(__aarch64__)
#include <asm/ptrace.h>
#include "gic.h"
#include "vgic.h"
#endif

/* By vCPU: how many of apf_send_irq()'s interrupts the guest has taken. */
static uint64_t apf_irqs[UF_MAX_VCPUS];

#ifdef __x86_64__

#define APF_IRQ_VECTOR		0x51
#define APF_EFLAGS_IF		BIT_ULL(9)

static inline uint32_t apf_id(void)
{
	return x2apic_read_reg(APIC_ID);
}

static inline void apf_irq_handler(struct ex_regs *regs)
{
	apf_irqs[apf_id()]++;
	x2apic_write_reg(APIC_EOI, 0);
}

static inline void apf_vm_init_irqs(struct uf_vm *uf)
{
	vm_install_exception_handler(uf->vm, APF_IRQ_VECTOR, apf_irq_handler);
}

static inline void apf_vm_free_irqs(void)
{
}

static inline void apf_guest_enable_irqs(int id)
{
	x2apic_enable();
	asm volatile("sti");
}

/* Send an interrupt to vCPU 0. */
static inline void apf_send_irq(struct uf_vm *uf)
{
	struct kvm_msi msi = {
		.address_lo = 0xfee00000,	/* to the APIC with ID 0 */
		.data = APF_IRQ_VECTOR,
	};

	/* The number of vCPUs that get it */
	TEST_ASSERT_EQ(__vm_ioctl(uf->vm, KVM_SIGNAL_MSI, &msi), 1);
}

/* Let the guest take interrupts, or not. */
static inline void apf_allow_irqs(struct kvm_vcpu *vcpu, bool allow)
{
	struct kvm_regs regs;

	vcpu_regs_get(vcpu, &regs);
	if (allow)
		regs.rflags |= APF_EFLAGS_IF;
	else
		regs.rflags &= ~APF_EFLAGS_IF;
	vcpu_regs_set(vcpu, &regs);
}

#elif defined(__aarch64__)

#define APF_SPI			40

static int apf_gic_fd;
static int apf_nr_vcpus;

static inline void apf_irq_handler(struct ex_regs *regs)
{
	unsigned int intid = gic_get_and_ack_irq();

	GUEST_ASSERT_EQ(intid, APF_SPI);
	apf_irqs[guest_get_vcpuid()]++;
	gic_set_eoi(intid);
}

static inline void apf_vm_init_irqs(struct uf_vm *uf)
{
	int id;

	vm_init_descriptor_tables(uf->vm);
	for (id = 0; id < uf->nr_vcpus; id++)
		vcpu_init_descriptor_tables(uf->vcpus[id]);
	vm_install_exception_handler(uf->vm, VECTOR_IRQ_CURRENT, apf_irq_handler);
	apf_gic_fd = vgic_v3_setup(uf->vm, uf->nr_vcpus, 64);
	__TEST_REQUIRE(apf_gic_fd >= 0, "no GICv3");
	apf_nr_vcpus = uf->nr_vcpus;
	sync_global_to_guest(uf->vm, apf_nr_vcpus);
}

static inline void apf_vm_free_irqs(void)
{
	close(apf_gic_fd);
}

static inline void apf_guest_enable_irqs(int id)
{
	gic_init(GIC_V3, apf_nr_vcpus);
	if (!id) {
		gic_irq_set_config(APF_SPI, true);
		gic_irq_enable(APF_SPI);
	}
	local_irq_enable();
}

/* Send an interrupt to vCPU 0. */
static inline void apf_send_irq(struct uf_vm *uf)
{
	kvm_arm_irq_line(uf->vm, APF_SPI, 1);
	kvm_arm_irq_line(uf->vm, APF_SPI, 0);
}

/* Let the guest take interrupts, or not. */
static inline void apf_allow_irqs(struct kvm_vcpu *vcpu, bool allow)
{
	uint64_t pstate;

	vcpu_get_reg(vcpu, ARM64_CORE_REG(regs.pstate), &pstate);
	if (allow)
		pstate &= ~PSR_I_BIT;
	else
		pstate |= PSR_I_BIT;
	vcpu_set_reg(vcpu, ARM64_CORE_REG(regs.pstate), pstate);
}

#endif

/* The interrupts that vCPU @id's guest has taken */
static inline uint64_t apf_taken_irqs(struct uf_vm *uf, int id)
{
	uint64_t *irqs = addr_gva2hva(uf->vm, (vm_vaddr_t)&apf_irqs[id]);

	return READ_ONCE(*irqs);
}

static inline int apf_enable_cap(struct kvm_vcpu *vcpu, uint64_t arg)
{
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_ASYNC_PF_USERFAULT,
		.args = { arg },
	};

	return __vcpu_ioctl(vcpu, KVM_ENABLE_CAP, &cap);
}

/* Opened in advance: the ioctl waits for a vCPU that runs. */
static int apf_stats_fds[UF_MAX_VCPUS];

static inline uint64_t apf_stat(int id, const char *name)
{
	struct kvm_stats_desc *descs, *desc;
	struct kvm_stats_header header;
	int fd = apf_stats_fds[id];
	uint64_t data = -1;
	int i;

	read_stats_header(fd, &header);
	descs = read_stats_descriptors(fd, &header);
	for (i = 0; i < header.num_desc; i++) {
		desc = get_stats_descriptor(descs, i, &header);
		if (!strcmp(desc->name, name))
			read_stat_data(fd, &header, desc, &data, 1);
	}
	free(descs);
	return data;
}

/* A VM whose guest takes interrupts, and begins with GUEST_SYNC(0). */
static inline void apf_vm_create(struct uf_vm *uf, int nr_vcpus, void *guest_code)
{
	uf_vm_init(uf, nr_vcpus, guest_code, VM_MEM_SRC_ANONYMOUS);
	apf_vm_init_irqs(uf);
	uf_enable(uf);
}

/* From now on, the vCPUs can accept exits. */
static inline void apf_vm_start(struct uf_vm *uf)
{
	int id;

	for (id = 0; id < uf->nr_vcpus; id++) {
		apf_stats_fds[id] = vcpu_get_stats_fd(uf->vcpus[id]);
		TEST_ASSERT_EQ(apf_enable_cap(uf->vcpus[id], 1), 0);
		uf_run_done(uf, id, 0);
	}
}

static inline void apf_vm_free(struct uf_vm *uf)
{
	int id;

	for (id = 0; id < uf->nr_vcpus; id++)
		close(apf_stats_fds[id]);
	apf_vm_free_irqs();
	uf_vm_free(uf);
}

static inline int apf_op(struct uf_vm *uf, int id, uint32_t op, int page)
{
	struct kvm_async_pf_req req = {
		.gpa = uf->gpa + page * PAGE_SIZE,
		.op = op,
	};

	return __vcpu_ioctl(uf->vcpus[id], KVM_ASYNC_PF, &req) ? errno : 0;
}

static inline int apf_accept(struct uf_vm *uf, int id, int page)
{
	return apf_op(uf, id, KVM_APF_OP_ACCEPT, page);
}

static inline int apf_ready(struct uf_vm *uf, int id, int page)
{
	return apf_op(uf, id, KVM_APF_OP_READY, page);
}

/* The page is there: clear its bit, and say so.  Returns 0 or an errno. */
static inline int apf_serve(struct uf_vm *uf, int id, int page)
{
	uf_clear_bit(uf, page);
	return apf_ready(uf, id, page);
}

/* Wait until a statistic of the vCPU is @value. */
static inline void apf_wait_stat(int id, const char *name, uint64_t value)
{
	uint64_t now;
	int i;

	for (i = 0; i < 20000; i++) {
		now = apf_stat(id, name);
		if (now == value)
			return;
		usleep(500);
	}
	TEST_FAIL("%s of vCPU %d is %lu, not %lu", name, id, now, value);
}

/* Wait until the vCPU has no exits for a while: a vCPU that spins always has some. */
static inline void apf_wait_asleep(int id)
{
	uint64_t exits = 0, now;
	int polls, same = 0;

	for (polls = 0; same < 10; polls++) {
		TEST_ASSERT(polls < 500, "the vCPU does not sleep");
		usleep(10000);
		now = apf_stat(id, "exits");
		same = now == exits ? same + 1 : 0;
		exits = now;
	}
}

/* Run the vCPU: it exits for @page, and the exit can be accepted. */
static inline void apf_run_offers(struct uf_vm *uf, int id, int page)
{
	uf->exit_flags |= KVM_MEMORY_EXIT_FLAG_APF;
	uf_run_exits(uf, id, page);
	uf->exit_flags &= ~KVM_MEMORY_EXIT_FLAG_APF;
}

/* Let vCPU @id read @page, which is missing, and accept the exit. */
static inline void apf_read_accept(struct uf_vm *uf, int id, int page)
{
	uf_set_bit(uf, page);
	uf_prepare(uf, id, UF_READ, page);
	apf_run_offers(uf, id, page);
	TEST_ASSERT_EQ(apf_accept(uf, id, page), 0);
}

/* A thread that runs a vCPU once. */
struct apf_runner {
	pthread_t thread;
	struct uf_vm *uf;
	int id;
	int r;
	int error;
};

static inline void *apf_runner_thread(void *arg)
{
	struct apf_runner *runner = arg;

	runner->r = __vcpu_run(runner->uf->vcpus[runner->id]);
	runner->error = errno;
	return NULL;
}

static inline void apf_start(struct apf_runner *runner, struct uf_vm *uf, int id)
{
	runner->uf = uf;
	runner->id = id;
	uf_start_thread(&runner->thread, apf_runner_thread, runner);
}

/* The vCPU's run ends with GUEST_SYNC(@value). */
static inline void apf_join_done(struct apf_runner *runner, uint64_t value)
{
	struct ucall uc;

	pthread_join(runner->thread, NULL);
	TEST_ASSERT(!runner->r, "KVM_RUN failed: errno %d", runner->error);
	if (get_ucall(runner->uf->vcpus[runner->id], &uc) == UCALL_ABORT)
		REPORT_GUEST_ASSERT(uc);
	TEST_ASSERT_EQ(uc.cmd, UCALL_SYNC);
	TEST_ASSERT_EQ(uc.args[1], value);
}

static inline void apf_ignore_signal(int signum)
{
}

/* A run of the vCPU that a pending signal ends before the vCPU enters the guest. */
static inline void apf_run_with_signal(struct uf_vm *uf, int id)
{
	/* As KVM takes it: the length that the kernel's sigset_t has, and an empty set. */
	static const struct {
		struct kvm_signal_mask head;
		uint64_t set;
	} __packed none = { .head.len = 8 };
	sigset_t blocked, before;
	int r, sig;

	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &blocked, &before);
	raise(SIGUSR1);
	__vcpu_ioctl(uf->vcpus[id], KVM_SET_SIGNAL_MASK,
		     (struct kvm_signal_mask *)&none);
	r = __vcpu_run(uf->vcpus[id]);
	TEST_ASSERT(r == -1 && errno == EINTR, "the signal was not noticed");
	__vcpu_ioctl(uf->vcpus[id], KVM_SET_SIGNAL_MASK, (struct kvm_signal_mask *)NULL);
	sigwait(&blocked, &sig);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* Interrupt the vCPU's run.  The thread may not have got to it yet. */
static inline void apf_join_interrupted(struct apf_runner *runner)
{
	struct sigaction action = { .sa_handler = apf_ignore_signal };

	sigaction(SIGUSR1, &action, NULL);
	do {
		pthread_kill(runner->thread, SIGUSR1);
		usleep(1000);
	} while (pthread_tryjoin_np(runner->thread, NULL));
	TEST_ASSERT_EQ(runner->r, -1);
	TEST_ASSERT_EQ(runner->error, EINTR);
}

#endif /* SELFTEST_KVM_USERFAULT_ACCEPT_H */
