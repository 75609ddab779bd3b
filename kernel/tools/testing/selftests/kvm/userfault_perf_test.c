// SPDX-License-Identifier: GPL-2.0-only
/*
 * The rate at which guest memory is brought on demand, as in post-copy migration.
 *
 * Each vCPU accesses each page of its own part of memory.  The mode determines how
 * the page is brought.  Prints one JSON object.  The content of memory is verified.
 */
#include <linux/sizes.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <time.h>

#include "kvm_util.h"
#include "processor.h"
#include "test_util.h"
#include "ucall_common.h"
#include "userfaultfd_util.h"

#define PERF_SLOT	10
#define PERF_GPA	0x100000000ull
#define PERF_GVA	0x100000000ull
#define PERF_MAX_VCPUS	256
#define PERF_CONTENT	0xc0de00000000ull
#define PERF_STALE	0xff
#define BITS_PER_WORD	(8 * sizeof(unsigned long))

/*
 * How pages are brought.  With KVM userfault and userfaultfd together, the vCPU's
 * thread places the page; userfaultfd's readers serve only accesses that are not a
 * vCPU's.
 */
struct perf_mode {
	const char *name;
	enum vm_mem_backing_src_type src;
	int uffd_mode;		/* MISSING, MINOR, or 0 for no userfaultfd */
	bool many_readers;	/* one userfaultfd, one reader per vCPU */
	bool many_uffds;	/* one userfaultfd per vCPU, with one reader each */
	bool userfault;		/* KVM userfault */
};

static const struct perf_mode modes[] = {
	/* The kernel provides zeroes. */
	{ .name = "none" },
	{ .name = "missing", .uffd_mode = UFFDIO_REGISTER_MODE_MISSING },
	{ .name = "missing-readers", .uffd_mode = UFFDIO_REGISTER_MODE_MISSING,
	  .many_readers = true },
	{ .name = "missing-multi", .uffd_mode = UFFDIO_REGISTER_MODE_MISSING,
	  .many_uffds = true },
	/* The content is present, and is mapped on demand. */
	{ .name = "minor", .uffd_mode = UFFDIO_REGISTER_MODE_MINOR,
	  .src = VM_MEM_SRC_SHMEM },
	/* The memory is present, and the content is copied into it on demand. */
	{ .name = "kvm", .userfault = true },
	{ .name = "kvm-uffd", .uffd_mode = UFFDIO_REGISTER_MODE_MISSING,
	  .userfault = true },
	{ .name = "kvm-minor", .uffd_mode = UFFDIO_REGISTER_MODE_MINOR,
	  .src = VM_MEM_SRC_SHMEM, .userfault = true },
};

struct perf_thread {
	pthread_t thread;
	struct kvm_vcpu *vcpu;
	int id;
	struct timespec begin;
	struct timespec end;
	uint64_t nr_exits;
};

/* Parameters for the guest. */
static struct {
	uint64_t page_size;
	uint64_t vcpu_pages;
	uint64_t content;	/* of page 0; page n has n more; 0: all pages have 0 */
} args;

static const struct perf_mode *mode = &modes[0];
static int nr_vcpus = 1;
static uint64_t nr_pages;
static uint8_t *mem;
static unsigned long *bitmap;
static struct uffd_desc *uffds[PERF_MAX_VCPUS];
static struct perf_thread threads[PERF_MAX_VCPUS];
static pthread_barrier_t begin_barrier, end_barrier;
static bool pin_threads;
static uint64_t nr_uffd_faults;

static uint64_t page_content(uint64_t page)
{
	return args.content ? args.content + page : 0;
}

/* Cause one write fault per page on any architecture, then check the content. */
static void guest_code(int id)
{
	uint64_t page, i;

	GUEST_SYNC(id);

	for (i = 0; i < args.vcpu_pages; i++) {
		uint64_t *words;

		page = id * args.vcpu_pages + i;
		words = (uint64_t *)(PERF_GVA + page * args.page_size);
		WRITE_ONCE(words[1], page + 1);
		GUEST_ASSERT_EQ(READ_ONCE(words[0]), page_content(page));
	}
	GUEST_DONE();
}

