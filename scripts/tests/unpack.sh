#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Tests what unpack.sh makes of a user's own tree.

set -eu
# shellcheck source=scripts/tests/tap.sh
. "$(dirname "$0")/tap.sh"

make_checkout
rmdir "$top/build/qemu/src"
linux=$top/build/linux/src
tested=$(awk '$1 == "linux" { print $3 }' "$top/scripts/setup/upstream.versions")
unpack() {
    (sh "$top/scripts/setup/unpack.sh" linux "$@" 2>&1) || echo "status $?"
}

# tree DIR: a tree of Linux, as far as unpack.sh looks at it
tree() {
    mkdir -p "$1/.git" "$1/some/.git"
    echo "$tested" | awk -F . '{ print "VERSION = " $1 "\nPATCHLEVEL = " $2 "\nSUBLEVEL = " $3 }' \
        >"$1/Makefile"
    touch "$1/Kbuild" "$1/.hidden" "$1/some/file"
}

tree "$work/one"
tree "$work/two"

is "a tree is copied" "$(unpack "$work/one")" "    copying $work/one to build/linux/src
    copying $work/one to build/linux-stock/src"
is "a tree is copied without its repository" "$(cd "$linux" && find . | LC_ALL=C sort | tr '\n' ' ')" \
    ". ./.hidden ./Kbuild ./Makefile ./some ./some/.git ./some/file "
is "an existing tree stays" "$(unpack "$work/one")" "    build/linux/src: linux $tested is there
    build/linux-stock/src: linux $tested is there"

touch "$linux/mine"
said=$(unpack "$work/two")
matches "a tree from elsewhere is refused" "$said" \
    "linux/src is from $work/one, not from $work/two: .*make distclean"
matches "a tree from elsewhere is an error" "$said" '^status 1$'
matches "the archive instead of a tree is refused" "$(unpack)" "from $work/one, not from the archive: .*make distclean"
is "the existing tree is left alone" "$(ls "$linux/mine")" "$linux/mine"

rm -r "$top/build/linux" "$top/build/linux-stock"
mkdir "$work/bin"
# shellcheck disable=SC2016 # for that script
printf '#!/bin/sh\n/bin/cp "$@"\nexit 1\n' >"$work/bin/cp"
chmod +x "$work/bin/cp"
said=$(PATH=$work/bin:$PATH unpack "$work/one")
matches "a tree that cannot be read is an error" "$said" '^status 1$'
is "a tree that cannot be read is not there" "$(ls -d "$linux" 2>/dev/null || :)" ""

done_testing
