/*
 * What Postern's programs have in common: steps with a time limit, and an end
 * with a reason
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef POSTERN_PROGRAM_H
#define POSTERN_PROGRAM_H

#include "qapi/error.h"

/**
 * postern_program_init() - take over what libqtest would do with a failure
 * @name: of the program, a static string
 * @step_limit_s: how long a step may take, in seconds
 * @cleanup: called by postern_program_fail(), with its reason
 *
 * libqtest aborts when a QEMU dies under its hands, and waits without limit
 * for the answer of one that hangs; from now on both end the program with a
 * message that has the step in it.
 */
void postern_program_init(const char *name, unsigned step_limit_s,
                          void (*cleanup)(const char *reason));

/**
 * postern_program_take_abort() - only this much of postern_program_init()
 * @handler: called when libqtest aborts; must end the process
 *
 * libqtest's log of command lines goes nowhere from then on, too.
 */
void postern_program_take_abort(void (*handler)(int signum));

/**
 * postern_program_show_log() - print a file on stderr, if there is one
 * @path: where QEMU's messages went
 */
void postern_program_show_log(const char *path);

/**
 * postern_program_step() - begin a step, and say so
 * @fmt: what it does
 */
void postern_program_step(const char *fmt, ...) G_GNUC_PRINTF(1, 2);

/**
 * postern_program_fail() - end the program with @reason
 *
 * QEMUs that still run die with this process: libqtest has asked for that.
 */
void G_NORETURN postern_program_fail(const char *reason);

/**
 * postern_program_fail_if() - likewise, if there is an error
 */
void postern_program_fail_if(Error *err);

#endif
