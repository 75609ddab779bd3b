/*
 * Randomized changes of memory regions: the regions and their changes
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/module.h"
#include "qapi/error.h"
#include "fuzz.h"

#define TYPE_FUZZ_IOMMU "memory-testdev-fuzz-iommu"

static uint64_t fuzz_io_read(void *opaque, hwaddr addr, unsigned int size)
{
    return 0;
}

static void fuzz_io_write(void *opaque, hwaddr addr, uint64_t data,
                          unsigned int size)
{
}

static const MemoryRegionOps fuzz_io_ops = {
    .read = fuzz_io_read,
    .write = fuzz_io_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
};

bool fuzz_iommu_target(const Region *region, hwaddr offset, hwaddr *addr)
{
    const Fuzz *fuzz = region->fuzz;
    hwaddr unit = offset / fuzz->unit;

    /* Most units have a translation, in another order */
    *addr = (unit * 7 + (region - fuzz->region)) % NR_UNITS * fuzz->unit;
    return unit % 5 != 0;
}

static IOMMUTLBEntry fuzz_translate(IOMMUMemoryRegion *iommu, hwaddr addr,
                                    IOMMUAccessFlags flag, int iommu_idx)
{
    const Region *region = container_of(iommu, Region, iommu);
    hwaddr mask = region->fuzz->unit - 1, target;
    bool leads = fuzz_iommu_target(region, addr & ~mask, &target);

    return (IOMMUTLBEntry) {
        .target_as = region->fuzz->target_as,
        .iova = addr & ~mask,
        .translated_addr = target,
        .addr_mask = mask,
        .perm = leads ? IOMMU_RW : IOMMU_NONE,
    };
}

static void fuzz_iommu_class_init(ObjectClass *klass, void *data)
{
    IOMMU_MEMORY_REGION_CLASS(klass)->translate = fuzz_translate;
}

static const TypeInfo fuzz_iommu_info = {
    .name = TYPE_FUZZ_IOMMU,
    .parent = TYPE_IOMMU_MEMORY_REGION,
    .class_init = fuzz_iommu_class_init,
};

static void fuzz_register(void)
{
    type_register_static(&fuzz_iommu_info);
}

type_init(fuzz_register)

static void region_init(Region *region)
{
    Fuzz *fuzz = region->fuzz;
    int i = region - fuzz->region;
    uint64_t size = fuzz->unit + fuzz_units(fuzz, NR_UNITS / 2);
    g_autofree char *name = g_strdup_printf("fuzz-%d", i);
    MemoryRegion *mr = &region->mr;

    region->alias = -1;
    region->logs = false;
    region->nr_ioeventfds = region->nr_coalesced = 0;
    switch (region->kind) {
    case CONTAINER:
        memory_region_init(mr, fuzz->owner, name,
                           i ? size : NR_UNITS * fuzz->unit);
        break;
    case RAM:
        memory_region_init_ram_nomigrate(mr, fuzz->owner, name, size,
                                         &error_abort);
        break;
    case IO:
        memory_region_init_io(mr, fuzz->owner, &fuzz_io_ops, NULL, name, size);
        break;
    case ROM_DEVICE:
        memory_region_init_rom_device_nomigrate(mr, fuzz->owner, &fuzz_io_ops,
                                                NULL, name, size, &error_abort);
        break;
    case ALIAS:
        /* Without a name, so that it can be initialized again in place */
        region->alias = i + 1 + fuzz_below(fuzz, NR_REGIONS - i - 1);
        memory_region_init_alias(mr, fuzz->owner, NULL,
                                 &fuzz->region[region->alias].mr,
                                 fuzz_units(fuzz, NR_UNITS / 4), size);
        break;
    case IOMMU:
        memory_region_init_iommu(&region->iommu, sizeof(region->iommu),
                                 TYPE_FUZZ_IOMMU, fuzz->owner, name, size);
        break;
    default:
        g_assert_not_reached();
    }
}

static void region_finalize(Region *region)
{
    if (region->kind == ALIAS) {
        object_unref(OBJECT(&region->mr));
    } else {
        object_unparent(OBJECT(&region->mr));
    }
}

