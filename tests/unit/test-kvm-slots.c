/*
 * Unit tests of accel/kvm/kvm-slots.c: randomized, against a simple model
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "system/kvm-slots.h"

#define PAGE 4096

/* KVM's limit on x86 */
#define KVM_MAX 32764

/* The model: an array of all memslots, searched from end to end */
typedef struct Model {
    KVMSlots slots;
    GPtrArray *all;
} Model;

static void model_init(Model *model, unsigned max)
{
    kvm_slots_init(&model->slots, max);
    model->all = g_ptr_array_new();
}

static void model_destroy(Model *model)
{
    kvm_slots_destroy(&model->slots);
    g_ptr_array_free(model->all, true);
}

static KVMSlot *model_slot(Model *model, guint i)
{
    return g_ptr_array_index(model->all, i);
}

static bool overlaps(KVMSlot *slot, hwaddr start, hwaddr last)
{
    return slot->start_addr <= last &&
           slot->start_addr + slot->memory_size - 1 >= start;
}

/* Find the lowest memslot in a range, above @after if that is not NULL */
static KVMSlot *model_first(Model *model, hwaddr start, hwaddr last,
                            KVMSlot *after)
{
    KVMSlot *first = NULL;

    for (guint i = 0; i < model->all->len; i++) {
        KVMSlot *slot = model_slot(model, i);

        if (overlaps(slot, start, last) &&
            (!after || slot->start_addr > after->start_addr) &&
            (!first || slot->start_addr < first->start_addr)) {
            first = slot;
        }
    }
    return first;
}

static uintptr_t model_lowest_host(Model *model, const void *host)
{
    uintptr_t lowest = UINTPTR_MAX;

    for (guint i = 0; i < model->all->len; i++) {
        KVMSlot *slot = model_slot(model, i);

        if (host >= slot->ram && host < slot->ram + slot->memory_size) {
            lowest = MIN(lowest, (uintptr_t)slot->ram);
        }
    }
    return lowest;
}

static KVMSlot *model_id(Model *model, unsigned id)
{
    for (guint i = 0; i < model->all->len; i++) {
        if (model_slot(model, i)->slot == id) {
            return model_slot(model, i);
        }
    }
    return NULL;
}

static void add(Model *model, hwaddr start, hwaddr size, uintptr_t host)
{
    KVMSlot *slot = kvm_slot_new(&model->slots);

    if (model->all->len == model->slots.max) {
        g_assert_null(slot);
        return;
    }
    g_assert_nonnull(slot);
    g_assert_cmpuint(slot->slot, <, model->slots.max);
    g_assert_null(model_id(model, slot->slot));
    slot->start_addr = start;
    slot->memory_size = size;
    slot->ram = (void *)host;
    kvm_slot_insert(&model->slots, slot);
    g_ptr_array_add(model->all, slot);
}

static void drop(Model *model, guint i)
{
    KVMSlot *slot = model_slot(model, i);
    unsigned id = slot->slot;

    kvm_slot_remove(&model->slots, slot);
    g_assert_true(kvm_slots_find_id(&model->slots, id) == slot);
    kvm_slot_free(&model->slots, slot);
    g_assert_null(kvm_slots_find_id(&model->slots, id));
    g_ptr_array_remove_index_fast(model->all, i);
}

static hwaddr pages(unsigned max)
{
    return (hwaddr)g_test_rand_int_range(0, max) * PAGE;
}

static void look(Model *model)
{
    hwaddr start = pages(512), size = pages(64) + PAGE;
    void *host = (void *)(uintptr_t)(pages(256) + g_test_rand_int_range(0, 9));
    unsigned id = g_test_rand_int_range(0, model->slots.max + 9);
    KVMSlot *expected, *slot;

    slot = kvm_slots_first(&model->slots, start, start + size - 1);
    expected = model_first(model, start, start + size - 1, NULL);
    while (slot && expected) {
        g_assert_true(slot == expected);
        slot = kvm_slots_next(slot, start, start + size - 1);
        expected = model_first(model, start, start + size - 1, expected);
    }
    g_assert_true(slot == expected);

    slot = kvm_slots_find_host(&model->slots, host);
    g_assert_cmphex(slot ? (uintptr_t)slot->ram : UINTPTR_MAX, ==,
                    model_lowest_host(model, host));

    g_assert_true(kvm_slots_find_id(&model->slots, id) == model_id(model, id));
}

