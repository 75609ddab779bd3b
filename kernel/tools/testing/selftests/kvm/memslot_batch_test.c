// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_SET_USER_MEMORY_REGIONS: handwritten and randomized lists of changes.  The
 * guest compares the result of each with a model.
 */
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "kvm_memslot_batch_model.h"

static int nr_iterations = 3000;

static void test_random(struct mb_list *list)
{
	int nr = 0, i, j;

	for (i = 0; i < nr_iterations; i++) {
		nr += random_list(list);
		for (j = 0; j < 4; j++)
			check_place(below(NR_PLACES));
		if (i % 256 == 0)
			check_all();
	}
	check_all();
	pr_info("%d lists, %d changes\n", i, nr);
	clear_model(list);
	check_all();
}

/* Changes that depend on earlier changes of the same list. */
static void test_sequence(struct mb_list *list)
{
	make_two(list);

	/* Both change places: one is created again, the other one moves. */
	mb_add(list, FIRST_SLOT, 0, 0, 0, NULL);
	model[1].place = 0;
	add_change(list, 1, &model[1]);
	model[0].place = 2;
	add_change(list, 0, &model[0]);
	mb_set(vm, list, 0);
	check_all();

	mb_add(list, FIRST_SLOT, 0, 0, 0, NULL);
	model[0].flags = KVM_MEM_READONLY;
	add_change(list, 0, &model[0]);
	mb_set(vm, list, 0);
	check_all();

	/* A change to what a memslot is already, alone and next to real changes. */
	add_change(list, 1, &model[1]);
	mb_set(vm, list, 0);
	add_change(list, 1, &model[1]);
	mb_add(list, FIRST_SLOT + 1, 0, 0, 0, NULL);
	model[1] = (struct slot) {};
	model[0].place = 30;
	add_change(list, 0, &model[0]);
	add_change(list, 0, &model[0]);
	mb_set(vm, list, 0);
	check_all();
	clear_model(list);
}

/* A list cannot change a memslot again that it has created or changed. */
static void test_twice(struct mb_list *list)
{
	struct slot moved, logs, made = { .npages = 1, .place = 20, .page = 20 };

	make_two(list);
	moved = logs = model[0];
	moved.place = 10;
	logs.flags = KVM_MEM_LOG_DIRTY_PAGES;

#define TWICE(first, second) do {			\
	first;						\
	second;						\
	set_list(list, EINVAL, list->nr - 1);		\
	check_all();					\
} while (0)
	TWICE(add_change(list, 0, &moved), mb_add(list, FIRST_SLOT, 0, 0, 0, NULL));
	TWICE(add_change(list, 0, &moved), add_change(list, 0, &model[0]));
	TWICE(add_change(list, 0, &logs), mb_add(list, FIRST_SLOT, 0, 0, 0, NULL));
	TWICE(add_change(list, 0, &logs), add_change(list, 0, &model[0]));
	TWICE(add_change(list, 2, &made), mb_add(list, FIRST_SLOT + 2, 0, 0, 0, NULL));
	TWICE(mb_add(list, FIRST_SLOT, 0, 0, 0, NULL); add_change(list, 0, &model[0]),
	      add_change(list, 0, &moved));
	TWICE(mb_add(list, FIRST_SLOT, 0, 0, 0, NULL),
	      mb_add(list, FIRST_SLOT, 0, 0, 0, NULL));
#undef TWICE
	clear_model(list);
}

/* A list whose third change is invalid and whose other changes are valid: none is made. */
static void test_bad_region(struct mb_list *list, const char *what, int error,
			    const struct kvm_userspace_memory_region2 *bad)
{
	struct slot moved = model[0], made = { .npages = 1, .place = 30, .page = 30 };

	moved.place = 40;
	add_change(list, 0, &moved);
	mb_add(list, FIRST_SLOT + 1, 0, 0, 0, NULL);
	list->regions[list->nr++] = *bad;
	add_change(list, 5, &made);
	pr_debug("%s\n", what);
	set_list(list, error, 2);
	check_all();
}

