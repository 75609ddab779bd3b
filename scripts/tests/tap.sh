# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
#
# Functions for tests in shell, which report cases as TAP.  To be sourced.

cases=0
scripts=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# is CASE GOT WANTED
is() {
    cases=$((cases + 1))
    if [ "$2" = "$3" ]; then
        echo "ok $cases - $1"
        return 0
    fi
    echo "not ok $cases - $1"
    printf '%s\n' "got:" "$2" "wanted:" "$3" | sed 's/^/# /'
}

# matches CASE GOT PATTERN: GOT has a line that matches
matches() {
    cases=$((cases + 1))
    if printf '%s\n' "$2" | grep -qE -- "$3"; then
        echo "ok $cases - $1"
        return 0
    fi
    echo "not ok $cases - $1"
    printf '%s\n' "got:" "$2" "wanted: $3" | sed 's/^/# /'
}

# skip CASE REASON: leaves the case out; the summary lists it
skip() {
    cases=$((cases + 1))
    echo "ok $cases - $1 # SKIP $2"
}

# make_checkout: copies the scripts to a checkout of their own, $top
make_checkout() {
    top=$work/checkout
    mkdir -p "$top/build/qemu/src" "$top/patches"
    cp -r "$scripts" "$top/scripts"
}

done_testing() {
    echo "1..$cases"
}
