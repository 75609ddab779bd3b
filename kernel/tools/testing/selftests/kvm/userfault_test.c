// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM userfault: which accesses of vCPUs exit, the content of the exit, and which
 * pages KVM may map.
 */
#include <sys/mount.h>
#include <sys/stat.h>

#include "kvm_test_harness.h"
#include "kvm_userfault_util.h"

FIXTURE(userfault) {
	struct uf_vm uf;
};

FIXTURE_VARIANT(userfault) {
	int nr_vcpus;
};

FIXTURE_VARIANT_ADD(userfault, vcpus_1) { .nr_vcpus = 1 };
FIXTURE_VARIANT_ADD(userfault, vcpus_4) { .nr_vcpus = 4 };

FIXTURE_SETUP(userfault)
{
	uf_vm_init(&self->uf, variant->nr_vcpus, uf_guest_code, VM_MEM_SRC_ANONYMOUS);
}

FIXTURE_TEARDOWN(userfault)
{
	uf_vm_free(&self->uf);
}

TEST(capability)
{
	struct kvm_vm *vm = vm_create_barebones();

	TEST_ASSERT_EQ(kvm_check_cap(KVM_CAP_USERFAULT), 1);
	TEST_ASSERT_EQ(vm_check_cap(vm, KVM_CAP_USERFAULT), 1);
	kvm_vm_free(vm);
}

/* uf_run_exits() checks the exit's errno, reason, flags, gpa and size. */
static void test_exit(struct uf_vm *uf, enum uf_op op)
{
	int id;

	uf_set_all(uf);
	uf_enable(uf);
	for (id = 0; id < uf->nr_vcpus; id++)
		uf_access_exits(uf, id, op, uf_page(id, 3));
}

TEST_F(userfault, read_exits)
{
	test_exit(&self->uf, UF_READ);
}

TEST_F(userfault, write_exits)
{
	test_exit(&self->uf, UF_WRITE);
}

TEST_F(userfault, exec_exits)
{
	test_exit(&self->uf, UF_EXEC);
}

/* Bit n stands for page n of the slot, in whichever word of the bitmap it is. */
TEST_F(userfault, bit_is_page)
{
	static const int pages[] = { 0, 1, 31, 32, 63, 64, 65, 127, 200, 511 };
	struct uf_vm *uf = &self->uf;
	int id, i, page;

	for (i = 0; i < ARRAY_SIZE(pages); i++) {
		uf_clear_all(uf);
		for (id = 0; id < uf->nr_vcpus; id++)
			uf_set_bit(uf, uf_page(id, pages[i]));
		uf_enable(uf);

		for (id = 0; id < uf->nr_vcpus; id++) {
			page = uf_page(id, pages[i]);
			if (pages[i] > 0)
				uf_access(uf, id, UF_READ, page - 1);
			if (pages[i] < UF_VCPU_PAGES - 1)
				uf_access(uf, id, UF_READ, page + 1);
			uf_access_exits(uf, id, UF_READ, page);
		}
		uf_disable(uf);
	}
}

/* The vCPU sees the content that userspace placed during the exit. */
TEST_F(userfault, served_page)
{
	struct uf_vm *uf = &self->uf;
	int id, page;

	uf_set_all(uf);
	uf_enable(uf);

	for (id = 0; id < uf->nr_vcpus; id++) {
		page = uf_page(id, 7);
		uf_prepare(uf, id, UF_READ, page);
		uf_run_exits(uf, id, page);
		/* The page was not served: the same exit again. */
		uf_run_exits(uf, id, page);

		uf_fill_page(uf, page, 4242);
		uf_clear_bit(uf, page);
		uf_run_done(uf, id, 4242);
		/* The second access does not exit. */
		uf_prepare(uf, id, UF_READ, page);
		uf_run_done(uf, id, 4242);
	}
}

/* A vCPU that waits for a page does not block other vCPUs. */
TEST_F(userfault, vcpus_wait_alone)
{
	struct uf_vm *uf = &self->uf;
	int id;

	for (id = 0; id < uf->nr_vcpus; id++)
		uf_set_bit(uf, uf_page(id, 1));
	uf_enable(uf);

	for (id = 0; id < uf->nr_vcpus; id++) {
		uf_access(uf, id, UF_READ, uf_page(id, 2));
		uf_prepare(uf, id, UF_READ, uf_page(id, 1));
		uf_run_exits(uf, id, uf_page(id, 1));
	}
	for (id = 0; id < uf->nr_vcpus; id++) {
		uf_clear_bit(uf, uf_page(id, 1));
		uf_run_done(uf, id, uf_content(uf_page(id, 1)));
	}
}

