// SPDX-License-Identifier: GPL-2.0-only
/*
 * Async page faults over KVM userfault on x86: the events that the guest gets, and what
 * ends a vCPU's wait.
 */
#include "kvm_test_harness.h"
#include "kvm_userfault_apf.h"
#include "kvm_userfault_missing.h"

#define PAGE(n)		uf_page(0, n)

/* A guest that is told, or a vCPU that is halted */
FIXTURE(waits) {
	struct uf_vm uf;
};

FIXTURE_VARIANT(waits) {
	bool events;
};

FIXTURE_VARIANT_ADD(waits, halt) { .events = false };
FIXTURE_VARIANT_ADD(waits, told) { .events = true };

FIXTURE_SETUP(waits)
{
	apf_vm_init(&self->uf, 2, variant->events);
}

FIXTURE_TEARDOWN(waits)
{
	if (self->uf.vm)
		apf_vm_free(&self->uf);
}

/* Userspace resets the vCPU to wait for INIT: its pages are forgotten. */
TEST_F(waits, mp_state)
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
TEST_F(waits, kicked)
{
	struct uf_vm *uf = &self->uf;
	struct apf_runner runner;
	uint64_t halts;

	apf_read_accept(uf, 0, PAGE(6));
	apf_run_pending(uf, &runner, variant->events);
	halts = apf_stat(0, "userfault_halts");
	apf_kick(uf, 1, 0);
	usleep(50000);
	TEST_ASSERT_EQ(apf_stat(0, "userfault_halts"), halts);
	TEST_ASSERT_EQ(READ_ONCE(apf_guest(uf, 0)->nr_halts), variant->events ? 1 : 0);
	TEST_ASSERT_EQ(apf_serve(uf, 0, PAGE(6)), 0);
	apf_join_done(&runner, uf_content(PAGE(6)));
}

/*
 * Userspace disables the guest's async page faults while a page is pending: the page
 * is forgotten, and a vCPU that is halted for it goes on.
 */
TEST_F(waits, msr_off)
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

/* Each event that a page is ready has the token of the one before. */
TEST_F(events, tokens)
{
	struct apf_guest *g = apf_guest(&self->uf, 0);
	struct uf_vm *uf = &self->uf;
	int n;

	for (n = 1; n <= 5; n++) {
		apf_read_accept(uf, 0, PAGE(n));
		uf_run_done(uf, 0, APF_TOLD);
		TEST_ASSERT_EQ(apf_serve(uf, 0, PAGE(n)), 0);
		TEST_ASSERT_EQ(apf_ready(uf, 0, PAGE(n)), EALREADY);
		uf_run_done(uf, 0, uf_content(PAGE(n)));
		TEST_ASSERT_EQ(apf_ready(uf, 0, PAGE(n)), ENOENT);
		TEST_ASSERT_EQ(g->nr_ready, n);
		TEST_ASSERT_EQ(g->ready[n - 1], g->told[n - 1]);
	}
	apf_check_tokens(uf, 0, 5);
}

/* A guest that has nothing else to do sleeps in its HLT. */
TEST_F(events, sleeps)
{
	struct uf_vm *uf = &self->uf;
	struct apf_runner runner;

	apf_read_accept(uf, 0, PAGE(7));
	uf_run_done(uf, 0, APF_TOLD);
	apf_start(&runner, uf, 0);
	apf_wait_asleep(0);
	TEST_ASSERT_EQ(READ_ONCE(apf_guest(uf, 0)->nr_halts), 0);
	TEST_ASSERT_EQ(apf_serve(uf, 0, PAGE(7)), 0);
	apf_join_done(&runner, uf_content(PAGE(7)));
}

/*
 * The guest wants no events for faults in kernel mode: its vCPU is halted, and it gets no
 * event that the page is ready.  More of them than can be pending leave nothing behind.
 */
TEST_F(events, kernel_mode)
{
	struct apf_guest *g = apf_guest(&self->uf, 0);
	struct uf_vm *uf = &self->uf;
	struct apf_runner runner;
	int n;

	vcpu_set_msr(uf->vcpus[0], MSR_KVM_ASYNC_PF_EN,
		     g->area_gpa | (APF_EVENTS & ~KVM_ASYNC_PF_SEND_ALWAYS));
	run_ready(uf, 1);
	TEST_ASSERT_EQ(g->ready[0], ~0u);

	for (n = 1; n <= APF_MAX_PAGES + 10; n++) {
		apf_read_accept(uf, 0, PAGE(n));
		apf_start(&runner, uf, 0);
		apf_wait_stat(0, "userfault_halts", n);
		TEST_ASSERT_EQ(apf_serve(uf, 0, PAGE(n)), 0);
		apf_join_done(&runner, uf_content(PAGE(n)));
	}
	uf_access(uf, 0, UF_READ, PAGE(0));
	TEST_ASSERT_EQ(g->nr_told, 0);
	TEST_ASSERT_EQ(g->nr_ready, 1);
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

	skip_pages(uf, 1, 2);
	/* With interrupts off, the guest does not take the first event. */
	apf_allow_irqs(uf->vcpus[0], false);
	uf_prepare(uf, 0, UF_READ, PAGE(0));
	TEST_ASSERT_EQ(apf_serve(uf, 0, PAGE(1)), 0);
	uf_run_done(uf, 0, uf_content(PAGE(0)));
	TEST_ASSERT_EQ(apf_serve(uf, 0, PAGE(2)), 0);
	uf_run_done(uf, 0, uf_content(PAGE(0)));
	TEST_ASSERT_EQ(g->nr_ready, 0);

	/* A HLT with interrupts off ends with an NMI, which the test does not send. */
	g->halt = true;
	apf_start(&runner, uf, 0);
	apf_wait_asleep(0);
	apf_join_interrupted(&runner);
	g->halt = false;

	apf_allow_irqs(uf->vcpus[0], true);
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
