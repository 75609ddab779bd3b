// SPDX-License-Identifier: GPL-2.0-only
/*
 * Async page faults over KVM userfault: userspace accepts exits, and says when the
 * pages are there.
 *
 * Each case has a guest without KVM's async page faults, whose vCPU is halted, or one
 * with them, which is told; see kvm_userfault_apf.h.
 */
#include "kvm_test_harness.h"
#include "kvm_userfault_apf.h"
#include "kvm_userfault_missing.h"

#define PAGE(n)		uf_page(0, n)

FIXTURE(accept) {
	struct uf_vm uf;
};

FIXTURE_VARIANT(accept) {
	bool events;
};

FIXTURE_VARIANT_ADD(accept, halt) { .events = false };
FIXTURE_VARIANT_ADD(accept, told) { .events = true };

FIXTURE_SETUP(accept)
{
	apf_vm_init(&self->uf, 2, variant->events);
}

FIXTURE_TEARDOWN(accept)
{
	if (self->uf.vm)
		apf_vm_free(&self->uf);
}

/* vCPU 0 has accepted @page and runs: it is told, or halted.  Returns with it there. */
static void run_pending(struct uf_vm *uf, struct apf_runner *runner, bool events)
{
	uint64_t told = apf_stat(0, "userfault_told");
	uint64_t halts = apf_stat(0, "userfault_halts");

	if (events) {
		uf_run_done(uf, 0, APF_TOLD);
		TEST_ASSERT_EQ(apf_stat(0, "userfault_told"), told + 1);
		TEST_ASSERT_EQ(apf_stat(0, "userfault_halts"), halts);
		apf_start(runner, uf, 0);
	} else {
		apf_start(runner, uf, 0);
		apf_wait_stat(0, "userfault_halts", halts + 1);
		TEST_ASSERT_EQ(apf_stat(0, "userfault_told"), told);
	}
}

TEST_F(accept, capability)
{
	struct kvm_vcpu *vcpu = self->uf.vcpus[0];
	struct kvm_enable_cap cap = { .cap = KVM_CAP_ASYNC_PF_USERFAULT, .args = { 1 } };
	int i;

	TEST_ASSERT_EQ(kvm_check_cap(KVM_CAP_ASYNC_PF_USERFAULT), 1);
	TEST_ASSERT_EQ(apf_enable_cap(vcpu, 1), 0);

	TEST_ASSERT(apf_enable_cap(vcpu, 2) == -1 && errno == EINVAL, "args[0] 2");
	for (i = 1; i < 4; i++) {
		cap.args[i] = 1;
		TEST_ASSERT(__vcpu_ioctl(vcpu, KVM_ENABLE_CAP, &cap) == -1 &&
			    errno == EINVAL, "args[%d]", i);
		cap.args[i] = 0;
	}
	cap.flags = 1;
	TEST_ASSERT(__vcpu_ioctl(vcpu, KVM_ENABLE_CAP, &cap) == -1 && errno == EINVAL,
		    "flags");

	/* None of that has changed anything. */
	uf_set_bit(&self->uf, PAGE(0));
	uf_prepare(&self->uf, 0, UF_READ, PAGE(0));
	apf_run_offers(&self->uf, 0, PAGE(0));

	/* Disabled, the exit is an ordinary one.  The other vCPU has it still. */
	TEST_ASSERT_EQ(apf_enable_cap(vcpu, 0), 0);
	uf_run_exits(&self->uf, 0, PAGE(0));
	TEST_ASSERT_EQ(apf_accept(&self->uf, 0, PAGE(0)), ENOENT);
	uf_prepare(&self->uf, 1, UF_READ, PAGE(0));
	apf_run_offers(&self->uf, 1, PAGE(0));
}

