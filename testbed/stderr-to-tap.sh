#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# stderr-to-tap.sh COMMAND [ARG]...: runs COMMAND, which prints TAP, in L1, and
# turns standard error of it and its children into TAP comments.  The testbed has
# one stream for both, and other lines are not valid TAP.  Ends with COMMAND's
# status.

set -u

if [ $# = 0 ]; then
    echo "usage: ${0##*/} COMMAND [ARG]..." >&2
    exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkfifo "$work/stderr" || exit 1
# As sed -u does, which busybox's does not
while IFS= read -r line || [ -n "$line" ]; do
    printf '# %s\n' "$line"
done <"$work/stderr" &
status=0
"$@" 2>"$work/stderr" || status=$?
# Processes that it left running may still write to standard error.
wait
exit "$status"
