/*
 * How a run in L1 ended, and what the testbed says about it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTBED_OUTCOME_H
#define TESTBED_OUTCOME_H

#include <glib.h>

enum {
    OUTCOME_TIMED_OUT = 124,
    OUTCOME_TESTBED_FAILED = 125,
};

typedef struct Outcome {
    int status;         /* the command's, as a shell gives it; -1: unknown */
    int signal;         /* that ended the harness; 0: none */
    int timeout;        /* seconds, for the message */
    int l0_wait_status; /* as of waitpid(), valid with l0_ended */
    gboolean started;   /* L1 said that it starts the command */
    gboolean timed_out;
    gboolean l0_ended;  /* on its own */
    const char *last_words; /* of L1's console, or NULL */
} Outcome;

/**
 * outcome_status: the status to exit with
 * @o: what is known
 * @why: set to a text to be freed where that is not the command's own status
 */
int outcome_status(const Outcome *o, char **why);

/**
 * outcome_last_words: the line of L1's console to look at first
 * @console: all of it
 *
 * Returns: the line about a panic, else the last one, to be freed; NULL where
 * there is none.
 */
char *outcome_last_words(const char *console);

#endif
