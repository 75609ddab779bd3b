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

#endif