void fuzz_regions_init(Fuzz *fuzz)
{
    memory_region_init(&fuzz->root, fuzz->owner, "fuzz-root", UINT64_MAX);
    memory_region_init(&fuzz->unseen, fuzz->owner, "fuzz-unseen", fuzz->unit);
    memory_region_init_ram_nomigrate(&fuzz->target, fuzz->owner, "fuzz-target",
                                     NR_UNITS * fuzz->unit, &error_abort);
    fuzz->target_as = g_new0(AddressSpace, 1);
    address_space_init(fuzz->target_as, &fuzz->target, "fuzz-target");

    for (int i = NR_REGIONS - 1; i >= 0; i--) {
        Region *region = &fuzz->region[i];

        region->fuzz = fuzz;
        region->kind = i % NR_KINDS;
        region_init(region);
    }
    memory_region_add_subregion(&fuzz->root, fuzz->base, &fuzz->region[0].mr);
}

/*
 * An address space ends after a grace period, its FlatView after another one.
 * Until then, the FlatView refers to its regions.
 */
static void wait_for_views(void)
{
    drain_call_rcu();
    drain_call_rcu();
}

void fuzz_regions_destroy(Fuzz *fuzz)
{
    for (int i = 0; i < NR_REGIONS; i++) {
        MemoryRegion *mr = &fuzz->region[i].mr;

        if (mr->container) {
            memory_region_del_subregion(mr->container, mr);
        }
    }
    address_space_destroy_free(fuzz->target_as);
    /* The next update drops its FlatView, and those of other address spaces */
    fuzz_commit_all(fuzz);
    wait_for_views();
    for (int i = 0; i < NR_REGIONS; i++) {
        region_finalize(&fuzz->region[i]);
    }
    object_unparent(OBJECT(&fuzz->target));
    object_unparent(OBJECT(&fuzz->unseen));
    object_unparent(OBJECT(&fuzz->root));
}

void fuzz_commit_all(Fuzz *fuzz)
{
    memory_region_set_enabled(&fuzz->unseen, !fuzz->unseen.enabled);
}

static bool is_root(const Fuzz *fuzz, int i)
{
    for (int j = 0; j < NR_SPACES; j++) {
        if (fuzz->space[j].as && fuzz->space[j].root == i) {
            return true;
        }
    }
    return false;
}

/* Returns true for a region that is visible itself or through aliases */
static bool can_be_seen(const Fuzz *fuzz, int i)
{
    if (fuzz->region[i].mr.container || is_root(fuzz, i)) {
        return true;
    }
    for (int j = 1; j < i; j++) {
        if (fuzz->region[j].alias == i && can_be_seen(fuzz, j)) {
            return true;
        }
    }
    return false;
}

void fuzz_init_again(Fuzz *fuzz)
{
    int i = 1 + fuzz_below(fuzz, NR_REGIONS - 1);
    Region *region = &fuzz->region[i];

    if (can_be_seen(fuzz, i) || !QTAILQ_EMPTY(&region->mr.subregions)) {
        return;
    }
    wait_for_views();
    /* Some devices do not finalize an alias before they initialize it again */
    if (region->kind != ALIAS || fuzz_below(fuzz, 2)) {
        region_finalize(region);
    }
    region_init(region);
}

static void put_in(Fuzz *fuzz, Region *region)
{
    int i = region - fuzz->region;
    Region *container = &fuzz->region[fuzz_below(fuzz, i)];

    if (container->kind == ALIAS) {
        container = &fuzz->region[0];
    }
    region->serial = ++fuzz->serial;
    memory_region_add_subregion_overlap(&container->mr,
                                        fuzz_units(fuzz, NR_UNITS),
                                        &region->mr,
                                        (int)fuzz_below(fuzz, 5) - 2);
}

static void move(Fuzz *fuzz, Region *region)
{
    hwaddr addr = fuzz_units(fuzz, NR_UNITS);

    if (addr != region->mr.addr) {
        /* memory_region_set_address() inserts it again */
        region->serial = ++fuzz->serial;
    }
    memory_region_set_address(&region->mr, addr);
}

static EventNotifier *unused_notifier(Region *region)
{
    for (unsigned int i = 0; i < NR_IOEVENTFDS; i++) {
        EventNotifier *e = &region->notifiers[i];
        unsigned int j = 0;

        while (j < region->nr_ioeventfds && region->ioeventfds[j].e != e) {
            j++;
        }
        if (j == region->nr_ioeventfds) {
            return e;
        }
    }
    g_assert_not_reached();
}

/*
 * One of size 0 is for accesses of any size, and equals all others at its
 * address: to delete one of them would be to delete any.
 */
static bool is_ambiguous(const Region *region, const IoEventFd *fd)
{
    for (unsigned int i = 0; i < region->nr_ioeventfds; i++) {
        const IoEventFd *other = &region->ioeventfds[i];

        if (other->addr == fd->addr && (!other->size || !fd->size)) {
            return true;
        }
    }
    return false;
}

