/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * For the tests of async page faults over KVM userfault: KVM_ASYNC_PF, a vCPU's
 * statistics, and a guest that has KVM's async page faults.
 *
 * The guest reads one page after the other.  When it is told that a page is
 * missing, it either waits in its handler, as a task that has nothing else to do,
 * or goes on without the page, as a guest that runs another task.
 */
#ifndef SELFTEST_KVM_USERFAULT_APF_H
#define SELFTEST_KVM_USERFAULT_APF_H

#include <pthread.h>
#include <signal.h>

#include "apic.h"
#include "kvm_userfault_util.h"

#define APF_EFLAGS_IF		BIT_ULL(9)
#define APF_READY_VECTOR	0x50
#define APF_IPI_VECTOR		0x51
#define APF_MAX_PAGES		64	/* KVM's ASYNC_PF_PER_VCPU */
#define APF_MAX_EVENTS		1024
#define APF_EVENTS		(KVM_ASYNC_PF_ENABLED | KVM_ASYNC_PF_SEND_ALWAYS | \
				 KVM_ASYNC_PF_DELIVERY_AS_INT)

/* GUEST_SYNC() of the handler, when the guest has been told */
#define APF_TOLD		0x70000001ull
/* What the guest "reads" if it goes on without the page */
#define APF_SKIPPED		0x70000002ull

/* In place of enum uf_op: kick the vCPU whose APIC ID is in place of the address. */
#define APF_KICK		100

/* How the guest's handler goes on, once it has been told */
enum apf_mode {
	APF_WAIT,	/* report, then wait for the page in HLT */
	APF_SKIP,	/* go on after the access */
	APF_AGAIN,	/* report, then access the page again */
};

struct apf_guest {
	struct {
		uint32_t flags;
		uint32_t token;
		uint8_t pad[56];
	} __aligned(64) area;
	uint64_t area_gpa;
	uint64_t mode;
	uint64_t halt;			/* do HLT before the next access */
	uint64_t skip_rip;
	uint64_t nr_told, nr_ready, nr_ipis, nr_halts;
	uint32_t told[APF_MAX_EVENTS], ready[APF_MAX_EVENTS];
};

static struct apf_guest apf_guests[UF_MAX_VCPUS];

/* The host's view of a vCPU's part */
static inline struct apf_guest *apf_guest(struct uf_vm *uf, int id)
{
	return addr_gva2hva(uf->vm, (vm_vaddr_t)&apf_guests[id]);
}

static inline uint32_t apf_id(void)
{
	return x2apic_read_reg(APIC_ID);
}

static inline bool apf_is_ready(struct apf_guest *g, uint32_t token)
{
	uint64_t i;

	for (i = 0; i < READ_ONCE(g->nr_ready); i++)
		if (g->ready[i] == token)
			return true;
	return false;
}

static inline void apf_pf_handler(struct ex_regs *regs)
{
	struct apf_guest *g = &apf_guests[apf_id()];
	uint64_t mode = READ_ONCE(g->mode);
	uint64_t token, gva;

	asm volatile("mov %%cr2, %0" : "=r"(token));
	GUEST_ASSERT_EQ(g->area.flags, KVM_PV_REASON_PAGE_NOT_PRESENT);
	g->area.flags = 0;
	GUEST_ASSERT(g->nr_told < ARRAY_SIZE(g->told));
	g->told[g->nr_told++] = token;

	if (mode == APF_WAIT || mode == APF_AGAIN)
		GUEST_SYNC(APF_TOLD);

	if (mode == APF_AGAIN) {
		/* Faults again, while the first fault is pending. */
		gva = READ_ONCE(uf_cmds[apf_id()].gva);
		/* The instruction after STI still runs with interrupts off. */
		asm volatile("sti; nop");
		READ_ONCE(*(uint64_t *)(gva + UF_DATA_OFFSET));
		asm volatile("cli");
	}

	if (mode == APF_SKIP) {
		regs->rip = g->skip_rip;
		regs->rax = APF_SKIPPED;
		return;
	}

	while (!apf_is_ready(g, token)) {
		asm volatile("sti; hlt; cli" ::: "memory");
		g->nr_halts++;
	}
}

static inline void apf_ready_handler(struct ex_regs *regs)
{
	struct apf_guest *g = &apf_guests[apf_id()];

	GUEST_ASSERT(g->area.token);
	GUEST_ASSERT(g->nr_ready < ARRAY_SIZE(g->ready));
	g->ready[g->nr_ready++] = g->area.token;
	x2apic_write_reg(APIC_EOI, 0);
	WRITE_ONCE(g->area.token, 0);
	wrmsr(MSR_KVM_ASYNC_PF_ACK, 1);
}

static inline void apf_ipi_handler(struct ex_regs *regs)
{
	apf_guests[apf_id()].nr_ipis++;
	x2apic_write_reg(APIC_EOI, 0);
}

