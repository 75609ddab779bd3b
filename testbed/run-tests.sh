#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# run-tests.sh SECONDS [--test NAME COMMAND [ARG]...]...: runs one COMMAND after
# the other in L1, so that they share one boot, and reports them as TAP.  A
# COMMAND that prints TAP itself counts by its cases, any other as one case.
#
# A COMMAND fails if its status is not 0, or if it takes longer than SECONDS.  So
# a selftest that skips itself, with status 4, fails as well.

set -u

usage() {
    echo "usage: ${0##*/} SECONDS [--test NAME COMMAND [ARG]...]..." >&2
    exit 2
}

[ $# -ge 4 ] || usage
seconds=$1
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
output=$work/output
reports=$work/reports

# report NAME STATUS: the cases in the output, with the program's name instead of
# numbers.  Other output becomes comments.
report() {
    awk -v name="$1" -v status="$2" '
        /^(not )?ok / {
            cases++
            not = sub(/^not /, "") ? "not " : ""
            failed = failed || not
            sub(/^ok *[0-9]* *(- )?/, "")
            print not "ok - " name ": " $0
            next
        }
        { print "# " $0 }
        END {
            if (status && !failed)
                print "not ok - " name ": status " status
            else if (!cases)
                print "ok - " name
        }' "$output"
}

# run NAME COMMAND [ARG]...
run() {
    name=$1
    shift
    start=$(date +%s)
    status=0
    timeout -k 5 "$seconds" "$@" >"$output" 2>&1 || status=$?
    report "$name" "$status" >"$work/report"
    [ -s "$work/report" ] || echo "not ok - $name: no report" >"$work/report"
    cat "$work/report"
    cat "$work/report" >>"$reports"
    # In GLib's words, for scripts/check/test-summary.py.
    echo "# slow test $name executed in $(($(date +%s) - start)) secs"
}

while [ $# -gt 0 ]; do
    [ "$1" = --test ] || usage
    shift
    words='' i=0
    for word; do
        [ "$word" != --test ] || break
        i=$((i + 1))
        words="$words \"\${$i}\""
    done
    [ "$i" -ge 2 ] || usage
    eval "run $words"
    shift "$i"
done
echo "1..$(grep -c -E '^(not )?ok ' "$reports")"
