/*
 * Post-copy destination: userfaultfds of other processes
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "migration/migration.h"
#include "migration/postcopy-ram.h"
#include "shared-userfaultfds.h"

QemuRecMutex postcopy_shared_mutex;

static void __attribute__((constructor)) shared_mutex_init(void)
{
    qemu_rec_mutex_init(&postcopy_shared_mutex);
}

struct PostCopyFD *postcopy_shared_find(int *fd)
{
    GArray *fds = migration_incoming_get_current()->postcopy_remote_fds;

    for (guint i = 0; i < fds->len; i++) {
        struct PostCopyFD *pcfd = &g_array_index(fds, struct PostCopyFD, i);

        if (pcfd->fd == *fd) {
            return pcfd;
        }
    }
    *fd = -1;
    return NULL;
}