TEST_F(accept, errors)
{
	struct kvm_vcpu *vcpu = self->uf.vcpus[0];
	struct uf_vm *uf = &self->uf;
	const struct kvm_async_pf_req good = {
		.gpa = UF_GPA, .op = KVM_APF_OP_ACCEPT,
	};
	struct kvm_async_pf_req req;
	int i;

	uf_set_bit(uf, 0);
	uf_prepare(uf, 0, UF_READ, 0);
	apf_run_offers(uf, 0, 0);

#define REFUSED(change) do {							\
	req = good;								\
	change;									\
	TEST_ASSERT(__vcpu_ioctl(vcpu, KVM_ASYNC_PF, &req) == -1 &&		\
		    errno == EINVAL, #change);					\
} while (0)
	REFUSED(req.gpa++);
	REFUSED(req.gpa += PAGE_SIZE / 2);
	REFUSED(req.op = 0);
	REFUSED(req.op = 3);
	REFUSED(req.flags = 1);
	for (i = 0; i < ARRAY_SIZE(req.reserved); i++)
		REFUSED(req.reserved[i] = 1);
#undef REFUSED
	TEST_ASSERT(__vcpu_ioctl(vcpu, KVM_ASYNC_PF, (struct kvm_async_pf_req *)NULL) == -1 && errno == EFAULT,
		    "no request");

	TEST_ASSERT_EQ(apf_accept(uf, 0, 1), ENOENT);
	TEST_ASSERT_EQ(apf_accept(uf, 1, 0), ENOENT);
	TEST_ASSERT_EQ(apf_ready(uf, 0, 0), ENOENT);
	TEST_ASSERT_EQ(apf_accept(uf, 0, 0), 0);
	TEST_ASSERT_EQ(apf_accept(uf, 0, 0), ENOENT);
	TEST_ASSERT_EQ(apf_ready(uf, 1, 0), ENOENT);
	TEST_ASSERT_EQ(apf_ready(uf, 0, 1), ENOENT);
}

TEST_F(accept, not_accepted)
{
	struct uf_vm *uf = &self->uf;

	uf_set_bit(uf, PAGE(1));
	uf_prepare(uf, 0, UF_READ, PAGE(1));
	apf_run_offers(uf, 0, PAGE(1));
	uf_clear_bit(uf, PAGE(1));
	uf_run_done(uf, 0, uf_content(PAGE(1)));

	TEST_ASSERT_EQ(apf_accept(uf, 0, PAGE(1)), ENOENT);
	TEST_ASSERT_EQ(apf_ready(uf, 0, PAGE(1)), ENOENT);
	TEST_ASSERT_EQ(apf_stat(0, "userfault_told"), 0);
	TEST_ASSERT_EQ(apf_stat(0, "userfault_halts"), 0);
}

/* A run that was interrupted before it began keeps the offer, and what was accepted. */
TEST_F(accept, immediate_exit)
{
	struct uf_vm *uf = &self->uf;
	struct kvm_vcpu *vcpu = uf->vcpus[0];
	struct apf_runner runner;

	uf_set_bit(uf, PAGE(1));
	uf_prepare(uf, 0, UF_READ, PAGE(1));
	apf_run_offers(uf, 0, PAGE(1));
	vcpu_run_complete_io(vcpu);
	TEST_ASSERT_EQ(apf_accept(uf, 0, PAGE(1)), 0);
	vcpu_run_complete_io(vcpu);
	TEST_ASSERT_EQ(apf_stat(0, "userfault_told"), 0);
	TEST_ASSERT_EQ(apf_stat(0, "userfault_halts"), 0);

	run_pending(uf, &runner, variant->events);
	TEST_ASSERT_EQ(apf_serve(uf, 0, PAGE(1)), 0);
	apf_join_done(&runner, uf_content(PAGE(1)));
}

