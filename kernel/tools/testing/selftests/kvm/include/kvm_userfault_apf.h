/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * For the tests of async page faults over KVM userfault: a VM with a guest that reads one
 * page after the other.
 *
 * On x86 the guest may have KVM's async page faults.  When it is told that a page is
 * missing, it either waits in its handler, as a task that has nothing else to do,
 * or goes on without the page, as a guest that runs another task.
 */
#ifndef SELFTEST_KVM_USERFAULT_APF_H
#define SELFTEST_KVM_USERFAULT_APF_H

#include "kvm_userfault_accept.h"

#ifdef __x86_64__

#define APF_READY_VECTOR	0x50
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
	uint64_t nr_told, nr_ready, nr_halts;
	uint32_t told[APF_MAX_EVENTS], ready[APF_MAX_EVENTS];
};

static struct apf_guest apf_guests[UF_MAX_VCPUS];

/* The host's view of a vCPU's part */
static inline struct apf_guest *apf_guest(struct uf_vm *uf, int id)
{
	return addr_gva2hva(uf->vm, (vm_vaddr_t)&apf_guests[id]);
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

static inline void apf_plain_guest(int id)
{
	apf_guest_code(id, false);
}

static inline void apf_events_guest(int id)
{
	apf_guest_code(id, true);
}

/* Let vCPU @id kick vCPU @target. */
static inline void apf_kick(struct uf_vm *uf, int id, int target)
{
	uf_cmds[id].op = APF_KICK;
	uf_cmds[id].gva = target;
	sync_global_to_guest(uf->vm, uf_cmds[id]);
	uf_run_done(uf, id, 0);
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

/* A VM whose vCPUs can accept exits, and whose guest gets events if @with_events. */
static inline void apf_vm_init(struct uf_vm *uf, int nr_vcpus, bool with_events)
{
	struct apf_guest *g;
	int id;

	apf_vm_create(uf, nr_vcpus, with_events ? apf_events_guest : apf_plain_guest);
	vm_install_exception_handler(uf->vm, PF_VECTOR, apf_pf_handler);
	vm_install_exception_handler(uf->vm, APF_READY_VECTOR, apf_ready_handler);
	for (id = 0; id < nr_vcpus; id++) {
		g = apf_guest(uf, id);
		memset(g, 0, sizeof(*g));
		g->area_gpa = addr_gva2gpa(uf->vm, (vm_vaddr_t)&apf_guests[id].area);
	}
	apf_vm_start(uf);
	for (id = 0; with_events && id < nr_vcpus; id++) {
		g = apf_guest(uf, id);
		/* When events are enabled, KVM tells the guest to wake all. */
		TEST_ASSERT_EQ(g->nr_ready, 1);
		TEST_ASSERT_EQ(g->ready[0], ~0u);
		g->nr_ready = 0;
	}
}

#else

/* Reads one page after the other, with interrupts enabled. */
static inline void apf_reader_guest(int id)
{
	apf_guest_enable_irqs(id);
	GUEST_SYNC(0);
	for (;;)
		GUEST_SYNC(READ_ONCE(*(uint64_t *)(READ_ONCE(uf_cmds[id].gva) +
						   UF_DATA_OFFSET)));
}

/* There are no events. */
static inline void apf_vm_init(struct uf_vm *uf, int nr_vcpus, bool with_events)
{
	apf_vm_create(uf, nr_vcpus, apf_reader_guest);
	apf_vm_start(uf);
}

#endif

/*
 * vCPU 0 has accepted a page and runs: the guest is told if it gets @events, or else the
 * vCPU is halted.  Returns with the vCPU waiting, in @runner.
 */
static inline void apf_run_pending(struct uf_vm *uf, struct apf_runner *runner,
				   bool events)
{
	uint64_t halts = apf_stat(0, "userfault_halts");
#ifdef __x86_64__
	uint64_t told = apf_stat(0, "userfault_told");

	if (events) {
		uf_run_done(uf, 0, APF_TOLD);
		TEST_ASSERT_EQ(apf_stat(0, "userfault_told"), told + 1);
		TEST_ASSERT_EQ(apf_stat(0, "userfault_halts"), halts);
		apf_start(runner, uf, 0);
		return;
	}
#endif
	apf_start(runner, uf, 0);
	apf_wait_stat(0, "userfault_halts", halts + 1);
#ifdef __x86_64__
	TEST_ASSERT_EQ(apf_stat(0, "userfault_told"), told);
#endif
}

#endif /* SELFTEST_KVM_USERFAULT_APF_H */