/* The page as received from the network, in the thread's own buffer. */
static void *received_page(uint64_t page)
{
	static __thread uint64_t buffer[SZ_64K / sizeof(uint64_t)];

	buffer[0] = page_content(page);
	return buffer;
}

static void uffd_place(int uffd, uint64_t page, bool wake)
{
	uint64_t hva = (uint64_t)mem + page * args.page_size;
	int r;

	if (mode->uffd_mode == UFFDIO_REGISTER_MODE_MINOR) {
		struct uffdio_continue cont = {
			.range.start = hva,
			.range.len = args.page_size,
			.mode = wake ? 0 : UFFDIO_CONTINUE_MODE_DONTWAKE,
		};

		r = ioctl(uffd, UFFDIO_CONTINUE, &cont);
	} else {
		struct uffdio_copy copy = {
			.dst = hva,
			.src = (uint64_t)received_page(page),
			.len = args.page_size,
			.mode = wake ? 0 : UFFDIO_COPY_MODE_DONTWAKE,
		};

		r = ioctl(uffd, UFFDIO_COPY, &copy);
	}

	/* EEXIST: another reader or vCPU thread has placed the page. */
	TEST_ASSERT(!r || errno == EEXIST, "page %lu can't be placed: errno %d",
		    page, errno);
}

/* A userfaultfd reader handles a fault. */
static int handle_uffd_fault(int uffd_mode, int uffd, struct uffd_msg *msg)
{
	uint64_t hva = msg->arg.pagefault.address;

	__atomic_fetch_add(&nr_uffd_faults, 1, __ATOMIC_RELAXED);
	uffd_place(uffd, (hva - (uint64_t)mem) / args.page_size, true);
	return 0;
}

/*
 * Copy like the kernel does without special instructions.  The library's memcpy()
 * is for guests and copies byte by byte.
 */
static void copy_page(uint64_t *to, const uint64_t *from)
{
	const uint64_t *end = from + args.page_size / sizeof(*from);
	int i;

	for (; from != end; from += 8, to += 8) {
#pragma GCC unroll 8
		for (i = 0; i < 8; i++)
			WRITE_ONCE(to[i], from[i]);
	}
}

/* A vCPU thread handles a userfault exit. */
static void handle_exit(uint64_t page)
{
	if (mode->uffd_mode)
		uffd_place(uffds[0]->uffd, page, false);
	else
		copy_page((uint64_t *)(mem + page * args.page_size),
			  received_page(page));

	/* Atomic: others clear bits of this word.  Release: the content comes first. */
	__atomic_fetch_and(&bitmap[page / BITS_PER_WORD],
			   ~(1ul << (page % BITS_PER_WORD)), __ATOMIC_RELEASE);
}

/* Run the vCPU until the guest makes a ucall. */
static uint64_t run_vcpu(struct perf_thread *t)
{
	struct kvm_run *run = t->vcpu->run;
	struct ucall uc;

	while (__vcpu_run(t->vcpu)) {
		if (errno != EFAULT || run->exit_reason != KVM_EXIT_MEMORY_FAULT ||
		    run->memory_fault.flags != KVM_MEMORY_EXIT_FLAG_USERFAULT)
			TEST_FAIL("vCPU %d: KVM_RUN failed: errno %d, exit reason %u (%s)",
				  t->id, errno, run->exit_reason,
				  exit_reason_str(run->exit_reason));
		t->nr_exits++;
		handle_exit((run->memory_fault.gpa - PERF_GPA) / args.page_size);
	}

	if (get_ucall(t->vcpu, &uc) == UCALL_ABORT)
		REPORT_GUEST_ASSERT(uc);
	TEST_ASSERT(uc.cmd, "vCPU %d: no ucall: exit reason %u (%s)",
		    t->id, run->exit_reason, exit_reason_str(run->exit_reason));
	return uc.cmd;
}

