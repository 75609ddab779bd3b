/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A VM with memslots that lists change, a model of what each list should do, and
 * a guest that compares each place of the VM's memory with the model.
 */
#ifndef SELFTEST_KVM_MEMSLOT_BATCH_MODEL_H
#define SELFTEST_KVM_MEMSLOT_BATCH_MODEL_H

#include "kvm_memslot_batch_util.h"
#include "processor.h"
#include "ucall_common.h"

#define NR_PLACES	64
#define NR_PAGES	64
#define NR_SLOTS	24
#define FIRST_SLOT	10
#define MAX_SLOT_PAGES	4
#define MAX_LIST	16
#define BASE_GPA	(1ull << 32)

struct slot {
	int npages;	/* 0: no memslot */
	int place;
	int page;
	uint32_t flags;
};

static size_t page_size;
static uint8_t *mem;
static struct kvm_vm *vm;
static struct kvm_vcpu *vcpu;
static struct slot model[NR_SLOTS];
static bool model_holds;	/* the memslots are as @model says, no list is made yet */

/* The guest's next access: a write of guest_write, or a read if that is 0. */
static uint64_t guest_gva;
static uint64_t guest_write;

static inline uint64_t place_gpa(int place)
{
	return BASE_GPA + place * page_size;
}

static inline uint64_t page_stamp(int page)
{
	return 0x1000 + page;
}

static inline uint64_t *page_word(int page)
{
	return (uint64_t *)(mem + page * page_size);
}

static inline void guest_code(void)
{
	uint64_t *word;

	for (;;) {
		word = (uint64_t *)READ_ONCE(guest_gva);
		if (READ_ONCE(guest_write)) {
			WRITE_ONCE(*word, READ_ONCE(guest_write));
			GUEST_SYNC(0);
		} else {
			GUEST_SYNC(READ_ONCE(*word));
		}
	}
}

#ifdef __x86_64__
#include "svm_util.h"

#define PTE_HUGE	0x87ull	/* huge, present, writable, user */
#define PTE_TABLE	0x07ull

static uint64_t nested_cr3;

static inline void hypervisor_code(struct svm_test_data *svm)
{
	unsigned long stack[256];

	generic_svm_setup(svm, guest_code, &stack[ARRAY_SIZE(stack)]);
	svm->vmcb->control.nested_ctl = SVM_NESTED_CTL_NP_ENABLE;
	svm->vmcb->control.nested_cr3 = nested_cr3;
	run_guest(svm->vmcb, svm->vmcb_gpa);
	GUEST_FAIL("unexpected exit 0x%x", svm->vmcb->control.exit_code);
}

static inline uint64_t *alloc_table(uint64_t *gpa)
{
	vm_vaddr_t gva = vm_vaddr_alloc_page(vm);

	*gpa = addr_gva2gpa(vm, gva);
	return addr_gva2hva(vm, gva);
}

/* A VM whose guest runs guest_code() in a nested guest, with nested paging. */
static inline bool make_nested_vm(void)
{
	uint64_t *pgd, *pud, pud_gpa;
	vm_vaddr_t svm_gva;

	if (!kvm_cpu_has(X86_FEATURE_SVM) || !kvm_cpu_has(X86_FEATURE_NPT))
		return false;

	vm = vm_create_with_one_vcpu(&vcpu, hypervisor_code);
	virt_map(vm, BASE_GPA, BASE_GPA, NR_PLACES);
	pgd = alloc_table(&nested_cr3);
	pud = alloc_table(&pud_gpa);
	pgd[0] = pud_gpa | PTE_TABLE;
	for (int i = 0; i < 8; i++)
		pud[i] = (uint64_t)i << 30 | PTE_HUGE;
	sync_global_to_guest(vm, nested_cr3);
	vcpu_alloc_svm(vm, &svm_gva);
	vcpu_args_set(vcpu, 1, svm_gva);
	return true;
}
#else
static inline bool make_nested_vm(void)
{
	return false;
}
#endif

static inline bool is_mmio(int place)
{
	struct kvm_run *run = vcpu->run;

	return run->exit_reason == KVM_EXIT_MMIO &&
	       run->mmio.phys_addr == place_gpa(place);
}

/* The guest reads a place, or writes @write if not 0.  Returns false if it was MMIO. */
static inline bool guest_access(int place, uint64_t write, uint64_t *value)
{
	bool hole = false;
	struct ucall uc;

	guest_gva = place_gpa(place);
	guest_write = write;
	sync_global_to_guest(vm, guest_gva);
	sync_global_to_guest(vm, guest_write);

	vcpu_run(vcpu);
	if (is_mmio(place)) {
		TEST_ASSERT(!!vcpu->run->mmio.is_write == !!write, "MMIO of the wrong kind");
		hole = true;
		memset(vcpu->run->mmio.data, 0, sizeof(vcpu->run->mmio.data));
		vcpu_run(vcpu);
	}
	TEST_ASSERT_EQ(get_ucall(vcpu, &uc), UCALL_SYNC);
	*value = uc.args[1];
	return !hole;
}

static inline const struct slot *model_at(int place)
{
	for (int i = 0; i < NR_SLOTS; i++)
		if (place >= model[i].place && place < model[i].place + model[i].npages)
			return &model[i];
	return NULL;
}

