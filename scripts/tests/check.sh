#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Tests what check.sh builds before it runs tests.  ninja and Meson are faked.

set -eu
# shellcheck source=scripts/tests/tap.sh
. "$(dirname "$0")/tap.sh"

make_checkout
PATH=$work/bin:$PATH WORK=$work LOG=$top/build/meson/meson-logs/testlog.json
export PATH WORK LOG
mkdir -p "$work/bin" "${LOG%/*}"

cat >"$work/bin/ninja" <<'END'
#!/bin/sh
shift 2
echo "$*" >>"$WORK/built"
case $* in
*"${BROKEN:-nothing}"*) exit 1 ;;
esac
END
# Lists a test of the suites debug-kernel and sanitizer only if asked to.
cat >"$work/bin/meson" <<'END'
#!/bin/sh
case $* in
*--list*)
    echo 'postern:selftest / some_test'
    case $* in
    *debug-kernel*) echo 'postern:debug-kernel / some_test-debug' ;;
    *sanitizer*) echo 'postern:sanitizer / some_test-asan' ;;
    esac
    ;;
*)
    echo '{"name": "some_test", "result": "OK", "returncode": 0, "duration": 1.5, "command": []}' >"$LOG"
    ;;
esac
END
# shellcheck disable=SC2016 # for that script
printf '#!/bin/sh\necho "qemu $1" >>"$WORK/built"\n[ "$1" != "${BROKEN:-}" ]\n' \
    >"$top/scripts/build/qemu.sh"
chmod +x "$work/bin/ninja" "$work/bin/meson" "$top/scripts/build/qemu.sh"

# check [ARGUMENT]...: what it built, its status, and its last line
check() {
    rm -f "$work/built"
    _status=0
    _said=$(sh "$top/scripts/check/check.sh" "$@" 2>&1) || _status=$?
    printf '%s; ' "$(tr '\n' ' ' <"$work/built")" "$_status"
    printf '%s\n' "$_said" | tail -n 1
}

is "by default, the debug kernel is not built" "$(check)" \
    "all meson-test-prereq ; 0; 1 passed, 0 failed"
is "another suite does not build it either" "$(check --suite=selftest)" \
    "all meson-test-prereq ; 0; 1 passed, 0 failed"
is "its own suite builds it" "$(check --suite=debug-kernel)" \
    "all meson-test-prereq linux-debug.stamp ; 0; 1 passed, 0 failed"
is "its own suite builds it, with other options, too" "$(check --suite debug-kernel some_test-debug)" \
    "all meson-test-prereq linux-debug.stamp ; 0; 1 passed, 0 failed"
is "no test runs if the debug kernel does not build" \
    "$(BROKEN=debug check --suite=debug-kernel)" \
    "all meson-test-prereq linux-debug.stamp ; 1; check.sh: the build failed; no test was run"
is "the suite sanitizer builds its QEMUs" "$(check --suite=sanitizer)" \
    "all meson-test-prereq qemu --asan qemu --tsan ; 0; 1 passed, 0 failed"
is "no test runs if one of those does not build" \
    "$(BROKEN=--asan check --suite=sanitizer)" \
    "all meson-test-prereq qemu --asan ; 1; check.sh: the build failed; no test was run"
is "no test runs if anything else does not build" "$(BROKEN=prereq check)" \
    "all meson-test-prereq ; 1; check.sh: the build failed; no test was run"

# A folder above the checkout must not be taken for its repository.
for check in licence upstream places; do
    matches "style: without git, $check does not pass" \
        "$(GIT_CEILING_DIRECTORIES=$work sh "$top/scripts/check/style.sh" "$check" 2>&1 || echo failed)" '^failed$'
done

done_testing