static void *vcpu_thread(void *arg)
{
	struct perf_thread *t = arg;

	if (pin_threads)
		kvm_pin_this_task_to_pcpu(t->id % get_nprocs());

	/* This maps everything else that the guest needs. */
	TEST_ASSERT_EQ(run_vcpu(t), UCALL_SYNC);

	pthread_barrier_wait(&begin_barrier);
	clock_gettime(CLOCK_MONOTONIC, &t->begin);
	TEST_ASSERT_EQ(run_vcpu(t), UCALL_DONE);
	clock_gettime(CLOCK_MONOTONIC, &t->end);

	/* Don't end while others run: that changes the address space. */
	pthread_barrier_wait(&end_barrier);
	return NULL;
}

static void setup_userfaultfd(void)
{
	int nr_uffds = mode->many_uffds ? nr_vcpus : 1;
	uint64_t len = nr_pages / nr_uffds * args.page_size;
	int i;

	for (i = 0; i < nr_uffds; i++)
		uffds[i] = uffd_setup_demand_paging(mode->uffd_mode, 0,
						    mem + i * len, len,
						    mode->many_readers ? nr_vcpus : 1,
						    handle_uffd_fault);
}

static void setup_kvm_userfault(struct kvm_vm *vm)
{
	struct kvm_userspace_memory_region2 *region;
	size_t size = DIV_ROUND_UP(nr_pages, BITS_PER_WORD) * sizeof(*bitmap);

	bitmap = malloc(size);
	TEST_ASSERT(bitmap, "no memory for the bitmap");
	memset(bitmap, 0xff, size);

	region = &memslot2region(vm, PERF_SLOT)->region;
	region->flags |= KVM_MEM_USERFAULT;
	region->userfault_bitmap = (unsigned long)bitmap;
	vm_ioctl(vm, KVM_SET_USER_MEMORY_REGION2, region);
}

static void setup_memory(struct kvm_vm *vm)
{
	struct userspace_mem_region *region;
	uint64_t i;

	vm_userspace_mem_region_add(vm, mode->src, PERF_GPA, PERF_SLOT, nr_pages, 0);
	virt_map(vm, PERF_GVA, PERF_GPA, nr_pages);
	region = memslot2region(vm, PERF_SLOT);
	mem = region->host_mem;

	/* Neither shmem nor its alias use huge pages by default. */
	madvise(mem, nr_pages * args.page_size, MADV_NOHUGEPAGE);

	if (mode->uffd_mode == UFFDIO_REGISTER_MODE_MINOR)
		for (i = 0; i < nr_pages; i++)
			*(uint64_t *)(region->host_alias + i * args.page_size) =
				page_content(i);
	else if (mode->userfault && !mode->uffd_mode)
		memset(mem, PERF_STALE, nr_pages * args.page_size);

	if (mode->uffd_mode)
		setup_userfaultfd();
	if (mode->userfault)
		setup_kvm_userfault(vm);
}

/* Check the content and the guest's writes; the guest has checked the content, too. */
static void verify(uint64_t nr_exits)
{
	uint64_t i;

	for (i = 0; i < nr_pages; i++) {
		uint64_t *words = (uint64_t *)(mem + i * args.page_size);

		TEST_ASSERT_EQ(words[0], page_content(i));
		TEST_ASSERT_EQ(words[1], i + 1);
	}

	/* Each page was brought in the way of this mode, and in no other. */
	if (mode->userfault) {
		TEST_ASSERT(nr_exits >= nr_pages, "only %lu exits", nr_exits);
		TEST_ASSERT_EQ(nr_uffd_faults, 0);
	} else if (mode->uffd_mode) {
		TEST_ASSERT(nr_uffd_faults >= nr_pages,
			    "only %lu faults", nr_uffd_faults);
	}
}