/* The page comes before the guest has to know. */
TEST_F(accept, ready_before_run)
{
	struct uf_vm *uf = &self->uf;

	apf_read_accept(uf, 0, PAGE(2));
	TEST_ASSERT_EQ(apf_serve(uf, 0, PAGE(2)), 0);
	TEST_ASSERT_EQ(apf_ready(uf, 0, PAGE(2)), EALREADY);
	uf_run_done(uf, 0, uf_content(PAGE(2)));

	TEST_ASSERT_EQ(apf_ready(uf, 0, PAGE(2)), ENOENT);
	TEST_ASSERT_EQ(apf_stat(0, "userfault_told"), 0);
	TEST_ASSERT_EQ(apf_stat(0, "userfault_halts"), 0);
	TEST_ASSERT_EQ(apf_guest(uf, 0)->nr_ready, 0);
}

TEST_F(accept, ready_while_running)
{
	struct apf_guest *g = apf_guest(&self->uf, 0);
	struct uf_vm *uf = &self->uf;
	struct apf_runner runner;
	int n;

	for (n = 1; n <= 5; n++) {
		apf_read_accept(uf, 0, PAGE(n));
		run_pending(uf, &runner, variant->events);
		usleep(10000);
		TEST_ASSERT_EQ(apf_serve(uf, 0, PAGE(n)), 0);
		apf_join_done(&runner, uf_content(PAGE(n)));
		TEST_ASSERT_EQ(apf_ready(uf, 0, PAGE(n)), ENOENT);
	}

	TEST_ASSERT_EQ(g->nr_told, variant->events ? 5 : 0);
	TEST_ASSERT_EQ(g->nr_ready, g->nr_told);
	TEST_ASSERT(!memcmp(g->told, g->ready, sizeof(g->told)), "tokens differ");
	/* A guest that was told sleeps in its own HLT. */
	TEST_ASSERT_EQ(apf_stat(0, "userfault_halts"), variant->events ? 0 : 5);
	if (variant->events)
		TEST_ASSERT_EQ(apf_stat(0, "userfault_halt_ns"), 0);
	else
		TEST_ASSERT(apf_stat(0, "userfault_halt_ns") >= 5 * 10000000ull,
			    "halted for too short a time");
}

/* READY before the vCPU runs again, once the guest knows. */
TEST_F(accept, ready_between_runs)
{
	struct uf_vm *uf = &self->uf;
	struct apf_runner runner;

	apf_read_accept(uf, 0, PAGE(3));
	if (variant->events) {
		uf_run_done(uf, 0, APF_TOLD);
	} else {
		apf_start(&runner, uf, 0);
		apf_wait_stat(0, "userfault_halts", 1);
		apf_join_interrupted(&runner);
	}
	TEST_ASSERT_EQ(apf_serve(uf, 0, PAGE(3)), 0);
	TEST_ASSERT_EQ(apf_ready(uf, 0, PAGE(3)), EALREADY);
	uf_run_done(uf, 0, uf_content(PAGE(3)));
	TEST_ASSERT_EQ(apf_ready(uf, 0, PAGE(3)), ENOENT);
}

/* An interrupt reaches a vCPU that waits, which goes on waiting after it. */
TEST_F(accept, interrupt)
{
	struct apf_guest *g = apf_guest(&self->uf, 0);
	struct uf_vm *uf = &self->uf;
	struct apf_runner runner;
	struct kvm_msi msi = {
		.address_lo = 0xfee00000,	/* to the APIC with ID 0 */
		.data = APF_IPI_VECTOR,
	};
	int i;

	apf_read_accept(uf, 0, PAGE(4));
	run_pending(uf, &runner, variant->events);
	for (i = 1; i <= 3; i++) {
		/* The number of vCPUs that get it */
		TEST_ASSERT_EQ(__vm_ioctl(uf->vm, KVM_SIGNAL_MSI, &msi), 1);
		while (READ_ONCE(g->nr_ipis) < i)
			usleep(100);
		if (!variant->events)
			apf_wait_stat(0, "userfault_halts", 1 + i);
	}
	TEST_ASSERT_EQ(apf_serve(uf, 0, PAGE(4)), 0);
	apf_join_done(&runner, uf_content(PAGE(4)));
}

