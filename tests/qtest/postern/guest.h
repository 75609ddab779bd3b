/*
 * The guest's memory program (testbed/guest/postern-guest.c), seen from
 * outside through its console
 *
 * All functions fail at once, and not only at the end of their time, when
 * QEMU ends, the vCPUs stop or the guest's kernel panics.
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
 * @words: set to how many words it fills; may be NULL
 * @errp: set on failure
 *
 * Return: true when it is ready
 */
bool postern_guest_wait_ready(PosternVM *vm, unsigned timeout_s,
                              uint64_t *words, Error **errp);

/**
 * postern_guest_wait_alive() - wait until each vCPU did some work
 * @vm: where the guest runs now
 * @ops: how much each vCPU must do from now on, in words checked
 * @timeout_s: how long to wait
 * @errp: set on failure
 *
 * Return: true when all did
 */
bool postern_guest_wait_alive(PosternVM *vm, uint64_t ops, unsigned timeout_s,
                              Error **errp);

/**
 * postern_guest_sweep() - have the program check all its words
 * @vm: where the guest runs now
 * @timeout_s: how long to wait
 * @bad: set to the number of wrong words found since the guest booted, be it
 *       in a sweep or at random
 * @errp: set on failure; wrong words are not a failure of this function
 *
 * Return: true when @bad is valid
 */
bool postern_guest_sweep(PosternVM *vm, unsigned timeout_s, uint64_t *bad,
                         Error **errp);

/**
 * postern_guest_pause() - have the program do only what it is told to
 * @vm: where the guest runs now
 * @errp: set on failure
 *
 * Return: true when it was told so
 */
bool postern_guest_pause(PosternVM *vm, Error **errp);

/**
 * postern_guest_walk() - have it use each page once
 * @vm: where the guest runs now
 * @timeout_s: how long to wait
 * @pages: set to how many that were
 * @errp: set on failure
 *
 * Return: true when it has
 */
bool postern_guest_walk(PosternVM *vm, unsigned timeout_s, uint64_t *pages,
                        Error **errp);

/**
 * struct PosternGuestWaits - what the program's operations came to
 * @us: from the mark to the stop, in microseconds of the guest's clock
 * @ops: operations
 * @waits: how many of them waited: took as long as "postern.time=" says
 * @wait_us: how long those took together, in microseconds
 * @p50_us: of them
 * @p99_us: of them
 *
 * An operation uses a word, and another one that lies elsewhere.
 */
typedef struct PosternGuestWaits {
    uint64_t us;
    uint64_t ops;
    uint64_t waits;
    uint64_t wait_us;
    uint64_t p50_us;
    uint64_t p99_us;
} PosternGuestWaits;

/**
 * postern_guest_mark() - have the program begin to count
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
 * postern_guest_stop() - have it stop what it counts, at once
 * @vm: where the guest runs now, with all of its memory
 * @stop: where the guest looks for it
 *
 * The guest's console answers only when those who use memory leave it some time.
 */
void postern_guest_stop(PosternVM *vm, uint64_t stop);

/**
 * postern_guest_tell() - what it counted since the mark
 * @vm: where the guest runs now, and was told to stop
 * @timeout_s: how long to wait
 * @stop: as before; the program goes on after this
 * @waits: filled in
 * @errp: set on failure
 *
 * Return: true when @waits is valid
 */
bool postern_guest_tell(PosternVM *vm, unsigned timeout_s, uint64_t stop,
                        PosternGuestWaits *waits, Error **errp);

/**
 * postern_guest_disk() - how the program gets on with its disk
 * @vm: where the guest runs now; with "postern.disk=1"
 * @timeout_s: how long to wait
 * @ops: set to the number of requests that were served
 * @bad: set to that of pages that were wrong, or could not be had
 * @errp: set on failure
 *
 * Return: true when both are valid
 */
bool postern_guest_disk(PosternVM *vm, unsigned timeout_s, uint64_t *ops,
                        uint64_t *bad, Error **errp);

/**
 * postern_guest_use_more() - have it use 32 MiB besides, for a while
 * @vm: where the guest runs now
 * @timeout_s: how long to wait
 * @bad: set to the number of words that were wrong
 * @errp: set on failure
 *
 * Return: true when @bad is valid
 */
bool postern_guest_use_more(PosternVM *vm, unsigned timeout_s, uint64_t *bad,
                            Error **errp);

#endif
