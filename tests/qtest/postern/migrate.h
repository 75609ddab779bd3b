/*
 * One post-copy migration, for Postern's demo and tests
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef POSTERN_MIGRATE_H
#define POSTERN_MIGRATE_H

#include "qapi/qapi-types-common.h"
#include "vm.h"

/**
 * struct PosternMigrateOptions - how to migrate
 * @socket: path for the migration's unix socket, does not exist yet
 * @port: TCP port to use on the loopback device instead, unless 0
 * @relay_socket: the source's path to @socket; @socket when NULL
 * @kvm_userfault: capability postcopy-kvm-userfault on the destination; AUTO
 *                 leaves QEMU's default
 * @no_async_pf: turn postcopy-async-pf off on the destination
 * @preempt: capability postcopy-preempt on both sides
 * @max_bandwidth: limit before post-copy, in bytes a second, 0 for QEMU's own
 * @precopy_bytes: start post-copy when that much was sent; the destination then
 *                 has some pages, has old versions of pages that the guest has
 *                 written since, and does not have the others
 * @postcopy_bandwidth: limit for pages that are not requested, in bytes a
 *                      second, 0 for none; gives the guest time for requests
 * @timeout_s: for each step below
 */
typedef struct PosternMigrateOptions {
    const char *socket;
    unsigned port;
    const char *relay_socket;
    OnOffAuto kvm_userfault;
    bool no_async_pf;
    bool preempt;
    uint64_t max_bandwidth;
    uint64_t precopy_bytes;
    uint64_t postcopy_bandwidth;
    unsigned timeout_s;
} PosternMigrateOptions;

/**
 * struct PosternMigrateStats - statistics of both sides after migration
 *
 * total_time_ms to page_requests are from the source's query-migrate, the
 * others from postcopy-faults of the destination's (qapi/migration.json).
 */
typedef struct PosternMigrateStats {
    uint64_t total_time_ms;
    uint64_t downtime_ms;
    uint64_t page_requests;
    bool mechanism_is_kvm;
    uint64_t kvm_exits;
    uint64_t kvm_exits_present;
    uint64_t kvm_exits_accepted;
    uint64_t async_told;
    uint64_t async_halts;
    uint64_t userfaultfd_vcpu;
    uint64_t userfaultfd_async;
    uint64_t userfaultfd_vcpu_host;
    uint64_t userfaultfd_other;
    uint64_t requested;
    uint64_t vcpu_blocked_ns;
    uint64_t guest_wait_ns;
    uint64_t latency_p50_ns;
    uint64_t latency_p99_ns;
} PosternMigrateStats;

/**
 * postern_migrate_begin() - prepare both sides, and begin to migrate
 * @src: where the guest runs
 * @dst: a VM started as incoming, with the same configuration; its QEMU does
 *       not exit if migration fails
 * @options: @socket to @max_bandwidth, and @postcopy_bandwidth, are used
 * @errp: set on failure
 *
 * Return: true when the source has accepted it
 */
bool postern_migrate_begin(PosternVM *src, PosternVM *dst,
                           const PosternMigrateOptions *options, Error **errp);

/**
 * postern_migrate_precopy() - wait until @options->precopy_bytes were sent
 * @src: the source
 * @options: those given to postern_migrate_begin()
 * @errp: set on failure
 *
 * Return: true when they were
 */
bool postern_migrate_precopy(PosternVM *src,
                             const PosternMigrateOptions *options,
                             Error **errp);

/**
 * postern_migrate_switch() - switch to post-copy
 * @src: the source
 * @options: those given to postern_migrate_begin()
 * @errp: set on failure
 *
 * Return: true when the source is in post-copy, or has completed it
 */
bool postern_migrate_switch(PosternVM *src,
                            const PosternMigrateOptions *options,
                            Error **errp);

/**
 * postern_migrate_to_postcopy() - the three functions above, in sequence
 * @src: where the guest runs
 * @dst: a VM started as incoming, with the same configuration
 * @options: how
 * @errp: set on failure
 *
 * Return: true when the source is in post-copy, or has completed it
 */
bool postern_migrate_to_postcopy(PosternVM *src, PosternVM *dst,
                                 const PosternMigrateOptions *options,
                                 Error **errp);

/**
 * postern_migrate_wait() - wait until both sides are done
 * @src: the source
 * @dst: the destination
 * @options: those given to postern_migrate_to_postcopy()
 * @errp: set on failure
 *
 * Return: true when both completed
 */
bool postern_migrate_wait(PosternVM *src, PosternVM *dst,
                          const PosternMigrateOptions *options, Error **errp);

/**
 * postern_migrate_complete() - postern_migrate_wait(), and read statistics
 * @src: the source
 * @dst: the destination
 * @options: those given to postern_migrate_to_postcopy()
 * @stats: filled in on success
 * @errp: set on failure
 *
 * Return: true when both completed
 */
bool postern_migrate_complete(PosternVM *src, PosternVM *dst,
                              const PosternMigrateOptions *options,
                              PosternMigrateStats *stats, Error **errp);

#endif
