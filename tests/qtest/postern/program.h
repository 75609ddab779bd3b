/*
 * What Postern's programs share: steps with a time limit, and failure with a
 * reason
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef POSTERN_PROGRAM_H
#define POSTERN_PROGRAM_H

#include "qapi/error.h"

/**
 * postern_program_init() - handle failures in place of libqtest
 * @name: of the program, a static string
 * @step_limit_s: how long a step may take, in seconds
 * @cleanup: called by postern_program_fail(), with its reason
 *
 * libqtest aborts if a QEMU dies, and waits for ever for the answer of one that
 * hangs.  From now on, both end the program with a message that names the step.
 */
void postern_program_init(const char *name, unsigned step_limit_s,
                          void (*cleanup)(const char *reason));

/**
 * postern_program_take_abort() - handle only aborts in place of libqtest
 * @handler: called when libqtest aborts; must end the process
 *
 * This also discards libqtest's log of command lines.
 */
void postern_program_take_abort(void (*handler)(int signum));

/**
 * postern_program_show_log() - print a file on stderr, if it exists
 * @path: the file of QEMU's messages
 */
void postern_program_show_log(const char *path);

/**
 * postern_program_step() - begin a step, and print it
 * @fmt: its description
 */
void postern_program_step(const char *fmt, ...) G_GNUC_PRINTF(1, 2);

/**
 * postern_program_fail() - end the program with @reason
 *
 * QEMUs that still run die with this process: libqtest has requested that.
 */
void G_NORETURN postern_program_fail(const char *reason);

/**
 * postern_program_fail_if() - end the program if there is an error
 */
void postern_program_fail_if(Error *err);

#endif
