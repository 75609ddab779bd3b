/*
 * Post-copy destination: userfaultfds of other processes
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_POSTCOPY_SHARED_USERFAULTFDS_H
#define MIGRATION_POSTCOPY_SHARED_USERFAULTFDS_H

#include "qemu/thread.h"

/**
 * postcopy_shared_mutex: protects the array postcopy_remote_fds
 *
 * Held to change the array, and while an element is used: when its owner has
 * removed it, no thread uses it or its data any more.
 *
 * Recursive, as a fault's handler may place a page.  Lock order: BQL, this one,
 * page_request_mutex and rp_mutex.
 */
extern QemuRecMutex postcopy_shared_mutex;

/**
 * postcopy_shared_find: find an element of postcopy_remote_fds
 * @fd: its userfaultfd, as in an array for poll()
 *
 * If its owner has closed it, sets @fd to -1, so that it is not polled again:
 * the number may belong to another file now.
 *
 * Context: with postcopy_shared_mutex held.
 * Returns: the element, or NULL.
 */
struct PostCopyFD *postcopy_shared_find(int *fd);

#endif
