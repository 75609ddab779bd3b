// SPDX-License-Identifier: GPL-2.0-only
/*
 * Async page faults over KVM userfault on x86: a process is killed, over and over, while
 * as many pages are pending as can be, while they become ready, or while a vCPU is halted.
 */
#include <sys/wait.h>

#include "kvm_userfault_apf.h"

/* What is pending when the process is killed, by turns */
enum { TOLD, READY, HALTED, KINDS };

static void *kick_ready(void *arg)
{
	struct uf_vm *uf = arg;
	int i;

	for (i = 1; i <= APF_MAX_PAGES; i++)
		apf_serve(uf, 0, uf_page(0, i));
	return NULL;
}

/* Never returns. */
static void wait_to_be_killed(int fd, int kind)
{
	struct apf_runner runner;
	struct uf_vm uf;
	pthread_t thread;
	int i;

	apf_vm_init(&uf, 2, kind != HALTED);
	apf_guest(&uf, 0)->mode = APF_SKIP;
	for (i = 1; i <= APF_MAX_PAGES && kind != HALTED; i++) {
		apf_read_accept(&uf, 0, uf_page(0, i));
		uf_run_done(&uf, 0, APF_SKIPPED);
	}
	if (kind == HALTED) {
		apf_read_accept(&uf, 0, uf_page(0, 1));
		apf_start(&runner, &uf, 0);
		apf_wait_stat(0, "userfault_halts", 1);
	}
	/* Another vCPU has accepted a page, and has not run since. */
	apf_read_accept(&uf, 1, uf_page(1, 1));
	if (kind == READY)
		uf_start_thread(&thread, kick_ready, &uf);

	TEST_ASSERT_EQ(write(fd, "", 1), 1);
	for (;;)
		pause();
}

static void kill_one(int kind)
{
	int fds[2], status;
	pid_t pid;
	char c;

	TEST_ASSERT(!pipe(fds), "pipe() failed: errno %d", errno);
	pid = fork();
	TEST_ASSERT(pid >= 0, "fork() failed: errno %d", errno);
	if (!pid) {
		close(fds[0]);
		wait_to_be_killed(fds[1], kind);
	}

	close(fds[1]);
	TEST_ASSERT(read(fds[0], &c, 1) == 1, "the child failed");
	close(fds[0]);
	kill(pid, SIGKILL);
	TEST_ASSERT_EQ(waitpid(pid, &status, 0), pid);
	TEST_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
		    "the child ended with status 0x%x", status);
}

int main(int argc, char *argv[])
{
	int warnings = kernel_warnings();
	int i, rounds = 30;

	TEST_REQUIRE(kvm_has_cap(KVM_CAP_USERFAULT));
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_ASYNC_PF_USERFAULT));

	if (argc > 1)
		rounds = atoi_positive("Number of rounds", argv[1]);

	for (i = 0; i < rounds; i++)
		kill_one(i % KINDS);
	TEST_ASSERT_EQ(kernel_warnings(), warnings);
	pr_info("killed %d processes\n", rounds);
	return 0;
}
