#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Tests series.sh: on a small tree what it writes, and on the real ones that "git
# am" of it to pristine upstream trees gives the prepared trees.

set -eu
# shellcheck source=scripts/tests/tap.sh
. "$(dirname "$0")/tap.sh"

GIT_AUTHOR_NAME='A. Person' GIT_AUTHOR_EMAIL=a.person@example.org
GIT_COMMITTER_NAME=$GIT_AUTHOR_NAME GIT_COMMITTER_EMAIL=$GIT_AUTHOR_EMAIL
export GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL GIT_COMMITTER_NAME GIT_COMMITTER_EMAIL

#
# A small tree
#

make_checkout
series() {
    (sh "$top/scripts/setup/series.sh" "$work/small" 2>&1) || echo "failed"
}
hook() {
    printf 'From: Us\nSubject: [PATCH] %s\n\nA reason.\n\nSigned-off-by: Us\n--- a/%s\n+++ b/%s\n@@ -1,2 +1,2 @@\n one\n-%s\n+%s\n' \
        "$2" "$3" "$3" "$4" "$5" >"$top/patches/$1.patch"
}
git init -q "$top"
mkdir -p "$top/build/linux/src/.pc" "$top/kernel/patches" "$top/system/sub"
: >"$top/kernel/patches/series"
: >"$top/kernel/patches/files"
printf 'one\ntwo\n' >"$top/build/qemu/src/list"
hook first "sub: begin" list two deux
hook second "sub: go on" list deux zwei
printf 'first.patch\nsecond.patch\n' >"$top/patches/series"
echo one >"$top/system/sub/one.c"
echo two >"$top/system/sub/two.c"
printf "files(\n  'one.c',\n  'two.c',\n)\ntests += {\n  'two': ['one.c'],\n}\n" \
    >"$top/system/sub/meson.build"
cat >"$top/patches/files" <<END
first.patch
    system
second.patch
    system/sub/two.c
END
sh "$top/scripts/setup/lay.sh" qemu
sh "$top/scripts/setup/hooks.sh" qemu apply >/dev/null

series >"$work/said"
matches "it says what it wrote" "$(cat "$work/said")" 'small/qemu: 2 patches$'
is "a patch for each hook" "$(find "$work/small/qemu" -type f -printf '%f\n' | sort | tr '\n' ' ')" \
    "0001-sub-begin.patch 0002-sub-go-on.patch "
sh "$top/scripts/setup/series.sh" "$work/one" qemu >/dev/null
is "one tree alone" "$(cd "$work/one" && echo ./*)" ./qemu
first=$(cat "$work/small/qemu/0001-sub-begin.patch")
matches "the author is who ran it" "$first" '^From: "?A\. Person"? <a.person@example.org>$'
is "so is the only sign-off" "$(printf '%s\n' "$first" | grep -i signed-off-by)" \
    'Signed-off-by: A. Person <a.person@example.org>'
is "a folder's files come with its hook, without those of other hooks" \
    "$(printf '%s\n' "$first" | sed -n 's/^+++ b.//p' | tr '\n' ' ')" \
    "list system/sub/meson.build system/sub/one.c "
is "meson.build names a file when it comes" \
    "$(grep -c "^[+].*two\.c'" "$work/small/qemu"/*.patch | sed 's/.*://' | tr '\n' ' ')" "0 1 "

is "meson.build names a test when its program comes" \
    "$(grep -c "^[+].*'two':" "$work/small/qemu"/*.patch | sed 's/.*://' | tr '\n' ' ')" "0 1 "

git -c init.defaultBranch=x init -q "$work/applied"
printf 'one\ntwo\n' >"$work/applied/list"
git -C "$work/applied" add list
git -C "$work/applied" commit -q -m upstream
git -C "$work/applied" am -q "$work/small/qemu"/*.patch
is "git am gives our meson.build" "$(cat "$work/applied/system/sub/meson.build")" \
    "$(cat "$top/system/sub/meson.build")"
is "git am gives the prepared file" "$(cat "$work/applied/list")" "$(cat "$top/build/qemu/src/list")"

echo three >"$top/system/three.c"
sed 's,^    system$,    system/sub,' "$top/patches/files" >"$work/files"
cp "$work/files" "$top/patches/files"
matches "a file that comes with no hook is named" "$(series)" \
    'patches/files has no line for system/three.c$'
rm "$top/system/three.c"
sed 's,^second,third,' "$work/files" >"$top/patches/files"
matches "a hook that is not in the series is named" "$(series)" \
    'patches/files names third.patch, which'
cp "$work/files" "$top/patches/files"
matches "without an identity, it says so" \
    "$(unset GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL
        git -C "$top" config user.useConfigOnly true
        HOME=$work XDG_CONFIG_HOME=$work GIT_CONFIG_NOSYSTEM=1 series)" \
    'set user.name and user.email'

#
# The real trees
#

root=${scripts%/*}
# shellcheck source=scripts/common.sh
. "$root/scripts/common.sh"
# shellcheck source=scripts/setup/trees.sh
. "$root/scripts/setup/trees.sh"

# same_trees TREE PRISTINE: applies the series to the files of PRISTINE that it
# changes, and prints what differs from the prepared tree then
same_trees() {
    repo=$work/$1.git
    git init -q "$repo"
    sed -n 's,^+++ b/,,p' "$work/series/$1"/*.patch | sort -u >"$work/named"
    while read -r file; do
        [ -e "$2/$file" ] || continue
        mkdir -p "$(dirname "$repo/$file")"
        cp "$2/$file" "$repo/$file"
    done <"$work/named"
    git -C "$repo" add -A
    git -C "$repo" commit -q -m upstream
    git -C "$repo" am -q "$work/series/$1"/*.patch >"$work/am" 2>&1 || cat "$work/am"

    # Whatever the prepared tree has or changes in these folders comes with the
    # series,
    sed 's,/*[^/]*$,,' "$work/named" | sort -u | while read -r folder; do
        [ ! -d "$2/$folder" ] ||
            diff -q --no-dereference -x .pc -x patches -x __pycache__ \
                "$2/$folder" "$build/$1/src/$folder" | sed 's,//,/,g' || :
    done |
        sed -n -e "s,^Files $2/\(.*\) and .* differ$,\1,p" \
            -e "s,^Only in $build/$1/src: ,,p" \
            -e "s,^Only in $build/$1/src/\(.*\): ,\1/,p" |
        while read -r name; do
            grep -q "^$name\(/\|\$\)" "$work/named" || echo "not in the series: $name"
        done
    # and is the same there.
    while read -r file; do
        cmp -s "$repo/$file" "$build/$1/src/$file" || echo "differs: $file"
    done <"$work/named"
}

[ -d "$build/qemu-stock/src" ] || unpack_again qemu qemu-stock >"$work/unpack" 2>&1 ||
    sed 's/^/# /' "$work/unpack"
# bench.py memslots builds upstream's QEMU with this one.
is "the hook of memory-testdev fits upstream's QEMU alone" \
    "$(patch -s --dry-run -d "$build/qemu-stock/src" -p1 \
        <"$scripts/../patches/hw-misc-memory-testdev.patch" 2>&1)" ""
"$root/scripts/setup/series.sh" "$work/series" | sed 's/^/# /'
for tree in qemu linux; do
    is "$tree: the series makes the prepared tree of a pristine one" \
        "$(same_trees "$tree" "$build/$tree-stock/src")" ""
    is "$tree: a patch for each hook" \
        "$(find "$work/series/$tree" -type f | wc -l)" \
        "$(tree_series "$tree" | wc -l)"
done

done_testing
