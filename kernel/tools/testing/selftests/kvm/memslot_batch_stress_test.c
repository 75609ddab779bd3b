// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_SET_USER_MEMORY_REGIONS while vCPUs run: none may see half of a list.
 *
 * Each list replaces the memory of all places by other memory, whose words are one
 * higher.  Each place also has code, which returns the same number.  So the number
 * that a vCPU reads or gets at any place can never be less than what any vCPU has
 * seen before.  Memslots also change places from one list to the next.  There is
 * always memory everywhere: any MMIO is an error.
 *
 * With shadowed page tables, lists can't be atomic, and are made without that flag.
 * The guest's own accesses follow the same rules then.  Only KVM's emulator may find
 * no memory and exit to userspace.
 *
 * -c is the control: it makes the same changes one by one, and fails if the test
 * finds no error.
 */
#include <pthread.h>
#include <sys/mman.h>

#include "kvm_memslot_batch_util.h"
#include "processor.h"
#include "ucall_common.h"

#define NR_PLACES	32
#define NR_VCPUS	3
#define FIRST_SLOT	10
#define BASE_GPA	(1ull << 32)
#define CODE_OFFSET	0x100
/* Pages that no list changes can be mapped at least this many times as often as not. */
#define MIN_ELSEWHERE	16
/* Each vCPU must make progress once per this many iterations. */
#define NR_IN_A_ROW	16
#ifdef __x86_64__
/* The port for reads by KVM's emulator; not the port of ucalls. */
#define DATA_PORT	0x80
#endif

static size_t page_size;
static uint8_t *mem[2];
static struct kvm_vm *vm;
static bool one_by_one;
static bool refused;	/* lists can't be atomic */
static int nr_iterations = 1000;
static int nr_found;
static int nr_emulated_mmio;

static bool guest_stop;
static uint32_t guest_seen;	/* the highest number that any vCPU has seen */
static uint64_t guest_rounds[NR_VCPUS];
static bool guest_emulates[NR_VCPUS];	/* the emulator makes the current access */

static bool host_stop;
static unsigned long nr_prefaults[2];	/* [0]: succeeded, [1]: failed */
static unsigned long nr_elsewhere[2];	/* the same, of pages that no list changes */

static uint64_t place_gpa(int place)
{
	return BASE_GPA + place * page_size;
}

#ifdef __x86_64__
static void put_code(uint8_t *code, uint32_t value)
{
	code[0] = 0xb8;				/* mov $value, %eax */
	memcpy(&code[1], &value, sizeof(value));
	code[5] = 0xc3;				/* ret */
}
#else
/* Left out: it would need instruction cache maintenance. */
static void put_code(uint8_t *code, uint32_t value)
{
}
#endif

static uint32_t guest_read(uint64_t gva)
{
	return READ_ONCE(*(uint32_t *)gva);
}

static uint32_t guest_exec(uint64_t gva)
{
#ifdef __x86_64__
	return ((uint32_t (*)(void))(gva + CODE_OFFSET))();
#else
	return guest_read(gva);
#endif
}

/* The emulator reads the word and passes it to userspace: see run_vcpu(). */
static void guest_emulate(uint64_t gva)
{
#ifdef __x86_64__
	asm volatile("outsl" : "+S"(gva) : "d"(DATA_PORT) : "memory");
#endif
}