/* Read the page at @gva.  The handler may skip the access. */
static inline uint64_t apf_read(struct apf_guest *g, uint64_t gva)
{
	uint64_t val;

	asm volatile("lea 1f(%%rip), %%rax\n"
		     "mov %%rax, %1\n"
		     "mov (%2), %%rax\n"
		     "1:\n"
		     : "=&a"(val), "=m"(g->skip_rip)
		     : "r"(gva + UF_DATA_OFFSET) : "memory");
	return val;
}

/* With KVM's async page faults if @with_events, and interrupts on. */
static inline void apf_guest_code(int id, bool with_events)
{
	struct apf_guest *g = &apf_guests[id];

	x2apic_enable();
	if (with_events) {
		wrmsr(MSR_KVM_ASYNC_PF_INT, APF_READY_VECTOR);
		wrmsr(MSR_KVM_ASYNC_PF_EN, g->area_gpa | APF_EVENTS);
	}
	asm volatile("sti");
	GUEST_SYNC(0);

	for (;;) {
		if (READ_ONCE(uf_cmds[id].op) == APF_KICK) {
			GUEST_ASSERT(!kvm_hypercall(KVM_HC_KICK_CPU, 0,
						    uf_cmds[id].gva, 0, 0));
			GUEST_SYNC(0);
			continue;
		}
		if (READ_ONCE(g->halt))
			asm volatile("hlt");
		GUEST_SYNC(apf_read(g, READ_ONCE(uf_cmds[id].gva)));
	}
}

static inline int apf_enable_cap(struct kvm_vcpu *vcpu, uint64_t arg)
{
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_ASYNC_PF_USERFAULT,
		.args = { arg },
	};

	return __vcpu_ioctl(vcpu, KVM_ENABLE_CAP, &cap);
}

static inline void apf_plain_guest(int id)
{
	apf_guest_code(id, false);
}

static inline void apf_events_guest(int id)
{
	apf_guest_code(id, true);
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

/* A VM whose vCPUs can accept exits, and whose guest gets events if @with_events. */
static inline void apf_vm_init(struct uf_vm *uf, int nr_vcpus, bool with_events)
{
	struct kvm_vm *vm;
	int id;

	uf_vm_init(uf, nr_vcpus, with_events ? apf_events_guest : apf_plain_guest,
		   VM_MEM_SRC_ANONYMOUS);
	vm = uf->vm;
	vm_install_exception_handler(vm, PF_VECTOR, apf_pf_handler);
	vm_install_exception_handler(vm, APF_READY_VECTOR, apf_ready_handler);
	vm_install_exception_handler(vm, APF_IPI_VECTOR, apf_ipi_handler);
	uf_enable(uf);
	for (id = 0; id < nr_vcpus; id++) {
		memset(apf_guest(uf, id), 0, sizeof(struct apf_guest));
		apf_guest(uf, id)->area_gpa =
			addr_gva2gpa(vm, (vm_vaddr_t)&apf_guests[id].area);
		apf_stats_fds[id] = vcpu_get_stats_fd(uf->vcpus[id]);
		TEST_ASSERT_EQ(apf_enable_cap(uf->vcpus[id], 1), 0);
		uf_run_done(uf, id, 0);
		if (with_events) {
			/* When events are enabled, KVM tells the guest to wake all. */
			TEST_ASSERT_EQ(apf_guest(uf, id)->nr_ready, 1);
			TEST_ASSERT_EQ(apf_guest(uf, id)->ready[0], ~0u);
			apf_guest(uf, id)->nr_ready = 0;
		}
	}
}

static inline void apf_vm_free(struct uf_vm *uf)
{
	int id;

	for (id = 0; id < uf->nr_vcpus; id++)
		close(apf_stats_fds[id]);
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

/* Let vCPU @id kick vCPU @target. */
static inline void apf_kick(struct uf_vm *uf, int id, int target)
{
	uf_cmds[id].op = APF_KICK;
	uf_cmds[id].gva = target;
	sync_global_to_guest(uf->vm, uf_cmds[id]);
	uf_run_done(uf, id, 0);
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

static inline int apf_cmp_token(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* The guest was told @n tokens, no two of them equal, and each was ready once. */
static inline void apf_check_tokens(struct uf_vm *uf, int id, int n)
{
	struct apf_guest *g = apf_guest(uf, id);
	int i;

	TEST_ASSERT_EQ(g->nr_told, n);
	TEST_ASSERT_EQ(g->nr_ready, n);
	qsort(g->told, n, sizeof(g->told[0]), apf_cmp_token);
	qsort(g->ready, n, sizeof(g->ready[0]), apf_cmp_token);
	for (i = 0; i < n; i++) {
		TEST_ASSERT_EQ(g->told[i], g->ready[i]);
		TEST_ASSERT(!i || g->told[i] != g->told[i - 1], "token 0x%x twice", g->told[i]);
		TEST_ASSERT(g->told[i] && ~g->told[i], "token 0x%x", g->told[i]);
	}
}

#endif /* SELFTEST_KVM_USERFAULT_APF_H */
