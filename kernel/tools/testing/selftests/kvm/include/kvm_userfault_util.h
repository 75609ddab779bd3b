/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * For the tests of KVM userfault: a VM with a memslot under test, and a guest that
 * makes one access at a time to it.
 */
#ifndef SELFTEST_KVM_USERFAULT_UTIL_H
#define SELFTEST_KVM_USERFAULT_UTIL_H

#include <linux/sizes.h>
#include <pthread.h>
#include <sys/mman.h>

#include "kvm_host_files.h"
#include "kvm_util.h"
#include "processor.h"
#include "test_util.h"

/* The only page size that the tests support. */
#ifndef PAGE_SIZE
#define PAGE_SIZE		((unsigned long)SZ_4K)
#endif

#define UF_MAX_VCPUS		4
#define UF_SLOT			10
#define UF_GPA			0x40000000ull
/* Each vCPU has its own part, which one huge page can back and map. */
#define UF_VCPU_PAGES		(SZ_2M / PAGE_SIZE)
#define UF_NPAGES		(UF_MAX_VCPUS * UF_VCPU_PAGES)
#define UF_SIZE			(UF_NPAGES * PAGE_SIZE)
#define UF_BITS_PER_WORD	(8 * sizeof(unsigned long))
#define UF_BITMAP_SIZE		(UF_NPAGES / 8)

/*
 * The guest maps the slot twice: in 4KiB pages, and in 2MiB pages where KVM may
 * shadow the guest's page tables, which makes a difference there.
 */
#define UF_GVA_4K		0x40000000ull
#define UF_GVA_2M		0x80000000ull

/* The accesses that a vCPU can make. */
enum uf_op {
	UF_READ,
	UF_WRITE,
	UF_EXEC,
};

/*
 * Seconds for tests that take real time or have their own deadlines: the harness's
 * 30 can be too few if the host is emulated, and busy.
 */
#define UF_TIMEOUT		300

/* Not at the start of the page: tests check that exits round down. */
#define UF_DATA_OFFSET		0x128
#define UF_CODE_OFFSET		0x800
#define UF_WRITTEN		0x5ull

struct uf_vm {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpus[UF_MAX_VCPUS];
	int nr_vcpus;
	uint64_t gva;		/* where the guest accesses the slot */
	uint64_t gpa;		/* the slot's address in exits */
	void *mem;
	unsigned long *bitmap;
	uint64_t exit_flags;	/* expected memory_fault.flags */
	int warnings;		/* of the kernel, before the test */
};

static struct {
	uint64_t op;
	uint64_t gva;
} uf_cmds[UF_MAX_VCPUS];

#ifdef __x86_64__

static inline void uf_put_function(uint8_t *code, uint32_t value)
{
	code[0] = 0xb8;				/* mov $value, %eax */
	memcpy(&code[1], &value, sizeof(value));
	code[5] = 0xc3;				/* ret */
}

static inline void uf_map_2m(struct kvm_vm *vm, uint64_t gva, uint64_t gpa, size_t size)
{
	virt_map_level(vm, gva, gpa, size, PG_LEVEL_2M);
}

static inline uint64_t uf_small_mappings(struct uf_vm *uf)
{
	return vm_get_stat(uf->vm, "pages_4k");
}

static inline uint64_t uf_huge_mappings(struct uf_vm *uf)
{
	return vm_get_stat(uf->vm, "pages_2m");
}

static inline uint64_t uf_gigantic_mappings(struct uf_vm *uf)
{
	return vm_get_stat(uf->vm, "pages_1g");
}

#elif defined(__aarch64__)

static inline void uf_put_function(uint8_t *code, uint32_t value)
{
	const uint32_t insns[] = {
		0x52800000 | (value & 0xffff) << 5,	/* mov  w0, #low */
		0x72a00000 | (value >> 16) << 5,	/* movk w0, #high, lsl #16 */
		0xd65f03c0,				/* ret */
	};

	memcpy(code, insns, sizeof(insns));
}

/* KVM does not shadow stage 1: no need for 2MiB pages. */
static inline void uf_map_2m(struct kvm_vm *vm, uint64_t gva, uint64_t gpa, size_t size)
{
	virt_map(vm, gva, gpa, size / PAGE_SIZE);
}

/*
 * The number of leaf entries of stage 2 on @level, from KVM's dump of all ranges.
 * Mapped ranges are readable.
 */
