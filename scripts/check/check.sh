#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# check.sh [OPTION-OF-MESON-TEST]...: builds everything, runs the tests, a few at a
# time, and sums up.  With --suite=NAME or names of tests, runs only those.

set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=scripts/common.sh
. "$root/scripts/common.sh"

# Each test boots a machine of its own, with some gigabytes of memory.
processes=2

cd "$root"
build() {
    ninja -C "$build/meson" "$@" || die "the build failed; no test was run"
}

# runs SUITE: does Meson run one of its tests?
runs() {
    printf '%s\n' "$listed" | grep -q ":$1"
}

build all meson-test-prereq
# Meson builds the dependencies of all tests for any test.  So the tests of these
# suites do not depend on what they alone need; it is built here.
listed=$(meson test -C "$build/meson" --no-rebuild --list "$@" 2>/dev/null) || listed=
case " $* " in
*' --suite=aarch64 '*)
    has_target aarch64 || die "aarch64-softmmu is not in configure's --target-list"
    ;;
esac
if runs aarch64; then
    build aarch64
fi
if runs debug-kernel; then
    build linux-debug.stamp
fi
if runs sanitizer; then
    for variant in --asan --tsan; do
        "$root/scripts/build/qemu.sh" $variant build x86_64 ||
            die "the build failed; no test was run"
    done
fi

testlog=$build/meson/meson-logs/testlog.json
rm -f "$testlog"
rm -rf "$logs/tests"
# The summary reports failures.
status=0
meson test -C "$build/meson" --no-rebuild --num-processes "$processes" "$@" || status=$?
[ -f "$testlog" ] || die "no test was run"
python3 "$root/scripts/check/test-summary.py" "$testlog" "$logs/tests" "$status"