/* Without interrupts, the vCPU could do nothing else. */
TEST_F(accept, interrupts_off)
{
	struct uf_vm *uf = &self->uf;
	struct kvm_regs regs;

	vcpu_regs_get(uf->vcpus[0], &regs);
	regs.rflags &= ~APF_EFLAGS_IF;
	vcpu_regs_set(uf->vcpus[0], &regs);

	uf_set_bit(uf, PAGE(5));
	uf_prepare(uf, 0, UF_READ, PAGE(5));
	uf_run_exits(uf, 0, PAGE(5));
	TEST_ASSERT_EQ(apf_accept(uf, 0, PAGE(5)), ENOENT);
	uf_clear_bit(uf, PAGE(5));
	uf_run_done(uf, 0, uf_content(PAGE(5)));
}

/* Userspace disables interrupts between the exit and the run: nothing happens. */
TEST_F(accept, withdrawn)
{
	struct uf_vm *uf = &self->uf;
	struct kvm_regs regs;

	apf_read_accept(uf, 0, PAGE(5));
	vcpu_regs_get(uf->vcpus[0], &regs);
	regs.rflags &= ~APF_EFLAGS_IF;
	vcpu_regs_set(uf->vcpus[0], &regs);

	uf_run_exits(uf, 0, PAGE(5));
	TEST_ASSERT_EQ(apf_serve(uf, 0, PAGE(5)), ENOENT);
	uf_run_done(uf, 0, uf_content(PAGE(5)));
	TEST_ASSERT_EQ(apf_stat(0, "userfault_told"), 0);
	TEST_ASSERT_EQ(apf_stat(0, "userfault_halts"), 0);
}

/* Userspace resets the vCPU to wait for INIT: its pages are forgotten. */
TEST_F(accept, mp_state)
{
	static const int states[] = {
		KVM_MP_STATE_UNINITIALIZED, KVM_MP_STATE_INIT_RECEIVED,
		KVM_MP_STATE_SIPI_RECEIVED,
	};
	struct uf_vm *uf = &self->uf;
	struct kvm_mp_state state;
	int i;

	apf_guest(uf, 0)->mode = APF_SKIP;
	for (i = 0; i < ARRAY_SIZE(states); i++) {
		apf_read_accept(uf, 0, PAGE(20 + i));
		state.mp_state = states[i];
		vcpu_mp_state_set(uf->vcpus[0], &state);
		TEST_ASSERT_EQ(apf_serve(uf, 0, PAGE(20 + i)), ENOENT);
		state.mp_state = KVM_MP_STATE_RUNNABLE;
		vcpu_mp_state_set(uf->vcpus[0], &state);
		uf_run_done(uf, 0, uf_content(PAGE(20 + i)));
	}
}

/* Another vCPU's kick ends a HLT, but not the halt for a page. */
TEST_F(accept, kicked)
{
	struct uf_vm *uf = &self->uf;
	struct apf_runner runner;
	uint64_t halts;

	apf_read_accept(uf, 0, PAGE(6));
	run_pending(uf, &runner, variant->events);
	halts = apf_stat(0, "userfault_halts");
	apf_kick(uf, 1, 0);
	usleep(50000);
	TEST_ASSERT_EQ(apf_stat(0, "userfault_halts"), halts);
	TEST_ASSERT_EQ(READ_ONCE(apf_guest(uf, 0)->nr_halts), variant->events ? 1 : 0);
	TEST_ASSERT_EQ(apf_serve(uf, 0, PAGE(6)), 0);
	apf_join_done(&runner, uf_content(PAGE(6)));
}

/* Wait until vCPU 0 has no exits for a while: a vCPU that spins always has some. */
static void wait_asleep(void)
{
	uint64_t exits = 0, now;
	int polls, same = 0;

	for (polls = 0; same < 10; polls++) {
		TEST_ASSERT(polls < 500, "the vCPU does not sleep");
		usleep(10000);
		now = apf_stat(0, "exits");
		same = now == exits ? same + 1 : 0;
		exits = now;
	}
}