static uint64_t mapped_pages(struct uf_vm *uf)
{
	return uf_small_mappings(uf) + uf_huge_mappings(uf);
}

/* Setting the flag drops existing mappings. */
TEST_F(userfault, enable_zaps)
{
	struct uf_vm *uf = &self->uf;
	int id, n;

	for (id = 0; id < uf->nr_vcpus; id++)
		for (n = 0; n < 16; n++)
			uf_access(uf, id, UF_READ, uf_page(id, n));

	uf_set_all(uf);
	uf_enable(uf);

	for (id = 0; id < uf->nr_vcpus; id++)
		for (n = 0; n < 16; n++)
			uf_access_exits(uf, id, UF_READ, uf_page(id, n));
}

/* It drops those of all pages: userspace may set the bits after the flag. */
TEST_F(userfault, enable_zaps_clear)
{
	struct uf_vm *uf = &self->uf;
	int id, n;

	for (id = 0; id < uf->nr_vcpus; id++)
		for (n = 0; n < 16; n++)
			uf_access(uf, id, UF_READ, uf_page(id, n));

	uf_enable(uf);
	uf_set_all(uf);

	for (id = 0; id < uf->nr_vcpus; id++)
		for (n = 0; n < 16; n++)
			uf_access_exits(uf, id, UF_READ, uf_page(id, n));
}

/* A new bitmap zaps the pages that it marks, and no others. */
TEST_F(userfault, other_bitmap_keeps_clear)
{
	struct uf_vm *uf = &self->uf;
	unsigned long *first = uf->bitmap;
	int id, n, marked = 0;
	uint64_t before;

	uf_enable(uf);
	for (id = 0; id < uf->nr_vcpus; id++)
		for (n = 0; n < 80; n++)
			uf_access(uf, id, UF_READ, uf_page(id, n));

	/* Runs of one page and of more, within words and up to their ends. */
	uf->bitmap = uf_bitmap_alloc();
	for (id = 0; id < uf->nr_vcpus; id++) {
		for (n = 0; n < 80; n++) {
			if (n != 3 && (n < 60 || n > 70) && n != 79)
				continue;
			uf_set_bit(uf, uf_page(id, n));
			marked++;
		}
	}
	before = mapped_pages(uf);
	uf_enable(uf);
	uf_bitmap_free(first);
	TEST_ASSERT_EQ(mapped_pages(uf), before - marked);

	for (id = 0; id < uf->nr_vcpus; id++) {
		uf_access_exits(uf, id, UF_READ, uf_page(id, 3));
		uf_access_exits(uf, id, UF_READ, uf_page(id, 60));
		uf_access_exits(uf, id, UF_READ, uf_page(id, 64));
		uf_access_exits(uf, id, UF_READ, uf_page(id, 70));
		uf_access_exits(uf, id, UF_READ, uf_page(id, 79));
		marked -= 5;
		uf_access(uf, id, UF_READ, uf_page(id, 2));
		uf_access(uf, id, UF_READ, uf_page(id, 71));
	}
	TEST_ASSERT_EQ(mapped_pages(uf), before - marked);
}

/* A new bitmap that can't be read counts as marking all pages. */
TEST_F(userfault, unreadable_bitmap_zaps)
{
	struct uf_vm *uf = &self->uf;
	unsigned long *first = uf->bitmap;
	int id;

	uf_enable(uf);
	for (id = 0; id < uf->nr_vcpus; id++)
		uf_access(uf, id, UF_READ, uf_page(id, 0));

	uf->bitmap = uf_bitmap_alloc();
	mprotect(uf_bitmap_page(uf), PAGE_SIZE, PROT_NONE);
	uf_enable(uf);
	uf_bitmap_free(first);
	mprotect(uf_bitmap_page(uf), PAGE_SIZE, PROT_READ | PROT_WRITE);

	uf_set_all(uf);
	for (id = 0; id < uf->nr_vcpus; id++)
		uf_access_exits(uf, id, UF_READ, uf_page(id, 0));
}

