// SPDX-License-Identifier: GPL-2.0-only
/*
 * Async page faults over KVM userfault: userspace accepts exits, and says when the
 * pages are there.
 *
 * Each case has a guest without KVM's async page faults, whose vCPU is halted, or, on
 * x86, one with them, which is told.
 */
#include "kvm_test_harness.h"
#include "kvm_userfault_apf.h"

#define PAGE(n)		uf_page(0, n)

/* The guest was not told about any page, and the vCPU was never halted. */
static void check_unseen(struct uf_vm *uf)
{
#ifdef __x86_64__
	TEST_ASSERT_EQ(apf_stat(0, "userfault_told"), 0);
	TEST_ASSERT_EQ(apf_guest(uf, 0)->nr_told, 0);
	TEST_ASSERT_EQ(apf_guest(uf, 0)->nr_ready, 0);
#endif
	TEST_ASSERT_EQ(apf_stat(0, "userfault_halts"), 0);
}

FIXTURE(accept) {
	struct uf_vm uf;
};

FIXTURE_VARIANT(accept) {
	bool events;
};

FIXTURE_VARIANT_ADD(accept, halt) { .events = false };
#ifdef __x86_64__
FIXTURE_VARIANT_ADD(accept, told) { .events = true };
#endif

FIXTURE_SETUP(accept)
{
	apf_vm_init(&self->uf, 2, variant->events);
}

FIXTURE_TEARDOWN(accept)
{
	if (self->uf.vm)
		apf_vm_free(&self->uf);
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
	check_unseen(uf);
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
	check_unseen(uf);

	apf_run_pending(uf, &runner, variant->events);
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
	check_unseen(uf);
}

TEST_F(accept, ready_while_running)
{
	struct uf_vm *uf = &self->uf;
	struct apf_runner runner;
	int n;

	for (n = 1; n <= 5; n++) {
		apf_read_accept(uf, 0, PAGE(n));
		apf_run_pending(uf, &runner, variant->events);
		usleep(10000);
		TEST_ASSERT_EQ(apf_serve(uf, 0, PAGE(n)), 0);
		apf_join_done(&runner, uf_content(PAGE(n)));
		TEST_ASSERT_EQ(apf_ready(uf, 0, PAGE(n)), ENOENT);
	}

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
	apf_run_pending(uf, &runner, variant->events);
	apf_join_interrupted(&runner);
	TEST_ASSERT_EQ(apf_serve(uf, 0, PAGE(3)), 0);
	TEST_ASSERT_EQ(apf_ready(uf, 0, PAGE(3)), EALREADY);
	uf_run_done(uf, 0, uf_content(PAGE(3)));
	TEST_ASSERT_EQ(apf_ready(uf, 0, PAGE(3)), ENOENT);
}

/* An interrupt reaches a vCPU that waits, which goes on waiting after it. */
TEST_F(accept, interrupt)
{
	struct uf_vm *uf = &self->uf;
	struct apf_runner runner;
	uint64_t halts;
	int i;

	apf_read_accept(uf, 0, PAGE(4));
	apf_run_pending(uf, &runner, variant->events);
	for (i = 1; i <= 3; i++) {
		halts = apf_stat(0, "userfault_halts");
		apf_send_irq(uf);
		while (apf_taken_irqs(uf, 0) < i)
			usleep(100);
		/* The access may be repeated before the interrupt is taken, too. */
		while (!variant->events && apf_stat(0, "userfault_halts") == halts)
			usleep(100);
	}
	TEST_ASSERT_EQ(apf_serve(uf, 0, PAGE(4)), 0);
	apf_join_done(&runner, uf_content(PAGE(4)));
}

/* Without interrupts, the vCPU could do nothing else. */
TEST_F(accept, interrupts_off)
{
	struct uf_vm *uf = &self->uf;

	apf_allow_irqs(uf->vcpus[0], false);

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

	apf_read_accept(uf, 0, PAGE(5));
	apf_allow_irqs(uf->vcpus[0], false);

	uf_run_exits(uf, 0, PAGE(5));
	TEST_ASSERT_EQ(apf_serve(uf, 0, PAGE(5)), ENOENT);
	uf_run_done(uf, 0, uf_content(PAGE(5)));
	check_unseen(uf);
}

