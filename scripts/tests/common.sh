#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Tests the parts of common.sh for processes that run at the same time.

set -eu
# shellcheck source=scripts/tests/tap.sh
. "$(dirname "$0")/tap.sh"

make_checkout

# script: makes a script that uses common.sh, from standard input
script() {
    {
        printf 'set -eu\nroot=%s\n. "%s/scripts/common.sh"\n' "$top" "$top"
        cat
    } >"$work/script"
}

# ends_soon PID: within some seconds?
ends_soon() {
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        kill -0 "$1" 2>/dev/null || return 0
        sleep 0.5
    done
    return 1
}

yes_or_no() {
    if "$@"; then echo yes; else echo no; fi
}

script <<'END'
exec 9>"$build/some.lock"
flock 9
ticking true >/dev/null 2>&1 &
echo $! >"$build/ticker"
exec 9>&-
flock -w 5 "$build/some.lock" true && echo "lock free"
kill -0 "$(cat "$build/ticker")" && echo "ticker there"
END
is "a ticker does not hold its script's lock" "$(sh "$work/script" | tr '\n' ' ')" \
    "lock free ticker there "
is "a ticker ends when its script is gone" \
    "$(yes_or_no ends_soon "$(cat "$top/build/ticker")")" yes

script <<'END'
printf 'make: Entering\n  CC      one.o\n  LD      two.o\n' >"$build/log"
how_far kernel "$build/log" "$(date +%s)"
echo 1800 >"$build/log.total"
how_far kernel "$build/log" "$(date +%s)"
printf '[7/9] one.o\n' >"$build/ninja"
how_far QEMU "$build/ninja" "$(date +%s)"
END
is "progress: lines, steps of a kernel, those that ninja counts" \
    "$(sh "$work/script" | sed 's/[0-9]* s$/N s/')" \
    "    kernel: 3 steps, N s
    kernel: 2 of about 1800 steps, N s
    QEMU: 7 of 9 steps, N s"
script <<'END'
progress one
progress two
progress_ends
END
is "without a terminal, progress is in lines" "$(sh "$work/script")" "    one
    two"
is "on a terminal, it is in one line, which is empty at the end" \
    "$(command script -qec "sh '$work/script'" /dev/null | tr '\r\033' '<#')" \
    '<#[K    one<#[K    two<#[K'

script <<'END'
exec 9>"$build/some.lock"
lock 9 "another one" 2>&1
END
is "a free lock is taken without a message" "$(sh "$work/script")" ""
is "waiting for a lock is reported" \
    "$(flock "$top/build/some.lock" sleep 1 & sleep 0.3; sh "$work/script")" \
    "    waiting for another one to end"

script <<'END'
lock_build
(lock_build)
echo locked
[ $# = 0 ] || sleep 1
END
is "build/ is locked once, not again by scripts that the script runs" "$(sh "$work/script" 2>&1)" locked
sh "$work/script" hold >/dev/null &
sleep 0.3
is "other scripts wait for the lock of build/" "$(sh "$work/script" 2>&1)" \
    "    waiting for another make or configure, which prepares build/, to end
locked"
wait

done_testing
