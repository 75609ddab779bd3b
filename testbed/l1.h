/*
 * What L0 and L1 are started with
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTBED_L1_H
#define TESTBED_L1_H

#include <glib.h>

#include "options.h"

typedef struct L1 {
    char *dir;          /* temporary, of this run alone */
    char *exchange;     /* within dir: the folder that L1 shares with us */
    char *log;          /* L1's console and L0's messages */
    char *mark;         /* see stream.h */
} L1;

/**
 * l1_prepare: make the temporary folder, with the scripts that L1 runs
 * @columns: of the terminal, as @rows, if the command gets one
 *
 * l1_clear() is to be called, also after an error.
 */
gboolean l1_prepare(L1 *l1, const Options *opts, int rows, int columns,
                    GError **errp);

/**
 * l1_clear: free @l1
 * @keep: leave the temporary folder, for the log in it
 */
void l1_clear(L1 *l1, gboolean keep);

/**
 * l1_qemu: the command line of L0
 * @stream_fd: the file descriptor in L0 that carries L1's output
 * @kvm: accelerate with KVM, not TCG
 *
 * Returns: a string vector, to be freed.
 */
char **l1_qemu(const L1 *l1, const Options *opts, int stream_fd, gboolean kvm);

/**
 * l1_passes_env: whether the command in L1 sees this variable of ours
 */
gboolean l1_passes_env(const char *name);

/**
 * l1_fetch: put the fetched files where they were asked for
 * @l1: where L1 has put them; NULL: they are L1PATH on this machine
 *
 * Goes on to the next one after an error, of which the last is kept.
 */
gboolean l1_fetch(const L1 *l1, const Options *opts, GError **errp);

#endif
