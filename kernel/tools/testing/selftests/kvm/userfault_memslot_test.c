// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM userfault: the memslot flag and its bitmap, together with all other updates of
 * a memslot.
 */
#include "kvm_test_harness.h"
#include "kvm_userfault_missing.h"
#include "kvm_userfault_util.h"

FIXTURE(memslot) {
	struct uf_vm uf;
};

FIXTURE_VARIANT(memslot) {
	int nr_vcpus;
};

FIXTURE_VARIANT_ADD(memslot, vcpus_1) { .nr_vcpus = 1 };
FIXTURE_VARIANT_ADD(memslot, vcpus_4) { .nr_vcpus = 4 };

FIXTURE_SETUP(memslot)
{
	uf_vm_init(&self->uf, variant->nr_vcpus, uf_guest_code, VM_MEM_SRC_ANONYMOUS);
}

FIXTURE_TEARDOWN(memslot)
{
	uf_vm_free(&self->uf);
}

/* The update is refused and changes nothing: all vCPUs still run without exits. */
static void test_einval(struct uf_vm *uf, uint32_t flags, uint64_t bitmap)
{
	int r, id;

	uf_set_all(uf);
	r = __uf_set_slot(uf, flags, bitmap);
	TEST_ASSERT(r == -1 && errno == EINVAL,
		    "flags 0x%x, bitmap 0x%lx should give EINVAL, got %d, errno %d",
		    flags, bitmap, r, errno);
	for (id = 0; id < uf->nr_vcpus; id++)
		uf_access(uf, id, UF_READ, uf_page(id, 0));
}

/* NULL is an address like any other, where nothing can be read. */
TEST_F(memslot, null_bitmap)
{
	struct uf_vm *uf = &self->uf;
	unsigned long *own = uf->bitmap;
	int id;

	for (id = 0; id < uf->nr_vcpus; id++)
		uf_access(uf, id, UF_READ, uf_page(id, 0));

	uf->bitmap = NULL;
	uf_enable(uf);
	for (id = 0; id < uf->nr_vcpus; id++) {
		uf_prepare(uf, id, UF_READ, uf_page(id, 0));
		uf_run_unreadable(uf, id);
	}

	uf->bitmap = own;
	uf_enable(uf);
	for (id = 0; id < uf->nr_vcpus; id++)
		uf_run_done(uf, id, uf_content(uf_page(id, 0)));

	/* Under the flag, NULL replaces a bitmap.  Then switch the flag off. */
	uf->bitmap = NULL;
	uf_enable(uf);
	for (id = 0; id < uf->nr_vcpus; id++) {
		uf_prepare(uf, id, UF_READ, uf_page(id, 0));
		uf_run_unreadable(uf, id);
	}
	uf_disable(uf);
	for (id = 0; id < uf->nr_vcpus; id++)
		uf_run_done(uf, id, uf_content(uf_page(id, 0)));
	uf->bitmap = own;
}

/* KVM reads the words of an unaligned bitmap where they are. */
static void test_unaligned(struct uf_vm *uf, int offset)
{
	unsigned long *own = uf->bitmap;
	uint8_t *mem;
	int id;

	mem = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	TEST_ASSERT(mem != MAP_FAILED, "mmap() failed: errno %d", errno);

	uf->bitmap = (void *)(mem + offset);
	for (id = 0; id < uf->nr_vcpus; id++)
		mem[offset + uf_page(id, 72) / 8] = 1;
	uf_enable(uf);
	for (id = 0; id < uf->nr_vcpus; id++) {
		uf_access(uf, id, UF_READ, uf_page(id, 71));
		uf_access(uf, id, UF_READ, uf_page(id, 73));
		uf_prepare(uf, id, UF_READ, uf_page(id, 72));
		uf_run_exits(uf, id, uf_page(id, 72));
		mem[offset + uf_page(id, 72) / 8] = 0;
		uf_run_done(uf, id, uf_content(uf_page(id, 72)));
	}

	uf_disable(uf);
	munmap(mem, PAGE_SIZE);
	uf->bitmap = own;
}