static void test_bad_regions(struct mb_list *list)
{
	const struct kvm_userspace_memory_region2 good = {
		.slot = FIRST_SLOT + 3,
		.guest_phys_addr = place_gpa(50),
		.memory_size = page_size,
		.userspace_addr = (unsigned long)mem,
	};
	struct kvm_userspace_memory_region2 bad;

	make_two(list);
#define BAD(error, change) do {					\
	bad = good;						\
	change;							\
	test_bad_region(list, #change, error, &bad);		\
} while (0)
	BAD(EINVAL, bad.flags = 1 << 16);
	BAD(EINVAL, bad.flags = KVM_MEM_GUEST_MEMFD);
	BAD(EINVAL, bad.memory_size += 1);
	BAD(EINVAL, bad.guest_phys_addr += 1);
	BAD(EINVAL, bad.guest_phys_addr = -page_size; bad.memory_size = 2 * page_size);
	BAD(EINVAL, bad.userspace_addr += 1);
	BAD(EINVAL, bad.userspace_addr = -page_size);
	BAD(EINVAL, bad.slot = kvm_check_cap(KVM_CAP_NR_MEMSLOTS));
	BAD(EINVAL, bad.slot |= 1 << 16);	/* another address space */
	BAD(EINVAL, bad.memory_size = 0);	/* deletes no memslot */
	BAD(EINVAL, bad.slot = FIRST_SLOT);	/* has other memory */
	BAD(EEXIST, bad.guest_phys_addr = place_gpa(40));	/* the first change moves there */
	BAD(EEXIST, bad.slot = FIRST_SLOT; bad.memory_size *= 2;
		    bad.guest_phys_addr = 0);	/* the library's memslot is there */
#ifdef __x86_64__
	/* Only the architecture refuses this one. */
	BAD(EINVAL, bad.guest_phys_addr = 1ull << 52);
#endif
#undef BAD
	clear_model(list);
}

