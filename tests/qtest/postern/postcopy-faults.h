/*
 * postern-test: the statistics of page faults in query-migrate
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef POSTERN_POSTCOPY_FAULTS_H
#define POSTERN_POSTCOPY_FAULTS_H

#include "libqtest.h"
#include "qobject/qdict.h"

/** query_faults: the member postcopy-faults of query-migrate, or NULL */
QDict *query_faults(QTestState *who);

/** faults_get: the number @member of postcopy-faults */
uint64_t faults_get(QTestState *who, const char *member);

/** check_faults: check postcopy-faults after migration; @kvm: the mechanism */
void check_faults(QTestState *to, bool kvm);

/** guest_faults: the number of faults of the guest */
uint64_t guest_faults(QTestState *who);

/** wait_for_guest_faults: wait until the guest has had @goal faults */
void wait_for_guest_faults(QTestState *who, uint64_t goal);

/** wait_for_requests: wait until @more pages have been requested from now on */
void wait_for_requests(QTestState *who, unsigned more);

#endif