/* A guest that is idle sleeps, and so does a vCPU that is halted. */
TEST_F(accept, sleeps)
{
	struct apf_guest *g = apf_guest(&self->uf, 0);
	struct uf_vm *uf = &self->uf;
	struct apf_runner runner;

	apf_read_accept(uf, 0, PAGE(7));
	run_pending(uf, &runner, variant->events);
	wait_asleep();
	TEST_ASSERT_EQ(READ_ONCE(g->nr_halts), 0);
	TEST_ASSERT_EQ(apf_serve(uf, 0, PAGE(7)), 0);
	apf_join_done(&runner, uf_content(PAGE(7)));
}

/* The memslot is deleted, and made anew without the flag, while a page is pending. */
TEST_F(accept, memslot_deleted)
{
	struct uf_vm *uf = &self->uf;
	struct apf_runner runner;

	apf_read_accept(uf, 0, PAGE(8));
	run_pending(uf, &runner, variant->events);
	uf_delete_slot(uf);
	uf_disable(uf);
	TEST_ASSERT_EQ(apf_ready(uf, 0, PAGE(8)), 0);
	apf_join_done(&runner, uf_content(PAGE(8)));
}

/* Pages are pending in all states when the VM ends. */
TEST_F(accept, vm_destroyed)
{
	struct uf_vm *uf = &self->uf;
	struct apf_runner runner;

	apf_read_accept(uf, 0, PAGE(9));
	run_pending(uf, &runner, variant->events);
	apf_join_interrupted(&runner);
	apf_read_accept(uf, 1, PAGE(10));
	/* Teardown looks for warnings. */
}

/*
 * Userspace disables the guest's async page faults while a page is pending: the page
 * is forgotten, and a vCPU that is halted for it goes on.
 */
TEST_F(accept, msr_off)
{
	struct uf_vm *uf = &self->uf;
	struct apf_runner runner;

	apf_guest(uf, 0)->mode = APF_SKIP;
	apf_read_accept(uf, 0, PAGE(11));
	if (variant->events) {
		uf_run_done(uf, 0, APF_SKIPPED);
		vcpu_set_msr(uf->vcpus[0], MSR_KVM_ASYNC_PF_EN, 0);
		TEST_ASSERT_EQ(apf_serve(uf, 0, PAGE(11)), ENOENT);
		uf_access(uf, 0, UF_READ, PAGE(11));
		TEST_ASSERT_EQ(apf_guest(uf, 0)->nr_ready, 0);
		return;
	}

	apf_start(&runner, uf, 0);
	apf_wait_stat(0, "userfault_halts", 1);
	apf_join_interrupted(&runner);
	vcpu_set_msr(uf->vcpus[0], MSR_KVM_ASYNC_PF_EN, 0);
	/* The access exits again, and can be accepted again. */
	apf_run_offers(uf, 0, PAGE(11));
	TEST_ASSERT_EQ(apf_ready(uf, 0, PAGE(11)), ENOENT);
	TEST_ASSERT_EQ(apf_accept(uf, 0, PAGE(11)), 0);
	vcpu_set_msr(uf->vcpus[0], MSR_KVM_ASYNC_PF_EN, 0);
	TEST_ASSERT_EQ(apf_serve(uf, 0, PAGE(11)), ENOENT);
	uf_run_done(uf, 0, uf_content(PAGE(11)));
}

/* Of a vCPU that is halted */
FIXTURE(halted) {
	struct uf_vm uf;
};

FIXTURE_SETUP(halted)
{
	apf_vm_init(&self->uf, 1, false);
}

FIXTURE_TEARDOWN(halted)
{
	apf_vm_free(&self->uf);
}

/*
 * Userspace disables interrupts while the vCPU is halted, as a reset does: it can no
 * longer be halted.
 */
