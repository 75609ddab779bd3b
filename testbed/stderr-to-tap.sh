#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# stderr-to-tap.sh COMMAND [ARG]...: for L1: runs COMMAND, which reports in the
# TAP format, and makes comments of what it and its children say on standard
# error.  The testbed has one stream for both, and TAP has no place for
# anything else.  Ends with COMMAND's status.

set -u

if [ $# = 0 ]; then
    echo "usage: ${0##*/} COMMAND [ARG]..." >&2
    exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkfifo "$work/stderr" || exit 1
sed -u 's/^/# /' <"$work/stderr" &
status=0
"$@" 2>"$work/stderr" || status=$?
# What it leaves running may still have something to say.
wait
exit "$status"
