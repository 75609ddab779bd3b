/*
 * What this machine's own KVM can do
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTBED_PROBE_H
#define TESTBED_PROBE_H

#include <glib.h>

/**
 * probe_kvm: does /dev/kvm run a guest?
 * @why_not: set to a static text if not
 *
 * Runs a guest, as the device may exist and still not work.
 */
gboolean probe_kvm(const char **why_not);

/**
 * probe_userfault: does /dev/kvm have KVM userfault?
 *
 * Checks the capability, and then creates a memslot with the flag: on another
 * kernel the capability's number could mean something else.
 */
gboolean probe_userfault(void);

/**
 * probe_nested: can a guest of /dev/kvm use KVM itself?
 * @why_not: set to a static text if not
 */
gboolean probe_nested(const char **why_not);

#endif