TEST_F(halted, interrupts_off)
{
	struct uf_vm *uf = &self->uf;
	struct apf_runner runner;
	struct kvm_regs regs;

	apf_read_accept(uf, 0, PAGE(5));
	run_pending(uf, &runner, false);
	apf_join_interrupted(&runner);
	vcpu_regs_get(uf->vcpus[0], &regs);
	regs.rflags &= ~APF_EFLAGS_IF;
	vcpu_regs_set(uf->vcpus[0], &regs);

	uf_run_exits(uf, 0, PAGE(5));
	TEST_ASSERT_EQ(apf_serve(uf, 0, PAGE(5)), 0);
	uf_run_done(uf, 0, uf_content(PAGE(5)));
}

/* Of a guest that is told */
FIXTURE(events) {
	struct uf_vm uf;
};

FIXTURE_SETUP(events)
{
	apf_vm_init(&self->uf, 1, true);
}

FIXTURE_TEARDOWN(events)
{
	apf_vm_free(&self->uf);
}

/* A second fault on a pending page halts the vCPU. */
TEST_F(events, second_fault)
{
	struct uf_vm *uf = &self->uf;
	struct apf_runner runner;

	apf_guest(uf, 0)->mode = APF_AGAIN;
	apf_read_accept(uf, 0, PAGE(1));
	uf_run_done(uf, 0, APF_TOLD);
	apf_start(&runner, uf, 0);
	apf_wait_stat(0, "userfault_halts", 1);
	TEST_ASSERT_EQ(apf_serve(uf, 0, PAGE(1)), 0);
	apf_join_done(&runner, uf_content(PAGE(1)));
	TEST_ASSERT_EQ(apf_guest(uf, 0)->nr_told, 1);
}

/* Let the guest skip @n pages from @first on, all of which are accepted. */
static void skip_pages(struct uf_vm *uf, int first, int n)
{
	uint64_t told = apf_guest(uf, 0)->nr_told;
	int i;

	apf_guest(uf, 0)->mode = APF_SKIP;
	for (i = first; i < first + n; i++) {
		apf_read_accept(uf, 0, PAGE(i));
		uf_run_done(uf, 0, APF_SKIPPED);
	}
	TEST_ASSERT_EQ(apf_guest(uf, 0)->nr_told, told + n);
}

/* Run until the guest has got @n events that a page is ready. */
static void run_ready(struct uf_vm *uf, int n)
{
	struct apf_guest *g = apf_guest(uf, 0);
	int i;

	uf_prepare(uf, 0, UF_READ, PAGE(0));
	for (i = 0; i < 1000 && READ_ONCE(g->nr_ready) < n; i++)
		uf_run_done(uf, 0, uf_content(PAGE(0)));
	TEST_ASSERT_EQ(g->nr_ready, n);
}

/* As many pages as can be pending, which come in another order. */
TEST_F(events, limit)
{
	struct uf_vm *uf = &self->uf;
	int i;

	skip_pages(uf, 1, APF_MAX_PAGES);
	uf_set_bit(uf, PAGE(100));
	uf_prepare(uf, 0, UF_READ, PAGE(100));
	uf_run_exits(uf, 0, PAGE(100));
	TEST_ASSERT_EQ(apf_accept(uf, 0, PAGE(100)), ENOENT);
	uf_clear_bit(uf, PAGE(100));
	uf_run_done(uf, 0, uf_content(PAGE(100)));

	for (i = 1; i <= APF_MAX_PAGES; i++)
		TEST_ASSERT_EQ(apf_serve(uf, 0, PAGE(1 + i * 37 % APF_MAX_PAGES)), 0);
	run_ready(uf, APF_MAX_PAGES);
	apf_check_tokens(uf, 0, APF_MAX_PAGES);

	/* There is room again. */
	skip_pages(uf, 200, APF_MAX_PAGES);
	for (i = 200; i < 200 + APF_MAX_PAGES; i++)
		TEST_ASSERT_EQ(apf_serve(uf, 0, PAGE(i)), 0);
	run_ready(uf, 2 * APF_MAX_PAGES);
	apf_check_tokens(uf, 0, 2 * APF_MAX_PAGES);
}

