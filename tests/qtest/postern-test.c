/*
 * Postern's test cases that need KVM: post-copy and memslots
 *
 * The guest is that of migration-test: a boot sector that walks through
 * 100 MiB and increments a byte in each page, so that lost and stale pages are
 * found (walker.h).  The groups async-pf and memory-users boot Linux
 * instead; environment variables say where it is.  Run this in the testbed.
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "postern/test-util.h"

int main(int argc, char **argv)
{
    MigrationTestEnv *env;
    int ret;

    /* The relay writes to sockets of killed processes */
    signal(SIGPIPE, SIG_IGN);
    g_test_init(&argc, &argv, NULL);
    env = migration_get_env();
    if (!env->has_kvm || !env->has_uffd) {
        g_printerr("postern-test: needs KVM and userfaultfd;"
                   " run it in the testbed\n");
        return 1;
    }

    add_async_pf_cases();
    add_capability_cases(env);
    add_postcopy_cases();
    add_memory_backends_cases();
    add_stream_errors_cases();
    add_completion_errors_cases();
    add_vm_lifecycle_cases();
    add_slot_changes_cases();
    add_memory_users_cases();
    add_memslot_limits_cases();

    ret = g_test_run();
    migration_env_clean(env);
    return ret;
}