/* Errors that are about the list as a whole. */
static void test_bad_lists(struct mb_list *list)
{
	struct kvm_user_memory_regions good, bad;
	int r, max = kvm_check_cap(KVM_CAP_MEMORY_REGIONS);
	void *nowhere;

	TEST_ASSERT(max >= 2 * kvm_check_cap(KVM_CAP_NR_MEMSLOTS), "only %d changes allowed", max);
	nowhere = mmap(NULL, page_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	TEST_ASSERT(nowhere != MAP_FAILED, "mmap() failed: errno %d", errno);

	mb_add(list, FIRST_SLOT, 0, place_gpa(0), page_size, mem);
	good = (struct kvm_user_memory_regions) {
		.nr = list->nr,
		.regions = (unsigned long)list->regions,
		.failed = ~0u,
	};
#define BAD(error, change) do {								\
	bad = good;									\
	change;										\
	r = __vm_ioctl(vm, KVM_SET_USER_MEMORY_REGIONS, &bad);				\
	TEST_ASSERT(r && errno == error, #change ": got %d, errno %d", r, errno);	\
	TEST_ASSERT_EQ(bad.failed, bad.nr);						\
	check_all();									\
} while (0)
	BAD(EINVAL, bad.flags = 1 << 1);
	BAD(EINVAL, bad.pad[0] = 1);
	BAD(EINVAL, bad.pad[10] = 1);
	BAD(E2BIG, bad.nr = max + 1);
	BAD(EFAULT, bad.regions = (unsigned long)nowhere);
	BAD(EFAULT, bad.regions = 0);
#undef BAD
	r = ioctl(vm->fd, KVM_SET_USER_MEMORY_REGIONS, nowhere);
	TEST_ASSERT(r && errno == EFAULT, "got %d, errno %d", r, errno);

	/* An empty list. */
	good.nr = 0;
	good.regions = 0;
	vm_ioctl(vm, KVM_SET_USER_MEMORY_REGIONS, &good);
	check_all();
	list->nr = 0;
	munmap(nowhere, page_size);
}

static bool test_and_clear_dirty(int id)
{
	unsigned long bitmap = 0;

	kvm_vm_get_dirty_log(vm, FIRST_SLOT + id, &bitmap);
	return bitmap & 1;
}

/* Write the first page of both memslots, and check which of them log it. */
static void check_dirty(bool first, bool second)
{
	uint64_t value;

	guest_access(model[0].place, page_stamp(0), &value);
	guest_access(model[1].place, page_stamp(2), &value);
	if (first)
		TEST_ASSERT(test_and_clear_dirty(0), "slot 0 should log");
	if (second)
		TEST_ASSERT(test_and_clear_dirty(1), "slot 1 should log");
}

/*
 * A list for running vCPUs must not delete or move a memslot with dirty logging:
 * the last writes of the vCPUs would be in no log.
 */
static void test_dirty_log_atomic(struct mb_list *list)
{
	struct slot moved = model[0];
	uint32_t failed;
	int r;

	moved.place = 40;
	guest_access(model[0].place, page_stamp(0), (uint64_t[]) {0});
	for (int i = 0; i < 2; i++) {
		if (i) {
			add_change(list, 0, &moved);
		} else {
			mb_add(list, FIRST_SLOT, 0, 0, 0, NULL);
			add_change(list, 0, &model[0]);
		}
		r = __mb_set(vm, list, KVM_MEMORY_REGIONS_ATOMIC, &failed);
		TEST_ASSERT(r && errno == EBUSY && !failed, "got %d, errno %d at %u", r,
			    errno, failed);
		list->nr = 0;
	}
	TEST_ASSERT(test_and_clear_dirty(0), "the log should be complete");

	/* The flag itself may change. */
	model[1].flags = 0;
	add_change(list, 1, &model[1]);
	mb_set(vm, list, KVM_MEMORY_REGIONS_ATOMIC);
	model[1].flags = KVM_MEM_LOG_DIRTY_PAGES;
	add_change(list, 1, &model[1]);
	mb_set(vm, list, KVM_MEMORY_REGIONS_ATOMIC);
	check_dirty(true, true);
}

/* A memslot that is deleted and created again starts with an empty log. */
static void test_dirty_log_anew(struct mb_list *list)
{
	guest_access(model[0].place, page_stamp(0), (uint64_t[]) {0});
	mb_add(list, FIRST_SLOT, 0, 0, 0, NULL);
	add_change(list, 0, &model[0]);
	mb_set(vm, list, 0);
	TEST_ASSERT(!test_and_clear_dirty(0), "the log should be empty");
	check_dirty(true, true);
}

static void test_dirty_log(struct mb_list *list)
{
	const struct kvm_userspace_memory_region2 bad = { .slot = FIRST_SLOT + 9 };
	unsigned long bitmap;
	struct kvm_dirty_log log = { .slot = FIRST_SLOT + 1, .dirty_bitmap = &bitmap };
	int r;

	make_two(list);
	model[0].flags = KVM_MEM_LOG_DIRTY_PAGES;
	add_change(list, 0, &model[0]);
	model[1].flags = KVM_MEM_LOG_DIRTY_PAGES;
	add_change(list, 1, &model[1]);
	mb_set(vm, list, 0);
	check_dirty(true, true);

	/* The log survives a move, and a list that fails. */
	guest_access(model[0].place, page_stamp(0), (uint64_t[]) {0});
	model[0].place = 12;
	add_change(list, 0, &model[0]);
	mb_set(vm, list, 0);
	TEST_ASSERT(test_and_clear_dirty(0), "the log should have moved");

	guest_access(model[0].place, page_stamp(0), (uint64_t[]) {0});
	mb_add(list, FIRST_SLOT, 0, place_gpa(12), 2 * page_size, mem);
	list->regions[list->nr++] = bad;
	set_list(list, EINVAL, 1);
	TEST_ASSERT(test_and_clear_dirty(0), "the log should be complete");
	check_dirty(true, true);
	test_dirty_log_atomic(list);
	test_dirty_log_anew(list);

	model[1].flags = 0;
	add_change(list, 1, &model[1]);
	mb_set(vm, list, 0);
	check_dirty(true, false);
	r = __vm_ioctl(vm, KVM_GET_DIRTY_LOG, &log);
	TEST_ASSERT(r && errno == ENOENT, "slot 1 should not log");
	check_all();
	clear_model(list);
}

/* A userfault bitmap in a list is in effect when the ioctl returns. */
static void test_userfault(struct mb_list *list)
{
	unsigned long bitmap = 2;
	struct kvm_userspace_memory_region2 *region;
	struct kvm_run *run = vcpu->run;
	struct ucall uc;
	int r;

	if (!kvm_has_cap(KVM_CAP_USERFAULT))
		return;

	make_two(list);
	region = mb_add(list, FIRST_SLOT, KVM_MEM_USERFAULT, place_gpa(0), 2 * page_size, mem);
	region->userfault_bitmap = (unsigned long)&bitmap;
	add_change(list, 1, &model[1]);
	mb_set(vm, list, 0);

	check_place(0);
	guest_gva = place_gpa(1);
	guest_write = 0;
	sync_global_to_guest(vm, guest_gva);
	sync_global_to_guest(vm, guest_write);
	r = _vcpu_run(vcpu);
	TEST_ASSERT(r == -1 && errno == EFAULT, "got %d, errno %d", r, errno);
	TEST_ASSERT_EQ(run->exit_reason, KVM_EXIT_MEMORY_FAULT);
	TEST_ASSERT_EQ(run->memory_fault.flags, KVM_MEMORY_EXIT_FLAG_USERFAULT);
	TEST_ASSERT_EQ(run->memory_fault.gpa, place_gpa(1));

	add_change(list, 0, &model[0]);
	mb_set(vm, list, 0);
	vcpu_run(vcpu);
	TEST_ASSERT_EQ(get_ucall(vcpu, &uc), UCALL_SYNC);
	TEST_ASSERT_EQ(uc.args[1], *page_word(1));
	check_all();
	clear_model(list);
}

/* Memory outside of any memslot that is large, so that MADV_FREE takes long. */
#define SLOW_SIZE	(1ul << 30)
#define SLOW_TRIES	10
#define SLOW_POLL_US	200
#define WAIT_FUNCTION	"memslot_batch_drain"

static bool slow_stop;
static sem_t setter_go;
static pid_t setter_tid;
static bool setter_done;

/*
 * MADV_FREE holds mmap_lock for reading: faults on arm64 can take it, too.
 *
 * All threads have one processor, and this one has it only while no other thread
 * wants it.  So MADV_FREE stops in the middle until the others sleep.
 */
static void *free_slowly(void *slow)
{
	const struct sched_param param = {};

	TEST_ASSERT(!sched_setscheduler(0, SCHED_IDLE, &param),
		    "SCHED_IDLE failed: errno %d", errno);
	while (!READ_ONCE(slow_stop))
		TEST_ASSERT(!madvise(slow, SLOW_SIZE, MADV_FREE),
			    "MADV_FREE failed: errno %d", errno);
	return NULL;
}

static void *set_in_thread(void *list)
{
	WRITE_ONCE(setter_tid, syscall(SYS_gettid));
	sem_wait(&setter_go);
	mb_set(vm, list, 0);
	WRITE_ONCE(setter_done, true);
	return NULL;
}

/*
 * Does the thread with the list wait before it refuses faults?  It may also sleep
 * for a lock or in kvm_swap_active_memslots(), so check where it sleeps.
 */
static bool setter_waits(void)
{
	char path[64], name[64] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%d/wchan", READ_ONCE(setter_tid));
	file = fopen(path, "r");
	if (!file)
		return false;
	if (fscanf(file, "%63s", name) != 1)
		name[0] = 0;
	fclose(file);
	return !strncmp(name, WAIT_FUNCTION, strlen(WAIT_FUNCTION));
}

/* Where KVM shadows page tables, faults are refused from the start. */
static bool lists_wait(void)
{
#ifdef __x86_64__
	return kvm_is_tdp_enabled();
#else
	return true;
#endif
}

/* A list deletes memslots 0 and 2.  Can the guest map memslot 1 between them? */
static bool progress_while_waiting(struct mb_list *list)
{
	bool progress = false;
	pthread_t setter;

	/* Make sure that nothing of memslot 1 is mapped. */
	mb_add(list, FIRST_SLOT + 1, 0, 0, 0, NULL);
	add_change(list, 1, &model[1]);
	mb_set(vm, list, 0);

	mb_add(list, FIRST_SLOT, 0, 0, 0, NULL);
	mb_add(list, FIRST_SLOT + 2, 0, 0, 0, NULL);
	setter_tid = 0;
	setter_done = false;
	TEST_ASSERT(!pthread_create(&setter, NULL, set_in_thread, list),
		    "pthread_create() failed");
	/*
	 * To create a thread may need mmap_lock for writing, so it takes until
	 * MADV_FREE ends.  Let the list start when MADV_FREE has begun anew.
	 */
	while (!READ_ONCE(setter_tid))
		usleep(SLOW_POLL_US);
	usleep(SLOW_POLL_US);
	sem_post(&setter_go);
	while (!READ_ONCE(setter_done) && !setter_waits())
		usleep(SLOW_POLL_US);
	if (!READ_ONCE(setter_done)) {
		check_place(model[1].place);
		/* setter_done, because a thread that ends may have to wait, too. */
		progress = setter_waits() && !READ_ONCE(setter_done);
	}
	pthread_join(setter, NULL);

	add_change(list, 0, &model[0]);
	add_change(list, 2, &model[2]);
	mb_set(vm, list, 0);
	return progress;
}

/*
 * A list has to wait while the process changes its memory, and vCPUs must make
 * progress meanwhile.  A list may miss such a change, so try several times.
 */
static void test_slow_notifier(struct mb_list *list)
{
	cpu_set_t affinity;
	pthread_t thread;
	void *slow;
	int tries;

	if (!lists_wait() || access("/proc/self/wchan", R_OK)) {
		pr_info("skipped: lists that wait for the process\n");
		return;
	}

	slow = mmap(NULL, SLOW_SIZE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	TEST_ASSERT(slow != MAP_FAILED, "mmap() failed: errno %d", errno);
	madvise(slow, SLOW_SIZE, MADV_NOHUGEPAGE);
	/* Map the zero page everywhere. */
	TEST_ASSERT(!madvise(slow, SLOW_SIZE, MADV_POPULATE_READ),
		    "MADV_POPULATE_READ failed: errno %d", errno);

	make_some(list, 3);
	TEST_ASSERT(!sched_getaffinity(0, sizeof(affinity), &affinity),
		    "sched_getaffinity() failed: errno %d", errno);
	kvm_pin_this_task_to_pcpu(sched_getcpu());
	slow_stop = false;
	sem_init(&setter_go, 0, 0);
	TEST_ASSERT(!pthread_create(&thread, NULL, free_slowly, slow),
		    "pthread_create() failed");
	for (tries = 1; !progress_while_waiting(list); tries++)
		TEST_ASSERT(tries < SLOW_TRIES, "the guest made no progress");
	WRITE_ONCE(slow_stop, true);
	pthread_join(thread, NULL);
	sem_destroy(&setter_go);
	TEST_ASSERT(!sched_setaffinity(0, sizeof(affinity), &affinity),
		    "sched_setaffinity() failed: errno %d", errno);
	pr_info("the guest made progress during list %d\n", tries);
	munmap(slow, SLOW_SIZE);
	check_all();
	clear_model(list);
}

/*
 * A memslot whose metadata the host has no memory for: 8 bytes per page with shadow
 * paging.  The kernel logs a warning.
 */
static void test_no_memory(struct mb_list *list)
{
#ifdef __x86_64__
	const struct kvm_userspace_memory_region2 huge = {
		.slot = FIRST_SLOT + 3,
		.guest_phys_addr = 1ull << 33,
		.memory_size = ((1ull << 31) - 1) * page_size,
		.userspace_addr = page_size,
	};

	make_two(list);
	test_bad_region(list, "no memory", ENOMEM, &huge);
	clear_model(list);
#endif
}

#define CGROUP		"/sys/fs/cgroup/memslot_batch_test"

/* The most memory that the cgroup has used. */
static size_t cgroup_peak(void)
{
	FILE *file = fopen(CGROUP "/memory.peak", "r");
	size_t peak = 0;

	TEST_ASSERT(file && fscanf(file, "%zu", &peak) == 1, "no memory.peak: errno %d",
		    errno);
	fclose(file);
	return peak;
}

static void run_accounted(void)
{
	struct mb_list list;
	size_t before, size;
	uint32_t failed;
	int r;

	if (!write_file(CGROUP "/cgroup.procs", "0"))
		exit(KSFT_SKIP);

	vm = vm_create_barebones();
	mb_list_init(&list, kvm_check_cap(KVM_CAP_MEMORY_REGIONS));
	size = list.max * sizeof(*list.regions);
	memset(list.regions, 0, size);

	/* Each change deletes a memslot that does not exist. */
	list.nr = 1;
	r = __mb_set(vm, &list, 0, &failed);
	TEST_ASSERT(r && errno == EINVAL, "got %d, errno %d", r, errno);
	before = cgroup_peak();
	list.nr = list.max;
	r = __mb_set(vm, &list, 0, &failed);
	TEST_ASSERT(r && errno == EINVAL && !failed, "got %d, errno %d at %u", r, errno,
		    failed);
	TEST_ASSERT(cgroup_peak() >= before + size, "%zu bytes charged for a list of %zu",
		    cgroup_peak() - before, size);
	exit(0);
}

/* The kernel's copy of a list is charged to the caller. */
static void test_accounted(void)
{
	int status;
	pid_t pid;

	write_file("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
	mkdir(CGROUP, 0755);
	pid = fork();
	TEST_ASSERT(pid >= 0, "fork() failed: errno %d", errno);
	if (!pid)
		run_accounted();
	TEST_ASSERT_EQ(waitpid(pid, &status, 0), pid);
	rmdir(CGROUP);
	__TEST_REQUIRE(status != KSFT_SKIP << 8, "no cgroup can be made");
	TEST_ASSERT(!status, "status 0x%x", status);
}

#define KILLED_SLOTS	4096
#define KILLED_TIMES	8

static void make_lists_until_killed(int ready)
{
	struct mb_list list;
	int i;

	vm = vm_create_barebones();
	mb_list_init(&list, 2 * KILLED_SLOTS);
	for (;;) {
		for (i = 0; i < KILLED_SLOTS; i++)
			mb_add(&list, i, 0, place_gpa(i), page_size, mem);
		mb_set(vm, &list, 0);
		/* The same while all of them exist. */
		for (i = 0; i < KILLED_SLOTS; i++)
			mb_add(&list, i, 0, 0, 0, NULL);
		for (i = 0; i < KILLED_SLOTS; i++)
			mb_add(&list, i, 0, place_gpa(i + 1), page_size, mem);
		mb_set(vm, &list, 0);
		TEST_ASSERT(write(ready, "", 1) == 1, "write() failed: errno %d", errno);
		for (i = 0; i < KILLED_SLOTS; i++)
			mb_add(&list, i, 0, 0, 0, NULL);
		mb_set(vm, &list, 0);
	}
}

/* A process is killed at any point of making a list. */
static void test_killed(void)
{
	int status, fds[2];
	pid_t pid;
	char c;

	for (int i = 0; i < KILLED_TIMES; i++) {
		TEST_ASSERT(!pipe(fds), "pipe() failed: errno %d", errno);
		pid = fork();
		TEST_ASSERT(pid >= 0, "fork() failed: errno %d", errno);
		if (!pid)
			make_lists_until_killed(fds[1]);
		close(fds[1]);
		TEST_ASSERT(read(fds[0], &c, 1) == 1, "the child has ended");
		usleep(below(40000));
		kill(pid, SIGKILL);
		TEST_ASSERT_EQ(waitpid(pid, &status, 0), pid);
		TEST_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
			    "status 0x%x", status);
		close(fds[0]);
	}
}

/* Create and delete as many memslots as possible; twice, to check that ids are reusable. */
static void test_many(void)
{
	int nr = kvm_check_cap(KVM_CAP_NR_MEMSLOTS) - FIRST_SLOT;
	struct mb_list list;
	uint32_t failed;
	int i, n, r;

	mb_list_init(&list, 2 * nr + 2);
	for (n = 0; n < 2; n++) {
		for (i = 0; i < nr; i++)
			mb_add(&list, FIRST_SLOT + i, 0, place_gpa(i), page_size, mem);
		mb_set(vm, &list, 0);
		TEST_ASSERT(guest_access(NR_PLACES - 1, 0, (uint64_t[]) {0}), "no memory");

		/* Create all of them again, then one too many. */
		for (i = 0; i < nr; i++)
			mb_add(&list, FIRST_SLOT + i, 0, 0, 0, NULL);
		for (i = 0; i < nr; i++)
			mb_add(&list, FIRST_SLOT + i, 0, place_gpa(i), page_size, mem);
		mb_add(&list, FIRST_SLOT + nr, 0, place_gpa(nr), page_size, mem);
		r = __mb_set(vm, &list, 0, &failed);
		TEST_ASSERT(r && errno == EINVAL && failed == 2 * nr,
			    "got %d, errno %d at %u", r, errno, failed);
		list.nr--;
		mb_set(vm, &list, 0);
		TEST_ASSERT(guest_access(NR_PLACES - 1, 0, (uint64_t[]) {0}), "no memory");

		for (i = 0; i < nr; i++)
			mb_add(&list, FIRST_SLOT + i, 0, 0, 0, NULL);
		mb_set(vm, &list, 0);
		check_all();
	}
	mb_list_free(&list);
}

/* The tests that compare the guest's view with the model. */
static void run_tests(struct mb_list *list)
{
	check_all();
	test_sequence(list);
	test_twice(list);
	test_bad_regions(list);
	test_bad_lists(list);
	test_dirty_log(list);
	test_userfault(list);
	test_random(list);
}

/* A list that fails for an allocation has changed nothing. */
static int nr_failures;

static void allocation_failed(void)
{
	nr_failures++;
	for (int i = 0; model_holds && i < 4; i++)
		check_place(below(NR_PLACES));
}

static void fail_allocations(struct mb_list *list)
{
	int nr = nr_iterations;

	/* Each list is tried many times. */
	nr_iterations = DIV_ROUND_UP(nr, 16);
	nr_failures = 0;
	mb_fail_allocations(allocation_failed);
	run_tests(list);
	mb_failed_to_allocate = NULL;
	pr_info("lists failed %d times for an allocation\n", nr_failures);
	TEST_ASSERT(nr_failures > nr_iterations, "hardly any allocation failed");
	nr_iterations = nr;
}

/* With a nested guest, page tables are shadowed despite TDP. */
static void run_nested(struct mb_list *list, bool fail)
{
	uint32_t failed;
	int r;

	if (!make_nested_vm())
		return;

	nr_iterations = DIV_ROUND_UP(nr_iterations, 8);
	run_tests(list);
	make_two(list);
	mb_add(list, FIRST_SLOT, 0, 0, 0, NULL);
	r = __mb_set(vm, list, KVM_MEMORY_REGIONS_ATOMIC, &failed);
	TEST_ASSERT(r && errno == EOPNOTSUPP, "no page table is shadowed: got %d, errno %d", r, errno);
	list->nr = 0;
	clear_model(list);
	if (fail)
		fail_allocations(list);
	kvm_vm_free(vm);
}

int main(int argc, char *argv[])
{
	int opt, seed = time(NULL), warnings = kernel_warnings();
	bool no_memory = false, accounted = false, fail = false;
	struct mb_list list;

	while ((opt = getopt(argc, argv, "hafms:i:")) != -1) {
		switch (opt) {
		case 'a':
			accounted = true;
			break;
		case 'f':
			fail = true;
			break;
		case 'm':
			no_memory = true;
			break;
		case 's':
			seed = atoi_non_negative("Seed", optarg);
			break;
		case 'i':
			nr_iterations = atoi_positive("Number of lists", optarg);
			break;
		default:
			printf("usage: %s [-a] [-f] [-m] [-s SEED] [-i LISTS]\n"
			       "-a also checks, in a cgroup, whom a list is charged to\n"
			       "-f also lets each allocation fail (CONFIG_FAILSLAB,\n"
			       "   CONFIG_FAIL_PAGE_ALLOC)\n"
			       "-m also tests ENOMEM, with shadow paging only\n", argv[0]);
			exit(opt == 'h' ? 0 : 1);
		}
	}
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_MEMORY_REGIONS));
#ifdef __x86_64__
	TEST_REQUIRE(!no_memory || !kvm_is_tdp_enabled());
#endif

	pr_info("seed %d\n", seed);
	srandom(seed);

	page_size = getpagesize();
	mem = mmap(NULL, NR_PAGES * page_size, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	TEST_ASSERT(mem != MAP_FAILED, "mmap() failed: errno %d", errno);
	for (int i = 0; i < NR_PAGES; i++)
		*page_word(i) = page_stamp(i);

	if (accounted)
		test_accounted();
	test_killed();

	vm = vm_create_with_one_vcpu(&vcpu, guest_code);
	virt_map(vm, BASE_GPA, BASE_GPA, NR_PLACES);
	mb_list_init(&list, MAX_LIST + NR_SLOTS);

	run_tests(&list);
	test_slow_notifier(&list);
	test_many();
	if (fail)
		fail_allocations(&list);
	TEST_ASSERT_EQ(kernel_warnings(), warnings);
	/* This makes the kernel warn. */
	if (no_memory)
		test_no_memory(&list);
	warnings = kernel_warnings();
	kvm_vm_free(vm);

	run_nested(&list, fail);
	mb_list_free(&list);
	TEST_ASSERT_EQ(kernel_warnings(), warnings);
	return 0;
}
