// SPDX-License-Identifier: GPL-2.0-only
/*
 * Async page faults over KVM userfault: accesses of a nested guest, with and without
 * nested paging.  The hypervisor has not asked for events that are exits of its guest,
 * so the vCPU is halted.
 */
#include "kvm_userfault_apf.h"
#include "kvm_userfault_nested.h"

TEST_F(nested, accepted)
{
	struct uf_vm *uf = &self->uf;
	struct apf_runner runner;
	int i;

	apf_stats_fds[0] = vcpu_get_stats_fd(uf->vcpus[0]);
	TEST_ASSERT_EQ(apf_enable_cap(uf->vcpus[0], 1), 0);
	uf_set_all(uf);
	uf_enable(uf);
	for (i = 1; i <= 3; i++) {
		apf_read_accept(uf, 0, uf_page(1, i));
		apf_start(&runner, uf, 0);
		apf_wait_stat(0, "userfault_halts", i);
		TEST_ASSERT_EQ(apf_serve(uf, 0, uf_page(1, i)), 0);
		apf_join_done(&runner, uf_content(uf_page(1, i)));
	}
	TEST_ASSERT_EQ(apf_stat(0, "userfault_told"), 0);
	close(apf_stats_fds[0]);
}

int main(int argc, char *argv[])
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_USERFAULT));
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_ASYNC_PF_USERFAULT));

	return test_harness_run(argc, argv);
}
