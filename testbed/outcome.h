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
    int status;         /* the command's, as in a shell; -1: unknown */
    int signal;         /* ended the harness; 0: none did */
    int timeout;        /* seconds, for the message */
    int l0_wait_status; /* from waitpid(), valid with l0_ended */
    gboolean started;   /* L1 has started the command */
    gboolean timed_out;
    gboolean l0_ended;  /* on its own */
    const char *last_words; /* outcome_last_words(), or NULL */
} Outcome;

/**
 * outcome_status: the testbed's exit status
 * @o: what is known about the run
 * @why: set to an explanation, to be freed; NULL if the status is the command's
 */
int outcome_status(const Outcome *o, char **why);

/**
 * outcome_last_words: the most telling line of L1's console
 * @console: all of its output
 *
 * Returns: the line about a panic, else the last line, to be freed; NULL if
 * there is none.
 */
char *outcome_last_words(const char *console);

#endif
