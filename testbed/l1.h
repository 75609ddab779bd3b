/*
 * L1: L0's command line, and the scripts and files that both exchange
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTBED_L1_H
#define TESTBED_L1_H

#include <glib.h>

#include "options.h"

typedef struct L1 {
    char *dir;          /* temporary, for this run alone */
    char *exchange;     /* within dir: the folder that L1 shares with us */
    char *log;          /* L1's console and L0's messages */
    char *mark;         /* see stream.h */
} L1;

/**
 * l1_prepare: create the temporary folder, with the scripts that L1 runs
 * @rows, @columns: size of the terminal, if the command gets one
 *
 * Call l1_clear() afterwards, also after an error.
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
 * l1_passes_env: is this environment variable passed to the command in L1?
 */
gboolean l1_passes_env(const char *name);

/**
 * l1_fetch: copy the fetched files to their destinations
 * @l1: the L1 that has left them in the exchange folder; NULL if the command
 *      ran on this machine
 *
 * Continues after an error; @errp gets the last one.
 */
gboolean l1_fetch(const L1 *l1, const Options *opts, GError **errp);

#endif