static void report(void)
{
	int64_t begin = INT64_MAX, end = 0, ns;
	uint64_t nr_exits = 0;
	int i;

	for (i = 0; i < nr_vcpus; i++) {
		begin = min(begin, timespec_to_ns(threads[i].begin));
		end = max(end, timespec_to_ns(threads[i].end));
		nr_exits += threads[i].nr_exits;
	}
	ns = end - begin;

	verify(nr_exits);
	printf("{\"mode\": \"%s\", \"vcpus\": %d, ", mode->name, nr_vcpus);
	printf("\"pages\": %lu, \"ns\": %ld, \"pages_per_s\": %.0f, ", nr_pages, ns,
	       (double)nr_pages * NSEC_PER_SEC / ns);
	printf("\"exits\": %lu, \"uffd_faults\": %lu}\n", nr_exits, nr_uffd_faults);
}

static void run(void)
{
	struct kvm_vcpu *vcpus[PERF_MAX_VCPUS];
	struct kvm_vm *vm;
	int i, r;

	vm = __vm_create_with_vcpus(VM_SHAPE_DEFAULT, nr_vcpus, nr_pages,
				    guest_code, vcpus);
	setup_memory(vm);
	sync_global_to_guest(vm, args);

	pthread_barrier_init(&begin_barrier, NULL, nr_vcpus);
	pthread_barrier_init(&end_barrier, NULL, nr_vcpus);
	for (i = 0; i < nr_vcpus; i++) {
		threads[i].id = i;
		threads[i].vcpu = vcpus[i];
		vcpu_args_set(vcpus[i], 1, i);
		r = pthread_create(&threads[i].thread, NULL, vcpu_thread, &threads[i]);
		TEST_ASSERT(!r, "pthread_create() failed: error %d", r);
	}
	for (i = 0; i < nr_vcpus; i++)
		pthread_join(threads[i].thread, NULL);

	report();

	for (i = 0; i < nr_vcpus && uffds[i]; i++)
		uffd_stop_demand_paging(uffds[i]);
	kvm_vm_free(vm);
	free(bitmap);
}

static void set_mode(const char *name)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(modes); i++) {
		if (!strcmp(modes[i].name, name)) {
			mode = &modes[i];
			return;
		}
	}
	TEST_FAIL("no such mode: %s", name);
}

static void help(const char *name)
{
	int i;

	printf("usage: %s [-u MODE] [-v VCPUS] [-b SIZE]\n\n"
	       " -u: how pages are brought, one of:", name);
	for (i = 0; i < ARRAY_SIZE(modes); i++)
		printf(" %s", modes[i].name);
	printf("\n"
	       " -v: number of vCPUs (default: 1)\n"
	       " -b: memory that each vCPU accesses, for example 256K (default: 4M)\n");
}

int main(int argc, char *argv[])
{
	uint64_t vcpu_size = SZ_4M;
	int opt;

	while ((opt = getopt(argc, argv, "hu:v:b:")) != -1) {
		switch (opt) {
		case 'u':
			set_mode(optarg);
			break;
		case 'v':
			nr_vcpus = atoi_positive("Number of vCPUs", optarg);
			TEST_ASSERT(nr_vcpus <= PERF_MAX_VCPUS,
				    "at most %d vCPUs", PERF_MAX_VCPUS);
			break;
		case 'b':
			vcpu_size = parse_size(optarg);
			break;
		default:
			help(argv[0]);
			exit(opt == 'h' ? 0 : 1);
		}
	}

	if (mode->userfault)
		TEST_REQUIRE(kvm_has_cap(KVM_CAP_USERFAULT));

	args.page_size = getpagesize();
	args.vcpu_pages = vcpu_size / args.page_size;
	args.content = mode->uffd_mode || mode->userfault ? PERF_CONTENT : 0;
	nr_pages = nr_vcpus * args.vcpu_pages;
	TEST_ASSERT(args.vcpu_pages, "less than a page per vCPU");
	pin_threads = get_nprocs() > 1;

	run();
	return 0;
}