static inline uint64_t uf_count_mappings(struct uf_vm *uf, int level, size_t size)
{
	unsigned long start, end;
	char path[100], line[200];
	uint64_t count = 0;
	int its_level;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/kernel/debug/kvm/%d-%d/stage2_page_tables",
		 getpid(), uf->vm->fd);
	f = fopen(path, "r");
	/* CONFIG_PTDUMP_STAGE2_DEBUGFS */
	TEST_REQUIRE(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "0x%lx-0x%lx %*u%*c %d", &start, &end, &its_level) == 3 &&
		    its_level == level && strchr(line, 'R'))
			count += (end - start) / size;
	fclose(f);

	return count;
}

static inline uint64_t uf_small_mappings(struct uf_vm *uf)
{
	return uf_count_mappings(uf, 3, PAGE_SIZE);
}

static inline uint64_t uf_huge_mappings(struct uf_vm *uf)
{
	return uf_count_mappings(uf, 2, SZ_2M);
}

static inline uint64_t uf_gigantic_mappings(struct uf_vm *uf)
{
	return uf_count_mappings(uf, 1, SZ_1G);
}

#endif

static inline uint32_t uf_content(int page)
{
	return 0xabc00000 + page;
}

static inline void uf_guest_code(int id)
{
	uint32_t (*func)(void);
	uint64_t val, gva;

	for (;;) {
		gva = READ_ONCE(uf_cmds[id].gva);
		val = 0;

		switch (READ_ONCE(uf_cmds[id].op)) {
		case UF_READ:
			val = READ_ONCE(*(uint64_t *)(gva + UF_DATA_OFFSET));
			break;
		case UF_WRITE:
			WRITE_ONCE(*(uint64_t *)(gva + UF_DATA_OFFSET), UF_WRITTEN);
			break;
		case UF_EXEC:
			func = (void *)(gva + UF_CODE_OFFSET);
			val = func();
			break;
		}

		GUEST_SYNC(val);
	}
}

static inline void *uf_page_hva(struct uf_vm *uf, int page)
{
	return uf->mem + page * PAGE_SIZE;
}

/* Put data and a function into a page: both yield @value. */
static inline void uf_fill_page(struct uf_vm *uf, int page, uint32_t value)
{
	uint8_t *p = uf_page_hva(uf, page);

	*(uint64_t *)(p + UF_DATA_OFFSET) = value;
	uf_put_function(p + UF_CODE_OFFSET, value);
}

static inline void uf_fill_all(struct uf_vm *uf)
{
	int i;

	for (i = 0; i < UF_NPAGES; i++)
		uf_fill_page(uf, i, uf_content(i));
}

