/*
 * vhost-user: where a back end has the guest's memory, for post-copy
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_VIRTIO_VHOST_USER_POSTCOPY_H
#define HW_VIRTIO_VHOST_USER_POSTCOPY_H

#include "exec/cpu-common.h"
#include "hw/virtio/vhost.h"
#include "migration/postcopy-ram.h"

typedef struct VhostUserPostcopyRegion VhostUserPostcopyRegion;

/**
 * VhostUserPostcopyMap: a back end's regions as the threads of post-copy see
 * them
 *
 * vhost's own tables change with the memory map, with the BQL held, which these
 * threads do not take.  Zeroed memory is an empty map.
 */
typedef struct VhostUserPostcopyMap {
    VhostUserPostcopyRegion *regions;
    unsigned nregions;
} VhostUserPostcopyMap;

/**
 * vhost_user_postcopy_map_update: the back end has other regions now
 * @map: the map
 * @mem: the regions; NULL for none
 * @rbs: the RAMBlock of each, or NULL
 * @rb_offsets: where each begins in its RAMBlock
 * @client_bases: where each begins in the back end's address space
 *
 * Context: BQL held.  Takes the lock of shared userfaultfds, and waits for no
 * back end with it held.
 */
void vhost_user_postcopy_map_update(VhostUserPostcopyMap *map,
                                    const struct vhost_memory *mem,
                                    RAMBlock *const *rbs,
                                    const ram_addr_t *rb_offsets,
                                    const uint64_t *client_bases);

/**
 * vhost_user_postcopy_map_free: the back end is gone
 * @map: the map
 *
 * Context: BQL held, and no thread of post-copy knows of @map any more.  Unlike
 * an update, this may come before there is any migration.
 */
void vhost_user_postcopy_map_free(VhostUserPostcopyMap *map);

/**
 * vhost_user_postcopy_map_base: where the back end has a region
 * @map: the map
 * @rb: the region's RAMBlock
 * @rb_offset: where it begins in that
 *
 * Context: BQL held.
 * Returns: the address in the back end's address space, 0 if it has no such
 * region.
 */
uint64_t vhost_user_postcopy_map_base(const VhostUserPostcopyMap *map,
                                      const RAMBlock *rb, ram_addr_t rb_offset);

/**
 * vhost_user_postcopy_fault: the back end came to a page that is missing
 * @map: the map
 * @pcfd: the back end's userfaultfd
 * @fault_addr: in the back end's address space
 *
 * Context: with the lock of shared userfaultfds held.
 * Returns: 0 if the page was requested, or is here; negative on error.
 */
int vhost_user_postcopy_fault(VhostUserPostcopyMap *map,
                              struct PostCopyFD *pcfd, uint64_t fault_addr);

/**
 * vhost_user_postcopy_wake: a page is here
 * @map: the map
 * @pcfd: the back end's userfaultfd
 * @rb: the page's RAMBlock
 * @offset: of the page in it
 *
 * Context: with the lock of shared userfaultfds held.
 * Returns: 0 if the back end does not have the page or was woken; negative on
 * error.
 */
int vhost_user_postcopy_wake(VhostUserPostcopyMap *map,
                             struct PostCopyFD *pcfd, RAMBlock *rb,
                             uint64_t offset);

#endif
