/*
 * A device for tests and benchmarks of the memory API
 *
 * It has RAM, and many regions, each an alias of a part of the RAM.  They are
 * adjacent in the RAM but not in system memory, so that with KVM each has a
 * memslot.  The commands in qapi/memory-testdev.json map, move and unmap them.
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "qemu/host-utils.h"
#include "qemu/module.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-memory-testdev.h"
#include "exec/address-spaces.h"
#include "exec/memory.h"
#include "hw/qdev-core.h"
#include "hw/qdev-properties.h"
#include "migration/blocker.h"
#include "memory-testdev.h"

#define TYPE_MEMORY_TESTDEV "memory-testdev"
OBJECT_DECLARE_SIMPLE_TYPE(MemoryTestDev, MEMORY_TESTDEV)

#define REGIONS_MAX (1U << 20)
/* Above the machine's own regions */
#define PRIORITY 1

struct MemoryTestDev {
    DeviceState parent_obj;

    bool allow;
    uint32_t nr_regions;
    uint64_t region_size;
    uint64_t base;
    uint64_t stride;

    MemoryRegion ram;
    MemoryRegion *regions;
    unsigned long *mapped;
    Error *blocker;
};

static hwaddr region_addr(MemoryTestDev *s, uint32_t i, uint64_t offset)
{
    return s->base + i * s->stride + offset;
}

/* Also initializes a region again in place */
static void region_init(MemoryTestDev *s, uint32_t i)
{
    g_autofree char *name = g_strdup_printf("region-%" PRIu32, i);

    memory_region_init_alias(&s->regions[i], OBJECT(s), name, &s->ram,
                             i * s->region_size, s->region_size);
}

static void step_region(MemoryTestDev *s, const MemoryTestStep *step,
                        uint32_t i)
{
    MemoryRegion *mr = &s->regions[i];
    hwaddr addr = region_addr(s, i, step->offset);

    switch (step->action) {
    case MEMORY_TEST_ACTION_MAP:
        memory_region_add_subregion_overlap(get_system_memory(), addr, mr,
                                            PRIORITY);
        set_bit(i, s->mapped);
        break;
    case MEMORY_TEST_ACTION_UNMAP:
        memory_region_del_subregion(get_system_memory(), mr);
        clear_bit(i, s->mapped);
        break;
    case MEMORY_TEST_ACTION_MOVE:
        memory_region_set_address(mr, addr);
        break;
    case MEMORY_TEST_ACTION_ENABLE:
    case MEMORY_TEST_ACTION_DISABLE:
        memory_region_set_enabled(mr, step->action ==
                                      MEMORY_TEST_ACTION_ENABLE);
        break;
    case MEMORY_TEST_ACTION_INIT:
        region_init(s, i);
        break;
    default:
        g_assert_not_reached();
    }
}

/* Check a step; @mapped has the mapped regions, and is updated */
static bool step_check(MemoryTestDev *s, const MemoryTestStep *step,
                       unsigned long *mapped, Error **errp)
{
    bool map = step->action == MEMORY_TEST_ACTION_MAP;
    bool unmapped = map || step->action == MEMORY_TEST_ACTION_INIT;
    bool moves = map || step->action == MEMORY_TEST_ACTION_MOVE;
    uint64_t end = (uint64_t)step->first + step->count;
    uint64_t last;

    if (end > s->nr_regions) {
        error_setg(errp, "there are %" PRIu32 " regions, not %" PRIu64,
                   s->nr_regions, end);
        return false;
    }
    if (step->offset && !moves) {
        error_setg(errp, "'offset' is for 'map' and 'move'");
        return false;
    }
    if (step->offset % s->region_size) {
        error_setg(errp, "'offset' is not a multiple of the size of a region");
        return false;
    }
    if (step->count &&
        uadd64_overflow(region_addr(s, end - 1, 0) + s->region_size - 1,
                        step->offset, &last)) {
        error_setg(errp, "'offset' leads outside of the address space");
        return false;
    }

    for (uint64_t i = step->first; i < end; i++) {
        if (test_bit(i, mapped) == unmapped) {
            error_setg(errp, "region %" PRIu64 " is %s", i,
                       unmapped ? "mapped already" : "not mapped");
            return false;
        }
        if (map) {
            set_bit(i, mapped);
        } else if (step->action == MEMORY_TEST_ACTION_UNMAP) {
            clear_bit(i, mapped);
        }
    }
    return true;
}

static MemoryTestDev *find(const char *id, Error **errp)
{
    Object *obj = object_resolve_path_type(id, TYPE_MEMORY_TESTDEV, NULL);

    if (!obj) {
        error_setg(errp, "'%s' is not a " TYPE_MEMORY_TESTDEV, id);
        return NULL;
    }
    return MEMORY_TESTDEV(obj);
}

static MemoryTestResult *result_new(uint64_t changes, int64_t start)
{
    MemoryTestResult *result = g_new0(MemoryTestResult, 1);

    result->changes = changes;
    result->ns = get_clock() - start;
    return result;
}

