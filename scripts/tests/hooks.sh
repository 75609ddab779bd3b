#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What hooks.sh does to a prepared tree and to the hooks.

set -eu
# shellcheck source=scripts/tests/tap.sh
. "$(dirname "$0")/tap.sh"

make_checkout
src=$top/build/qemu/src
hooks() {
    (sh "$top/scripts/hooks.sh" qemu "$1" 2>&1) || echo "failed"
}

# hook NAME FILE OLD NEW: one that changes a line
hook() {
    printf '%s\n\n--- a/%s\n+++ b/%s\n@@ -1,3 +1,3 @@\n one\n-%s\n+%s\n three\n' \
        "$1: a reason" "$2" "$2" "$3" "$4" >"$top/patches/$1.patch"
}

printf 'one\ntwo\nthree\n' >"$src/a"
printf 'one\ntwo\nthree\n' >"$src/b"
hook first a two TWO
hook second b two ZWEI
printf '# a comment\nfirst.patch\nsecond.patch\n' >"$top/patches/series"

hooks apply >/dev/null
is "the series is applied" "$(sed -n 2p "$src/a" "$src/b" | tr '\n' ' ')" "TWO "
is "the second as well" "$(sed -n 2p "$src/b")" ZWEI
is "again: nothing to do" "$(hooks apply)" ""

touch -d '2001-01-01' "$src/a" "$src/b"
hook second b two DEUX
is "a changed hook" "$(hooks apply)" "    qemu: b"
is "is applied anew" "$(sed -n 2p "$src/b")" DEUX
is "another file keeps its time" "$(date -r "$src/a" +%Y)" 2001

hook second b zwei DREI
said=$(hooks apply)
matches "one that does not fit is named, with the file" "$said" 'second.patch does not apply to b'
is "and the tree stays as it was" "$(sed -n 2p "$src/b")" DEUX
hook second b two DEUX

echo four >>"$src/a"
hook second b two TROIS
matches "an edit is not thrown away" "$(hooks apply)" 'edited.* a\..*make refresh'
is "not even in another file" "$(sed -n 4p "$src/a")" four
matches "nor is the changed hook overwritten" "$(hooks refresh)" 'second.patch'
hook second b two DEUX
matches "refresh puts the edit into its hook" "$(hooks refresh)" 'first.patch'
matches "where it is" "$(cat "$top/patches/first.patch")" '^\+four$'
matches "under its own words" "$(head -n 1 "$top/patches/first.patch")" '^first: a reason$'
is "after that there is nothing to do" "$(hooks apply)" ""
matches "nor to refresh" "$(hooks refresh)" 'hold all edits already'

rm -r "$src/.pc" "$top/build/qemu/hooks.stamp"
printf 'one\ntwo\nthree\n' >"$src/a"
printf 'one\ntwo\nthree\n' >"$src/b"
(cd "$src" && QUILT_PATCHES=$top/patches quilt --quiltrc /dev/null push -a >/dev/null)
is "a tree made by hand is taken over" "$(hooks apply)" ""
is "as it is" "$(sed -n 2p "$src/b")" DEUX

echo first.patch >"$top/patches/series"
hooks apply >/dev/null
is "a hook that left the series is taken back" "$(sed -n 2p "$src/b")" two
: >"$top/patches/series"
hooks apply >/dev/null
is "and so is the last" "$(wc -l <"$src/a" | tr -d ' ')" 3

done_testing
