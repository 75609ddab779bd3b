/*
 * vhost-user: where a back end has mapped guest memory, for post-copy
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
 * VhostUserPostcopyMap: the regions of a back end, for the threads of post-copy
 *
 * vhost's own tables change with the memory map, under the BQL, and these
 * threads do not take the BQL.  Zeroed memory is an empty map.
 */
typedef struct VhostUserPostcopyMap {
    VhostUserPostcopyRegion *regions;
    unsigned nregions;
} VhostUserPostcopyMap;

/**
 * vhost_user_postcopy_map_update: the regions of the back end have changed
 * @map: the map
 * @mem: the new regions; NULL for none
 * @rbs: the RAMBlock of each, or NULL
 * @rb_offsets: where each begins in its RAMBlock
 * @client_bases: where each begins in the back end's address space
 *
 * Context: BQL held; takes postcopy_shared_mutex.  Does not wait for the back
 * end.
 */
void vhost_user_postcopy_map_update(VhostUserPostcopyMap *map,
                                    const struct vhost_memory *mem,
                                    RAMBlock *const *rbs,
                                    const ram_addr_t *rb_offsets,
                                    const uint64_t *client_bases);

/**
 * vhost_user_postcopy_map_updated: the back end has been told its new regions
 * @map: the map
 * @ret: the result of that
 *
 * If it failed, the back end is lost.  Empties the map then, as a RAMBlock in
 * it may be freed.
 *
 * Context: BQL held; takes postcopy_shared_mutex.
 * Returns: @ret
 */
int vhost_user_postcopy_map_updated(VhostUserPostcopyMap *map, int ret);

/**
 * vhost_user_postcopy_map_free: the back end is gone
 * @map: the map
 *
 * Context: BQL held, and no thread of post-copy uses @map any more.  There may
 * not have been any migration yet.
 */
void vhost_user_postcopy_map_free(VhostUserPostcopyMap *map);

/**
 * vhost_user_postcopy_map_base: where the back end has mapped a region
 * @map: the map
 * @rb: the region's RAMBlock
 * @rb_offset: where the region begins in @rb
 *
 * Context: BQL held.
 * Returns: the address in the back end's address space, 0 if it has no such
 * region.
 */
uint64_t vhost_user_postcopy_map_base(const VhostUserPostcopyMap *map,
                                      const RAMBlock *rb, ram_addr_t rb_offset);

/**
 * vhost_user_postcopy_fault: the back end accessed a missing page
 * @map: the map
 * @pcfd: the back end's userfaultfd
 * @fault_addr: in the back end's address space
 *
 * Context: with postcopy_shared_mutex held.
 * Returns: 0 if the page was requested or has arrived, negative on error.
 */
int vhost_user_postcopy_fault(VhostUserPostcopyMap *map,
                              struct PostCopyFD *pcfd, uint64_t fault_addr);

/**
 * vhost_user_postcopy_wake: a page is in place
 * @map: the map
 * @pcfd: the back end's userfaultfd
 * @rb: the page's RAMBlock
 * @offset: of the page in @rb
 *
 * Context: with postcopy_shared_mutex held.
 * Returns: 0 if the back end was woken or has not mapped the page, negative on
 * error.
 */
int vhost_user_postcopy_wake(VhostUserPostcopyMap *map,
                             struct PostCopyFD *pcfd, RAMBlock *rb,
                             uint64_t offset);

#endif
