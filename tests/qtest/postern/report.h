/*
 * The demo's report, as a table and as JSON
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef POSTERN_REPORT_H
#define POSTERN_REPORT_H

#include "migrate.h"
#include "qobject/qdict.h"

/**
 * struct PosternRun - one migration of the demo
 * @mechanism: as in QMP, "userfaultfd" or "kvm-userfault"
 * @done: the members below are valid
 * @stats: statistics of both QEMUs
 * @words_checked: words that the sweep after migration has checked
 * @words_corrupted: words found wrong since the previous migration
 */
typedef struct PosternRun {
    const char *mechanism;
    bool done;
    PosternMigrateStats stats;
    uint64_t words_checked;
    uint64_t words_corrupted;
} PosternRun;

/**
 * postern_report_table() - print the mechanisms side by side
 * @out: the output file
 * @runs: the runs, all of them done
 * @count: how many; with several of a mechanism, each figure is their median,
 *         followed by their minimum and maximum
 */
void postern_report_table(FILE *out, const PosternRun *runs, unsigned count);

/**
 * postern_report_object() - the report as one JSON object
 * @config: of the guest
 * @runs: the runs; those that are not done are left out
 * @count: how many
 * @failure: why the demo failed, or NULL
 *
 * Return: the object, to be unreferenced
 */
QDict *postern_report_object(const PosternVMConfig *config,
                             const PosternRun *runs, unsigned count,
                             const char *failure);

#endif
