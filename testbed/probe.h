/*
 * What this machine's own KVM can do
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTBED_PROBE_H
#define TESTBED_PROBE_H

#include <glib.h>

/**
 * probe_kvm: whether /dev/kvm runs a guest
 * @why_not: set to a static text where it does not
 *
 * Runs one, since a device that is there may still be of no use.
 */
gboolean probe_kvm(const char **why_not);

/**
 * probe_userfault: whether /dev/kvm knows KVM userfault
 *
 * Asks for the capability and confirms with a memory slot that the flag is
 * taken: the number could mean something else on another kernel.
 */
gboolean probe_userfault(void);

/**
 * probe_nested: whether a guest of /dev/kvm can use KVM itself
 * @why_not: set to a static text where it cannot
 */
gboolean probe_nested(const char **why_not);

#endif