TEST_F(memslot, unaligned_bitmap)
{
	test_unaligned(&self->uf, 1);
	test_unaligned(&self->uf, 4);
}

/* The end of userspace's part of the address space, whose size varies. */
static uint64_t user_end(void)
{
#ifdef __aarch64__
	/* KVM allows what the kernel is built for, whatever the CPU supports. */
	return 1ull << 52;
#else
	void *hint = (void *)(1ull << 50);
	void *p;

	p = mmap(hint, PAGE_SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	TEST_ASSERT(p != MAP_FAILED, "mmap() failed: errno %d", errno);
	munmap(p, PAGE_SIZE);

	return (1ull << (p == hint ? 56 : 47)) - PAGE_SIZE;
#endif
}

TEST_F(memslot, kernel_bitmap)
{
	struct uf_vm *uf = &self->uf;

	/* All of it is the kernel's, only its end is, and it wraps around. */
	test_einval(uf, KVM_MEM_USERFAULT, -(uint64_t)SZ_2M);
	test_einval(uf, KVM_MEM_USERFAULT, user_end() - UF_BITMAP_SIZE / 2);
	test_einval(uf, KVM_MEM_USERFAULT, -(uint64_t)(UF_BITMAP_SIZE / 2));
}

/* A tag is not part of an address, and is not canonical without support for tags. */
TEST_F(memslot, tagged_bitmap)
{
	struct uf_vm *uf = &self->uf;

	test_einval(uf, KVM_MEM_USERFAULT, (unsigned long)uf->bitmap | 1ull << 60);
}

/* Without the flag, the field is padding and its content is ignored. */
TEST_F(memslot, bitmap_without_flag)
{
	struct uf_vm *uf = &self->uf;
	int id;

	TEST_ASSERT(!__uf_set_slot(uf, KVM_MEM_LOG_DIRTY_PAGES, 0x123),
		    "padding should be ignored, errno %d", errno);
	TEST_ASSERT(!__uf_set_slot(uf, 0, 0x123),
		    "padding should be ignored, errno %d", errno);
	for (id = 0; id < uf->nr_vcpus; id++)
		uf_access(uf, id, UF_READ, uf_page(id, 0));
}

/* The old ioctl has no field for a bitmap. */
TEST_F(memslot, old_ioctl)
{
	struct uf_vm *uf = &self->uf;
	int r;

	r = __vm_set_user_memory_region(uf->vm, UF_SLOT, KVM_MEM_USERFAULT,
					UF_GPA, UF_SIZE, uf->mem);
	TEST_ASSERT(r == -1 && errno == EINVAL,
		    "should give EINVAL, got %d, errno %d", r, errno);
}

static void delete_slot(struct uf_vm *uf)
{
	struct kvm_userspace_memory_region2 region = *uf_region(uf);

	region.flags = KVM_MEM_USERFAULT;
	region.userfault_bitmap = 0;
	region.memory_size = 0;
	/* Deleting ignores the bitmap. */
	uf_set_region(uf, &region);
}

static void create_slot(struct uf_vm *uf, uint64_t gpa, uint32_t flags)
{
	struct kvm_userspace_memory_region2 region = *uf_region(uf);

	region.flags = flags;
	region.guest_phys_addr = gpa;
	region.memory_size = UF_SIZE;
	region.userfault_bitmap = (unsigned long)uf->bitmap;
	uf_set_region(uf, &region);
	uf_region(uf)->flags = flags;
}

/* Delete the slot under test, then create it again. */
static void recreate(struct uf_vm *uf, uint64_t gpa, uint32_t flags)
{
	delete_slot(uf);
	create_slot(uf, gpa, flags);
}

TEST_F(memslot, create_with_flag)
{
	struct uf_vm *uf = &self->uf;
	int id;

	uf_set_all(uf);
	recreate(uf, UF_GPA, KVM_MEM_USERFAULT);
	for (id = 0; id < uf->nr_vcpus; id++)
		uf_access_exits(uf, id, UF_READ, uf_page(id, 0));
}

/* A moved slot uses the bitmap that was passed with the move. */
TEST_F(memslot, move)
{
	struct kvm_userspace_memory_region2 region;
	struct uf_vm *uf = &self->uf;
	unsigned long *first = uf->bitmap;
	int id;

	uf_enable(uf);
	recreate(uf, UF_GPA + UF_SIZE, KVM_MEM_USERFAULT);

	uf->bitmap = uf_bitmap_alloc();
	uf_set_all(uf);
	for (id = 0; id < uf->nr_vcpus; id++)
		uf_clear_bit(uf, uf_page(id, 0));

	region = *uf_region(uf);
	region.userfault_bitmap = (unsigned long)uf->bitmap;
	uf_set_region(uf, &region);
	uf_bitmap_free(first);

	for (id = 0; id < uf->nr_vcpus; id++) {
		uf_access(uf, id, UF_READ, uf_page(id, 0));
		uf_access_exits(uf, id, UF_READ, uf_page(id, 1));
	}
}

/* Every vCPU exits for its first page; the next KVM_RUN repeats the access. */
static void wait_for_pages(struct uf_vm *uf)
{
	int id;

	uf_set_all(uf);
	uf_enable(uf);
	for (id = 0; id < uf->nr_vcpus; id++) {
		uf_prepare(uf, id, UF_READ, uf_page(id, 0));
		uf_run_exits(uf, id, uf_page(id, 0));
	}
}

/* If the memslot is deleted while a vCPU waits for a page, the access is MMIO. */
TEST_F(memslot, deleted_while_waiting)
{
	struct uf_vm *uf = &self->uf;
	const uint64_t value = 0x1234;
	struct kvm_run *run;
	int id;

	wait_for_pages(uf);
	delete_slot(uf);
	/* KVM no longer reads the bitmap. */
	mprotect(uf_bitmap_page(uf), PAGE_SIZE, PROT_NONE);

	for (id = 0; id < uf->nr_vcpus; id++) {
		run = uf->vcpus[id]->run;
		vcpu_run(uf->vcpus[id]);
		TEST_ASSERT_EQ(run->exit_reason, KVM_EXIT_MMIO);
		TEST_ASSERT_EQ(run->mmio.phys_addr,
			       UF_GPA + uf_page(id, 0) * PAGE_SIZE + UF_DATA_OFFSET);
		memcpy(run->mmio.data, &value, sizeof(value));
		uf_run_done(uf, id, value);
	}
	mprotect(uf_bitmap_page(uf), PAGE_SIZE, PROT_READ | PROT_WRITE);
	/* For kvm_vm_free(). */
	create_slot(uf, UF_GPA, 0);
}

/* If the memslot is created again meanwhile, the new memslot counts. */
TEST_F(memslot, recreated_while_waiting)
{
	struct uf_vm *uf = &self->uf;
	int id;

	wait_for_pages(uf);

	recreate(uf, UF_GPA, KVM_MEM_USERFAULT);
	for (id = 0; id < uf->nr_vcpus; id++)
		uf_run_exits(uf, id, uf_page(id, 0));

	recreate(uf, UF_GPA, 0);
	for (id = 0; id < uf->nr_vcpus; id++)
		uf_run_done(uf, id, uf_content(uf_page(id, 0)));
}

/* A new bitmap takes effect, also for pages mapped under the old one. */
TEST_F(memslot, change_bitmap)
{
	struct uf_vm *uf = &self->uf;
	unsigned long *first = uf->bitmap;
	int id;

	uf_enable(uf);
	for (id = 0; id < uf->nr_vcpus; id++)
		uf_access(uf, id, UF_READ, uf_page(id, 0));

	uf->bitmap = uf_bitmap_alloc();
	uf_set_all(uf);
	uf_enable(uf);
	/* KVM no longer reads the old one. */
	uf_bitmap_free(first);

	for (id = 0; id < uf->nr_vcpus; id++)
		uf_access_exits(uf, id, UF_READ, uf_page(id, 0));
}

/* Passing the current bitmap is no update: mapped pages stay mapped. */
TEST_F(memslot, same_bitmap)
{
	struct uf_vm *uf = &self->uf;
	int id;

	uf_enable(uf);
	for (id = 0; id < uf->nr_vcpus; id++)
		uf_access(uf, id, UF_READ, uf_page(id, 0));

	uf_set_all(uf);
	uf_enable(uf);
	for (id = 0; id < uf->nr_vcpus; id++) {
		uf_access(uf, id, UF_READ, uf_page(id, 0));
		uf_access_exits(uf, id, UF_READ, uf_page(id, 1));
	}
}

TEST_F(memslot, read_only)
{
	struct uf_vm *uf = &self->uf;
	struct kvm_run *run;
	int id, page;

	recreate(uf, UF_GPA, KVM_MEM_READONLY);
	for (id = 0; id < uf->nr_vcpus; id++)
		uf_access(uf, id, UF_READ, uf_page(id, 0));

	uf_set_all(uf);
	uf_set_slot(uf, KVM_MEM_READONLY | KVM_MEM_USERFAULT);
	for (id = 0; id < uf->nr_vcpus; id++) {
		page = uf_page(id, 0);
		uf_access_exits(uf, id, UF_READ, page);

		/* A write is MMIO; on x86, KVM first needs the page. */
		page = uf_page(id, 1);
		uf_prepare(uf, id, UF_WRITE, page);
#ifdef __x86_64__
		uf_run_exits(uf, id, page);
		uf_clear_bit(uf, page);
#endif
		run = uf->vcpus[id]->run;
		vcpu_run(uf->vcpus[id]);
		TEST_ASSERT_EQ(run->exit_reason, KVM_EXIT_MMIO);
		TEST_ASSERT_EQ(run->mmio.phys_addr, UF_GPA + page * PAGE_SIZE + UF_DATA_OFFSET);
		uf_run_done(uf, id, 0);
	}
}

static bool test_and_clear_dirty(struct uf_vm *uf, int page)
{
	unsigned long bitmap[UF_BITMAP_SIZE / sizeof(unsigned long)] = {};

	kvm_vm_get_dirty_log(uf->vm, UF_SLOT, bitmap);
	return bitmap[page / UF_BITS_PER_WORD] & (1ul << (page % UF_BITS_PER_WORD));
}

/* Switching dirty logging does not affect userfault, and vice versa. */
TEST_F(memslot, dirty_log_apart)
{
	struct uf_vm *uf = &self->uf;
	int id;

	uf_set_all(uf);
	uf_enable(uf);
	for (id = 0; id < uf->nr_vcpus; id++)
		uf_access_exits(uf, id, UF_READ, uf_page(id, 0));

	uf_set_slot(uf, KVM_MEM_USERFAULT | KVM_MEM_LOG_DIRTY_PAGES);
	for (id = 0; id < uf->nr_vcpus; id++) {
		uf_access(uf, id, UF_READ, uf_page(id, 0));
		uf_prepare(uf, id, UF_WRITE, uf_page(id, 1));
		uf_run_exits(uf, id, uf_page(id, 1));
		TEST_ASSERT(!test_and_clear_dirty(uf, uf_page(id, 1)),
			    "a page that waits isn't dirty");
		uf_clear_bit(uf, uf_page(id, 1));
		uf_run_done(uf, id, 0);
		TEST_ASSERT(test_and_clear_dirty(uf, uf_page(id, 1)),
			    "a page that was written is dirty");
	}

	uf_set_slot(uf, KVM_MEM_LOG_DIRTY_PAGES);
	for (id = 0; id < uf->nr_vcpus; id++) {
		uf_access(uf, id, UF_WRITE, uf_page(id, 2));
		TEST_ASSERT(test_and_clear_dirty(uf, uf_page(id, 2)),
			    "a page that was written is dirty");
	}

	uf_set_all(uf);
	uf_set_slot(uf, KVM_MEM_USERFAULT | KVM_MEM_LOG_DIRTY_PAGES);
	uf_set_slot(uf, KVM_MEM_USERFAULT);
	for (id = 0; id < uf->nr_vcpus; id++)
		uf_access_exits(uf, id, UF_READ, uf_page(id, 0));
}

/* Both flags change in one update, in all four combinations. */
TEST_F(memslot, dirty_log_together)
{
	struct uf_vm *uf = &self->uf;
	int id;

	for (id = 0; id < uf->nr_vcpus; id++)
		uf_access(uf, id, UF_READ, uf_page(id, 0));

	uf_set_all(uf);
	uf_set_slot(uf, KVM_MEM_USERFAULT | KVM_MEM_LOG_DIRTY_PAGES);
	for (id = 0; id < uf->nr_vcpus; id++) {
		uf_access_exits(uf, id, UF_WRITE, uf_page(id, 0));
		TEST_ASSERT(test_and_clear_dirty(uf, uf_page(id, 0)),
			    "a page that was written is dirty");
	}

	uf_set_slot(uf, 0);
	uf_fill_all(uf);
	for (id = 0; id < uf->nr_vcpus; id++)
		uf_access(uf, id, UF_READ, uf_page(id, 1));

	uf_set_slot(uf, KVM_MEM_LOG_DIRTY_PAGES);
	uf_set_all(uf);
	uf_set_slot(uf, KVM_MEM_USERFAULT);
	for (id = 0; id < uf->nr_vcpus; id++)
		uf_access_exits(uf, id, UF_READ, uf_page(id, 1));

	uf_set_slot(uf, KVM_MEM_LOG_DIRTY_PAGES);
	for (id = 0; id < uf->nr_vcpus; id++) {
		uf_access(uf, id, UF_WRITE, uf_page(id, 1));
		TEST_ASSERT(test_and_clear_dirty(uf, uf_page(id, 1)),
			    "a page that was written is dirty");
	}
}

#ifdef __aarch64__
/*
 * Dirty logging maps a page read-only.  A write maps it again, and checks its bit
 * again.  x86 only removes the write protection.
 */
TEST_F(memslot, permission_fault)
{
	struct uf_vm *uf = &self->uf;
	int id, page;

	uf_set_slot(uf, KVM_MEM_USERFAULT | KVM_MEM_LOG_DIRTY_PAGES);
	for (id = 0; id < uf->nr_vcpus; id++) {
		page = uf_page(id, 0);
		uf_access(uf, id, UF_READ, page);
		uf_set_bit(uf, page);
		uf_access(uf, id, UF_READ, page);

		uf_prepare(uf, id, UF_WRITE, page);
		uf_run_exits(uf, id, page);
		TEST_ASSERT(!test_and_clear_dirty(uf, page),
			    "a page that waits isn't dirty");
		uf_clear_bit(uf, page);
		uf_run_done(uf, id, 0);
		TEST_ASSERT(test_and_clear_dirty(uf, page),
			    "a page that was written is dirty");
	}
}
#endif

TEST(memory_fault_info_capability)
{
	TEST_ASSERT_EQ(kvm_check_cap(KVM_CAP_MEMORY_FAULT_INFO), 1);
}

#ifdef __aarch64__
static void run_memory_fault(struct uf_vm *uf, int id, int page)
{
	struct kvm_run *run = uf->vcpus[id]->run;
	int r;

	r = _vcpu_run(uf->vcpus[id]);
	TEST_ASSERT(r == -1 && errno == EFAULT, "should give EFAULT, got %d, errno %d",
		    r, errno);
	TEST_ASSERT_EQ(run->exit_reason, KVM_EXIT_MEMORY_FAULT);
	TEST_ASSERT_EQ(run->memory_fault.flags, 0);
	TEST_ASSERT_EQ(run->memory_fault.gpa, UF_GPA + page * PAGE_SIZE);
	TEST_ASSERT_EQ(run->memory_fault.size, PAGE_SIZE);
}

/* The exit also names a page that the process has not mapped; on x86 it doesn't. */
TEST_F(memslot, memory_fault_info)
{
	struct uf_vm *uf = &self->uf;
	int id, op, page;
	void *hva;

	for (id = 0; id < uf->nr_vcpus; id++) {
		for (op = UF_READ; op <= UF_EXEC; op++) {
			/* No VMA. */
			page = uf_page(id, 2 * op);
			hva = uf_page_hva(uf, page);
			munmap(hva, PAGE_SIZE);
			uf_prepare(uf, id, op, page);
			run_memory_fault(uf, id, page);
			TEST_ASSERT(mmap(hva, PAGE_SIZE, PROT_READ | PROT_WRITE,
					 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
					 -1, 0) == hva, "mmap() failed: errno %d", errno);
			uf_fill_page(uf, page, uf_content(page));
			uf_run_done(uf, id, uf_expected(op, page));

			/* A VMA that doesn't allow the access. */
			page++;
			hva = uf_page_hva(uf, page);
			mprotect(hva, PAGE_SIZE, PROT_NONE);
			uf_prepare(uf, id, op, page);
			run_memory_fault(uf, id, page);
			mprotect(hva, PAGE_SIZE, PROT_READ | PROT_WRITE);
			uf_run_done(uf, id, uf_expected(op, page));
		}
	}
}
#endif

#ifdef __x86_64__
static uint64_t flush_requests(struct uf_vm *uf)
{
	return vm_get_stat(uf->vm, "remote_tlb_flush_requests");
}

/*
 * A fragmented bitmap does not cause a zap and a TLB flush for each fragment.  There
 * is one flush, and one more on Hyper-V.
 */
TEST_F(memslot, fragmented)
{
	struct uf_vm *uf = &self->uf;
	unsigned long *first = uf->bitmap;
	uint64_t before;
	int n;

	for (n = 0; n < 64; n++)
		uf_access(uf, 0, UF_READ, n);
	before = flush_requests(uf);
	uf_enable(uf);
	TEST_ASSERT(flush_requests(uf) > before && flush_requests(uf) <= before + 2,
		    "switching it on flushed %lu times", flush_requests(uf) - before);

	for (n = 0; n < 64; n++)
		uf_access(uf, 0, UF_READ, n);
	uf->bitmap = uf_bitmap_alloc();
	for (n = 0; n < 64; n += 2)
		uf_set_bit(uf, n);
	before = flush_requests(uf);
	uf_enable(uf);
	uf_bitmap_free(first);
	TEST_ASSERT(flush_requests(uf) > before && flush_requests(uf) <= before + 2,
		    "another bitmap flushed %lu times", flush_requests(uf) - before);

	for (n = 0; n < 64; n += 2)
		uf_access_exits(uf, 0, UF_READ, n);
}
#endif

static void *run_exits_at_page_0(void *arg)
{
	uf_run_exits(arg, 0, 0);
	return NULL;
}

/*
 * A fault has found the bit of its page clear, and reads the bits around it.
 * Meanwhile the bit is set, and the page dropped: the fault must not map the page.
 */
TEST_F_TIMEOUT(memslot, bit_set_during_fault, UF_TIMEOUT)
{
	static const uint8_t zeroes[SZ_4K] __aligned(SZ_4K);
	struct uf_vm *uf = &self->uf;
	unsigned long *own = uf->bitmap;
	void *bitmaps, *missing;
	pthread_t thread;
	int uffd;

	bitmaps = mmap(NULL, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	TEST_ASSERT(bitmaps != MAP_FAILED, "mmap() failed: errno %d", errno);
	missing = bitmaps + PAGE_SIZE;

	/* Half of the bits of the first huge page are in the page that is missing. */
	uf->bitmap = missing - UF_VCPU_PAGES / 8 / 2;
	uf->gva = UF_GVA_2M;
	uf_enable(uf);
	uffd = missing_register(missing, PAGE_SIZE);
	if (uffd >= 0) {
		uf_prepare(uf, 0, UF_READ, 0);
		uf_start_thread(&thread, run_exits_at_page_0, uf);
		missing_wait(uffd, missing);

		uf_set_bit(uf, 0);
		TEST_ASSERT(!madvise(uf_page_hva(uf, 0), PAGE_SIZE, MADV_DONTNEED),
			    "madvise() failed: errno %d", errno);
		missing_place(uffd, missing, zeroes);
		pthread_join(thread, NULL);

		uf_fill_page(uf, 0, uf_content(0));
		uf_clear_bit(uf, 0);
		uf_run_done(uf, 0, uf_content(0));
		close(uffd);
	}

	uf_disable(uf);
	munmap(bitmaps, 2 * PAGE_SIZE);
	uf->bitmap = own;
	if (uffd < 0)
		SKIP(return, "no userfaultfd");
}

FIXTURE(memslot_huge) {
	struct uf_vm uf;
};

FIXTURE_SETUP(memslot_huge)
{
	if (!thp_configured())
		SKIP(return, "no transparent huge pages");

	uf_vm_init(&self->uf, 1, uf_guest_code, VM_MEM_SRC_ANONYMOUS_THP);
	self->uf.gva = UF_GVA_2M;
}

FIXTURE_TEARDOWN(memslot_huge)
{
	uf_vm_free(&self->uf);
}

/*
 * When dirty logging is switched off, KVM may recover huge mappings, also without a
 * fault.  They must not include a page whose bit is set.
 */
TEST_F_TIMEOUT(memslot_huge, dirty_log_off, UF_TIMEOUT)
{
	struct uf_vm *uf = &self->uf;
	int n, marked = 77;

	/* With neither flag, both huge pages are mapped huge. */
	uf_access(uf, 0, UF_READ, 0);
	uf_access(uf, 0, UF_READ, UF_VCPU_PAGES);
	if (uf_huge_mappings(uf) != 2)
		SKIP(return, "the host gave no huge pages");

	/* One huge page has a page that is missing, the other one has none. */
	uf_set_bit(uf, marked);
	uf_set_slot(uf, KVM_MEM_USERFAULT | KVM_MEM_LOG_DIRTY_PAGES);
	for (n = 0; n < 2 * UF_VCPU_PAGES; n++)
		if (n != marked)
			uf_access(uf, 0, n % 2 ? UF_READ : UF_WRITE, n);
	TEST_ASSERT_EQ(uf_huge_mappings(uf), 0);

	uf_set_slot(uf, KVM_MEM_USERFAULT);
	TEST_ASSERT(uf_huge_mappings(uf) <= 1, "the marked page is in a huge mapping");
	/* Nor does a fault next to it recover that huge mapping. */
	uf_access(uf, 0, UF_READ, 101);
	TEST_ASSERT(uf_huge_mappings(uf) <= 1, "the marked page is in a huge mapping");
#ifdef __x86_64__
	/* It recovers the other one.  arm64 waits for a fault on an unmapped page. */
	uf_access(uf, 0, UF_READ, UF_VCPU_PAGES + 101);
	TEST_ASSERT_EQ(uf_huge_mappings(uf), 1);
#endif
	uf_access_exits(uf, 0, UF_READ, marked);
}

int main(int argc, char *argv[])
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_USERFAULT));

	return test_harness_run(argc, argv);
}
