/*
 * postern-test: the messages of QEMUs, for the log of a failed test
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef POSTERN_MESSAGES_H
#define POSTERN_MESSAGES_H

#include "libqtest.h"

/**
 * watch_messages: create a file for QEMU's messages, which is printed if the
 * test fails
 *
 * Returns: its path; unlink and free it when all QEMUs have started.
 */
char *watch_messages(void);

/** has_said: do the last messages contain @what? */
bool has_said(const char *what);

/** messages_show_state: log the state of a VM in which a wait has timed out */
void messages_show_state(QTestState *who);

#endif
