/*
 * postern-test: one migration of a guest that runs Linux
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "qemu/units.h"
#include "qapi/error.h"
#include "migration/migration-qmp.h"
#include "migration/migration-util.h"
#include "test-util.h"
#include "trip.h"

const char * const side_names[SIDES] = { "source", "destination" };

char *trip_own_path(const char *name, Side side)
{
    return g_strdup_printf("%s/%s-%s", migration_get_env()->tmpfs, name,
                           side_names[side]);
}

const char *trip_environment(const char *name)
{
    const char *value = g_getenv(name);

    if (!value) {
        g_error("%s is not set; see the test in Postern's meson.build", name);
    }
    return value;
}

void trip_boot(Trip *trip, char *source, char *destination, const char *append)
{
    trip->arguments[SOURCE] = source;
    trip->arguments[DESTINATION] = destination;
    if (!trip->messages) {
        trip->messages = watch_messages();
    }
    for (Side side = 0; side < SIDES; side++) {
        trip->configs[side] = (PosternVMConfig) {
            .kernel = trip_environment("POSTERN_KERNEL"),
            .initrd = trip_environment("POSTERN_GUEST"),
            .extra_args = trip->arguments[side],
            .append = append,
            .log = trip->messages,
            .memory_mib = trip->memory_mib ?: MEMORY_MIB,
            .vcpus = trip->vcpus ?: 1,
            .cpu = trip->cpu,
        };
    }
    trip->vms[SOURCE] = postern_vm_start(side_names[SOURCE],
                                         &trip->configs[SOURCE], false,
                                         &error_abort);
    postern_guest_wait_ready(trip->vms[SOURCE], TIMEOUT_S, NULL, &error_abort);
}

void trip_switch(Trip *trip)
{
    trip->socket = g_strdup_printf("%s/migration", migration_get_env()->tmpfs);
    trip->options = (PosternMigrateOptions) {
        .socket = trip->socket,
        .kvm_userfault = trip->upstream_way ? ON_OFF_AUTO_OFF : ON_OFF_AUTO_ON,
        .preempt = trip->upstream_way,
        .max_bandwidth = 4 * MiB,
        /*
         * QEMU checks the limit after it has flushed a buffer.  That is 32
         * pages every 0.1 s, or some thousands of zero pages.
         */
        .postcopy_bandwidth = 10,
        .timeout_s = TIMEOUT_S,
    };
    trip->vms[DESTINATION] = postern_vm_start(side_names[DESTINATION],
                                              &trip->configs[DESTINATION],
                                              true, &error_abort);
    postern_migrate_to_postcopy(trip->vms[SOURCE], trip->vms[DESTINATION],
                                &trip->options, &error_abort);
    wait_for_guest_faults(trip->vms[DESTINATION]->qts, 20);
}

void trip_let_go(Trip *trip)
{
    migrate_set_parameter_int(trip->vms[SOURCE]->qts, "max-postcopy-bandwidth",
                              0);
}

void trip_check(PosternVM *vm)
{
    uint64_t bad;

    postern_guest_wait_alive(vm, 500, TIMEOUT_S, &error_abort);
    postern_guest_sweep(vm, TIMEOUT_S, &bad, &error_abort);
    g_assert_cmpuint(bad, ==, 0);
}

void trip_free(Trip *trip)
{
    for (Side side = 0; side < SIDES; side++) {
        postern_vm_stop(trip->vms[side]);
        g_free(trip->arguments[side]);
    }
    unlink(trip->messages);
    unlink(trip->socket);
    g_free(trip->messages);
    g_free(trip->socket);
}

void trip_end(Trip *trip)
{
    PosternVM *dst = trip->vms[DESTINATION];
    PosternMigrateStats stats;

    /* The test has done everything in the middle of post-copy */
    if (!trip->may_complete) {
        wait_for_migration_status(dst->qts, "postcopy-active",
                                  (const char * []) { "completed", NULL });
    }
    trip_let_go(trip);
    postern_migrate_complete(trip->vms[SOURCE], dst, &trip->options, &stats,
                             &error_abort);
    g_assert_cmpint(stats.mechanism_is_kvm, ==, !trip->upstream_way);
    g_assert_cmpint(stats.kvm_exits > 0, ==, !trip->upstream_way);
    if (!trip->resets) {
        g_assert_cmpint(stats.userfaultfd_vcpu > 0, ==, trip->upstream_way);
    }
    trip_check(dst);
    trip_free(trip);
}
