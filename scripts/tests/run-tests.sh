#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Tests what testbed/run-tests.sh reports of the programs that it runs, and
# testbed/stderr-to-tap.sh of one.

set -eu
# shellcheck source=scripts/tests/tap.sh
. "$(dirname "$0")/tap.sh"

run_tests=$scripts/../testbed/run-tests.sh

run() {
    _status=0
    # Times differ in each run.
    sh "$run_tests" 2 "$@" >"$work/said" 2>&1 || _status=$?
    sed '/^# slow test [^ ]* executed in [0-9]* secs$/d' "$work/said"
    echo "status $_status"
}

is "one case for each program" \
    "$(run --test one true --test two printf '%s|' 'a  b' c)" "ok - one
# a  b|c|
ok - two
1..2
status 0"
matches "times are reported" "$(cat "$work/said")" \
    '^# slow test two executed in [0-9]+ secs$'
is "a program's own cases get its name" \
    "$(run --test own printf '1..2\nok 1 first\nok 2 - second # SKIP not here\n')" \
    "# 1..2
ok - own: first
ok - own: second # SKIP not here
1..2
status 0"
is "a failed case is not counted twice" \
    "$(run --test own sh -c 'echo not ok 1 first; exit 1' --test next true)" \
    "not ok - own: first
ok - next
1..2
status 0"
is "a program that fails after its cases has one more case" \
    "$(run --test own sh -c 'echo ok 1 first; exit 3')" "ok - own: first
not ok - own: status 3
1..2
status 0"
is "a selftest that skips itself fails" "$(run --test skips sh -c 'exit 4')" \
    "not ok - skips: status 4
1..1
status 0"
is "a program that hangs fails" "$(run --test hangs sleep 20)" \
    "not ok - hangs: status 124
1..1
status 0"
is "a program that does not exist fails" "$(run --test none /none 2>&1 | grep -v '^#')" \
    "not ok - none: status 127
1..1
status 0"
mkdir "$work/bin"
printf '#!/bin/sh\nexit 1\n' >"$work/bin/awk"
chmod +x "$work/bin/awk"
is "a program without a report fails" \
    "$(PATH=$work/bin:$PATH run --test one true)" "not ok - one: no report
1..1
status 0"
matches "usage: nothing to run" "$(run)" '^status 2$'
matches "usage: a name without a command" "$(run --test one true --test two)" '^status 2$'

is "standard error becomes TAP comments" \
    "$(sh "$scripts/../testbed/stderr-to-tap.sh" \
        sh -c 'echo ok 1 first; sleep 0.2; echo broken >&2; exit 3' ||
        echo "status $?")" "ok 1 first
# broken
status 3"
is "half a line of standard error is not mixed with TAP" \
    "$(sh "$scripts/../testbed/stderr-to-tap.sh" \
        sh -c 'printf half >&2; sleep 0.2; echo ok 1 first')" "ok 1 first
# half"

done_testing