/* Mapping a page does not map its neighbours, which still exit. */
static void test_neighbours(struct uf_vm *uf, uint64_t gva)
{
	int id, n;

	uf->gva = gva;
	/* KVM prefetches only pages that are accessed in the guest's page tables. */
	for (id = 0; id < uf->nr_vcpus; id++)
		for (n = 0; n < 8; n++)
			uf_access(uf, id, UF_READ, uf_page(id, n));

	uf_set_all(uf);
	for (id = 0; id < uf->nr_vcpus; id++)
		uf_clear_bit(uf, uf_page(id, 4));
	uf_enable(uf);

	for (id = 0; id < uf->nr_vcpus; id++) {
		uf_access(uf, id, UF_READ, uf_page(id, 4));
		for (n = 0; n < 8; n++)
			if (n != 4)
				uf_access_exits(uf, id, UF_READ, uf_page(id, n));
	}
}

TEST_F(userfault, no_neighbours_guest_4k)
{
	test_neighbours(&self->uf, UF_GVA_4K);
}

#ifdef __x86_64__
TEST_F(userfault, no_neighbours_guest_2m)
{
	test_neighbours(&self->uf, UF_GVA_2M);
}
#endif

static int pre_fault(struct uf_vm *uf, int id, int page, int npages, int *left)
{
	struct kvm_pre_fault_memory range = {
		.gpa = UF_GPA + page * PAGE_SIZE,
		.size = npages * PAGE_SIZE,
	};
	int r;

	r = __vcpu_ioctl(uf->vcpus[id], KVM_PRE_FAULT_MEMORY, &range);
	*left = range.size / PAGE_SIZE;
	return r;
}

TEST_F(userfault, pre_fault_stops)
{
	struct uf_vm *uf = &self->uf;
	struct kvm_run *run;
	uint64_t before;
	int id, r, left;

	if (!kvm_has_cap(KVM_CAP_PRE_FAULT_MEMORY))
		SKIP(return, "no KVM_PRE_FAULT_MEMORY");

	uf_set_all(uf);
	uf_enable(uf);

	for (id = 0; id < uf->nr_vcpus; id++) {
		/* The first KVM_RUN makes mappings that the counts below should include. */
		uf_access_exits(uf, id, UF_READ, uf_page(id, 100));

		before = mapped_pages(uf);
		run = uf->vcpus[id]->run;
		run->exit_reason = KVM_EXIT_UNKNOWN;
		r = pre_fault(uf, id, uf_page(id, 0), 4, &left);
		if (r && errno == EOPNOTSUPP)
			SKIP(return, "no KVM_PRE_FAULT_MEMORY with shadow paging");
		TEST_ASSERT(r == -1 && errno == EFAULT,
			    "a set bit should give EFAULT, got %d, errno %d", r, errno);
		TEST_ASSERT_EQ(left, 4);
		TEST_ASSERT_EQ(run->exit_reason, KVM_EXIT_UNKNOWN);
		TEST_ASSERT_EQ(mapped_pages(uf), before);

		/* A range is mapped up to the first page whose bit is set. */
		uf_clear_bit(uf, uf_page(id, 0));
		uf_clear_bit(uf, uf_page(id, 1));
		do {
			r = pre_fault(uf, id, uf_page(id, 0), 4, &left);
		} while (r && errno == EINTR);
		TEST_ASSERT(!r, "KVM_PRE_FAULT_MEMORY failed: errno %d", errno);
		TEST_ASSERT_EQ(left, 2);
		TEST_ASSERT_EQ(mapped_pages(uf), before + 2);

		uf_access(uf, id, UF_READ, uf_page(id, 1));
		uf_access_exits(uf, id, UF_READ, uf_page(id, 2));
	}
}

/* With the flag off, the bitmap is ignored. */
TEST_F(userfault, disabled_is_normal)
{
	struct uf_vm *uf = &self->uf;
	int id, n;

	uf_set_all(uf);
	uf_enable(uf);
	for (id = 0; id < uf->nr_vcpus; id++) {
		uf_prepare(uf, id, UF_READ, uf_page(id, 0));
		uf_run_exits(uf, id, uf_page(id, 0));
	}

	uf_disable(uf);
	for (id = 0; id < uf->nr_vcpus; id++) {
		uf_run_done(uf, id, uf_content(uf_page(id, 0)));
		for (n = 0; n < 8; n++)
			uf_access(uf, id, UF_EXEC, uf_page(id, n));
	}
}

