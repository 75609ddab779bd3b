#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# run-qtest.sh TESTBED [OPTION]... -- COMMAND...: runs a TAP program in L1.
#
# About one guest in fifty hangs in its firmware on the emulated host, before
# any migration begins (see testbed/README.md).  So what timed out, or died
# with the testbed, is run once more, and says so: the summary of a check
# lists it.  A test that hangs by itself hangs twice, and fails.

output=$(mktemp) || exit 1
trap 'rm -f "$output"' EXIT

status=0
"$@" >"$output" || status=$?
case $status in
124 | 125)
    echo "# tried again: status $status at first (124: timed out, 125: the testbed failed)"
    sed 's/^/# first attempt: /' "$output"
    status=0
    "$@" >"$output" || status=$?
    ;;
esac
cat "$output"
exit "$status"