/* The bitmap ends where its mapping ends, so that a read beyond it fails. */
static inline unsigned long *uf_bitmap_alloc(void)
{
	uint8_t *p;

	p = mmap(NULL, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	TEST_ASSERT(p != MAP_FAILED, "mmap() of the bitmap failed: %d", errno);
	TEST_ASSERT(!munmap(p + PAGE_SIZE, PAGE_SIZE), "munmap() failed: %d", errno);

	return (unsigned long *)(p + PAGE_SIZE - UF_BITMAP_SIZE);
}

static inline void *uf_bitmap_page(struct uf_vm *uf)
{
	return (void *)((unsigned long)uf->bitmap & ~(PAGE_SIZE - 1ul));
}

static inline void uf_bitmap_free(unsigned long *bitmap)
{
	munmap((void *)((unsigned long)bitmap & ~(PAGE_SIZE - 1ul)), PAGE_SIZE);
}

static inline bool uf_test_bit(struct uf_vm *uf, int page)
{
	return READ_ONCE(uf->bitmap[page / UF_BITS_PER_WORD]) >>
	       (page % UF_BITS_PER_WORD) & 1;
}

static inline void uf_set_bit(struct uf_vm *uf, int page)
{
	uf->bitmap[page / UF_BITS_PER_WORD] |= 1ul << (page % UF_BITS_PER_WORD);
}

static inline void uf_set_all(struct uf_vm *uf)
{
	memset(uf->bitmap, 0xff, UF_BITMAP_SIZE);
}

static inline void uf_clear_all(struct uf_vm *uf)
{
	memset(uf->bitmap, 0, UF_BITMAP_SIZE);
}

/* With release semantics, like a VMM: the page's content is visible first. */
static inline void uf_clear_bit(struct uf_vm *uf, int page)
{
	__atomic_fetch_and(&uf->bitmap[page / UF_BITS_PER_WORD],
			   ~(1ul << (page % UF_BITS_PER_WORD)), __ATOMIC_RELEASE);
}

static inline struct kvm_userspace_memory_region2 *uf_region(struct uf_vm *uf)
{
	return &memslot2region(uf->vm, UF_SLOT)->region;
}

static inline void uf_set_region(struct uf_vm *uf,
				 const struct kvm_userspace_memory_region2 *region)
{
	int r = __vm_ioctl(uf->vm, KVM_SET_USER_MEMORY_REGION2, region);

	TEST_ASSERT(!r, "update of slot 0x%x, size 0x%llx, to flags 0x%x failed: errno %d",
		    region->slot, region->memory_size, region->flags, errno);
}

/* Delete the memslot under test, which uf_set_slot() creates again. */
static inline void uf_delete_slot(struct uf_vm *uf)
{
	struct kvm_userspace_memory_region2 region = *uf_region(uf);

	region.memory_size = 0;
	uf_set_region(uf, &region);
}

/* Try to change the memslot under test; the caller checks the result. */
static inline int __uf_set_slot(struct uf_vm *uf, uint32_t flags, uint64_t bitmap)
{
	struct kvm_userspace_memory_region2 region = *uf_region(uf);

	region.flags = flags;
	region.userfault_bitmap = bitmap;
	return __vm_ioctl(uf->vm, KVM_SET_USER_MEMORY_REGION2, &region);
}

static inline void uf_set_slot(struct uf_vm *uf, uint32_t flags)
{
	int r = __uf_set_slot(uf, flags, (unsigned long)uf->bitmap);

	TEST_ASSERT(!r, "memslot update to flags 0x%x failed: errno %d", flags, errno);
	uf_region(uf)->flags = flags;
}

static inline void uf_enable(struct uf_vm *uf)
{
	uf_set_slot(uf, KVM_MEM_USERFAULT);
}

static inline void uf_disable(struct uf_vm *uf)
{
	uf_set_slot(uf, 0);
}

/* Let a WARN_ON_ONCE() warn again that has warned in an earlier test. */
static inline void uf_clear_warn_once(void)
{
	write_file("/sys/kernel/debug/clear_warn_once", "1");
}

static inline void __uf_vm_init(struct uf_vm *uf, int nr_vcpus, void *guest_code,
				enum vm_mem_backing_src_type src,
				struct vm_shape shape, uint32_t slot_flags)
{
	int i;

	TEST_REQUIRE(getpagesize() == PAGE_SIZE);

	uf_clear_warn_once();
	uf->warnings = kernel_warnings();

	uf->nr_vcpus = nr_vcpus;
	uf->gva = UF_GVA_4K;
	uf->gpa = UF_GPA;
	uf->bitmap = uf_bitmap_alloc();
	uf->exit_flags = KVM_MEMORY_EXIT_FLAG_USERFAULT;
	uf->vm = __vm_create_with_vcpus(shape, nr_vcpus, 0, guest_code, uf->vcpus);
	for (i = 0; i < nr_vcpus; i++)
		vcpu_args_set(uf->vcpus[i], 1, i);

	vm_userspace_mem_region_add(uf->vm, src, UF_GPA, UF_SLOT, UF_NPAGES,
				    slot_flags);
	virt_map(uf->vm, UF_GVA_4K, UF_GPA, UF_NPAGES);
	uf_map_2m(uf->vm, UF_GVA_2M, UF_GPA, UF_SIZE);

	uf->mem = addr_gpa2hva(uf->vm, UF_GPA);
	uf_fill_all(uf);
}

static inline void uf_vm_init(struct uf_vm *uf, int nr_vcpus, void *guest_code,
			      enum vm_mem_backing_src_type src)
{
	__uf_vm_init(uf, nr_vcpus, guest_code, src, VM_SHAPE_DEFAULT, 0);
}

static inline void uf_vm_free(struct uf_vm *uf)
{
	kvm_vm_free(uf->vm);
	uf_bitmap_free(uf->bitmap);
	TEST_ASSERT_EQ(kernel_warnings(), uf->warnings);
}

/* Page @n of vCPU @id's part of the slot. */
static inline int uf_page(int id, int n)
{
	return id * UF_VCPU_PAGES + n;
}

/* Set the guest's next access.  It is repeated until it succeeds. */
static inline void uf_prepare(struct uf_vm *uf, int id, enum uf_op op, int page)
{
	uf_cmds[id].op = op;
	uf_cmds[id].gva = uf->gva + page * PAGE_SIZE;
	sync_global_to_guest(uf->vm, uf_cmds[id]);
}

/* Run the vCPU: the access succeeds, and has read or returned @value. */
static inline void uf_run_done(struct uf_vm *uf, int id, uint64_t value)
{
	struct kvm_vcpu *vcpu = uf->vcpus[id];
	struct ucall uc;
	int r;

	r = _vcpu_run(vcpu);
	TEST_ASSERT(!r, "vCPU %d: KVM_RUN failed: errno %d, exit reason %u (%s)", id,
		    errno, vcpu->run->exit_reason,
		    exit_reason_str(vcpu->run->exit_reason));
	TEST_ASSERT_EQ(get_ucall(vcpu, &uc), UCALL_SYNC);
	TEST_ASSERT_EQ(uc.args[1], value);
}

/* KVM_RUN returned @r, which must be a userfault exit.  Returns the page. */
static inline int uf_assert_exit(struct uf_vm *uf, int id, int r)
{
	struct kvm_run *run = uf->vcpus[id]->run;

	TEST_ASSERT(r == -1 && errno == EFAULT,
		    "vCPU %d: KVM_RUN should have failed with EFAULT, got %d, errno %d, exit reason %u (%s)",
		    id, r, errno, run->exit_reason,
		    exit_reason_str(run->exit_reason));
	TEST_ASSERT_EQ(run->exit_reason, KVM_EXIT_MEMORY_FAULT);
	TEST_ASSERT_EQ(run->memory_fault.flags, uf->exit_flags);

	return (run->memory_fault.gpa - uf->gpa) / PAGE_SIZE;
}

/* Run the vCPU: it exits for @page. */
static inline void uf_run_exits(struct uf_vm *uf, int id, int page)
{
	struct kvm_run *run = uf->vcpus[id]->run;

	TEST_ASSERT_EQ(uf_assert_exit(uf, id, _vcpu_run(uf->vcpus[id])), page);
	TEST_ASSERT_EQ(run->memory_fault.gpa, uf->gpa + page * PAGE_SIZE);
	TEST_ASSERT_EQ(run->memory_fault.size, PAGE_SIZE);
}

/* Run the vCPU: KVM_RUN fails with EFAULT, but not for a missing page. */
static inline void uf_run_unreadable(struct uf_vm *uf, int id)
{
	struct kvm_run *run = uf->vcpus[id]->run;
	int r;

	run->exit_reason = KVM_EXIT_MEMORY_FAULT;
	r = _vcpu_run(uf->vcpus[id]);
	TEST_ASSERT(r == -1 && errno == EFAULT, "should give EFAULT, got %d, errno %d",
		    r, errno);
	TEST_ASSERT(run->exit_reason != KVM_EXIT_MEMORY_FAULT,
		    "an unreadable bitmap should not be a userfault exit");
}

static inline uint64_t uf_expected(enum uf_op op, int page)
{
	return op == UF_WRITE ? 0 : uf_content(page);
}

/* vCPU @id can access @page without an exit. */
static inline void uf_access(struct uf_vm *uf, int id, enum uf_op op, int page)
{
	uf_prepare(uf, id, op, page);
	uf_run_done(uf, id, uf_expected(op, page));
}

/* vCPU @id exits for @page, and can access it once the page has been served. */
static inline void uf_access_exits(struct uf_vm *uf, int id, enum uf_op op, int page)
{
	uf_prepare(uf, id, op, page);
	uf_run_exits(uf, id, page);
	uf_clear_bit(uf, page);
	uf_run_done(uf, id, uf_expected(op, page));
}

static inline void uf_start_thread(pthread_t *thread, void *(*func)(void *), void *arg)
{
	int r = pthread_create(thread, NULL, func, arg);

	TEST_ASSERT(!r, "pthread_create() failed: error %d", r);
}

/* Check that vCPU @id's guest code has ended without an error. */
static inline void uf_guest_done(struct uf_vm *uf, int id)
{
	struct kvm_vcpu *vcpu = uf->vcpus[id];
	struct ucall uc;

	switch (get_ucall(vcpu, &uc)) {
	case UCALL_DONE:
		break;
	case UCALL_ABORT:
		REPORT_GUEST_ASSERT(uc);
		break;
	default:
		TEST_FAIL("vCPU %d: unexpected exit, reason %u (%s)", id,
			  vcpu->run->exit_reason,
			  exit_reason_str(vcpu->run->exit_reason));
	}
}

#endif /* SELFTEST_KVM_USERFAULT_UTIL_H */