static void add_ioeventfd(Fuzz *fuzz, Region *region)
{
    static const unsigned int sizes[] = { 0, 1, 2, 4, 8 };
    IoEventFd fd = {
        .addr = fuzz_units(fuzz, NR_UNITS / 2) +
                fuzz_below(fuzz, fuzz->unit / 8) * 8,
        .size = sizes[fuzz_below(fuzz, ARRAY_SIZE(sizes))],
        .e = unused_notifier(region),
    };

    if (fd.size) {
        fd.match_data = fuzz_below(fuzz, 2);
        fd.data = fd.match_data ? fuzz_below(fuzz, 4) : 0;
    }
    if (is_ambiguous(region, &fd)) {
        return;
    }
    region->ioeventfds[region->nr_ioeventfds++] = fd;
    memory_region_add_eventfd(&region->mr, fd.addr, fd.size, fd.match_data,
                              fd.data, fd.e);
}

static void del_ioeventfd(Fuzz *fuzz, Region *region)
{
    unsigned int i = fuzz_below(fuzz, region->nr_ioeventfds);
    IoEventFd fd = region->ioeventfds[i];

    region->ioeventfds[i] = region->ioeventfds[--region->nr_ioeventfds];
    memory_region_del_eventfd(&region->mr, fd.addr, fd.size, fd.match_data,
                              fd.data, fd.e);
}

static void change_ioeventfds(Fuzz *fuzz, Region *region)
{
    if (region->nr_ioeventfds == NR_IOEVENTFDS ||
        (region->nr_ioeventfds && fuzz_below(fuzz, 2))) {
        del_ioeventfd(fuzz, region);
    } else {
        add_ioeventfd(fuzz, region);
    }
}

static void change_coalesced(Fuzz *fuzz, Region *region)
{
    Coalesced *c = &region->coalesced[region->nr_coalesced];

    if (region->nr_coalesced == NR_COALESCED) {
        region->nr_coalesced = 0;
        memory_region_clear_coalescing(&region->mr);
        return;
    }
    region->nr_coalesced++;
    /* Not limited to whole units */
    c->addr = fuzz_units(fuzz, NR_UNITS / 2) + fuzz_below(fuzz, fuzz->unit);
    c->size = 1 + fuzz_units(fuzz, NR_UNITS / 4);
    memory_region_add_coalescing(&region->mr, c->addr, c->size);
}

/* Make a change that is for this kind of region only */
static void change_by_kind(Fuzz *fuzz, Region *region)
{
    MemoryRegion *mr = &region->mr;

    switch (region->kind) {
    case ROM_DEVICE:
        if (fuzz_below(fuzz, 2)) {
            memory_region_rom_device_set_romd(mr, !mr->romd_mode);
            break;
        }
        /* fall through */
    case RAM:
        region->logs = !region->logs;
        memory_region_set_log(mr, region->logs, DIRTY_MEMORY_VGA);
        break;
    case ALIAS:
        if (fuzz_below(fuzz, 2)) {
            memory_region_set_alias_offset(mr, fuzz_units(fuzz, NR_UNITS / 4));
            break;
        }
        /* fall through */
    case CONTAINER:
    case IO:
    case IOMMU:
        memory_region_set_size(mr, fuzz->unit +
                                   fuzz_units(fuzz, NR_UNITS / 2));
        break;
    default:
        g_assert_not_reached();
    }
}

void fuzz_change(Fuzz *fuzz)
{
    Region *region = &fuzz->region[1 + fuzz_below(fuzz, NR_REGIONS - 1)];
    bool has_ops = region->kind == IO || region->kind == ROM_DEVICE;
    MemoryRegion *mr = &region->mr;

    if (!mr->container) {
        put_in(fuzz, region);
        return;
    }
    switch (fuzz_below(fuzz, 13)) {
    case 0:
        memory_region_del_subregion(mr->container, mr);
        break;
    case 1:
    case 2:
    case 3:
        move(fuzz, region);
        break;
    case 4:
    case 5:
        memory_region_set_enabled(mr, !mr->enabled);
        break;
    case 6:
        memory_region_set_readonly(mr, !mr->readonly);
        break;
    case 7:
        memory_region_set_nonvolatile(mr, !mr->nonvolatile);
        break;
    case 8:
        memory_region_set_unmergeable(mr, !mr->unmergeable);
        break;
    case 9:
    case 10:
        change_by_kind(fuzz, region);
        break;
    case 11:
        if (has_ops) {
            change_ioeventfds(fuzz, region);
        }
        break;
    case 12:
        if (has_ops) {
            change_coalesced(fuzz, region);
        }
        break;
    }
}
