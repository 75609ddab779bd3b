/*
 * Post-copy destination: no unplug of devices whose memory is still migrated
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qapi/error.h"
#include "qapi/qapi-events-qdev.h"
#include "exec/memory.h"
#include "exec/ramblock.h"
#include "hw/qdev-core.h"
#include "migration/migration.h"
#include "migration/misc.h"
#include "migration/postcopy-unplug.h"
#include "migration/ram.h"
#include "qom/object.h"
#include "system/hostmem.h"

/* Is @part the object @whole, or a descendant of it? */
static bool is_part_of(Object *part, Object *whole)
{
    for (; part; part = part->parent) {
        if (part == whole) {
            return true;
        }
    }
    return false;
}

/* Is @owner a memory backend that @obj links to, as a DIMM does? */
static bool is_backend_of(Object *owner, Object *obj)
{
    ObjectPropertyIterator iter;
    ObjectProperty *prop;

    if (!object_dynamic_cast(owner, TYPE_MEMORY_BACKEND)) {
        return false;
    }
    object_property_iter_init(&iter, obj);
    while ((prop = object_property_iter_next(&iter))) {
        if (strstart(prop->type, "link<", NULL) &&
            object_property_get_link(obj, prop->name, NULL) == owner) {
            return true;
        }
    }
    return false;
}

typedef struct Search {
    RAMBlock *rb;
    DeviceState *owner;         /* the result */
} Search;

static int search_device(DeviceState *dev, void *opaque)
{
    Search *search = opaque;
    Object *owner = memory_region_owner(search->rb->mr);

    if (owner && (is_part_of(owner, OBJECT(dev)) ||
                  is_backend_of(owner, OBJECT(dev)))) {
        search->owner = dev;
        return -1;
    }
    return 0;
}

typedef struct UnplugCheck {
    DeviceState *dev;
    Error **errp;
} UnplugCheck;

static int check_block(RAMBlock *rb, void *opaque)
{
    UnplugCheck *check = opaque;
    Search search = { .rb = rb };

    /* Plugged since precopy began: nothing of it is migrated */
    if (!rb->postcopy_length) {
        return 0;
    }
    /* The device, and all devices on its buses */
    qdev_walk_children(check->dev, search_device, NULL, NULL, NULL, &search);
    if (!search.owner) {
        return 0;
    }
    error_setg(check->errp, "device_del not allowed in post-copy: memory '%s'"
               " of the device is still being migrated", rb->idstr);
    return -1;
}

bool migration_incoming_may_unplug(DeviceState *dev, Error **errp)
{
    UnplugCheck check = { .dev = dev, .errp = errp };

    return !migration_in_incoming_postcopy() ||
           !foreach_not_ignored_block(check_block, &check);
}

bool migration_incoming_may_eject(DeviceState *dev)
{
    if (migration_incoming_may_unplug(dev, NULL)) {
        return true;
    }
    if (dev->pending_deleted_event) {
        dev->pending_deleted_event = false;
        qapi_event_send_device_unplug_guest_error(dev->id,
                                                  dev->canonical_path);
    }
    return false;
}
