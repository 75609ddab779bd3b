/*
 * The testbed's command line
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
    char *initramfs;    /* L1's; NULL: the one built here */
    char *append;       /* more kernel arguments, or NULL */
    char *log;          /* for L1's console; NULL: a temporary file */
    char **fetch;       /* L1PATH=HOSTPATH, NULL-terminated, or NULL */
    char **command;     /* NULL-terminated; NULL: a shell, with shell only */
    int smp;            /* 0: default */
    int memory;         /* MiB; 0: default */
    int timeout;        /* seconds */
    gboolean icount;    /* L1's clock counts instructions */
    gboolean shell;     /* the command gets a terminal */
} Options;

/**
 * options_parse: parse the command line
 * @opts: filled in; free it with options_clear(), also after an error
 * @argv: NULL-terminated, starting with the program's name
 * @errp: set on error
 *
 * Options end at the first word that is not an option, or at "--".
 *
 * Returns: TRUE if @argv is valid.
 */
gboolean options_parse(Options *opts, char **argv, GError **errp);

void options_clear(Options *opts);

/**
 * options_need_l1: do @opts require an L1?
 *
 * If not, the command may run on this machine, provided that its kernel has KVM
 * userfault.
 */
gboolean options_need_l1(const Options *opts);

/**
 * options_split_fetch: split the value of a fetch option
 * @fetch: L1PATH=HOSTPATH
 * @host: set to the part after the first '=', within @fetch
 *
 * Returns: the part before it, to be freed; NULL if either part is missing.
 */
char *options_split_fetch(const char *fetch, const char **host);

#endif
