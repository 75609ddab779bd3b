/*
 * What the testbed is asked to do
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTBED_OPTIONS_H
#define TESTBED_OPTIONS_H

#include <glib.h>

#include "arch.h"

typedef struct Options {
    const Arch *arch;   /* L1's */
    char *kernel;       /* L1's kernel; NULL: the one built here */
    char *append;       /* more kernel arguments, or NULL */
    char *log;          /* where L1's console goes; NULL: a temporary file */
    char **fetch;       /* L1PATH=HOSTPATH, NULL-terminated, or NULL */
    char **command;     /* NULL-terminated; NULL: a shell, with shell only */
    int smp;            /* 0: not said */
    int memory;         /* MiB; 0: not said */
    int timeout;        /* seconds */
    gboolean icount;    /* L1's clock counts instructions */
    gboolean shell;     /* the command gets a terminal */
} Options;

/**
 * options_parse: read the command line
 * @opts: filled in; options_clear() frees it, also after an error
 * @argv: NULL-terminated, starting with the program's name
 * @errp: set on error
 *
 * Options end at the first word that is none, or at "--".
 *
 * Returns: whether @argv makes sense.
 */
gboolean options_parse(Options *opts, char **argv, GError **errp);

void options_clear(Options *opts);

/**
 * options_need_l1: whether @opts ask for something that only L1 gives
 *
 * Otherwise the command may run on this very machine, if its kernel can do
 * what is to be tested.
 */
gboolean options_need_l1(const Options *opts);

/**
 * options_split_fetch: take one fetch option apart
 * @fetch: L1PATH=HOSTPATH
 * @host: set to the part after the first '=', within @fetch
 *
 * Returns: the part before it, to be freed; NULL where one of them is missing.
 */
char *options_split_fetch(const char *fetch, const char **host);

#endif