/* A guest that is idle sleeps, and so does a vCPU that is halted. */
TEST_F(accept, sleeps)
{
	struct uf_vm *uf = &self->uf;
	struct apf_runner runner;

	apf_read_accept(uf, 0, PAGE(7));
	apf_run_pending(uf, &runner, variant->events);
	apf_wait_asleep(0);
	TEST_ASSERT_EQ(apf_serve(uf, 0, PAGE(7)), 0);
	apf_join_done(&runner, uf_content(PAGE(7)));
}

/* The memslot is deleted, and made anew without the flag, while a page is pending. */
TEST_F(accept, memslot_deleted)
{
	struct uf_vm *uf = &self->uf;
	struct apf_runner runner;

	apf_read_accept(uf, 0, PAGE(8));
	apf_run_pending(uf, &runner, variant->events);
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
	apf_run_pending(uf, &runner, variant->events);
	apf_join_interrupted(&runner);
	apf_read_accept(uf, 1, PAGE(10));
	/* Teardown looks for warnings. */
}

/* Of a vCPU that is halted, or about to be */
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

	apf_read_accept(uf, 0, PAGE(5));
	apf_run_pending(uf, &runner, false);
	apf_join_interrupted(&runner);
	apf_allow_irqs(uf->vcpus[0], false);

	uf_run_exits(uf, 0, PAGE(5));
	TEST_ASSERT_EQ(apf_serve(uf, 0, PAGE(5)), 0);
	uf_run_done(uf, 0, uf_content(PAGE(5)));
}

/*
 * A signal ends the run when the vCPU is about to be halted.  Userspace disables
 * interrupts then: the next run must not halt it.
 */
TEST_F(halted, interrupted_before)
{
	struct uf_vm *uf = &self->uf;

	apf_read_accept(uf, 0, PAGE(6));
	apf_run_with_signal(uf, 0);
	apf_allow_irqs(uf->vcpus[0], false);

	uf_run_exits(uf, 0, PAGE(6));
	TEST_ASSERT_EQ(apf_serve(uf, 0, PAGE(6)), 0);
	uf_run_done(uf, 0, uf_content(PAGE(6)));
}

/* Likewise, and the page comes: the next run goes on. */
TEST_F(halted, ready_before)
{
	struct uf_vm *uf = &self->uf;

	apf_read_accept(uf, 0, PAGE(6));
	apf_run_with_signal(uf, 0);
	TEST_ASSERT_EQ(apf_serve(uf, 0, PAGE(6)), 0);
	TEST_ASSERT_EQ(apf_ready(uf, 0, PAGE(6)), EALREADY);
	uf_run_done(uf, 0, uf_content(PAGE(6)));
	TEST_ASSERT_EQ(apf_ready(uf, 0, PAGE(6)), ENOENT);
}

#ifdef __aarch64__

static void guest_cpu_on(uint64_t entry)
{
	struct arm_smccc_res res;

	smccc_hvc(KVM_PSCI_FN_CPU_ON, 0, entry, 0, 0, 0, 0, 0, &res);
	GUEST_ASSERT_EQ(res.a0, 0);
	GUEST_SYNC(guest_get_vcpuid());
}

/*
 * A vCPU is stopped with a page pending, and another one turns it on again.  It starts
 * with interrupts and MMU off, at that very page.
 */
TEST_F(accept, cpu_on)
{
	struct kvm_mp_state stopped = { .mp_state = KVM_MP_STATE_STOPPED };
	struct uf_vm *uf = &self->uf;
	struct kvm_vcpu *other = uf->vcpus[1];
	struct apf_runner runner;

	apf_read_accept(uf, 0, PAGE(14));
	apf_run_pending(uf, &runner, false);
	apf_join_interrupted(&runner);
	vcpu_mp_state_set(uf->vcpus[0], &stopped);

	vcpu_run_complete_io(other);
	vcpu_set_reg(other, ARM64_CORE_REG(regs.regs[0]), uf->gpa + PAGE(14) * PAGE_SIZE);
	vcpu_set_reg(other, ARM64_CORE_REG(regs.pc), (uint64_t)guest_cpu_on);
	uf_run_done(uf, 1, 1);

	uf_run_exits(uf, 0, PAGE(14));
	TEST_ASSERT_EQ(apf_serve(uf, 0, PAGE(14)), ENOENT);
}