/* KVM's own async page faults are pending as well, for pages that are in userfaultfd. */
TEST_F(events, both_kinds)
{
	static uint64_t content[PAGE_SIZE / sizeof(uint64_t)] __aligned(PAGE_SIZE);
	struct uf_vm *uf = &self->uf;
	void *hva = uf_page_hva(uf, PAGE(300));
	int uffd, i;

	uffd = missing_register(hva, PAGE_SIZE);
	if (uffd < 0)
		SKIP(return, "no userfaultfd");

	skip_pages(uf, 1, 3);
	uf_prepare(uf, 0, UF_READ, PAGE(300));
	uf_run_done(uf, 0, APF_SKIPPED);
	missing_wait(uffd, hva);
	skip_pages(uf, 4, 3);
	missing_place(uffd, hva, content);
	for (i = 1; i <= 6; i++)
		TEST_ASSERT_EQ(apf_serve(uf, 0, PAGE(i)), 0);
	run_ready(uf, 7);
	apf_check_tokens(uf, 0, 7);
	close(uffd);
}

/* The guest's MSR is written again, as after a migration: all tasks are woken. */
TEST_F(events, wake_all)
{
	struct apf_guest *g = apf_guest(&self->uf, 0);
	struct uf_vm *uf = &self->uf;

	skip_pages(uf, 1, 2);
	vcpu_set_msr(uf->vcpus[0], MSR_KVM_ASYNC_PF_EN, 0);
	vcpu_set_msr(uf->vcpus[0], MSR_KVM_ASYNC_PF_EN, g->area_gpa | APF_EVENTS);
	run_ready(uf, 1);
	TEST_ASSERT_EQ(g->ready[0], ~0u);
	TEST_ASSERT_EQ(apf_serve(uf, 0, PAGE(1)), ENOENT);
	TEST_ASSERT_EQ(apf_serve(uf, 0, PAGE(2)), ENOENT);
}

/* While a guest has not acknowledged an event, another one does not keep it awake. */
TEST_F(events, unacknowledged)
{
	struct apf_guest *g = apf_guest(&self->uf, 0);
	struct uf_vm *uf = &self->uf;
	struct apf_runner runner;
	struct kvm_regs regs;

	skip_pages(uf, 1, 2);
	/* With interrupts off, the guest does not take the first event. */
	vcpu_regs_get(uf->vcpus[0], &regs);
	regs.rflags &= ~APF_EFLAGS_IF;
	vcpu_regs_set(uf->vcpus[0], &regs);
	uf_prepare(uf, 0, UF_READ, PAGE(0));
	TEST_ASSERT_EQ(apf_serve(uf, 0, PAGE(1)), 0);
	uf_run_done(uf, 0, uf_content(PAGE(0)));
	TEST_ASSERT_EQ(apf_serve(uf, 0, PAGE(2)), 0);
	uf_run_done(uf, 0, uf_content(PAGE(0)));
	TEST_ASSERT_EQ(g->nr_ready, 0);

	/* A HLT with interrupts off ends with an NMI, which the test does not send. */
	g->halt = true;
	apf_start(&runner, uf, 0);
	wait_asleep();
	apf_join_interrupted(&runner);
	g->halt = false;

	vcpu_regs_get(uf->vcpus[0], &regs);
	regs.rflags |= APF_EFLAGS_IF;
	vcpu_regs_set(uf->vcpus[0], &regs);
	vcpu_mp_state_set(uf->vcpus[0],
			  &(struct kvm_mp_state){ .mp_state = KVM_MP_STATE_RUNNABLE });
	run_ready(uf, 2);
	apf_check_tokens(uf, 0, 2);
}

int main(int argc, char *argv[])
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_USERFAULT));
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_ASYNC_PF_USERFAULT));

	return test_harness_run(argc, argv);
}
