/*
 * The guest's memory program (testbed/guest/postern-guest.c), controlled
 * through its console
 *
 * All functions fail at once if QEMU exits, the vCPUs stop or the guest's
 * kernel panics.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef POSTERN_GUEST_H
#define POSTERN_GUEST_H

#include "vm.h"

/**
 * postern_guest_wait_ready() - wait until the program has filled its memory
 * @vm: where the guest boots
 * @timeout_s: how long to wait
 * @words: set to the number of words that it fills; may be NULL
 * @errp: set on failure
 *
 * Return: true when it is ready
 */
bool postern_guest_wait_ready(PosternVM *vm, unsigned timeout_s,
                              uint64_t *words, Error **errp);

/**
 * postern_guest_wait_alive() - wait until each vCPU has done some work
 * @vm: where the guest runs now
 * @ops: the number of words that each vCPU must check from now on
 * @timeout_s: how long to wait
 * @errp: set on failure
 *
 * Return: true when all have done so
 */
bool postern_guest_wait_alive(PosternVM *vm, uint64_t ops, unsigned timeout_s,
                              Error **errp);

/**
 * postern_guest_sweep() - make the program check all its words
 * @vm: where the guest runs now
 * @timeout_s: how long to wait
 * @bad: set to the number of wrong words that the program has found since the
 *       guest booted, in sweeps and at random
 * @errp: set on failure; wrong words are not a failure of this function
 *
 * Return: true when @bad is valid
 */
bool postern_guest_sweep(PosternVM *vm, unsigned timeout_s, uint64_t *bad,
                         Error **errp);

/**
 * postern_guest_pause() - make the program idle, except for commands
 * @vm: where the guest runs now
 * @errp: set on failure
 *
 * Return: true when the command was sent
 */
bool postern_guest_pause(PosternVM *vm, Error **errp);

/**
 * postern_guest_walk() - make the program use each page once
 * @vm: where the guest runs now
 * @timeout_s: how long to wait
 * @pages: set to the number of pages
 * @errp: set on failure
 *
 * Return: true when it has
 */
bool postern_guest_walk(PosternVM *vm, unsigned timeout_s, uint64_t *pages,
                        Error **errp);

/**
 * struct PosternGuestWaits - the program's operations from the mark to the stop
 * @us: the time for which it ran, in microseconds of the guest's clock
 * @ops: number of operations
 * @waits: number of operations that took at least as long as "postern.time="
 * says
 * @wait_us: the sum of their times, in microseconds
 * @p50_us: the median of their times
 * @p99_us: the 99th percentile of their times
 * @work: how far the guest's other threads counted; with "postern.work="
 *
 * An operation uses two words in different places.
 */
typedef struct PosternGuestWaits {
    uint64_t us;
    uint64_t ops;
    uint64_t waits;
    uint64_t wait_us;
    uint64_t p50_us;
    uint64_t p99_us;
    uint64_t work;
} PosternGuestWaits;

/**
 * postern_guest_mark() - make the program begin to count
 * @vm: where the guest runs now; with "postern.time="
 * @timeout_s: how long to wait
 * @stop: set to a physical address, for postern_guest_stop()
 * @errp: set on failure
 *
 * Return: true when it has
 */
bool postern_guest_mark(PosternVM *vm, unsigned timeout_s, uint64_t *stop,
                        Error **errp);

/**
 * postern_guest_stop() - make the program stop counting, at once
 * @vm: where the guest runs now, with all of its memory
 * @stop: the address that the guest polls
 *
 * A command on the console would take effect only when the threads that use
 * memory leave it some time.
 */
void postern_guest_stop(PosternVM *vm, uint64_t stop);

/**
 * postern_guest_tell() - read what the program has counted since the mark
 * @vm: where the guest runs now, after postern_guest_stop()
 * @timeout_s: how long to wait
 * @stop: as before; the program continues after this
 * @waits: filled in
 * @errp: set on failure
 *
 * Return: true when @waits is valid
 */
bool postern_guest_tell(PosternVM *vm, unsigned timeout_s, uint64_t stop,
                        PosternGuestWaits *waits, Error **errp);

/**
 * postern_guest_disk() - read the program's statistics of its disk
 * @vm: where the guest runs now; with "postern.disk=1"
 * @timeout_s: how long to wait
 * @ops: set to the number of completed requests
 * @bad: set to the number of pages that were wrong or could not be read
 * @errp: set on failure
 *
 * Return: true when both are valid
 */
bool postern_guest_disk(PosternVM *vm, unsigned timeout_s, uint64_t *ops,
                        uint64_t *bad, Error **errp);

/**
 * postern_guest_use_more() - make the program use another 32 MiB for a while
 * @vm: where the guest runs now
 * @timeout_s: how long to wait
 * @bad: set to the number of wrong words among them
 * @errp: set on failure
 *
 * Return: true when @bad is valid
 */
bool postern_guest_use_more(PosternVM *vm, unsigned timeout_s, uint64_t *bad,
                            Error **errp);

/**
 * struct PosternGuestApf - the first vCPU's MSRs of KVM's async page faults
 * @en: MSR_KVM_ASYNC_PF_EN
 * @interrupt: MSR_KVM_ASYNC_PF_INT
 */
typedef struct PosternGuestApf {
    uint64_t en;
    uint64_t interrupt;
} PosternGuestApf;

/**
 * postern_guest_apf() - read these MSRs
 * @vm: where the guest runs now
 * @timeout_s: how long to wait
 * @apf: filled in
 * @errp: set on failure
 *
 * Return: true when @apf is valid
 */
bool postern_guest_apf(PosternVM *vm, unsigned timeout_s, PosternGuestApf *apf,
                       Error **errp);

/**
 * postern_guest_load() - load the kernel that is on the first virtio disk, with
 * the initramfs that is on the second
 * @vm: where the guest runs now
 * @timeout_s: how long to wait
 * @errp: set on failure
 *
 * Return: true when it has
 */
bool postern_guest_load(PosternVM *vm, unsigned timeout_s, Error **errp);

/**
 * postern_guest_kexec() - boot the loaded kernel
 * @vm: where the guest runs now
 * @timeout_s: how long to wait until the program has filled its memory again
 * @errp: set on failure
 *
 * Return: true when it has
 */
bool postern_guest_kexec(PosternVM *vm, unsigned timeout_s, Error **errp);

#endif
