/*
 * Exits with 0 where this machine's KVM runs a guest
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdio.h>

#include "probe.h"

int main(void)
{
    const char *why_not;

    if (!probe_kvm(&why_not)) {
        puts(why_not);
        return 1;
    }
    return 0;
}