static void guest_code(int id)
{
	uint32_t random = id + 1, seen, value;
	uint64_t gva;

	while (id == NR_VCPUS)
		GUEST_SYNC(0);

	while (!READ_ONCE(guest_stop)) {
		random = random * 1103515245 + 12345;
		gva = BASE_GPA + (random >> 16) % NR_PLACES * 4096;

		seen = __atomic_load_n(&guest_seen, __ATOMIC_ACQUIRE);
		value = random & 1 << 12 ? guest_read(gva) : guest_exec(gva);
		if (value < seen)
			GUEST_SYNC(((uint64_t)seen << 32) | value);
		while (value > seen &&
		       !__atomic_compare_exchange_n(&guest_seen, &seen, value, false,
						    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			;
		if (!((random >> 20) % 64)) {
			WRITE_ONCE(guest_emulates[id], true);
			guest_emulate(gva);
			WRITE_ONCE(guest_emulates[id], false);
		}
		guest_rounds[id]++;
	}
	GUEST_DONE();
}

static void found(int id, const char *what, uint64_t value)
{
	TEST_ASSERT(one_by_one, "vCPU %d: %s, 0x%lx", id, what, value);
	__atomic_add_fetch(&nr_found, 1, __ATOMIC_RELAXED);
}

static bool emulates(int id)
{
	return READ_ONCE(*(bool *)addr_gva2hva(vm, (vm_vaddr_t)&guest_emulates[id]));
}

#ifdef __x86_64__
static bool is_data(const struct kvm_run *run)
{
	return run->exit_reason == KVM_EXIT_IO && run->io.port == DATA_PORT;
}

static uint32_t data(struct kvm_run *run)
{
	return *(uint32_t *)((uint8_t *)run + run->io.data_offset);
}
#else
static bool is_data(const struct kvm_run *run)
{
	return false;
}

static uint32_t data(struct kvm_run *run)
{
	return 0;
}
#endif

static void *run_vcpu(void *arg)
{
	struct kvm_vcpu *vcpu = arg;
	struct kvm_run *run = vcpu->run;
	uint32_t last = 0;
	struct ucall uc;
	uint64_t ucall;

	for (;;) {
		if (_vcpu_run(vcpu)) {
			found(vcpu->id, "KVM_RUN failed", errno);
			return NULL;
		}
		if (is_data(run)) {
			if (data(run) < last)
				found(vcpu->id, "the emulator went back", data(run));
			last = data(run);
			continue;
		}
		/* On arm64, ucalls are MMIO, too. */
		ucall = get_ucall(vcpu, &uc);
		if (ucall == UCALL_NONE && run->exit_reason == KVM_EXIT_MMIO) {
			if (READ_ONCE(refused) && emulates(vcpu->id))
				__atomic_add_fetch(&nr_emulated_mmio, 1, __ATOMIC_RELAXED);
			else
				found(vcpu->id, "MMIO", run->mmio.phys_addr);
			memcpy(run->mmio.data, &last, sizeof(last));
			continue;
		}
		switch (ucall) {
		case UCALL_DONE:
			TEST_ASSERT(READ_ONCE(host_stop), "vCPU %d ended", vcpu->id);
			return NULL;
		case UCALL_SYNC:
			found(vcpu->id, "the guest went back", uc.args[1]);
			break;
		case UCALL_ABORT:
			REPORT_GUEST_ASSERT(uc);
			break;
		default:
			/* With changes one by one, the code may be gone. */
			found(vcpu->id, "exit", run->exit_reason);
			return NULL;
		}
	}
}

#ifdef __x86_64__
/*
 * KVM_PRE_FAULT_MEMORY must not wait for lists, which wait for it.  It fails for
 * pages that a list changes.  It rarely fails for other pages: only if the host
 * drops memory at the same time, on the far side of them.  It also works without
 * running the vCPU after a list.
 */
static void *prefault(void *arg)
{
	struct kvm_pre_fault_memory range;
	struct kvm_vcpu *vcpu = arg;
	int r;

	vcpu_run(vcpu);
	while (!READ_ONCE(host_stop)) {
		/* Pages that no list changes: page tables, for example. */
		range = (struct kvm_pre_fault_memory) { .size = 2 * page_size };
		r = __vcpu_ioctl(vcpu, KVM_PRE_FAULT_MEMORY, &range);
		TEST_ASSERT(!r || errno == EAGAIN, "elsewhere: got %d, errno %d", r, errno);
		nr_elsewhere[r || range.size]++;

		range = (struct kvm_pre_fault_memory) {
			.gpa = BASE_GPA,
			.size = NR_PLACES * page_size,
		};
		r = __vcpu_ioctl(vcpu, KVM_PRE_FAULT_MEMORY, &range);
		TEST_ASSERT(!r || errno == EAGAIN, "KVM_PRE_FAULT_MEMORY: errno %d", errno);
		nr_prefaults[!!r]++;
	}
	return NULL;
}

static bool can_prefault(void)
{
	return kvm_has_cap(KVM_CAP_PRE_FAULT_MEMORY) && kvm_is_tdp_enabled() && !one_by_one;
}

/* Zap only the mappings of deleted memslots, not all mappings of the VM. */
static bool zap_less(void)
{
	if (!(kvm_check_cap(KVM_CAP_DISABLE_QUIRKS2) & KVM_X86_QUIRK_SLOT_ZAP_ALL))
		return false;
	vm_enable_cap(vm, KVM_CAP_DISABLE_QUIRKS2, KVM_X86_QUIRK_SLOT_ZAP_ALL);
	return true;
}
#else
static void *prefault(void *arg)
{
	return NULL;
}

static bool can_prefault(void)
{
	return false;
}

static bool zap_less(void)
{
	return false;
}
#endif

/* Set the words and the code of all places in one of the two memories. */
static void fill(int which, uint32_t value)
{
	for (int i = 0; i < NR_PLACES; i++) {
		*(uint32_t *)(mem[which] + i * page_size) = value;
		put_code(mem[which] + i * page_size + CODE_OFFSET, value);
	}
}

static void add_slot(struct mb_list *list, int slot, int place, int which)
{
	mb_add(list, FIRST_SLOT + slot, 0, place_gpa(place), page_size,
	       mem[which] + slot * page_size);
}

static void set(struct mb_list *list)
{
	if (one_by_one)
		mb_set_one_by_one(vm, list);
	else
		mb_set(vm, list, refused ? 0 : KVM_MEMORY_REGIONS_ATOMIC);
}

/* Use the other memory everywhere.  Memslots may change places. */
static void replace_all(struct mb_list *list, int which, int shift)
{
	for (int i = 0; i < NR_PLACES; i++)
		mb_add(list, FIRST_SLOT + i, 0, 0, 0, NULL);
	for (int i = 0; i < NR_PLACES; i++)
		add_slot(list, i, (i + shift) % NR_PLACES, which);
	set(list);
}

/* Move all memslots one place up, and create the last one again at the first place. */
static void move_all(struct mb_list *list, int which, int shift)
{
	int last = (NR_PLACES - 1 - shift + NR_PLACES) % NR_PLACES;

	mb_add(list, FIRST_SLOT + last, 0, 0, 0, NULL);
	for (int i = NR_PLACES - 2; i >= 0; i--)
		add_slot(list, (i - shift + NR_PLACES) % NR_PLACES, i + 1, which);
	add_slot(list, last, 0, which);
	set(list);
}

/* Does KVM refuse lists with KVM_MEMORY_REGIONS_ATOMIC? */
static bool atomic_refused(struct mb_list *list)
{
	uint32_t failed;
	int r;

	mb_add(list, FIRST_SLOT, 0, 0, 0, NULL);
	add_slot(list, 0, 0, 1);
	r = __mb_set(vm, list, KVM_MEMORY_REGIONS_ATOMIC, &failed);
	TEST_ASSERT(!r || (errno == EOPNOTSUPP && failed == 2),
		    "got %d, errno %d at %u", r, errno, failed);
	list->nr = 0;
	return r;
}

/* Wait until each vCPU has made progress.  If one can't, this doesn't end. */
static void wait_for_rounds(void)
{
	uint64_t from[NR_VCPUS];

	sync_global_from_guest(vm, guest_rounds);
	memcpy(from, guest_rounds, sizeof(from));
	for (int i = 0; i < NR_VCPUS; i++) {
		while (guest_rounds[i] == from[i]) {
			sched_yield();
			sync_global_from_guest(vm, guest_rounds);
		}
	}
}

static void check_rounds(const uint64_t *before)
{
	sync_global_from_guest(vm, guest_rounds);
	for (int i = 0; i < NR_VCPUS; i++)
		TEST_ASSERT(guest_rounds[i] > before[i], "vCPU %d made no progress", i);
}

static void run(bool zaps_less)
{
	uint64_t before[NR_VCPUS];
	struct kvm_vcpu *vcpus[NR_VCPUS + 1];
	pthread_t threads[NR_VCPUS + 1];
	struct mb_list list;
	int i, shift = 0;

	nr_found = nr_emulated_mmio = 0;
	refused = false;
	/* The last vCPU is for prefault(). */
	vm = vm_create_with_vcpus(NR_VCPUS + 1, guest_code, vcpus);
	if (zaps_less && !zap_less()) {
		kvm_vm_free(vm);
		return;
	}
	virt_map(vm, BASE_GPA, BASE_GPA, NR_PLACES);
	mb_list_init(&list, 3 * NR_PLACES);

	/* The first list replaces this memory: no vCPU may see the other one being filled. */
	fill(1, 1);
	for (i = 0; i < NR_PLACES; i++)
		add_slot(&list, i, i, 1);
	mb_set(vm, &list, 0);

	guest_stop = host_stop = false;
	memset(guest_rounds, 0, sizeof(guest_rounds));
	memset(nr_prefaults, 0, sizeof(nr_prefaults));
	memset(nr_elsewhere, 0, sizeof(nr_elsewhere));
	guest_seen = 0;
	sync_global_to_guest(vm, guest_stop);
	sync_global_to_guest(vm, guest_seen);
	sync_global_to_guest(vm, guest_rounds);
	for (i = 0; i <= NR_VCPUS; i++)
		vcpu_args_set(vcpus[i], 1, i);
	for (i = 0; i < NR_VCPUS; i++)
		pthread_create(&threads[i], NULL, run_vcpu, vcpus[i]);
	if (can_prefault())
		pthread_create(&threads[i], NULL, prefault, vcpus[i]);
	/* Whether KVM shadows page tables is known once vCPUs have run. */
	wait_for_rounds();
	memcpy(before, guest_rounds, sizeof(before));

	WRITE_ONCE(refused, atomic_refused(&list));
	for (i = 2; i < nr_iterations + 2; i++) {
		fill(i & 1, i);
		replace_all(&list, i & 1, shift);
		move_all(&list, i & 1, shift);
		shift = (shift + 1) % NR_PLACES;
		/*
		 * With one processor, lists in a row can leave a vCPU no time in
		 * which its faults are not refused.
		 */
		if (!one_by_one && !(i % NR_IN_A_ROW))
			wait_for_rounds();
	}

	/* With changes one by one, a vCPU may have ended. */
	if (!one_by_one) {
		check_rounds(before);
		wait_for_rounds();
	}
	guest_stop = true;
	WRITE_ONCE(host_stop, true);
	sync_global_to_guest(vm, guest_stop);
	for (i = 0; i < NR_VCPUS; i++)
		pthread_join(threads[i], NULL);
	if (can_prefault()) {
		pthread_join(threads[i], NULL);
		TEST_ASSERT(nr_prefaults[0], "no prefault succeeded");
		TEST_ASSERT(nr_elsewhere[1] * MIN_ELSEWHERE <= nr_elsewhere[0],
			    "elsewhere, %lu prefaults succeeded, %lu failed",
			    nr_elsewhere[0], nr_elsewhere[1]);
	}
	sync_global_from_guest(vm, guest_rounds);
	pr_info("%s: %d lists, %lu %lu %lu rounds of the guest, %lu of %lu prefaults%s\n",
		zaps_less ? "zapping memslots" : "zapping all", 2 * nr_iterations,
		guest_rounds[0], guest_rounds[1], guest_rounds[2],
		nr_prefaults[0], nr_prefaults[0] + nr_prefaults[1],
		refused ? "; lists can't be atomic with shadowed page tables" : "");
	if (refused)
		pr_info("the emulator found no memory %d times\n", nr_emulated_mmio);
	if (one_by_one)
		pr_info("%d errors found\n", nr_found);
	TEST_ASSERT(!one_by_one || nr_found, "the test finds no error");

	mb_list_free(&list);
	kvm_vm_free(vm);
}

int main(int argc, char *argv[])
{
	int i, opt, warnings = kernel_warnings();

	while ((opt = getopt(argc, argv, "hci:")) != -1) {
		switch (opt) {
		case 'c':
			one_by_one = true;
			break;
		case 'i':
			nr_iterations = atoi_positive("Number of lists", optarg);
			break;
		default:
			printf("usage: %s [-c] [-i LISTS]\n", argv[0]);
			exit(opt == 'h' ? 0 : 1);
		}
	}
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_MEMORY_REGIONS));
	page_size = getpagesize();
	TEST_REQUIRE(page_size == 4096);

	for (i = 0; i < 2; i++) {
		mem[i] = mmap(NULL, NR_PLACES * page_size, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		TEST_ASSERT(mem[i] != MAP_FAILED, "mmap() failed: errno %d", errno);
	}

	run(false);
	run(true);
	TEST_ASSERT_EQ(kernel_warnings(), warnings);
	return 0;
}
