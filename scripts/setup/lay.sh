#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# lay.sh TREE: links our files into a prepared tree, by relative symlinks, and
# removes the links of files that are gone.  It never replaces an upstream file:
# a change to one is a hook.

set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=scripts/common.sh
. "$root/scripts/common.sh"
# shellcheck source=scripts/setup/trees.sh
. "$root/scripts/setup/trees.sh"

tree=$1
src=$build/$tree/src

overlay=$(tree_overlay "$tree")
[ -n "$overlay" ] || exit 0
base=$(printf '%s\n' "$overlay" | head -n 1)
files=$(tree_files "$tree")

# Only our links lead out of the tree.
find "$src" -path "$src/.pc" -prune -o -xtype l -lname '../../../*' -print |
    while read -r link; do
        case $(readlink -m "$link") in
        "$build"/*) ;;
        "$root"/*)
            rm "$link"
            say "    $tree: ${link#"$src/"} is gone"
            ;;
        esac
    done

covered=
for file in $files; do
    link=$src/$file
    # Up once for each folder in the path, then out of build/TREE/src.
    up=$(printf '%s' "$file" | sed -e 's,[^/]*$,,' -e 's,[^/]*/,../,g')
    target=$up../../../${base#"$root"}
    target=$(printf '%s' "$target/$file" | sed 's,//*,/,g')
    [ "$(readlink "$link" 2>/dev/null || :)" = "$target" ] && continue
    if [ -e "$link" ] && [ ! -L "$link" ]; then
        covered="$covered $file"
        continue
    fi
    mkdir -p "${link%/*}"
    ln -sfn "$target" "$link"
done
[ -z "$covered" ] || die "$tree has files of its own at$covered: \
a change to an upstream file belongs into a hook (docs/fork.md)"
