/*
 * vhost-user: where a back end has mapped guest memory, for post-copy
 *
 * Lock order: BQL, postcopy_shared_mutex.
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "standard-headers/linux/vhost_types.h"
#include "qemu/error-report.h"
#include "qemu/lockable.h"
#include "exec/ramblock.h"
#include "hw/virtio/vhost-user-postcopy.h"
#include "trace.h"

struct VhostUserPostcopyRegion {
    RAMBlock *rb;
    ram_addr_t rb_offset;
    uint64_t client_base;
    uint64_t size;
};

void vhost_user_postcopy_map_update(VhostUserPostcopyMap *map,
                                    const struct vhost_memory *mem,
                                    RAMBlock *const *rbs,
                                    const ram_addr_t *rb_offsets,
                                    const uint64_t *client_bases)
{
    VhostUserPostcopyMap old, new = {};

    if (mem) {
        new.regions = g_new0(VhostUserPostcopyRegion, mem->nregions);
        for (unsigned i = 0; i < mem->nregions; i++) {
            if (!rbs[i]) {
                continue;
            }
            new.regions[new.nregions++] = (VhostUserPostcopyRegion) {
                .rb = rbs[i],
                .rb_offset = rb_offsets[i],
                .client_base = client_bases[i],
                .size = mem->regions[i].memory_size,
            };
        }
    }
    WITH_QEMU_LOCK_GUARD(&postcopy_shared_mutex) {
        old = *map;
        *map = new;
    }
    g_free(old.regions);
}

int vhost_user_postcopy_map_updated(VhostUserPostcopyMap *map, int ret)
{
    if (ret < 0) {
        vhost_user_postcopy_map_update(map, NULL, NULL, NULL, NULL);
    }
    return ret;
}

void vhost_user_postcopy_map_free(VhostUserPostcopyMap *map)
{
    g_free(map->regions);
    *map = (VhostUserPostcopyMap) {};
}

uint64_t vhost_user_postcopy_map_base(const VhostUserPostcopyMap *map,
                                      const RAMBlock *rb, ram_addr_t rb_offset)
{
    /* The BQL keeps the map from changing */
    for (unsigned i = 0; i < map->nregions; i++) {
        const VhostUserPostcopyRegion *region = &map->regions[i];

        if (region->rb == rb && region->rb_offset == rb_offset) {
            return region->client_base;
        }
    }
    return 0;
}

int vhost_user_postcopy_fault(VhostUserPostcopyMap *map,
                              struct PostCopyFD *pcfd, uint64_t fault_addr)
{
    trace_vhost_user_postcopy_fault_handler(pcfd->idstr, fault_addr,
                                            map->nregions);
    for (unsigned i = 0; i < map->nregions; i++) {
        VhostUserPostcopyRegion *region = &map->regions[i];
        uint64_t offset = fault_addr - region->client_base;

        trace_vhost_user_postcopy_fault_handler_loop(i, region->client_base,
                                                     region->size);
        if (fault_addr >= region->client_base && offset < region->size) {
            trace_vhost_user_postcopy_fault_handler_found(i, offset,
                                                region->rb_offset + offset);
            return postcopy_request_shared_page(pcfd, region->rb, fault_addr,
                                                region->rb_offset + offset);
        }
    }
    error_report("%s: fault at 0x%" PRIx64 ", which is in no region",
                 pcfd->idstr, fault_addr);
    return -1;
}

int vhost_user_postcopy_wake(VhostUserPostcopyMap *map,
                             struct PostCopyFD *pcfd, RAMBlock *rb,
                             uint64_t offset)
{
    for (unsigned i = 0; i < map->nregions; i++) {
        VhostUserPostcopyRegion *region = &map->regions[i];

        if (region->rb == rb && offset >= region->rb_offset &&
            offset - region->rb_offset < region->size) {
            uint64_t client_addr = region->client_base +
                                   (offset - region->rb_offset);

            trace_vhost_user_postcopy_waker_found(client_addr);
            return postcopy_wake_shared(pcfd, client_addr, rb);
        }
    }
    trace_vhost_user_postcopy_waker_nomatch(qemu_ram_get_idstr(rb), offset);
    return 0;
}
