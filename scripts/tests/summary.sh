#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Tests what test-summary.py makes of Meson's log.

set -eu
# shellcheck source=scripts/tests/tap.sh
. "$(dirname "$0")/tap.sh"

# entry NAME RESULT STATUS OUTPUT: a line of Meson's log
entry() {
    printf '{"name": "%s", "result": "%s", "returncode": %s, "stdout": "%s", ' "$@"
    printf '"duration": 1.5, "command": ["true"]}\n'
}

# summary [STATUS]: with this status of "meson test"
summary() {
    python3 "$scripts/check/test-summary.py" "$work/log" "$work/logs" "${1:-0}" || echo "status $?"
}

{
    entry plain OK 0 'whatever'
    entry timed OK 0 '# slow test /a/three executed in 20.25 secs\\nok 1 /a/three\\n'
    entry cases OK 0 'ok 1 /a/one\nok 2 /a/two # SKIP no such thing here\n1..2\n'
    entry missing SKIP 77 'setting up\n1..0 # SKIP needs more\n'
} >"$work/log"
said=$(summary 2)
matches "a run that broke off is reported as failed" "$said" 'meson test: ended with status 2'
matches "a run that broke off: status 1" "$said" '^status 1$'
said=$(summary)
is "cases are counted one by one" "$(printf '%s\n' "$said" | tail -n 1)" \
    "3 passed, 0 failed"
is "the slowest first, by case if the program reports times" \
    "$(printf '%s\n' "$said" | sed -n '/^slowest:/,/ cases$/p')" "slowest:
      20.2 s  timed: /a/three
       1.5 s  plain
       1.5 s  missing
       1.5 s  cases"
matches "a skipped case with its reason" "$said" 'cases: /a/two: no such thing here'
matches "a skipped program with its reason" "$said" 'missing: .*needs more'

{
    entry plain OK 0 ''
    entry cases FAIL 1 'ok 1 /a/one\nnot ok 2 /a/two\nnot ok 3 /a/three\nBail out!\n'
    entry died ERROR 125 'ok 1 /b/one\n'
    entry reported FAIL 123 ''
    entry abort ERROR 134 'ok 1 /c/one\nBail out! it was so\n'
    entry slow TIMEOUT -9 ''
    entry nothing SKIP 0 'TAP version 13\n1..0\n'
} >"$work/log"
said=$(summary 1)
matches "failures are counted" "$said" '^4 passed, 7 failed$'
matches "a program without such a case" "$said" 'nothing: no such test case'
matches "a failed case" "$said" 'cases: /a/two'
matches "a testbed that died" "$said" 'died: the testbed itself failed'
matches "a kernel that reported a mistake" "$said" "reported: L1's kernel reported a mistake"
matches "a program that bailed out, with its message" "$said" 'abort: Bail out! it was so'
matches "a program that hung" "$said" 'slow: no end after'
matches "failures: status 1" "$said" '^status 1$'
matches "the end of a failed program's output" "$said" '^ *| not ok 2 /a/two$'
is "that output only once, however many of its cases failed" \
    "$(printf '%s\n' "$said" | grep -c '| Bail out!$')" 1

: >"$work/log"
matches "no test at all: status 1" "$(summary)" '^status 1$'

done_testing