MemoryTestResult *qmp_x_memory_testdev_run(const char *id,
                                           MemoryTestStepList *steps,
                                           bool has_transaction,
                                           bool transaction, Error **errp)
{
    MemoryTestDev *s = find(id, errp);
    g_autofree unsigned long *mapped = NULL;
    bool one = transaction || !has_transaction;
    uint64_t changes = 0;
    int64_t start;

    if (!s) {
        return NULL;
    }
    mapped = bitmap_new(s->nr_regions);
    bitmap_copy(mapped, s->mapped, s->nr_regions);
    for (MemoryTestStepList *step = steps; step; step = step->next) {
        if (!step->value->has_count) {
            step->value->count = 1;
        }
        if (!step_check(s, step->value, mapped, errp)) {
            return NULL;
        }
    }

    start = get_clock();
    if (one) {
        memory_region_transaction_begin();
    }
    for (; steps; steps = steps->next) {
        for (uint32_t i = 0; i < steps->value->count; i++) {
            step_region(s, steps->value, steps->value->first + i);
            changes++;
        }
    }
    if (one) {
        memory_region_transaction_commit();
    }
    return result_new(changes, start);
}

MemoryTestResult *qmp_x_memory_testdev_fuzz(const char *id, uint32_t seed,
                                            uint32_t operations, Error **errp)
{
    MemoryTestDev *s = find(id, errp);
    int64_t start = get_clock();

    if (!s || !memory_fuzz(OBJECT(s), seed, operations, errp)) {
        return NULL;
    }
    return result_new(operations, start);
}

static bool check_properties(MemoryTestDev *s, Error **errp)
{
    uint64_t page = qemu_real_host_page_size();
    uint64_t length, last;

    if (!s->allow) {
        error_setg(errp, TYPE_MEMORY_TESTDEV " lets whoever has QMP change the"
                   " memory of the guest: it needs x-allow=on");
        return false;
    }
    if (!s->nr_regions || s->nr_regions > REGIONS_MAX) {
        error_setg(errp, "'regions' must be 1 to %u", REGIONS_MAX);
        return false;
    }
    if (!s->region_size || s->region_size % page || s->base % page ||
        s->stride % page) {
        error_setg(errp, "'size', 'base' and 'stride' must be multiples of"
                   " %" PRIu64, page);
        return false;
    }
    if (s->stride < s->region_size) {
        error_setg(errp, "'stride' must not be less than 'size'");
        return false;
    }
    if (umul64_overflow(s->nr_regions, s->region_size, &length) ||
        length > RAM_ADDR_MAX) {
        error_setg(errp, "the regions are more than QEMU can have RAM");
        return false;
    }
    if (umul64_overflow(s->nr_regions, s->stride, &length) ||
        uadd64_overflow(s->base, length - 1, &last)) {
        error_setg(errp, "the regions do not fit into the address space");
        return false;
    }
    return true;
}

static void memory_testdev_realize(DeviceState *dev, Error **errp)
{
    MemoryTestDev *s = MEMORY_TESTDEV(dev);

    if (!check_properties(s, errp) ||
        !memory_region_init_ram_nomigrate(&s->ram, OBJECT(s), "ram",
                                          s->nr_regions * s->region_size,
                                          errp)) {
        return;
    }
    /* Nothing of the device is migrated */
    error_setg(&s->blocker, TYPE_MEMORY_TESTDEV " cannot be migrated");
    if (migrate_add_blocker(&s->blocker, errp)) {
        return;
    }
    s->regions = g_new0(MemoryRegion, s->nr_regions);
    s->mapped = bitmap_new(s->nr_regions);
    for (uint32_t i = 0; i < s->nr_regions; i++) {
        region_init(s, i);
    }
}

static const Property memory_testdev_properties[] = {
    DEFINE_PROP_BOOL("x-allow", MemoryTestDev, allow, false),
    DEFINE_PROP_UINT32("regions", MemoryTestDev, nr_regions, 512),
    DEFINE_PROP_SIZE("size", MemoryTestDev, region_size, 4 * KiB),
    DEFINE_PROP_UINT64("base", MemoryTestDev, base, 64 * GiB),
    DEFINE_PROP_SIZE("stride", MemoryTestDev, stride, 8 * KiB),
};

static void memory_testdev_class_init(ObjectClass *klass, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);

    dc->desc = "Memory regions for tests";
    dc->realize = memory_testdev_realize;
    /* The guest may use the regions as long as it runs */
    dc->hotpluggable = false;
    device_class_set_props(dc, memory_testdev_properties);
    set_bit(DEVICE_CATEGORY_MISC, dc->categories);
}

static const TypeInfo memory_testdev_info = {
    .name = TYPE_MEMORY_TESTDEV,
    .parent = TYPE_DEVICE,
    .instance_size = sizeof(MemoryTestDev),
    .class_init = memory_testdev_class_init,
};

static void memory_testdev_register(void)
{
    type_register_static(&memory_testdev_info);
}

type_init(memory_testdev_register)
