#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# series.sh [linux] [qemu]: applies the patches of "make series" to pristine trees
# one by one, and builds QEMU for x86_64 and KVM for x86_64 and arm64 after each.
# Unit tests are run as soon as they exist.

set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=scripts/common.sh
. "$root/scripts/common.sh"
# shellcheck source=scripts/setup/trees.sh
. "$root/scripts/setup/trees.sh"

# Not where "make series" leaves those that are to be sent
patches=$build/check-series
passed=0 failed=0

# in_tree TREE GIT-COMMAND...
in_tree() {
    _src=$build/$1/src
    shift
    git -C "$_src" -c user.name=postern -c user.email=postern@localhost \
        -c gc.auto=0 -c core.autocrlf=false "$@"
}

# pristine KIND: prepares build/KIND-series/src, a repository of upstream's source
pristine() {
    tree=$1-series
    if [ ! -d "$build/$tree/src/.git" ]; then
        rm -rf "$build/$tree/src"
        unpack_again "$1" "$tree"
        in_tree "$tree" init -q
        in_tree "$tree" add -A -f
        in_tree "$tree" commit -q -m upstream
        in_tree "$tree" tag upstream
    fi
    in_tree "$tree" reset -q --hard upstream
    in_tree "$tree" clean -q -d -f -x
}

build_tree() {
    case $1 in
    qemu)
        "$root/scripts/build/qemu.sh" --series build x86_64 &&
            run_unit_tests
        ;;
    linux)
        "$root/scripts/build/linux.sh" linux-series &&
            "$root/scripts/build/linux.sh" linux-series-arm64
        ;;
    esac
}

run_unit_tests() {
    for _test in "$build/qemu-series/src/tests/unit/"*.c; do
        _name=$(basename "$_test" .c)
        [ -e "$root/tests/unit/$_name.c" ] || continue
        logged "series-$_name" "$build/qemu-series/out/tests/unit/$_name" --tap -k ||
            return 1
    done
}

# series KIND
series() {
    for patch in "$patches/$1"/*.patch; do
        name=$1/$(basename "$patch" .patch)
        if ! logged "series-am" in_tree "$1-series" am -q "$patch"; then
            echo "not ok - $name does not apply"
            failed=$((failed + 1))
            return
        fi
        if build_tree "$1" >"$logs/series-build.log" 2>&1; then
            echo "ok - $name"
            passed=$((passed + 1))
        else
            echo "not ok - $name"
            sed 's/^/# /' "$logs/series-build.log"
            failed=$((failed + 1))
        fi
    done
}

mkdir -p "$logs"
GIT_AUTHOR_NAME=postern GIT_AUTHOR_EMAIL=postern@localhost \
    GIT_COMMITTER_NAME=postern GIT_COMMITTER_EMAIL=postern@localhost \
    "$root/scripts/setup/series.sh" "$patches"
[ $# != 0 ] || set -- linux qemu
for kind; do
    pristine "$kind"
    series "$kind"
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