static void reset_vcpu(struct uf_vm *uf)
{
	struct kvm_vcpu_init init;

	vm_ioctl(uf->vm, KVM_ARM_PREFERRED_TARGET, &init);
	vcpu_ioctl(uf->vcpus[0], KVM_ARM_VCPU_INIT, &init);
}

/* Userspace resets the vCPU: its page is forgotten. */
TEST_F(halted, reset)
{
	struct uf_vm *uf = &self->uf;
	struct apf_runner runner;

	apf_read_accept(uf, 0, PAGE(12));
	apf_run_pending(uf, &runner, false);
	apf_join_interrupted(&runner);
	reset_vcpu(uf);
	TEST_ASSERT_EQ(apf_serve(uf, 0, PAGE(12)), ENOENT);
}

TEST_F(halted, reset_before_run)
{
	struct uf_vm *uf = &self->uf;

	apf_read_accept(uf, 0, PAGE(12));
	reset_vcpu(uf);
	TEST_ASSERT_EQ(apf_serve(uf, 0, PAGE(12)), ENOENT);
}

/* A vCPU that userspace suspends is not halted for a page that it has accepted. */
TEST_F(halted, suspended_before_run)
{
	struct kvm_mp_state state = { .mp_state = KVM_MP_STATE_SUSPENDED };
	struct uf_vm *uf = &self->uf;
	struct kvm_vcpu *vcpu = uf->vcpus[0];
	struct apf_runner runner;

	vm_enable_cap(uf->vm, KVM_CAP_ARM_SYSTEM_SUSPEND, 0);
	apf_read_accept(uf, 0, PAGE(13));
	vcpu_mp_state_set(vcpu, &state);
	apf_start(&runner, uf, 0);
	apf_wait_stat(0, "blocking", 1);
	TEST_ASSERT_EQ(apf_stat(0, "userfault_halts"), 0);
	apf_join_interrupted(&runner);
	TEST_ASSERT_EQ(apf_serve(uf, 0, PAGE(13)), ENOENT);

	state.mp_state = KVM_MP_STATE_RUNNABLE;
	vcpu_mp_state_set(vcpu, &state);
	uf_run_done(uf, 0, uf_content(PAGE(13)));
}

/* A page that is ready is no wake-up event for a vCPU that userspace has suspended. */
TEST_F(halted, suspended)
{
	struct kvm_mp_state state = { .mp_state = KVM_MP_STATE_SUSPENDED };
	struct uf_vm *uf = &self->uf;
	struct kvm_vcpu *vcpu = uf->vcpus[0];
	struct apf_runner runner;

	vm_enable_cap(uf->vm, KVM_CAP_ARM_SYSTEM_SUSPEND, 0);
	apf_read_accept(uf, 0, PAGE(13));
	apf_run_pending(uf, &runner, false);
	apf_join_interrupted(&runner);

	vcpu_mp_state_set(vcpu, &state);
	apf_start(&runner, uf, 0);
	apf_wait_stat(0, "blocking", 1);
	TEST_ASSERT_EQ(apf_serve(uf, 0, PAGE(13)), 0);
	usleep(100000);
	TEST_ASSERT_EQ(apf_stat(0, "blocking"), 1);
	TEST_ASSERT(pthread_tryjoin_np(runner.thread, NULL) == EBUSY, "the page woke it");

	apf_send_irq(uf);
	pthread_join(runner.thread, NULL);
	TEST_ASSERT_EQ(runner.r, 0);
	TEST_ASSERT_EQ(vcpu->run->exit_reason, KVM_EXIT_SYSTEM_EVENT);
	TEST_ASSERT_EQ(vcpu->run->system_event.type, KVM_SYSTEM_EVENT_WAKEUP);

	state.mp_state = KVM_MP_STATE_RUNNABLE;
	vcpu_mp_state_set(vcpu, &state);
	uf_run_done(uf, 0, uf_content(PAGE(13)));
	TEST_ASSERT_EQ(apf_ready(uf, 0, PAGE(13)), ENOENT);
}

#endif

int main(int argc, char *argv[])
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_USERFAULT));
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_ASYNC_PF_USERFAULT));

	return test_harness_run(argc, argv);
}