static inline void check_place(int place)
{
	const struct slot *slot = model_at(place);
	bool writable = slot && !(slot->flags & KVM_MEM_READONLY);
	uint64_t value, expected;
	int page;

	if (!slot) {
		TEST_ASSERT(!guest_access(place, 0, &value), "there is memory at %d", place);
		return;
	}
	page = slot->page + place - slot->place;
	expected = *page_word(page);
	TEST_ASSERT(guest_access(place, 0, &value), "there is no memory at %d", place);
	TEST_ASSERT(value == expected, "at %d is 0x%lx, not 0x%lx", place, value, expected);

	TEST_ASSERT(guest_access(place, page_stamp(page) | 1ull << 32, &value) == writable,
		    "%d should be %s", place, writable ? "writable" : "read-only");
	TEST_ASSERT_EQ(*page_word(page) >> 32, writable);
	*page_word(page) = page_stamp(page);
}

static inline void check_all(void)
{
	for (int i = 0; i < NR_PLACES; i++)
		check_place(i);
}

static inline bool overlaps(const struct slot *slots, int id, int place, int npages)
{
	for (int i = 0; i < NR_SLOTS; i++)
		if (i != id && slots[i].npages && place < slots[i].place + slots[i].npages &&
		    slots[i].place < place + npages)
			return true;
	return false;
}

/*
 * Change slot @id of @slots to @new, after the list has changed those in @changed.
 * Returns 0 or a negative errno.
 */
static inline int model_change(struct slot *slots, bool *changed, int id, const struct slot *new)
{
	struct slot *old = &slots[id];

	if (!new->npages) {
		if (!old->npages)
			return -EINVAL;
	} else if (!old->npages) {
		if (overlaps(slots, id, new->place, new->npages))
			return -EEXIST;
	} else {
		if (new->page != old->page || new->npages != old->npages ||
		    (new->flags ^ old->flags) & KVM_MEM_READONLY)
			return -EINVAL;
		if (new->place != old->place && overlaps(slots, id, new->place, new->npages))
			return -EEXIST;
		if (!memcmp(old, new, sizeof(*old)))
			return 0;
	}
	if (old->npages && changed[id])
		return -EINVAL;
	changed[id] = true;
	*old = *new;
	return 0;
}

static inline int below(int end)
{
	return random() % end;
}

/* A randomized change, usually a valid one. */
static inline struct slot random_change(const struct slot *old)
{
	struct slot new = *old;

	if (!old->npages || !below(8)) {
		new.npages = 1 + below(MAX_SLOT_PAGES);
		new.page = below(NR_PAGES - new.npages + 1);
		new.place = below(NR_PLACES - new.npages + 1);
		new.flags = below(4) ? 0 : KVM_MEM_READONLY;
		return new;
	}
	switch (below(3)) {
	case 0:
		return (struct slot) {};
	case 1:
		new.place = below(NR_PLACES - new.npages + 1);
		break;
	case 2:
		new.flags ^= KVM_MEM_LOG_DIRTY_PAGES;
		break;
	}
	return new;
}

static inline void add_change(struct mb_list *list, int id, const struct slot *new)
{
	mb_add(list, FIRST_SLOT + id, new->flags, place_gpa(new->place),
	       new->npages * page_size, mem + new->page * page_size);
}

/* Make the list.  With @error, it must fail with that at @expected_failed. */
static inline void set_list(struct mb_list *list, int error, uint32_t expected_failed)
{
	uint32_t failed;
	int r;

	r = __mb_set(vm, list, 0, &failed);
	if (!error) {
		TEST_ASSERT(!r, "failed at %u of %u with errno %d", failed, list->nr, errno);
	} else {
		TEST_ASSERT(r && errno == error, "got %d, errno %d, not %d", r, errno, error);
		TEST_ASSERT(failed == expected_failed, "failed at %u, not %u", failed,
			    expected_failed);
	}
	list->nr = 0;
}

static inline int random_list(struct mb_list *list)
{
	struct slot slots[NR_SLOTS];
	bool changed[NR_SLOTS] = {};
	int nr = 1 + below(MAX_LIST);
	uint32_t failed = 0;
	int error = 0;

	memcpy(slots, model, sizeof(slots));
	for (int i = 0; i < nr; i++) {
		int id = below(NR_SLOTS);
		struct slot new = random_change(&slots[id]);
		int this;

		/* An invalid change rarely, and then with others after it. */
		if (!error) {
			this = model_change(slots, changed, id, &new);
			if (this && below(16))
				continue;
			error = this;
			failed = list->nr;
		}
		add_change(list, id, &new);
	}
	if (!list->nr)
		return 0;
	nr = list->nr;
	model_holds = true;
	set_list(list, -error, failed);
	model_holds = false;
	if (!error)
		memcpy(model, slots, sizeof(model));
	return nr;
}

static inline void clear_model(struct mb_list *list)
{
	for (int i = 0; i < NR_SLOTS; i++)
		if (model[i].npages)
			mb_add(list, FIRST_SLOT + i, 0, 0, 0, NULL);
	if (list->nr)
		mb_set(vm, list, 0);
	memset(model, 0, sizeof(model));
}

/* Memslots of two pages each, one above the other. */
static inline void make_some(struct mb_list *list, int nr)
{
	for (int i = 0; i < nr; i++) {
		model[i] = (struct slot) { .npages = 2, .place = 2 * i, .page = 2 * i };
		add_change(list, i, &model[i]);
	}
	mb_set(vm, list, 0);
	check_all();
}

static inline void make_two(struct mb_list *list)
{
	make_some(list, 2);
}

#endif /* SELFTEST_KVM_MEMSLOT_BATCH_MODEL_H */