static void look_for(Model *model, KVMSlot *slot)
{
    hwaddr start = slot->start_addr, size = slot->memory_size;

    g_assert_true(kvm_slots_find(&model->slots, start, size) == slot);
    g_assert_null(kvm_slots_find(&model->slots, start, size + PAGE));
    g_assert_null(kvm_slots_find(&model->slots, start - PAGE, size + PAGE));
    if (size > PAGE) {
        g_assert_null(kvm_slots_find(&model->slots, start, size - PAGE));
        g_assert_null(kvm_slots_find(&model->slots, start + PAGE,
                                     size - PAGE));
    }
}

/* Only a few ids, so that all of them are in use at times */
static void test_random(void)
{
    Model model;

    model_init(&model, 20);
    for (int i = 0; i < 300000; i++) {
        hwaddr start = pages(512) + PAGE, size = pages(12) + PAGE;
        guint n = model.all->len;

        switch (g_test_rand_int_range(0, 5)) {
        case 0:
        case 1:
            if (!model_first(&model, start, start + size - 1, NULL)) {
                add(&model, start, size, pages(256));
            }
            break;
        case 2:
            if (n) {
                drop(&model, g_test_rand_int_range(0, n));
            }
            break;
        case 3:
            look(&model);
            break;
        case 4:
            if (n) {
                look_for(&model, model_slot(&model,
                                            g_test_rand_int_range(0, n)));
            }
            break;
        }
        g_assert_cmpuint(model.slots.nr, ==, model.all->len);
    }
    model_destroy(&model);
}

/* As many memslots as KVM allows, and one more; then again with freed ids */
static void test_full(void)
{
    g_autofree KVMSlot **slot = g_new(KVMSlot *, KVM_MAX);
    KVMSlots slots;
    KVMSlot *next;

    kvm_slots_init(&slots, KVM_MAX);
    for (int turn = 0; turn < 2; turn++) {
        g_autofree bool *seen = g_new0(bool, KVM_MAX);
        int nr = 0;

        for (int i = 0; i < KVM_MAX; i++) {
            slot[i] = kvm_slot_new(&slots);
            g_assert_nonnull(slot[i]);
            g_assert_cmpint(slot[i]->slot, <, KVM_MAX);
            g_assert_false(seen[slot[i]->slot]);
            seen[slot[i]->slot] = true;
            slot[i]->start_addr = (hwaddr)i * 2 * PAGE;
            slot[i]->memory_size = PAGE;
            slot[i]->ram = (void *)(uintptr_t)((KVM_MAX - i) * PAGE);
            kvm_slot_insert(&slots, slot[i]);
        }
        g_assert_null(kvm_slot_new(&slots));
        g_assert_cmpuint(slots.nr, ==, KVM_MAX);

        KVM_SLOTS_FOREACH(next, &slots) {
            g_assert_true(next == slot[nr++]);
        }
        g_assert_cmpint(nr, ==, KVM_MAX);

        for (int i = 0; i < KVM_MAX; i++) {
            g_assert_true(kvm_slots_find_host(&slots, slot[i]->ram + 1) ==
                          slot[i]);
            kvm_slot_remove(&slots, slot[i]);
            g_assert_null(kvm_slots_find(&slots, slot[i]->start_addr, PAGE));
            kvm_slot_free(&slots, slot[i]);
        }
        g_assert_cmpuint(slots.nr, ==, 0);
        g_assert_null(kvm_slots_first(&slots, 0, HWADDR_MAX));
    }
    kvm_slots_destroy(&slots);
}

/* A memslot up to the last address */
static void test_last_address(void)
{
    Model model;

    model_init(&model, 2);
    add(&model, 0, PAGE, 0);
    add(&model, -(hwaddr)PAGE, PAGE, PAGE);
    g_assert_true(kvm_slots_find(&model.slots, -(hwaddr)PAGE, PAGE) ==
                  model_slot(&model, 1));
    g_assert_true(kvm_slots_first(&model.slots, PAGE, HWADDR_MAX) ==
                  model_slot(&model, 1));
    g_assert_null(kvm_slots_next(model_slot(&model, 1), 0, HWADDR_MAX));
    model_destroy(&model);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/kvm-slots/random", test_random);
    g_test_add_func("/kvm-slots/full", test_full);
    g_test_add_func("/kvm-slots/last-address", test_last_address);
    return g_test_run();
}
