/*
 * Post-copy destination: what userfaultfd takes
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_POSTCOPY_USERFAULTFD_H
#define MIGRATION_POSTCOPY_USERFAULTFD_H

#include "qapi/error.h"

/**
 * postcopy_userfaultfd_missing: it could not be opened
 * @err: errno of the attempt
 * @errp: says what is missing, and what would be enough
 */
void postcopy_userfaultfd_missing(int err, Error **errp);

#endif