/* A bitmap that is unmapped causes an error, but the VM stays usable. */
TEST_F(userfault, unreadable_bitmap)
{
	struct uf_vm *uf = &self->uf;
	void *p;
	int id;

	uf_set_all(uf);
	uf_enable(uf);
	/* Leave a userfault exit in kvm_run: the error must not look like it. */
	for (id = 0; id < uf->nr_vcpus; id++) {
		uf_prepare(uf, id, UF_READ, uf_page(id, 0));
		uf_run_exits(uf, id, uf_page(id, 0));
	}

	munmap(uf_bitmap_page(uf), PAGE_SIZE);
	for (id = 0; id < uf->nr_vcpus; id++)
		uf_run_unreadable(uf, id);

	/* Map the same address again, with no bit set. */
	p = mmap(uf_bitmap_page(uf), PAGE_SIZE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	TEST_ASSERT_EQ(p, uf_bitmap_page(uf));
	for (id = 0; id < uf->nr_vcpus; id++) {
		uf_run_done(uf, id, uf_content(uf_page(id, 0)));
		uf_access(uf, id, UF_READ, uf_page(id, 1));
	}
}

/* A bitmap in a file that is truncated can't be read; there is no SIGBUS. */
TEST_F(userfault, truncated_bitmap)
{
	struct uf_vm *uf = &self->uf;
	unsigned long *own = uf->bitmap;
	int id, fd;

	fd = kvm_memfd_alloc(PAGE_SIZE, false);
	uf->bitmap = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	TEST_ASSERT(uf->bitmap != MAP_FAILED, "mmap() failed: errno %d", errno);
	uf_set_all(uf);
	uf_enable(uf);
	TEST_ASSERT(!ftruncate(fd, 0), "ftruncate() failed: errno %d", errno);

	for (id = 0; id < uf->nr_vcpus; id++) {
		uf_prepare(uf, id, UF_READ, uf_page(id, 0));
		uf_run_unreadable(uf, id);
	}

	/* The file gets zeroes again: no page is missing. */
	TEST_ASSERT(!ftruncate(fd, PAGE_SIZE), "ftruncate() failed: errno %d", errno);
	for (id = 0; id < uf->nr_vcpus; id++)
		uf_run_done(uf, id, uf_content(uf_page(id, 0)));

	uf_disable(uf);
	munmap(uf->bitmap, PAGE_SIZE);
	close(fd);
	uf->bitmap = own;
}

#define TRACEFS		"/sys/kernel/tracing"
#define TRACE_DIR	TRACEFS "/instances/userfault_test"

static void trace_event(const char *event, const char *enable)
{
	char path[200];

	snprintf(path, sizeof(path), TRACE_DIR "/events/kvm/kvm_userfault_%s/enable", event);
	TEST_ASSERT(write_file(path, enable), "can't write %s: errno %d", path, errno);
}

/* Does the trace have an event that ends in @s? */
static bool trace_has(const char *s)
{
	char line[512];
	bool found = false;
	FILE *f;

	f = fopen(TRACE_DIR "/trace", "r");
	TEST_ASSERT(f, "can't open the trace: errno %d", errno);
	while (!found && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = 0;
		found = strlen(line) > strlen(s) &&
			!strcmp(line + strlen(line) - strlen(s), s);
	}
	fclose(f);

	return found;
}

TEST_F(userfault, tracepoints)
{
	static const char * const ops[] = {
		[UF_READ] = "read", [UF_WRITE] = "write", [UF_EXEC] = "exec",
	};
	struct uf_vm *uf = &self->uf;
	char exit[100], resolved[100];
	unsigned long long gpa;
	int id, op, page;

	if (access(TRACEFS "/instances", F_OK) &&
	    mount("tracefs", TRACEFS, "tracefs", 0, NULL))
		SKIP(return, "no tracefs");

	/* An aborted run may have left it behind. */
	rmdir(TRACE_DIR);
	TEST_ASSERT(!mkdir(TRACE_DIR, 0700), "mkdir(%s) failed: errno %d", TRACE_DIR, errno);
	trace_event("exit", "1");
	trace_event("resolved", "1");

	uf_set_all(uf);
	uf_enable(uf);
	for (id = 0; id < uf->nr_vcpus; id++) {
		for (op = UF_READ; op <= UF_EXEC; op++) {
			page = uf_page(id, op);
			gpa = UF_GPA + page * PAGE_SIZE;
			sprintf(exit, "kvm_userfault_exit: vcpu %d gpa 0x%llx size 0x%lx %s",
				id, gpa, (unsigned long)PAGE_SIZE, ops[op]);
			sprintf(resolved, "kvm_userfault_resolved: vcpu %d gpa 0x%llx",
				id, gpa);

			TEST_ASSERT(!trace_has(exit), "too early: %s", exit);
			uf_prepare(uf, id, op, page);
			uf_run_exits(uf, id, page);
			uf_run_exits(uf, id, page);
			TEST_ASSERT(trace_has(exit), "not traced: %s", exit);
			TEST_ASSERT(!trace_has(resolved), "too early: %s", resolved);
			uf_clear_bit(uf, page);
			uf_run_done(uf, id, uf_expected(op, page));
			TEST_ASSERT(trace_has(resolved), "not traced: %s", resolved);
		}
		/* No "resolved" for a page that nobody has waited for. */
		uf_clear_bit(uf, uf_page(id, 10));
		uf_access(uf, id, UF_READ, uf_page(id, 10));
		sprintf(resolved, "kvm_userfault_resolved: vcpu %d gpa 0x%llx", id,
			UF_GPA + uf_page(id, 10) * PAGE_SIZE);
		TEST_ASSERT(!trace_has(resolved), "nobody waited for it: %s", resolved);
	}

	trace_event("exit", "0");
	trace_event("resolved", "0");
	rmdir(TRACE_DIR);
}

FIXTURE(userfault_huge) {
	struct uf_vm uf;
};

FIXTURE_VARIANT(userfault_huge) {
	int nr_vcpus;
};

FIXTURE_VARIANT_ADD(userfault_huge, vcpus_1) { .nr_vcpus = 1 };
FIXTURE_VARIANT_ADD(userfault_huge, vcpus_4) { .nr_vcpus = 4 };

FIXTURE_SETUP(userfault_huge)
{
	if (!thp_configured())
		SKIP(return, "no transparent huge pages");

	uf_vm_init(&self->uf, variant->nr_vcpus, uf_guest_code,
		   VM_MEM_SRC_ANONYMOUS_THP);
	self->uf.gva = UF_GVA_2M;
}

FIXTURE_TEARDOWN(userfault_huge)
{
	uf_vm_free(&self->uf);
}

/* Huge mappings with a missing page are dropped, and come back afterwards. */
TEST_F(userfault_huge, no_huge_mapping)
{
	struct uf_vm *uf = &self->uf;
	int id;

	/* Make sure that there are huge mappings without the flag. */
	for (id = 0; id < uf->nr_vcpus; id++)
		uf_access(uf, id, UF_READ, uf_page(id, 0));
	TEST_ASSERT_EQ(uf_huge_mappings(uf), uf->nr_vcpus);

	uf_set_all(uf);
	for (id = 0; id < uf->nr_vcpus; id++)
		uf_clear_bit(uf, uf_page(id, 0));
	uf_enable(uf);
	TEST_ASSERT_EQ(uf_huge_mappings(uf), 0);

	for (id = 0; id < uf->nr_vcpus; id++) {
		uf_access(uf, id, UF_READ, uf_page(id, 0));
		uf_access_exits(uf, id, UF_READ, uf_page(id, 1));
		uf_access_exits(uf, id, UF_WRITE, uf_page(id, 511));
	}
	TEST_ASSERT_EQ(uf_huge_mappings(uf), 0);

	uf_disable(uf);
	for (id = 0; id < uf->nr_vcpus; id++)
		uf_access(uf, id, UF_READ, uf_page(id, 0));
#ifdef __x86_64__
	TEST_ASSERT_EQ(uf_huge_mappings(uf), uf->nr_vcpus);
#endif
	/* arm64 keeps small mappings until there is a fault next to them. */
	for (id = 0; id < uf->nr_vcpus; id++)
		uf_access(uf, id, UF_READ, uf_page(id, 2));
	TEST_ASSERT_EQ(uf_huge_mappings(uf), uf->nr_vcpus);
}

/* A new bitmap keeps huge mappings without a missing page. */
TEST_F(userfault_huge, other_bitmap_keeps_clear)
{
	struct uf_vm *uf = &self->uf;
	unsigned long *first = uf->bitmap;
	int id;

	for (id = 0; id < UF_MAX_VCPUS; id++)
		uf_access(uf, id % uf->nr_vcpus, UF_READ, uf_page(id, 0));
	TEST_ASSERT_EQ(uf_huge_mappings(uf), UF_MAX_VCPUS);

	/* Setting the flag drops all mappings. */
	uf_enable(uf);
	TEST_ASSERT_EQ(uf_huge_mappings(uf), 0);
	for (id = 0; id < UF_MAX_VCPUS; id++)
		uf_access(uf, id % uf->nr_vcpus, UF_READ, uf_page(id, 0));
	TEST_ASSERT_EQ(uf_huge_mappings(uf), UF_MAX_VCPUS);

	/* Mark the first and the last page of a huge page. */
	uf->bitmap = uf_bitmap_alloc();
	uf_set_bit(uf, uf_page(1, 0));
	uf_set_bit(uf, uf_page(2, UF_VCPU_PAGES - 1));
	uf_enable(uf);
	uf_bitmap_free(first);
	TEST_ASSERT_EQ(uf_huge_mappings(uf), UF_MAX_VCPUS - 2);

	uf_access(uf, 0, UF_READ, uf_page(0, 0));
	uf_access(uf, 0, UF_READ, uf_page(3, UF_VCPU_PAGES - 1));
	TEST_ASSERT_EQ(uf_huge_mappings(uf), UF_MAX_VCPUS - 2);
	uf_access_exits(uf, 0, UF_READ, uf_page(1, 0));
	uf_access_exits(uf, 0, UF_READ, uf_page(2, UF_VCPU_PAGES - 1));
	TEST_ASSERT_EQ(uf_huge_mappings(uf), UF_MAX_VCPUS);
}

/* All pages of each vCPU's huge page are present except page @last, which comes last. */
static void test_huge_when_complete(struct uf_vm *uf, int last)
{
	int id, n, other = last ? 0 : 1;

	/* Make the host allocate huge pages, and drop KVM's mappings. */
	for (id = 0; id < uf->nr_vcpus; id++)
		uf_access(uf, id, UF_READ, uf_page(id, 0));
	TEST_ASSERT_EQ(uf_huge_mappings(uf), uf->nr_vcpus);
	uf_set_all(uf);
	uf_enable(uf);
	TEST_ASSERT_EQ(uf_huge_mappings(uf), 0);

	/* A single bit prevents a huge mapping. */
	for (id = 0; id < uf->nr_vcpus; id++) {
		for (n = 0; n < UF_VCPU_PAGES; n++)
			if (n != last)
				uf_clear_bit(uf, uf_page(id, n));
		uf_access(uf, id, UF_READ, uf_page(id, other));
		uf_prepare(uf, id, UF_READ, uf_page(id, last));
		uf_run_exits(uf, id, uf_page(id, last));
	}
	TEST_ASSERT_EQ(uf_huge_mappings(uf), 0);

	/* A huge mapping replaces existing small ones. */
	for (id = 0; id < uf->nr_vcpus; id++) {
		uf_clear_bit(uf, uf_page(id, last));
		uf_run_done(uf, id, uf_content(uf_page(id, last)));
		TEST_ASSERT_EQ(uf_huge_mappings(uf), id + 1);
		uf_access(uf, id, UF_READ, uf_page(id, other));
	}
	TEST_ASSERT_EQ(uf_huge_mappings(uf), uf->nr_vcpus);
	uf_disable(uf);
}

/* With the flag on, a huge page that is complete is mapped huge. */
TEST_F(userfault_huge, huge_when_complete)
{
	test_huge_when_complete(&self->uf, 0);
	test_huge_when_complete(&self->uf, 65);
	test_huge_when_complete(&self->uf, UF_VCPU_PAGES - 1);
}

/*
 * Another slot that begins and ends in the middle of huge pages and of words, and
 * is longer than the chunks in which KVM reads a bitmap.
 */
#define EDGE_SLOT	11
#define EDGE_OFFSET	3
#define EDGE_NPAGES	(2 * 2048 + 70)
#define EDGE_GPA	(0x50000000ull + EDGE_OFFSET * PAGE_SIZE)
#define EDGE_GVA	(0xa0000000ull + EDGE_OFFSET * PAGE_SIZE)

static void edge_update(struct uf_vm *uf, struct kvm_userspace_memory_region2 *region,
			uint32_t flags)
{
	region->flags = flags;
	region->userfault_bitmap = (unsigned long)uf->bitmap;
	uf_set_region(uf, region);
}

static bool edge_bit(const int *pages, int n, int page)
{
	while (n--)
		if (pages[n] == page)
			return true;
	return false;
}

/*
 * Add a slot that begins and ends in the middle of a huge page, and access it.
 * Returns the number of its huge mappings.
 */
static int edge_init(struct uf_vm *uf, struct kvm_userspace_memory_region2 *region)
{
	const size_t size = 32 * SZ_1M;
	int page, huge;
	uint8_t *mem;

	mem = mmap(NULL, size + SZ_2M, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	TEST_ASSERT(mem != MAP_FAILED, "mmap() failed: errno %d", errno);
	mem = (uint8_t *)align_up((unsigned long)mem, SZ_2M);
	madvise(mem, size, MADV_HUGEPAGE);
	mem += EDGE_OFFSET * PAGE_SIZE;
	for (page = 0; page < EDGE_NPAGES; page++)
		*(uint64_t *)(mem + page * PAGE_SIZE + UF_DATA_OFFSET) = uf_content(page);

	uf->gva = EDGE_GVA;
	uf->gpa = EDGE_GPA;
	uf->bitmap = calloc(EDGE_NPAGES / UF_BITS_PER_WORD + 1, sizeof(unsigned long));
	*region = (struct kvm_userspace_memory_region2) {
		.slot = EDGE_SLOT,
		.guest_phys_addr = EDGE_GPA,
		.memory_size = EDGE_NPAGES * PAGE_SIZE,
		.userspace_addr = (unsigned long)mem,
	};
	edge_update(uf, region, 0);
	uf_map_2m(uf->vm, EDGE_GVA - EDGE_OFFSET * PAGE_SIZE,
		  EDGE_GPA - EDGE_OFFSET * PAGE_SIZE, 18 * SZ_1M);

	for (page = 0; page < EDGE_NPAGES; page++)
		uf_access(uf, 0, UF_READ, page);
	/* The huge pages that are entirely in the slot. */
	huge = (EDGE_OFFSET + EDGE_NPAGES) / 512 - 1;
	TEST_ASSERT_EQ(uf_huge_mappings(uf), huge);
	return huge;
}

TEST_F(userfault_huge, edges)
{
	/* Both ends of the slot, of words, and of chunks. */
	static const int marked[] = {
		0, 63, 64, 508, 509, 1020, 2046, 2047, 2048, 2049, 4095, 4096,
		EDGE_NPAGES - 1,
	};
	struct kvm_userspace_memory_region2 region;
	struct uf_vm *uf = &self->uf;
	unsigned long *own = uf->bitmap;
	int huge = edge_init(uf, &region);
	int i, page;

	for (i = 0; i < ARRAY_SIZE(marked); i++)
		uf_set_bit(uf, marked[i]);
	edge_update(uf, &region, KVM_MEM_USERFAULT);

	for (page = 0; page < EDGE_NPAGES; page++) {
		if (edge_bit(marked, ARRAY_SIZE(marked), page))
			uf_access_exits(uf, 0, UF_READ, page);
		else
			uf_access(uf, 0, UF_READ, page);
	}
	/* All pages are present again. */
	TEST_ASSERT_EQ(uf_huge_mappings(uf), huge);
	free(uf->bitmap);
	uf->bitmap = own;
}

/* So many runs of marked pages that KVM merges them. */
TEST_F(userfault_huge, many_runs)
{
	struct kvm_userspace_memory_region2 region;
	struct uf_vm *uf = &self->uf;
	unsigned long *own = uf->bitmap;
	int huge = edge_init(uf, &region);
	int page;

	for (page = 0; page < EDGE_NPAGES; page += 2)
		uf_set_bit(uf, page);
	edge_update(uf, &region, KVM_MEM_USERFAULT);
	TEST_ASSERT_EQ(uf_huge_mappings(uf), 0);
	for (page = 0; page < EDGE_NPAGES; page++) {
		if (page % 2)
			uf_access(uf, 0, UF_READ, page);
		else
			uf_access_exits(uf, 0, UF_READ, page);
	}
	TEST_ASSERT_EQ(uf_huge_mappings(uf), huge);
	free(uf->bitmap);
	uf->bitmap = own;
}

int main(int argc, char *argv[])
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_USERFAULT));

	return test_harness_run(argc, argv);
}
