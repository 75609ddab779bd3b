# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
#
# The prepared trees.  To be sourced after common.sh.
#
#   build/qemu/src         QEMU with our files and hooks
#   build/linux/src        Linux with our files and hooks
#   build/linux-stock/src  pristine Linux
#   build/qemu-stock/src   pristine QEMU, for "bench.py postcopy"
#   build/*-series/src     pristine ones with patches, for "make check-series"
#   build/qemu-testdev/src the same with our memory-testdev, for "bench.py memslots"

# shellcheck disable=SC2034,SC2154 # used, and root set, by the scripts that source it
trees='qemu linux linux-stock'

# tree_kind TREE: which upstream is it?
tree_kind() {
    case $1 in
    linux*) echo linux ;;
    qemu*) echo qemu ;;
    *) echo "$1" ;;
    esac
}

# unpack_again KIND TREE: prepares a pristine TREE, from where ours of KIND came
unpack_again() {
    _origin=$(cat "$build/$1/origin" 2>/dev/null || echo "the archive")
    case $_origin in
    /*) ;;
    *) _origin='' ;;
    esac
    "$root/scripts/setup/unpack.sh" "$1" "$_origin" "$2"
}

# tree_hooks TREE: the folder of its quilt series, if it has one
tree_hooks() {
    case $1 in
    qemu) echo "$root/patches" ;;
    linux) echo "$root/kernel/patches" ;;
    esac
}

# tree_series TREE: its hooks, in order
tree_series() {
    [ -f "$(tree_hooks "$1")/series" ] || return 0
    awk '!/^[ \t]*(#|$)/ { print $1 }' "$(tree_hooks "$1")/series"
}

# tree_overlay TREE: the folder in which our files have their paths in the tree;
# then, a line each, the names in that folder that are such files
tree_overlay() {
    case $1 in
    qemu)
        echo "$root"
        for _dir in accel backends configs docs hw include migration qapi system \
            target tests; do
            [ -d "$root/$_dir" ] && echo "$_dir"
        done
        ;;
    linux)
        echo "$root/kernel"
        for _dir in "$root"/kernel/*; do
            _dir=${_dir##*/}
            [ "$_dir" = patches ] || [ ! -e "$root/kernel/$_dir" ] || echo "$_dir"
        done
        ;;
    esac
    return 0
}

# tree_files TREE: our files in it, by their paths there, a line each.  docs/*.md
# are about the fork, not for the tree.
tree_files() {
    _overlay=$(tree_overlay "$1")
    _tops=$(printf '%s\n' "$_overlay" | tail -n +2)
    [ -n "$_tops" ] || return 0
    # shellcheck disable=SC2086 # names without blanks
    (cd "$(printf '%s\n' "$_overlay" | head -n 1)" &&
        find $_tops -type f ! -name '*~' ! -name '.*' ! -path 'docs/*.md' | sort)
}
